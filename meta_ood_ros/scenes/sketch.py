"""Shapes drawn into a small sprite: the pencil of persons, signs, trees and unknown objects."""

from collections.abc import Callable, Iterable

import cv2
from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.noise import noise
import numpy as np
from numpy.typing import ArrayLike

_SHIFT = 4  # cv2 takes coordinates in 1/16 px
Colour = tuple[float, ...] | int  # as cv2 takes it: RGB, or one value of a map


class Sketch:
    """A sprite under work; coordinates are shares of its height, x right, y down."""

    def __init__(self, height: int, aspect: float, base: ArrayLike, label: int = 255) -> None:
        width = max(round(height * aspect), 2)
        self.size = (height, width)
        self.rgb = np.empty((height, width, 3), np.uint8)
        self.rgb[:] = np.clip(base, 0, 255)
        self.alpha = np.zeros((height, width), np.uint8)
        self.classes: np.ndarray | None = (
            None  # made when a second label comes; most sprites have one
        )
        self._label = label

    @property
    def label(self) -> int:
        """Cityscapes train id of what is drawn from now on."""
        return self._label

    @label.setter
    def label(self, label: int) -> None:
        if self.classes is None:
            self.classes = np.full(self.size, self._label, np.uint8)
        self._label = label

    def _points(self, points: ArrayLike) -> np.ndarray:
        return np.array(
            np.round(np.asarray(points, np.float64) * self.size[0] * 2**_SHIFT), np.int32
        )

    def _stroke(
        self, draw: Callable[[np.ndarray, Colour, int], object], colour: ArrayLike
    ) -> None:
        draw(self.rgb, tuple(float(c) for c in np.clip(colour, 0, 255)), cv2.LINE_AA)
        draw(self.alpha, 255, cv2.LINE_AA)
        if self.classes is not None:
            draw(self.classes, int(self._label), cv2.LINE_8)

    def polygon(self, points: ArrayLike, colour: ArrayLike) -> None:
        """Fill a polygon."""
        corners = [self._points(points)]
        self._stroke(lambda im, c, kind: cv2.fillPoly(im, corners, c, kind, _SHIFT), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: ArrayLike) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: ArrayLike, angle: float = 0.0
    ) -> None:
        """Fill an ellipse."""
        centre = tuple(int(v) for v in self._points((x, y)))
        axes = tuple(max(int(v), 2**_SHIFT // 2) for v in self._points((rx, ry)))

        def draw(im: np.ndarray, c: Colour, kind: int) -> None:
            cv2.ellipse(im, centre, axes, angle, 0, 360, c, cv2.FILLED, kind, _SHIFT)

        self._stroke(draw, colour)

    def ring(
        self, x: float, y: float, rx: float, ry: float, width: float, colour: ArrayLike
    ) -> None:
        """Draw an ellipse as a line."""
        centre = tuple(int(v) for v in self._points((x, y)))
        axes = tuple(max(int(v), 2**_SHIFT // 2) for v in self._points((rx, ry)))
        pen = max(round(width * self.size[0]), 1)

        def draw(im: np.ndarray, c: Colour, kind: int) -> None:
            cv2.ellipse(im, centre, axes, 0, 0, 360, c, pen, kind, _SHIFT)

        self._stroke(draw, colour)

    def limb(
        self, points: ArrayLike, width: float | tuple[float, float], colour: ArrayLike
    ) -> None:
        """Draw a line of round ends through points; `width` is one value or one per end."""
        points = np.asarray(points, np.float64)
        widths = np.linspace(*(width if isinstance(width, tuple) else (width, width)), len(points))
        for a, b, wa, wb in zip(points[:-1], points[1:], widths[:-1], widths[1:], strict=True):
            step = b - a
            normal = np.array([-step[1], step[0]]) / max(np.hypot(*step), 1e-6)
            sides = [a + normal * wa / 2, b + normal * wb / 2]
            self.polygon([*sides, b - normal * wb / 2, a - normal * wa / 2], colour)
            self.ellipse(a[0], a[1], wa / 2, wa / 2, colour)
            self.ellipse(b[0], b[1], wb / 2, wb / 2, colour)

    def legs(
        self,
        rng: np.random.Generator,
        roots: Iterable[tuple[float, float]],
        floor: float,
        width: float,
        colour: ArrayLike,
    ) -> None:
        """Draw one bent leg from each root down to the floor."""
        for x, y in roots:
            foot = x + rng.normal(0, 0.05)
            knee = ((x + foot) / 2 + rng.normal(0, 0.03), (y + floor) / 2)
            self.limb([(x, y), knee, (foot, floor - width / 3)], (width, width * 0.6), colour)

    def blob(
        self,
        rng: np.random.Generator,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: ArrayLike,
        roughness: float = 0.15,
        corners: int = 28,
    ) -> None:
        """Fill a closed curve that wanders around an ellipse."""
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        radius = np.ones(corners)
        for order in range(2, 6):
            phase, size = rng.uniform(0, 2 * np.pi), rng.normal() * roughness / order
            radius += size * np.cos(order * angle + phase)
        outline = np.stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)], 1)
        self.polygon(outline, colour)

    def textured(self, field: np.ndarray, strength: float) -> None:
        """Multiply the colours by 1 + strength x field, an array of the sprite's size."""
        gain = np.clip(1 + strength * field, 0.15, 2.2)[..., None]
        self.rgb = np.clip(self.rgb * gain, 0, 255).astype(np.uint8)

    def recoloured(self, mask: np.ndarray, colour: ArrayLike, opacity: float = 1.0) -> None:
        """Mix a colour into the pixels of a mask, 0..1."""
        share = (np.asarray(mask, np.float32) * opacity)[..., None]
        self.rgb = (self.rgb * (1 - share) + np.array(colour, np.float32) * share).astype(np.uint8)

    def rounded(self, sun: float, strength: float = 0.35) -> None:
        """Shade as a round body: bright towards the sun (-1 left, 1 right) and the sky."""
        height = self.size[0]
        solid = cv2.GaussianBlur(self.alpha.astype(np.float32) / 255, (0, 0), height * 0.05 + 0.5)
        slope_x = cv2.Sobel(solid, cv2.CV_32F, 1, 0, ksize=3) * height * 0.05
        slope_y = cv2.Sobel(solid, cv2.CV_32F, 0, 1, ksize=3) * height * 0.05
        self.textured(np.clip(-slope_x * sun * 0.7 + slope_y * 0.8, -1, 1), strength)

    def mirror(self) -> None:
        """Swap left and right."""
        self.rgb = np.ascontiguousarray(self.rgb[:, ::-1])
        self.alpha = np.ascontiguousarray(self.alpha[:, ::-1])
        if self.classes is not None:
            self.classes = np.ascontiguousarray(self.classes[:, ::-1])

    def sprite(self, rng: np.random.Generator | None = None, grain: float = 0.06) -> Sprite:
        """Return the finished sprite, with a little grain if a generator is given."""
        rgb = self.rgb.astype(np.float32)
        if rng is not None:
            rgb *= np.clip(1 + grain * noise(rng, 'grain', self.size), 0.3, 2)[..., None]
        label = int(self._label) if self.classes is None else self.classes
        return Sprite(np.clip(rgb, 0, 255), self.alpha.astype(np.float32) / 255, label)
