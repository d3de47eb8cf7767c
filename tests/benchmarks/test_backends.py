"""The benchmarks of networks, floors and GPUs run at tiny sizes, and their numbers are right."""

from meta_ood_ros.core.backends import BackendError
from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.networks import build_network
import numpy as np
import pytest
import torch

from benchmarks.figures.comparison import Options, Times
from benchmarks.network import cameras, default_bundle, floors, gpu
from benchmarks.network.flops import count_flops


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


def test_precision_stands_behind_the_backend(tiny_bundle, images):
    rows = default_bundle.measure_bundle(tiny_bundle, images, 1, ('eager', 'eager bf16'))
    assert [row.subject for row in rows] == ['eager', 'eager bf16'] * 2
    exact, rounded = (row.details['largest_difference_of_entropy'] for row in rows[:2])
    assert exact < rounded  # entropies of random weights hardly differ


def test_backends_that_are_not_to_be_had_are_left_out(tiny_bundle, images, monkeypatch, capsys):
    def refuse(name, network, **options):
        raise BackendError(f'backend {name} needs a package')

    monkeypatch.setattr(default_bundle, 'load_backend', refuse)
    assert default_bundle.measure_bundle(tiny_bundle, images, 1, ('onnx',)) == []
    assert 'onnx: not measured. backend onnx needs a package' in capsys.readouterr().out


def test_operations_of_a_convolution_by_hand():
    network = torch.nn.Conv2d(3, 8, kernel_size=3, padding=1)
    assert count_flops(network, (16, 32)) == 2 * 8 * 3 * 9 * 16 * 32
    assert network.weight.device.type == 'cpu'


def test_the_network_of_the_paper_takes_the_operations_that_are_said():
    with torch.device('meta'):
        network = build_network('deeplabv3plus_wide_resnet38', num_classes=19)
    assert 1e-12 * count_flops(network, (1024, 2048)) == pytest.approx(11.65, abs=0.01)


def test_bytes_of_the_dense_pass_by_hand():
    # 19 planes of 2 x 4 float32; one byte and two float32 for each of 8 x 16 pixels
    assert floors.count_dense_bytes((19, 2, 4), (8, 16)) == 19 * 2 * 4 * 4 + 8 * 16 * 9


def test_floors_are_scaled_to_what_stands_above_them(tiny_bundle, monkeypatch):
    times = {'copy': [2.0], 'matmul': [4.0], 'dense': [30.0], 'network': [50.0]}
    monkeypatch.setattr(
        floors,
        'time_in_turns',
        lambda runs, rounds: {name: Times(times[name], [1.0]) for name in runs},
    )
    options = Options(rounds=1, image_size=(64, 128), segments=4)
    memory, arithmetic, network = floors.measure_floors(
        tiny_bundle, options, copy_bytes=1000, matmul_side=10
    )
    # 2 ms for 1000 bytes read and 1000 written
    assert memory.baseline_values == [pytest.approx(2.0 / 2000 * memory.details['bytes'])]
    assert memory.ratio == pytest.approx(30.0 / memory.baseline_values[0])
    # 4 ms for 10 x 10 x 10 multiplications and additions
    assert arithmetic.details['flops'] == floors.DENSE_FLOPS * 19 * 64 * 128
    assert arithmetic.baseline_values == [pytest.approx(4.0 / 2000 * arithmetic.details['flops'])]
    assert network.ratio == pytest.approx(50.0 / (4.0 / 2000 * network.details['flops']))


def test_what_floors_are_measured_with_does_what_it_says(monkeypatch):
    copied = []
    monkeypatch.setattr(floors.np, 'copyto', lambda to, what: copied.append((to.nbytes, what[0])))
    floors._copying(10_000_000)()
    assert sum(size for size, _ in copied) == 10_000_000
    assert {value for _, value in copied} == {1}
    assert floors._multiplying(8)().shape == (8, 8)


def test_the_gpu_figure_runs_with_a_small_network_on_the_cpu(capsys):
    case = gpu.Case(
        device='cpu',
        architecture='espnet_v2',
        backends=('eager', 'tensorrt'),
        precision='fp32',
        matmul_side=64,
        grid_divisor=4,
        segments=4,
    )
    rows = gpu.measure_case(case, (128, 256), 2)
    network, budget, naive = rows
    assert (network.subject, network.target) == ('eager', 2.0)
    assert (budget.target, set(budget.baseline_values)) == (1.0, {1.5})
    assert budget.subject_values == naive.subject_values
    assert set(budget.details['stages_ms']) == {'dense', 'segments', 'metrics', 'meta_classifier'}
    assert (
        'tensorrt: not measured. backend tensorrt needs an NVIDIA GPU' in capsys.readouterr().out
    )


def test_the_network_runs_but_its_logits_are_known():
    class Recorded:
        name, precision, device = 'eager', 'fp32', torch.device('cpu')
        seen: list = []  # noqa: RUF012

        def __call__(self, x):
            self.seen.append(x)
            return torch.zeros(1, 2, 3, 4)

    logits = torch.ones(2, 3, 4)
    known = gpu.KnownLogits(Recorded(), logits)
    assert torch.equal(known(torch.zeros(1, 3, 6, 8)), logits[None])
    assert len(Recorded.seen) == 1


def test_naive_maps_on_a_gpu_are_those_of_the_dense_pass():
    logits = torch.randn(5, 8, 16)
    dense = predict_dense(logits, (32, 64), align_corners=True)
    semantic, entropy, max_probability = gpu.predict_naively(logits, (32, 64))
    np.testing.assert_allclose(entropy, dense.entropy, atol=1e-5)
    np.testing.assert_allclose(max_probability, dense.max_probability, atol=1e-5)
    assert (semantic.numpy() == dense.semantic).mean() > 0.999


def test_without_a_gpu_there_are_no_rows(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert gpu.measure(Options()) == []
    assert 'needs a GPU' in capsys.readouterr().out


def test_cameras_are_compared_with_the_first_and_with_turns(tiny_bundle, images):
    rows = cameras.measure_cameras(tiny_bundle, images, 1, (1, 2))
    growth, batch = rows
    assert (growth.subject, growth.baseline, growth.kind) == (
        '2 cameras in turns', '1 camera', 'cost'
    )  # fmt: skip
    assert (batch.subject, batch.baseline, batch.kind) == (
        '2 cameras in one batch', '2 cameras in turns', 'speed-up'
    )  # fmt: skip
    assert batch.baseline_values == growth.subject_values
