"""torch.compile: same logits, any of several sizes, and what is missing is explained."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

from meta_ood_ros.core.backends import BackendError, compiled, load_backend, self_check
from meta_ood_ros.core.backends.compiled import check_toolchain
import pytest
import torch


@pytest.mark.slow
def test_logits_are_those_of_the_network(small_network):
    backend = load_backend('compile', small_network, device='cpu')
    backend.prepare((16, 16))  # the compiler takes ten seconds and more
    x = torch.linspace(-2, 2, 3 * 16 * 16).reshape(1, 3, 16, 16)
    logits = backend(x)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert (logits - small_network(x)).abs().max() <= 1e-5
    assert self_check(backend, small_network, x).equal_classes > 0.99
    kept = logits.clone()
    backend(-x)
    assert torch.equal(logits, kept)  # results do not share memory


class _Recorder:
    """Stands in for CUDA's streams and graphs: what is recorded is done again at each replay."""

    def __init__(self):
        self.recorded = None
        self.streams = []

    def install(self, monkeypatch):
        recorder = self

        class Graph:
            def replay(self):
                run, given, output = recorder.recorded
                output.copy_(run(given))

        @contextmanager
        def graph(made, *, stream=None):
            recorder.streams.append(stream)
            yield

        monkeypatch.setattr(torch.cuda, 'CUDAGraph', Graph)
        monkeypatch.setattr(torch.cuda, 'graph', graph)
        monkeypatch.setattr(torch.cuda, 'device', lambda device: nullcontext())
        monkeypatch.setattr(torch.cuda, 'stream', lambda stream: nullcontext())
        for name in ('Stream', 'current_stream'):
            stream = SimpleNamespace(wait_stream=lambda other: None, name=name)
            monkeypatch.setattr(torch.cuda, name, lambda device, stream=stream: stream)


def test_graph_is_replayed_whatever_mode_its_first_image_came_in(small_network, monkeypatch):
    recorder = _Recorder()
    recorder.install(monkeypatch)
    backend = load_backend('compile', small_network, device='cpu')
    original = compiled._CudaGraph

    def record(run, x):
        graph = original(run, x)
        recorder.recorded = run, graph._input, graph._output
        return graph

    monkeypatch.setattr(compiled, '_CudaGraph', record)
    monkeypatch.setattr(backend, '_run', lambda x: small_network(x))
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():  # as the self check of a new backend does
        first = backend._replay(x)
    kept = first.clone()
    second = backend._replay(-x)
    assert torch.equal(first, kept)  # the second replay wrote elsewhere
    assert torch.equal(first, small_network(x))
    assert torch.equal(second, small_network(-x))
    assert [stream.name for stream in recorder.streams] == ['Stream']  # recorded once, on its own


def test_missing_compiler_is_named(small_network, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    match = r'needs a C\+\+ compiler, but no-such-compiler is not installed\. Run: apt install g'
    with pytest.raises(BackendError, match=match):
        load_backend('compile', small_network, device='cpu')


def test_missing_triton_is_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    match = r'on a GPU needs the package triton, which is not installed\. Run: pip install triton'
    with pytest.raises(BackendError, match=match):
        check_toolchain(torch.device('cuda', 0))


def test_failing_compiler_is_reported_in_one_sentence(small_network):
    backend = load_backend('compile', small_network, device='cpu')

    def fail(x):
        raise torch._dynamo.exc.TorchDynamoException('g++ died\nwith a long log')

    backend._compiled = fail
    match = (
        r'could not compile the network for \(1, 3, 16, 16\): g\+\+ died Set backend to auto\.$'
    )
    with pytest.raises(BackendError, match=match):
        backend.prepare((16, 16))


def test_precisions_that_pytorch_cannot_run_are_refused(small_network):
    with pytest.raises(BackendError, match=r'backend compile must be .* got int8'):
        load_backend('compile', small_network, device='cpu', precision='int8')
    with pytest.raises(BackendError, match=r'backend compile on the CPU must be .* got fp16'):
        load_backend('compile', small_network, device='cpu', precision='fp16')
