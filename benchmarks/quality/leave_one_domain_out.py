"""
What a bundle decides on streets that its meta classifier never saw: each domain left out in turn.

    python -m benchmarks.quality.leave_one_domain_out --bundle NETWORK [--entropy-threshold .4]
        [--core-threshold 0 .8] [--bound 1] [--classifier KIND ...] [--output FILE]
        --domain NAME=SEGMENTS=IMAGES --domain ...

SEGMENTS is a folder of `meta-ood-train segments`, IMAGES the labelled images (images/, labels/) of
the same frames. For each domain the classifier and its threshold (at most --bound false segments
a frame, over the domains left out in turn among the others) come from all the others; then the
whole pipeline is judged on the images of the one left out. The last row of each decision is the
mean over the domains. Of several classifiers each is fitted and judged alike. Where all SEGMENTS
were extracted with --core-threshold, each core threshold has a meta threshold of its own, with at
most --bound false PUBLISHED segments; else all share that of the segments as judged.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import tempfile
from typing import Any

from meta_ood_training.evaluation.deployed import DeployedScores
from meta_ood_training.evaluation.deployed_run import evaluate_segments
from meta_ood_training.meta.core_thresholds import find_lacking
from meta_ood_training.meta.fitted_bundle import fit_meta
from meta_ood_training.meta.options import KINDS
from meta_ood_training.meta.result import FitMetaResult
import numpy as np


@dataclass(frozen=True)
class Domain:
    """One kind of street: its table of segments and its labelled images."""

    name: str
    segments: Path
    images: Path


def parse_domain(text: str) -> Domain:
    """Return the domain that NAME=SEGMENTS=IMAGES names."""
    parts = text.split('=')
    if len(parts) != 3 or not all(parts):
        raise ValueError(f'--domain must be NAME=SEGMENTS=IMAGES, got {text!r}.')
    return Domain(parts[0], Path(parts[1]), Path(parts[2]))


def judge_left_out(
    domains: Sequence[Domain],
    left_out: Domain,
    *,
    bundle: str,
    entropy_threshold: float,
    core_thresholds: Sequence[float],
    bound: float,
    classifiers: Sequence[str] = KINDS[:1],
    ignored_metrics: Sequence[str] = (),
) -> dict[tuple[str, str], DeployedScores]:
    """Return the scores on one domain of what was fitted on all others, by kind and decision."""
    others = [one.segments for one in domains if one != left_out]
    above = [core for core in core_thresholds if core > entropy_threshold]
    lacking = find_lacking(others, above, [entropy_threshold])
    if lacking:
        print(f'--bound counts judged segments: no such cores in {", ".join(map(str, lacking))}')
    scores: dict[tuple[str, str], DeployedScores] = {}
    for kind in classifiers:
        with tempfile.TemporaryDirectory() as folder:
            fitted = fit_meta(
                others,
                bundle=bundle,
                thresholds=(entropy_threshold,),
                entropy_threshold=entropy_threshold,
                core_threshold=(0.0,) if lacking else tuple(core_thresholds),
                group_by='split' if len(others) > 1 else 'group',
                rule='max_false',
                bound=bound,
                classifier=kind,
                ignored_metrics=tuple(ignored_metrics),
                only=True,
                metric_counts=(),
                report=Path(folder) / 'report',
            )
        if fitted.bundle is None:
            raise ValueError(f'no classifier without {left_out.name}: {fitted.problem}')
        metas = find_meta_thresholds(fitted, kind, core_thresholds)
        judged = evaluate_segments(
            f'{left_out.name}:folder={left_out.images}',
            bundles={kind: fitted.bundle},
            decisions=[
                f'core {core:g}={entropy_threshold:g}:{meta!r}:{core:g}'
                for core, meta in zip(core_thresholds, metas, strict=True)
            ],
        )
        scores |= {(row.bundle, row.decision): row.scores for row in judged.rows}
    return scores


def find_meta_thresholds(
    fitted: FitMetaResult, kind: str, core_thresholds: Sequence[float]
) -> list[float]:
    """Return the meta threshold of each core threshold, of a fit at one entropy threshold."""
    (at_threshold,) = fitted.report['thresholds']
    own = {one['core_threshold']: one['meta_threshold'] for one in at_threshold[kind]['published']}
    as_judged = own.get(0.0, at_threshold[kind]['meta_threshold'])
    return [float(own.get(core, as_judged)) for core in core_thresholds]


def main(arguments: Sequence[str] | None = None) -> None:
    """Leave every domain out once and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--bundle', required=True)
    parser.add_argument('--domain', type=parse_domain, action='append', required=True)
    parser.add_argument('--entropy-threshold', type=float, default=0.5)
    parser.add_argument('--core-threshold', type=float, nargs='+', default=[0.0])
    parser.add_argument('--bound', type=float, default=1.0, help='false segments a frame')
    parser.add_argument('--classifier', nargs='+', choices=KINDS, default=KINDS[:1])
    parser.add_argument('--ignore-metric', nargs='*', default=())
    parser.add_argument('--output', type=Path)
    parsed = parser.parse_args(arguments)
    if len(parsed.domain) < 2:
        parser.error(f'--domain must be given at least twice, got {len(parsed.domain)}')
    table: dict[str, dict[tuple[str, str], DeployedScores]] = {}
    for domain in parsed.domain:
        table[domain.name] = judge_left_out(
            parsed.domain,
            domain,
            bundle=parsed.bundle,
            entropy_threshold=parsed.entropy_threshold,
            core_thresholds=parsed.core_threshold,
            bound=parsed.bound,
            classifiers=parsed.classifier,
            ignored_metrics=parsed.ignore_metric,
        )
    print(
        '| left out | classifier | decision | images | objects | found | touched | false a frame |'
    )
    print('|---|---|---|---|---|---|---|---|')
    records: list[dict[str, Any]] = []
    for kind, decision in next(iter(table.values())):
        rows = [(name, scores[kind, decision]) for name, scores in table.items()]
        title = {'classifier': kind, 'decision': decision}
        for name, one in rows:
            records.append(
                {
                    'left_out': name,
                    **title,
                    'images': one.images,
                    'objects': one.objects,
                    'found': one.found.value,
                    'touched': one.touched.value,
                    'false_a_frame': one.false_a_frame.value,
                }
            )
        here = records[-len(rows) :]
        keys = ('found', 'touched', 'false_a_frame')
        mean = {key: float(np.mean([one[key] for one in here])) for key in keys}
        records.append({'left_out': 'mean', **title, **mean})
    for row in records:
        print(
            f'| {row["left_out"]} | {row["classifier"]} | {row["decision"]} | '
            f'{row.get("images", "")} | {row.get("objects", "")} | {row["found"]:.1%} | '
            f'{row["touched"]:.1%} | '
            f'{row["false_a_frame"]:.2f} |'
        )
    if parsed.output:
        parsed.output.write_text(json.dumps({'arguments': arguments, 'rows': records}, indent=1))


if __name__ == '__main__':
    main()
