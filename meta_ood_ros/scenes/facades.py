"""Upright surfaces of a street: house fronts, walls, fences, hedges."""

import cv2
from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.noise import noise
import numpy as np
from numpy.typing import ArrayLike

BUILDING, WALL, FENCE, VEGETATION = 2, 3, 4, 8

# Plaster, sandstone, brick, concrete, painted fronts: sRGB as seen in overcast light.
_FRONTS = np.array(
    [
        (196, 188, 172), (178, 170, 158), (160, 132, 112), (146, 100, 82), (128, 84, 70),
        (205, 196, 160), (150, 150, 148), (120, 118, 116), (186, 162, 132), (214, 208, 200),
        (170, 178, 180), (192, 150, 110), (98, 90, 86), (140, 148, 132), (226, 222, 214),
    ],
    np.float32,
)  # fmt: skip


def _opaque(rgb: np.ndarray, label: int) -> Sprite:
    return Sprite(np.clip(rgb, 0, 255), np.ones(rgb.shape[:2], np.float32), label)


def _weathered(rng: np.random.Generator, rgb: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Stains, streaks and grain, darker towards the pavement."""
    shape = rgb.shape[:2]
    rows = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    gain = 1 + strength * (
        0.05 * noise(rng, 'cloud', shape, 0.5)
        + 0.035 * noise(rng, 'plaster', shape)
        + 0.03 * noise(rng, 'grain', (shape[0], 1), 2) * np.ones((1, shape[1]), np.float32)
        - 0.12 * np.clip(rows - 0.75, 0, 1)
    )
    rgb *= np.clip(gain, 0.3, 1.6)[..., None]
    return rgb


def facade(rng: np.random.Generator, width: float, height: float) -> Sprite:
    """Return a house front."""
    per_metre = 14
    floor_height = rng.uniform(2.9, 3.7)
    floors = max(int(height / floor_height), 1)
    bays = max(int(width / rng.uniform(2.0, 3.4)), 1)
    h, w = int(height * per_metre), int(width * per_metre)
    cell_h, cell_w = max(h // floors, 8), max(w // bays, 8)
    base = _FRONTS[rng.integers(len(_FRONTS))] * rng.uniform(0.75, 1.1)
    cell = np.empty((cell_h, cell_w, 3), np.float32)
    cell[:] = base
    glass = np.zeros((cell_h, cell_w), np.float32)
    half = rng.uniform(0.22, 0.42)
    x0, x1 = int(cell_w * (0.5 - half)), max(int(cell_w * (0.5 + half)), 3)
    y0, y1 = int(cell_h * rng.uniform(0.12, 0.28)), int(cell_h * rng.uniform(0.7, 0.86))
    frame = base * 0.8 if rng.random() < 0.4 else np.array([215, 212, 205], np.float32)
    cell[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = frame
    cell[y1 + 1 : y1 + 3, max(x0 - 3, 0) : x1 + 3] = base * 0.65  # sill
    tint = np.array([52, 58, 64], np.float32) * rng.uniform(0.7, 1.5)
    cell[y0:y1, x0:x1] = tint
    glass[y0:y1, x0:x1] = 1
    middle = (x0 + x1) // 2
    cell[y0:y1, middle : middle + 1] = frame * 0.9
    if rng.random() < 0.5:
        third = y0 + (y1 - y0) // 3
        cell[third : third + 1, x0:x1] = frame * 0.9
    if rng.random() < 0.35:
        cell[:2] = base * rng.uniform(0.7, 1.15)  # string course
    rgb = np.tile(cell, (floors, bays, 1))
    glass = np.tile(glass, (floors, bays))
    # Each pane reflects another piece of sky, or shows a curtain.
    panes: np.ndarray = rng.gamma(1.3, 0.5, (floors, bays)).astype(np.float32)
    panes = np.kron(np.clip(panes, 0, 2.6), np.ones((cell_h, cell_w), np.float32))
    reflection = 1 + 0.5 * noise(rng, 'cloud', glass.shape)
    rgb += (glass * panes * np.clip(reflection, 0, 2))[..., None] * np.array(
        [30, 34, 38], np.float32
    )
    rgb[: max(cell_h // 8, 2)] = base * 0.72  # eaves
    if rng.random() < 0.55:
        _shop_floor(rng, rgb, cell_h, cell_w, base)
    return _opaque(_weathered(rng, rgb), BUILDING)


def _shop_floor(
    rng: np.random.Generator, rgb: np.ndarray, cell_h: int, cell_w: int, base: np.ndarray
) -> None:
    """Shop windows, doors and a sign band in the lowest storey."""
    top = rgb.shape[0] - cell_h
    rgb[top:] = base * rng.uniform(0.55, 0.9)
    band = rng.uniform(40, 210) + rng.normal(0, 28, 3)
    rgb[top : top + max(cell_h // 5, 2)] = np.clip(band, 15, 235)
    for left in range(0, rgb.shape[1] - cell_w + 1, cell_w):
        kind = rng.random()
        x0, x1 = left + cell_w // 8, left + cell_w - cell_w // 8
        y0 = top + cell_h // 4
        if kind < 0.6:
            rgb[y0 : -max(cell_h // 8, 1), x0:x1] = rng.uniform(25, 95)
        elif kind < 0.85:
            door = (x0 + x1) // 2
            wood = np.clip(rng.uniform(30, 110) + rng.normal(0, 16, 3), 10, 160)
            rgb[y0:, max(door - cell_w // 6, 0) : door + cell_w // 6] = wood


def gable(rng: np.random.Generator, width: float, height: float, roof: float) -> Sprite:
    """Return the end wall of a house, `roof` [m] of its height being the gable triangle."""
    sprite = facade(rng, width, height)
    h, w = sprite.alpha.shape
    peak = int(h * roof / height)
    mask = np.zeros((h, w), np.uint8)
    outline = np.array([(0, peak), (w // 2, 0), (w, peak), (w, h), (0, h)], np.int32)
    cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA)
    return Sprite(sprite.rgb, mask.astype(np.float32) / 255, BUILDING)


def roof(rng: np.random.Generator, width: float, height: float) -> Sprite:
    """Return rows of tiles."""
    shape = (max(int(height * 10), 8), max(int(width * 10), 8))
    base = np.array([(120, 66, 50), (92, 84, 82), (140, 86, 62), (70, 68, 70)], np.float32)[
        rng.integers(4)
    ]
    rows = 0.9 + 0.1 * np.sin(np.arange(shape[0], dtype=np.float32) * 2.1)[:, None]
    rgb = base * rows[..., None] * np.ones((1, shape[1], 1), np.float32)
    return _opaque(_weathered(rng, rgb), BUILDING)


def wall(rng: np.random.Generator, width: float, height: float) -> Sprite:
    """Return a plain, brick or concrete wall."""
    shape = (max(int(height * 24), 8), max(int(width * 12), 8))
    base = _FRONTS[rng.integers(len(_FRONTS))] * rng.uniform(0.6, 0.95)
    rgb = base * np.ones((*shape, 1), np.float32)
    if rng.random() < 0.5:
        row = np.arange(shape[0])[:, None] // 4
        joint = (np.arange(shape[0])[:, None] % 4 == 0) | (
            (np.arange(shape[1])[None, :] + 5 * (row % 2)) % 10 == 0
        )
        rgb *= np.where(joint, 1.12, 1.0).astype(np.float32)[..., None]
    rgb[: max(shape[0] // 14, 1)] *= 1.15
    return _opaque(_weathered(rng, rgb, 1.6), WALL)


def fence(rng: np.random.Generator, width: float, height: float) -> Sprite:
    """Return bars or planks; the gaps show what is behind, but the label is fence."""
    shape = (max(int(height * 32), 12), max(int(width * 20), 12))
    column = np.arange(shape[1])[None, :] * np.ones((shape[0], 1), int)
    row = np.arange(shape[0])[:, None] * np.ones((1, shape[1]), int)
    if rng.random() < 0.5:  # planks
        colour = np.array([(122, 98, 74), (150, 144, 134), (90, 70, 54)], np.float32)[
            rng.integers(3)
        ]
        solid = column % 5 != 0
    else:  # metal bars
        colour = np.array([(62, 66, 66), (140, 142, 140), (50, 74, 58)], np.float32)[
            rng.integers(3)
        ]
        solid = (column % 5 < 2) | (row < 2) | (abs(row - shape[0] + 4) < 2)
    rgb = _weathered(rng, colour * np.ones((*shape, 1), np.float32), 2)
    cover = np.ones(shape, np.float32)
    return Sprite(np.clip(rgb, 0, 255), solid.astype(np.float32), FENCE, cover)


def guard_rail(rng: np.random.Generator, width: float) -> Sprite:
    """Return a steel rail on posts."""
    shape = (24, max(int(width * 12), 12))
    row = np.arange(24)[:, None]
    solid = ((row >= 2) & (row < 13)) | (np.arange(shape[1])[None, :] % 48 < 4)
    shine = np.array([1.1, 1.2, 1.0, 0.8, 0.95, 1.15, 1.0, 0.8, 0.7, 0.8, 0.9], np.float32)
    gain = np.ones(24, np.float32) * 0.7
    gain[2:13] = shine
    rgb = (
        np.array([158, 160, 160], np.float32)
        * gain[:, None, None]
        * np.ones((1, shape[1], 1), np.float32)
    )
    return Sprite(_weathered(rng, rgb), solid.astype(np.float32), FENCE, solid.astype(np.float32))


def leaves(rng: np.random.Generator, shape: tuple[int, int], base: ArrayLike) -> np.ndarray:
    """Return foliage: bright clumps over dark gaps, (h, w, 3) float32."""
    clumps = noise(rng, 'plaster', shape)
    fine = noise(rng, 'grain', shape)
    light = np.clip(0.62 + 0.26 * clumps + 0.20 * fine, 0.12, 1.7)[..., None]
    warm = np.clip(noise(rng, 'cloud', shape, 0.7), -2, 2)[..., None]
    return np.clip(
        np.array(base, np.float32) * light + warm * np.array([6, 5, -2], np.float32), 0, 255
    )


def hedge(rng: np.random.Generator, width: float, height: float, base: ArrayLike) -> Sprite:
    """Return a trimmed or ragged hedge."""
    shape = (max(int(height * 24), 12), max(int(width * 12), 12))
    top = 0.12 + 0.06 * noise(rng, 'plaster', (1, shape[1]))
    ragged = 0.05 * noise(rng, 'grain', shape)
    rows = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    alpha = np.clip((rows - top + ragged) * shape[0] / 3, 0, 1)
    rgb = leaves(rng, shape, base) * (1.15 - 0.5 * rows)[..., None]
    return Sprite(np.clip(rgb, 0, 255), alpha.astype(np.float32), VEGETATION)
