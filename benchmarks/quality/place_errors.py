"""
How far from the truth objects are placed, in rendered scenes of families never trained on.

    python -m benchmarks.quality.place_errors --scenes 40

Every accepted segment that covers an unknown object with an IoU of at least 0.25 is one row.
"""

import argparse

from meta_ood_ros.core import OodPipeline, OodResult
from meta_ood_ros.core.places import (
    CameraModel,
    GroundPlane,
    locate_in_depth,
    locate_on_ground,
    PlacedSegments,
)
from meta_ood_ros.core.places.depth_map import nearest_pixels
from meta_ood_ros.scenes import render_scene, Scene, stereo_depth
import numpy as np

SIZE = (360, 640)
FIRST_SEED = 1000
LEAST_IOU = 0.25
RANGES = {'perfect depth': 30.0, 'stereo depth': 30.0, 'ground plane': 20.0}


def measure(scenes: int) -> dict[str, np.ndarray]:
    """Return distance and error [m] of each object found, NaN without place, by source."""
    pipeline = OodPipeline()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in RANGES}
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        scene = render_scene(seed, size=SIZE, ood_objects=3, split='test')
        result = pipeline(scene.image)
        segments, objects = _found(result, scene)
        for name, (placed, truth) in _place(result, scene, segments, seed).items():
            truth = truth[objects]
            error = np.linalg.norm(placed.positions - truth, axis=1)
            rows[name].append(np.column_stack([np.linalg.norm(truth, axis=1), error]))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _found(result: OodResult, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of accepted segments and the indices of the objects that they cover."""
    labels = result.segments.labels
    rows, columns = (nearest_pixels(*pair) for pair in zip(labels.shape, SIZE, strict=True))
    truth = scene.ood_ids[rows][:, columns]
    pairs = []
    for row in np.flatnonzero(result.accepted):
        mask = labels == row + 1
        votes = np.bincount(truth[mask])
        votes[0] = 0
        best = int(votes.argmax())
        if votes[best] >= LEAST_IOU * np.count_nonzero(mask | (truth == best)) > 0 < best:
            pairs.append((row, best - 1))
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _place(
    result: OodResult, scene: Scene, rows: np.ndarray, seed: int
) -> dict[str, tuple[PlacedSegments, np.ndarray]]:
    camera = CameraModel.from_calibration(SIZE, scene.camera_matrix)
    stereo = stereo_depth(scene.depth, scene.camera_matrix[0, 0], seed)
    camera = camera.resized(result.work_size)
    labels, boxes = result.segments.labels, result.summary.boxes[rows]
    ids = (rows + 1).astype(np.int32)
    plane = GroundPlane.from_mounting(scene.camera_height)
    return {
        'perfect depth': (
            locate_in_depth(labels, ids, boxes, scene.depth, camera), scene.ood_positions,
        ),
        'stereo depth': (
            locate_in_depth(labels, ids, boxes, stereo, camera), scene.ood_positions,
        ),
        'ground plane': (locate_on_ground(labels, ids, boxes, plane, camera), scene.ood_feet),
    }  # fmt: skip


def to_table(errors: dict[str, np.ndarray]) -> str:
    """Return the table of docs/robot.md."""
    text = (
        '| source | up to | objects | without place | median error | 90 % | within 10 % |\n'
        '|---|---|---|---|---|---|---|\n'
    )
    for name, rows in errors.items():
        near = rows[rows[:, 0] <= RANGES[name]]
        placed = near[np.isfinite(near[:, 1])]
        share = placed[:, 1] / placed[:, 0]
        text += (
            f'| {name} | {RANGES[name]:.0f} m | {len(near)} | {len(near) - len(placed)} | '
            f'{np.median(placed[:, 1]):.2f} m, {np.median(share):.1%} | '
            f'{np.quantile(share, 0.9):.1%} | {(share <= 0.1).mean():.0%} |\n'
        )
    return text


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Errors of places in rendered scenes.')
    parser.add_argument('--scenes', type=int, default=40)
    print(to_table(measure(parser.parse_args().scenes)), end='')
