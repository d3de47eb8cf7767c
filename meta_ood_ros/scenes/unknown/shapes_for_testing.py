"""Families of unknown things kept for tests: no training scene ever shows them."""

from meta_ood_ros.scenes.noise import noise
from meta_ood_ros.scenes.sketch import Sketch
from meta_ood_ros.scenes.unknown.coats import any_colour, earthy_colour
import numpy as np


def long_necked(rng: np.random.Generator) -> Sketch:
    """Ostrich, llama or giraffe-like animal."""
    colour = earthy_colour(rng)
    sketch = Sketch(170, 0.8, colour)
    legs = [(0.28, 0.58), (0.46, 0.58)] if rng.random() < 0.5 else [
        (0.2, 0.56), (0.3, 0.58), (0.44, 0.58), (0.5, 0.56)
    ]  # fmt: skip
    sketch.legs(rng, legs, 1.0, 0.05, colour * 0.8)
    sketch.blob(rng, 0.36, 0.5, 0.24, 0.16, colour, 0.1)
    throat = [(0.5, 0.48), (0.56 + rng.normal(0, 0.03), 0.28), (0.6, 0.1)]
    sketch.limb(throat, (0.14, 0.06), colour * 1.05)
    sketch.ellipse(0.64, 0.075, 0.075, 0.045, colour * 0.9, 15)
    sketch.polygon([(0.69, 0.06), (0.77, 0.09), (0.69, 0.1)], (200, 150, 60))
    sketch.limb([(0.16, 0.46), (0.06, 0.4 + rng.normal(0, 0.05))], (0.12, 0.05), colour * 0.7)
    return sketch


def barrel(rng: np.random.Generator) -> Sketch:
    """Upright drum with hoops, or one that lies on its side."""
    colour = any_colour(rng)
    if rng.random() < 0.5:
        sketch = Sketch(130, 0.74, colour)
        sketch.box(0.02, 0.08, 0.72, 0.93, colour)
        sketch.ellipse(0.37, 0.92, 0.35, 0.075, colour * 0.8)
        sketch.ellipse(0.37, 0.09, 0.35, 0.08, colour * 1.25)
        for y in (0.3, 0.52, 0.74):
            sketch.box(0.02, y, 0.72, y + 0.035, colour * 0.6)
        return sketch
    sketch = Sketch(110, 1.5, colour)
    sketch.box(0.3, 0.03, 1.2, 0.98, colour)
    sketch.ellipse(1.2, 0.505, 0.27, 0.475, colour * 0.75)
    sketch.ellipse(0.3, 0.505, 0.27, 0.475, colour * 1.15)
    for x in (0.62, 0.9):
        sketch.box(x, 0.03, x + 0.05, 0.98, colour * 0.6)
    return sketch


def table(rng: np.random.Generator) -> Sketch:
    """Table, desk or ironing board."""
    colour, aspect = any_colour(rng), rng.uniform(1.2, 2.0)
    sketch = Sketch(110, aspect, colour)
    for x in (0.1, 0.28, aspect - 0.3, aspect - 0.1):
        sketch.limb([(x, 0.2), (x + rng.normal(0, 0.03), 0.98)], 0.06, colour * 0.65)
    sketch.polygon(
        [(0.02, 0.28), (0.28, 0.04), (aspect - 0.02, 0.04), (aspect - 0.2, 0.28)], colour
    )
    sketch.box(0.03, 0.27, aspect - 0.2, 0.36, colour * 0.75)
    return sketch


def sofa(rng: np.random.Generator) -> Sketch:
    """Sofa, armchair or mattress."""
    colour, aspect = any_colour(rng), rng.uniform(1.4, 2.4)
    sketch = Sketch(110, aspect, colour)
    sketch.box(0.12, 0.06, aspect - 0.12, 0.7, colour * 0.9)
    cushions = max(int(aspect), 1)
    for k in range(cushions):
        x0 = 0.2 + k * (aspect - 0.4) / cushions
        x1 = 0.2 + (k + 1) * (aspect - 0.4) / cushions
        sketch.box(x0 + 0.01, 0.14, x1 - 0.01, 0.52, colour * rng.uniform(0.95, 1.15))
        sketch.box(x0 + 0.01, 0.53, x1 - 0.01, 0.7, colour * 1.2)
    sketch.box(0.1, 0.68, aspect - 0.1, 0.92, colour * 0.75)
    for x in (0.12, aspect - 0.12):
        sketch.limb([(x, 0.4), (x, 0.86)], 0.2, colour)
        sketch.box(x - 0.05, 0.9, x + 0.05, 1.0, (40, 32, 28))
    return sketch


def teddy(rng: np.random.Generator) -> Sketch:
    """Stuffed toy."""
    colour = any_colour(rng)
    sketch = Sketch(140, 0.86, colour)
    for side in (-1, 1):
        sketch.ellipse(0.43 + side * 0.17, 0.1, 0.085, 0.085, colour * 0.85)
        sketch.ellipse(0.43 + side * 0.27, 0.56, 0.1, 0.16, colour * 0.9, side * 35)
        sketch.ellipse(0.43 + side * 0.2, 0.87, 0.15, 0.115, colour * 0.9)
    sketch.ellipse(0.43, 0.66, 0.25, 0.28, colour)
    sketch.ellipse(0.43, 0.69, 0.15, 0.18, colour * 1.25)
    sketch.ellipse(0.43, 0.26, 0.23, 0.215, colour)
    sketch.ellipse(0.43, 0.33, 0.1, 0.08, colour * 1.25)
    for x in (0.35, 0.51, 0.43):
        sketch.ellipse(x, 0.22 if x != 0.43 else 0.3, 0.025, 0.025, (24, 22, 22))
    return sketch


def umbrella(rng: np.random.Generator) -> Sketch:
    """Open parasol or tent on the ground."""
    colour, other = any_colour(rng), any_colour(rng)
    sketch = Sketch(120, 1.5, colour)
    for k in range(6):
        a, b = np.pi * k / 6, np.pi * (k + 1) / 6
        edge = [(0.75 - 0.72 * np.cos(t), 0.93 - 0.25 * np.sin(t)) for t in (a, b)]
        sketch.polygon([(0.75, 0.03), edge[0], (edge[1][0], edge[1][1] + 0.06), edge[1]],
                       colour if k % 2 else other)  # fmt: skip
    sketch.polygon([(0.75, 0.03), (0.03, 0.93), (1.47, 0.93)], colour)
    for k in range(0, 6, 2):
        sketch.polygon(
            [(0.75, 0.03), (0.03 + 0.24 * k, 0.93), (0.03 + 0.24 * (k + 1), 0.93)], other
        )
    sketch.box(0.03, 0.9, 1.47, 0.99, colour * 0.7)
    return sketch


def pallets(rng: np.random.Generator) -> Sketch:
    """Pile of planks or pallets with dark gaps."""
    colour, aspect = earthy_colour(rng), rng.uniform(1.4, 2.6)
    sketch = Sketch(100, aspect, colour)
    rows = int(rng.integers(2, 5))
    for k in range(rows):
        y, shift = k / rows, rng.uniform(0, 0.08)
        sketch.box(shift, y, aspect - 0.08 + shift, y + 0.99 / rows, colour * 0.4)
        sketch.box(
            shift, y, aspect - 0.08 + shift, y + 0.4 / rows, colour * rng.uniform(0.85, 1.2)
        )
        for x in (0.05, aspect / 2 - 0.06, aspect - 0.25):
            sketch.box(x + shift, y, x + 0.14 + shift, y + 0.99 / rows, colour * 0.85)
    return sketch


def hand_cart(rng: np.random.Generator) -> Sketch:
    """Cart, pram or wheelbarrow."""
    colour = any_colour(rng)
    sketch = Sketch(120, 1.3, colour)
    sketch.polygon([(0.2, 0.3), (1.12, 0.3), (0.98, 0.74), (0.34, 0.74)], colour)
    sketch.limb([(1.08, 0.34), (1.25, 0.05)], 0.05, (70, 72, 74))
    sketch.limb([(0.4, 0.7), (0.42, 0.85)], 0.05, (70, 72, 74))
    sketch.limb([(0.9, 0.7), (0.9, 0.85)], 0.05, (70, 72, 74))
    for x in (0.42, 0.9):
        sketch.ellipse(x, 0.85, 0.14, 0.14, (32, 32, 33))
        sketch.ellipse(x, 0.85, 0.07, 0.07, (150, 150, 150))
    for _ in range(rng.integers(1, 4)):
        x = rng.uniform(0.35, 0.95)
        sketch.blob(rng, x, 0.26, 0.2, 0.2, any_colour(rng), 0.3)
    return sketch


def appliance(rng: np.random.Generator) -> Sketch:
    """Refrigerator, washing machine or television set."""
    aspect = rng.uniform(0.55, 1.3)
    colour = any_colour(rng) if rng.random() < 0.3 else np.array([222, 222, 218], np.float32)
    sketch = Sketch(140, aspect, colour)
    sketch.box(0.01, 0.01, aspect - 0.01, 0.99, colour)
    kind = rng.integers(3)
    if kind == 0:
        sketch.box(0.01, 0.36, aspect - 0.01, 0.375, colour * 0.5)
        sketch.box(aspect - 0.12, 0.12, aspect - 0.08, 0.3, colour * 0.4)
        sketch.box(aspect - 0.12, 0.42, aspect - 0.08, 0.7, colour * 0.4)
    elif kind == 1:
        r = min(aspect, 1) * 0.34
        sketch.ellipse(aspect / 2, 0.56, r, r, colour * 0.55)
        sketch.ellipse(aspect / 2, 0.56, r * 0.75, r * 0.75, (36, 40, 46))
        sketch.box(0.05, 0.05, aspect - 0.05, 0.14, colour * 0.8)
    else:
        sketch.box(0.06, 0.08, aspect - 0.06, 0.82, (22, 24, 28))
        sketch.box(0.1, 0.14, aspect * 0.6, 0.3, (52, 58, 66))
    return sketch


def carcass(rng: np.random.Generator) -> Sketch:
    """Shapeless heap: tarpaulin, carpet, snow, something run over."""
    colour, aspect = any_colour(rng), rng.uniform(1.8, 3.4)
    sketch = Sketch(80, aspect, colour)
    sketch.blob(rng, aspect / 2, 0.6, aspect * 0.42, 0.3, colour, 0.45, 40)
    for _ in range(rng.integers(1, 5)):
        x = aspect * rng.uniform(0.3, 0.7)
        sketch.blob(rng, x, 0.55, 0.3, 0.25, colour * rng.uniform(0.7, 1.25), 0.4)
    sketch.textured(noise(rng, 'cloud', sketch.size, 0.4), 0.25)
    return sketch


# name -> (how to draw it, smallest and largest height [m])
TEST_SHAPES = {
    'long_necked': (long_necked, 1.2, 2.3),
    'barrel': (barrel, 0.6, 1.1),
    'table': (table, 0.6, 1.0),
    'sofa': (sofa, 0.6, 1.1),
    'teddy': (teddy, 0.4, 1.2),
    'umbrella': (umbrella, 0.7, 1.4),
    'pallets': (pallets, 0.4, 1.0),
    'hand_cart': (hand_cart, 0.6, 1.1),
    'appliance': (appliance, 0.6, 1.7),
    'carcass': (carcass, 0.3, 0.7),
}
