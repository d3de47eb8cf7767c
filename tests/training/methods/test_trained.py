"""Methods with a bundle of their own: the network and the score that evaluation gets."""

from dataclasses import replace
from pathlib import Path

from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.networks import build_network
from meta_ood_training.heads.beside import HeadSettings, NetworkWithHead
from meta_ood_training.heads.head_file import HEAD_FILE, save_head, TrainedHead
from meta_ood_training.methods import MethodNeedsError, METHODS, Observer, Setup
from meta_ood_training.methods.trained import TRAINED
import numpy as np
import pytest
import torch

CLASSES = ('road', 'car', 'sky')
SETTINGS = {
    'void_class': HeadSettings(('last_layer',), 0),
    'outlier_head': HeadSettings(('bu_dec_l2', 'bu_dec_l3'), 8),
    'residual_head': HeadSettings(('bu_dec_l2', 'bu_dec_l3'), 8),
}
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture
def bundle():
    torch.manual_seed(0)
    network = build_network('espnet_v2', num_classes=3, scale=0.5).eval()
    return Bundle(
        'base',
        'espnet_v2',
        {'scale': 0.5},
        CLASSES,
        ((0, 0, 0), (1, 1, 1), (2, 2, 2)),
        licence_of_weights='none',
        data_terms='none',
        weights=network.state_dict(),
    )


def write(bundle, directory, kind):
    """Save the bundle with a head of random weights; return the head's network."""
    saved = save_bundle(bundle, directory)
    network = NetworkWithHead(bundle.build_network(), kind, SETTINGS[kind]).eval()
    with torch.no_grad():
        network.extra_head.out.weight.normal_()
    weights = network.extra_head.state_dict()
    save_head(
        directory / HEAD_FILE, TrainedHead(kind, SETTINGS[kind], weights, saved.network_sha256)
    )
    return network


def setup_for(bundle, method, directory):
    artefact = 'dirichlet' if method.name.startswith('dirichlet') else method.name
    return Setup(bundle, bundle.build_network(), artefacts={artefact: directory})


@pytest.mark.parametrize('kind', SETTINGS)
def test_evaluation_sees_the_planes_behind_the_logits(tmp_path, bundle, kind):
    network = write(bundle, tmp_path / 'b', kind)
    method, setup = METHODS[kind], setup_for(bundle, METHODS[kind], tmp_path / 'b')
    observer = Observer.from_bundle(bundle, network=method.load_network(setup), device='cpu')
    logits, features = observer.run(IMAGE, with_features=True)
    own, _ = Observer.from_bundle(bundle, device='cpu').run(IMAGE)
    torch.testing.assert_close(logits[:3], own, rtol=1e-3, atol=1e-3)
    assert features.shape[1:] == logits.shape[1:]
    planes = 3 if kind == 'residual_head' else 1
    assert logits.shape[0] == 3 + planes == network.extra_head.out.out_channels + 3
    score = method.build(replace(setup, network=observer.network)).score(IMAGE, logits)
    assert score.shape == (64, 64)
    assert score.std() > 0
    assert 0 <= score.min() <= score.max() <= 1
    assert method.retrains == (kind != 'residual_head')


@pytest.mark.parametrize('method', [one for one in TRAINED if one.name not in SETTINGS])
def test_methods_without_planes_score_the_logits_of_their_own_bundle(tmp_path, bundle, method):
    other = replace(bundle, name='other')
    saved = save_bundle(other, tmp_path / 'b')
    if method.name.startswith('dirichlet'):
        head = TrainedHead('dirichlet', network_sha256=saved.network_sha256)
        save_head(tmp_path / 'b' / HEAD_FILE, head)
    setup = setup_for(bundle, method, tmp_path / 'b')
    network = method.load_network(setup)
    assert network.num_classes == 3
    with torch.inference_mode():
        logits = network(torch.zeros(1, 3, 64, 64))[0]
    assert method.build(setup).score(IMAGE, logits).shape == (64, 64)
    assert method.uses_ood_data
    assert METHODS[method.name] is method


def test_what_does_not_belong_is_refused_with_what_to_do(tmp_path, bundle):
    method = METHODS['outlier_head']
    with pytest.raises(MethodNeedsError, match='Give it with --artefact outlier_head=PATH'):
        method.load_network(Setup(bundle, bundle.build_network()))
    write(bundle, tmp_path / 'void', 'void_class')
    setup = setup_for(bundle, method, tmp_path / 'void')
    with pytest.raises(MethodNeedsError, match='a run with outlier_head, got .* has void_class'):
        method.load_network(setup)
    plain = METHODS['void_entropy']
    with pytest.raises(MethodNeedsError, match=r'no head, .*finetune_void_entropy\.yaml'):
        plain.load_network(setup_for(bundle, plain, tmp_path / 'void'))
    write(bundle, tmp_path / 'own', 'outlier_head')
    named = replace(bundle, class_names=('road', 'car', 'tree'))
    with pytest.raises(MethodNeedsError, match='a bundle with the class_names of the one'):
        method.load_network(setup_for(named, method, tmp_path / 'own'))
    for one in {method.name for method in TRAINED} - {
        'dirichlet_precision',
        'dirichlet_mutual_information',
    }:
        assert (Path(__file__).parents[3] / f'config/finetune_{one}.yaml').is_file()
