"""Numbers of a run -> report.json and report.md with its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import math
from pathlib import Path
from typing import Any

from meta_ood_training.meta.reporting.sections import render_comparison, render_explanation
from meta_ood_training.meta.reporting.tables import render_table, show_interval, show_percent

_KINDS = {'logistic_regression': 'LR', 'neural_network': 'NN'}

COUNTING_NOTE = (
    'FP counts the false segments that remain. The published script prints under that name the '
    'true segments that were removed (column "true removed"), so its FP do not compare with these.'
)


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write report.json and report.md."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(report), indent=2, allow_nan=False)
    (folder / 'report.json').write_text(text + '\n', encoding='utf-8')
    path = folder / 'report.md'
    path.write_text(render_markdown(report), encoding='utf-8')
    return path


def render_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown text."""
    sections = [
        '# Meta classification',
        _render_provenance(report),
        _render_errors(report),
        _render_ranking(report),
        _render_components(report),
        _render_operating(report),
        _render_sizes(report),
        render_comparison(report),
        render_explanation(report),
    ]
    return '\n\n'.join(section for section in sections if section) + '\n'


def _render_provenance(report: Mapping[str, Any]) -> str:
    data = report['data']
    lines = [
        f'`{report["command"]}`, revision {report["revision"]}, {report["date"]}.',
        f'Model {data["model_id"]}, label rule {data["label_rule"]} '
        f'({data["void_rule"]}); {data["connectivity"]}-connected segments of at least '
        f'{data["min_size_px"]} work pixels; unit of missed objects: '
        f'{" or ".join(data["missed_object_unit"])} of at least {report["min_object_px"]} pixels.',
        'z-scores '
        + ('over all segments, as published' if report['leaky_scaler'] else 'inside each fold')
        + f'; folds keep {report["group_by"]}s together'
        + (f' and {100 * report["gap"]:g} % of a neighbouring block out' if report['gap'] else '')
        + '; intervals are 95 %, drawn over groups.',
        *report['notes'],
        render_table(
            ['use', 'data', 'frames', 'what counts at all'],
            [
                [use, one['title'], one['frames'], one['region_of_interest']]
                for use, sidecar in (('fit', data), ('test', report.get('test_data')))
                if sidecar
                for one in sidecar['sources']
            ],
        ),
    ]
    return '\n\n'.join(lines)


def _render_errors(report: Mapping[str, Any]) -> str:
    head = ['threshold', 'classifier', 'FP', 'FN', 'errors', 'F1', 'road missed', 'all missed']
    head += ['true removed']
    rows = []
    for name, evaluations in _sides(report):
        for scores in evaluations:
            for title, errors in _error_rows(scores):
                rows.append(
                    [
                        f'{scores["entropy_threshold"]:g}',
                        f'{name}{title}',
                        errors['false_positives'],
                        errors['missed_objects'],
                        show_interval(errors, 'errors'),
                        errors['f1'],
                        show_percent(errors['road_miss_rate']),
                        show_percent(errors['in_distribution_miss_rate']),
                        errors['true_removed'],
                    ]
                )
    figure = report['figures'].get('errors')
    return '\n\n'.join(
        [
            '## Detection errors (table 2 of Chan et al.)',
            COUNTING_NOTE,
            render_table(head, rows),
            f'![errors over the entropy threshold]({figure})' if figure else '',
        ]
    )


def _sides(report: Mapping[str, Any]) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    sides = [('', report['thresholds'])]
    if report.get('baseline'):
        sides = [('before: ', report['baseline']), ('after: ', report['thresholds'])]
    return sides


def _error_rows(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows = [('none', scores['without_meta'])]
    for kind, title in _KINDS.items():
        if kind not in scores:
            continue
        left = scores[kind]['left_out']
        if left and left['at_published_threshold']:
            rows.append((f'{title}, segment left out, .5', left['at_published_threshold']))
        rows.append((f'{title}, grouped, .5', scores[kind]['at_published_threshold']))
        rows.append((f'{title}, grouped, operating point', scores[kind]['at_operating_point']))
    return rows


def _render_ranking(report: Mapping[str, Any]) -> str:
    head = ['threshold', 'score', 'segments', 'AUROC', 'AUPRC false', 'base rate', 'AUPRC true']
    head += ['base rate']
    rows = []
    for name, evaluations in _sides(report):
        for scores in evaluations:
            ranked = [('max softmax', scores['max_softmax'])]
            for kind, title in _KINDS.items():
                if kind in scores:
                    left = scores[kind]['left_out']
                    if left:
                        ranked.append((f'{title}, segment left out', left['ranking']))
                    ranked.append((f'{title}, grouped', scores[kind]['ranking']))
            for title, one in ranked:
                rows.append(
                    [
                        f'{scores["entropy_threshold"]:g}',
                        f'{name}{title}',
                        scores['segments'],
                        one['auroc'],
                        one['auprc_false'],
                        one['base_rate_false'],
                        one['auprc_true'],
                        one['base_rate_true'],
                    ]
                )
    figures = [
        f'![{title}]({report["figures"][key]})'
        for key, title in (('curves', 'ROC and PR'), ('reliability', 'reliability'))
        if key in report['figures']
    ]
    return '\n\n'.join(
        [
            '## Meta classification (table 3 of Chan et al., table 2 of Runtas & Petkovic)',
            '"false": positive = false segment, as in the papers; "true": positive = true OoD. '
            'The base rate is the AUPRC of a random score. max softmax: segment mean of the '
            'largest softmax probability, as a score for false segments.',
            render_table(head, rows),
            *figures,
        ]
    )


def _render_components(report: Mapping[str, Any]) -> str:
    rows = []
    for name, evaluations in _sides(report):
        for scores in evaluations:
            for title, errors in _error_rows(scores):
                parts = errors['components']
                rows.append(
                    [
                        f'{scores["entropy_threshold"]:g}',
                        f'{name}{title}',
                        parts['siou'],
                        parts['ppv'],
                        parts['f1'],
                        errors['objects_with_siou_25'],
                        errors['false_segments_per_image'],
                    ]
                )
    head = ['threshold', 'classifier', 'sIoU', 'PPV', 'mean F1', 'objects sIoU >= .25']
    head += ['false an image']
    return '## Components (SegmentMeIfYouCan)\n\n' + render_table(head, rows)


def _render_operating(report: Mapping[str, Any]) -> str:
    rows = []
    for scores in report['thresholds']:
        for kind, title in _KINDS.items():
            if kind in scores:
                one = scores[kind]
                rows.append(
                    [
                        f'{scores["entropy_threshold"]:g}',
                        title,
                        one['operating_point']['rule'],
                        one['meta_threshold'],
                        one['operating_point']['logit'],
                        f'{min(one["logits_of_folds"]):.2f} to {max(one["logits_of_folds"]):.2f}',
                        one['ece_before'],
                        one['ece_after'],
                        ', '.join(one['constant_metrics']) or 'none',
                    ]
                )
    head = ['threshold', 'classifier', 'rule', 'meta threshold', 'as raw logit', 'in the folds']
    head += ['ECE raw', 'ECE calibrated', 'constant metrics']
    return '\n\n'.join(
        [
            '## Operating point and calibration',
            'In the bundle: ' + report['chosen'] + '.' if report.get('chosen') else '',
            render_table(head, rows),
        ]
    )


def _render_sizes(report: Mapping[str, Any]) -> str:
    rows = []
    for scores in report['thresholds']:
        for kind, title in _KINDS.items():
            if kind in scores:
                for one in scores[kind]['by_size']:
                    rows.append(
                        [
                            f'{scores["entropy_threshold"]:g}',
                            title,
                            f'{one["from_px"]}-{one["to_px"] or ""}',
                            one['segments'],
                            one['auroc'],
                            one['auprc_false'],
                            one['base_rate_false'],
                            f'{one["true_accepted"]}/{one["true"]}',
                            f'{one["false_accepted"]}/{one["false"]}',
                        ]
                    )
    head = ['threshold', 'classifier', 'pixels', 'segments', 'AUROC', 'AUPRC false', 'base rate']
    head += ['true kept', 'false kept']
    figure = report['figures'].get('sizes')
    return '\n\n'.join(
        [
            '## By segment size',
            render_table(head, rows),
            f'![AUROC by size]({figure})' if figure else '',
        ]
    )


def _plain(value: Any) -> Any:
    """Return the same without numpy types; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, 'tolist'):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
