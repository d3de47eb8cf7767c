"""The sections of a report that only some runs have: the test, and what decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meta_ood_training.meta.reporting.tables import (
    render_table,
    show_interval,
    show_percent,
    show_range,
    show_reduction,
)


def render_comparison(report: Mapping[str, Any]) -> str:
    if not report.get('comparison'):
        return ''
    parts = report.get('comparison_of_parts', {})
    return '\n\n'.join(
        [
            '## On the test: before and after',
            'Every threshold and classifier below was chosen on the segments to fit on.',
            *_render_stages(report['comparison']),
            *(
                piece
                for word, comparison in parts.items()
                for piece in (f'### {word} alone', *_render_stages(comparison))
            ),
        ]
    )


def _render_stages(comparison: Mapping[str, Any]) -> list[str]:
    head = ['stage', 'threshold', 'meta', 'FP', 'FN', 'errors', 'F1', 'road missed']
    head += ['objects', 'objects left out', 'segments left out']
    rows = [
        [
            one['title'],
            f'{one["entropy_threshold"]:g}',
            one['meta_threshold'],
            show_interval(one, 'false_positives'),
            show_interval(one, 'missed_objects'),
            show_interval(one, 'errors'),
            one['f1'],
            show_percent(one['road_miss_rate']),
            one['objects'],
            one['objects_left_out'],
            one['segments_left_out'],
        ]
        for one in comparison['stages']
    ]
    reductions = [
        [
            one['from'],
            *(show_reduction(one[name]) for name in ('errors', 'missed_objects')),
        ]
        for one in comparison['reductions']
    ]
    return [
        render_table(head, rows),
        'An object that in one stage is touched only by segments left out there (more than half '
        'void, or incomplete) is left out of all.',
        f'Fewer errors with "{comparison["stages"][-1]["title"]}" than with:',
        render_table(['stage', 'errors FP + FN', 'missed objects'], reductions),
    ]


def render_explanation(report: Mapping[str, Any]) -> str:
    explained = report.get('explanation')
    if not explained:
        return ''
    coefficients = [
        [one['metric'], one['coefficient'], show_range(one['lower'], one['upper'])]
        for one in explained['coefficients'][:15]
    ]
    pieces = [
        '## What decides',
        f'At entropy threshold {explained["entropy_threshold"]:g}. Signs: positive speaks for a '
        'true OoD segment (the papers regress the false ones).',
        'First metrics of the LARS path: ' + ', '.join(explained['lars_order'][:12]) + '.',
        *_images(report, ('lars', 'coefficients', 'metric_subsets')),
        render_table(
            ['metric', 'coefficient', f'95 % over groups, {explained["bootstrap_draws"]} draws'],
            coefficients,
        ),
    ]
    if explained.get('metric_subsets'):
        pieces.append(
            render_table(
                [
                    'first N metrics',
                    'LR AUROC',
                    'LR AUPRC (false)',
                    'NN AUROC',
                    'NN AUPRC (false)',
                ],
                [
                    [one['count'], *one['logistic_regression'], *one['neural_network']]
                    for one in explained['metric_subsets']
                ],
            )
        )
    for one in explained['segments']:
        pieces.append(
            f'**{one["image"]}, segment {one["segment"]}** ({one["size_px"]} pixels, '
            f'{"true" if one["is_true_ood"] else "false"}, '
            f'{"accepted" if one["accepted"] else "rejected"}, ood_probability '
            f'{one["ood_probability"]:.3f} against {one["meta_threshold"]:.3f}): the average '
            f'segment has logit {one["base"]:.2f}; '
            + ', '.join(f'{name} {value:+.2f}' for name, value in one['contributions'])
            + f'; all others {one["others"]:+.2f}; logit {one["logit"]:.2f}.'
        )
    return '\n\n'.join(pieces)


def _images(report: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    figures = report['figures']
    return [f'![{key.replace("_", " ")}]({figures[key]})' for key in keys if key in figures]
