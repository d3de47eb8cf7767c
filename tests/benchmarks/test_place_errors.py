"""The errors of places are those of objects that were found, and make a table."""

import numpy as np

from benchmarks.quality.place_errors import measure, RANGES, to_table


def test_two_scenes_make_a_table_of_small_errors():
    errors = measure(2)
    assert list(errors) == list(RANGES)
    for rows in errors.values():
        assert len(rows) >= 2
        assert (rows[:, 0] > 1).all()
        assert np.nanmedian(rows[:, 1] / rows[:, 0]) < 0.1
    lines = to_table(errors).splitlines()
    assert len(lines) == 2 + len(RANGES)
    assert all(line.count('|') == 8 for line in lines)


def test_a_table_counts_what_has_no_place():
    rows = np.array([(10.0, 1.0), (20.0, np.nan), (99.0, 50.0)])
    line = to_table({'perfect depth': rows}).splitlines()[2]
    assert line == '| perfect depth | 30 m | 2 | 1 | 1.00 m, 10.0% | 10.0% | 100% |'
