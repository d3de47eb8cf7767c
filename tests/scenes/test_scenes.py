"""Scenes: labels that follow from the geometry, one region per object, the same picture twice."""

import cv2
from meta_ood_ros.scenes import render_scene, render_sequence, SCENE_SPLITS
from meta_ood_ros.scenes.camera import Camera
from meta_ood_ros.scenes.canvas import Canvas, Sprite
from meta_ood_ros.scenes.ground import paint_ground, Street
from meta_ood_ros.scenes.noise import noise_tile, ROUGHNESS
from meta_ood_ros.scenes.sketch import Sketch
from meta_ood_ros.scenes.unknown import random_unknown
from meta_ood_ros.scenes.weather import random_weather
import numpy as np
import pytest

SMALL = (120, 200)
ROAD, SIDEWALK, FENCE, TERRAIN, SKY, CAR, VOID = 0, 1, 4, 9, 10, 13, 255

CAMERA = Camera(size=(100, 200), focal=100.0, horizon=40.0, elevation=1.5)


def plain_canvas():
    return Canvas(CAMERA, np.zeros(3), 1e9)


def patch(value, label, shape=(8, 8)):
    rgb = np.full((*shape, 3), value, np.float32)
    return Sprite(rgb, np.ones(shape, np.float32), label)


def test_equal_seeds_give_equal_scenes():
    first, again, other = (render_scene(seed, size=SMALL) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.classes, again.classes)
    np.testing.assert_array_equal(first.ood_ids, again.ood_ids)
    assert first.ood_families == again.ood_families
    assert (first.image != other.image).mean() > 0.5


@pytest.mark.parametrize('size', [(64, 64), (120, 200), (97, 161)])
def test_sizes_and_types(size):
    scene = render_scene(1, size=size)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.classes.shape == scene.ood_ids.shape == size
    assert (scene.classes.dtype, scene.ood_ids.dtype) == (np.uint8, np.uint16)


@pytest.mark.parametrize('kind', ['city', 'suburb', 'country'])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_labels_are_consistent(kind, split):
    seen = set()
    for seed in range(3):
        scene = render_scene(seed, size=SMALL, ood_objects=(1, 3), split=split, kind=kind)
        assert set(np.unique(scene.classes)) <= {*range(19), VOID}
        assert (scene.classes[scene.ood_ids > 0] == VOID).all()
        assert scene.ood_ids.max() <= len(scene.ood_families)
        assert set(scene.ood_families) <= set(SCENE_SPLITS[split])
        for ood_id in np.unique(scene.ood_ids[scene.ood_ids > 0]):
            mask = (scene.ood_ids == ood_id).astype(np.uint8)
            assert cv2.connectedComponents(mask, connectivity=8)[0] == 2  # background and it
        seen |= set(np.unique(scene.classes))
    assert {ROAD, SKY} <= seen


def test_objects_stand_on_the_road():
    checked = 0
    for seed in range(8):
        scene = render_scene(seed, size=(180, 320), ood_objects=2)
        for ood_id in np.unique(scene.ood_ids[scene.ood_ids > 0]):
            rows, columns = np.nonzero(scene.ood_ids == ood_id)
            bottom = rows.max()
            if bottom + 3 >= scene.classes.shape[0]:
                continue
            below = scene.classes[bottom + 2, columns[rows == bottom]]
            assert (below == ROAD).all()
            checked += 1
    assert checked >= 8


def test_no_objects_means_no_unlabelled_pixel():
    scene = render_scene(3, size=SMALL, ood_objects=0)
    assert scene.classes.max() <= 18
    assert scene.ood_ids.max() == 0
    assert scene.ood_families == ()


def test_splits_share_no_family_and_no_shape():
    train, test = SCENE_SPLITS['train'], SCENE_SPLITS['test']
    assert not set(train) & set(test)
    assert not {draw for draw, _, _ in train.values()} & {draw for draw, _, _ in test.values()}
    assert len(train) >= 8
    assert len(test) >= 8


@pytest.mark.parametrize(
    ('split', 'family'),
    [(split, family) for split in SCENE_SPLITS for family in SCENE_SPLITS[split]],
)
def test_every_family_draws_something_of_its_size(split, family):
    draw, smallest, largest = SCENE_SPLITS[split][family]
    assert 0 < smallest < largest < 3
    sketch = draw(np.random.default_rng(5))
    covered = (sketch.alpha >= 128).mean()
    assert 0.08 < covered < 1
    rows = np.nonzero((sketch.alpha >= 128).any(axis=1))[0]
    assert rows.max() >= 0.9 * sketch.size[0]  # it touches the ground


def test_unknown_sprites_are_one_piece():
    rng = np.random.default_rng(0)
    for _ in range(20):
        family, sprite, width, height = random_unknown(rng, 'train', 0.5)
        _, smallest, largest = SCENE_SPLITS['train'][family]
        assert smallest <= height <= largest
        assert width / height == pytest.approx(sprite.alpha.shape[1] / sprite.alpha.shape[0])
        pieces = cv2.connectedComponents((sprite.alpha >= 0.5).astype(np.uint8), connectivity=8)[0]
        assert pieces == 2
        assert sprite.label == VOID


def test_sequence_keeps_ids_and_approaches():
    scenes = list(render_sequence(4, 6, size=SMALL, ood_objects=2))
    first, last = scenes[0], scenes[-1]
    assert all(scene.ood_families == first.ood_families for scene in scenes)
    grown = [
        ((last.ood_ids == ood_id).sum(), (first.ood_ids == ood_id).sum())
        for ood_id in range(1, len(first.ood_families) + 1)
    ]
    assert grown
    assert all(later > earlier > 0 for later, earlier in grown)
    assert (scenes[0].classes != scenes[1].classes).mean() < 0.2  # the same street, a step on


def test_first_picture_of_a_sequence_of_one_is_the_scene():
    (only,) = render_sequence(9, 1, size=SMALL, ood_objects=(0, 3), split='train')
    scene = render_scene(9, size=SMALL, ood_objects=(0, 3), split='train')
    np.testing.assert_array_equal(only.image, scene.image)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'split': 'val'}, "split must be one of train, test, got 'val'"),
        ({'kind': 'moon'}, "kind must be city, suburb, country or None, got 'moon'"),
        ({'size': (10, 200)}, r'size must be at least \(64, 64\), got \(10, 200\)'),
        ({'ood_objects': (3, 1)}, r'ood_objects must be a count .* got \(3, 1\)'),
        ({'ood_objects': -1}, 'ood_objects must be a count .* got -1'),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_scene(0, **arguments)


def test_empty_sequence_is_refused():
    with pytest.raises(ValueError, match='frames must be at least 1, got 0'):
        next(render_sequence(0, 0))


def test_camera_projects_by_similar_triangles():
    # 1 m right of and 1.5 m below a camera of 100 px focal length, 10 m ahead: 10 and 15 px.
    np.testing.assert_allclose(CAMERA.project([(1.0, 0.0, 10.0)]), [[99.5 + 10, 40 + 15]])
    x, z = CAMERA.ground()
    top = CAMERA.first_ground_row()
    assert top == 41
    points = np.stack([x[20, ::50], np.zeros(4), z[20, ::50]], axis=1)
    pixels = CAMERA.project(points)
    np.testing.assert_allclose(pixels[:, 0], [0, 50, 100, 150], atol=1e-3)
    np.testing.assert_allclose(pixels[:, 1], top + 20, atol=1e-3)


def test_ground_labels_follow_the_cross_section():
    street = Street(
        kind='city', left=-4.0, right=3.0, pavement_left=2.0, pavement_right=1.0,
        lane_lines=(0.0,), lanes=((-2.0, -1.0), (1.5, 1.0)), parking=0.0,
        edge_lines=True, crossing=8.0, bend=0.01,
        asphalt=(90, 90, 90), paving=(150, 150, 150), verge=(90, 110, 60), wear=1.0, seed=0,
    )  # fmt: skip
    canvas = plain_canvas()
    paint_ground(canvas, street, random_weather(np.random.default_rng(0)))
    for row in (45, 60, 99):
        z = 100 * 1.5 / (row - 40)
        for column in range(0, 200, 7):
            lateral = z * (column - 99.5) / 100 - 0.005 * z * z
            expected = TERRAIN
            if -4 < lateral < 3:
                expected = ROAD
            elif -6 < lateral < 4:
                expected = SIDEWALK
            assert canvas.classes[row, column] == expected
    assert (canvas.classes[:41] == SKY).all()  # nothing painted above the horizon


def test_billboard_fills_the_rectangle_it_projects_to():
    canvas = plain_canvas()
    # 2 m wide and 1 m high at 10 m: 20 x 10 px, its foot at row 55.
    canvas.billboard(0.05, 10.0, 2.0, 1.0, patch(200, CAR), ood_id=0)
    rows, columns = np.nonzero(canvas.classes == CAR)
    assert rows.min() in (45, 46)
    assert rows.max() in (54, 55)
    assert columns.min() in (90, 91)
    assert columns.max() in (109, 110)
    assert (canvas.image[50, 100] == 200).all()


def test_nearer_things_hide_what_was_painted_before():
    canvas = plain_canvas()
    canvas.billboard(0.0, 20.0, 4.0, 2.0, patch(10, CAR))
    canvas.billboard(0.0, 10.0, 1.0, 1.0, patch(250, VOID), ood_id=3)
    assert canvas.classes[50, 100] == VOID
    assert canvas.ood_ids[50, 100] == 3
    assert canvas.classes[40, 100] == CAR
    canvas.billboard(0.0, 5.0, 1.0, 1.5, patch(99, CAR))
    assert canvas.ood_ids.max() == 0


def test_gaps_of_a_fence_show_what_is_behind_but_are_fence():
    alpha = np.zeros((8, 8), np.float32)
    sprite = Sprite(np.zeros((8, 8, 3), np.float32), alpha, FENCE, np.ones((8, 8), np.float32))
    canvas = plain_canvas()
    canvas.image[:] = 77
    canvas.paint(10, 10, sprite, depth=5)
    assert (canvas.image == 77).all()
    assert (canvas.classes[10:18, 10:18] == FENCE).all()


def test_a_wall_beside_the_camera_is_cut_not_dropped():
    canvas = plain_canvas()
    canvas.wall((2.0, -20.0), (2.0, 10.0), 0.0, 3.0, patch(120, 2, (16, 64)))
    assert (canvas.classes[:, 199] == 2).any()
    assert (canvas.classes[:, :100] == SKY).all()


def test_shade_darkens_the_ground_once():
    canvas = plain_canvas()
    canvas.image[:] = 100
    square = [(-2, 8), (2, 8), (2, 16), (-2, 16)]
    canvas.shade([square, square], 0.5, 0.01)
    row = int(40 + 100 * 1.5 / 11)
    assert canvas.image[row, 100, 0] == pytest.approx(50, abs=1)
    assert canvas.image[99, 100, 0] == 100


def test_labels_of_a_sketch_follow_its_parts():
    sketch = Sketch(40, 1.0, (0, 0, 0), label=12)
    sketch.box(0, 0, 1, 0.5, (255, 0, 0))
    sketch.label = 18
    sketch.box(0, 0.55, 1, 1, (0, 255, 0))
    sketch.mirror()
    sprite = sketch.sprite()
    assert sprite.label[5, 20] == 12
    assert sprite.label[35, 20] == 18
    assert tuple(sprite.rgb[5, 20]) == (255, 0, 0)


@pytest.mark.parametrize('kind', list(ROUGHNESS))
def test_noise_continues_across_its_borders(kind):
    tile = noise_tile(kind)
    assert tile.mean() == pytest.approx(0, abs=1e-5)
    assert tile.std() == pytest.approx(1, abs=1e-5)
    inside = np.abs(np.diff(tile, axis=0)).mean()
    across = np.abs(tile[0] - tile[-1]).mean()
    assert across == pytest.approx(inside, rel=0.25)
