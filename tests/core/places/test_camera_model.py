"""Rays: closed forms of the pinhole, OpenCV's projection as the second implementation."""

import cv2
from meta_ood_ros.core.places import CameraModel
import numpy as np
import pytest

K = (500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0)
SIZE = (480, 640)
PLUMB_BOB = (-0.25, 0.08, 0.001, -0.0005, -0.01)
# of an Azure Kinect, as its driver publishes them
RATIONAL = (0.45, -2.45, 0.0007, -0.0003, 1.4, 0.33, -2.28, 1.33)
FISHEYE = (-0.02, 0.008, -0.006, 0.001)


def grid(size, step=37):
    rows, columns = np.mgrid[0 : size[0] : step, 0 : size[1] : step]
    return np.stack([columns, rows], axis=2).reshape(-1, 2).astype(float)


def test_pinhole_is_the_closed_form():
    camera = CameraModel.from_calibration(SIZE, K)
    np.testing.assert_allclose(camera.rays_at([(319.5, 239.5), (819.5, 749.5)]), [(0, 0), (1, 1)])
    assert camera.rays.shape == (*SIZE, 2)
    np.testing.assert_allclose(camera.rays[0, 0], (-319.5 / 500, -239.5 / 510), rtol=1e-6)


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [
        ('plumb_bob', PLUMB_BOB),
        ('plumb_bob', PLUMB_BOB[:4]),
        ('rational_polynomial', RATIONAL),
        ('rational_polynomial', (*RATIONAL, 1e-4, 0, -1e-4, 0)),
    ],
)
def test_distorted_rays_project_back_through_opencv(model, coefficients):
    camera = CameraModel.from_calibration(SIZE, K, coefficients, model)
    pixels = grid(SIZE)
    rays = camera.rays_at(pixels)
    assert np.isfinite(rays).all()
    points = 7.0 * np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    zero = np.zeros(3)
    back, _ = cv2.projectPoints(
        points[:, None], zero, zero, np.reshape(K, (3, 3)), np.array(coefficients)
    )
    np.testing.assert_allclose(back[:, 0], pixels, atol=1e-3)
    np.testing.assert_allclose(camera.project(points), pixels, atol=1e-3)
    np.testing.assert_allclose(camera.rays[37, 74], camera.rays_at([(74, 37)])[0], atol=1e-6)


def test_fisheye_rays_are_those_of_the_angle():
    camera = CameraModel.from_calibration(SIZE, K, FISHEYE, 'equidistant')
    k1, k2, k3, k4 = FISHEYE
    for angle in (0.0, 0.2, 0.5):
        bent = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
        ray = camera.rays_at([(319.5 + 500 * bent, 239.5)])[0]
        np.testing.assert_allclose(ray, (np.tan(angle), 0), atol=1e-6)
    pixels = grid(SIZE)
    rays = camera.rays_at(pixels)
    points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    np.testing.assert_allclose(camera.project(3 * points), pixels, atol=1e-3)


def test_equidistant_with_zero_coefficients_still_bends():
    for d in ((), (0, 0, 0, 0)):
        camera = CameraModel.from_calibration(SIZE, K, d, 'equidistant')
        ray = camera.rays_at([(319.5 + 500 * 0.6, 239.5)])[0]
        np.testing.assert_allclose(ray, (np.tan(0.6), 0), atol=1e-6)


def test_a_fisheye_has_no_ray_behind_the_camera():
    wide = (150.0, 0.0, 319.5, 0.0, 150.0, 239.5, 0.0, 0.0, 1.0)
    camera = CameraModel.from_calibration(SIZE, wide, (0.0,) * 4, 'equidistant')
    rays = camera.rays_at([(319.5 + 150 * 1.5, 239.5), (319.5 + 150 * 1.7, 239.5)])
    np.testing.assert_allclose(rays[0], (np.tan(1.5), 0), atol=1e-3)
    assert np.isnan(rays[1]).all()


def test_pixels_outside_the_polynomial_have_no_ray():
    # r (1 - r^2) is at most 0.385: nothing is seen farther out than 192 px
    camera = CameraModel.from_calibration(SIZE, K, (-1.0, 0, 0, 0, 0), 'plumb_bob')
    rays = camera.rays_at([(319.5 + 180, 239.5), (319.5 + 260, 239.5)])
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1]).all()


def test_all_zero_coefficients_are_a_pinhole():
    camera = CameraModel.from_calibration(SIZE, K, (0,) * 5, 'plumb_bob')
    assert camera.coefficients.size == 0


@pytest.mark.parametrize(
    ('binning', 'region', 'size'),
    [
        ((2, 2), (0, 0, 0, 0), (240, 320)),
        ((0, 0), (100, 60, 320, 200), (200, 320)),
        ((4, 2), (100, 60, 320, 200), (100, 80)),
        ((1, 1), (0, 0, 640, 480), SIZE),
    ],
)
def test_binning_and_region_leave_a_place_on_the_sensor_its_ray(binning, region, size):
    full = CameraModel.from_calibration(SIZE, K, RATIONAL, 'rational_polynomial')
    part = CameraModel.from_calibration(
        SIZE, K, RATIONAL, 'rational_polynomial', binning=binning, region=region
    )
    assert part.size == size
    pixel = np.array([17.0, 11.0])
    factor = np.maximum(binning, 1)
    # the middle of the sensor's pixels that are averaged
    sensor = np.array(region[:2]) + np.array(
        [np.mean(pixel[i] * factor[i] + np.arange(factor[i])) for i in (0, 1)]
    )
    np.testing.assert_allclose(part.rays_at(pixel), full.rays_at(sensor), atol=1e-6)


def test_resized_keeps_the_corners_of_the_picture():
    camera = CameraModel.from_calibration(SIZE, K, PLUMB_BOB, 'plumb_bob')
    assert camera.resized(SIZE) is camera
    other = camera.resized((96, 160))
    corners = np.array([(-0.5, -0.5), (639.5, 479.5)])
    small = np.array([(-0.5, -0.5), (159.5, 95.5)])
    np.testing.assert_allclose(other.rays_at(small), camera.rays_at(corners), atol=1e-6)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'matrix': (0.0,) * 9}, 'K must be 9 finite numbers with focal lengths > 0'),
        ({'matrix': (500.0, 0, 319.5)}, 'K must be 9 finite numbers'),
        ({'matrix': (np.nan, *K[1:])}, 'K must be 9 finite numbers'),
        ({'matrix': (500, 3, 320, 0, 500, 240, 0, 0, 1)}, r'K must be \[fx 0 cx'),
        ({'matrix': (500, 0, 320, 0, 500, 240, 0, 0, 2)}, r'K must be \[fx 0 cx'),
        ({'coefficients': (np.inf,) * 5}, 'D must be finite'),
        ({'coefficients': RATIONAL}, 'D of plumb_bob must have 4 or 5 coefficients, got 8'),
        ({'coefficients': PLUMB_BOB, 'distortion_model': ''}, 'must be one of plumb_bob, .* got '),
        ({'coefficients': PLUMB_BOB, 'distortion_model': 'kannala'}, "got 'kannala'"),
        ({'region': (600, 0, 100, 100)}, 'roi must lie inside the 640x480'),
        ({'region': (0, -1, 100, 100)}, 'roi must lie inside the 640x480'),
        ({'binning': (641, 1)}, 'binning must leave a pixel'),
    ],
)
def test_what_cannot_be_honoured_is_refused(change, sentence):
    given = {'size': SIZE, 'matrix': K, 'coefficients': (), 'distortion_model': 'plumb_bob'}
    with pytest.raises(ValueError, match=sentence):
        CameraModel.from_calibration(**{**given, **change})


def test_a_grid_without_pixels_is_refused():
    with pytest.raises(ValueError, match=r'size must be at least \(1, 1\)'):
        CameraModel.from_calibration(SIZE, K).resized((0, 5))
