"""Small runs of every objective: what they train, keep, resume and export."""

from dataclasses import replace
import json
from pathlib import Path

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.networks import build_network, load_checkpoint
from meta_ood_ros.core.networks.outlier_decoder import mix_outliers
from meta_ood_training.bundles.export import export_bundle
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.finetuning.config import FinetuneConfig, ProxyConfig
from meta_ood_training.finetuning.config_reader import ConfigError, read_config
from meta_ood_training.finetuning.data.mixing import MixingSettings
from meta_ood_training.finetuning.data.street import open_samples, open_street
from meta_ood_training.finetuning.dry_run import try_one_step
from meta_ood_training.finetuning.loop.csv_rows import read_rows
from meta_ood_training.finetuning.loop.module import FinetuneModule
from meta_ood_training.finetuning.loop.starting_network import open_network, open_student
from meta_ood_training.finetuning.training_run import finetune
from meta_ood_training.heads.beside import HeadSettings, run_network
from meta_ood_training.heads.head_file import find_head, HEAD_FILE
import numpy as np
import pytest
import torch

HEADS = {
    'void_class': HeadSettings(('last_layer',), 0),
    'outlier_head': HeadSettings(('bu_dec_l2', 'bu_dec_l3'), 8),
    'residual_head': HeadSettings(('bu_dec_l2', 'bu_dec_l3'), 8),
}
KINDS = (*HEADS, 'dirichlet')
CONFIGS = Path(__file__).parents[3] / 'config'
TERMS = {'licence': 'MIT', 'data_terms': 'none'}
X = torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(3))


def of_kind(config, kind):
    """Return the small run with another objective, from a start on disk that can be compared."""
    start = Path(config.data['camvid']).parent / 'start.pth'
    if not start.exists():
        torch.manual_seed(1)
        torch.save(build_network('espnet_v2', num_classes=19, scale=0.5).state_dict(), start)
    return replace(
        config,
        network=replace(config.network, weights='start'),
        objective=replace(config.objective, kind=kind, head=HEADS.get(kind)),
        data={**config.data, 'start': str(start)},
    )


@pytest.mark.parametrize('kind', KINDS)
def test_a_run_trains_its_head_and_a_bundle_carries_it(tmp_path, small_config, quiet, kind):
    config = of_kind(small_config(max_steps=3, average_decay=0.5, validation=True), kind)
    finetune(config, tmp_path / 'run', **quiet)
    rows = read_rows(tmp_path / 'run' / 'loss.csv')
    assert all(float(row['loss']) > 0 for row in rows)
    # of a random network nothing is known yet: the score of the start is that of its kind
    assert len(read_rows(tmp_path / 'run' / 'validation.csv')) == 2
    record = torch.load(tmp_path / 'run' / 'final.pth', weights_only=True)
    assert ('head' in record) == (kind in HEADS)
    export_bundle(tmp_path / 'run' / 'final.pth', tmp_path / 'bundle', **TERMS)
    bundle, head = load_bundle(tmp_path / 'bundle'), find_head(tmp_path / 'bundle')
    assert bundle.provenance['objective'] == head.kind == kind
    assert head.settings == HEADS.get(kind)
    network = bundle.build_network()
    outputs = run_network(head.attach(network, sha256=bundle.network_sha256), X)
    assert (outputs.planes is not None) == (kind in HEADS)
    if kind in HEADS:
        assert outputs.planes.abs().max() > 0
    started = load_checkpoint(config.data['start'])
    moved = [name for name, one in started.items() if not torch.equal(one, bundle.weights[name])]
    # the residual head's segmentation, and so its mIoU, is the start's bit for bit
    assert (moved == []) == (kind == 'residual_head')
    if kind == 'residual_head':
        with torch.inference_mode():
            assert torch.equal(network(X), open_network(config.network, config.data).eval()(X))
        means = {row['mean_iou'] for row in read_rows(tmp_path / 'run' / 'validation.csv')}
        assert len(means) == 1


@pytest.mark.parametrize('kind', ['outlier_head', 'residual_head'])
def test_a_killed_run_goes_on_where_it_stood(tmp_path, small_config, quiet, kind, monkeypatch):
    config = of_kind(small_config(max_steps=4, average_decay=0.5, frozen_batch_norm=True), kind)
    finetune(config, tmp_path / 'whole', **quiet)
    step = FinetuneModule.training_step

    def killed_at_3(module, batch, batch_idx):
        if batch_idx == 3:
            raise RuntimeError('killed')
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, 'training_step', killed_at_3)
        with pytest.raises(RuntimeError, match='killed'):
            finetune(config, tmp_path / 'killed', **quiet)
    assert not (tmp_path / 'killed' / 'final.pth').exists()
    finetune(config, tmp_path / 'killed', resume=True, **quiet)
    whole, resumed = (
        torch.load(tmp_path / name / 'final.pth', weights_only=True)
        for name in ('whole', 'killed')
    )
    for part in ('head', 'state_dict'):
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), name


def test_a_head_replaces_that_of_an_earlier_bundle_and_none_removes_it(
    tmp_path, small_config, quiet
):
    plain = small_config(max_steps=1)
    finetune(of_kind(plain, 'outlier_head'), tmp_path / 'head', **quiet)
    finetune(plain, tmp_path / 'plain', **quiet)
    with_head, without = (tmp_path / name / 'final.pth' for name in ('head', 'plain'))
    export_bundle(with_head, tmp_path / 'bundle', **TERMS)
    assert (tmp_path / 'bundle' / HEAD_FILE).is_file()
    export_bundle(without, tmp_path / 'bundle', **TERMS)
    assert find_head(tmp_path / 'bundle') is None
    with pytest.raises(ConfigError, match='over runs of entropy maximization, got .*outl'):
        export_bundle((with_head, without), tmp_path / 'mean', **TERMS)


@pytest.mark.parametrize('kind', ['void_class', 'outlier_head'])
def test_a_head_alone_is_trained_where_the_network_is_frozen(tmp_path, small_config, quiet, kind):
    config = of_kind(small_config(max_steps=2, average_decay=0.5), kind)
    head = replace(HEADS[kind], frozen_network=True)
    config = replace(config, objective=replace(config.objective, head=head))
    finetune(config, tmp_path / 'run', **quiet)
    record = torch.load(tmp_path / 'run' / 'final.pth', weights_only=True)
    start = open_network(config.network, config.data).state_dict()
    assert all(torch.equal(start[name], one) for name, one in record['state_dict'].items())
    assert record['head']['out.weight'].any()
    export_bundle(tmp_path / 'run' / 'final.pth', tmp_path / 'bundle', **TERMS)
    assert find_head(tmp_path / 'bundle').settings == HEADS[kind]


@pytest.mark.parametrize(
    ('architecture', 'arguments', 'further'),
    [
        ('efficientvit_seg_b0', {}, {}),
        (
            'deeplabv3plus_mobilenet_edgetpu',
            {'is_centred': True, 'decoder_channels': 8},
            {'outlier_strides': [16, 8, 4]},
        ),
    ],
    ids=['efficientvit', 'fine_maps'],
)
def test_an_outlier_head_becomes_a_decoder_of_the_network(
    tmp_path, small_config, quiet, architecture, arguments, further
):
    config = of_kind(small_config(max_steps=2), 'outlier_head')
    start = build_network(architecture, num_classes=19, **arguments)
    torch.save(start.state_dict(), config.data['start'])
    network = replace(config.network, architecture=architecture, arguments=arguments)
    own = build_network(architecture, num_classes=19, **arguments, **further)
    head = HeadSettings(own.outlier_inputs, 8)
    objective = replace(config.objective, head=head)
    finetune(replace(config, network=network, objective=objective), tmp_path / 'run', **quiet)
    checkpoint = tmp_path / 'run' / 'final.pth'
    export_bundle(checkpoint, tmp_path / 'bundle', **TERMS)
    bundle = load_bundle(tmp_path / 'bundle')
    attached = find_head(tmp_path / 'bundle').attach(
        bundle.build_network(), sha256=bundle.network_sha256
    )
    with torch.inference_mode():
        logits, planes = run_network(attached.eval(), X)
        expected = mix_outliers(logits, planes, align_corners=False)
    assert planes.abs().max() > 0
    export_bundle(checkpoint, tmp_path / 'bundle', mix_head=True, **TERMS)
    mixed = load_bundle(tmp_path / 'bundle')
    assert find_head(tmp_path / 'bundle') is None
    assert (mixed.arguments, mixed.provenance['objective']) == (
        {**arguments, 'outlier_channels': 8, **further},
        'outlier_head',
    )
    with torch.inference_mode():
        torch.testing.assert_close(mixed.build_network()(X), expected)


def test_a_head_of_other_layers_or_networks_has_no_place_within(tmp_path, small_config, quiet):
    for kind, message in (
        ('outlier_head', 'no place for it in this architecture.*outlier_head on bu_dec_l2'),
        ('residual_head', 'needs the run of an outlier_head.*got residual_head'),
    ):
        finetune(of_kind(small_config(max_steps=1), kind), tmp_path / kind, **quiet)
        with pytest.raises(ConfigError, match=message):
            export_bundle(tmp_path / kind / 'final.pth', tmp_path / 'b', mix_head=True, **TERMS)
        assert not (tmp_path / 'b').exists()


def test_void_pixels_of_a_street_become_ood_before_it_is_cropped(small_config):
    config = small_config()
    street = replace(config.street[0], void='ood')
    plain = open_street(config.street[0], config.data, 19).samples
    place = plain.pairs[0].label
    label = cv2.imread(str(place), cv2.IMREAD_UNCHANGED)
    label[20:50] = 255
    cv2.imwrite(str(place), label)
    void = open_street(street, config.data, 19).samples
    assert (plain[0].target[20:50] == IGNORED).all()
    assert (void[0].target[20:50] == OOD).all()
    np.testing.assert_array_equal(void[0].target[50:], plain[0].target[50:])
    np.testing.assert_array_equal(void[0].image, plain[0].image)
    assert (void.names, void.groups, len(void)) == (plain.names, plain.groups, len(plain))
    assert void.region_of_interest == plain.region_of_interest
    alone = replace(config, street=(street,), proxies=(), objects=(), mixing=MixingSettings(0.0))
    values = [open_samples(alone)[0][0, position].target for position in range(6)]
    assert OOD in np.unique(values)


def test_a_flatter_start_keeps_its_classes(small_config):
    config = of_kind(small_config(), 'dirichlet')
    network = open_network(config.network, config.data).eval()
    flatter = replace(config, network=replace(config.network, head_scale=0.5))
    with torch.inference_mode():
        torch.testing.assert_close(open_student(flatter).eval()(X), 0.5 * network(X))
    with pytest.raises(ValueError, match='head_scale must be positive, got 0'):
        replace(config.network, head_scale=0)
    assert 'peak memory' in try_one_step(flatter)


@pytest.mark.parametrize(
    'method',
    [
        'entropy_maximization',
        'void_entropy',
        'void_class',
        'dirichlet',
        'outlier_head',
        'residual_head',
    ],
)
def test_the_configurations_differ_from_the_default_in_what_their_method_is(method):
    config = read_config(FinetuneConfig, CONFIGS / f'finetune_{method}.yaml')
    default = read_config(FinetuneConfig, CONFIGS / 'finetune_espnet_v2.yaml')
    kind = 'entropy_maximization' if method == 'void_entropy' else method
    assert config.objective.kind == kind
    assert config.augmentation == default.augmentation
    assert replace(config.network, head_scale=1.0) == default.network
    if method.startswith('void'):
        assert config.objects == config.proxies == ()
        assert [one.void for one in config.street] == ['ood', 'ood', 'ignored', 'ignored']
    else:
        proxies = (ProxyConfig('ecssd', 'ecssd'), ProxyConfig('coco', 'coco'))
        assert config.objects == config.proxies == proxies
        assert config.mixing == default.mixing
    assert json.dumps(config.bundle.data_terms)
