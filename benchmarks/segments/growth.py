"""How the time of the post-processing grows with segments, pixels and the share of OoD pixels."""

from functools import partial

from benchmarks.figures.comparison import compare_times, Comparison, Options, time_in_turns
from benchmarks.segments.post_processing import post_process
from benchmarks.segments.synthetic import make_classifier, make_scene, Scene

TITLE = 'Growth of the post-processing'


def measure(options: Options) -> list[Comparison]:
    """Return one row a step; each is compared with the first of its curve."""
    height, width = options.image_size
    few, share = options.segments, 0.05
    classifier = make_classifier()

    def scene(
        segments: int = few, ood: float = share, size: tuple[int, int] = (height, width)
    ) -> Scene:
        return make_scene((size[0] // 4, size[1] // 4), size, segments=segments, share=ood)

    base = f'{few} segments, 5 %, {height}x{width}'
    curves = {
        'segments': {
            f'{2 * few} segments': (scene(segments=2 * few), 1.1),
            f'{4 * few} segments': (scene(segments=4 * few), None),
        },
        'pixels': {
            f'{height}x{2 * width}': (scene(size=(height, 2 * width)), 2.2),
            f'{2 * height}x{2 * width}': (scene(size=(2 * height, 2 * width)), None),
            f'{height // 2}x{width}': (scene(size=(height // 2, width)), None),
        },
        'share': {
            f'{ood:.0%} OoD pixels': (scene(ood=ood), 2.0 if ood == 0.2 else None)
            for ood in (0.01, 0.1, 0.2, 0.4)
        },
    }
    start = scene()
    runs = {base: partial(post_process, start, classifier)}
    before = {base: start.write_logits}
    for steps in curves.values():
        for name, (step, _) in steps.items():
            runs[name] = partial(post_process, step, classifier)
            before[name] = step.write_logits
    times = time_in_turns(runs, options.rounds, before=before)
    return [
        compare_times(
            f'{curve}: {name}',
            name,
            base,
            (times[name], times[base]),
            kind='cost',
            target=target,
            details={'segments': step.segments, 'ood_share': step.share},
        )
        for curve, steps in curves.items()
        for name, (step, target) in steps.items()
    ]
