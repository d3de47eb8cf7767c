"""The benchmarks of networks, floors and GPUs run at tiny sizes, and their numbers are right."""

from meta_ood_ros.core.backends import BackendError
from meta_ood_ros.core.networks import build_network
import numpy as np
import pytest
import torch

from benchmarks import default_bundle


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(2)]


def test_the_plain_network_is_the_network_as_it_was_built():
    network = build_network('espnet_v2', num_classes=4, scale=0.5).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(default_bundle.PlainBackend(network)(x), network(x))


def test_each_backend_has_a_row_alone_and_in_the_pipeline(tiny_bundle, images):
    rows = default_bundle.measure_bundle(tiny_bundle, images, 1, ('eager', 'onnx'))
    assert [row.subject for row in rows] == ['eager', 'onnx'] * 2
    assert [row.case.partition(',')[0] for row in rows] == (
        ['network alone'] * 2 + ['image to OodResult'] * 2
    )
    for pair in (rows[:2], rows[2:]):
        best, other = sorted(pair, key=lambda row: -row.ratio)
        assert (best.target, other.target) == (default_bundle.TARGET, None)
        assert pair[0].baseline_values == pair[1].baseline_values
        assert all(row.details['largest_difference_of_entropy'] < 1e-3 for row in pair)


def test_backends_that_are_not_to_be_had_are_left_out(tiny_bundle, images, monkeypatch, capsys):
    def refuse(name, network, **options):
        raise BackendError(f'backend {name} needs a package')

    monkeypatch.setattr(default_bundle, 'load_backend', refuse)
    assert default_bundle.measure_bundle(tiny_bundle, images, 1, ('onnx',)) == []
    assert 'onnx: not measured. backend onnx needs a package' in capsys.readouterr().out
