"""`make_overlay`: OoD objects on street frames -> a test set with exact labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
import json
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.files.image_file import read_image_file, write_image_file
from meta_ood_ros.core.files.whole_folders import replace_folder
from meta_ood_training.datasets import (
    CutOut,
    find_coco_objects,
    find_ecssd_objects,
    find_folder_objects,
    find_street_objects,
    ObjectSource,
    OOD,
    open_dataset,
    PairedImages,
    parse_dataset,
    SampleDataset,
)
from meta_ood_training.datasets.registry import FOR_ANY_CLASSES
from meta_ood_training.overlays.compositing import composite
from meta_ood_training.overlays.fishyscapes import (
    add_weather,
    blend,
    find_ego,
    own_alpha,
    place_freely,
)
from meta_ood_training.overlays.plan import (
    find_corner,
    OverlaySettings,
    Placement,
    plan_controls,
    plan_objects,
)
from meta_ood_training.plain_arguments import as_tuple, check_choice
import numpy as np
from tqdm import tqdm

OBJECTS: dict[str, Callable[..., tuple[ObjectSource, ...]]] = {
    'ecssd': find_ecssd_objects,
    'coco': find_coco_objects,
    'folder': find_folder_objects,
}
"""Where objects to paste may come from."""


SPLITS = ('train', 'select', 'test', 'all')
"""Source images of the objects that may be pasted."""


@dataclass(frozen=True, repr=False)
class OverlayResult:
    """
    The set that was written; `datasets.Folder` reads it.

    Attributes
    ----------
    folder : Path
        images, labels, controls and manifest.json.
    frames, objects, controls : int
        All frames, those with an OoD object, and those with a pasted in-distribution object.
    ood_share : float
        Of all pixels, in [0, 1].
    manifest : dict
        What manifest.json says: settings, and object and group of each frame.

    """

    folder: Path
    frames: int
    objects: int
    controls: int
    ood_share: float
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        """Return the counts and the folder in a line."""
        return (
            f'OverlayResult({self.frames} frames, {self.objects} with an OoD object, '
            f'{self.controls} with a control, {self.ood_share:.2%} OoD pixels, in {self.folder})'
        )


def make_overlay(
    frames: str,
    objects: str | Sequence[str],
    output: str | Path,
    *,
    split: str = 'test',
    controls: str | None = None,
    settings: OverlaySettings | None = None,
    progress: bool = False,
) -> OverlayResult:
    """
    Paste OoD objects on street frames and write the set with its exact labels.

    Parameters
    ----------
    frames : str
        Street frames as NAME=PATH: 'camvid_test=data/camvid'.
    objects : str or sequence of str
        What to paste as NAME=PATH; NAME is ecssd, coco or folder (one's own cut-outs).
    output : str or Path
        A new or empty folder; it is whole or absent.
    split : str
        Source images of the objects: train, select, test or all. What is a proxy in training must
        not be pasted here.
    controls : str, optional
        Labelled street frames as NAME=PATH, whose cars, people and bicycles are pasted as control.
    settings : OverlaySettings, optional
        Shares, sizes, blending and seed, which decides everything.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    OverlayResult
        Counts and the manifest.

    Raises
    ------
    ValueError
        Frames, objects or settings are wrong, or do not go together.
    OSError
        Something is not there, or the folder holds files.

    """
    check_choice('--split', split, SPLITS)
    _, name, path = parse_dataset(frames)
    opened = open_dataset(name, path)
    sources: list[ObjectSource] = []
    for text in as_tuple(objects, str):
        _, kind, root = parse_dataset(text)
        check_choice('--objects', kind, tuple(OBJECTS))
        sources += OBJECTS[kind](root, split=split)
    street: Sequence[tuple[ObjectSource, int]] = ()
    if controls:
        _, kind, root = parse_dataset(controls)
        labelled = open_dataset(kind, root)
        if not isinstance(labelled, PairedImages):
            raise ValueError(f'--controls must be labelled street frames, got {kind!r}.')
        street = find_street_objects(labelled)
    manifest = write_overlay(
        opened,
        sources,
        street,
        Path(output),
        settings or OverlaySettings(),
        sources={'frames': name, 'objects': split},
        sky=None if name in FOR_ANY_CLASSES else CITYSCAPES_NAMES.index('sky'),
        progress=lambda indices: tqdm(indices, desc='overlay', unit='image', disable=not progress),
    )
    return OverlayResult(
        folder=Path(output),
        frames=len(manifest['frames']),
        objects=manifest['objects'],
        controls=manifest['controls'],
        ood_share=manifest['ood_share'],
        manifest=manifest,
    )


def write_overlay(
    frames: SampleDataset,
    objects: Sequence[ObjectSource],
    controls: Sequence[tuple[ObjectSource, int]],
    folder: Path,
    settings: OverlaySettings,
    *,
    sources: dict[str, str] | None = None,
    sky: int | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Write images, labels, control masks and manifest.json; sky is its class, if known."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f'{folder} must be new or empty, got files in it. Choose another.')
    if not len(frames):
        raise ValueError('an overlay set needs frames, got none.')
    shapes = [frames[index].target.shape for index in range(len(frames))]
    sizes = [(height, width) for height, width in shapes]
    plan = plan_objects(frames.groups, objects, sizes, settings)
    free = [index for index in range(len(frames)) if index not in plan]
    control_plan = plan_controls(free, controls, settings)
    # without its manifest a folder would pass for one whose images are all groups of their own
    with replace_folder(folder) as made:
        return _write_into(
            made,
            frames,
            plan,
            control_plan,
            settings,
            sources=sources,
            sky=sky,
            progress=progress,
        )


def _write_into(
    folder: Path,
    frames: SampleDataset,
    plan: Mapping[int, Placement],
    control_plan: Mapping[int, tuple[ObjectSource, int]],
    settings: OverlaySettings,
    *,
    sources: dict[str, str] | None,
    sky: int | None,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> dict[str, Any]:
    for part in ('images', 'labels', 'controls'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    records = []
    ood_pixels = pixels = 0
    for index in progress(range(len(frames))):
        sample = frames[index]
        size = sample.target.shape
        pixels += sample.target.size
        rng = np.random.default_rng((settings.seed, 3, index))
        image, target = sample.image, sample.target.copy()
        record: dict[str, Any] = {'name': sample.name, 'group': sample.group, 'tags': []}
        is_free = settings.style == 'fishyscapes'
        if is_free:
            image, visibility = add_weather(image, target == sky, settings.fog_share, rng)
            if visibility:
                record['fog_visibility_m'] = round(visibility, 1)
        if index in plan:
            cut_out, corner, alpha = place_object(plan[index], (size[0], size[1]))
            if is_free:
                category = plan[index].source.category
                corner = place_freely(cut_out.mask, category, find_ego(target), rng)
                image, covered = blend(image, cut_out, corner, rng, alpha=alpha)
            else:
                image, covered = composite(image, cut_out, corner, settings.blending, rng)
            target[covered] = OOD
            ood_pixels += int(covered.sum())
            record['object'] = _describe(plan[index], corner, covered)
            record['tags'] = [plan[index].source.group.partition('/')[0]]
        elif index in control_plan:
            source, train_id = control_plan[index]
            cut_out = source.load()
            if is_free:
                image, covered = blend(image, cut_out, cut_out.corner, rng, is_known=True)
            else:
                image, covered = composite(image, cut_out, cut_out.corner, settings.blending, rng)
            target[covered] = train_id
            write_image_file(folder / 'controls' / f'{sample.name}.png', covered.astype(np.uint8))
            record['control'] = {'source': source.name, 'train_id': train_id}
        write_image_file(folder / 'labels' / f'{sample.name}.png', target)
        write_image_file(
            folder / 'images' / f'{sample.name}.jpg',
            cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
            (cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality),
        )
        records.append(record)
    manifest = {
        'format': 1,
        'sources': sources or {},
        'settings': asdict(settings),
        'objects': len(plan),
        'controls': len(control_plan),
        'ood_share': ood_pixels / pixels,
        'equivalent_predictions': {
            str(predicted): labelled
            for predicted, labelled in getattr(frames, 'equivalent_predictions', {}).items()
        },
        'frames': records,
    }
    (folder / 'manifest.json').write_text(json.dumps(manifest, indent=1) + '\n')
    return manifest


def place_object(
    placement: Placement, frame_size: tuple[int, int]
) -> tuple[CutOut, tuple[int, int], np.ndarray | None]:
    """Return an object at its final size, its corner, and its own smooth alpha or None."""
    cut_out = placement.source.load()
    rows, columns = (max(round(side * placement.scale), 1) for side in cut_out.mask.shape)

    def scale(pixels: np.ndarray) -> np.ndarray:
        scaled = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
        return scaled[:, ::-1].copy() if placement.is_mirrored else np.asarray(scaled)

    mask = scale(cut_out.mask.astype(np.float32)) >= 0.5
    alpha = own_alpha(read_image_file(placement.source.image, flags=cv2.IMREAD_UNCHANGED))
    if alpha is not None:
        top, left = cut_out.corner
        height, width = cut_out.mask.shape
        alpha = scale(alpha[top : top + height, left : left + width])
    corner = find_corner(placement, (rows, columns), frame_size)
    return CutOut(scale(cut_out.image), mask), corner, alpha


def _describe(
    placement: Placement, corner: tuple[int, int], covered: np.ndarray
) -> dict[str, Any]:
    return {
        'source': placement.source.name,
        'category': placement.source.category,
        'scale': round(placement.scale, 4),
        'corner': list(corner),
        'is_mirrored': placement.is_mirrored,
        'pixels': int(covered.sum()),
        'share': round(float(covered.mean()), 6),
    }
