"""Crops, light, pasting and mixing: what stays true for every draw, and that draws repeat."""

from meta_ood_training.datasets import CutOut, IGNORED, OOD, Sample
from meta_ood_training.finetuning.data.augmentation import (
    AugmentationSettings,
    crop_sample,
    jitter_light,
    recompress,
    resize,
    sample_rng,
)
from meta_ood_training.finetuning.data.pasting import paste_object, PasteSettings
import numpy as np
import pytest


def gradient(size=(60, 80)):
    """Return a sample whose red is the row, green the column, target the quadrant."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.dstack([rows, columns, np.zeros(size)]).astype(np.uint8)
    target = (2 * (rows >= size[0] // 2) + (columns >= size[1] // 2)).astype(np.uint8)
    return Sample(image, target, 'gradient', 'g')


def test_crop_without_scaling_is_a_window_of_the_image():
    sample = gradient()
    seen = set()
    for index in range(30):
        crop = crop_sample(
            sample, AugmentationSettings(32, flip_probability=0), sample_rng(0, 0, index)
        )
        top, left = crop.image[0, 0, :2].tolist()
        seen.add((top, left))
        window = slice(top, top + 32), slice(left, left + 32)
        np.testing.assert_array_equal(crop.image, sample.image[window])
        np.testing.assert_array_equal(crop.target, sample.target[window])
        assert (crop.name, crop.group) == ('gradient', 'g')
    assert len(seen) > 20


def test_a_smaller_image_is_enlarged_and_keeps_its_aspect():
    sample = gradient()
    crop = crop_sample(sample, AugmentationSettings(240, flip_probability=0), sample_rng(0, 0, 0))
    assert crop.target.shape == (240, 240)
    # All 60 rows are seen, and exactly as many of the 80 columns.
    inside = crop.image[20:220, 20:220].astype(int)
    rows = inside[-1, :, 0] - inside[0, :, 0]
    columns = inside[:, -1, 1] - inside[:, 0, 1]
    assert abs(rows.mean() - 199 / 4) < 1
    assert abs(columns.mean() - 199 / 4) < 1


def test_flip_mirrors_image_and_target_alike():
    sample = gradient((32, 32))
    crop = crop_sample(sample, AugmentationSettings(32, flip_probability=1), sample_rng(0, 0, 0))
    np.testing.assert_array_equal(crop.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(crop.target, sample.target[:, ::-1])


def test_scale_jitter_stays_in_its_range_and_moves_target_with_image():
    settings = AugmentationSettings(30, scale_min=0.75, scale_max=1.5, flip_probability=0)
    sides = []
    for index in range(40):
        crop = crop_sample(gradient(), settings, sample_rng(1, 0, index))
        sides.append((int(crop.image[-1, 0, 0]) - int(crop.image[0, 0, 0])) / 29)
        below = crop.image[..., 0] > 31  # clear of the boundary at row 30
        assert (crop.target[below] >= 2).all()
    assert min(sides) > 1 / 1.5 - 0.1
    assert max(sides) < 1 / 0.75 + 0.1
    assert max(sides) - min(sides) > 0.4


def test_crops_are_drawn_again_until_something_is_labelled():
    target = np.full((64, 64), IGNORED, np.uint8)
    target[:8, :8] = OOD
    sample = Sample(np.zeros((64, 64, 3), np.uint8), target, 'a', 'a')
    hits = {
        attempts: sum(
            bool((crop_sample(sample, settings, sample_rng(0, 0, index)).target == OOD).any())
            for index in range(60)
        )
        for attempts in (1, 40)
        for settings in [AugmentationSettings(16, crop_attempts=attempts)]
    }
    assert hits[1] < 15
    assert hits[40] > 35


def test_light_is_left_alone_by_default_and_changed_where_asked():
    image = gradient().image
    np.testing.assert_array_equal(
        jitter_light(image, AugmentationSettings(), sample_rng(0, 0, 0)), image
    )
    grey = np.full((8, 8, 3), 100, np.uint8)
    means = [
        jitter_light(grey, AugmentationSettings(brightness=0.4), sample_rng(0, 0, n)).mean()
        for n in range(50)
    ]
    assert 60 <= min(means) < 70
    assert 130 < max(means) <= 140
    # Saturation and hue do nothing to grey; contrast nothing to an even image.
    even = AugmentationSettings(contrast=0.5, saturation=0.5, hue=0.2)
    np.testing.assert_array_equal(jitter_light(grey, even, sample_rng(0, 0, 1)), grey)
    red = np.tile(np.array([200, 40, 40], np.uint8), (8, 8, 1))
    turned = jitter_light(red, AugmentationSettings(hue=0.5), sample_rng(0, 0, 3))
    assert turned[0, 0].tolist() != red[0, 0].tolist()
    assert turned.max() == 200  # hue keeps the largest channel
    faults = AugmentationSettings(blur_probability=1, noise_probability=1, jpeg_probability=1)
    assert (jitter_light(image, faults, sample_rng(0, 0, 1)) != image).mean() > 0.2


def test_the_generator_decides_everything():
    settings = AugmentationSettings(
        24,
        scale_min=0.5,
        scale_max=2,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.1,
        noise_probability=0.5,
    )

    def draw(*key):
        rng = sample_rng(*key)
        return jitter_light(crop_sample(gradient(), settings, rng).image, settings, rng)

    np.testing.assert_array_equal(draw(1, 2, 3), draw(1, 2, 3))
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert (draw(*other) != draw(1, 2, 3)).any()
    assert sample_rng(1, 2, 3, 0).random() != sample_rng(1, 2, 3, 1).random()


def test_resize_averages_when_it_shrinks():
    stripes = np.tile(np.array([0, 200], np.uint8), (8, 4))
    np.testing.assert_array_equal(resize(stripes, (4, 4)), np.full((4, 4), 100))
    assert resize(stripes, (8, 8)) is stripes


def test_recompressing_keeps_the_picture():
    image = gradient().image
    assert np.abs(recompress(image, 95).astype(int) - image).mean() < 2


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'crop': 0}, 'crop must be a positive number of pixels, got 0'),
        ({'scale_min': 2.0}, r'0 < min <= max, got 2.0 and 1.0. 1 and 1 is no scale jitter'),
        ({'flip_probability': 50}, r'flip_probability must lie in \[0, 1\], got 50'),
        ({'contrast': 1.5}, r'contrast must lie in \[0, 1\), got 1.5. It is the half width'),
        ({'hue': 180}, r'hue must lie in \[0, 0.5\], got 180. 0.5 is the full circle'),
        ({'jpeg_min': 0}, r'jpeg_min must lie in 1..95, got 0'),
        ({'crop_attempts': 0}, 'crop_attempts must be at least 1, got 0'),
    ],
)
def test_impossible_augmentation_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AugmentationSettings(**settings)


def disc(size=40):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    mask = rows**2 + columns**2 < (size / 2) ** 2
    image = np.zeros((size, size, 3), np.uint8)
    image[mask] = (250, 10, 10)
    return CutOut(image, mask)


def street(size=(120, 160)):
    return Sample(np.full((*size, 3), 90, np.uint8), np.zeros(size, np.uint8), 's', 's')


PLAIN = {
    'rotation_max': 0.0,
    'smooth_border': False,
    'adapt_brightness': False,
    'adapt_colour': False,
    'adapt_sharpness': False,
}


def test_a_pasted_object_is_where_the_target_says():
    for index in range(20):
        sample = paste_object(street(), disc(), PasteSettings(**PLAIN), sample_rng(0, 0, index))
        is_ood = sample.target == OOD
        assert is_ood.any()
        assert (sample.image[is_ood][:, 0] > 90).all()
        changed = (sample.image != 90).any(axis=2)
        # Beyond the target only pixels that the object covers by less than half differ.
        assert (changed & ~is_ood).sum() < 0.5 * is_ood.sum()
        assert np.flatnonzero(is_ood.any(axis=1))[-1] >= 0.4 * 120 - 2  # `top`: near the ground


def test_area_stays_in_its_range_and_objects_are_not_blown_up():
    settings = PasteSettings(area_min=0.02, area_max=0.04, top=0.5, **PLAIN)
    for index in range(20):
        sample = paste_object(street(), disc(), settings, sample_rng(0, 0, index))
        share = (sample.target == OOD).mean()
        assert share < 0.042
        assert share > 0.02 * 0.5  # up to a fifth leaves at either side
    large = PasteSettings(area_min=0.4, area_max=0.5, max_upscale=1.0, **PLAIN)
    for index in range(10):
        sample = paste_object(street(), disc(), large, sample_rng(0, 0, index))
        assert (sample.target == OOD).sum() <= disc().mask.sum()


def test_each_blending_step_can_be_switched():
    plain = paste_object(street(), disc(), PasteSettings(**PLAIN), sample_rng(0, 0, 1))
    ood = plain.image[plain.target == OOD].astype(float)
    assert (ood.max(axis=0) == (250, 10, 10)).any()

    smooth = PasteSettings(**{**PLAIN, 'smooth_border': True})
    image = paste_object(street(), disc(), smooth, sample_rng(0, 0, 1)).image
    assert len(np.unique(image[..., 0])) > len(np.unique(plain.image[..., 0]))

    bright = PasteSettings(**{**PLAIN, 'adapt_brightness': True})
    dark = Sample(np.full((120, 160, 3), 5, np.uint8), street().target, 's', 's')
    darkened = paste_object(dark, disc(), bright, sample_rng(0, 0, 1))
    assert darkened.image.max() < 240

    colour = PasteSettings(**{**PLAIN, 'adapt_colour': True})
    greyer = paste_object(street(), disc(), colour, sample_rng(0, 0, 1))
    spread = greyer.image.astype(int).max(axis=2) - greyer.image.min(axis=2)
    assert spread.max() < 230  # 240 of the pure colour

    sharp = PasteSettings(**{**PLAIN, 'adapt_sharpness': True})
    noisy = paste_object(street(), disc(), sharp, sample_rng(0, 0, 1))
    assert noisy.image[noisy.target == OOD].std(axis=0)[1] > 0.5


def test_a_control_keeps_its_class():
    sample = paste_object(street(), disc(), PasteSettings(), sample_rng(0, 0, 0), value=13)
    assert np.unique(sample.target).tolist() == [0, 13]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'area_min': 0.5}, r'got 0.5 and 0.15. They are shares of the image, not pixels'),
        ({'top': 3}, r'top must lie in \[0, 1\], got 3. It is a share of height'),
        ({'max_upscale': 0}, 'max_upscale must be positive, got 0'),
        ({'flip_probability': 2}, r'flip_probability must lie in \[0, 1\], got 2'),
    ],
)
def test_impossible_pasting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PasteSettings(**settings)
