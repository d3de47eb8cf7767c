"""The benchmarks that start the node: what they take off, what they read, and that they run."""

import sys

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('meta_ood_msgs')

from meta_ood_ros.demo.node import to_ros_arguments

from benchmarks.figures.comparison import Options
from benchmarks.node import node_memory, node_overhead
from benchmarks.node.node_overhead import find_overhead, measure_pairs, Pair
from benchmarks.node.process_memory import read_memory
from benchmarks.node.ros_camera import private_network, Program, StageTimes
from benchmarks.node.ros_programs import WrittenTimes

SIZE = (96, 128)


def test_overhead_of_a_frame_by_hand():
    stages = {
        'wait': 1.0, 'decode': 2.0, 'preparation': 3.0, 'network': 100.0, 'dense': 10.0,
        'segments': 20.0, 'metrics': 30.0, 'meta_classifier': 40.0, 'publish': 4.0, 'total': 215.0,
    }  # fmt: skip
    parts = find_overhead(222.0, stages)
    assert parts == {
        'wait': 1.0, 'decode': 2.0, 'preparation': 3.0, 'publish': 4.0,
        'between': 5.0, 'transport': 7.0,
    }  # fmt: skip
    assert sum(parts.values()) == 222.0 - 200.0


def test_memory_is_read_in_megabytes():
    status = 'Name:\tpython\nVmHWM:\t 1000 kB\nVmRSS:\t 500 kB\nRssAnon:\t 250 kB\n'
    status += 'RssFile:\t 125 kB\nRssShmem:\t 0 kB\nThreads:\t3\n'
    expected = {'VmHWM': 1.024, 'VmRSS': 0.512, 'RssAnon': 0.256, 'RssFile': 0.128, 'RssShmem': 0}
    assert read_memory(status) == expected


def test_times_of_a_frame_are_read_once(tmp_path, monkeypatch):
    written, read = WrittenTimes(tmp_path / 'times'), StageTimes(tmp_path / 'times')
    written.append({'total': 1.0})
    written.append({'total': 2.0})
    assert read.last() == {'total': 2.0}
    assert [one['total'] for one in written] == [1.0, 2.0]
    monkeypatch.setattr('benchmarks.node.ros_camera.ANSWER_SECONDS', 0.05)
    with pytest.raises(TimeoutError, match='times must get a line for each frame'):
        read.last()


def test_parameters_of_a_node_on_the_command_line():
    arguments = to_ros_arguments({'max_age': 0.0, 'self_check': True})
    assert arguments == ['--ros-args', '-p', 'max_age:=0.0', '-p', 'self_check:=true']


def test_a_program_that_ends_is_reported_with_its_last_words(tmp_path):
    program = Program('benchmarks.node.forward_pass', [], log=tmp_path / 'log')
    program._process.wait(60)
    with pytest.raises(RuntimeError, match=r'(?s)forward_pass must keep running, but.*not enough'):
        program.check()
    program.stop()


def test_the_environment_is_as_before(monkeypatch):
    import os

    monkeypatch.setenv('ROS_DOMAIN_ID', '3')
    before = dict(os.environ)
    with private_network():
        assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert dict(os.environ) == before


@pytest.mark.parametrize('figure', [node_overhead, node_memory])
def test_without_ros_there_are_no_rows(figure, monkeypatch, capsys):
    monkeypatch.setattr(figure, 'find_spec', lambda name: None)
    assert figure.measure(Options()) == []
    assert 'needs rclpy and meta_ood_msgs' in capsys.readouterr().out


@pytest.mark.slow
def test_both_nodes_answer_and_their_bytes_are_told():
    pairs = (Pair('segments', 'header'), Pair('entropy', 'answer', 2.0))
    header, image = measure_pairs(pairs, SIZE, 2, {'work_short_side': 64})
    pixels = SIZE[0] * SIZE[1]
    for row in (header, image):
        assert len(row.subject_values) == len(row.baseline_values) == 2
        assert min(row.baseline_values) > 0
        # what is taken off was measured in other frames: of a busy machine it may be more
        assert min(row.subject_values) > -row.details['latency_ms']
        assert row.details['bytes_in'] == 3 * pixels
        assert row.details['taken_off_ms']['network'] > 0
        assert row.details['latency_ms'] > row.details['taken_off_ms']['network']
    assert header.details['bytes_out_of_pass_through'] < 100
    assert 0 <= image.details['bytes_out_of_pass_through'] - 3 * pixels < 100
    assert 0 <= image.details['bytes_out'] - 4 * pixels < 100
    assert (header.target, image.target) == (None, 2.0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_memory_of_the_node_is_above_that_of_the_network_alone():
    row = node_memory.compare(('entropy',), SIZE, rounds=1, work_short_side=64)
    assert row.kind == 'difference'
    assert 100 < row.baseline_values[0] < row.subject_values[0] < 5_000
    assert row.details['node_mb']['RssFile'] > row.details['baseline_mb']['RssFile']
