"""`evaluate --segments`: decisions of bundles on data sets -> table and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
import math
from typing import Any

from meta_ood_training.evaluation.deployed import (
    DeployedScores,
    SIZES_PX,
    SMALLEST_PX,
)
from meta_ood_training.evaluation.deployed_comparison import DeployedDifference
from meta_ood_training.markdown import render
from meta_ood_training.meta.judging.group_intervals import ErrorInterval
from meta_ood_training.scores.components import FOUND_SIOU
import numpy as np


@dataclass(frozen=True, eq=False)
class DeployedRow:
    """The scores of one decision of one bundle on one data set or part of it."""

    data: str
    bundle: str
    decision: str
    scores: DeployedScores


def format_deployed(
    rows: Sequence[DeployedRow], differences: Sequence[DeployedDifference] = ()
) -> str:
    """Return the decisions as Markdown: scores, objects by size, differences from the first."""
    limits = [*SIZES_PX, None]
    sizes = [
        f'{least} or more' if limit is None else f'{least} to {limit - 1}'
        for least, limit in pairwise(limits)
    ]
    return render(
        'meta_ood_training.evaluation',
        'deployed.md.jinja',
        rows=rows,
        differences=differences,
        signed=_signed,
        sizes=sizes,
        smallest=SMALLEST_PX,
        found_siou=f'{FOUND_SIOU:g}',
        cell=_cell,
    ).rstrip()


def to_deployed_record(row: DeployedRow) -> dict[str, Any]:
    """Return a row as plain values for JSON."""
    return {
        'data': row.data,
        'bundle': row.bundle,
        'decision': row.decision,
        **_plain(asdict(row.scores)),
    }


def _cell(value: ErrorInterval) -> str:
    if math.isnan(value.low):
        return f'{value.value:.3f}'
    return f'{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]'


def _signed(value: ErrorInterval) -> str:
    if math.isnan(value.low):
        return f'{value.value:+.3f}'
    return f'{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]'


def _plain(value: Any) -> Any:
    """Return lists for arrays and None for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value]
    value = value.item() if hasattr(value, 'item') else value
    return None if isinstance(value, float) and math.isnan(value) else value
