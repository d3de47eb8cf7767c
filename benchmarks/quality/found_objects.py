"""
How many unknown objects of rendered scenes a bundle finds, and how many false segments it accepts.

    python -m benchmarks.quality.found_objects [--bundle PATH] [--scenes 200] [--first 60000]
        [--entropy-threshold .4] [--meta-threshold .05] [--core-threshold .8]

An object counts as found where an accepted segment reaches an adjusted IoU of 0.25, as in the
table of `make demo`; here each scene is another street with shapes that no training scene shows.
"""

import argparse
from collections.abc import Sequence

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.received_grid import to_received_labels
from meta_ood_ros.core.settings import FROM_BUNDLE, PipelineSettings
from meta_ood_ros.demo.truth import compare_with_truth, FrameTruth, LARGE_PX
from meta_ood_ros.scenes import render_scene
import numpy as np
from tqdm import tqdm

SIZE = (360, 640)
VOID = 255
DRAWS = 2000
THRESHOLDS = ('entropy_threshold', 'meta_threshold', 'core_threshold')


def judge(pipeline: OodPipeline, seed: int) -> FrameTruth:
    """Return what the pipeline finds in one scene."""
    scene = render_scene(seed, size=SIZE, split='test')
    result = pipeline(scene.image)
    ids = to_received_labels(result.segments.labels.astype(np.uint16), SIZE)
    accepted = np.flatnonzero(result.accepted) + 1
    return compare_with_truth(ids, accepted, scene.ood_ids, scene.classes == VOID)


def draw_interval(found: np.ndarray, objects: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over scenes of the share that is found."""
    chosen = np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))
    shares = found[chosen].sum(1) / np.maximum(objects[chosen].sum(1), 1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the scenes and print one line a kind of object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--bundle', help='default: the installed one')
    parser.add_argument('--scenes', type=int, default=200)
    parser.add_argument('--first', type=int, default=60_000, help='seed of the first scene')
    for name in THRESHOLDS:
        option = f'--{name.replace("_", "-")}'
        parser.add_argument(option, type=float, default=FROM_BUNDLE, help='default: the bundle')
    parsed = parser.parse_args(arguments)
    settings = PipelineSettings(**{name: getattr(parsed, name) for name in THRESHOLDS})
    pipeline = OodPipeline(load_bundle(parsed.bundle), settings)
    seeds = range(parsed.first, parsed.first + parsed.scenes)
    frames = [judge(pipeline, seed) for seed in tqdm(seeds, unit='scene')]
    print(f'{pipeline.bundle.model_id}, seeds {seeds[0]} to {seeds[-1]}')
    for title, is_large in ((f'of {LARGE_PX} px or more', True), ('smaller', False)):
        kept = [[one for one in frame.objects if one.is_large == is_large] for frame in frames]
        found = np.array([sum(one.is_found for one in objects) for objects in kept])
        count = np.array([len(objects) for objects in kept])
        low, high = draw_interval(found, count)
        share = found.sum() / max(count.sum(), 1)
        print(f'{title}: {found.sum()} of {count.sum()}, {share:.3f} [{low:.3f}, {high:.3f}]')
    print(f'false segments a scene: {np.mean([one.false_segments for one in frames]):.2f}')


if __name__ == '__main__':
    main()
