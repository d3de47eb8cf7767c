"""Street sources and proxies as a configuration names them."""

from dataclasses import replace
from pathlib import Path

import cv2
from meta_ood_training.datasets.idd_lite import IddLite
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.finetuning.config import ProxyConfig, StreetConfig, ValidationConfig
from meta_ood_training.finetuning.data.mixing import MixedSamples
from meta_ood_training.finetuning.data.scene_samples import SceneSamples
from meta_ood_training.finetuning.data.street import (
    open_proxies,
    open_samples,
    open_street,
    resize_sample,
)
import numpy as np
import pytest


@pytest.fixture
def idd(tmp_path):
    """Draw 40 sequences of two frames; the label image counts through all coarse classes."""
    for kind in ('images', 'labels'):
        (tmp_path / 'idd' / kind).mkdir(parents=True)
    label = np.repeat(np.array([0, 1, 2, 3, 4, 5, 6, 255], np.uint8), 4)[None].repeat(16, 0)
    for sequence in range(40):
        for frame in range(2):
            name = f'{sequence}_{frame}'
            cv2.imwrite(str(tmp_path / 'idd' / 'images' / f'{name}.jpg'), np.zeros((16, 32, 3)))
            cv2.imwrite(str(tmp_path / 'idd' / 'labels' / f'{name}.png'), label)
    return tmp_path / 'idd'


def test_select_sequences_of_idd_lite_never_train(idd):
    fit, select = IddLite(idd, part='fit'), IddLite(idd, part='select')
    assert len(fit) + len(select) == len(IddLite(idd)) == 80
    assert 0 < len(select) < 20
    assert not set(fit.groups) & set(select.groups)
    trained = open_street(StreetConfig('idd_lite_fit', 'idd'), {'idd': str(idd)}, 19)
    assert list(trained.samples.names) == list(fit.names)


def test_coarse_labels_allow_their_classes_and_pasted_controls_stay_themselves(idd):
    config = StreetConfig('idd_lite_fit', 'idd', targets='consistent')
    street = open_street(config, {'idd': str(idd)}, 19)
    target = street.samples[0].target
    assert np.unique(target).tolist() == [0, 1, 2, 3, 4, 5, 6, IGNORED]
    allowed = street.allowed
    assert allowed[0].nonzero()[0].tolist() == [0]
    assert allowed[6].nonzero()[0].tolist() == [10]
    assert allowed[1].nonzero()[0].tolist() == [1, 9]
    assert allowed[2].nonzero()[0].tolist() == [11, 12]
    cautious = StreetConfig('idd_lite_fit', 'idd', targets='cautious')
    # Animals are living things, and no train id names them: the teacher may be unsure.
    left = open_street(cautious, {'idd': str(idd)}, 19).allowed
    assert left[[2, 3]].all()
    assert np.array_equal(np.delete(left, [2, 3], 0), np.delete(allowed, [2, 3], 0))
    assert allowed[IGNORED].all()
    for control in (11, 13, 18):
        assert allowed[control].nonzero()[0].tolist() == [control]


def test_scenes_repeat_and_mark_their_unknown_objects():
    scenes = SceneSamples(6, size=(90, 160))
    again = SceneSamples(6, size=(90, 160))
    assert len(scenes) == len(set(scenes.names)) == 6
    assert any((scenes[index].target == OOD).any() for index in range(6))
    for index in range(6):
        assert np.array_equal(scenes[index].image, again[index].image)
        values = np.unique(scenes[index].target)
        assert set(values.tolist()) <= {*range(19), OOD, IGNORED}
    with pytest.raises(IndexError):
        scenes[6]


def test_resizing_keeps_label_values_and_the_size_asked_for():
    sample = SceneSamples(1, size=(90, 160))[0]
    resized = resize_sample(sample, (45, 80))
    assert resized.image.shape == (45, 80, 3)
    assert set(np.unique(resized.target)) <= set(np.unique(sample.target))


def test_bounds_on_the_labelled_share_choose_whole_proxy_images(small_config):
    data = small_config().data
    shares = {'all': (0.0, 1.0), 'low': (0.0, 0.35), 'high': (0.35, 1.0)}
    found = {
        name: open_proxies(
            ProxyConfig('ecssd', 'ecssd', split='all', min_share=least, max_share=most), data
        )
        for name, (least, most) in shares.items()
    }
    assert len(found['low']) + len(found['high']) == len(found['all']) == 64
    assert min(len(found['low']), len(found['high'])) > 5
    for proxies in (found['low'],):
        assert max((proxies[i].target == OOD).mean() for i in range(len(proxies))) <= 0.35


def test_informative_subsets_have_shares_of_their_own(small_config):
    data = small_config().data
    low = open_proxies(ProxyConfig('ecssd', 'ecssd', split='all', subset='L-20%'), data)
    whole = open_proxies(ProxyConfig('ecssd', 'ecssd', split='all'), data)
    shares = [float((whole[i].target == OOD).mean()) for i in range(len(whole))]
    assert len(low) == sum(share <= 0.2 for share in shares) > 0
    with pytest.raises(ValueError, match='subset M-80% has its own shares'):
        ProxyConfig('ecssd', 'ecssd', subset='M-80%', max_share=0.9)


def test_a_run_opens_all_its_sources_and_proxies_name_no_classes(small_config):
    samples, allowed = open_samples(small_config())
    assert isinstance(samples, MixedSamples)
    assert samples.epoch_length == 8
    assert allowed.shape == (2, 256, 19)
    assert not allowed[-1][OOD].any()


def test_all_of_idd_lite_has_its_coarse_labels_too(idd):
    config = StreetConfig('idd_lite', 'idd', targets='consistent')
    street = open_street(config, {'idd': str(idd)}, 19)
    assert len(street.samples) == 80
    assert np.unique(street.samples[0].target).tolist() == [0, 1, 2, 3, 4, 5, 6, IGNORED]


def test_only_coarse_labels_leave_the_teacher_a_choice(small_config):
    data = small_config().data
    coarse = open_street(StreetConfig('camvid_val', 'camvid', targets='consistent'), data, 19)
    assert coarse.allowed[13].nonzero()[0].tolist() == [13, 14, 15]
    fine = {'camvid': data['camvid'], 'own': str(Path(data['camvid']) / 'val')}
    exact = open_street(StreetConfig('folder', 'own', targets='consistent'), fine, 19)
    assert np.array_equal(exact.allowed[:19], np.eye(19, dtype=bool))
    assert exact.allowed[IGNORED].all()


def test_a_folder_holds_the_networks_own_classes_however_many(tmp_path):
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / 'a.png'), np.full((8, 8), 24, np.uint8))
    street = open_street(StreetConfig('folder', 'own'), {'own': str(tmp_path)}, 25)
    assert np.unique(street.samples[0].target).tolist() == [24]
    assert street.allowed[24].nonzero()[0].tolist() == [24]


@pytest.mark.parametrize(
    'layout', ['camvid_fit', 'cityscapes_train', 'idd_lite', 'idd_lite_fit', 'scenes']
)
def test_cityscapes_labels_are_refused_for_other_classes(tmp_path, layout):
    config = StreetConfig(layout, 'own', targets='consistent')
    message = f'street of layout {layout} has labels .* for a network of 19 classes, got one of 12'
    with pytest.raises(ValueError, match=message):
        open_street(config, {'own': str(tmp_path)}, 12)


@pytest.mark.parametrize(
    ('use', 'changes'),
    [
        ('controls', {'controls': 'camvid'}),
        (
            'a background of proxies',
            {'proxies': (ProxyConfig('coco', 'x', background='class:road'),)},
        ),
        ('validation.camvid', {'validation': ValidationConfig(camvid='camvid', ecssd='ecssd')}),
    ],
)
def test_nothing_else_brings_cityscapes_labels_to_other_classes(small_config, use, changes):
    config = small_config()
    own = replace(config.network, num_classes=12), (StreetConfig('folder', 'own'),)
    mixing = replace(config.mixing, control_probability=0.5)
    config = replace(config, network=own[0], street=own[1], mixing=mixing, **changes)
    with pytest.raises(ValueError, match=f'{use} has labels in Cityscapes train ids'):
        open_samples(config)


def test_a_source_without_images_is_refused(small_config):
    config = small_config()
    empty = ProxyConfig('ecssd', 'ecssd', subset='M-80%')
    with pytest.raises(ValueError, match=r"proxies must hold images, got none .*subset='M-80%'"):
        open_samples(replace(config, proxies=(empty,)))


def test_unknown_layouts_and_missing_data_are_named(small_config):
    data = small_config().data
    with pytest.raises(ValueError, match="needs the data 'kitti', got camvid, ecssd"):
        open_street(StreetConfig('camvid_val', 'kitti'), data, 19)
    with pytest.raises(ValueError, match="dataset must be one of .*got 'camvid_valid'"):
        open_street(StreetConfig('camvid_valid', 'camvid'), data, 19)
