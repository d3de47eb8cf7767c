"""`meta-ood-train overlay`: OoD objects on street frames -> a test set with exact labels."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
import json
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.image_file import write_image_file
from meta_ood_ros.core.whole_folders import replace_folder
from meta_ood_training.datasets import (
    CutOut,
    find_coco_objects,
    find_ecssd_objects,
    find_street_objects,
    ObjectSource,
    OOD,
    open_dataset,
    PairedImages,
    parse_dataset,
    SampleDataset,
)
from meta_ood_training.overlays.compositing import BLENDING, composite
from meta_ood_training.overlays.plan import (
    AREA_MAX,
    AREA_MIN,
    find_corner,
    OverlaySettings,
    Placement,
    plan_controls,
    plan_objects,
)
import numpy as np
from tqdm import tqdm

OBJECTS: dict[str, Callable[..., tuple[ObjectSource, ...]]] = {
    'ecssd': find_ecssd_objects,
    'coco': find_coco_objects,
}
"""Where objects to paste may come from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        '--frames', required=True, metavar='NAME=PATH', help='street frames, as camvid_test=PATH'
    )
    parser.add_argument(
        '--objects',
        action='append',
        required=True,
        metavar='NAME=PATH',
        help=f'objects to paste; NAME is one of {", ".join(OBJECTS)}',
    )
    parser.add_argument(
        '--split',
        default='test',
        choices=('train', 'select', 'test', 'all'),
        help='source images of the objects; what is a proxy in training must not be pasted here',
    )
    parser.add_argument(
        '--controls',
        metavar='NAME=PATH',
        help='labelled street frames whose cars, people and bicycles are pasted as control',
    )
    parser.add_argument('--output', type=Path, required=True, help='folder to write')
    parser.add_argument('--blending', default='full', choices=BLENDING, help='how far to blend')
    parser.add_argument(
        '--area',
        nargs=2,
        type=float,
        default=(AREA_MIN, AREA_MAX),
        metavar=('MIN', 'MAX'),
        help='share of the frame that an object covers, log-uniform',
    )
    parser.add_argument('--object-share', type=float, default=0.5, help='frames with an object')
    parser.add_argument(
        '--control-share', type=float, default=0.5, help='other frames with a control'
    )
    parser.add_argument('--jpeg-quality', type=int, default=95, help='of every frame')
    parser.add_argument('--seed', type=int, default=0, help='decides everything')


def run(arguments: argparse.Namespace) -> int:
    """Write an overlay set."""
    area_min, area_max = arguments.area
    settings = OverlaySettings(
        object_share=arguments.object_share,
        control_share=arguments.control_share,
        area_min=area_min,
        area_max=area_max,
        blending=arguments.blending,
        jpeg_quality=arguments.jpeg_quality,
        seed=arguments.seed,
    )
    _, name, path = parse_dataset(arguments.frames)
    frames = open_dataset(name, path)
    objects: list[ObjectSource] = []
    for text in arguments.objects:
        _, kind, root = parse_dataset(text)
        if kind not in OBJECTS:
            raise ValueError(f'--objects must be one of {", ".join(OBJECTS)}, got {kind!r}.')
        objects += OBJECTS[kind](root, split=arguments.split)
    controls: Sequence[tuple[ObjectSource, int]] = ()
    if arguments.controls:
        _, kind, root = parse_dataset(arguments.controls)
        labelled = open_dataset(kind, root)
        if not isinstance(labelled, PairedImages):
            raise ValueError(f'--controls must be labelled street frames, got {kind!r}.')
        controls = find_street_objects(labelled)
    manifest = write_overlay(
        frames,
        objects,
        controls,
        arguments.output,
        settings,
        sources={'frames': name, 'objects': arguments.split},
        progress=lambda indices: tqdm(indices, desc='overlay', unit='image'),
    )
    print(
        f'{len(manifest["frames"])} frames, {manifest["objects"]} with an OoD object, '
        f'{manifest["controls"]} with a control, {manifest["ood_share"]:.2%} OoD pixels: '
        f'{arguments.output}'
    )
    return 0


def write_overlay(
    frames: SampleDataset,
    objects: Sequence[ObjectSource],
    controls: Sequence[tuple[ObjectSource, int]],
    folder: Path,
    settings: OverlaySettings,
    *,
    sources: dict[str, str] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Write images, labels, control masks and manifest.json; `datasets.Folder` reads them."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f'{folder} must be new or empty, got files in it. Choose another.')
    if not len(frames):
        raise ValueError('an overlay set needs frames, got none.')
    size = frames[0].target.shape
    plan = plan_objects(frames.groups, objects, (size[0], size[1]), settings)
    free = [index for index in range(len(frames)) if index not in plan]
    control_plan = plan_controls(free, controls, settings)
    # without its manifest a folder would pass for one whose images are all groups of their own
    with replace_folder(folder) as made:
        return _write_into(
            made, frames, plan, control_plan, settings, sources=sources, progress=progress
        )


def _write_into(
    folder: Path,
    frames: SampleDataset,
    plan: Mapping[int, Placement],
    control_plan: Mapping[int, tuple[ObjectSource, int]],
    settings: OverlaySettings,
    *,
    sources: dict[str, str] | None,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> dict[str, Any]:
    size = frames[0].target.shape
    for part in ('images', 'labels', 'controls'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    records = []
    ood_pixels = 0
    for index in progress(range(len(frames))):
        sample = frames[index]
        if sample.target.shape != size:
            raise ValueError(
                f'frames must have one size, got {sample.target.shape} of {sample.name} after '
                f'{size}.'
            )
        rng = np.random.default_rng((settings.seed, 3, index))
        image, target = sample.image, sample.target.copy()
        record: dict[str, Any] = {'name': sample.name, 'group': sample.group, 'tags': []}
        if index in plan:
            cut_out, corner = place_object(plan[index], (size[0], size[1]))
            image, covered = composite(image, cut_out, corner, settings.blending, rng)
            target[covered] = OOD
            ood_pixels += int(covered.sum())
            record['object'] = _describe(plan[index], corner, covered)
            record['tags'] = [plan[index].source.group.partition('/')[0]]
        elif index in control_plan:
            source, train_id = control_plan[index]
            cut_out = source.load()
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
        'ood_share': ood_pixels / (len(frames) * size[0] * size[1]),
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
) -> tuple[CutOut, tuple[int, int]]:
    """Return an object at its final size, and its corner."""
    cut_out = placement.source.load()
    rows, columns = (max(round(side * placement.scale), 1) for side in cut_out.mask.shape)
    image = cv2.resize(cut_out.image, (columns, rows), interpolation=cv2.INTER_AREA)
    share = cv2.resize(
        cut_out.mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA
    )
    mask = np.asarray(share) >= 0.5
    image = np.asarray(image)
    if placement.is_mirrored:
        image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
    return CutOut(image, mask), find_corner(placement, (rows, columns), frame_size)


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
