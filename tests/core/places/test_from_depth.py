"""Places from depth: planes and balls in closed form, holes, several surfaces, other sizes."""

from meta_ood_ros.core.places import CameraModel, locate_in_depth, Verdict
import numpy as np
import pytest

from .conftest import ball_depth, boxes_of, plane_depth, rectangle

SIZE = (120, 160)
CAMERA = CameraModel.from_calibration(SIZE, (100, 0, 79.5, 0, 100, 59.5, 0, 0, 1))


def locate(labels, depth, camera=CAMERA):
    return locate_in_depth(labels, *boxes_of(labels), depth, camera)


def test_a_board_that_faces_the_camera():
    labels = rectangle(SIZE, (50, 70, 21, 31))
    depth = np.full(SIZE, 4.0, np.float32)
    found = locate(labels, depth)
    # columns 70..100 and rows 50..70: middle (85, 60), 31 x 21 px at 4 m and 100 px
    np.testing.assert_allclose(found.positions, [[0.22, 0.02, 4.0]], atol=1e-5)
    np.testing.assert_allclose(found.extents, [[1.24, 0.84, 0.0]], atol=1e-5)
    np.testing.assert_allclose(found.distances, [np.sqrt(0.22**2 + 0.02**2 + 16)], rtol=1e-6)
    assert (found.source, found.verdicts) == ('depth', (Verdict.PLACED,))
    np.testing.assert_allclose(found.depth_shares, [1.0])
    # no spread: 1 mm, and one pixel across
    np.testing.assert_allclose(found.standard_deviations, [[0.04, 0.04, 0.001]], rtol=1e-3)


def test_a_slanted_plane_is_met_in_its_middle():
    depth = plane_depth(CAMERA, (0.4, 0.1, 1.0), 6.0)
    labels = rectangle(SIZE, (40, 60, 31, 41))
    position = locate(labels, depth).positions[0]
    assert abs(position @ (0.4, 0.1, 1.0) - 6.0) < 0.01
    middle = CAMERA.rays[55, 80]
    np.testing.assert_allclose(position[:2] / position[2], middle, atol=0.01)


def test_a_ball():
    centre, radius = (0.3, -0.2, 5.0), 0.6
    camera = CameraModel.from_calibration((480, 640), (400, 0, 319.5, 0, 400, 239.5, 0, 0, 1))
    depth = ball_depth(camera, centre, radius)
    labels = np.isfinite(depth).astype(np.int32)
    found = locate(labels, depth, camera)
    position = found.positions[0]
    # the visible half is nearer than the centre: x and y of the same rays are smaller
    np.testing.assert_allclose(position[:2], np.array(centre[:2]) * position[2] / 5, atol=0.01)
    # half of the disc lies outside radius / sqrt(2), where the surface is radius / sqrt(2) nearer
    assert position[2] == pytest.approx(5.0 - radius / np.sqrt(2), abs=0.05)
    np.testing.assert_allclose(found.extents[0, :2], 2 * radius, atol=0.08)


def test_millimetres_are_metres_and_holes_leave_no_trace():
    labels = rectangle(SIZE, (50, 70, 20, 30))
    depth = np.full(SIZE, 2500, np.uint16)
    depth[::2] = 0
    whole = locate(labels, depth)
    np.testing.assert_allclose(whole.positions[0, 2], 2.5, rtol=1e-6)
    np.testing.assert_allclose(whole.depth_shares, [0.5])
    for hole in (0.0, np.nan, np.inf, -np.inf, -2.5):
        metres = np.full(SIZE, 2.5, np.float32)
        metres[::2] = hole
        other = locate(labels, metres)
        np.testing.assert_allclose(other.positions, whole.positions, rtol=1e-6)
        np.testing.assert_allclose(other.depth_shares, whole.depth_shares)
    # half of the pixels: the deviation grows by sqrt(2)
    np.testing.assert_allclose(whole.standard_deviations[0, 2], 0.001 * np.sqrt(2))


@pytest.mark.parametrize('hole', [0.0, np.nan, np.inf, -1.0])
def test_a_segment_without_depth_has_no_place(hole):
    labels = rectangle(SIZE, (50, 70, 20, 30), (10, 10, 20, 20))
    depth = np.full(SIZE, 3.0, np.float32)
    depth[labels == 1] = hole
    found = locate(labels, depth)
    assert found.verdicts == (Verdict.NO_DEPTH, Verdict.PLACED)
    assert np.isnan(found.positions[0]).all()
    assert np.isnan(found.standard_deviations[0]).all()
    assert np.isnan(found.extents[0]).all()
    assert np.isnan(found.distances[0])
    assert found.depth_shares[0] == 0


def test_the_border_of_a_segment_does_not_count():
    labels = rectangle(SIZE, (50, 70, 12, 12))
    depth = np.full(SIZE, 9.0, np.float32)
    depth[51:61, 71:81] = 3.0
    assert locate(labels, depth).positions[0, 2] == 3.0
    assert locate(labels, depth).extents[0, 0] == pytest.approx(12 * 3.0 / 100, rel=1e-5)


def test_a_thin_segment_is_placed_by_all_its_pixels():
    labels = rectangle(SIZE, (50, 70, 1, 30))
    assert locate(labels, np.full(SIZE, 7.0, np.float32)).positions[0, 2] == 7.0


def mixed(share, near=4.0, far=8.0, noise=0.01):
    """Return a segment of which a share of the interior is near, the rest far."""
    labels = rectangle(SIZE, (20, 20, 42, 102))
    depth = np.full(SIZE, far, np.float32)
    depth[:, : 21 + round(100 * share)] = near
    rng = np.random.default_rng(1)
    depth *= (1 + noise * rng.standard_normal(SIZE)).astype(np.float32)
    return locate(labels, depth)


@pytest.mark.parametrize(
    ('share', 'expected'),
    [(0.0, 8.0), (0.03, 8.0), (0.1, None), (0.17, None), (0.25, 4.0), (0.6, 4.0), (0.97, 4.0)],
)
def test_of_two_surfaces_the_nearer_is_taken_or_none(share, expected):
    found = mixed(share)
    if expected is None:
        assert found.verdicts == (Verdict.MIXED_DEPTH,)
        assert np.isnan(found.positions).all()
        assert found.depth_shares[0] == 1
    else:
        assert found.positions[0, 2] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(('far', 'between'), [(4.2, True), (4.3, True), (5.2, False)])
def test_surfaces_within_a_tenth_are_one(far, between):
    z = mixed(0.5, near=4.0, far=far, noise=0.003).positions[0, 2]
    assert (z > 4.02) == between or abs(z - far) < 0.02
    if not between:
        assert z == pytest.approx(4.0, rel=0.01)
    else:
        assert 3.98 < z < far + 0.02


def test_ground_that_runs_away_is_one_surface():
    depth = plane_depth(CAMERA, (0, 1, 0), 1.4)  # from 12 m to 2.4 m
    labels = rectangle(SIZE, (72, 60, 40, 30))
    found = locate(labels, depth)
    assert found.verdicts == (Verdict.PLACED,)
    # the farthest rows are so far apart that they may be left out: never farther than the middle
    middle = 1.4 / ((91.5 - 59.5) / 100)
    assert 0.9 * middle < found.positions[0, 2] < 1.01 * middle
    assert found.standard_deviations[0, 2] > 0.4


def test_strays_move_nothing():
    labels = rectangle(SIZE, (20, 20, 40, 100))
    depth = np.full(SIZE, 6.0, np.float32)
    depth[np.random.default_rng(0).random(SIZE) < 0.03] = 1.0
    found = locate(labels, depth)
    assert found.positions[0, 2] == 6.0
    assert found.extents[0, 2] == 0


def test_spread_of_depth_is_the_standard_deviation():
    labels = rectangle(SIZE, (20, 20, 60, 100))
    noise = np.random.default_rng(3).normal(0, 0.2, SIZE)
    found = locate(labels, (10 + noise).astype(np.float32))
    assert found.standard_deviations[0, 2] == pytest.approx(0.2, rel=0.1)
    assert found.positions[0, 2] == pytest.approx(10, abs=0.03)
    # 5 % and 95 % of a normal distribution are 3.29 sigma apart
    assert found.extents[0, 2] == pytest.approx(3.29 * 0.2, rel=0.1)


@pytest.mark.parametrize('size', [(60, 80), (240, 320), (90, 200), (7, 5), (1, 1)])
def test_depth_of_another_size_maps_by_pixel_centres(size):
    """A depth that is the column of the picture: the segment's middle column is read."""
    across = (np.arange(size[1]) + 0.5) / size[1]
    depth = np.broadcast_to((2 + across).astype(np.float32), size).copy()
    labels = rectangle(SIZE, (50, 70, 21, 31))
    z = locate(labels, depth).positions[0, 2]
    assert z == pytest.approx(2 + (85 + 0.5) / 160, abs=0.51 / size[1] + 0.51 / 160)


def test_large_segments_are_looked_at_in_strides_with_the_same_answer():
    size = (720, 1280)
    camera = CameraModel.from_calibration(size, (900, 0, 639.5, 0, 900, 359.5, 0, 0, 1))
    depth = plane_depth(camera, (0.2, 0.1, 1.0), 8.0)
    labels = rectangle(size, (100, 200, 500, 900))
    found = locate(labels, depth, camera)
    pixels = np.stack([camera.rays[..., 0] * depth, camera.rays[..., 1] * depth, depth], axis=2)
    inside = pixels[101:599, 201:1099].reshape(-1, 3)
    np.testing.assert_allclose(found.positions[0], np.median(inside, axis=0), atol=0.02)
    np.testing.assert_allclose(found.extents[0, :2], np.ptp(inside, axis=0)[:2], rtol=0.03)


def test_rays_that_do_not_exist_are_holes():
    camera = CameraModel.from_calibration(
        SIZE, (100, 0, 79.5, 0, 100, 59.5, 0, 0, 1), (-1.0, 0, 0, 0, 0), 'plumb_bob'
    )
    labels = rectangle(SIZE, (50, 70, 10, 20), (40, 140, 20, 20))
    found = locate(labels, np.full(SIZE, 3.0, np.float32), camera)
    assert found.verdicts == (Verdict.PLACED, Verdict.NO_DEPTH)


def test_the_byte_order_of_depth_does_not_matter():
    labels = rectangle(SIZE, (50, 70, 20, 30))
    for dtype, value in (('>u2', 2500), ('>f4', 2.5)):
        assert locate(labels, np.full(SIZE, value, dtype)).positions[0, 2] == pytest.approx(2.5)


def test_no_segments_no_places():
    found = locate(np.zeros(SIZE, np.int32), np.ones(SIZE, np.float32))
    assert found.positions.shape == found.extents.shape == (0, 3)
    assert found.verdicts == ()


def test_inputs_are_not_written_to():
    labels, depth = rectangle(SIZE, (50, 70, 20, 30)), np.full(SIZE, 3000, np.uint16)
    for array in (labels, depth):
        array.flags.writeable = False
    assert locate(labels, depth).verdicts == (Verdict.PLACED,)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4), np.float64),
        np.zeros((4, 4, 1), np.uint16),
        np.zeros((0, 4), np.uint16),
    ],
)
def test_other_depth_images_are_refused(image):
    with pytest.raises(ValueError, match=r'uint16 \[mm\] or float32 \[m\] of shape \(H, W\), got'):
        locate(rectangle(SIZE, (0, 0, 5, 5)), image)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'labels': np.zeros((5, 5), np.int32)}, 'size of the camera model'),
        ({'labels': np.zeros(SIZE, np.int64)}, 'labels must be int32'),
        ({'ids': np.array([1, 2], np.int32)}, 'one box for each id'),
        ({'ids': np.array([0], np.int32)}, 'ids must be at least 1'),
        ({'boxes': np.array([[150, 0, 20, 5]], np.int32)}, 'boxes lie inside'),
        ({'boxes': np.array([[0, 0, 0, 5]], np.int32)}, 'boxes lie inside'),
        ({'boxes': np.array([[-1, 0, 3, 5]], np.int32)}, 'boxes lie inside'),
    ],
)
def test_segments_that_do_not_fit_are_refused(change, sentence):
    given = {
        'labels': rectangle(SIZE, (0, 0, 5, 5)),
        'ids': np.array([1], np.int32),
        'boxes': np.array([[0, 0, 5, 5]], np.int32),
    }
    with pytest.raises(ValueError, match=sentence):
        locate_in_depth(**{**given, **change}, depth=np.ones(SIZE, np.float32), camera=CAMERA)


def test_an_id_twice_is_refused():
    labels = rectangle(SIZE, (0, 0, 5, 5))
    ids, boxes = np.array([1, 1], np.int32), np.array([[0, 0, 5, 5]] * 2, np.int32)
    with pytest.raises(ValueError, match='ids must be at least 1 and differ'):
        locate_in_depth(labels, ids, boxes, np.ones(SIZE, np.float32), CAMERA)
