"""The picture, its two label maps and its depth, painted together from far to near."""

from dataclasses import dataclass

import cv2
from meta_ood_ros.scenes.camera import Camera
import numpy as np

NEAR = 0.8  # m; nothing nearer to the camera is drawn


@dataclass(frozen=True)
class Sprite:
    """
    A flat piece of the world: colour, opacity and what it is.

    Attributes
    ----------
    rgb : ndarray of float32, shape (h, w, 3)
        0..255.
    alpha : ndarray of float32, shape (h, w)
        Opacity, 0..1.
    label : int or ndarray of uint8, shape (h, w)
        Cityscapes train id, or one per pixel.
    cover : ndarray of float32, shape (h, w), or None
        Where the label holds, if that is not where the colour is (the holes of a fence).

    """

    rgb: np.ndarray
    alpha: np.ndarray
    label: int | np.ndarray
    cover: np.ndarray | None = None

    def flipped(self) -> 'Sprite':
        """Return the mirror image."""

        def flip(values):
            return values[:, ::-1] if isinstance(values, np.ndarray) else values

        return Sprite(flip(self.rgb), flip(self.alpha), flip(self.label), flip(self.cover))


class Canvas:
    """
    Image (float32, 0..255), class map, OoD instance map and depth map of one camera.

    Parameters
    ----------
    haze_colour : ndarray, shape (3,)
        Colour of the air far away, 0..255.

    """

    def __init__(self, camera: Camera, haze_colour: np.ndarray, haze_range: float):
        self.camera = camera
        self.haze_colour = np.asarray(haze_colour, dtype=np.float32)
        self.haze_range = haze_range
        height, width = camera.size
        self.image = np.zeros((height, width, 3), np.float32)
        self.classes = np.full((height, width), 10, np.uint8)
        self.ood_ids = np.zeros((height, width), np.uint16)
        self.depth = np.full((height, width), np.inf, np.float32)

    def clearness(self, depth):
        """Return the share of light that comes through the air over `depth` [m], 0..1."""
        return np.exp(-np.maximum(depth, 0) / self.haze_range)

    def paint(self, top, left, sprite: Sprite, *, depth, ood_id=0, surface=None):
        """Lay a sprite of final pixel size over the picture; surface is its depth by pixel."""
        height, width = self.classes.shape
        h, w = sprite.alpha.shape
        y0, y1, x0, x1 = max(top, 0), min(top + h, height), max(left, 0), min(left + w, width)
        if y0 >= y1 or x0 >= x1:
            return
        cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        place = (slice(y0, y1), slice(x0, x1))
        alpha = sprite.alpha[cut]
        clear = np.float32(self.clearness(depth))
        colour = sprite.rgb[cut] * clear + self.haze_colour * (1 - clear)
        target = self.image[place]
        target += (colour - target) * alpha[..., None]
        cover = (alpha if sprite.cover is None else sprite.cover[cut]) >= 0.5
        label = sprite.label[cut] if isinstance(sprite.label, np.ndarray) else sprite.label
        self.classes[place] = np.where(cover, 255 if ood_id else label, self.classes[place])
        self.ood_ids[place][cover] = ood_id
        solid = alpha >= 0.5
        self.depth[place][solid] = depth if surface is None else surface[cut][solid]

    def quad(self, corners, sprite: Sprite, *, ood_id=0):
        """
        Paint a sprite onto a plane quadrilateral of the world.

        Parameters
        ----------
        corners : array_like, shape (4, 3)
            World positions of the sprite's top left, top right, bottom right, bottom left [m].

        """
        corners = np.asarray(corners, dtype=np.float64)
        depth = corners[:, 2] - self.camera.z
        if depth.min() < NEAR:
            return
        target = self.camera.project(corners)
        height, width = self.classes.shape
        x0, y0 = np.floor(target.min(axis=0)).astype(int)
        x1, y1 = np.ceil(target.max(axis=0)).astype(int) + 1
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            return
        if np.ptp(target[:, 1]) < 0.7 or np.ptp(target[:, 0]) < 0.3:
            return  # too small to see
        sprite = _shrunk(sprite, target)
        h, w = sprite.alpha.shape
        source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(source, target - np.float32([x0, y0]))
        size = (x1 - x0, y1 - y0)

        def warp(values, flags=cv2.INTER_LINEAR, border=cv2.BORDER_CONSTANT):
            return cv2.warpPerspective(values, matrix, size, flags=flags, borderMode=border)

        label = sprite.label
        if isinstance(label, np.ndarray):
            label = warp(label, cv2.INTER_NEAREST, cv2.BORDER_REPLICATE)
        cover = None if sprite.cover is None else warp(sprite.cover)
        rgb = warp(sprite.rgb, border=cv2.BORDER_REPLICATE)
        flat = Sprite(rgb, warp(sprite.alpha), label, cover)
        surface = _plane_depth(target - np.float32([x0, y0]), depth, flat.alpha.shape)
        self.paint(y0, x0, flat, depth=float(depth.mean()), ood_id=ood_id, surface=surface)

    def billboard(self, x, z, width, height, sprite: Sprite, *, y=0.0, ood_id=0):
        """Paint a sprite on an upright rectangle that faces the camera, centred at x [m]."""
        left, right = x - width / 2, x + width / 2
        corners = [(left, y + height, z), (right, y + height, z), (right, y, z), (left, y, z)]
        self.quad(corners, sprite, ood_id=ood_id)

    def wall(self, near, far, bottom, top, sprite: Sprite):
        """
        Paint a sprite on an upright wall; what lies behind the camera is cut off.

        Parameters
        ----------
        near, far : tuple of float
            x and z of the wall's two ends [m]; the sprite's left edge is at `near`.

        """
        (x0, z0), (x1, z1) = near, far
        limit = self.camera.z + NEAR + 0.2
        if z1 <= limit + 0.1:
            return
        if z0 < limit:
            share = (limit - z0) / (z1 - z0)
            cut = min(int(share * sprite.alpha.shape[1]), sprite.alpha.shape[1] - 2)
            x0, z0 = x0 + share * (x1 - x0), limit
            label = sprite.label[:, cut:] if isinstance(sprite.label, np.ndarray) else sprite.label
            cover = None if sprite.cover is None else sprite.cover[:, cut:]
            sprite = Sprite(sprite.rgb[:, cut:], sprite.alpha[:, cut:], label, cover)
        self.quad([(x0, top, z0), (x1, top, z1), (x1, bottom, z1), (x0, bottom, z0)], sprite)

    def shade(self, polygons, strength, softness):
        """
        Darken the ground inside polygons; where they overlap it gets no darker.

        Parameters
        ----------
        polygons : sequence of array_like, each of shape (N, 2)
            x and z of the corners [m].
        softness : float
            Width of the soft edge as a share of the polygons' height in the picture.

        """
        outlines = [self._on_ground(np.asarray(polygon, np.float64)) for polygon in polygons]
        if not outlines:
            return
        every = np.concatenate(outlines)
        blur = max(softness * np.ptp(every[:, 1]), 0.6)
        margin = int(np.ceil(3 * blur)) + 1
        height, width = self.classes.shape
        low = np.floor(every.min(axis=0)).astype(int) - margin
        high = np.ceil(every.max(axis=0)).astype(int) + margin
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, (width, height))
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for outline in outlines:
            cv2.fillPoly(mask, [np.int32((outline - [x0, y0]) * 16)], 255, cv2.LINE_AA, 4)
        light = cv2.GaussianBlur(mask, (0, 0), blur).astype(np.float32)
        self.image[y0:y1, x0:x1] *= 1 - (strength / 255) * light[..., None]

    def _on_ground(self, polygon):
        points = np.zeros((len(polygon), 3))
        points[:, 0] = polygon[:, 0]
        points[:, 2] = np.maximum(polygon[:, 1], self.camera.z + NEAR)
        limit = 20.0 * max(self.camera.size)  # far outside, but small enough for 1/16 px integers
        return np.clip(self.camera.project(points), -limit, limit)


def _plane_depth(corners, depth, shape):
    """Return the depth of each pixel of a plane patch: its inverse is linear in the picture."""
    if np.ptp(depth) == 0:
        return np.full(shape, depth[0], np.float32)
    known = np.column_stack([corners, np.ones(len(corners))])
    across, down, offset = np.linalg.lstsq(known, 1 / depth, rcond=None)[0]
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    inverse = across * columns[None, :] + (down * rows + offset)[:, None]
    return (1 / np.clip(inverse, 1 / depth.max(), 1 / depth.min())).astype(np.float32)


def _shrunk(sprite: Sprite, target: np.ndarray) -> Sprite:
    """Average a sprite down to about the size it will have, so that it does not alias."""
    edges = np.linalg.norm(target - np.roll(target, -1, axis=0), axis=1)
    h, w = sprite.alpha.shape
    wanted_w = int(np.clip(max(edges[0], edges[2]), 2, w))
    wanted_h = int(np.clip(max(edges[1], edges[3]), 2, h))
    if wanted_w > 0.75 * w and wanted_h > 0.75 * h:
        return sprite

    def shrink(values, flags=cv2.INTER_AREA):
        return cv2.resize(values, (wanted_w, wanted_h), interpolation=flags)

    label = sprite.label
    if isinstance(label, np.ndarray):
        label = shrink(np.ascontiguousarray(label), cv2.INTER_NEAREST)
    cover = None if sprite.cover is None else shrink(sprite.cover)
    alpha = shrink(sprite.alpha)
    colour = shrink(np.ascontiguousarray(sprite.rgb))
    return Sprite(colour, alpha, label, cover)
