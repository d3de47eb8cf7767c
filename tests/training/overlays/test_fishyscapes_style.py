"""Fishyscapes' steps of blending one by one, with known answers, and sets in its style."""

import json

import cv2
from meta_ood_training.cli import main
from meta_ood_training.datasets import CutOut, Folder, IGNORED, OOD
from meta_ood_training.overlays import effects
from meta_ood_training.overlays.fishyscapes import (
    add_weather,
    blend,
    find_ego,
    MAMMALS,
    own_alpha,
    place_freely,
    prefer_half,
)
import numpy as np
import pytest

SIZE = (60, 80)


def flat(value, size=SIZE):
    return np.full((*size, 3), value, np.float32)


def disc(size=SIZE, radius=12):
    rows, columns = np.indices(size)
    return (rows - size[0] // 2) ** 2 + (columns - size[1] // 2) ** 2 <= radius**2


# ------------------------------------------------------------------------------------- the steps


def test_alpha_rises_across_a_straight_border():
    mask = np.zeros((9, 20), bool)
    mask[:, :10] = True
    alpha = effects.smooth_alpha(mask, 4)
    distances = 9.5 - np.arange(20)  # of pixel centres to the border, inside positive
    np.testing.assert_allclose(alpha[4], np.clip(0.5 + distances / 4, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(alpha >= 0.5, mask)
    np.testing.assert_array_equal(effects.smooth_alpha(mask, 0), mask)
    np.testing.assert_array_equal(effects.smooth_alpha(disc(), 3) >= 0.5, disc())


def test_brightness_goes_its_share_of_the_way():
    alpha = disc().astype(np.float32)
    pixels, street = flat(200), flat(60)
    street[~disc()] = 255  # is not covered
    np.testing.assert_allclose(effects.shift_brightness(pixels, alpha, street, 0.5), 130)
    np.testing.assert_allclose(effects.shift_brightness(pixels, alpha, street, 1), 60, atol=1e-3)
    np.testing.assert_allclose(effects.shift_brightness(pixels, alpha, street, 0), 200)


def test_the_inverse_histogram_of_all_levels_changes_nothing():
    ramp = np.repeat(np.linspace(0, 255, 256, dtype=np.float32)[None, :, None], 3, 2)
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(effects.invert_histogram(pixels, ramp, 1), pixels, atol=1e-3)


def test_the_inverse_histogram_takes_levels_to_quantiles():
    street = np.zeros((4, 64, 3), np.float32)
    street[..., 0] = np.arange(64)  # red: 0 to 63, so that level v becomes 63 v / 255
    street[..., 1] = 100
    pixels = flat(51.0, (2, 2))
    whole = effects.invert_histogram(pixels, street, 1)
    assert whole[0, 0] == pytest.approx([63 / 5, 100, 0], abs=0.8)
    half = effects.invert_histogram(pixels, street, 0.5)
    np.testing.assert_allclose(half, (pixels + whole) / 2, rtol=1e-5)


def test_motion_blur_keeps_the_vanishing_point_and_grows_outward():
    size = (101, 201)
    row, column = round(effects.HORIZON * 100), 100
    layer, alpha = flat(200, size), np.zeros(size, np.float32)
    alpha[row, :] = 1  # a line through the vanishing point is blurred along itself
    _, along = effects.blur_radially(layer, alpha, 0.05)
    assert along[row, 20:181].min() > 0.9
    points = np.zeros(size, np.float32)
    points[row - 2 : row + 3, [column, column + 80]] = 1
    blurred, cover = effects.blur_radially(layer, points, 0.05)
    wide = [
        np.flatnonzero(cover[row, start : start + 41] > 0.02).size
        for start in (column - 20, column + 60)
    ]
    assert wide[0] <= 3
    assert wide[1] == pytest.approx(2 * 80 * 0.05 + 1, abs=2)
    np.testing.assert_allclose(blurred[cover > 0.05], 200, rtol=1e-4)  # colours are not darkened


def test_depth_blur_is_largest_at_the_horizon():
    assert effects.depth_sigma(1.0, 2.0) == 0
    assert effects.depth_sigma(effects.HORIZON, 2.0) == 2
    assert effects.depth_sigma(0.1, 2.0) == 2
    assert effects.depth_sigma((1 + effects.HORIZON) / 2, 2.0) == pytest.approx(1)
    alpha = np.zeros(SIZE, np.float32)
    alpha[:, 40:] = 1
    layer, cover = effects.blur_evenly(flat(90), alpha, 2.0)
    # a step blurred by a Gaussian is its distribution function, half a pixel off the centres
    from scipy.stats import norm

    expected = norm.cdf((np.arange(80) - 39.5) / 2.0)
    np.testing.assert_allclose(cover[30], expected, atol=4e-3)
    np.testing.assert_allclose(layer[cover > 0.05], 90, rtol=1e-4)
    same, _ = effects.blur_evenly(flat(90), alpha, 0.1)
    np.testing.assert_array_equal(same, flat(90))


def test_colour_noise_has_its_strength_in_each_channel_and_the_seed_decides_it():
    first, again, other = (
        effects.add_colour_noise(flat(100, (200, 200)), 5.0, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_allclose(first.std(axis=(0, 1)), 5.0, rtol=0.02)
    np.testing.assert_allclose(np.corrcoef(first.reshape(-1, 3).T), np.eye(3), atol=0.02)


def test_glow_adds_the_light_that_is_too_much():
    image = flat(20, (101, 101))
    image[50, 50] = 255
    alpha = np.zeros((101, 101), np.float32)
    alpha[50, 50] = 1
    glowing = effects.add_glow(image, alpha, limit=205, sigma=4, strength=0.5)
    added = (glowing - image)[..., 0]
    # the point itself is clipped at 255
    peak = 0.5 * 50 / (2 * np.pi * 16)
    assert added.sum() == pytest.approx(0.5 * 50 - peak, rel=0.02)
    assert added[50, 54] == pytest.approx(peak * np.exp(-0.5), rel=0.03)
    assert added[50, 50] == 0
    dark = np.minimum(image, 200)
    np.testing.assert_array_equal(
        effects.add_glow(dark, alpha, limit=205, sigma=4, strength=0.5), dark
    )


def test_fog_leaves_a_twentieth_of_the_contrast_at_its_visibility():
    distance = np.full(SIZE, 300.0, np.float32)
    black, white = (
        effects.add_fog(flat(value), distance, visibility=300, air=215) for value in (0, 255)
    )
    np.testing.assert_allclose(white - black, 255 * 0.05, rtol=1e-3)
    np.testing.assert_allclose(
        effects.add_fog(flat(80), np.zeros(SIZE, np.float32), visibility=300, air=215), 80
    )


def test_distances_are_those_of_a_street_between_walls():
    distance = effects.street_distance((1000, 1001), nearest=5, farthest=500)
    assert distance[-1, 500] == pytest.approx(5, rel=0.01)
    assert distance[724, 500] == pytest.approx(10, rel=0.01)  # half way down
    assert (distance[:450, 500] == 500).all()
    assert (np.diff(distance, axis=0) <= 0).all()
    # above the horizon the wall: ten metres aside where the image shows it at 45 degrees and more
    focal = 5 * 0.55 / 1.5 * 1000
    assert distance[100, 0] == pytest.approx(10 * focal / 500, rel=0.01)
    assert distance[999, 0] == pytest.approx(5, rel=0.01)


# ------------------------------------------------------------------------------- placement, whole


def test_mammals_stand_low_and_birds_fly():
    places = np.linspace(0, 1, 1001)
    rows = {
        one: np.array([prefer_half(place, one) for place in places])
        for one in ('cow', 'bird', 'object')
    }
    assert (rows['cow'] > 0.5).mean() == pytest.approx(0.75, abs=0.01)
    assert (rows['bird'] > 0.5).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(rows['object'], places)
    for one in rows.values():
        assert (one[0], one[-1]) == (0, 1)
        assert (np.diff(one) >= 0).all()
    assert 'cow' in MAMMALS


def test_the_ego_vehicle_is_void_at_the_lower_edge():
    target = np.zeros((6, 8), np.uint8)
    target[:2] = IGNORED  # the sky, say
    target[4:, 2:6] = IGNORED
    target[3, 2] = IGNORED
    ego = find_ego(target)
    assert ego.sum() == 9
    assert ego[3, 2]
    assert not ego[:2].any()
    assert not find_ego(np.zeros((6, 8), np.uint8)).any()


def test_no_object_lies_on_the_ego_vehicle_and_every_other_pixel_is_reached():
    ego = np.zeros((40, 60), bool)
    ego[30:, 10:50] = True
    mask = np.ones((8, 8), bool)
    covered = np.zeros(ego.shape, int)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        top, left = place_freely(mask, 'object', ego, rng)
        covered[top : top + 8, left : left + 8] += 1
    assert not covered[ego].any()
    assert covered[2:28, 2:58].min() > 0
    with pytest.raises(ValueError, match=r'room beside the ego vehicle, got none for \(35, 60\)'):
        place_freely(np.ones((35, 60), bool), 'object', ego, rng)
    with pytest.raises(ValueError, match=r'got none for \(41, 8\) px on a frame of \(40, 60\)'):
        place_freely(np.ones((41, 8), bool), 'object', ego, rng)


def test_an_object_is_blended_where_it_stands():
    frame = flat(90).astype(np.uint8)
    mask = disc((21, 21), 9)
    image = np.full((21, 21, 3), 255, np.uint8)
    image[mask] = (200, 40, 40)
    rng = np.random.default_rng(0)
    blended, covered = blend(frame, CutOut(image, mask), (30, 30), rng)
    inside = np.zeros(SIZE, bool)
    inside[30:51, 30:51] = mask
    assert (covered & inside).sum() > 0.9 * inside.sum()
    assert (covered & ~inside).sum() < 0.1 * inside.sum()
    far = cv2.dilate(inside.astype(np.uint8), np.ones((15, 15), np.uint8)) == 0
    np.testing.assert_array_equal(blended[far], frame[far])
    colours = blended[covered].astype(float).mean(axis=0)
    assert colours[0] > colours[1] + 20  # still reddish, though the frame is grey
    rim = covered & (cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    assert blended[rim].max() < 200  # nothing of the white that surrounded it
    known, _ = blend(frame, CutOut(image, mask), (30, 30), np.random.default_rng(0), is_known=True)
    middle = known[40, 40].astype(float)
    # a control keeps its colours but for the brightness, half way from 93.3 to 90, and noise
    assert middle == pytest.approx([198.3, 38.3, 38.3], abs=9)


def test_an_alpha_of_its_own_is_kept():
    frame = flat(50).astype(np.uint8)
    image = np.full((20, 20, 3), 150, np.uint8)
    alpha = np.full((20, 20), 0.3, np.float32)
    alpha[5:15, 5:15] = 0.9
    _, covered = blend(
        frame, CutOut(image, alpha >= 0.5), (20, 30), np.random.default_rng(0), alpha=alpha
    )
    assert covered[27:33, 37:43].all()
    assert not covered[20:24].any()
    soft, hard = np.zeros((2, 4, 4, 4), np.uint8)
    soft[..., 3], hard[..., 3] = 51, np.array([0, 255, 255, 0])
    assert own_alpha(soft)[0, 0] == pytest.approx(0.2)
    assert own_alpha(hard) is None
    assert own_alpha(soft[..., :3]) is None


def test_fog_comes_with_its_probability_and_changes_far_pixels_most():
    frame = flat(20, (100, 140)).astype(np.uint8)
    sky = np.zeros((100, 140), bool)
    sky[:20, :10] = True
    rng = np.random.default_rng(0)
    seen = [add_weather(frame, sky, 0.25, rng)[1] for _ in range(200)]
    assert np.mean(np.array(seen) > 0) == pytest.approx(0.25, abs=0.08)
    assert min(filter(None, seen)) >= 150
    assert max(seen) <= 600
    foggy, visibility = add_weather(frame, sky, 1.0, rng)
    assert visibility > 0
    assert foggy[50, 70, 0] > foggy[99, 70, 0] + 30  # down the street
    assert foggy[5, 5, 0] > foggy[30, 5, 0] + 30  # the sky beside a wall
    clear, visibility = add_weather(frame, sky, 0.0, rng)
    assert visibility == 0
    np.testing.assert_array_equal(clear, frame)


# ------------------------------------------------------------------------------------------ a set


@pytest.fixture
def street(tmp_path):
    """Write 12 frames with a bonnet of void, and pictures with an alpha channel."""
    rng = np.random.default_rng(0)
    target = np.zeros((96, 128), np.uint8)
    target[40:60, 30:60] = 13
    target[84:, 20:100] = IGNORED
    for part in ('frames/images', 'frames/labels', 'cut_outs'):
        (tmp_path / part).mkdir(parents=True)
    for number in range(12):
        image = cv2.GaussianBlur(rng.integers(20, 200, (96, 128, 3)).astype(np.uint8), (0, 0), 2)
        cv2.imwrite(str(tmp_path / f'frames/images/{number:02d}.png'), image)
        cv2.imwrite(str(tmp_path / f'frames/labels/{number:02d}.png'), target)
        pixels = np.zeros((60, 60, 4), np.uint8)
        pixels[..., :3] = (10, 200, 20 * number)
        round_ = disc((60, 60), 20 + number % 3).astype(np.float32)
        pixels[..., 3] = 255 * (cv2.GaussianBlur(round_, (0, 0), 1 + number % 2) if number else
                                round_)  # fmt: skip
        cv2.imwrite(str(tmp_path / f'cut_outs/{number:02d}.png'), pixels)
    return tmp_path


def write(root, name, *options):
    return main(
        [
            'overlay',
            *('--frames', f'folder={root / "frames"}'),
            *('--objects', f'folder={root / "cut_outs"}'),
            *('--controls', f'folder={root / "frames"}'),
            *('--output', str(root / name)),
            *('--split', 'all', '--style', 'fishyscapes', '--control-share', '1'),
            *options,
        ]
    )


def test_a_set_like_fs_web_is_written_and_read(street):
    assert write(street, 'out', '--fog-share', '0.5') == 0
    assert write(street, 'same', '--fog-share', '0.5') == 0
    assert write(street, 'other', '--fog-share', '0.5', '--seed', '1') == 0
    one, same, other = (
        [sample.image for sample in Folder(street / name)] for name in ('out', 'same', 'other')
    )
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))
    manifest = json.loads((street / 'out/manifest.json').read_text())
    assert manifest['settings']['style'] == 'fishyscapes'
    assert 0 < sum('fog_visibility_m' in frame for frame in manifest['frames']) < 12
    assert sum('object' in frame for frame in manifest['frames']) == 6
    assert sum('control' in frame for frame in manifest['frames']) == 6
    for sample, frame in zip(Folder(street / 'out'), manifest['frames'], strict=True):
        is_ood = sample.target == OOD
        assert is_ood.any() == ('object' in frame)
        if 'object' in frame:
            assert is_ood.sum() == frame['object']['pixels']
            # at most the rim of a blurred object reaches the bonnet
            assert is_ood[84:, 20:100].sum() <= 0.1 * is_ood.sum()
        assert (sample.target[86:, 30:90] == IGNORED).mean() > 0.9
