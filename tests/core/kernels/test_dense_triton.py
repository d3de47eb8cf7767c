"""The fused GPU kernel: on a GPU where there is one, else in Triton's interpreter."""

import os
from pathlib import Path
import re
import subprocess
import sys

from meta_ood_ros.core import dense
from meta_ood_ros.core.kernels.dense_torch import predict_in_strips
from meta_ood_ros.core.kernels.host_copy import to_host
import pytest
import torch

PROGRAM = """
import sys
import torch
from meta_ood_ros.core.kernels.dense_triton import predict_with_triton
from meta_ood_ros.core.uncertainty import normalized_entropy

device = sys.argv[1]
torch.manual_seed(0)
for shape, size, align_corners, scale in [
    ((19, 16, 32), (64, 128), False, 3), ((19, 13, 29), (101, 67), True, 3),
    ((5, 40, 70), (21, 9), False, 3), ((2, 1, 1), (3, 17), True, 1),
    ((255, 5, 6), (33, 18), False, 3), ((19, 8, 8), (8, 8), True, 60),
]:
    logits = torch.randn(shape) * scale
    maps = predict_with_triton(logits.to(device), size, align_corners=align_corners)
    semantic, entropy, max_probability = (values.cpu() for values in maps)
    expected = torch.nn.functional.interpolate(
        logits[None].double(), size, mode='bilinear', align_corners=align_corners)[0]
    top = expected.topk(2, dim=0)
    clear = top.values[0] - top.values[1] > 1e-4
    assert (normalized_entropy(expected) - entropy).abs().max() < 1e-5
    assert (expected.softmax(0).amax(0) - max_probability).abs().max() < 1e-5
    assert (top.indices[0] == semantic)[clear].all()
logits = torch.zeros(5, 4, 4)
logits[3] = logits[1] = 300.0
semantic, entropy, _ = predict_with_triton(logits.to(device), (7, 7), align_corners=True)
assert (semantic == 1).all()
logits[3] = 0
assert predict_with_triton(logits.to(device), (7, 7), align_corners=True)[1].max() == 0
logits[2, 1, 1] = float('inf')
assert predict_with_triton(logits.to(device), (7, 7), align_corners=True)[1].isnan().any()
print('agrees')
"""


def test_kernel_agrees_with_the_definition():
    pytest.importorskip('triton', reason='Triton comes with the CUDA and ROCm builds of torch')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    environment = {**os.environ, 'TRITON_INTERPRET': '0' if device == 'cuda' else '1'}
    run = subprocess.run(
        [sys.executable, '-c', PROGRAM, device], env=environment, capture_output=True, text=True,
        cwd=Path(dense.__file__).parents[2], timeout=300, check=False,
    )  # fmt: skip
    assert run.stdout.endswith('agrees\n'), run.stderr


def test_without_triton_a_gpu_takes_strips(monkeypatch):
    monkeypatch.setattr(dense, 'find_spec', lambda name: None)
    dense._find_gpu_path.cache_clear()
    assert dense._find_gpu_path('cuda:0') is predict_in_strips
    dense._find_gpu_path.cache_clear()


def test_other_accelerators_take_strips(monkeypatch):
    monkeypatch.setattr(dense, 'find_spec', lambda name: object())
    dense._find_gpu_path.cache_clear()
    assert dense._find_gpu_path('mps:0') is predict_in_strips
    dense._find_gpu_path.cache_clear()


def test_a_kernel_that_does_not_run_is_reported_once(monkeypatch, caplog):
    monkeypatch.setattr(dense, 'find_spec', lambda name: object())
    monkeypatch.setitem(
        sys.modules, 'meta_ood_ros.core.kernels.dense_triton', None
    )  # fails to import
    dense._find_gpu_path.cache_clear()
    for _ in range(2):
        assert dense._find_gpu_path('cuda:0') is predict_in_strips
    (record,) = caplog.records
    assert record.name == 'meta_ood_ros.core.dense'  # below the name that the node listens to
    assert re.search(
        r'The fused GPU kernel does not run on cuda:0 .*Install a C compiler', record.getMessage()
    )
    dense._find_gpu_path.cache_clear()


def test_tensors_beside_the_cpu_come_back_as_arrays(monkeypatch):
    """The branch for accelerators, on CPU tensors: same values as the kernel."""
    torch.manual_seed(1)
    logits = torch.randn(4, 6, 7)
    expected = dense.predict_dense(logits, (20, 30))
    maps = predict_in_strips(logits, (20, 30), align_corners=False)
    for values, array in zip(
        to_host(maps),
        (expected.semantic, expected.entropy, expected.max_probability),
        strict=True,
    ):
        torch.testing.assert_close(values, torch.from_numpy(array), atol=1e-5, rtol=0)
