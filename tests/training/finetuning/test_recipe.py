"""What fine-tuning gained for small objects and strange streets, against drawn answers."""

import cv2
from meta_ood_ros.core.networks import build_network
from meta_ood_training.datasets import LabelMeFacade, OOD, Sample
from meta_ood_training.datasets.objects import CutOut
from meta_ood_training.finetuning.data.hard_negatives import (
    add_hard_negatives,
    HardNegativeSettings,
)
from meta_ood_training.finetuning.data.label_sets import FACADE_SETS, label_sets
from meta_ood_training.finetuning.data.object_groups import (
    GROUP_AREA_MAX,
    GROUP_SIZES,
    paste_group,
)
from meta_ood_training.finetuning.data.pasting import Foot, paste_object, PasteSettings
from meta_ood_training.finetuning.data.scene_samples import SceneSamples
from meta_ood_training.finetuning.loop.module import _parameter_groups
from meta_ood_training.finetuning.loop_config import OptimizerConfig
import numpy as np
import pytest

SKY, ROAD = 10, 0
HORIZON = 60


def street():
    """Sky above, road below row 60 and right of column 20; grey 120 everywhere."""
    target = np.full((160, 200), SKY, np.uint8)
    target[HORIZON:, 20:] = ROAD
    return Sample(np.full((160, 200, 3), 120, np.uint8), target, 'street', 'street')


def square(side=40):
    return CutOut(np.full((side, side, 3), 250, np.uint8), np.ones((side, side), bool))


def paste(seed, **options):
    settings = PasteSettings(
        area_min=0.0002, on_road_probability=1.0, rotation_max=0, smooth_border=False, **options
    )
    return paste_object(street(), square(), settings, np.random.default_rng(seed))


# ---- objects on the road ----


def test_an_object_stands_on_the_road_at_a_size_that_fits_its_row():
    heights, depths = [], []
    for seed in range(200):
        rows, columns = np.nonzero(paste(seed).target == OOD)
        foot = rows.max()
        assert foot >= HORIZON
        assert columns.mean() > 18  # its middle stands on the road, its side may hang over
        heights.append(rows.max() - rows.min() + 1)
        depths.append(foot - HORIZON + 2)
    ratios = np.array(heights) / np.array(depths)
    # an object is at least two pixels high, and not higher than area_max allows
    assert np.percentile(ratios[np.array(heights) > 3], [2, 98]) == pytest.approx(
        [0.08, 1.2], rel=0.45
    )
    assert np.corrcoef(heights, depths)[0, 1] > 0.4
    assert min(heights) <= 4 < 30 < max(heights)


def test_without_road_it_lies_anywhere():
    nowhere = Sample(street().image, np.full((160, 200), SKY, np.uint8), 'sky', 'sky')
    settings = PasteSettings(on_road_probability=1.0, top=0.0)
    done = paste_object(nowhere, square(), settings, np.random.default_rng(1))
    assert (done.target == OOD).any()


def test_without_the_chance_nothing_is_drawn_and_samples_stay_as_they_were():
    """The generator goes on as if the setting did not exist."""
    rng = np.random.default_rng(5)
    paste_object(street(), square(), PasteSettings(), rng)
    other = np.random.default_rng(5)
    paste_object(street(), square(), PasteSettings(on_road_probability=0.0), other)
    assert rng.integers(2**40) == other.integers(2**40)


@pytest.mark.parametrize('value', [-0.1, 1.5])
def test_a_chance_lies_between_0_and_1(value):
    with pytest.raises(ValueError, match=r'on_road_probability must lie in \[0, 1\], got'):
        PasteSettings(on_road_probability=value)
    with pytest.raises(ValueError, match=r'shadow_probability must lie in \[0, 1\], got'):
        HardNegativeSettings(shadow_probability=value)


# ---- groups of objects ----


GROUPED = PasteSettings(
    area_min=0.0005, area_max=0.002, top=0.4, rotation_max=0, smooth_border=False
)


def group(seed, settings=GROUPED):
    return paste_group(street(), [square(), square(20)], settings, np.random.default_rng(seed))


def test_a_group_is_of_small_things_close_together_with_gaps_that_stay_known():
    counts, shares, spans = [], [], []
    for seed in range(100):
        is_ood = (group(seed).target == OOD).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(is_ood, connectivity=8)
        if count < 2:  # all of it lies beside the image
            continue
        counts.append(count - 1)
        shares += (stats[1:, cv2.CC_STAT_AREA] / is_ood.size).tolist()
        columns = np.nonzero(is_ood)[1]
        spans.append(np.ptp(columns) / np.sqrt(np.median(stats[1:, cv2.CC_STAT_AREA])))
    assert len(counts) > 90
    assert max(counts) <= GROUP_SIZES[1]
    assert np.mean(np.array(counts) >= GROUP_SIZES[0]) > 0.6  # others touch, or left the image
    assert np.percentile(shares, 95) < 2 * GROUP_AREA_MAX
    assert 3 < np.median(spans) < 20  # several widths across, not the whole street


def test_large_objects_make_no_group():
    large = PasteSettings(area_min=0.1, area_max=0.2, rotation_max=0, smooth_border=False)
    for seed in range(20):
        share = (group(seed, large).target == OOD).mean()
        assert share <= GROUP_SIZES[1] * 2.1 * GROUP_AREA_MAX


def test_a_group_on_the_road_stands_there():
    settings = PasteSettings(area_min=0.0005, on_road_probability=1.0, rotation_max=0)
    above = [(group(seed, settings).target[: HORIZON - 20] == OOD).sum() for seed in range(50)]
    assert sum(one > 0 for one in above) <= 3  # 20 rows over the horizon, where a far one reaches


@pytest.mark.parametrize('foot', [(300, 50), (-9, 50), (80, 400), (80, -90), (10**6, 0)])
def test_what_stands_beside_the_image_leaves_it_as_it_was(foot):
    rng = np.random.default_rng(0)
    done = paste_object(street(), square(), GROUPED, rng, foot=Foot(*foot, 0.002))
    assert np.array_equal(done.target, street().target)
    assert np.array_equal(done.image, street().image)


@pytest.mark.parametrize('foot', [(162, 100), (3, 100), (80, 0), (80, 199)])
def test_what_stands_half_beside_the_image_is_cut(foot):
    rng = np.random.default_rng(0)
    done = paste_object(street(), square(), GROUPED, rng, foot=Foot(*foot, 0.002))
    assert 0 < (done.target == OOD).sum() < 0.002 * done.target.size


# ---- hard negatives ----


def test_shadows_only_take_light_away():
    sample = street()
    for seed in range(20):
        done = add_hard_negatives(
            sample, HardNegativeSettings(shadow_probability=1.0), np.random.default_rng(seed)
        )
        assert (done.target == sample.target).all()
        assert (done.image <= 120).all()
        assert done.image.min() >= 120 * (1 - 0.65) ** 3 - 1


def test_paint_lies_on_the_road_alone():
    sample, changed = street(), 0
    for seed in range(20):
        done = add_hard_negatives(
            sample, HardNegativeSettings(marking_probability=1.0), np.random.default_rng(seed)
        )
        assert (done.target == sample.target).all()
        assert (done.image[sample.target != ROAD] == 120).all()
        changed += (done.image != 120).any()
    assert changed >= 18


def test_without_a_chance_the_sample_itself_comes_back():
    sample = street()
    rng = np.random.default_rng(0)
    assert add_hard_negatives(sample, HardNegativeSettings(), rng) is sample
    assert rng.integers(2**40) == np.random.default_rng(0).integers(2**40)


# ---- learning rates by part ----


def test_a_part_gets_its_factor():
    network = build_network('deeplabv3plus_mobilenet_edgetpu', num_classes=3, decoder_channels=16)
    config = OptimizerConfig(learning_rate=0.25, part_factors={'decoder.': 8.0})
    groups = {group['lr']: group['params'] for group in _parameter_groups(network, config)}
    assert set(groups) == {0.25, 2.0}
    assert {id(one) for one in groups[2.0]} == {id(one) for one in network.decoder.parameters()}
    assert sum(map(len, groups.values())) == len(list(network.parameters()))


def test_a_part_that_is_not_there_and_a_factor_of_0_are_refused():
    network = build_network('efficientvit_seg_b0', num_classes=3)
    with pytest.raises(ValueError, match=r'must name parts of the network \(.*\), got decoder\.'):
        _parameter_groups(network, OptimizerConfig(part_factors={'decoder.': 2.0}))
    with pytest.raises(ValueError, match=r'part_factors must be positive, got 0 for head'):
        OptimizerConfig(part_factors={'head': 0})


# ---- streets ----


def test_kept_scenes_are_those_that_are_drawn(tmp_path):
    fresh = SceneSamples(2, size=(72, 96))
    for _ in range(2):  # drawn and kept, then read
        kept = SceneSamples(2, size=(72, 96), folder=tmp_path)
        for one, other in zip((fresh[0], fresh[1]), (kept[0], kept[1]), strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.target, other.target)
            assert one.name == other.name
    assert len(list(tmp_path.iterdir())) == 4


def test_facades_are_read_as_train_ids_and_parted_by_walk(tmp_path):
    for part in ('images', 'labels'):
        (tmp_path / part).mkdir()
    for walk in range(40):
        name = f'walk{walk}__p1'
        cv2.imwrite(str(tmp_path / f'images/{name}.jpg'), np.zeros((3, 9, 3), np.uint8))
        cv2.imwrite(
            str(tmp_path / f'labels/{name}.png'),
            np.tile(np.array([0, 1, 2, 3, 4, 5, 6, 7, 255], np.uint8), (3, 1)),
        )
    whole = LabelMeFacade(tmp_path)
    assert whole[0].target[0].tolist() == [2, 13, 2, 1, 0, 10, 8, 2, 255]
    assert whole.groups[0] == 'walk0'
    fit, select = (set(LabelMeFacade(tmp_path, part).names) for part in ('fit', 'select'))
    assert fit | select == set(whole.names)
    assert not fit & select
    assert 15 <= len(fit) <= 35


def test_a_facade_may_be_a_wall_and_nothing_else():
    table = label_sets(19, 'consistent', FACADE_SETS)
    assert np.flatnonzero(table[2]).tolist() == [2, 3]
    assert table[255].all()  # `various` may be anything
