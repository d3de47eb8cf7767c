"""Measure the figures, print them and write JSON and a picture."""

import argparse
from collections.abc import Sequence
import gc
import json
from pathlib import Path
import sys
import time

from benchmarks.figures.comparison import Comparison, Options
from benchmarks.figures.registry import load_figures
from benchmarks.figures.report import describe_machine, draw, format_row, read_rows, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the figures one after another.

    Returns
    -------
    int
        0, also where a target was missed: the machine may be busy. 1 where a figure failed.

    """
    defaults = Options()
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument('--list', action='store_true', help='name the figures and stop')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='these figures')
    parser.add_argument('--rounds', type=int, default=defaults.rounds, help='default %(default)s')
    parser.add_argument(
        '--image-size', type=int, nargs=2, default=defaults.image_size, metavar=('H', 'W')
    )
    parser.add_argument('--segments', type=int, default=defaults.segments)
    parser.add_argument(
        '--keep', action='store_true', help='figures of earlier runs in --results, too'
    )
    parser.add_argument('--results', type=Path, default=Path(__file__).parent / 'results')
    parsed = parser.parse_args(arguments)
    try:
        figures = load_figures(tuple(parsed.only))
    except ValueError as error:
        parser.error(str(error))
    if parsed.list:
        for figure in figures:
            print(f'{figure.name:24}{figure.title}')
        return 0
    options = Options(parsed.rounds, tuple(parsed.image_size), parsed.segments)
    print('  '.join(f'{name} {value}' for name, value in describe_machine().items()))
    rows: dict[str, list[Comparison]] = {}
    titles = {figure.name: figure.title for figure in figures}
    failed = []
    for figure in figures:
        start = time.perf_counter()
        print(f'{figure.title} ...', flush=True)
        try:
            rows[figure.name] = figure.measure(options)
        # one figure that cannot be measured here must not cost the others
        except Exception as error:
            failed.append(figure.name)
            print(f'  failed: {type(error).__name__}: {error}', file=sys.stderr)
            continue
        for row in rows[figure.name]:
            print(format_row(row))
        if not rows[figure.name]:
            print('  not measured')
        print(f'  [{time.perf_counter() - start:.0f} s]', flush=True)
        gc.collect()
    path = parsed.results / 'benchmarks.json'
    kept = json.loads(path.read_text()) if parsed.keep and path.is_file() else None
    results = write_json(rows, titles, path, kept=kept)
    if any(figure['rows'] for figure in results['figures'].values()):
        shown = {name: figure['title'] for name, figure in results['figures'].items()}
        draw(read_rows(results), shown, parsed.results / 'benchmarks.png')
    print(f'written to {parsed.results}')
    if failed:
        print(f'failed: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
