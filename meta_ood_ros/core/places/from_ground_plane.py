"""Segments that stand on flat ground -> where they are, without depth."""

from __future__ import annotations

from dataclasses import dataclass
import math

from meta_ood_ros.core.places.camera_model import CameraModel
from meta_ood_ros.core.places.placed_segments import checked_segments, PlacedSegments, Verdict
import numpy as np
from numpy.typing import NDArray

_PITCH_DEVIATION = math.radians(0.5)
_AS_NEAR = 1e-3


@dataclass(frozen=True, eq=False)
class GroundPlane:
    """
    The plane normal . p = height of the optical frame.

    Attributes
    ----------
    normal : ndarray of shape (3,), float64
        Unit vector from the camera straight down to the ground.
    height : float
        Of the optical centre above the ground, > 0 [m].

    """

    normal: NDArray[np.float64]
    height: float

    def __post_init__(self) -> None:
        """Refuse what is no plane below the camera; scale the normal to length 1."""
        normal = np.asarray(self.normal, np.float64).reshape(-1)
        length = float(np.linalg.norm(normal)) if normal.size == 3 else math.nan
        if not 0 < length < math.inf or not 0 < self.height < math.inf:
            raise ValueError(
                'a ground plane needs a normal of three numbers and a height > 0, got '
                f'{normal.tolist()} and {self.height}. Measure the height of the camera in m.'
            )
        object.__setattr__(self, 'normal', normal / length)

    @classmethod
    def from_mounting(cls, height: float, pitch: float = 0.0, roll: float = 0.0) -> GroundPlane:
        """
        Return the plane under a camera that is mounted so.

        Parameters
        ----------
        height : float
            Of the optical centre above the ground [m].
        pitch : float
            How far the camera looks down [rad]; positive is down, as in REP 103.
        roll : float
            How far it is turned clockwise, seen from behind [rad].

        Returns
        -------
        GroundPlane

        """
        if not abs(pitch) < math.pi / 2 or not abs(roll) < math.pi / 2:
            raise ValueError(
                f'pitch and roll must lie within -pi/2..pi/2, got {pitch} and {roll}. '
                'Give them in rad.'
            )
        # the world's down in the frame of a body that is pitched, then rolled (R_y R_x)
        across = math.sin(roll) * math.cos(pitch)
        down = math.cos(roll) * math.cos(pitch)
        return cls(np.array([across, down, math.sin(pitch)]), height)

    @classmethod
    def from_coefficients(cls, a: float, b: float, c: float, d: float) -> GroundPlane:
        """
        Return the plane a x + b y + c z + d = 0 of the optical frame.

        Parameters
        ----------
        a, b, c, d : float
            To any scale and with any sign, as a plane is fitted to points; d in m if (a, b, c)
            is a unit vector.

        Returns
        -------
        GroundPlane

        """
        values = np.array([a, b, c, d], np.float64)
        length = float(np.linalg.norm(values[:3]))
        if not np.isfinite(values).all() or length == 0 or d == 0:
            raise ValueError(
                'a ground plane needs four finite numbers, neither a, b, c all zero nor d, which '
                f'says how far the camera is from it, got {values.tolist()}. Give a, b, c, d of '
                'a x + b y + c z + d = 0 in the optical frame.'
            )
        return cls(values[:3] * -np.sign(d), abs(d) / length)

    def cut(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Return where rays meet the ground.

        Parameters
        ----------
        rays : ndarray of shape (N, 2)
            x / z and y / z.

        Returns
        -------
        ndarray of shape (N, 3), float64
            In the optical frame [m]; NaN where the ground is not met in front of the camera.

        """
        directions = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        fall = directions @ self.normal
        z = np.full(len(rays), np.nan)
        np.divide(self.height, fall, out=z, where=fall > 1e-9)
        return directions * z[:, None]

    def deviations(
        self, points: NDArray[np.float64], pixel: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the standard deviations of cuts for one pixel and half a degree of pitch."""
        z = points[:, 2:]
        rays = points / z
        fall = rays @ self.normal
        down = np.array([0.0, pixel[1], 0.0])
        by_row = z * (down - rays * (down @ self.normal / fall)[:, None])
        tilt = np.array([0.0, -self.normal[2], self.normal[1]]) * _PITCH_DEVIATION
        by_pitch = -points * (rays @ tilt / fall)[:, None]
        by_column = z * [pixel[0], 0.0, 0.0]
        return np.sqrt(by_row**2 + by_pitch**2 + by_column**2)


def locate_on_ground(
    labels: NDArray[np.int32],
    ids: NDArray[np.int32],
    boxes: NDArray[np.int32],
    plane: GroundPlane,
    camera: CameraModel,
    *,
    max_range: float = math.inf,
) -> PlacedSegments:
    """
    Return where the lower borders of segments meet the ground.

    Parameters
    ----------
    labels : ndarray of shape (H, W), int32
        Ids of the segments, 0 elsewhere.
    ids : ndarray of shape (N,), int32
        The segments to place.
    boxes : ndarray of shape (N, 4), int32
        Their x0, y0, width, height [px].
    plane : GroundPlane
        The ground, assumed flat.
    camera : CameraModel
        Of the grid of labels.
    max_range : float
        Segments farther away get no position [m].

    Returns
    -------
    PlacedSegments

    Notes
    -----
    Assumed is that the segment stands on the ground and that its foot is in the picture. The
    lower edge of the lowest pixel of each of its columns is cut with the plane; the position is
    the median of the nearest third of these points along the optical axis, and of all that are
    as near: else a straight foot would have its place at one end. The standard deviation is
    that of one pixel and of 0.5 degrees of pitch.

    """
    if not max_range > 0:
        raise ValueError(f'max_range must be greater than 0, got {max_range}. Give it in m.')
    labels, ids, boxes = checked_segments(labels, ids, boxes, camera.size)
    count = len(ids)
    positions, deviations, extents = (np.full((count, 3), np.nan) for _ in range(3))
    verdicts = []
    pixel = 1 / camera.matrix[[0, 1], [0, 1]]
    rays = camera.rays
    for k in range(count):
        feet = plane.cut(_lower_border(labels, ids[k], boxes[k], rays))
        feet = feet[np.isfinite(feet).all(axis=1)]
        if not len(feet):
            verdicts.append(Verdict.ABOVE_HORIZON)
            continue
        rank = (len(feet) + 2) // 3 - 1
        nearest = feet[:, 2] <= (1 + _AS_NEAR) * np.partition(feet[:, 2], rank)[rank]
        position = np.median(feet[nearest], axis=0)
        if not np.linalg.norm(position) <= max_range:
            verdicts.append(Verdict.OUT_OF_RANGE)
            continue
        verdicts.append(Verdict.PLACED)
        positions[k] = position
        deviations[k] = plane.deviations(position[None], pixel)[0]
        extents[k, :2] = (_visible_size(boxes[k], rays) + pixel) * position[2]
    return PlacedSegments(
        source='ground_plane',
        ids=ids,
        positions=positions,
        standard_deviations=deviations,
        extents=extents,
        depth_shares=np.zeros(count),
        distances=np.linalg.norm(positions, axis=1),
        verdicts=tuple(verdicts),
    )


def _lower_border(
    labels: NDArray[np.int32], label: int, box: NDArray[np.int32], rays: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the rays through the lower edge of the segment in each of its columns."""
    left, top, width, height = box
    inside = labels[top : top + height, left : left + width] == label
    columns = np.flatnonzero(inside.any(axis=0))
    lowest = top + height - 1 - inside[::-1, columns].argmax(axis=0)
    columns += left
    # half way to the row below; past the last row as far as from the one above
    other = np.where(lowest + 1 < len(rays), lowest + 1, np.maximum(lowest - 1, 0))
    here = rays[lowest, columns].astype(np.float64)
    return here + 0.5 * (other - lowest)[:, None] * (rays[other, columns] - here)


def _visible_size(box: NDArray[np.int32], rays: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return width and height of a box at a depth of 1 m."""
    left, top, width, height = box
    row, column = top + (height - 1) // 2, left + (width - 1) // 2
    across = rays[row, left + width - 1, 0] - rays[row, left, 0]
    down = rays[top + height - 1, column, 1] - rays[top, column, 1]
    return np.array([across, down], np.float64)
