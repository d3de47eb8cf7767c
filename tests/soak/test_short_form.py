"""The short form of the attack, and that it sees what does not hold."""

from importlib.util import find_spec
from itertools import pairwise

import pytest

from soak.__main__ import is_defect, main, PARTS, run, to_document
from soak.bounded import run_trials

NEED_ROS = ('messages', 'parameters', 'lifecycle', 'frames', 'faults')


@pytest.mark.slow
@pytest.mark.parametrize('part', [one for one in PARTS if one not in ('bags', 'kills')])
def test_nothing_breaks_in_the_short_form(part):  # of bags and kills there are tests of their own
    if part in NEED_ROS and find_spec('rclpy') is None:
        pytest.skip('needs ROS')
    count = PARTS[part][1]
    rows = run(part, count, 1)
    assert [row for row in rows if is_defect(row)] == []
    assert str(count) in rows[0][1]
    assert rows[-1][0] == f'time of {part}'


BAD_ROOM = """
import os, signal

def make_trial():
    def trial(number, seed):
        if number == 2:
            raise KeyError('lost')
        if number == 3:
            bytearray(b'x') * 1_300_000_000
        if number == 4:
            signal.raise_signal(signal.SIGALRM)
        if number == 5:
            os.kill(os.getpid(), signal.SIGSEGV)
        return 'well'
    return trial
"""


def test_what_raises_takes_too_much_hangs_or_dies_is_a_row(tmp_path, monkeypatch):
    (tmp_path / 'bad_room.py').write_text(BAD_ROOM)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    rows = run_trials('bad_room', 'things', 8, 3)
    assert rows[0] == ('things', '8: 1 crash, 2 defect, 5 well; 4 kinds of defects')
    defects = dict(row for row in rows if is_defect(row))
    assert list(defects) == [
        f'DEFECT at number {number} of things, seed 3' for number in (2, 3, 4, 5)
    ]
    for text, start in zip(
        defects.values(),
        (
            "KeyError: 'lost' at bad_room.py:7",
            'well, but it took 1',
            'TimeoutError',
            'the process',
        ),
        strict=True,
    ):
        assert text.startswith(start)


def test_the_same_seed_draws_the_same_messages():
    pytest.importorskip('rclpy')
    from random import Random

    from soak.messages import draw_message

    drawn = [[draw_message(Random(f'{seed} {n}')) for n in range(20)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_table_is_printed_and_an_unknown_part_is_refused(monkeypatch, capsys):
    monkeypatch.setattr('soak.__main__.run', lambda part, count, seed: [(part, f'{count} {seed}')])
    assert main(['--part', 'bags=3', '--seed', '7']) == 0
    assert capsys.readouterr().out == f'{"bags":<45} | 3 7\n'
    monkeypatch.setattr('soak.__main__.run', lambda *_: [('DEFECT at 1', 'x')])
    assert main(['--short']) == 1
    with pytest.raises(SystemExit):
        main(['--part', 'bugs=3'])
    assert '--part must name one of messages, ' in capsys.readouterr().err
    lines = to_document([('a', 'b | c')], 5).splitlines()
    assert '| a | b / c |' in lines
    assert [one for one, two in pairwise(lines) if two == '|---|---|'] == ['| what | result |']


def test_what_stands_below_the_table_stays(monkeypatch, tmp_path):
    document = tmp_path / 'reliability.md'
    document.write_text('old\n| old | row |\n\n## By hand\n\nkept\n')
    monkeypatch.setattr('soak.__main__.DOCUMENT', document)
    monkeypatch.setattr('soak.__main__.run', lambda *_: [('new', 'row')])
    for _ in range(2):
        assert main([]) == 0
    text = document.read_text()
    assert '| old |' not in text
    assert text.count('| new | row |') == len(PARTS)
    assert text.endswith('| new | row |\n\n## By hand\n\nkept\n')
