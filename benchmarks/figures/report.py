"""Comparisons -> a table on the screen, a JSON file and a picture."""

from dataclasses import fields
from datetime import datetime, timezone
import json
import os
from pathlib import Path
import platform
import subprocess
from typing import Any

import matplotlib

from benchmarks.figures.comparison import Comparison, find_quartiles

matplotlib.use('Agg')
from matplotlib import pyplot as plt
import numba
import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to judge the numbers."""
    cpu = platform.processor() or platform.machine()
    information = Path('/proc/cpuinfo')
    if information.is_file():
        names = [line for line in information.read_text().splitlines() if 'model name' in line]
        cpu = names[0].partition(':')[2].strip() if names else cpu
    revision = subprocess.run(
        ['git', 'describe', '--always', '--dirty'], cwd=REPOSITORY, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return {
        'cpu': cpu,
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'load_average': os.getloadavg()[0],
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else 'not measured',
        'python': platform.python_version(),
        'torch': torch.__version__,
        'numba': numba.__version__,
        'numpy': np.__version__,
        'revision': revision.stdout.strip() or 'unknown',
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }


def format_row(row: Comparison) -> str:
    """Return one line of text: outcome with quartiles, verdict, medians, what against what."""
    record = row.to_record()
    low, high = record['outcome_quartiles']
    verdict = {None: '', True: ' met', False: ' MISSED'}[row.met]
    sign = '>=' if row.kind == 'speed-up' else '<='
    target = '' if row.target is None else f' (target {sign} {row.target:g}:{verdict})'
    cpu = '' if row.cpu_ratio is None else f'; {row.cpu_ratio:.2f} in processor time'
    unit = f'{row.unit} more' if row.kind == 'difference' else 'x'
    return (
        f'  {row.outcome:8.2f} {unit} [{low:.2f} .. {high:.2f}{cpu}]{target}  {row.case}: '
        f'{row.subject} {record["subject_median"]:.3g} {row.unit}, '
        f'{row.baseline} {record["baseline_median"]:.3g} {row.unit}'
    )


def write_json(
    rows: dict[str, list[Comparison]],
    titles: dict[str, str],
    path: Path,
    *,
    kept: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Write all figures with their medians, quartiles and raw values, and when they were measured.

    Parameters
    ----------
    kept : dict, optional
        What an earlier run wrote; figures that are not in `rows` stay as they are.

    """
    machine = describe_machine()
    figures = {
        name: {'machine': (kept or {})['machine'], **figure}
        for name, figure in (kept or {}).get('figures', {}).items()
    }
    for name, comparisons in rows.items():
        records = [row.to_record() for row in comparisons]
        figures[name] = {'title': titles[name], 'rows': records, 'machine': machine}
    text = json.dumps({'machine': machine, 'figures': figures}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return json.loads(text)


def read_rows(results: dict[str, Any]) -> dict[str, list[Comparison]]:
    """Return the rows of each figure from what `write_json` wrote."""
    names = [one.name for one in fields(Comparison)]
    return {
        name: [Comparison(**{key: row[key] for key in names}) for row in figure['rows']]
        for name, figure in results['figures'].items()
    }


def draw(rows: dict[str, list[Comparison]], titles: dict[str, str], path: Path) -> None:
    """Draw the outcomes of each figure as bars with their quartiles; a line marks the target."""
    shown = {name: comparisons for name, comparisons in rows.items() if comparisons}
    heights = [1.0 + 0.55 * len(comparisons) for comparisons in shown.values()]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(11, sum(heights)), squeeze=False, layout='constrained',
        gridspec_kw={'height_ratios': heights},
    )  # fmt: skip
    for axis, (name, comparisons) in zip(axes[:, 0], shown.items(), strict=True):
        outcomes = np.array([row.outcome for row in comparisons])
        quartiles = np.array([find_quartiles(row.outcomes) for row in comparisons]).T
        colors = [{None: '0.6', True: 'C2', False: 'C3'}[row.met] for row in comparisons]
        places = np.arange(len(comparisons))[::-1]
        axis.barh(places, outcomes, color=colors, height=0.6)
        spread = np.abs(quartiles - outcomes)
        axis.errorbar(outcomes, places, xerr=spread, fmt='none', ecolor='black', capsize=3)
        for place, row in zip(places, comparisons, strict=True):
            if row.target is not None:
                axis.plot([row.target] * 2, [place - 0.4, place + 0.4], color='black', lw=2)
        labels = [f'{row.case}\n{row.subject} / {row.baseline}' for row in comparisons]
        axis.set_yticks(places, labels, fontsize=7)
        if 0.0 < 10 * outcomes.min() < outcomes.max():
            axis.set_xscale('log')
        names = sorted({_name_outcome(row) for row in comparisons})
        axis.set_xlabel(' and '.join(names) + ' (bar: median; whisker: quartiles)')
        axis.set_title(titles[name])
        axis.grid(axis='x', alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _name_outcome(row: Comparison) -> str:
    return f'difference [{row.unit}]' if row.kind == 'difference' else f'{row.kind} ratio'
