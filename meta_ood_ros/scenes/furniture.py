"""What stands along a street: trees, bushes, lamp posts, traffic lights, signs."""

from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.facades import leaves
from meta_ood_ros.scenes.noise import noise
from meta_ood_ros.scenes.sketch import Sketch
import numpy as np
from numpy.typing import ArrayLike

POLE, LIGHT, SIGN, VEGETATION = 5, 6, 7, 8
TREE_ASPECT = 0.85


def tree(rng: np.random.Generator, base: ArrayLike, bare: bool = False) -> Sprite:
    """
    Return a street tree of height 1 and width `TREE_ASPECT`.

    Parameters
    ----------
    base : array_like of float, shape (3,)
        Colour of its leaves in the light, 0..255.

    """
    rows = 224
    bark = np.array([74, 64, 54], np.float32) * rng.uniform(0.7, 1.2)
    sketch = Sketch(rows, TREE_ASPECT, base, VEGETATION)
    middle = TREE_ASPECT / 2
    lean = rng.normal(0, 0.015)
    fork = rng.uniform(0.5, 0.68)
    sketch.limb([(middle, 1.0), (middle + lean, fork)], (0.055, 0.04), bark)
    for _ in range(9 if bare else 4):
        tip = (middle + rng.normal(0, 0.17), rng.uniform(0.08, 0.45))
        knee = (0.6 * middle + 0.4 * tip[0] + lean, 0.55 * fork + 0.45 * tip[1])
        sketch.limb([(middle + lean, fork), knee, tip], (0.03, 0.006), bark)
    drawn = sketch.sprite(rng)
    shape = drawn.alpha.shape
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / rows
    crown = np.full(shape, -1.0, np.float32)
    lift = np.zeros(shape, np.float32)
    for _ in range(rng.integers(6, 11)):
        cx, cy = middle + rng.normal(0, 0.13), rng.uniform(0.16, 0.55)
        r = rng.uniform(0.12, 0.24)
        ball = 1 - ((x - cx) ** 2 + (y - cy) ** 2) / r**2
        lift = np.where(ball > crown, (cy - y) / r, lift)
        crown = np.maximum(crown, ball)
    ragged = 0.22 * noise(rng, 'grain', shape) + 0.28 * noise(rng, 'plaster', shape)
    threshold = 0.75 if bare else 0.12
    alpha = np.clip((crown + ragged - threshold) * 5, 0, 1)
    border = np.minimum(np.minimum(x, TREE_ASPECT - x), y) * rows
    alpha *= np.clip(border / 4, 0, 1)
    leaf = leaves(rng, shape, base) * (0.92 + 0.28 * np.clip(lift, -1, 1))[..., None]
    rgb = drawn.rgb + (leaf - drawn.rgb) * alpha[..., None]
    whole = np.maximum(alpha, drawn.alpha)
    # A crown is labelled as one region although sky shines through it.
    cover = np.maximum(drawn.alpha, np.clip((crown + 0.5 * ragged) * 5, 0, 1))
    return Sprite(np.clip(rgb, 0, 255), whole, VEGETATION, whole if bare else cover)


def bush(rng: np.random.Generator, base: ArrayLike) -> Sprite:
    """Return a bush of height 1 and width 1.5."""
    shape = (96, 144)
    y, x = np.mgrid[0:96, 0:144].astype(np.float32) / 96
    body = 1 - ((x - 0.75) / 0.72) ** 2 - (np.clip(0.75 - y, 0, None) / 0.68) ** 2
    ragged = 0.12 * noise(rng, 'grain', shape) + 0.22 * noise(rng, 'plaster', shape)
    alpha = np.clip((body + ragged - 0.15) * 6, 0, 1).astype(np.float32)
    rgb = leaves(rng, shape, base) * (1.15 - 0.55 * y)[..., None]
    return Sprite(np.clip(rgb, 0, 255), alpha, VEGETATION)


def lamp_post(rng: np.random.Generator, side: int) -> Sprite:
    """Return a lamp post of height 1 and width 0.3 whose arm points to `side` (-1 or 1)."""
    grey = np.array([104, 106, 106], np.float32) * rng.uniform(0.5, 1.2)
    sketch = Sketch(420, 0.3, grey, POLE)
    foot = 0.15 - side * 0.1
    sketch.limb([(foot, 1), (foot, 0.03)], (0.024, 0.015), grey)
    sketch.limb([(foot, 0.03), (foot + side * 0.18, 0.015)], 0.012, grey)
    sketch.limb([(foot + side * 0.12, 0.018), (foot + side * 0.2, 0.018)], 0.02, grey * 1.2)
    sketch.rounded(-1, 0.4)
    return sketch.sprite(rng)


def traffic_light(rng: np.random.Generator) -> Sprite:
    """Return a traffic light of height 1 and width 0.2 on its pole."""
    grey = np.array([88, 90, 90], np.float32) * rng.uniform(0.6, 1.2)
    sketch = Sketch(300, 0.2, grey, POLE)
    sketch.limb([(0.1, 1), (0.1, 0.08)], 0.032, grey)
    sketch.label = LIGHT
    sketch.box(0.035, 0.01, 0.165, 0.3, (28, 30, 30))
    lit = rng.integers(3)
    colours = ((220, 40, 36), (236, 168, 40), (60, 208, 130))
    for lamp, colour in enumerate(colours):
        shade = np.array(colour, np.float32) * (1.0 if lamp == lit else 0.22)
        sketch.ellipse(0.1, 0.06 + 0.095 * lamp, 0.036, 0.036, shade)
    return sketch.sprite(rng)


def traffic_sign(rng: np.random.Generator) -> Sprite:
    """Return a sign of height 1 and width 0.34 on its pole."""
    grey = np.array([128, 130, 130], np.float32) * rng.uniform(0.6, 1.1)
    sketch = Sketch(300, 0.34, grey, POLE)
    sketch.limb([(0.17, 1), (0.17, 0.1)], 0.026, grey)
    sketch.label = SIGN
    kind = rng.integers(6)
    red, blue, white = (188, 34, 40), (32, 82, 164), (228, 228, 224)
    if kind == 0:
        sketch.ellipse(0.17, 0.15, 0.14, 0.14, red)
        sketch.ellipse(0.17, 0.15, 0.105, 0.105, white)
        sketch.box(0.11, 0.12, 0.155, 0.19, (40, 40, 40))
        sketch.box(0.18, 0.12, 0.225, 0.19, (40, 40, 40))
    elif kind == 1:
        sketch.polygon([(0.17, 0.01), (0.32, 0.27), (0.02, 0.27)], red)
        sketch.polygon([(0.17, 0.07), (0.265, 0.24), (0.075, 0.24)], white)
        sketch.box(0.155, 0.13, 0.185, 0.22, (40, 40, 40))
    elif kind == 2:
        sketch.ellipse(0.17, 0.15, 0.14, 0.14, blue)
        sketch.limb([(0.12, 0.2), (0.21, 0.1)], 0.03, white)
    elif kind == 3:
        sketch.box(0.04, 0.02, 0.3, 0.27, blue)
        sketch.polygon([(0.17, 0.06), (0.26, 0.23), (0.08, 0.23)], white)
    elif kind == 4:
        sketch.polygon([(0.17, 0.0), (0.32, 0.15), (0.17, 0.3), (0.02, 0.15)], white)
        sketch.polygon([(0.17, 0.04), (0.28, 0.15), (0.17, 0.26), (0.06, 0.15)], (232, 186, 40))
    else:
        sketch.box(0.01, 0.03, 0.33, 0.2, (228, 190, 44) if rng.random() < 0.5 else white)
        for row in (0.075, 0.115, 0.155):
            sketch.box(0.04, row, rng.uniform(0.2, 0.3), row + 0.018, (40, 40, 44))
    return sketch.sprite(rng)


def bollard(rng: np.random.Generator) -> Sprite:
    """Return a bollard of height 1 and width 0.22."""
    base = np.array([(70, 72, 74), (150, 150, 148), (168, 52, 44)], np.float32)[rng.integers(3)]
    sketch = Sketch(96, 0.22, base, POLE)
    sketch.limb([(0.11, 1.0), (0.11, 0.1)], 0.14, base)
    sketch.box(0.04, 0.2, 0.18, 0.28, (226, 226, 220))
    sketch.rounded(-1, 0.4)
    return sketch.sprite(rng)
