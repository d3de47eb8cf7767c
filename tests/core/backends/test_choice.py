"""The fastest backend is chosen once, and only among those that agree."""

import json
import logging
from types import SimpleNamespace

from meta_ood_ros.core.backends import BackendError, choose_backend, load_backend
from meta_ood_ros.core.backends import choice as module
import pytest
import torch

CPU = torch.device('cpu')


class Clock:
    """Time that passes only where the stand-ins say so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Timed:
    """A backend that gives the network's logits, and takes a time that is known."""

    precision, device = 'fp32', CPU

    def __init__(self, name, network, clock, seconds):
        self.name, self.network, self.clock = name, network, clock
        self.seconds = list(seconds)
        self.calls = 0
        self.factor = 1.0

    def __call__(self, x):
        self.clock.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1
        if self.factor is None:
            raise BackendError('its package is half removed. Run: pip install it')
        with torch.inference_mode():
            return self.factor * self.network(x)


@pytest.fixture
def machine(monkeypatch, small_network):
    """Return a machine with three backends, of which openvino is the fastest."""
    clock = Clock()
    monkeypatch.setattr(module, 'time', clock)
    times = {'eager': [0.06], 'onnx': [9e-1, 0.05, 0.054], 'openvino': [0.2, 0.08, 0.041]}
    backends = {name: Timed(name, small_network, clock, times[name]) for name in times}

    def load(name, network, **options):
        assert options['precision'] == 'fp32'
        if name not in backends:
            raise BackendError(f'backend {name} needs a package')
        return backends[name]

    monkeypatch.setattr(module, 'load_backend', load)
    monkeypatch.setattr(module, '_version_of', lambda name: '1.0')
    return SimpleNamespace(clock=clock, backends=backends)


@pytest.fixture
def choose(machine, small_network, tiny_image, tmp_path):
    def run(x=tiny_image, folder=str(tmp_path)):
        for backend in machine.backends.values():
            backend.calls = 0
        first = machine.backends['eager']
        return choose_backend(first, small_network, x, device=CPU, engine_cache=folder)

    return run


def _kept(folder) -> dict:
    (path,) = folder.glob('*-auto-fp32.engine')
    return json.loads(path.read_bytes().split(b'\n', 1)[1])


def test_shortest_time_wins_and_is_said(choose, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    chosen = choose()
    assert chosen.backend.name == 'openvino'
    assert not chosen.is_kept
    sentence = (
        'Backend auto chose openvino (measured now: openvino 41 ms, onnx 50 ms, eager 60 ms).'
    )
    assert caplog.messages == [sentence]
    assert _kept(tmp_path)['backend'] == 'openvino'


def test_second_start_measures_nothing(choose, machine, caplog):
    choose()
    caplog.clear()
    caplog.set_level(logging.INFO)
    again = choose()
    assert (again.backend.name, again.is_kept) == ('openvino', True)
    assert [one.calls for one in machine.backends.values()] == [0, 0, 1]  # checked, not measured
    assert caplog.messages == [
        'Backend auto chose openvino (measured at an earlier start: openvino 41 ms, onnx 50 ms, '
        'eager 60 ms).'
    ]


@pytest.mark.parametrize(
    'change',
    [
        lambda patch: patch.setattr(module, '_version_of', lambda name: '1.1'),
        lambda patch: patch.setattr(module, 'describe_machine', lambda device: 'another'),
        lambda patch: patch.setattr(torch, 'get_num_threads', lambda: 77),
        lambda patch: patch.setattr(module, 'hash_network', lambda network: 'b' * 64),
    ],
)
def test_anything_that_changes_the_times_is_measured_again(choose, machine, monkeypatch, change):
    choose()
    change(monkeypatch)
    assert not choose().is_kept
    assert machine.backends['onnx'].calls > 2


def test_sizes_have_their_own_choices(choose, machine, tmp_path):
    choose()
    assert not choose(torch.zeros(1, 3, 32, 32)).is_kept
    assert choose().is_kept


def test_choice_whose_backend_is_gone_is_made_again(choose, machine, caplog):
    choose()
    del machine.backends['openvino']
    chosen = choose()
    assert (chosen.backend.name, chosen.is_kept) == ('onnx', False)
    assert 'was made for other version' in caplog.text
    assert choose().is_kept


def test_choice_that_fails_now_is_made_again(choose, machine, caplog):
    choose()
    machine.backends['openvino'].factor = 100.0
    chosen = choose()
    assert (chosen.backend.name, chosen.is_kept) == ('onnx', False)
    assert 'Backend openvino was the fastest and fails now: entropy of backend' in caplog.text


@pytest.mark.parametrize(
    ('factor', 'reason'),
    [(100.0, 'must agree with float32 eager'), (float('nan'), 'not a number'), (None, 'is half')],
)
def test_backend_that_does_not_agree_cannot_win(choose, machine, factor, reason):
    machine.backends['openvino'].factor = factor
    chosen = choose()
    assert chosen.backend.name == 'onnx'
    assert set(chosen.milliseconds) == {'eager', 'onnx'}
    assert reason in chosen.refused['openvino']
    assert '; openvino left out: ' in str(chosen)


def test_where_only_eager_is_installed_nothing_is_measured(choose, machine, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    del machine.backends['onnx'], machine.backends['openvino']
    chosen = choose()
    assert (chosen.backend.name, chosen.milliseconds) == ('eager', {})
    assert machine.backends['eager'].calls == 0
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []


def test_time_is_bounded(choose, machine):
    for backend in machine.backends.values():
        backend.seconds = [3.0]
    choose()
    # Eager was run while configuring; two others are checked; then one round and no more.
    assert [one.calls for one in machine.backends.values()] == [1, 2, 2]


def test_choice_without_all_of_them_is_made_again(choose, machine, tmp_path):
    for backend in machine.backends.values():
        backend.seconds = [0.02]
    machine.backends['openvino'].seconds = [module.LONGEST_BUILDING + 1, 0.001]
    chosen = choose()
    assert chosen.backend.name == 'openvino'
    assert chosen.refused == {'onnx': 'no time was left after 10 s'}
    assert machine.backends['eager'].calls == module.MOST_ROUNDS
    assert list(tmp_path.iterdir()) == []
    machine.backends['openvino'].seconds = [0.001]
    assert set(choose().milliseconds) == {'eager', 'openvino', 'onnx'}
    assert choose().is_kept


def test_where_nothing_agrees_the_first_is_left_to_its_own_check(choose, machine):
    for backend in machine.backends.values():
        backend.factor = 100.0
        backend.precision = 'bf16'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, 'load_backend', lambda name, *_, **__: machine.backends[name])
        chosen = choose()
    assert chosen.backend.name == 'eager'
    assert set(chosen.refused) == {'eager', 'onnx', 'openvino'}


def test_user_without_a_home_has_it_measured_at_every_start(choose, monkeypatch, caplog):
    def nowhere(self):
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr('pathlib.Path.expanduser', nowhere)
    for _ in range(2):
        chosen = choose(folder='')
        assert (chosen.backend.name, chosen.is_kept) == ('openvino', False)
    assert 'cannot be kept (Could not determine home directory) and is made at' in caplog.text


def test_damaged_choice_is_made_again(choose, tmp_path):
    choose()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert not choose().is_kept


def test_real_backends_of_this_machine(tiny_network, tiny_image, tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    monkeypatch.setattr(module, 'LONGEST_BUILDING', 600.0)  # however busy the machine is
    first = load_backend('auto', tiny_network, device='cpu')
    assert first.name == 'eager'
    for is_kept in (False, True):
        chosen = choose_backend(
            first, tiny_network, tiny_image, device=CPU, engine_cache=str(tmp_path)
        )
        assert chosen.is_kept == is_kept
        assert {'eager', 'onnx'} <= set(chosen.milliseconds)
        assert min(chosen.milliseconds, key=chosen.milliseconds.get) == chosen.backend.name
        assert chosen.refused == {}
        expected = tiny_network(tiny_image)
        assert (chosen.backend(tiny_image) - expected).abs().max() <= 1e-3 * expected.std()


def test_machine_is_named():
    assert torch.backends.cpu.get_cpu_capability() in module.describe_machine(CPU)


def test_versions_are_those_of_the_packages(monkeypatch):
    assert module._version_of('eager') == torch.__version__
    versions = {'onnxruntime-gpu': '1.20'}

    def look_up(name):
        if name not in versions:
            raise module.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(module, 'version', look_up)
    assert module._version_of('onnx') == '1.20'
    assert module._version_of('openvino') == 'unknown'
