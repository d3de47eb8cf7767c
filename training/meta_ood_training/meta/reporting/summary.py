"""Numbers of a report -> the few lines that stand on the screen when a fit ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meta_ood_training.meta.options import KINDS


def summarize(report: Mapping[str, Any]) -> str:
    """Return what was fitted at each threshold, a line each, all of it out of fold."""
    lines = []
    for scores in report['thresholds']:
        head = (
            f'threshold {scores["entropy_threshold"]:g}: {scores["segments"]} segments, '
            f'{scores["true_segments"]} true, of {scores["images"]} images'
        )
        without = scores['without_meta']
        lines.append(f'{head}; without classifier {_errors(without)}')
        for kind in KINDS:
            if kind in scores:
                one = scores[kind]
                lines.append(
                    f'  {kind.replace("_", " ")}: {_errors(one["at_operating_point"])}; '
                    f'AUROC {one["ranking"]["auroc"]:.3f}, calibration error '
                    f'{one["ece_after"]:.3f} ({one["groups"]} groups in {one["folds"]} folds)'
                )
                lines += [
                    f'    published at {core["core_threshold"]:g}: {_errors(core)}'
                    for core in one['published']
                    if core['core_threshold']
                ]
    explained = report.get('explanation')
    if explained:
        lines.append(f'what decides: {", ".join(explained["lars_order"][:5])}')
    lines += report['notes']
    return '\n'.join(lines)


def _errors(scores: Mapping[str, Any]) -> str:
    return (
        f'{scores["false_positives"]} false, {scores["missed_objects"]} of {scores["objects"]} '
        'objects missed'
    )
