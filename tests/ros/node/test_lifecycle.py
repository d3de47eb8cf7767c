"""Transitions: what fails fails in one sentence, and nothing is left behind."""

from dataclasses import replace
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from meta_ood_ros.core.bundle_files import save_bundle
import pytest
import yaml

from ..conftest import scene, wait_for


def own_topics(node):
    """Return the names of the topics that the node publishes below its own name."""
    return {one.topic_name for one in node.publishers if one.topic_name.startswith('/ood/')}


def workers():
    return [one for one in threading.enumerate() if one.name.startswith('meta_ood')]


@pytest.fixture
def damaged(tmp_path, tiny_bundle):
    """Return bundle folders that cannot be used, by what is wrong with them."""

    def make(name, change, bundle=tiny_bundle):
        save_bundle(bundle, tmp_path / name)
        change(tmp_path / name)
        return str(tmp_path / name)

    def foreign(folder):
        # The weights of a network of another width, and no sums that would tell before.
        record = yaml.safe_load((folder / 'bundle.yaml').read_text())
        del record['sha256']
        assert record['arguments'] == {'scale': 0.5}
        record['arguments'] = {'scale': 1.0}
        (folder / 'bundle.yaml').write_text(yaml.safe_dump(record))

    return {
        'missing': str(tmp_path / 'nowhere'),
        'relative': 'bundles/mine',
        'foreign': make('foreign', foreign, replace(tiny_bundle, meta_classifiers=())),
        'corrupt': make('corrupt', lambda one: _cut(one / 'network.safetensors')),
        'halved': make('halved', lambda one: (one / 'network.safetensors').unlink()),
        'no yaml': make('no yaml', lambda one: (one / 'bundle.yaml').write_text('{')),
        'package': 'package://no_such_package/bundle',
    }


def _cut(path):
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('missing', r"bundle must be a directory, got '.*nowhere', which does not exist"),
        ('relative', r"bundle must be absolute, ~/... or package:.*, got 'bundles/mine'"),
        ('foreign', r'network of bundle tiny@\w+ cannot be built'),
        ('corrupt', r'network.safetensors must have the SHA-256 that'),
        ('halved', r'must hold network.safetensors'),
        ('no yaml', r'bundle.yaml'),
        ('package', r"must name a package that is installed, got 'no_such_package'"),
    ],
)
def test_bundle_that_cannot_be_used_is_a_failure(robot, damaged, name, sentence):
    check_failure(robot, sentence, bundle=damaged[name])


@pytest.mark.parametrize(
    ('parameters', 'sentence'),
    [
        (
            {'entropy_threshold': 70.0},
            r'entropy_threshold must lie in \(0, 1\], got 70.0. It is a',
        ),
        ({'entropy_threshold': 0.0}, r'entropy_threshold must lie in \(0, 1\], got 0.0'),
        ({'meta_threshold': -0.5}, r'meta_threshold must lie in \[0, 1\], got -0.5'),
        ({'overlay_alpha': 1}, r'overlay_alpha must be of type double, got 1. Write it as in 1.0'),
        ({'cameras': []}, r"cameras must be of type string\[\], got \[\]. Write it as in \[''\]"),
        ({'cameras': ['front', 'front']}, r'cameras must be distinct names'),
        ({'cameras': ['1st']}, r"cameras must be names as topics have them.* got '1st'"),
        ({'ignore_mask': ['/a.png', '/b.png']}, r'one PNG for each of the 1 cameras, got 2'),
        ({'ignore_mask': ['/no/mask.png']}, r"must be a PNG file, got '/no/mask.png': No such"),
        ({'device': 'tpu'}, r"device must be auto, cpu, cuda, cuda:N or xpu:N, got 'tpu'"),
        ({'device': 'cuda:99'}, r"device must be a GPU that is there, got 'cuda:99'"),
        ({'image_transport': 'jpeg'}, r'image_transport must be one of raw, compressed'),
        ({'score': 'energi'}, r"score must be one of entropy, .* got 'energi'. Did you mean 'ene"),
        ({'score': 'energy'}, r'entropy_threshold must be set where score is energy, got -1'),
        ({'score': 'energy', 'entropy_threshold': 0.5}, r'meta-ood-train fit-score energy'),
        (
            {'work_short_side': 10},
            r'work_short_side must lie in \{-1, 0\} or \[64, 4096\], got 10',
        ),
        ({'max_segments': 0}, r'max_segments must lie in \[1, 65535\], got 0'),
    ],
)
def test_wrong_parameter_is_a_failure(robot, parameters, sentence):
    check_failure(robot, sentence, **parameters)


def check_failure(robot, sentence, **parameters):
    """Configure must fail with one sentence, twice, and leave nothing behind."""
    robot.start(active=False, **parameters)
    facts = robot.diagnostics()
    for _ in range(2):
        assert robot.do('configure') == 'failure'
    assert robot.node._state_machine.current_state[1] == 'unconfigured'
    wait_for(lambda: facts.arrays and facts.arrays[-1].status[0].level == DiagnosticStatus.ERROR)
    message = facts.arrays[-1].status[0].message
    assert message.startswith('Cannot configure: ')
    assert re.search(sentence, message), message
    assert '\n' not in message
    assert own_topics(robot.node) == set()
    assert workers() == []


def test_failure_is_mended_by_setting_the_parameter(robot, colour_network):
    robot.start(active=False, entropy_threshold=70.0)
    assert robot.do('configure') == 'failure'
    assert robot.set(entropy_threshold=0.7) == ''
    assert robot.do('configure') == 'success'
    assert robot.do('activate') == 'success'


def test_publishers_exist_from_configure_to_cleanup(robot, colour_network):
    robot.start(active=False)
    assert own_topics(robot.node) == set()
    assert robot.do('configure') == 'success'
    assert {'/ood/segments', '/ood/semantic', '/ood/overlay'} <= own_topics(robot.node)
    assert robot.do('cleanup') == 'success'
    assert own_topics(robot.node) == set()


def test_inactive_node_does_not_listen_and_active_again_it_answers(robot, colour_network):
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    for _ in range(2):
        robot.ask(camera, scene(), segments)
        assert len(workers()) == 2
        assert robot.do('deactivate') == 'success'
        assert workers() == []
        wait_for(lambda: camera.get_subscription_count() == 0)
        before = len(segments)
        robot.send(camera, scene())
        time.sleep(0.1)
        assert len(segments) == before
        assert robot.do('activate') == 'success'
        robot.connect(camera)
    robot.ask(camera, scene(), segments)


def test_deactivation_waits_for_the_frame_in_work(robot, colour_network):
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    colour_network.gate.clear()
    header = robot.send(camera, scene())
    wait_for(lambda: colour_network.frames == 1)
    threading.Timer(0.3, colour_network.gate.set).start()
    assert robot.do('deactivate') == 'success'
    wait_for(lambda: segments)
    assert segments[0].header == header


def test_bundle_is_swapped_by_cleanup_set_configure(robot, tiny_bundle, tmp_path):
    other = save_bundle(replace(tiny_bundle, name='other'), tmp_path / 'other')
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    assert robot.ask(camera, scene(), segments).model_id.startswith('tiny@')
    change = {'bundle': str(tmp_path / 'other')}
    assert 'bundle can be set only while the node is unconfigured' in robot.set(**change)
    network = weakref.ref(robot.node._session.pipeline)
    for transition in ('deactivate', 'cleanup'):
        assert robot.do(transition) == 'success'
    assert network() is None  # before another one is loaded
    assert robot.set(**change) == ''
    for transition in ('configure', 'activate'):
        assert robot.do(transition) == 'success'
    robot.connect(camera)
    assert robot.ask(camera, scene(), segments).model_id == other.model_id


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'active'])
def test_shutdown_from_every_state(robot, colour_network, state):
    robot.start(active=state == 'active')
    if state == 'inactive':
        assert robot.do('configure') == 'success'
    assert robot.do('shutdown') == 'success'
    assert robot.node._state_machine.current_state[1] == 'finalized'
    assert own_topics(robot.node) == set()
    assert workers() == []


def test_lifecycle_manager_drives_the_node_by_services(robot, colour_network):
    robot.start(active=False, autostart=False)
    change = robot.peer.create_client(ChangeState, '/ood/change_state')
    state = robot.peer.create_client(GetState, '/ood/get_state')
    assert change.wait_for_service(30)
    assert state.wait_for_service(30)
    for transition, label in (
        (Transition.TRANSITION_CONFIGURE, 'inactive'),
        (Transition.TRANSITION_ACTIVATE, 'active'),
        (Transition.TRANSITION_DEACTIVATE, 'inactive'),
        (Transition.TRANSITION_CLEANUP, 'unconfigured'),
    ):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert change.call(request, timeout_sec=60).success
        assert state.call(GetState.Request(), timeout_sec=30).current_state.label == label


def test_failed_activation_leaves_the_node_inactive(robot, colour_network, monkeypatch):
    robot.start(active=False)
    assert robot.do('configure') == 'success'
    with monkeypatch.context() as patch:
        patch.setattr('meta_ood_ros.node.session.ImageSubscription', lambda *_, **__: 1 / 0)
        assert robot.do('activate') == 'failure'
    assert workers() == []
    assert robot.do('activate') == 'success'


def start_process(*arguments):
    command = [sys.executable, '-m', 'meta_ood_ros.node.ood_node', '--ros-args', *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # One node of this test alone: peers of other tests are in the domain of this process.
        env={**os.environ, 'RCUTILS_COLORIZED_OUTPUT': '0', 'PYTHONUNBUFFERED': '1'},
    )


def test_process_that_starts_itself_and_cannot_exits_with_1():
    process = start_process('-p', 'bundle:=/no/such/bundle')
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert output.count('Cannot configure: bundle must be a directory') == 1
    assert 'Traceback' not in output


def wait_for_line(process, text):
    """Return the output up to the line that holds the text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(''.join(lines))


def test_interrupt_ends_the_active_process_cleanly(bundle_folder):
    process = start_process('-p', f'bundle:={bundle_folder}', '-p', 'device:=cpu')
    lines = wait_for_line(process, 'Bundle tiny@')
    process.send_signal(signal.SIGINT)
    lines.append(process.communicate(timeout=120)[0])
    assert process.returncode == 0, ''.join(lines)
    assert 'Traceback' not in ''.join(lines)


def test_process_without_autostart_waits_for_its_manager_until_terminated():
    process = start_process('-p', 'bundle:=/no/such/bundle', '-p', 'autostart:=false')
    lines = wait_for_line(process, 'waiting to be configured')
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    lines.append(process.communicate(timeout=120)[0])
    assert process.returncode == 0, ''.join(lines)
    assert 'Cannot configure' not in ''.join(lines)
    assert 'Traceback' not in ''.join(lines)


def test_what_the_core_logs_is_in_the_log_of_the_node(robot, capfd):
    core = logging.getLogger('meta_ood_ros.core.backends.engine_cache')
    node = robot.start(active=False, autostart=False)
    for severity in ('info', 'warning', 'error'):
        getattr(core, severity)('Engine %s of the test', severity)
    core.debug('Engine debug of the test')
    robot.call(node.destroy_node)
    robot.node = None
    core.error('Engine of nobody')
    lines = [line for line in capfd.readouterr().err.splitlines() if '[ood]: Engine' in line]
    assert [line.split('] ')[0][1:] for line in lines] == ['INFO', 'WARN', 'ERROR']
    assert lines[1].endswith('[ood]: Engine warning of the test')
