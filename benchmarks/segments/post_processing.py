"""Logits -> semantic, entropy, segments, metrics, ood_probability, against naive torch."""

import statistics
import time
from typing import Any

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.segment_metrics import measure_segments_from_logits
from meta_ood_ros.core.segments import find_segments, summarize_segments

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns
from benchmarks.segments.naive import predict_dense_naively
from benchmarks.segments.synthetic import make_classifier, make_scene, Scene, THRESHOLD

TITLE = 'Post-processing of one frame'
NAIVE = 'torch: interpolate, softmax, entropy, argmax at full size'


def post_process(
    scene: Scene, classifier: MetaClassifier, stages: dict[str, list[float]] | None = None
) -> Any:
    """Do what the pipeline does after the network; note the milliseconds of each stage."""
    times = [time.perf_counter()]
    dense = predict_dense(scene.logits, scene.size)
    times.append(time.perf_counter())
    segments = find_segments(dense.entropy >= THRESHOLD)
    times.append(time.perf_counter())
    summary = summarize_segments(segments, dense.semantic, dense.entropy)
    times.append(time.perf_counter())
    metrics = measure_segments_from_logits(scene.logits, scene.size, segments, dense=dense)
    times.append(time.perf_counter())
    ood_probability = classifier.predict(metrics)
    times.append(time.perf_counter())
    if stages is not None:
        names = ('dense', 'segments', 'summary', 'metrics', 'meta_classifier')
        for name, begin, end in zip(names, times[:-1], times[1:], strict=True):
            stages.setdefault(name, []).append((end - begin) * 1e3)
    return summary, ood_probability


def measure(options: Options) -> list[Comparison]:
    """Return the rows for a quarter and a half of the image's resolution as logits."""
    height, width = options.image_size
    rows = []
    for divisor in (4, 2):
        grid = height // divisor, width // divisor
        rows += _measure_grid(grid, options, first=divisor == 4)
    return rows


def _measure_grid(grid: tuple[int, int], options: Options, *, first: bool) -> list[Comparison]:
    classifier = make_classifier()
    scenes = {
        share: make_scene(grid, options.image_size, segments=options.segments, share=share)
        for share in (0.05, 0.2)
    }
    stages: dict[float, dict[str, list[float]]] = {0.05: {}, 0.2: {}}
    times = time_in_turns(
        {
            'naive': lambda: predict_dense_naively(scenes[0.05].logits, options.image_size),
            'dense': lambda: predict_dense(scenes[0.05].logits, options.image_size),
            '5 %': lambda: post_process(scenes[0.05], classifier, stages[0.05]),
            '20 %': lambda: post_process(scenes[0.2], classifier, stages[0.2]),
        },
        options.rounds,
        before={
            'naive': scenes[0.05].write_logits,
            'dense': scenes[0.05].write_logits,
            '5 %': scenes[0.05].write_logits,
            '20 %': scenes[0.2].write_logits,
        },
    )
    height, width = options.image_size
    sizes = f'logits (19, {grid[0]}, {grid[1]}) to {height}x{width}'
    details = {
        share: {
            'segments': scenes[share].segments,
            'ood_share': scenes[share].share,
            'stages_ms': {name: statistics.median(t[1:]) for name, t in stages[share].items()},
        }
        for share in stages
    }
    return [
        compare_times(
            f'{sizes}: dense pass alone',
            'predict_dense',
            NAIVE,
            (times['dense'], times['naive']),
        ),
        compare_times(
            f'{sizes}: all of it, {scenes[0.05].segments} segments, 5 % OoD pixels',
            'post-processing',
            NAIVE,
            (times['5 %'], times['naive']),
            target=15.0 if first else None,
            details=details[0.05],
        ),
        compare_times(
            f'{sizes}: all of it, {scenes[0.2].segments} segments, 20 % OoD pixels',
            'post-processing at 20 %',
            'post-processing at 5 %',
            (times['20 %'], times['5 %']),
            kind='cost',
            target=2.0 if first else None,
            details=details[0.2],
        ),
    ]
