"""Model bundle: what is written comes back; what does not fit is refused in one sentence."""

from dataclasses import replace
import hashlib

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle, save_bundle
from meta_ood_ros.core.files.bundle_checks import BundleError
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_ros.core.pipeline import OodPipeline
import numpy as np
import pytest
import torch
import yaml

FILES = ('bundle.yaml', 'network.safetensors', 'meta_classifier.safetensors')


@pytest.fixture
def saved(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / 'tiny')
    return tmp_path / 'tiny'


def edit_description(directory, **changes):
    record = yaml.safe_load((directory / 'bundle.yaml').read_text())
    record.pop('sha256', None)  # as one changes it by hand on purpose
    record.update(changes)
    record = {key: value for key, value in record.items() if value is not None}
    (directory / 'bundle.yaml').write_text(yaml.safe_dump(record, sort_keys=False))


def test_round_trip_keeps_every_field(tiny_bundle, saved):
    loaded = load_bundle(saved)
    for name in Bundle.__dataclass_fields__:
        if name not in ('weights', 'meta_classifiers', 'digest'):
            assert getattr(loaded, name) == getattr(tiny_bundle, name), name
    assert loaded.weights.keys() == tiny_bundle.weights.keys()
    assert all(
        torch.equal(loaded.weights[key], tiny_bundle.weights[key]) for key in loaded.weights
    )
    metrics = np.random.default_rng(0).normal(size=(4, 75))
    np.testing.assert_array_equal(
        loaded.meta_classifiers[0].predict(metrics),
        tiny_bundle.meta_classifiers[0].predict(metrics),
    )


def test_model_id_is_the_hash_of_the_three_files_in_their_order(tiny_bundle, saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    digest = hashlib.sha256(b''.join((saved / name).read_bytes() for name in FILES)).hexdigest()
    assert load_bundle(saved).model_id == f'tiny@{digest[:12]}'
    assert tiny_bundle.model_id == 'tiny@unsaved'


def test_saving_twice_gives_the_same_model_id(tiny_bundle, tmp_path):
    first = save_bundle(tiny_bundle, tmp_path / 'a')
    assert save_bundle(tiny_bundle, tmp_path / 'b').model_id == first.model_id
    assert save_bundle(tiny_bundle, tmp_path / 'a').model_id == first.model_id  # replaced
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith('.')] == []


def test_network_runs_in_float32_whatever_was_stored(tiny_bundle):
    half = {k: v.half() if v.is_floating_point() else v for k, v in tiny_bundle.weights.items()}
    network = replace(tiny_bundle, weights=half).build_network()
    assert not network.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 96)).shape[1] == 19


def test_a_failed_write_leaves_the_old_bundle(tiny_bundle, saved, monkeypatch):
    before = {name: (saved / name).read_bytes() for name in FILES}

    def full_disk(*arguments):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('meta_ood_ros.core.bundle_files.pack_meta_classifiers', full_disk)
    with pytest.raises(OSError, match='No space left'):
        save_bundle(replace(tiny_bundle, name='other'), saved)
    assert {name: (saved / name).read_bytes() for name in FILES} == before


def test_output_that_is_no_bundle_is_not_overwritten(tiny_bundle, tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(BundleError, match='must be a new directory or a bundle to replace'):
        save_bundle(tiny_bundle, tmp_path)
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'


def test_missing_directory(tmp_path):
    with pytest.raises(BundleError, match=r"must be a directory, got '.*nowhere', which does not"):
        load_bundle(tmp_path / 'nowhere')


@pytest.mark.parametrize('name', FILES[:2])
def test_missing_file(saved, name):
    (saved / name).unlink()
    with pytest.raises(BundleError, match=rf'must hold {name}, got .*Make the bundle again'):
        load_bundle(saved)


@pytest.mark.parametrize('name', FILES[1:])
def test_truncated_file(saved, name):
    edit_description(saved)
    (saved / name).write_bytes((saved / name).read_bytes()[:-100])
    with pytest.raises(BundleError, match=rf'{name} must be a .*file.*got'):
        load_bundle(saved)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'format_version': 2}, 'must have format_version 1, got 2. Install the meta_ood that'),
        ({'entropy_treshold': 0.5}, "unknown key 'entropy_treshold'. Did you mean 'entropy_thres"),
        ({'work_short_side': None}, "must have the key 'work_short_side', which is missing"),
        ({'work_short_side': 'big'}, "work_short_side must be of type int, got 'big'"),
        ({'input_mean': [0.5]}, r'input_mean must have 3 numbers \(R, G, B\), got \[0.5\]'),
        ({'metric_names': ['size']}, 'must list the 75 metrics that this version measures, got 1'),
        ({'entropy_threshold': 70.0}, r'entropy_threshold must lie in \(0, 1\], got 70.0'),
        ({'meta_threshold': 2}, r'meta_threshold must lie in \[0, 1\], got 2'),
        ({'core_threshold': 80}, r'core_threshold must lie in \[0, 1\], got 80. It is a share'),
        ({'core_threshold': 'off'}, "core_threshold must be of type int or float, got 'off'"),
        ({'work_short_side': 63}, r'must be 0 or lie in \[64, 4096\], got 63. 0 works at the'),
        ({'work_short_side': 4097}, r'must be 0 or lie in \[64, 4096\], got 4097'),
        ({'min_size_px': -1}, r'min_size_px must lie in \[0, 10000000\], got -1. 0 keeps'),
        ({'label_rule': 'mine'}, "label_rule must be one of deployed, published, got 'mine'"),
        ({'class_colors': [[0, 0, 0]]}, 'one colour for each of the 19 classes, got 1'),
    ],
)
def test_wrong_description(saved, changes, message):
    edit_description(saved, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(saved)


def test_a_core_threshold_is_kept_and_its_absence_written_as_before(tiny_bundle, saved):
    assert 'core_threshold' not in (saved / FILES[0]).read_text()
    assert load_bundle(saved).core_threshold == 0.0
    save_bundle(replace(tiny_bundle, core_threshold=0.8), saved)
    assert load_bundle(saved).core_threshold == 0.8


def test_copy_that_lost_its_meta_classifiers(saved):
    (saved / FILES[2]).unlink()
    with pytest.raises(BundleError, match='must hold the files that bundle.yaml states, meta_cl'):
        load_bundle(saved)
    edit_description(saved)
    with pytest.raises(BundleError, match=r'lists, .*\[0\.5\], got \[\] in meta.*Copy it again'):
        load_bundle(saved)


@pytest.mark.parametrize('declared', [[], [0.4], [0.5, 0.6]])
def test_meta_classifiers_of_another_copy(saved, declared):
    edit_description(saved, classifier_thresholds=declared)
    with pytest.raises(BundleError, match=r'must have the meta .*, got \[0\.5\] in'):
        load_bundle(saved)


def test_description_without_a_list_of_classifiers_is_taken(saved):
    edit_description(saved, classifier_thresholds=None)
    assert len(load_bundle(saved).meta_classifiers) == 1


def test_description_that_is_not_yaml(saved):
    (saved / 'bundle.yaml').write_text('a: [')
    with pytest.raises(BundleError, match='must be YAML, got'):
        load_bundle(saved)
    (saved / 'bundle.yaml').write_text('- a')
    with pytest.raises(BundleError, match='must be a mapping, got list'):
        load_bundle(saved)


def test_meta_classifier_of_another_network(tiny_bundle, saved):
    two = replace(tiny_bundle.meta_classifiers[0], metric_names=tuple('abc'), model=DenseLayers(
        ((np.zeros((1, 3)), np.zeros(1)),), np.zeros(3), np.ones(3)))  # fmt: skip
    with pytest.raises(BundleError, match='fitted on the 75 metrics of 19 classes, got 3 others'):
        replace(tiny_bundle, meta_classifiers=(two,))


def test_weights_of_another_architecture(tiny_bundle, tmp_path):
    saved = tmp_path / 'tiny'
    save_bundle(replace(tiny_bundle, meta_classifiers=()), saved)
    edit_description(saved, arguments={'scale': 2.0})
    with pytest.raises(BundleError, match='network of bundle tiny@.* cannot be built: .*shape'):
        load_bundle(saved).build_network()
    edit_description(saved, architecture='unet')
    with pytest.raises(BundleError, match="cannot be built: .*got 'unet'"):
        load_bundle(saved).build_network()


def test_pickle_is_never_loaded(saved):
    edit_description(saved)
    torch.save({'a': torch.zeros(1)}, saved / 'network.safetensors')
    with pytest.raises(BundleError, match='must be a safetensors file'):
        load_bundle(saved)


@pytest.fixture
def onnx_bundle(tiny_bundle):
    onnx = pytest.importorskip('onnx')
    # A network of the user's own, drawn by hand: class c scores c times the mean of R, G and B.
    weight = np.arange(19, dtype=np.float32).reshape(19, 1, 1, 1) / 3 * np.ones((1, 3, 1, 1), 'f4')
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('Conv', ['image', 'weight'], ['logits'], strides=[4, 4])],
        'own',
        [onnx.helper.make_tensor_value_info('image', 1, ['n', 3, 'h', 'w'])],
        [onnx.helper.make_tensor_value_info('logits', 1, ['n', 19, 'y', 'x'])],
        [onnx.numpy_helper.from_array(weight, 'weight')],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)])
    model.ir_version = 9
    return replace(
        tiny_bundle,
        architecture='onnx',
        arguments={'stride': 4, 'align_corners': False},
        weights={},
        onnx=model.SerializeToString(),
        work_short_side=0,
        input_mean=(0.0, 0.0, 0.0),
        input_std=(1.0, 1.0, 1.0),
    )


def test_network_of_the_users_own(onnx_bundle, tmp_path):
    save_bundle(onnx_bundle, tmp_path / 'own')
    loaded = load_bundle(tmp_path / 'own')
    assert sorted(path.name for path in (tmp_path / 'own').iterdir()) == [
        'bundle.yaml',
        'meta_classifier.safetensors',
        'network.onnx',
    ]
    white = OodPipeline(loaded)(np.full((16, 24, 3), 255, dtype=np.uint8))
    assert (white.semantic == 18).all()  # the largest score
    probabilities = np.exp(np.arange(19.0)) / np.exp(np.arange(19.0)).sum()
    entropy = -(probabilities * np.log(probabilities)).sum() / np.log(19)
    np.testing.assert_allclose(white.entropy, entropy, atol=1e-5)


def test_network_of_the_users_own_with_other_classes(onnx_bundle):
    fewer = replace(
        onnx_bundle,
        class_names=onnx_bundle.class_names[:5],
        class_colors=onnx_bundle.class_colors[:5],
        meta_classifiers=(),
    )
    with pytest.raises(BundleError, match='must give logits of shape .* 5 classes, got'):
        fewer.build_network()
