"""Paths, masks and pipelines that parameters name."""

from dataclasses import replace
from pathlib import Path
import re

import cv2
from meta_ood_ros.core.bundle import load_bundle, save_bundle
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.loading import load_ignore_mask, load_pipeline, resolve_path
import numpy as np
import pytest
import torch


def test_paths(monkeypatch, tmp_path):
    assert resolve_path('', parameter='bundle') is None
    assert resolve_path('/a/b', parameter='bundle') == Path('/a/b')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert resolve_path('~/b', parameter='bundle') == tmp_path / 'b'


def test_package_path_is_looked_up_in_the_index(monkeypatch, tmp_path):
    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'my_robot').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    found = resolve_path('package://my_robot/bundles/mine', parameter='bundle')
    assert found == tmp_path / 'share/my_robot/bundles/mine'
    with pytest.raises(ValueError, match=r"bundle must name a package .*, got 'other': .*Source"):
        resolve_path('package://other/bundles/mine', parameter='bundle')
    monkeypatch.delenv('AMENT_PREFIX_PATH')
    with pytest.raises(ValueError, match=r"ignore_mask must name a package .*, got 'my_robot'"):
        resolve_path('package://my_robot/mask.png', parameter='ignore_mask')


def test_relative_path_is_refused_with_the_whole_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    whole = re.escape(str(tmp_path / 'bundles/mine'))
    with pytest.raises(ValueError, match=f"bundle must be absolute.* 'bundles/mine'.*'{whole}'"):
        resolve_path('bundles/mine', parameter='bundle')


def test_installed_bundle_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'default').mkdir()  # a node does not look into the folder it was started in
    loaded = load_pipeline(NodeSettings(bundle='default', device='cpu'))
    assert loaded.pipeline.bundle.digest == load_bundle().digest


def test_mask_is_true_where_the_png_is_black(tmp_path):
    picture = np.array([[0, 255, 1], [7, 0, 0]], np.uint8)
    cv2.imwrite(str(tmp_path / 'mask.png'), picture)
    assert np.array_equal(load_ignore_mask(str(tmp_path / 'mask.png')), picture == 0)
    assert load_ignore_mask('') is None


@pytest.mark.parametrize('content', [b'', b'no picture at all'])
def test_what_is_no_mask_is_refused(tmp_path, content):
    (tmp_path / 'mask.png').write_bytes(content)
    with pytest.raises(ValueError, match=r'must be a PNG file, got .*which is no picture'):
        load_ignore_mask(str(tmp_path / 'mask.png'))
    with pytest.raises(
        ValueError, match=r'ignore_mask must be a PNG file, got .*: Is a directory'
    ):
        load_ignore_mask(str(tmp_path))


def test_device_auto_without_gpu_warns_loudly(bundle_folder, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    loaded = load_pipeline(NodeSettings(bundle=str(bundle_folder)))
    assert str(loaded.pipeline.backend.device) == 'cpu'
    assert any('found no GPU: the network runs on the CPU' in one for one in loaded.warnings)
    assert load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu')).warnings == ()


def test_foreign_work_size_is_a_warning_only_with_meta_classifier(
    bundle_folder, tiny_bundle, tmp_path
):
    from meta_ood_ros.core.bundle import save_bundle

    save_bundle(tiny_bundle, tmp_path / 'judging')
    for folder, side, warned in (
        (tmp_path / 'judging', 128, True),
        (tmp_path / 'judging', 96, False),  # that of the bundle
        (tmp_path / 'judging', -1, False),
        (bundle_folder, 128, False),
    ):
        settings = NodeSettings(bundle=str(folder), device='cpu', work_short_side=side)
        warnings = load_pipeline(settings).warnings
        assert any('fitted at 96' in one for one in warnings) == warned


@pytest.mark.parametrize(
    ('options', 'checks'),
    [
        ({'precision': 'fp32'}, 0),  # the reference itself
        ({'precision': 'bf16'}, 1),
        ({'precision': 'bf16', 'self_check': False}, 0),
    ],
)
def test_backend_is_checked_against_float32_eager(bundle_folder, monkeypatch, options, checks):
    found = []
    from meta_ood_ros.core.backends import self_check

    def check(backend, network, x):
        found.append((backend.precision, tuple(x.shape)))
        return self_check(backend, network, x)

    monkeypatch.setattr('meta_ood_ros.loading.self_check', check)
    load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', **options))
    assert found == [('bf16', (1, 3, 96, 128))] * checks


def test_backend_that_disagrees_is_an_error(bundle_folder, monkeypatch):
    from meta_ood_ros.core.backends import EagerBackend

    run = EagerBackend.__call__
    monkeypatch.setattr(EagerBackend, '__call__', lambda self, x: 100 * run(self, x))
    with pytest.raises(ValueError, match='must agree with float32 eager'):
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', precision='bf16'))


def test_trial_image_compiles_the_code_about_segments(bundle_folder, monkeypatch):
    from meta_ood_ros.core import pipeline

    counts = []
    summarize = pipeline.summarize_segments
    monkeypatch.setattr(
        pipeline,
        'summarize_segments',
        lambda segments, *maps: counts.append(segments.count) or summarize(segments, *maps),
    )
    load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', min_size_px=10**6))
    assert counts == [1]


def test_cpu_threads_are_those_of_the_whole_process(bundle_folder):
    import torch

    before = torch.get_num_threads()
    try:
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', cpu_threads=1))
        assert torch.get_num_threads() == cv2.getNumThreads() == 1
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(-1)


def test_gpu_that_does_not_work_is_replaced_by_the_cpu_only_under_auto(bundle_folder, monkeypatch):
    from meta_ood_ros.core.backends import ResolvedDevice
    from meta_ood_ros.core.pipeline import OodPipeline
    import torch

    class BrokenOnGpu(OodPipeline):
        def __init__(self, bundle, settings, device, **options):
            if device != 'cpu':
                raise RuntimeError('CUDA error: no kernel image is available\nCompile with ...')
            super().__init__(bundle, settings, device, **options)

    monkeypatch.setattr('meta_ood_ros.loading.OodPipeline', BrokenOnGpu)
    gpu = ResolvedDevice(torch.device('cuda', 0))
    monkeypatch.setattr('meta_ood_ros.loading.resolve_device', lambda name: gpu)
    loaded = load_pipeline(NodeSettings(bundle=str(bundle_folder)))
    assert str(loaded.pipeline.backend.device) == 'cpu'
    assert 'does not work (CUDA error: no kernel image is available)' in loaded.warnings[0]
    with pytest.raises(RuntimeError, match='no kernel image'):
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cuda:0'))


def test_threads_are_given_back_to_the_libraries(bundle_folder):
    before = torch.get_num_threads(), cv2.getNumThreads()
    for threads, expected in ((1, (1, 1)), (0, before)):
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', cpu_threads=threads))
        assert (torch.get_num_threads(), cv2.getNumThreads()) == expected


def test_mask_of_16_bits_is_black_only_at_0(tmp_path):
    picture = np.array([[0, 1], [255, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / 'mask.png'), picture)
    assert load_ignore_mask(str(tmp_path / 'mask.png')).tolist() == [[True, False], [False, False]]


def test_graph_of_fixed_sides_is_tried_at_them(tiny_bundle, tmp_path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    weight = np.random.default_rng(0).standard_normal((19, 3, 4, 4)).astype(np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node('Conv', ['image', 'weight'], ['logits'], strides=[4, 4])],
        'network',
        [helper.make_tensor_value_info('image', 1, [1, 3, 64, 128])],
        [helper.make_tensor_value_info('logits', 1, [1, 19, 16, 32])],
        [onnx.numpy_helper.from_array(weight, 'weight')],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8
    ).SerializeToString()
    bundle = replace(
        tiny_bundle,
        architecture='onnx',
        arguments={'stride': 32},
        weights={},
        onnx=model,
        work_short_side=64,
        meta_classifiers=(),
    )
    save_bundle(bundle, tmp_path / 'fixed')
    loaded = load_pipeline(NodeSettings(bundle=str(tmp_path / 'fixed'), device='cpu'))
    result = loaded.pipeline(np.zeros((640, 1280, 3), np.uint8))
    assert result.entropy.shape == (64, 128)
