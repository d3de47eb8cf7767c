"""Paths, masks and pipelines that parameters name."""

from dataclasses import replace
from pathlib import Path
import re

import cv2
from meta_ood_ros.core.backends import EagerBackend, ResolvedDevice
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.node.loading import load_ignore_mask, load_pipeline, resolve_path
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


@pytest.mark.parametrize(
    ('text', 'nearest'),
    [
        ('espnet', 'Did you mean espnet_v2'),
        ('Default', 'Did you mean default'),
        ('espnet-v2', 'Did you mean espnet_v2'),
        ('bundles/mine', None),
        ('xyz', None),
    ],
)
def test_name_that_is_not_installed_is_answered_with_those_that_are(text, nearest):
    names = re.escape(f'got {text!r}. By name are installed: default, espnet_v2, fast.')
    whole = re.escape(repr(str(Path.cwd() / text)))
    with pytest.raises(ValueError, match=f'^bundle must be .*{names}.*{whole}') as caught:
        load_pipeline(NodeSettings(bundle=text, device='cpu'))
    guesses = re.findall(r'Did you mean \w+', str(caught.value))
    assert guesses == ([nearest] if nearest else [])


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
    from meta_ood_ros.core.bundle_files import save_bundle

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

    monkeypatch.setattr('meta_ood_ros.node.loading.self_check', check)
    load_pipeline(
        NodeSettings(bundle=str(bundle_folder), device='cpu', backend='eager', **options)
    )
    assert found == [('bf16', (1, 3, 96, 128))] * checks


def test_backend_that_disagrees_is_an_error(bundle_folder, monkeypatch):
    run = EagerBackend.__call__
    monkeypatch.setattr(EagerBackend, '__call__', lambda self, x: 100 * run(self, x))
    with pytest.raises(ValueError, match='must agree with float32 eager'):
        load_pipeline(
            NodeSettings(
                bundle=str(bundle_folder), device='cpu', backend='eager', precision='bf16'
            )
        )


def test_auto_takes_the_fastest_that_is_installed(bundle_folder, tmp_path, caplog, monkeypatch):
    longest = 'meta_ood_ros.core.backends.choice.LONGEST_BUILDING'
    monkeypatch.setattr(longest, 600.0)  # however busy the machine is
    pytest.importorskip('onnxruntime')
    settings = NodeSettings(bundle=str(bundle_folder), device='cpu', engine_cache=str(tmp_path))
    with caplog.at_level('INFO', logger='meta_ood_ros'):
        names = [load_pipeline(settings).pipeline.backend.name for _ in range(2)]
    sentences = [one for one in caplog.messages if 'auto chose' in one]
    for name, sentence in zip(names, sentences, strict=True):
        assert f'Backend auto chose {name} (measured' in sentence
    assert 'measured now' in sentences[0]
    assert 'measured at an earlier start' in sentences[1]
    assert names[0] == names[1]
    (kept,) = tmp_path.glob('*-1x96x128-auto-fp32.engine')  # at the node's work size
    kept.unlink()
    load_pipeline(replace(settings, backend='eager'))
    assert not kept.exists()


def test_pipeline_outside_the_node_measures_and_keeps_nothing(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    pipeline = OodPipeline(tiny_bundle)
    pipeline(np.zeros((96, 128, 3), np.uint8))
    assert pipeline.backend.name == 'eager'
    assert not (tmp_path / 'cache').exists()


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
    before = torch.get_num_threads()
    try:
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', cpu_threads=1))
        assert torch.get_num_threads() == cv2.getNumThreads() == 1
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(-1)


@pytest.fixture
def broken_gpu(monkeypatch):
    """Let the first GPU be found and fail as soon as it is used."""

    class BrokenOnGpu(OodPipeline):
        def __init__(self, bundle, settings, device, **options):
            if device != 'cpu':
                raise RuntimeError('CUDA error: no kernel image is available\nCompile with ...')
            super().__init__(bundle, settings, device, **options)

    monkeypatch.setattr('meta_ood_ros.node.loading.OodPipeline', BrokenOnGpu)
    gpu = ResolvedDevice(torch.device('cuda', 0))
    monkeypatch.setattr('meta_ood_ros.node.loading.resolve_device', lambda name: gpu)


def test_gpu_that_does_not_work_is_replaced_by_the_cpu_only_under_auto(bundle_folder, broken_gpu):
    loaded = load_pipeline(NodeSettings(bundle=str(bundle_folder)))
    assert str(loaded.pipeline.backend.device) == 'cpu'
    assert 'does not work (CUDA error: no kernel image is available)' in loaded.warnings[0]
    with pytest.raises(RuntimeError, match='no kernel image'):
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cuda:0'))


def test_gpu_and_cpu_that_both_fail_are_both_explained(bundle_folder, broken_gpu):
    match = (
        r'got for the GPU: CUDA error: no kernel image is available; and for the CPU: precision '
        r'of backend eager on the CPU must be fp32 or bf16, got fp16'
    )
    with pytest.raises(ValueError, match=match) as raised:
        load_pipeline(NodeSettings(bundle=str(bundle_folder), precision='fp16'))
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_batch_that_does_not_fit_costs_neither_the_gpu_nor_the_smaller_ones(
    bundle_folder, monkeypatch
):
    def prepare(self, size, *, batch=1):
        if batch > 2:
            raise RuntimeError('CUDA out of memory.\nTried to allocate')

    monkeypatch.setattr(EagerBackend, 'prepare', prepare)
    monkeypatch.setattr('meta_ood_ros.node.loading.batch_sizes', lambda *_, **__: (1, 2, 3, 4))
    settings = NodeSettings(bundle=str(bundle_folder), device='cpu', backend='eager')
    loaded = load_pipeline(settings)
    assert loaded.batch_sizes == (1, 2)
    (warning,) = loaded.warnings
    assert warning.startswith('3 frames do not go through the network together (CUDA out of mem')
    assert 'at most 2 at a time' in warning


def test_work_grid_beyond_its_bound_is_told_while_configuring(bundle_folder):
    at_most = {'bundle': str(bundle_folder), 'device': 'cpu', 'max_work_pixels': 512 * 688}
    loaded = load_pipeline(NodeSettings(**at_most, work_short_side=512))
    assert loaded.work_size == (512, 688)
    with pytest.raises(ValueError, match='work grid must have at most 352256 pixels, got an im'):
        load_pipeline(NodeSettings(**at_most, work_short_side=528))


def test_folder_of_engines_is_a_path_like_the_others(bundle_folder, monkeypatch, tmp_path):
    given = []

    class Noting(OodPipeline):
        def __init__(self, *arguments, engine_cache, **options):
            given.append(engine_cache)
            super().__init__(*arguments, **options)

    monkeypatch.setattr('meta_ood_ros.node.loading.OodPipeline', Noting)
    monkeypatch.setenv('HOME', str(tmp_path))
    for text, path in (('', ''), ('~/engines', str(tmp_path / 'engines'))):
        settings = NodeSettings(bundle=str(bundle_folder), device='cpu', engine_cache=text)
        load_pipeline(settings)
        assert given.pop() == path
    with pytest.raises(ValueError, match=r"engine_cache must be absolute, .* got 'engines'"):
        load_pipeline(replace(settings, engine_cache='engines'))


def test_threads_are_given_back_to_the_libraries(bundle_folder):
    before = torch.get_num_threads(), cv2.getNumThreads()
    for threads, expected in ((1, (1, 1)), (0, before)):
        load_pipeline(NodeSettings(bundle=str(bundle_folder), device='cpu', cpu_threads=threads))
        assert (torch.get_num_threads(), cv2.getNumThreads()) == expected


def test_mask_of_16_bits_is_black_only_at_0(tmp_path):
    picture = np.array([[0, 1], [255, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / 'mask.png'), picture)
    assert load_ignore_mask(str(tmp_path / 'mask.png')).tolist() == [[True, False], [False, False]]


@pytest.fixture
def fixed_bundle(tiny_bundle, tmp_path):
    """Return the folder of a bundle with an ONNX graph for one image of 64 x 128."""
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
    return tmp_path / 'fixed'


def test_graph_of_fixed_sides_is_tried_at_them(fixed_bundle):
    loaded = load_pipeline(NodeSettings(bundle=str(fixed_bundle), device='cpu'))
    assert loaded.work_size == (64, 128)
    result = loaded.pipeline(np.zeros((640, 1280, 3), np.uint8))
    assert result.entropy.shape == (64, 128)


def test_graph_of_one_image_is_given_no_batches(fixed_bundle, monkeypatch):
    monkeypatch.setattr(
        'meta_ood_ros.node.loading.batch_sizes',
        lambda *_, has_fixed_batch: (1,) if has_fixed_batch else (1, 2),
    )
    settings = NodeSettings(bundle=str(fixed_bundle), device='cpu', cameras=('a', 'b'))
    assert load_pipeline(settings).batch_sizes == (1,)


def test_onnxruntime_without_gpu_takes_the_cpu_under_auto(fixed_bundle, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 1)
    loaded = load_pipeline(NodeSettings(bundle=str(fixed_bundle)))
    assert str(loaded.pipeline.backend.device) == 'cpu'
    (warning,) = loaded.warnings
    assert 'GPU that the backend cannot use (backend onnx on cuda:0 needs CUDAExec' in warning
    assert 'pip install onnxruntime-gpu): the network runs on the CPU' in warning
    with pytest.raises(ValueError, match='backend onnx on cuda:0 needs CUDAExecutionProvider'):
        load_pipeline(NodeSettings(bundle=str(fixed_bundle), device='cuda:0'))
