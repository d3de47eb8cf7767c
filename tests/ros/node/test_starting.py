"""The process of the node: what it is started with, and how it ends when it is told to."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from meta_ood_ros.node.command_line import explain_refusal, without_effect
from meta_ood_ros.node.shared_memory import explain_profile, PROFILE, profile_variable, use_profile
from meta_ood_ros.node.stopping import END_WITH, GRACE
import pytest
from rclpy.context import Context

from ..conftest import wait_for

#: Stands in for what takes long while configuring; the second cannot be interrupted.
SLEEP = 'time.sleep(60)'
DEADLOCK = 'lock = ctypes.create_string_buffer(64); [libc.pthread_mutex_lock(lock) for _ in "12"]'
CONFIGURING = """
import ctypes, sys, time
import meta_ood_ros.node.session as session
from meta_ood_ros.node.start_node import main
libc = ctypes.CDLL(None)
def load(settings):
    print('configuring', flush=True)
    {busy}
session.load_pipeline = load
sys.exit(main())
"""


@pytest.fixture
def start(bundle_folder):
    """Return a function that starts the node in a process of its own."""
    started = []

    def start(*arguments, program=None, **environment):
        command = ['-m', 'meta_ood_ros.node.start_node'] if program is None else ['-c', program]
        process = subprocess.Popen(
            [sys.executable, '-u', *command, '--ros-args', '-p', f'bundle:={bundle_folder}']
            + ['-p', 'device:=cpu', *arguments],
            env={**os.environ, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def read_until(process, words):
    """Read what a process prints until some words come."""
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f'the process ended with {process.wait()}')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('seconds', [0.4, 1.0])
def test_signal_during_imports_ends_the_process_without_a_word(start, number, seconds):
    process = start()
    time.sleep(seconds)
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, '')


@pytest.mark.parametrize('busy', [SLEEP, DEADLOCK])
def test_sigterm_during_configure_ends_the_process_within_two_seconds(start, busy):
    process = start(program=CONFIGURING.format(busy=busy))
    read_until(process, 'configuring')
    time.sleep(0.2)
    before = time.monotonic()
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - before < GRACE + 1.5
    assert process.returncode == 0
    assert 'Traceback' not in output
    assert ('without waiting for what was in work' in output) == (busy == DEADLOCK)


def test_further_signals_change_nothing(start):
    process = start()
    read_until(process, 'Bundle tiny')
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert 'Traceback' not in output


def test_node_ends_with_the_process_that_started_it(bundle_folder):
    parent = subprocess.Popen(
        [
            sys.executable,
            '-c',
            'import os, subprocess, sys, time\n'
            f'os.environ[{END_WITH!r}] = str(os.getpid())\n'
            "node = [sys.executable, '-m', 'meta_ood_ros.node.start_node']\n"
            'print(subprocess.Popen(node).pid, flush=True)\ntime.sleep(60)\n',
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    node = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.kill()
    parent.wait()

    def is_gone():
        # Where nobody waits for orphans they remain as zombies.
        path = Path(f'/proc/{node}/stat')
        return not path.exists() or path.read_text().rpartition(')')[2].split()[0] == 'Z'

    wait_for(is_gone, 20)


def test_node_whose_starter_is_gone_already_ends(start):
    gone = subprocess.Popen(['true'])
    gone.wait()
    process = start(**{END_WITH: str(gone.pid)})
    assert process.communicate(timeout=20)[0] == ''
    assert process.returncode == 0


def test_interpreter_of_the_active_environment_takes_over(repository, tmp_path):
    """As after colcon build --symlink-install, whose interpreter need not have torch."""
    bare = tmp_path / 'bare' / 'bin'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', bare.parent], check=True)
    program = 'from meta_ood_ros.node.start_node import main\nraise SystemExit(main())\n'
    active = tmp_path / 'active' / 'bin' / 'python3'
    active.parent.mkdir(parents=True)
    active.write_text('#!/bin/sh\necho "$@"\n')
    active.chmod(0o755)
    command = [bare / 'python3', '-c', program, '--ros-args', '-p', 'device:=cpu']
    environment = {'PYTHONPATH': str(repository), 'VIRTUAL_ENV': str(tmp_path / 'active')}
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert done.stdout == '-m meta_ood_ros.node.start_node --ros-args -p device:=cpu\n'
    # And where the active one lacks it, too, it is said instead of trying for ever.
    active.unlink()
    active.symlink_to(bare / 'python3')
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert done.returncode == 1
    assert 'Activate the virtual environment' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('/**:\n  ros__parameters:\n    device: cpu\n   a: b\n', 'Error parsing a event near'),
        ('/**:\n\tros__parameters:\n', 'Error parsing'),
        ('device: cpu\n', 'Cannot have a value before ros__parameters at line 1'),
        ('/**:\n  ros__parameters:\n    cameras: [a, 1]\n', 'Sequence should be of same type'),
        ('/**:\n  ros__parameters:\n    device:\n', 'No value at line'),
        ('{', 'Error parsing'),
        (None, 'there is no such file'),
    ],
)
def test_parameter_file_that_ros_cannot_read_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / 'mine.yaml'
    if text is not None:
        path.write_text(text)
    said = refusal('--params-file', str(path))
    assert said.startswith(f"ood_node needs parameter files that ROS can read, got '{path}': ")
    assert sentence in said
    assert said.endswith('. Correct it, or start from a copy of config/ood.yaml.')
    assert '/project/' not in said
    assert '\n' not in said


def test_folder_is_no_parameter_file(tmp_path):
    assert f"got '{tmp_path}': it is no file." in refusal('--params-file', str(tmp_path))


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['-p', 'device'], "Couldn't parse parameter override rule: '-p device'"),
        (['-r', 'image'], "Couldn't parse remap rule: '-r image'"),
        (['--log-level', 'loud'], "Couldn't parse log level: '--log-level loud'"),
        (['--params-file'], 'No file path provided'),
        (['--nonsense'], "it does not know '--nonsense'"),
    ],
)
def test_argument_that_ros_refuses_is_one_sentence(arguments, sentence):
    said = refusal(*arguments)
    assert said.startswith('ood_node cannot start: ')
    assert sentence in said
    assert said.endswith('. Correct what stands after --ros-args.')


def refusal(*arguments):
    """Return what is said about arguments that rclpy refuses."""
    with pytest.raises(RuntimeError) as caught:
        Context().init(['ood_node', '--ros-args', *arguments])
    return explain_refusal(caught.value)


@pytest.mark.parametrize(
    'arguments', [['--params-file', 'absent.yaml'], ['-p', 'use_sim_time:=maybe']]
)
def test_process_ends_with_that_sentence_and_status_1(start, arguments):
    process = start(*arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'Traceback' not in output
    assert output.splitlines()[-1].startswith('ood_node ')
    assert arguments[1].partition(':=')[0] in output.splitlines()[-1]


SECTION = '{}:\n  ros__parameters:\n    device: cpu\n'


@pytest.mark.parametrize(
    ('text', 'got'),
    [
        (SECTION.format('/**'), None),
        (SECTION.format('/robot/ood'), None),
        (SECTION.format('robot/ood'), None),
        (SECTION.format('/*/ood'), None),
        (SECTION.format('/**/ood'), None),
        (SECTION.format('/other') + SECTION.format('/robot/ood'), None),
        (SECTION.format('/ood'), 'its sections are /ood.'),
        (SECTION.format('/*'), 'its sections are /*.'),
        (SECTION.format('/robot/oood'), 'its sections are /robot/oood.'),
        (SECTION.format('/a') + SECTION.format('/b'), 'its sections are /a, /b.'),
        ('/**:\n  ros__parameters:\n    - device\n', 'its sections are /**.'),
        ('# nothing\n', 'it has no section.'),
        ('', 'it has no section.'),
    ],
)
def test_parameter_file_without_effect_is_said(tmp_path, text, got):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    said = without_effect(['x', '--ros-args', '--params-file', str(path)], '/robot/ood')
    if got is None:
        assert said == []
    else:
        (sentence,) = said
        assert sentence.startswith(f'The parameter file {str(path)!r} says nothing about /robot/')
        assert f': {got} Its parameters belong below /robot/ood: or /**:' in sentence


def test_profile_is_given_unless_the_user_has_chosen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('meta_ood_ros.node.shared_memory.explain_shared_memory', lambda: '')
    environment = {}
    assert str(PROFILE) in explain_profile(environment)
    use_profile(environment)
    assert list(environment.values()) == [str(PROFILE)]
    assert PROFILE.is_file()
    assert explain_profile(environment) == ''
    for name in (
        *('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        'FASTDDS_BUILTIN_TRANSPORTS',
    ):
        chosen = {name: 'mine'}
        use_profile(chosen)
        assert chosen == {name: 'mine'}
        assert explain_profile(chosen) == ''
    (tmp_path / 'DEFAULT_FASTDDS_PROFILES.xml').touch()
    environment = {}
    use_profile(environment)
    assert environment == {}


def test_profile_is_left_out_where_shared_memory_is_too_small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('meta_ood_ros.node.shared_memory.explain_shared_memory', lambda: 'little')
    environment = {}
    use_profile(environment)
    assert environment == {}
    assert explain_profile(environment) == ''  # the other sentence stands already


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [
        ('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
        ('lyrical', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_variable_of_the_profile_is_that_of_the_distribution(distribution, variable):
    assert profile_variable({'ROS_DISTRO': distribution}) == variable


@pytest.mark.parametrize(('generation', 'old'), [('fastrtps', True), ('fastdds', False)])
def test_variable_of_the_profile_follows_the_wheels(tmp_path, monkeypatch, generation, old):
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    (tmp_path / 'share' / generation).mkdir(parents=True)
    assert profile_variable({}).startswith('FASTRTPS' if old else 'FASTDDS')
