"""Names of devices: what they resolve to and how an absent one is refused."""

from meta_ood_ros.core.backends import BackendError, resolve_device, ResolvedDevice
import pytest
import torch


@pytest.fixture
def gpus(monkeypatch):
    def pretend(count: int, version: str | None = '13.0') -> None:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
        monkeypatch.setattr(torch.version, 'cuda', version)

    return pretend


def test_cpu_is_the_cpu():
    assert resolve_device('cpu') == ResolvedDevice(torch.device('cpu'), is_fallback=False)
    assert resolve_device(torch.device('cpu')).device == torch.device('cpu')


def test_auto_takes_the_first_gpu(gpus):
    gpus(2)
    assert resolve_device('auto') == ResolvedDevice(torch.device('cuda', 0))


def test_auto_says_that_it_fell_back(gpus):
    gpus(0)
    assert resolve_device('auto') == ResolvedDevice(torch.device('cpu'), is_fallback=True)


def test_numbered_gpus(gpus):
    gpus(2)
    assert resolve_device('cuda').device == torch.device('cuda', 0)
    assert resolve_device('cuda:1').device == torch.device('cuda', 1)
    with pytest.raises(BackendError, match=r"got 'cuda:2': 2 found\. Set device to auto or cpu"):
        resolve_device('cuda:2')


def test_absent_gpu_is_refused_with_the_reason(gpus):
    gpus(0, version=None)
    match = r"device must be a GPU that is there, got 'cuda:7': this PyTorch is built for the CPU"
    with pytest.raises(BackendError, match=match):
        resolve_device('cuda:7')
    gpus(0)
    with pytest.raises(BackendError, match=r"got 'cuda': 0 found\."):
        resolve_device('cuda')


@pytest.mark.parametrize('name', ['tpu', '', 'cuda:', 'cuda:-1', 'CPU', 'cuda:0:1', 'mps'])
def test_unknown_device_is_refused(name):
    with pytest.raises(
        BackendError, match=f"must be auto, cpu, cuda, cuda:N or xpu:N, got '{name}'"
    ):
        resolve_device(name)


@pytest.mark.parametrize(('name', 'index'), [('xpu', 0), ('xpu:2', 2)])
def test_intel_gpus_are_for_openvino_to_look_for(name, index):
    assert resolve_device(name) == ResolvedDevice(torch.device('xpu', index))
