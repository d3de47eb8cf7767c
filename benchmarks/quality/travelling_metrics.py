"""
Which metrics tell true from false segments on every kind of street, and which on some alone.

    python -m benchmarks.quality.travelling_metrics --bundle NETWORK [--entropy-threshold .8]
        [--first 10] [--output FILE] --domain NAME=SEGMENTS --domain ...

SEGMENTS is a folder of `meta-ood-train segments`. Of each domain: the first metrics of its own
LARS path, and the AUROC of each metric alone, above .5 where true segments have larger values.
A metric that is well above .5 in one domain and well below in another does not travel.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path

from meta_ood_ros.core import load_bundle
from meta_ood_training.meta.judging.explain import find_lars_path
from meta_ood_training.meta.judging.segment_errors import rank_segments
from meta_ood_training.meta.reporting.metric_names import name_metrics
from meta_ood_training.segments.loading import load_segment_set
import numpy as np

FAR = 0.1
"""From .5: an AUROC that is nearer says nothing of so few true segments."""


@dataclass(frozen=True)
class MetricsOfDomain:
    """
    What the metrics are worth in one domain.

    Attributes
    ----------
    lars : tuple of str
        The first metrics of its path.
    auroc : dict of str to float
        Of each metric alone.

    """

    name: str
    segments: int
    true_segments: int
    lars: tuple[str, ...]
    auroc: dict[str, float]


def judge_metrics(
    name: str,
    metric_names: Sequence[str],
    metrics: np.ndarray,
    is_true_ood: np.ndarray,
    *,
    first: int,
) -> MetricsOfDomain:
    """Return the worth of metrics, (K, D), for K segments; there must be true and false ones."""
    true = int(is_true_ood.sum())
    if not 0 < true < len(is_true_ood):
        raise ValueError(
            f'domain {name} must have true and false segments, got {true} true of '
            f'{len(is_true_ood)}. Leave it out.'
        )
    order = find_lars_path(metrics, is_true_ood).order[:first]
    auroc = {
        metric: rank_segments(metrics[:, column], is_true_ood).auroc
        for column, metric in enumerate(metric_names)
    }
    lars = tuple(metric_names[one] for one in order)
    return MetricsOfDomain(name, len(is_true_ood), true, lars, auroc)


def order_by_difference(domains: Sequence[MetricsOfDomain]) -> list[str]:
    """Return all metrics, those of which the domains differ most first."""
    differences = {}
    for metric in domains[0].auroc:
        values = [one.auroc[metric] for one in domains]
        differences[metric] = max(values) - min(values)
    return sorted(differences, key=lambda metric: -differences[metric])


def find_opposites(domains: Sequence[MetricsOfDomain]) -> list[str]:
    """Return metrics that speak for true segments in one domain and against them in another."""
    return [
        metric
        for metric in order_by_difference(domains)
        if min(one.auroc[metric] for one in domains) <= 0.5 - FAR
        and max(one.auroc[metric] for one in domains) >= 0.5 + FAR
    ]


def find_travellers(domains: Sequence[MetricsOfDomain]) -> list[str]:
    """Return metrics that say the same everywhere, the clearest in its worst domain first."""
    worst = {}
    for metric in domains[0].auroc:
        values = np.array([one.auroc[metric] for one in domains]) - 0.5
        if (values >= FAR).all() or (values <= -FAR).all():
            worst[metric] = float(np.abs(values).min())
    return sorted(worst, key=lambda metric: -worst[metric])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the paths and both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--bundle', required=True, help='for the names of classes')
    parser.add_argument('--domain', action='append', required=True, metavar='NAME=SEGMENTS')
    parser.add_argument('--entropy-threshold', type=float, default=0.8)
    parser.add_argument('--first', type=int, default=10, help='metrics of each list')
    parser.add_argument('--output', type=Path)
    parsed = parser.parse_args(arguments)
    class_names = load_bundle(parsed.bundle).class_names
    domains = []
    for text in parsed.domain:
        name, _, folder = text.partition('=')
        if not name or not folder:
            parser.error(f'--domain must be NAME=SEGMENTS, got {text!r}')
        segments = load_segment_set([Path(folder)], parsed.entropy_threshold)
        names = name_metrics(segments.metric_names, class_names)
        domains.append(
            judge_metrics(name, names, segments.metrics, segments.is_true_ood, first=parsed.first)
        )
    for one in domains:
        path = ', '.join(one.lars)
        print(f'{one.name} ({one.segments} segments, {one.true_segments} true): {path}')
    chosen = {'travels': find_travellers(domains), 'differs': order_by_difference(domains)}
    print(f'| metric | | {" | ".join(one.name for one in domains)} | first {parsed.first} |')
    print('|---|---|' + '---|' * (len(domains) + 1))
    for verdict, metrics in chosen.items():
        for metric in metrics[: parsed.first]:
            values = ' | '.join(f'{one.auroc[metric]:.2f}' for one in domains)
            times = sum(metric in one.lars for one in domains)
            print(f'| {metric} | {verdict} | {values} | {times} of {len(domains)} |')
    opposites = find_opposites(domains)
    print(
        f'{len(chosen["travels"])} of {len(domains[0].auroc)} metrics say the same everywhere, '
        f'{len(opposites)} the opposite somewhere: {", ".join(opposites) or "none"}'
    )
    if parsed.output:
        facts = [{**vars(one), 'lars': list(one.lars)} for one in domains]
        parsed.output.write_text(
            json.dumps({'domains': facts, **chosen, 'opposites': opposites}, indent=1)
        )


if __name__ == '__main__':
    main()
