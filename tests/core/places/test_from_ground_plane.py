"""Places on flat ground: a foot that was projected is found again, and nothing in the sky."""

from meta_ood_ros.core.places import CameraModel, GroundPlane, locate_on_ground, Verdict
import numpy as np
import pytest

from .conftest import boxes_of, rectangle

SIZE = (480, 640)
K = (500, 0, 319.5, 0, 500, 239.5, 0, 0, 1)
CAMERA = CameraModel.from_calibration(SIZE, K)


def locate(labels, plane, camera=CAMERA, **options):
    return locate_on_ground(labels, *boxes_of(labels), plane, camera, **options)


def test_a_level_camera_is_the_closed_form():
    # lower edge of row 299 is row 299.5, 60 px below the horizon: z = 1.2 * 500 / 60
    labels = rectangle(SIZE, (250, 320, 50, 100))
    found = locate(labels, GroundPlane.from_mounting(1.2))
    np.testing.assert_allclose(found.positions, [[(369.5 - 319.5) / 50, 1.2, 10.0]], rtol=1e-5)
    np.testing.assert_allclose(found.extents[0, :2], [2.0, 1.0], rtol=1e-5)
    assert np.isnan(found.extents[0, 2])
    assert (found.source, found.verdicts) == ('ground_plane', (Verdict.PLACED,))
    assert found.depth_shares[0] == 0
    np.testing.assert_allclose(found.distances, np.linalg.norm(found.positions, axis=1))


def rotation(pitch, roll):
    """Return body -> world of REP 103 (x forward, y left, z up): pitched, then rolled."""
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([(cp, 0, sp), (0, 1, 0), (-sp, 0, cp)])
    about_x = np.array([(1, 0, 0), (0, cr, -sr), (0, sr, cr)])
    return about_y @ about_x


TO_OPTICAL = np.array([(0, -1, 0), (0, 0, -1), (1, 0, 0)])


@pytest.mark.parametrize(
    ('pitch', 'roll'), [(0, 0), (0.2, 0), (-0.05, 0), (0.1, 0.15), (0.3, -0.2)]
)
@pytest.mark.parametrize('model', ['plumb_bob', 'equidistant'])
def test_a_point_of_the_ground_is_found_again(pitch, roll, model):
    camera = CameraModel.from_calibration(SIZE, K, (-0.05, 0.01, 0, 0), model)
    plane = GroundPlane.from_mounting(1.5, pitch, roll)
    body = rotation(pitch, roll).T @ np.array([(6.0, 0.4, -1.5), (9.0, -1.0, -1.5)]).T
    points = (TO_OPTICAL @ body).T
    np.testing.assert_allclose(points @ plane.normal, 1.5)
    pixels = camera.project(points)
    cut = plane.cut(camera.rays_at(pixels))
    np.testing.assert_allclose(cut, points, atol=1e-4)


def test_a_rolled_camera_sees_its_right_side_deeper():
    plane = GroundPlane.from_mounting(1.0, 0.0, 0.1)
    left, right = plane.cut(np.array([(-0.5, 0.3), (0.5, 0.3)]))
    assert right[2] < left[2]


def test_above_the_horizon_is_no_place():
    labels = rectangle(SIZE, (100, 100, 50, 50), (200, 300, 39, 30), (210, 400, 40, 30))
    found = locate(labels, GroundPlane.from_mounting(1.2))
    # row 238 ends above 239.5; row 249 ends at 249.5, 10 px below it: 60 m
    assert found.verdicts == (Verdict.ABOVE_HORIZON, Verdict.ABOVE_HORIZON, Verdict.PLACED)
    assert np.isnan(found.positions[:2]).all()
    assert found.positions[2, 2] == pytest.approx(60, rel=1e-4)


def test_beyond_max_range_is_no_place():
    labels = rectangle(SIZE, (200, 300, 100, 30), (210, 400, 40, 30))
    found = locate(labels, GroundPlane.from_mounting(1.2), max_range=30.0)
    assert found.verdicts == (Verdict.PLACED, Verdict.OUT_OF_RANGE)
    assert np.isnan(found.distances[1])


def test_the_nearest_third_of_the_columns_counts():
    labels = rectangle(SIZE, (200, 300, 60, 90))
    labels[260:320, 300:340] = 1  # the leg that it stands on: 40 of 90 columns
    position = locate(labels, GroundPlane.from_mounting(1.2)).positions[0]
    assert position[2] == pytest.approx(1.2 * 500 / 80, rel=1e-5)
    # all columns that are as near, from 300 to 339
    assert position[0] == pytest.approx((319.5 - 319.5) * position[2] / 500, abs=0.16)


def test_standard_deviation_is_one_pixel_and_half_a_degree():
    labels = rectangle(SIZE, (250, 305, 50, 30))
    plane = GroundPlane.from_mounting(1.2, 0.03)
    found = locate(labels, plane)
    ray = np.array([[0.0, (299.5 - 239.5) / 500]])
    centre = plane.cut(ray)[0]
    step = 1e-4  # of a pixel and of the angle: finite differences
    by_row = (plane.cut(ray + [[0, step / 500]])[0] - centre) / step
    tilted = GroundPlane.from_mounting(1.2, 0.03 + step * np.radians(0.5))
    by_pitch = (tilted.cut(ray)[0] - centre) / step
    expected = np.hypot(by_row, by_pitch)
    np.testing.assert_allclose(found.standard_deviations[0, 1:], expected[1:], rtol=0.01)
    far = locate(rectangle(SIZE, (210, 305, 60, 30)), plane)
    assert far.standard_deviations[0, 2] > 2 * found.standard_deviations[0, 2]


def test_a_segment_at_the_lower_border_of_the_picture():
    labels = rectangle(SIZE, (400, 305, 80, 30))
    position = locate(labels, GroundPlane.from_mounting(1.2)).positions[0]
    assert position[2] == pytest.approx(1.2 * 500 / 240, rel=1e-5)


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: GroundPlane.from_mounting(0.0), 'a height > 0'),
        (lambda: GroundPlane.from_mounting(np.nan), 'a height > 0'),
        (lambda: GroundPlane(np.zeros(3), 1.0), 'a normal of three numbers'),
        (lambda: GroundPlane(np.ones(2), 1.0), 'a normal of three numbers'),
        (lambda: GroundPlane.from_mounting(1.0, 2.0), r'pitch and roll must lie within'),
        (lambda: GroundPlane.from_mounting(1.0, 0.0, np.nan), r'pitch and roll must lie within'),
        (
            lambda: locate(
                np.zeros(SIZE, np.int32), GroundPlane.from_mounting(1.0), max_range=0.0
            ),
            'max_range must be greater than 0',
        ),
    ],
)
def test_what_is_no_ground_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize('scale', [1.0, -1.0, 2.5])
def test_coefficients_are_a_plane_to_any_scale_and_sign(scale):
    mounted = GroundPlane.from_mounting(1.5, 0.2, -0.1)
    fitted = GroundPlane.from_coefficients(*(scale * mounted.normal), -scale * mounted.height)
    np.testing.assert_allclose(fitted.normal, mounted.normal, atol=1e-12)
    assert fitted.height == pytest.approx(1.5)
    point = fitted.cut(np.array([(0.1, 0.3)]))[0]
    assert scale * (mounted.normal @ point - mounted.height) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    'values', [(0, 0, 0, 1), (0, 1, 0, 0), (np.nan, 1, 0, -1), (0, 1, 0, np.inf)]
)
def test_coefficients_of_no_plane_are_refused(values):
    with pytest.raises(ValueError, match=r'four finite numbers.*got \['):
        GroundPlane.from_coefficients(*values)
