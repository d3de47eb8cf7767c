"""A pinhole camera that looks along a flat street."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """
    Pinhole camera without roll; pitch is expressed by the row of the horizon.

    World axes: x right, y up from the ground, z forward [m].
    """

    size: tuple[int, int]
    focal: float
    horizon: float
    x: float = 0.0
    z: float = 0.0
    elevation: float = 1.35

    def project(self, points: np.ndarray) -> np.ndarray:
        """
        Return where world points fall in the image.

        Parameters
        ----------
        points : array_like, shape (N, 3)
            x, y, z [m]; every point must lie in front of the camera.

        Returns
        -------
        ndarray of float32, shape (N, 2)
            Column and row [px].

        """
        points = np.asarray(points, dtype=np.float64)
        scale = self.focal / (points[:, 2] - self.z)
        column = (self.size[1] - 1) / 2 + (points[:, 0] - self.x) * scale
        row = self.horizon + (self.elevation - points[:, 1]) * scale
        return np.stack([column, row], axis=1).astype(np.float32)

    @property
    def matrix(self) -> np.ndarray:
        """Return the intrinsic matrix K, shape (3, 3); the optical axis is level."""
        column = (self.size[1] - 1) / 2
        return np.array([[self.focal, 0, column], [0, self.focal, self.horizon], [0, 0, 1.0]])

    def to_optical(self, points: np.ndarray) -> np.ndarray:
        """Return world points in the optical frame, shape (N, 3): x right, y down, z forward."""
        x, y, z = np.asarray(points, dtype=np.float64).reshape(-1, 3).T
        return np.stack([x - self.x, self.elevation - y, z - self.z], axis=1)

    def first_ground_row(self) -> int:
        """Return the first image row that shows ground at a finite distance, 0..H."""
        return int(np.clip(np.floor(self.horizon) + 1, 0, self.size[0]))

    def ground(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the ground position seen by each pixel from `first_ground_row` down.

        Returns
        -------
        x, z : ndarray of float32, shape (rows, W)
            World coordinates [m].

        """
        height, width = self.size
        rows = np.arange(self.first_ground_row(), height, dtype=np.float32)
        depth = self.focal * self.elevation / np.maximum(rows - self.horizon, 0.05)
        columns = np.arange(width, dtype=np.float32) - (width - 1) / 2
        x = (self.x + depth[:, None] * columns[None, :] / self.focal).astype(np.float32)
        z = np.repeat((depth + self.z).astype(np.float32)[:, None], width, axis=1)
        return x, z
