"""One epoch: every street image, one proxy to ten, all from seed, epoch and position."""

import cv2
from meta_ood_training.datasets import OOD, Sample
from meta_ood_training.datasets.objects import ObjectSource
from meta_ood_training.finetuning.data.augmentation import AugmentationSettings
from meta_ood_training.finetuning.data.mixing import MixedSamples, MixingSettings
from meta_ood_training.finetuning.data.pasting import PasteSettings
import numpy as np
import pytest


class Drawn:
    """A dataset of flat images: grey level = index, target = one value."""

    def __init__(self, length, value, word):
        self.names = [f'{word}{index}' for index in range(length)]
        self.groups = self.names
        self.value = value

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        target = np.full((24, 24), self.value, np.uint8)
        image = np.full((24, 24, 3), index, np.uint8)
        return Sample(image, target, self.names[index], self.names[index])


SMALL = AugmentationSettings(16)


def mixed(street=30, proxies=50, **options):
    datasets = [Drawn(street, 0, 's')], [Drawn(proxies, OOD, 'p')] if proxies else []
    return MixedSamples(*datasets, augmentation=SMALL, **options)


def names(samples, epoch):
    return [samples[epoch, position].name for position in range(samples.epoch_length)]


def test_an_epoch_holds_every_street_image_and_a_tenth_of_proxies():
    samples = mixed()
    assert (samples.street_length, samples.proxy_length, len(samples)) == (30, 3, 33)
    for epoch in range(3):
        drawn = names(samples, epoch)
        assert sorted(name for name in drawn if name[0] == 's') == sorted(
            f's{index}' for index in range(30)
        )
        assert len({name for name in drawn if name[0] == 'p'}) == 3


def test_the_papers_numbers():
    samples = MixedSamples([Drawn(2975, 0, 's')], [Drawn(46751, OOD, 'p')])
    assert (samples.proxy_length, samples.epoch_length) == (297, 3272)


def test_proxies_and_order_are_drawn_anew_each_epoch_and_repeat_with_the_seed():
    first, again, other = mixed(seed=1), mixed(seed=1), mixed(seed=2)
    assert names(first, 0) == names(again, 0)
    assert names(first, 0) != names(first, 1)
    assert names(first, 0) != names(other, 0)
    proxies = [{name for name in names(first, epoch) if name[0] == 'p'} for epoch in range(6)]
    assert len(set.union(*proxies)) > 9  # 18 draws of 50


def test_a_sample_needs_no_history():
    whole = [mixed()[epoch, position].image for epoch in (0, 1) for position in range(33)]
    fresh = mixed()
    np.testing.assert_array_equal(fresh[1, 5].image, whole[33 + 5])
    np.testing.assert_array_equal(fresh[0, 30].image, whole[30])


def test_repeats_draw_parts_and_several_rounds():
    datasets = [Drawn(8, 0, 'a'), Drawn(10, 0, 'b')]
    samples = MixedSamples(datasets, augmentation=SMALL, street_repeats=[0.5, 1.5])
    drawn = names(samples, 0)
    assert sum(name[0] == 'a' for name in drawn) == len({n for n in drawn if n[0] == 'a'}) == 4
    assert sum(name[0] == 'b' for name in drawn) == 15
    assert len({name for name in drawn if name[0] == 'b'}) == 10
    more = mixed(street=20, proxies=3, mixing=MixingSettings(proxies_per_street_image=0.5))
    assert sorted(name for name in names(more, 0) if name[0] == 'p').count('p0') >= 3


@pytest.fixture
def source(tmp_path):
    """Return a white square of 8 x 8 in a source image of 20 x 20."""
    image = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), np.uint8)
    image[6:14, 6:14] = 255
    mask[6:14, 6:14] = 1
    for name, pixels in (('image', image), ('mask', mask)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), pixels)
    paths = tmp_path / 'image.png', tmp_path / 'mask.png'
    return ObjectSource('o', 'o', 'object', *paths, (20, 20), 64, (8, 8))


def test_objects_land_on_streets_with_their_probability_and_never_on_proxies(source):
    mixing = MixingSettings(0.5, paste_probability=0.5)
    samples = mixed(street=80, proxies=50, objects=[source], mixing=mixing)
    pasted = 0
    for position in range(samples.epoch_length):
        sample = samples[0, position]
        if sample.name[0] == 'p':
            assert (sample.target == OOD).all()
            assert sample.image.max() < 60
        else:
            pasted += bool((sample.target == OOD).any())
    assert 25 <= pasted <= 55


def test_groups_come_in_place_of_single_objects_with_their_probability(source):
    counts = []
    for chance in (0.0, 1.0):
        mixing = MixingSettings(0, paste_probability=1.0, group_probability=chance)
        pasting = PasteSettings(area_min=0.002, area_max=0.01, smooth_border=False)
        samples = mixed(proxies=0, objects=[source], mixing=mixing, pasting=pasting)
        targets = [samples[0, position].target for position in range(30)]
        found = [cv2.connectedComponents((one == OOD).astype(np.uint8))[0] - 1 for one in targets]
        counts.append(np.array(found))
    single, grouped = counts
    assert single.max() == 1
    assert np.median(grouped) >= 2


def test_controls_bring_their_class(source):
    mixing = MixingSettings(0, control_probability=1.0)
    samples = mixed(proxies=0, controls=[(source, 13)], mixing=mixing)
    targets = np.stack([samples[0, position].target for position in range(30)])
    assert set(np.unique(targets)) == {0, 13}
    # A teacher sees them, and what they cover not: its opinion is asked for there.
    sample, clean = samples.with_clean(0, 0)
    assert np.array_equal(sample.target, clean.target)
    assert (clean.target == 13).any()


def test_no_proxies_at_hand_gives_street_alone():
    assert mixed(proxies=0).epoch_length == 30


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match='street must hold at least one image, got none'):
        MixedSamples([])
    with pytest.raises(ValueError, match=r'one number per street dataset \(1\), got 2'):
        mixed(street_repeats=[1, 2])
    with pytest.raises(ValueError, match=r'street dataset 1 must .* got 0.004 of its 100 images'):
        MixedSamples([Drawn(9, 0, 'a'), Drawn(100, 0, 'b')], street_repeats=[1, 0.004])
    with pytest.raises(ValueError, match=r'a proxy an epoch, got 0.05 of 15 street samples'):
        mixed(street=15, mixing=MixingSettings(0.05))
    assert mixed(street=20, mixing=MixingSettings(0.05)).proxy_length == 1
    with pytest.raises(ValueError, match='paste_probability above 0 needs objects to paste'):
        mixed(mixing=MixingSettings(paste_probability=0.5))
    with pytest.raises(ValueError, match='control_probability above 0 needs in-distribution'):
        mixed(mixing=MixingSettings(control_probability=0.5))
    with pytest.raises(ValueError, match=r'paste_probability must lie in \[0, 1\], got 5'):
        MixingSettings(paste_probability=5)
    with pytest.raises(ValueError, match='proxies_per_street_image must not be negative, got -1'):
        MixingSettings(-1)
    with pytest.raises(ValueError, match='max_objects must be at least 1, got 0'):
        MixingSettings(max_objects=0)
