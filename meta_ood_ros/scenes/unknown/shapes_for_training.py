"""Families of unknown things for training scenes; shapes_for_testing.py shares none of them."""

from meta_ood_ros.scenes.noise import noise
from meta_ood_ros.scenes.sketch import Sketch
from meta_ood_ros.scenes.unknown.coats import any_colour, earthy_colour
import numpy as np


def four_legged(rng: np.random.Generator) -> Sketch:
    """Dog, cow or sheep from the side."""
    colour = earthy_colour(rng)
    aspect, body = rng.uniform(1.1, 1.6), rng.uniform(0.16, 0.25)
    sketch = Sketch(150, aspect, colour)
    x0, x1, back = aspect * 0.25, aspect * 0.72, rng.uniform(0.36, 0.48)
    legs = rng.uniform(0.06, 0.1)
    sketch.legs(rng, [(x0 + 0.06, back), (x1 - 0.06, back)], 1.0, legs, colour * 0.8)
    sketch.legs(rng, [(x0, back), (x1, back)], 1.0, legs, colour)
    sketch.blob(rng, (x0 + x1) / 2, back, (x1 - x0) / 2 + 0.1, body, colour, 0.12)
    head = (x1 + rng.uniform(0.14, 0.24), back - rng.uniform(0.05, 0.22))
    sketch.limb([(x1, back - 0.03), head], (body * 1.1, body * 0.6), colour)
    sketch.ellipse(head[0] + 0.04, head[1] + 0.01, 0.11, 0.075, colour, 20)
    sketch.ellipse(head[0] - 0.03, head[1] - 0.07, 0.025, 0.055, colour * 0.75, -20)
    sketch.limb([(x0 - 0.08, back - 0.05), (x0 - 0.2, back + rng.normal(0.05, 0.12))],
                (0.05, 0.02), colour)  # fmt: skip
    return sketch


def crate(rng: np.random.Generator) -> Sketch:
    """Crate or carton with a visible top and side."""
    colour, aspect = any_colour(rng), rng.uniform(0.8, 1.6)
    sketch = Sketch(120, aspect, colour)
    top, side = rng.uniform(0.08, 0.28), rng.uniform(0.1, 0.35) * aspect
    right = aspect - side
    sketch.polygon([(side, 0), (aspect, 0), (right, top), (0, top)], colour * 1.2)
    sketch.polygon([(right, top), (aspect, 0), (aspect, 1 - top), (right, 1)], colour * 0.65)
    sketch.box(0, top, right, 1, colour)
    for k in range(rng.integers(0, 5)):
        y = top + (1 - top) * (k + 1) / 5
        sketch.box(0, y, right, y + 0.02, colour * 0.6)
    if rng.random() < 0.5:
        sketch.box(right * 0.42, top, right * 0.58, 1, any_colour(rng))
    return sketch


def cone(rng: np.random.Generator) -> Sketch:
    """Pylon with bands."""
    colour = any_colour(rng) if rng.random() < 0.4 else np.array([226, 92, 34], np.float32)
    sketch = Sketch(120, 0.72, colour)
    sketch.box(0.02, 0.91, 0.7, 1.0, colour * 0.7)
    sketch.polygon([(0.32, 0.02), (0.4, 0.02), (0.6, 0.93), (0.12, 0.93)], colour)
    for y in (0.3, 0.55):
        a, b = 0.04 + 0.2 * y, 0.04 + 0.2 * (y + 0.14)
        sketch.polygon([(0.36 - a, y), (0.36 + a, y), (0.36 + b, y + 0.14), (0.36 - b, y + 0.14)],
                       (232, 232, 228))  # fmt: skip
    return sketch


def tyre(rng: np.random.Generator) -> Sketch:
    """Loose tyre or a pile of them."""
    colour = np.array([38, 38, 40], np.float32) * rng.uniform(0.7, 1.6)
    if rng.random() < 0.5:
        sketch = Sketch(110, 1.0, colour)
        sketch.ellipse(0.5, 0.5, 0.49, 0.49, colour)
        sketch.ellipse(0.5, 0.5, 0.3, 0.3, colour * 0.45)
        sketch.ring(0.5, 0.5, 0.4, 0.4, 0.02, colour * 1.5)
        return sketch
    sketch = Sketch(110, 1.2, colour)
    for y in (0.84, 0.56, 0.28):
        sketch.ellipse(0.6 + rng.normal(0, 0.03), y, 0.54, 0.155, colour)
        sketch.ring(0.6, y - 0.04, 0.5, 0.1, 0.015, colour * 1.5)
    sketch.ellipse(0.6, 0.22, 0.28, 0.06, colour * 0.4)
    return sketch


def boulder(rng: np.random.Generator) -> Sketch:
    """Rock or heap of earth."""
    colour, aspect = earthy_colour(rng), rng.uniform(1.0, 1.9)
    sketch = Sketch(120, aspect, colour)
    for _ in range(rng.integers(1, 4)):
        x, r = aspect * rng.uniform(0.35, 0.65), rng.uniform(0.34, 0.46)
        sketch.blob(rng, x, 1 - r, min(aspect * 0.44, x, aspect - x), r, colour, 0.5, 14)
    sketch.box(aspect * 0.25, 0.8, aspect * 0.75, 0.99, colour * 0.9)
    sketch.textured(noise(rng, 'cloud', sketch.size, 0.6), 0.18)
    return sketch


def branch(rng: np.random.Generator) -> Sketch:
    """Fallen branch with twigs."""
    colour, aspect = earthy_colour(rng), rng.uniform(1.8, 3.2)
    sketch = Sketch(90, aspect, colour)
    x = np.linspace(0.08, aspect - 0.08, 6)
    y = np.clip(0.8 + rng.normal(0, 0.07, 6), 0.6, 0.93)
    sketch.limb(np.stack([x, y], 1), (0.13, 0.07), colour)
    for _ in range(rng.integers(3, 8)):
        k = rng.integers(1, 5)
        tip = (x[k] + rng.normal(0, 0.35), rng.uniform(0.04, 0.6))
        sketch.limb([(x[k], y[k]), tip], (0.08, 0.03), colour * rng.uniform(0.7, 1.2))
        if rng.random() < 0.5:
            sketch.blob(rng, *tip, 0.14, 0.1, (86, 104, 54), 0.4)
    return sketch


def chair(rng: np.random.Generator) -> Sketch:
    """Chair or stool."""
    colour = any_colour(rng)
    sketch = Sketch(140, 0.72, colour)
    for x in (0.12, 0.26, 0.48, 0.62):
        sketch.limb([(x, 0.55), (x + rng.normal(0, 0.02), 0.985)], 0.045, colour * 0.7)
    sketch.polygon([(0.06, 0.6), (0.2, 0.48), (0.68, 0.48), (0.66, 0.6)], colour)
    if rng.random() < 0.7:
        sketch.polygon([(0.2, 0.5), (0.18, 0.04), (0.68, 0.04), (0.68, 0.5)], colour * 1.1)
        if rng.random() < 0.5:
            sketch.box(0.28, 0.12, 0.58, 0.2, colour * 0.5)
            sketch.box(0.28, 0.28, 0.58, 0.36, colour * 0.5)
    return sketch


def sack(rng: np.random.Generator) -> Sketch:
    """Draw a filled bag."""
    colour, aspect = any_colour(rng), rng.uniform(0.8, 1.4)
    sketch = Sketch(120, aspect, colour)
    sketch.blob(rng, aspect / 2, 0.62, aspect * 0.43, 0.37, colour, 0.22)
    sketch.polygon([(aspect / 2 - 0.1, 0.3), (aspect / 2 - 0.16, 0.04), (aspect / 2 + 0.17, 0.06),
                    (aspect / 2 + 0.1, 0.3)], colour * 0.9)  # fmt: skip
    sketch.textured(noise(rng, 'plaster', sketch.size), 0.22)
    return sketch


def ball(rng: np.random.Generator) -> Sketch:
    """Ball or balloon with panels."""
    colour = any_colour(rng)
    sketch = Sketch(100, 1.0, colour)
    sketch.ellipse(0.5, 0.5, 0.49, 0.49, colour)
    other = any_colour(rng)
    for _ in range(rng.integers(0, 5)):
        sketch.ring(0.5, 0.5, rng.uniform(0.05, 0.45), 0.46, 0.05, other)
    return sketch


def winged(rng: np.random.Generator) -> Sketch:
    """Bird or flat thing with spread wings, close to the ground."""
    colour, aspect = any_colour(rng), rng.uniform(1.6, 2.4)
    sketch = Sketch(100, aspect, colour)
    middle = aspect / 2
    for side in (-1, 1):
        tip = (middle + side * (aspect / 2 - 0.05), rng.uniform(0.05, 0.4))
        elbow = (middle + side * aspect * 0.25, rng.uniform(0.15, 0.4))
        sketch.polygon([(middle, 0.45), elbow, tip, (elbow[0], elbow[1] + 0.3), (middle, 0.75)],
                       colour * 0.85)  # fmt: skip
    sketch.ellipse(middle, 0.62, 0.16, 0.34, colour)
    sketch.ellipse(middle + 0.04, 0.28, 0.09, 0.09, colour * 1.2)
    sketch.legs(rng, [(middle - 0.06, 0.85), (middle + 0.06, 0.85)], 1.0, 0.04, colour * 0.6)
    return sketch


# name -> (how to draw it, smallest and largest height [m])
TRAIN_SHAPES = {
    'four_legged': (four_legged, 0.5, 1.6),
    'crate': (crate, 0.3, 1.2),
    'cone': (cone, 0.4, 1.0),
    'tyre': (tyre, 0.5, 1.2),
    'boulder': (boulder, 0.3, 1.2),
    'branch': (branch, 0.3, 0.9),
    'chair': (chair, 0.7, 1.1),
    'sack': (sack, 0.4, 1.0),
    'ball': (ball, 0.25, 0.9),
    'winged': (winged, 0.4, 1.1),
}
