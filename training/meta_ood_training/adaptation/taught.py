"""Chosen frames -> folders of images, with what the starting network is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.files.image_file import write_image_file
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_ros.core.image import resize_image
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.demo.contact_sheet import ContactSheet
from meta_ood_training.adaptation.recordings import Masks, Recording
from meta_ood_training.adaptation.stretches import FIT, PARTS, Place
from meta_ood_training.datasets.classes_file import CLASSES_FILE
from meta_ood_training.datasets.sample import IGNORED, IN_DISTRIBUTION
from meta_ood_training.segments.extraction import resize_labels
import numpy as np
from tqdm import tqdm
import yaml

FACTS_FILE = 'frames.json'
UNKNOWN_FILE = 'most_unknown.png'
_MOST_UNKNOWN = 12
_OUTLINE = (255, 80, 255)
_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(eq=False)
class _Counts:
    """What is known after the frames were read."""

    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    pixels: int = 0
    masked: int = 0
    sure: int = 0
    classes: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))


def write_frames(
    recordings: Sequence[Recording],
    masks: Masks,
    bundle: Bundle,
    output: Path,
    *,
    sure: float,
    device: str,
    progress: bool,
) -> dict[str, Any]:
    """
    Write `fit`, and for each recording `meta/<title>` and `judge/<title>`, in the plain layout.

    Images are on the work grid of the bundle where that is smaller than the frame. Labels of
    `fit` are 253 where the network is sure and 255 elsewhere, those of the others 253; masked
    pixels are 255.

    Raises
    ------
    ValueError
        Nothing is left to train on, or a part is empty.

    """
    pipeline = OodPipeline(bundle, device=device)
    counts, unknown = _Counts(), _MostUnknown()
    groups: dict[str, list[dict[str, str]]] = {}
    total = sum(len(one.places) for one in recordings)
    bar = tqdm(total=total, desc='frames', unit='frame', mininterval=1, disable=not progress)
    with replace_folder(output) as folder, bar:
        for recording in recordings:
            size: tuple[int, ...] = ()
            for frame, place in recording.read():
                bar.update()
                assert frame.image is not None
                size = size or frame.image.shape
                if frame.image.shape != size:
                    recording.skipped[frame.name] = (
                        f'{frame.name} must have the size of the frames before it, '
                        f'{size[0]} x {size[1]} px, got {frame.image.shape[0]} x '
                        f'{frame.image.shape[1]}.'
                    )
                    continue
                mask = masks(recording.title, frame.name, (size[0], size[1]))
                where = place.part if place.part == FIT else f'{place.part}/{recording.title}'
                name = f'{recording.title}-{frame.name.replace("/", "-")}'
                image, target = _prepare(pipeline, frame.image, mask)
                if place.part == FIT:
                    result = pipeline(frame.image, ignore_mask=mask)
                    unknown.add(recording.title, frame.name, place, frame.image, result)
                    _teach(target, result, sure, counts)
                counts.frames[place.part] += 1
                _write(folder / where, name, image, target)
                group = f'{recording.title}_{place.block:04d}'
                groups.setdefault(where, []).append({'name': name, 'group': group})
        for where, frames in groups.items():
            text = json.dumps({'frames': frames}, indent=1)
            (folder / where / 'manifest.json').write_text(text + '\n', encoding='utf-8')
        _check(counts, sure)
        _write_classes(folder / FIT / CLASSES_FILE, bundle)
        page = unknown.draw()
        if page is not None:
            write_image_file(folder / UNKNOWN_FILE, cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
        facts = _describe(recordings, counts, bundle)
        (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1) + '\n', encoding='utf-8')
    return facts


def _prepare(
    pipeline: OodPipeline, image: np.ndarray, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame no larger than its work grid, and a target of known pixels but the mask."""
    size = pipeline.work_size((image.shape[0], image.shape[1]))
    small = resize_image(image, size) if size[0] * size[1] < image[..., 0].size else image
    target = np.full(small.shape[:2], IN_DISTRIBUTION, np.uint8)
    if mask is not None:
        # as wide as the mask is anywhere in a pixel: what shows through a border counts nowhere
        share = cv2.resize(mask.astype(np.float32), small.shape[1::-1],
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        target[np.asarray(share) > 0] = IGNORED
    return small, target


def _teach(target: np.ndarray, result: OodResult, sure: float, counts: _Counts) -> None:
    """Leave of a target what the teacher is sure of, in place."""
    size = (target.shape[0], target.shape[1])
    is_sure = resize_labels((result.max_probability >= sure).astype(np.uint8), size) > 0
    semantic = resize_labels(result.semantic, size)
    masked = target == IGNORED
    target[~is_sure] = IGNORED
    taught = target == IN_DISTRIBUTION
    counts.pixels += target.size
    counts.masked += int(masked.sum())
    counts.sure += int(taught.sum())
    counts.classes += np.bincount(semantic[taught], minlength=256)


def _write(folder: Path, name: str, image: np.ndarray, target: np.ndarray) -> None:
    for part in ('images', 'labels'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    write_image_file(folder / 'images' / f'{name}.png', pixels, _FAST_PNG)
    write_image_file(folder / 'labels' / f'{name}.png', target)


def _check(counts: _Counts, sure: float) -> None:
    missing = [part for part in PARTS if not counts.frames[part]]
    if missing:
        raise ValueError(
            f'every part needs frames that can be read, got none for {", ".join(missing)}. Name '
            'longer recordings, or repair these.'
        )
    if counts.masked == counts.pixels:
        raise ValueError(
            'recordings must show something that is not masked, got masks over every pixel of '
            f'{counts.frames[FIT]} frames. Masks are above 0 where nothing counts.'
        )
    if not counts.sure:
        raise ValueError(
            f'the starting network must be sure of something, got no pixel of '
            f'{counts.frames[FIT]} frames with a softmax of {sure:g}. Lower --sure, or start '
            'from a network that knows this domain better.'
        )


def _write_classes(path: Path, bundle: Bundle) -> None:
    classes = [
        {'name': name, 'color': list(color)}
        for name, color in zip(bundle.class_names, bundle.class_colors, strict=True)
    ]
    text = yaml.safe_dump({'classes': classes}, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding='utf-8')


def _describe(recordings: Sequence[Recording], counts: _Counts, bundle: Bundle) -> dict[str, Any]:
    """Return what the report says of the recordings and of the teacher."""
    seen = counts.classes[: bundle.num_classes] > 0
    return {
        'recordings': [
            {
                'title': one.title,
                'source': Path(one.source.title).name,
                'frames': one.frames,
                'used': len(one.places),
                'skipped': one.skipped,
                'loss': one.source.loss(),
            }
            for one in recordings
        ],
        'frames': counts.frames,
        'sure_share': counts.sure / max(counts.pixels - counts.masked, 1),
        'masked_share': counts.masked / counts.pixels,
        'classes': {
            name: int(counts.classes[place]) / max(counts.sure, 1)
            for place, name in enumerate(bundle.class_names)
            if seen[place]
        },
        'never': [name for place, name in enumerate(bundle.class_names) if not seen[place]],
    }


class _MostUnknown:
    """The segments that the starting network is most certain to be unknown, one of each block."""

    def __init__(self) -> None:
        self._best: dict[tuple[str, int], tuple[float, np.ndarray, str]] = {}

    def add(
        self, title: str, name: str, place: Place, image: np.ndarray, result: OodResult
    ) -> None:
        """Keep the frame if it holds the best segment of its block."""
        found = np.flatnonzero(result.accepted)
        if not len(found):
            return
        score = np.nan_to_num(result.ood_probability[found], nan=1.0)
        row = int(found[np.argmax(score)])
        key, best = (title, place.block), float(score.max())
        if key in self._best and self._best[key][0] >= best:
            return
        picture = np.ascontiguousarray(resize_image(image, result.work_size)).copy()
        x, y, width, height = result.summary.boxes[row].tolist()
        cv2.rectangle(picture, (x - 3, y - 3), (x + width + 2, y + height + 2), _OUTLINE, 2)
        said = f'{title}/{name}: {best:.2f}'
        self._best[key] = best, picture, said

    def draw(self) -> np.ndarray | None:
        """Return the page, most unknown first."""
        ranked = sorted(self._best.values(), key=lambda one: -one[0])[:_MOST_UNKNOWN]
        sheet = ContactSheet(len(ranked))
        for _, picture, said in ranked:
            sheet.add(picture, said)
        return sheet.draw('Taken for known. If one is an unknown object, mask it: --masks')
