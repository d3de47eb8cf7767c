"""The segment metrics alone, against a loop over segments and against their definition."""

from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.segment_metrics import measure_segments, measure_segments_from_logits
from meta_ood_ros.core.segments import find_segments
import numpy as np

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns
from benchmarks.segments.naive import measure_in_a_loop, upsample_probabilities
from benchmarks.segments.synthetic import make_scene, THRESHOLD

TITLE = 'Segment metrics alone'


def measure(options: Options) -> list[Comparison]:
    """Return two rows; the values of all three are compared first."""
    height, width = options.image_size
    grid = height // 4, width // 4
    scene = make_scene(grid, options.image_size, segments=options.segments, share=0.05)
    dense = predict_dense(scene.logits, scene.size)
    segments = find_segments(dense.entropy >= THRESHOLD)
    # the loop gets its input for nothing: the softmax is not part of its time
    probabilities = upsample_probabilities(scene.logits, scene.size)

    def run() -> np.ndarray:
        return measure_segments_from_logits(scene.logits, scene.size, segments, dense=dense).values

    def loop() -> np.ndarray:
        return measure_in_a_loop(probabilities, segments.labels, segments.count)

    def define() -> np.ndarray:
        return measure_segments(probabilities, segments).values

    difference = {'largest_difference': _compare(run(), loop(), define())}
    rounds = min(options.rounds, 5)
    times = time_in_turns({'fast': run, 'loop': loop, 'definition': define}, rounds)
    case = f'{segments.count} segments, 5 % OoD pixels of {height}x{width}'
    return [
        compare_times(
            case,
            'measure_segments_from_logits',
            'numpy: one mask of the image a segment',
            (times['fast'], times['loop']),
            target=50.0,
            details=difference,
        ),
        compare_times(
            case,
            'measure_segments_from_logits',
            'measure_segments (numpy, all segments at once)',
            (times['fast'], times['definition']),
        ),
    ]


def _compare(values: np.ndarray, *others: np.ndarray) -> float:
    """Return the largest difference, relative where values exceed 1; refuse a wrong result."""
    worst = max(
        float((np.abs(values - other) / np.maximum(np.abs(values), 1.0)).max(initial=0.0))
        for other in others
    )
    if not worst < 1e-4:
        raise ValueError(
            f'the metrics must agree with their baselines to 1e-4, got {worst:.2g}. '
            'Times of different results say nothing: run the tests.'
        )
    return worst
