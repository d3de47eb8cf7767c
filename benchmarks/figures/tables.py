"""
Results in JSON -> Markdown tables, on the screen or in a document.

    python -m benchmarks.figures.tables benchmarks/results/benchmarks.json [--into DOCUMENT]

In the document, what stands between the two marks is replaced.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import sys
from typing import Any

BEGIN = '<!-- begin: python -m benchmarks.figures.tables -->'
END = '<!-- end: python -m benchmarks.figures.tables -->'
HEADING = '| case | subject | baseline | ratio or difference | quartiles | target |'
RULE = '|---|---|---|---|---|---|'


def to_markdown(results: Mapping[str, Any]) -> str:
    """Return one table a figure, below a line about the machine, each where they differ."""
    measured = {
        name: _describe(figure.get('machine', results['machine']))
        for name, figure in results['figures'].items()
    }
    is_one_run = len(set(measured.values())) == 1
    parts = [*measured.values()][:1] if is_one_run else []
    for name, figure in results['figures'].items():
        parts.append(f'### {figure["title"]} (`{name}`)')
        if not is_one_run:
            parts.append(measured[name])
        rows = [_to_row(row) for row in figure['rows']]
        parts.append('\n'.join([HEADING, RULE, *rows]) if rows else 'not measured')
    return '\n\n'.join(parts) + '\n'


def _describe(machine: Mapping[str, Any]) -> str:
    return (
        f'Measured {machine["date"][:10]} at revision {machine["revision"]} on {machine["cpu"]}, '
        f'{machine["threads"]} threads, GPU: {machine["gpu"]}; Python {machine["python"]}, '
        f'PyTorch {machine["torch"]}, numba {machine["numba"]}; load average '
        f'{machine["load_average"]:.1f} at the end.'
    )


def _to_row(row: Mapping[str, Any]) -> str:
    unit = row['unit']
    is_difference = row['kind'] == 'difference'
    low, high = row['outcome_quartiles']
    outcome = f'{_round(row["outcome"])} {unit} more' if is_difference else _times(row['outcome'])
    if row['kind'] == 'cost':
        outcome += ' the cost'
    target = ''
    if row['target'] is not None:
        sign = '>=' if row['kind'] == 'speed-up' else '<='
        target = f'{sign} {row["target"]:g}: {"met" if row["met"] else "**missed**"}'
    cells = (
        row['case'],
        f'{row["subject"]}: {_round(row["subject_median"])} {unit}',
        f'{row["baseline"]}: {_round(row["baseline_median"])} {unit}',
        outcome,
        f'{_round(low)} to {_round(high)}',
        target,
    )
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def _round(value: float) -> str:
    """Return three digits, without an exponent."""
    digits = f'{value:.3g}'
    return f'{float(digits):.0f}' if 'e' in digits else digits


def _times(value: float) -> str:
    return f'{_round(value)}x'


def insert(document: str, tables: str) -> str:
    """
    Return a document with the tables between its marks.

    Raises
    ------
    ValueError
        The marks are not there.

    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f'the document must have the lines {BEGIN} and {END}, got one without. Add both where '
            'the tables belong.'
        )
    return f'{before}{BEGIN}\n\n{tables}\n{END}{after}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or write them into a document."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.figures.tables', description=__doc__
    )
    parser.add_argument('results', type=Path, help='benchmarks.json')
    parser.add_argument('--into', type=Path, metavar='DOCUMENT', help='Markdown with both marks')
    parsed = parser.parse_args(arguments)
    tables = to_markdown(json.loads(parsed.results.read_text()))
    if parsed.into is None:
        print(tables)
        return 0
    try:
        text = insert(parsed.into.read_text(), tables)
    except ValueError as error:
        parser.error(str(error))
    parsed.into.write_text(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
