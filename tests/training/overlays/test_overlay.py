"""The overlay test set: plan, compositing and what is written, on generated frames."""

from collections import Counter
import hashlib
import json

import cv2
from meta_ood_training.cli import main
from meta_ood_training.datasets import CutOut, Folder, IGNORED, ObjectSource, OOD
from meta_ood_training.overlays import compositing
from meta_ood_training.overlays import overlay_set as overlay
from meta_ood_training.overlays import plan as overlay_plan
from meta_ood_training.overlays.compositing import BLENDING, composite, noise_level
from meta_ood_training.overlays.plan import (
    AREA_MAX,
    AREA_MIN,
    find_corner,
    OverlaySettings,
    Placement,
    plan_controls,
    plan_objects,
)
import numpy as np
import pytest

FRAME = (360, 480)


def sources(count, *, area=20000, category='object', per_image=1):
    side = round(area**0.5)
    return [
        ObjectSource(
            f'x/{number}',
            f'x/{number // per_image}',
            category,
            None,
            None,
            (400, 400),
            area,
            (side, side),
        )
        for number in range(count)
    ]


def blocks(count, frames):
    return [f'b{block}' for block in range(count) for _ in range(frames)]


def test_half_of_the_frames_get_one_object_spread_over_all_blocks():
    groups = blocks(10, 10)
    plan = plan_objects(groups, sources(40), [FRAME] * 1000, OverlaySettings())
    assert len(plan) == 50
    assert set(Counter(groups[index] for index in plan).values()) <= {4, 5, 6}


def test_stated_sizes_are_kept_and_give_one_per_cent_of_the_pixels():
    plan = plan_objects(blocks(10, 10), sources(40), [FRAME] * 1000, OverlaySettings())
    shares = np.array([one.scale**2 * one.source.area for one in plan.values()])
    shares /= FRAME[0] * FRAME[1]
    assert shares.min() >= AREA_MIN
    assert shares.max() <= AREA_MAX
    assert shares.sum() / 100 == pytest.approx(
        (AREA_MAX - AREA_MIN) / np.log(AREA_MAX / AREA_MIN) / 2, rel=0.01
    )


def test_objects_are_never_enlarged():
    small = sources(20, area=1500)
    both = small + sources(5, area=9000)
    plan = plan_objects(blocks(5, 8), both, [FRAME] * 1000, OverlaySettings())
    assert max(one.scale for one in plan.values()) <= 1
    only_small = plan_objects(blocks(5, 8), small, [FRAME] * 1000, OverlaySettings())
    assert max(one.scale for one in only_small.values()) == 1


def test_a_block_shares_no_source_image_with_another():
    groups = blocks(6, 10)
    plan = plan_objects(groups, sources(30, per_image=2), [FRAME] * 1000, OverlaySettings())
    owners = {}
    for index, one in plan.items():
        assert owners.setdefault(one.source.group, groups[index]) == groups[index]
    uses = Counter(one.source.name for one in plan.values())
    assert max(uses.values()) <= 2  # 30 objects on 30 frames, within their blocks
    with pytest.raises(ValueError, match='for each of its 6 sequence blocks, got 2. Add objects'):
        plan_objects(groups, sources(2), [FRAME] * 1000, OverlaySettings())


def test_the_seed_decides_the_plan():
    groups = blocks(5, 10)
    pool = sources(20)

    def plan(seed):
        return plan_objects(groups, pool, [FRAME] * 1000, OverlaySettings(seed=seed))

    assert plan(0) == plan(0)
    assert plan(0) != plan(1)


def test_controls_take_the_classes_in_turn_on_other_frames():
    pool = list(zip(sources(9), [11, 13, 18] * 3, strict=True))
    plan = plan_controls([1, 3, 5, 7, 9, 11], pool, OverlaySettings(control_share=1.0))
    assert sorted(plan) == [1, 3, 5, 7, 9, 11]
    assert Counter(train_id for _, train_id in plan.values()) == {11: 2, 13: 2, 18: 2}
    assert len({source.name for source, _ in plan.values()}) == 6
    assert len(plan_controls([1, 3, 5, 7], pool, OverlaySettings(control_share=0.5))) == 2
    assert plan_controls([1], [], OverlaySettings()) == {}


def test_objects_stand_on_the_ground_and_birds_may_fly():
    ground, bird = sources(1)[0], sources(1, category='bird')[0]
    for bottom in (0.0, 0.5, 1.0):
        top, left = find_corner(Placement(ground, 1.0, bottom, 1.0, False), (50, 60), FRAME)
        assert top + 50 == round(360 * (0.5 + 0.45 * bottom))
        assert left + 60 == 480
    top, left = find_corner(Placement(bird, 1.0, 0.0, 0.0, False), (50, 60), FRAME)
    assert (top, left) == (round(0.15 * 360) - 50, 0)
    assert find_corner(Placement(ground, 1.0, 0.0, 0.0, False), (300, 60), FRAME)[0] == 0


def square(value=200, side=20):
    return CutOut(np.full((side, side, 3), value, np.uint8), np.ones((side, side), bool))


def frame(value=60, noise=0.0):
    rng = np.random.default_rng(0)
    image = value + noise * rng.standard_normal((90, 120, 3))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@pytest.mark.parametrize('blending', BLENDING)
def test_what_is_covered_is_the_object_and_the_rest_stays(blending):
    image, covered = composite(frame(), square(), (50, 40), blending, np.random.default_rng(0))
    inside = np.zeros(covered.shape, bool)
    inside[50:70, 40:60] = True
    assert (covered & ~inside).sum() <= 0.05 * covered.sum()  # the radial blur moves the border
    assert covered.sum() >= 0.7 * inside.sum()
    far = np.ones(covered.shape, bool)
    far[44:76, 34:66] = False
    np.testing.assert_array_equal(image[far], frame()[far])
    assert (image[covered] > 75).all()  # the frame has 60, the object at least 109


def test_every_step_of_the_blending_adds_to_the_one_before():
    images = {
        blending: composite(
            frame(noise=4), square(), (50, 40), blending, np.random.default_rng(0)
        )[0].astype(int)
        for blending in BLENDING
    }
    inner, rim = (slice(55, 65), slice(45, 55)), (50, slice(41, 59))
    np.testing.assert_array_equal(images['none'][inner], 200)
    np.testing.assert_array_equal(images['none'][rim], 200)
    np.testing.assert_array_equal(images['border'][inner], 200)
    assert images['border'][rim].mean() < 180
    colour = images['colour'][inner]
    assert 80 < colour.mean() < 180  # toward the covered 60
    assert np.ptp(colour) <= 1
    assert 2 < images['full'][inner].std() < 8  # the frame's noise of 4


def test_brightness_goes_half_of_the_way_in_linear_light():
    image, _ = composite(frame(60), square(200), (50, 40), 'colour', np.random.default_rng(0))
    expected = 255 * ((200 / 255) ** 2.2 * ((60 / 200) ** 2.2) ** 0.5) ** (1 / 2.2)
    assert image[60, 50].mean() == pytest.approx(expected, abs=2)


def test_noise_level_is_recovered():
    assert noise_level(frame(128, noise=6)) == pytest.approx(6, rel=0.1)
    assert noise_level(frame(128)) == 0
    edge = frame(128)
    edge[:, 60:] = 20
    assert noise_level(edge) == 0


def test_compositing_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match='blending must be one of none, border, colour, full, go'):
        composite(frame(), square(), (0, 0), 'poisson', np.random.default_rng(0))
    with pytest.raises(ValueError, match=r'must lie inside the frame of \(90, 120\), got a box'):
        composite(frame(), square(), (80, 0), 'full', np.random.default_rng(0))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'object_share': 50}, r'object_share must lie in \[0, 1\], got 50'),
        ({'area_min': 0.1}, r'got 0.1 and 0.06. They are shares of the frame'),
        ({'style': 'web'}, r"style must be one of street, fishyscapes, got 'web'"),
        ({'fog_share': 0.5}, r"fog_share belongs to style fishyscapes, got 0.5 with 'street'"),
        ({'style': 'fishyscapes', 'fog_share': 2}, r'fog_share must lie in \[0, 1\], got 2'),
        ({'jpeg_quality': 0}, r'jpeg_quality must lie in 1..100, got 0'),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OverlaySettings(**settings)


def test_the_test_set_is_not_composed_by_the_code_of_training():
    training = {'paste_object', 'PasteSettings', 'pasting'}
    for module in (compositing, overlay_plan, overlay):
        assert not training & set(vars(module))


@pytest.fixture
def street(tmp_path):
    """Write 24 frames of three blocks, a car in each, and 12 ECSSD pictures of a disc."""
    rng = np.random.default_rng(0)
    target = np.zeros((96, 128), np.uint8)
    target[40:60, 30:60] = 13
    target[:4] = IGNORED
    frames = []
    for part in ('frames/images', 'frames/labels', 'ecssd/images', 'ecssd/masks'):
        (tmp_path / part).mkdir(parents=True)
    for number in range(24):
        name = f'f{number:02d}'
        image = rng.integers(60, 90, (96, 128, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f'frames/images/{name}.png'), image)
        cv2.imwrite(str(tmp_path / f'frames/labels/{name}.png'), target)
        frames.append({'name': name, 'group': f'block{number // 8}'})
    manifest = {'frames': frames, 'equivalent_predictions': {'12': 18}}
    (tmp_path / 'frames/manifest.json').write_text(json.dumps(manifest))
    for number in range(12):
        mask = cv2.circle(np.zeros((100, 100), np.uint8), (50, 50), 30 + number, 255, -1)
        image = np.where(mask[..., None] > 0, [10, 200, 10 * number], 128).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f'ecssd/images/{number:04d}.png'), image)
        cv2.imwrite(str(tmp_path / f'ecssd/masks/{number:04d}.png'), mask)
    return tmp_path


def write(folder, name, *options):
    return main(
        [
            'overlay',
            *('--frames', f'folder={folder / "frames"}'),
            *('--objects', f'ecssd={folder / "ecssd"}'),
            *('--controls', f'folder={folder / "frames"}'),
            *('--output', str(folder / name)),
            *('--split', 'all'),
            *options,
        ]
    )


def digest(folder):
    paths = sorted(path for path in folder.rglob('*') if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def test_overlay_writes_a_set_that_the_folder_layout_reads(street, capsys):
    assert write(street, 'out') == 0
    assert '24 frames, 12 with an OoD object, 6 with a control' in capsys.readouterr().out
    dataset = Folder(street / 'out')
    manifest = json.loads((street / 'out/manifest.json').read_text())
    assert dataset.groups == tuple(f'block{number // 8}' for number in range(24))
    assert dataset.equivalent_predictions == {12: 18}
    ood = 0
    for index, record in enumerate(manifest['frames']):
        sample, control = dataset[index], dataset.control(index)
        assert (sample.target == OOD).any() == ('object' in record)
        assert control.any() == ('control' in record)
        assert (sample.target[control] == 13).all()
        ood += (sample.target == OOD).sum()
        if 'object' in record:
            assert record['object']['pixels'] == (sample.target == OOD).sum()
            assert record['object']['scale'] <= 1
            assert dataset.tags[sample.name] == ('ecssd',)
            # Ignored pixels stay ignored unless the object covers them.
            assert set(np.unique(sample.target[:4])) <= {IGNORED, OOD}
    assert manifest['ood_share'] == pytest.approx(ood / (24 * 96 * 128))
    assert manifest['settings']['jpeg_quality'] == 95


def test_overlay_repeats_byte_for_byte_and_follows_its_seed(street):
    for name, seed in (('a', '3'), ('b', '3'), ('c', '4')):
        assert write(street, name, '--seed', seed) == 0
    assert digest(street / 'a') == digest(street / 'b')
    assert digest(street / 'a') != digest(street / 'c')


def test_every_frame_passes_through_the_same_encoder(street):
    assert write(street, 'out', '--jpeg-quality', '50') == 0
    source, written = Folder(street / 'frames'), Folder(street / 'out')
    manifest = json.loads((street / 'out/manifest.json').read_text())
    untouched = [
        index
        for index, record in enumerate(manifest['frames'])
        if 'object' not in record and 'control' not in record
    ]
    assert len(untouched) == 6
    for index in untouched:
        bgr = source[index].image[..., ::-1]
        _, data = cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, 50))
        expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(written[index].image, expected)


def test_an_interrupted_overlay_is_no_data_set(street, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('meta_ood_training.overlays.overlay_set.composite', interrupt)
        assert write(street, 'out') == 130
    assert not (street / 'out').exists()
    left = street / '.out.0123456789ab.unfinished'  # of a process that was killed
    (left / 'images').mkdir(parents=True)
    (left / 'images' / 'left.jpg').write_bytes(b'')
    assert write(street, 'out') == 0
    assert not list(street.glob('.out*'))
    assert not (street / 'out' / 'images' / 'left.jpg').exists()


def test_overlay_does_not_write_over_anything(street, capsys):
    (street / 'out').mkdir()
    (street / 'out/mine.txt').write_text('mine')
    assert write(street, 'out') == 2
    assert 'must be new or empty, got files in it' in capsys.readouterr().err
    wrong = ['overlay', '--frames', f'folder={street / "frames"}', '--output', str(street / 'o')]
    assert main([*wrong, '--objects', f'voc={street}']) == 2
    assert "--objects must be one of ecssd, coco, folder, got 'voc'" in capsys.readouterr().err


def test_frames_of_several_sizes_get_objects_of_the_same_share_of_each():
    settings = OverlaySettings(object_share=1, area_min=0.01, area_max=0.0100001)
    sizes = [(100, 200), (200, 400)] * 10
    plan = plan_objects(blocks(5, 4), sources(20, area=9000), sizes, settings)
    shares = [
        one.scale**2 * one.source.area / sizes[index][0] / sizes[index][1]
        for index, one in plan.items()
    ]
    assert len(shares) == 20
    assert shares == pytest.approx([0.01] * 20, rel=1e-3)
