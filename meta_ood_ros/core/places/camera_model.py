"""The calibration of a camera -> the ray through each pixel, in the optical frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
from meta_ood_ros.core.kernels.parallel import run_over_rows
import numpy as np
from numpy.typing import NDArray

# Numbers of coefficients that each model may have (sensor_msgs/distortion_models.hpp).
DISTORTION_MODELS = {
    'plumb_bob': (4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
}
_LEAST_ERROR = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 60, 1e-6)
_FARTHEST_MISS_PX = 0.1  # a ray that does not project back to its pixel is none


@dataclass(frozen=True, eq=False)
class CameraModel:
    """
    Where the pixels of an image look; x right, y down, z forward (optical frame, REP 103).

    Attributes
    ----------
    size : (int, int)
        Height and width of the image [px].
    matrix : ndarray of shape (3, 3), float64
        Intrinsic matrix K of this image; pixel (0, 0) is the centre of the top left pixel.
    coefficients : ndarray of shape (D,), float64
        Distortion in OpenCV's order; empty without distortion.
    distortion_model : str
        'plumb_bob', 'rational_polynomial' or 'equidistant'.

    """

    size: tuple[int, int]
    matrix: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    distortion_model: str = 'plumb_bob'

    @classmethod
    def from_calibration(
        cls,
        size: tuple[int, int],
        matrix: Sequence[float] | NDArray[np.float64],
        coefficients: Sequence[float] | NDArray[np.float64] = (),
        distortion_model: str = 'plumb_bob',
        *,
        binning: tuple[int, int] = (0, 0),
        region: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> CameraModel:
        """
        Return the model of an image from the fields of a sensor_msgs/CameraInfo.

        Parameters
        ----------
        size : (int, int)
            Height and width of the image at calibration [px], before binning and region.
        matrix : array_like of 9
            K, row by row.
        coefficients : array_like
            D.
        distortion_model : str
            Name of the model that D belongs to; may be empty where D is.
        binning : (int, int)
            Pixels averaged into one, in x and y; 0 means 1.
        region : (int, int, int, int)
            x, y, width, height of the part that was read out [px], before binning; width or
            height 0 means all.

        Returns
        -------
        CameraModel

        Raises
        ------
        ValueError
            The camera is not calibrated or is described in a way that cannot be honoured; says
            which field is wrong.

        Notes
        -----
        The centre of a pixel binned from b lies at b (u + 1/2) - 1/2 of the sensor. Whether an
        image was rectified is not said by CameraInfo: K and D must be those of the image itself,
        D empty or zero and the model plumb_bob for a rectified one.

        """
        height, width = (int(side) for side in size)
        k = np.asarray(matrix, np.float64).reshape(-1)
        if k.size != 9 or not np.isfinite(k).all() or k[0] <= 0 or k[4] <= 0:
            raise ValueError(
                'K must be 9 finite numbers with focal lengths > 0, got '
                f'{k.tolist()}. Calibrate the camera and publish its camera_info.'
            )
        if abs(k[1]) > 1e-6 * k[0] or not np.allclose(k[[3, 6, 7, 8]], [0, 0, 0, 1]):
            raise ValueError(
                f'K must be [fx 0 cx, 0 fy cy, 0 0 1], got {k.tolist()}. Calibrate without skew.'
            )
        d = _checked_coefficients(coefficients, distortion_model)
        bin_x, bin_y = (max(int(count), 1) for count in binning)
        left, top, across, down = (int(value) for value in region)
        if across == 0 or down == 0:
            left, top, across, down = 0, 0, width, height
        if min(left, top) < 0 or left + across > width or top + down > height:
            raise ValueError(
                f'roi must lie inside the {width}x{height} pixels of camera_info, got x {left}, '
                f'y {top}, {across}x{down}. Publish width and height of the full sensor.'
            )
        if across < bin_x or down < bin_y:
            raise ValueError(
                f'binning must leave a pixel, got {bin_x}x{bin_y} of {across}x{down}. '
                'Publish the binning that the driver applies.'
            )
        k = k.reshape(3, 3).copy()
        k[:2, 2] -= left, top
        full = cls((down, across), k, d, distortion_model or 'plumb_bob')
        return full._scaled((down // bin_y, across // bin_x), 1 / bin_x, 1 / bin_y)

    def resized(self, size: tuple[int, int]) -> CameraModel:
        """
        Return the model of the same picture on a grid of another size.

        Parameters
        ----------
        size : (int, int)
            Height and width [px].

        Returns
        -------
        CameraModel
            This one where the size is the same.

        """
        if tuple(size) == tuple(self.size):
            return self
        height, width = size
        if height < 1 or width < 1:
            raise ValueError(f'size must be at least (1, 1), got {tuple(size)}. Give its pixels.')
        return self._scaled((height, width), width / self.size[1], height / self.size[0])

    def _scaled(self, size: tuple[int, int], across: float, down: float) -> CameraModel:
        """Scale by pixel centres, the sensor's upper left corner staying where it is."""
        k = self.matrix.copy()
        k[0, 0] *= across
        k[1, 1] *= down
        k[0, 2] = (k[0, 2] + 0.5) * across - 0.5
        k[1, 2] = (k[1, 2] + 0.5) * down - 0.5
        return CameraModel(size, k, self.coefficients, self.distortion_model)

    def rays_at(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Return the rays through points of the image.

        Parameters
        ----------
        pixels : array_like of shape (N, 2)
            Column and row [px], fractions allowed.

        Returns
        -------
        ndarray of shape (N, 2), float64
            x / z and y / z; NaN where the distortion model has no ray in front of the camera.

        """
        points = np.asarray(pixels, np.float64).reshape(-1, 2)
        plain = (points - self.matrix[:2, 2]) / self.matrix[[0, 1], [0, 1]]
        if not self.coefficients.size or not len(points):
            return plain
        k, d = self.matrix, self.coefficients
        if self.distortion_model == 'equidistant':
            found = cv2.fisheye.undistortPoints(points[:, None], k, d, criteria=_LEAST_ERROR)
        else:
            found = cv2.undistortPointsIter(
                points[:, None], k, d, np.eye(3), np.eye(3), _LEAST_ERROR
            )
        rays = np.asarray(found, np.float64)[:, 0]
        # The polynomials fold back far outside the picture, where the solver answers nonsense.
        rays[~(np.abs(rays) < 1e3).all(axis=1)] = np.nan
        known = np.flatnonzero(np.isfinite(rays).all(axis=1))
        miss = np.abs(self.project(_forward(rays[known])) - points[known]).max(axis=1, initial=0)
        rays[known[~(miss < _FARTHEST_MISS_PX)]] = np.nan
        return rays

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Return where points in front of the camera fall in the image.

        Parameters
        ----------
        points : array_like of shape (N, 3)
            In the optical frame, z > 0 [m].

        Returns
        -------
        ndarray of shape (N, 2), float64
            Column and row [px].

        """
        points = np.asarray(points, np.float64).reshape(-1, 3)
        flat = points[:, :2] / points[:, 2:]
        if not len(points) or not self.coefficients.size:
            return flat * self.matrix[[0, 1], [0, 1]] + self.matrix[:2, 2]
        k, d = self.matrix, self.coefficients
        if self.distortion_model == 'equidistant':
            pixels = cv2.fisheye.distortPoints(flat[:, None], k, d)
            return np.asarray(pixels, np.float64)[:, 0]
        zero = np.zeros(3)
        pixels, _ = cv2.projectPoints(_forward(flat)[:, None], zero, zero, k, d)
        return np.asarray(pixels, np.float64)[:, 0]

    @cached_property
    def rays(self) -> NDArray[np.float32]:
        """
        Return the ray through each pixel centre, made at the first call.

        Returns
        -------
        ndarray of shape (H, W, 2), float32
            As `rays_at`.

        """
        height, width = self.size
        rays = np.empty((height, width, 2), np.float32)
        column = np.arange(width, dtype=np.float64)

        def work(first: int, last: int) -> None:
            row = np.arange(first, last, dtype=np.float64)
            pixels = np.stack(np.meshgrid(column, row), axis=2)
            rays[first:last] = self.rays_at(pixels).reshape(pixels.shape)

        run_over_rows(work, height, rows_per_chunk=32)
        return rays


def _forward(rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points of the rays at z = 1 m."""
    return np.concatenate([rays, np.ones((len(rays), 1))], axis=1)


def _checked_coefficients(
    coefficients: Sequence[float] | NDArray[np.float64], model: str
) -> NDArray[np.float64]:
    """Return D, empty where it distorts nothing; refuse what OpenCV would misread."""
    d = np.asarray(coefficients, np.float64).reshape(-1)
    if not np.isfinite(d).all():
        raise ValueError(f'D must be finite, got {d.tolist()}. Calibrate the camera again.')
    if not d.any():
        # equidistant bends the rays with zero coefficients, too
        return np.zeros(4) if model == 'equidistant' else np.empty(0)
    if model not in DISTORTION_MODELS:
        raise ValueError(
            f'distortion_model must be one of {", ".join(DISTORTION_MODELS)}, got {model!r}. '
            'Calibrate with one of these, or publish the rectified image with D of zeros.'
        )
    if d.size not in DISTORTION_MODELS[model]:
        counts = ' or '.join(str(count) for count in DISTORTION_MODELS[model])
        raise ValueError(
            f'D of {model} must have {counts} coefficients, got {d.size}. '
            'Check distortion_model and D of camera_info.'
        )
    return d
