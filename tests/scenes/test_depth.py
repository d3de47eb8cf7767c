"""Depth and 3D truth of scenes: closed forms, places found again, and the pixels of before."""

import hashlib

from meta_ood_ros.core.places import CameraModel, GroundPlane, locate_in_depth, locate_on_ground
from meta_ood_ros.scenes import render_scene, render_sequence, stereo_depth, StereoCamera
from meta_ood_ros.scenes.camera import Camera
from meta_ood_ros.scenes.canvas import Canvas, Sprite
import numpy as np
import pytest

SIZE = (180, 320)
CAMERA = Camera(size=(100, 200), focal=100.0, horizon=40.0, x=0.5, z=2.0, elevation=1.5)
ROAD, SKY = 0, 10


def patch(shape=(8, 8)):
    return Sprite(np.full((*shape, 3), 9, np.float32), np.ones(shape, np.float32), 13)


def test_a_billboard_has_the_depth_at_which_it_stands():
    canvas = Canvas(CAMERA, np.zeros(3), 1e9)
    canvas.billboard(0.5, 7.0, 2.0, 1.0, patch())
    seen = canvas.classes == 13
    assert seen.sum() > 300
    np.testing.assert_array_equal(canvas.depth[seen], 5.0)
    assert np.isinf(canvas.depth[~seen]).all()


def test_a_wall_along_the_street_has_the_depth_of_its_plane():
    canvas = Canvas(CAMERA, np.zeros(3), 1e9)
    canvas.wall((2.5, 5.0), (2.5, 30.0), 0.0, 3.0, patch((60, 200)))
    rows, columns = np.nonzero(canvas.classes == 13)
    assert len(rows) > 500
    # the plane x = 2 m of the optical frame: z = 2 f / (u - cx)
    expected = 2.0 * 100 / (columns - 99.5)
    np.testing.assert_allclose(canvas.depth[rows, columns], expected, rtol=0.05)
    inner = (columns > columns.min() + 1) & (columns < columns.max() - 1)
    np.testing.assert_allclose(
        canvas.depth[rows, columns][inner], np.clip(expected, 3, 28)[inner], rtol=1e-3
    )


def test_what_is_nearer_hides_what_is_behind():
    canvas = Canvas(CAMERA, np.zeros(3), 1e9)
    canvas.billboard(0.5, 22.0, 20.0, 8.0, patch())
    canvas.billboard(0.5, 7.0, 2.0, 1.0, patch())
    assert set(np.unique(canvas.depth[np.isfinite(canvas.depth)])) == {5.0, 20.0}


def test_road_has_the_depth_of_flat_ground_and_the_sky_none():
    for seed in range(3):
        scene = render_scene(seed, size=SIZE, ood_objects=0)
        assert np.isinf(scene.depth[scene.classes == SKY]).mean() > 0.9
        rows, columns = np.nonzero(scene.classes == ROAD)
        k = scene.camera_matrix
        ground = k[1, 1] * scene.camera_height / np.maximum(rows - k[1, 2], 0.05)
        ratio = scene.depth[rows, columns] / ground
        # road that is seen through glass belongs to what it is seen through
        assert (np.abs(ratio - 1) < 1e-3).mean() > 0.97
        assert (ratio < 1.001).all()


def test_truth_projects_onto_the_object():
    for seed in range(4):
        scene = render_scene(seed, size=SIZE, ood_objects=3)
        for ood_id in np.unique(scene.ood_ids[scene.ood_ids > 0]):
            rows, columns = np.nonzero(scene.ood_ids == ood_id)
            middle, foot = scene.ood_positions[ood_id - 1], scene.ood_feet[ood_id - 1]
            assert foot[1] == pytest.approx(scene.camera_height)
            column, row = (scene.camera_matrix @ middle)[:2] / middle[2]
            assert rows.min() - 2 < row < rows.max() + 2
            assert columns.min() - 2 < column < columns.max() + 2
            row = (scene.camera_matrix @ foot)[1] / foot[2]
            assert abs(row - rows.max()) < 2.5
            np.testing.assert_allclose(np.median(scene.depth[rows, columns]), middle[2], rtol=1e-5)


def test_truth_moves_with_the_camera():
    first, second = render_sequence(3, 2, size=SIZE)
    moved = first.ood_positions - second.ood_positions
    np.testing.assert_allclose(moved, np.broadcast_to((0, 0, 0.35), moved.shape), atol=1e-9)


# mean red, green and blue of the pictures of seeds 0..5, as version 0.1.0 painted them
COLOURS = [
    (131.385, 139.716, 128.751),
    (121.551, 119.776, 116.175),
    (143.821, 144.943, 141.527),
    (109.153, 106.863, 95.774),
    (127.796, 137.836, 147.566),
    (98.892, 96.158, 97.274),
]


def test_labels_and_pictures_are_those_of_before_depth_was_painted():
    """Labels bit for bit; colours as means, because processors differ in the last bit."""
    labels = hashlib.sha256()
    colours = []
    for seed in range(6):
        scene = render_scene(seed, size=SIZE, ood_objects=3, split='test')
        labels.update(scene.classes.tobytes())
        labels.update(scene.ood_ids.tobytes())
        colours.append(scene.image.mean(axis=(0, 1)))
    assert labels.hexdigest()[:16] == '84bdea210749cae8'
    np.testing.assert_allclose(colours, COLOURS, atol=0.02)


def found_places(scenes, locate):
    """Return distance and relative error of every object with a place."""
    rows = []
    for seed, scene in enumerate(scenes):
        labels = scene.ood_ids.astype(np.int32)
        ids = np.unique(labels[labels > 0]).astype(np.int32)
        boxes = np.zeros((len(ids), 4), np.int32)
        for k, ood_id in enumerate(ids):
            y, x = np.nonzero(labels == ood_id)
            boxes[k] = x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1
        camera = CameraModel.from_calibration(SCENE_SIZE, scene.camera_matrix)
        places, truth = locate(seed, scene, labels, ids, boxes, camera)
        truth = truth[ids - 1]
        error = np.linalg.norm(places.positions - truth, axis=1)
        distance = np.linalg.norm(truth, axis=1)
        rows.append(np.column_stack([distance, error / distance]))
    return np.concatenate(rows)


SCENE_SIZE = (360, 640)


@pytest.fixture(scope='module')
def scenes():
    return [render_scene(seed, size=SCENE_SIZE, ood_objects=3, split='test') for seed in range(9)]


def median_error(rows, farthest):
    near = rows[:, 0] <= farthest
    placed = near & np.isfinite(rows[:, 1])
    assert placed.sum() >= 0.9 * near.sum() >= 12
    return np.median(rows[placed, 1])


def test_with_true_masks_and_perfect_depth_objects_are_placed_within_two_percent(scenes):
    def locate(seed, scene, labels, ids, boxes, camera):
        return locate_in_depth(labels, ids, boxes, scene.depth, camera), scene.ood_positions

    assert median_error(found_places(scenes, locate), 30) <= 0.02


def test_with_true_masks_and_stereo_depth_objects_are_placed_within_five_percent(scenes):
    def locate(seed, scene, labels, ids, boxes, camera):
        depth = stereo_depth(scene.depth, camera.matrix[0, 0], seed)
        return locate_in_depth(labels, ids, boxes, depth, camera), scene.ood_positions

    assert median_error(found_places(scenes, locate), 30) <= 0.05


def test_with_true_masks_on_flat_ground_objects_are_placed_within_eight_percent(scenes):
    def locate(seed, scene, labels, ids, boxes, camera):
        plane = GroundPlane.from_mounting(scene.camera_height)
        return locate_on_ground(labels, ids, boxes, plane, camera), scene.ood_feet

    assert median_error(found_places(scenes, locate), 20) <= 0.08


PERFECT = StereoCamera(disparity_noise=0.0, edge=0, dropouts=0.0)


def test_stereo_without_noise_is_the_depth_within_its_range():
    depth = np.full((40, 60), 5.0, np.float32)
    measured = stereo_depth(depth, 100.0, 0, PERFECT)
    # disparity 2.4 px: the first three columns are outside the second picture
    assert np.isnan(measured[:, :3]).all()
    np.testing.assert_allclose(measured[:, 3:], 5.0, rtol=1e-6)
    for far in (0.2, 41.0, np.inf):
        assert np.isnan(stereo_depth(np.full((9, 9), far, np.float32), 100.0, 0, PERFECT)).all()


def test_stereo_sees_nothing_in_the_shadow_of_what_is_nearer():
    depth = np.full((20, 120), 12.0, np.float32)
    depth[:, 60:90] = 2.0
    measured = stereo_depth(depth, 200.0, 0, PERFECT)
    # disparities 2 and 12 px: ten columns left of the object are hidden, the first one half
    hidden = np.flatnonzero(np.isnan(measured[5, 10:])) + 10
    np.testing.assert_array_equal(hidden, np.arange(51, 60))


@pytest.mark.parametrize('z', [5.0, 20.0])
def test_stereo_error_grows_with_the_square_of_depth(z):
    depth = np.full((200, 300), z, np.float32)
    camera = StereoCamera(disparity_noise=0.05, dropouts=0.0)
    measured = stereo_depth(depth, 600.0, 1, camera)
    expected = z * z * 0.05 / (600 * 0.12)
    assert np.nanstd(measured) == pytest.approx(expected, rel=0.1)


def test_stereo_fails_for_its_share_of_matches_and_repeats_itself():
    depth = np.full((200, 300), 4.0, np.float32)
    camera = StereoCamera(dropouts=0.2)
    first, again, other = (stereo_depth(depth, 300.0, seed, camera) for seed in (1, 1, 2))
    assert np.isnan(first[:, 20:]).mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_stereo_widens_what_is_near():
    depth = np.full((20, 120), 12.0, np.float32)
    depth[:, 60:90] = 2.0
    camera = StereoCamera(disparity_noise=0.0, dropouts=0.0, edge=2)
    measured = stereo_depth(depth, 200.0, 0, camera)
    np.testing.assert_allclose(measured[5, 60:92], 2.0, rtol=1e-6)
    assert measured[5, 92] == pytest.approx(12.0)


def test_stereo_refuses_what_is_no_camera():
    for depth, focal in ((np.zeros(5), 100.0), (np.ones((5, 5)), 0.0)):
        with pytest.raises(ValueError, match='focal and baseline be greater than 0'):
            stereo_depth(depth, focal, 0)
