"""Evaluations of methods -> rows sorted by AP, Markdown and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
import math
from typing import Any

from meta_ood_training.evaluation.bench.counts import MethodEvaluation
from meta_ood_training.evaluation.bench.published import PUBLISHED
from meta_ood_training.evaluation.report import to_record
from meta_ood_training.markdown import render
from meta_ood_training.methods import Method
from meta_ood_training.scores import Interval, PixelScores


@dataclass(frozen=True, eq=False)
class Row:
    """
    One method of one bundle on one data set.

    Attributes
    ----------
    retrains, uses_ood_data : bool
        Of the method, or of the training of the bundle.
    interval : Interval or None
        Of the AP, 95 % over groups.

    """

    method: str
    bundle: str
    scores: PixelScores
    interval: Interval | None
    mean_iou: float
    retrains: bool
    uses_ood_data: bool
    seconds: float
    f1: float = math.nan


#: Data (set, or 'set, part') -> bundle -> method -> evaluation.
MethodResults = dict[str, dict[str, dict[str, MethodEvaluation]]]


@dataclass(frozen=True)
class Training:
    """How a bundle's network was trained, by its provenance."""

    retrains: bool
    uses_ood_data: bool


def training_of(provenance: Mapping[str, Any]) -> Training:
    """Return what the provenance of a bundle says: `finetune` states steps and data."""
    data = set(provenance.get('data') or ())
    is_tuned = 'step' in provenance
    return Training(is_tuned, is_tuned and bool(data & {'coco', 'ecssd', 'objects'}))


def rank(
    by_bundle: Mapping[str, Mapping[str, MethodEvaluation]],
    methods: Mapping[str, Method],
    trainings: Mapping[str, Training],
) -> list[Row]:
    """Return the rows of one data set, the highest AP first; none where nothing can be ranked."""
    rows = []
    for bundle, evaluations in by_bundle.items():
        for name, one in evaluations.items():
            if name not in one.pixels.scores:
                continue
            method, training = methods[name], trainings[bundle]
            rows.append(
                Row(
                    name,
                    bundle,
                    one.pixels.scores[name],
                    one.pixels.intervals.get(name, {}).get('average_precision'),
                    one.pixels.confusion.mean_iou(),
                    method.retrains or training.retrains,
                    method.uses_ood_data or training.uses_ood_data,
                    one.seconds,
                    one.f1,
                )
            )
    return sorted(rows, key=lambda row: (-row.scores.average_precision, row.method, row.bundle))


@dataclass(frozen=True, eq=False)
class WrongRow:
    """How well one method of one bundle finds the pixels whose class is wrong."""

    method: str
    bundle: str
    scores: PixelScores
    mean_iou: float


def rank_wrong(by_bundle: Mapping[str, Mapping[str, MethodEvaluation]]) -> list[WrongRow]:
    """Return the rows of one data set, the highest AP first; none where that was not asked."""
    rows = [
        WrongRow(name, bundle, one.pixels.wrong[name], one.pixels.confusion.mean_iou())
        for bundle, evaluations in by_bundle.items()
        for name, one in evaluations.items()
        if name in one.pixels.wrong
    ]
    return sorted(rows, key=lambda row: (-row.scores.average_precision, row.method, row.bundle))


def format_ranking(
    ranked: Mapping[str, Sequence[Row]],
    missing: Mapping[str, Mapping[str, str]],
    *,
    frames: Mapping[str, int],
    with_published: bool,
    wrong: Mapping[str, Sequence[WrongRow]] | None = None,
) -> str:
    """
    Return the tables in Markdown.

    Parameters
    ----------
    ranked : mapping of str to sequence of Row
        By data.
    missing : mapping of str to mapping of str to str
        Bundle -> method that did not run -> why.
    frames : mapping of str to int
        Images by data.
    with_published : bool
        Whether the papers' own tables follow, apart from ours.
    wrong : mapping of str to sequence of WrongRow, optional
        Wrong classes found, by data.

    """
    shown: list[Sequence[Row | WrongRow]] = [*ranked.values(), *(wrong or {}).values()]
    several = len({row.bundle for rows in shown for row in rows}) > 1
    return render(
        'meta_ood_training.evaluation.bench',
        'ranking.md.jinja',
        filters={'value': _value, 'yes': _yes},
        ranked=ranked,
        missing=missing,
        frames=frames,
        several=several,
        wrong=wrong or {},
        published=PUBLISHED if with_published else (),
    ).rstrip()


def to_rows_record(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain values for JSON."""
    return [
        {
            'method': row.method,
            'bundle': row.bundle,
            **asdict(row.scores),
            'average_precision_95': None
            if row.interval is None
            else list(asdict(row.interval).values()),
            'f1': _number(row.f1),
            'mean_iou': _number(row.mean_iou),
            'retrains': row.retrains,
            'uses_ood_data': row.uses_ood_data,
            'seconds_a_frame': _number(row.seconds),
        }
        for row in rows
    ]


def to_method_record(one: MethodEvaluation, name: str) -> dict[str, Any]:
    """Return an evaluation as plain values for JSON, with its curves."""
    record = to_record(one.pixels)
    record['scores'] = {name: record['scores'][name]} if name in record['scores'] else {}
    wrong = one.pixels.wrong.get(name)
    return record | {
        'seconds_a_frame': _number(one.seconds),
        'misclassification': None if wrong is None else asdict(wrong),
    }


def _value(value: float | None, digits: int = 3) -> str:
    return '' if value is None or math.isnan(value) else f'{value:.{digits}f}'


def _yes(value: bool | None) -> str:
    return '' if value is None else 'yes' if value else 'no'


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
