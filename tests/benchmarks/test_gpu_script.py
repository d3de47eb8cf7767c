"""The script of everything that only a GPU can show, tried without one."""

import json

from meta_ood_ros.core.networks import build_network
import pytest
import torch

from benchmarks.network import gpu_script


def test_dense_kernels_are_compared_with_the_definition():
    rows = gpu_script.check_dense('cpu', (64, 96))
    assert [row['kernel'] for row in rows][:1] == ['torch, in strips']
    assert all(row['largest_difference'] < 1e-5 and row['ms'] > 0 for row in rows)


def test_every_backend_gives_its_self_check_or_its_reason(monkeypatch):
    torch.manual_seed(0)
    network = build_network('efficientvit_seg_b0', num_classes=3).eval()
    monkeypatch.setattr(gpu_script, '_networks', lambda: {'small': network})
    rows = gpu_script.check_backends('cpu', (('eager', 'fp32'), ('eager', 'fp16')))
    assert rows[0]['largest_difference'] < 1e-4
    assert 'fp16: CPUs' in rows[1]['reason']


@pytest.mark.skipif(torch.cuda.is_available(), reason='says what happens without a GPU')
def test_without_a_gpu_it_says_so(capsys):
    assert gpu_script.main([]) == 2
    assert 'no GPU here' in capsys.readouterr().out


def test_a_part_that_fails_costs_no_other(tmp_path, monkeypatch):
    def fail(device):
        raise RuntimeError('no such kernel')

    monkeypatch.setattr(gpu_script, 'check_dense', fail)
    monkeypatch.setattr(gpu_script, 'measure_batches', lambda device: [{'batch': 1}])
    place = tmp_path / 'gpu.json'
    words = ['--device', 'cpu', '--only', 'dense', 'batches', '--output', str(place)]
    assert gpu_script.main(words) == 1
    written = json.loads(place.read_text())
    assert written['dense'] == {'failed': 'RuntimeError: no such kernel'}
    assert written['batches'] == [{'batch': 1}]
