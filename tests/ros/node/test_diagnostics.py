"""What the node says about itself, without a node."""

from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticStatus
from meta_ood_ros.node.diagnostics import (
    ALL_CAMERAS,
    CameraRecord,
    Conditions,
    count_facts,
    join_sentences,
    to_status,
)
from meta_ood_ros.node.scheduling import Counts, Frame
import pytest
from sensor_msgs.msg import Image


def test_condition_is_logged_when_it_appears_and_stands_until_it_is_gone():
    log = []
    conditions = Conditions(log.append)
    for _ in range(3):
        conditions.set('front', 'stamp', 'Clocks differ.')
    conditions.set(ALL_CAMERAS, 'device', 'No GPU.')
    assert log == ['Clocks differ.', 'No GPU.']
    assert conditions.standing('front') == ['Clocks differ.']
    assert conditions.standing('front/left') == conditions.standing('fro') == []
    assert conditions.standing(ALL_CAMERAS, 'front') == ['Clocks differ.', 'No GPU.']
    conditions.set('front', 'stamp', '')
    conditions.set('front', 'other', '')  # was never there
    assert conditions.standing('front') == []
    conditions.set('front', 'stamp', 'Clocks differ.')
    assert len(log) == 2  # once in the log, but back in the diagnostics
    assert conditions.standing('front') == ['Clocks differ.']


def test_sentences_that_differ_in_numbers_only_are_logged_once():
    log = []
    conditions = Conditions(log.append)
    conditions.log_once('got 17 bytes')
    conditions.log_once('got 18 bytes')
    conditions.log_once('got no bytes')
    assert log == ['got 17 bytes', 'got no bytes']


def test_sentences_that_differ_in_quotes_only_are_logged_once():
    log = []
    conditions = Conditions(log.append)
    for name in ('a', "b'c", 'd"e', 'f\'g"h', 'x' * 9):
        conditions.set('front', 'invalid', f'got {name!r}, which is unknown')
        assert name[0] in conditions.standing('front')[0]
    assert log == ["got 'a', which is unknown"]


def test_log_comes_to_an_end_and_says_so():
    log = []
    conditions = Conditions(log.append)
    for number in range(1000):
        kind = ''.join(chr(ord('a') + int(digit)) for digit in str(number))
        conditions.set('front', 'invalid', f'New trouble {kind}.')
    assert len(log) == len(conditions._logged) + 1 == 257
    assert log[-1] == 'No further kinds of warnings are logged: see /diagnostics.'
    assert conditions.standing('front') == ['New trouble jjj.']


def test_status_writes_bools_and_numbers_as_text():
    status = to_status(
        '/ood: front',
        'cpu',
        level=DiagnosticStatus.WARN,
        message='running',
        facts={'idle': False, 'in': 3, 'ms_network': 12.34567, 'backend': 'eager'},
    )
    values = {one.key: one.value for one in status.values}
    assert values == {'idle': 'false', 'in': '3', 'ms_network': '12.35', 'backend': 'eager'}
    assert (status.name, status.hardware_id, status.level) == ('/ood: front', 'cpu', b'\x01')


def test_counts_by_cause_sum_up():
    counts = Counts(received=10, processed=4, idle=1)
    counts.dropped['stale'] = 2
    counts.dropped['invalid'] = 3
    facts = count_facts(counts)
    assert facts['dropped'] == facts['dropped_stale'] + facts['dropped_invalid'] == 5
    assert facts['in'] == facts['processed'] + facts['idle_frames'] + facts['dropped']


def test_mean_times_are_over_the_last_frames():
    record = CameraRecord()
    assert record.mean_milliseconds() == {}
    for _ in range(100):
        record.milliseconds.append({'network': 1000.0})
    for number in range(30):
        record.milliseconds.append({'network': float(number), 'dense': 2.0})
    assert record.mean_milliseconds() == {'network': pytest.approx(14.5), 'dense': 2.0}


def test_last_drop_is_told_with_the_stamp_of_its_frame():
    record, message = CameraRecord(), Image()
    message.header.stamp.sec, message.header.stamp.nanosec = 12, 34
    record.note_drop(Frame('', message, 0.0), 'stale', 'it waited 2 s')
    assert record.facts['last_drop'] == 'stale: it waited 2 s'
    assert record.facts['last_drop_stamp'] == '12.000000034'
    record.note_drop(Frame('', SimpleNamespace(header=message.header), 0.0), 'replaced')
    assert record.facts['last_drop'] == 'replaced'


def test_sentences_are_joined_without_repetition():
    assert join_sentences(['a.', 'b.', 'a.']) == 'a. b.'
