"""How the time grows with cameras whose frames are ready together: in one batch, and in turns."""

from collections.abc import Callable
from functools import partial

from meta_ood_ros.core.backends import resolve_device
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.pipeline import OodPipeline, OodResult
from meta_ood_ros.scenes import render_scene
import numpy as np

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns
from benchmarks.network.default_bundle import IMAGE_SIZE

TITLE = 'Growth with cameras, default bundle on 480x360 images'
CAMERAS = (1, 2, 4)


def measure(options: Options) -> list[Comparison]:
    """Return the rows of the default bundle, on a GPU where there is one."""
    images = [
        render_scene(seed, size=IMAGE_SIZE, ood_objects=2).image for seed in range(max(CAMERAS))
    ]
    return measure_cameras(load_bundle(), images, options.rounds, CAMERAS)


def measure_cameras(
    bundle: Bundle, images: list[np.ndarray], rounds: int, cameras: tuple[int, ...]
) -> list[Comparison]:
    """
    Return two rows for each number of cameras above the first: growth, and batch against turns.

    Parameters
    ----------
    images : list of ndarray of shape (H, W, 3), uint8
        One a camera, all of one size; at least as many as there are cameras.

    """
    pipeline = OodPipeline(bundle, device=str(resolve_device('auto').device))

    def in_turns(count: int) -> list[OodResult]:
        return [pipeline(image) for image in images[:count]]

    runs: dict[str, Callable[[], object]] = {}
    for count in cameras:
        runs[f'turns {count}'] = partial(in_turns, count)
        runs[f'batch {count}'] = partial(pipeline.batch, images[:count])
    times = time_in_turns(runs, rounds)
    height, width = images[0].shape[:2]
    where = f'{width}x{height}, {pipeline.backend.name} on {pipeline.backend.device.type}'
    first = cameras[0]
    rows = []
    for count in cameras[1:]:
        turns, batch = times[f'turns {count}'], times[f'batch {count}']
        rows.append(
            compare_times(
                f'growth, {where}',
                f'{count} cameras in turns',
                f'{first} camera' + 's' * (first > 1),
                (turns, times[f'turns {first}']),
                kind='cost',
            )
        )
        rows.append(
            compare_times(
                f'all answers, {where}',
                f'{count} cameras in one batch',
                f'{count} cameras in turns',
                (batch, turns),
            )
        )
    return rows
