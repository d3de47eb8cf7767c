"""Shapes drawn into a small sprite: the pencil of persons, signs, trees and unknown objects."""

import cv2
from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.noise import noise
import numpy as np

_SHIFT = 4  # cv2 takes coordinates in 1/16 px


class Sketch:
    """A sprite under work; coordinates are shares of its height, x right, y down."""

    def __init__(self, height: int, aspect: float, base, label: int = 255):
        width = max(round(height * aspect), 2)
        self.size = (height, width)
        self.rgb = np.empty((height, width, 3), np.uint8)
        self.rgb[:] = np.clip(base, 0, 255)
        self.alpha = np.zeros((height, width), np.uint8)
        self.classes = None  # made when a second label comes; most sprites have one
        self._label = label

    @property
    def label(self):
        """Cityscapes train id of what is drawn from now on."""
        return self._label

    @label.setter
    def label(self, label):
        if self.classes is None:
            self.classes = np.full(self.size, self._label, np.uint8)
        self._label = label

    def _points(self, points):
        return np.int32(np.round(np.asarray(points, np.float64) * self.size[0] * 2**_SHIFT))

    def _stroke(self, draw, colour):
        draw(self.rgb, tuple(float(c) for c in np.clip(colour, 0, 255)), cv2.LINE_AA)
        draw(self.alpha, 255, cv2.LINE_AA)
        if self.classes is not None:
            draw(self.classes, int(self._label), cv2.LINE_8)

    def polygon(self, points, colour):
        """Fill a polygon."""
        corners = [self._points(points)]
        self._stroke(lambda im, c, kind: cv2.fillPoly(im, corners, c, kind, _SHIFT), colour)

    def box(self, left, top, right, bottom, colour):
        """Fill an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x, y, rx, ry, colour, angle=0.0):
        """Fill an ellipse."""
        centre = tuple(int(v) for v in self._points((x, y)))
        axes = tuple(max(int(v), 2**_SHIFT // 2) for v in self._points((rx, ry)))

        def draw(im, c, kind):
            cv2.ellipse(im, centre, axes, angle, 0, 360, c, cv2.FILLED, kind, _SHIFT)

        self._stroke(draw, colour)

    def ring(self, x, y, rx, ry, width, colour):
        """Draw an ellipse as a line."""
        centre = tuple(int(v) for v in self._points((x, y)))
        axes = tuple(max(int(v), 2**_SHIFT // 2) for v in self._points((rx, ry)))
        pen = max(round(width * self.size[0]), 1)

        def draw(im, c, kind):
            cv2.ellipse(im, centre, axes, 0, 0, 360, c, pen, kind, _SHIFT)

        self._stroke(draw, colour)

    def limb(self, points, width, colour):
        """Draw a line of round ends through points; `width` is one value or one per end."""
        points = np.asarray(points, np.float64)
        widths = np.linspace(*((width, width) if np.isscalar(width) else width), len(points))
        for a, b, wa, wb in zip(points[:-1], points[1:], widths[:-1], widths[1:], strict=True):
            step = b - a
            normal = np.array([-step[1], step[0]]) / max(np.hypot(*step), 1e-6)
            sides = [a + normal * wa / 2, b + normal * wb / 2]
            self.polygon([*sides, b - normal * wb / 2, a - normal * wa / 2], colour)
            self.ellipse(*a, wa / 2, wa / 2, colour)
            self.ellipse(*b, wb / 2, wb / 2, colour)

    def legs(self, rng, roots, floor, width, colour):
        """Draw one bent leg from each root down to the floor."""
        for x, y in roots:
            foot = x + rng.normal(0, 0.05)
            knee = ((x + foot) / 2 + rng.normal(0, 0.03), (y + floor) / 2)
            self.limb([(x, y), knee, (foot, floor - width / 3)], (width, width * 0.6), colour)

    def blob(self, rng, x, y, rx, ry, colour, roughness=0.15, corners=28):
        """Fill a closed curve that wanders around an ellipse."""
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        radius = np.ones(corners)
        for order in range(2, 6):
            phase, size = rng.uniform(0, 2 * np.pi), rng.normal() * roughness / order
            radius += size * np.cos(order * angle + phase)
        outline = np.stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)], 1)
        self.polygon(outline, colour)

    def textured(self, field, strength):
        """Multiply the colours by 1 + strength x field, an array of the sprite's size."""
        gain = np.clip(1 + strength * field, 0.15, 2.2)[..., None]
        self.rgb = np.clip(self.rgb * gain, 0, 255).astype(np.uint8)

    def recoloured(self, mask, colour, opacity=1.0):
        """Mix a colour into the pixels of a mask, 0..1."""
        share = (np.asarray(mask, np.float32) * opacity)[..., None]
        self.rgb = (self.rgb * (1 - share) + np.float32(colour) * share).astype(np.uint8)

    def rounded(self, sun, strength=0.35):
        """Shade as a round body: bright towards the sun (-1 left, 1 right) and the sky."""
        height = self.size[0]
        solid = cv2.GaussianBlur(self.alpha.astype(np.float32) / 255, (0, 0), height * 0.05 + 0.5)
        slope_x = cv2.Sobel(solid, cv2.CV_32F, 1, 0, ksize=3) * height * 0.05
        slope_y = cv2.Sobel(solid, cv2.CV_32F, 0, 1, ksize=3) * height * 0.05
        self.textured(np.clip(-slope_x * sun * 0.7 + slope_y * 0.8, -1, 1), strength)

    def mirror(self):
        """Swap left and right."""
        self.rgb = np.ascontiguousarray(self.rgb[:, ::-1])
        self.alpha = np.ascontiguousarray(self.alpha[:, ::-1])
        if self.classes is not None:
            self.classes = np.ascontiguousarray(self.classes[:, ::-1])

    def sprite(self, rng=None, grain=0.06) -> Sprite:
        """Return the finished sprite, with a little grain if a generator is given."""
        rgb = self.rgb.astype(np.float32)
        if rng is not None:
            rgb *= np.clip(1 + grain * noise(rng, 'grain', self.size), 0.3, 2)[..., None]
        label = int(self._label) if self.classes is None else self.classes
        return Sprite(np.clip(rgb, 0, 255), self.alpha.astype(np.float32) / 255, label)
