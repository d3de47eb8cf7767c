"""Pedestrians, cyclists and motorcyclists as flat figures that face the camera."""

from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.noise import noise
from meta_ood_ros.scenes.sketch import Sketch
import numpy as np

PERSON, RIDER, MOTORCYCLE, BICYCLE = 11, 12, 17, 18
PERSON_ASPECT, RIDER_ASPECT = 0.5, 1.0

_CLOTHES = np.array(
    [
        (32, 34, 40), (58, 60, 66), (38, 48, 78), (92, 40, 42), (122, 116, 106), (160, 158, 154),
        (66, 76, 58), (150, 60, 48), (52, 84, 110), (190, 184, 170), (84, 62, 48), (28, 28, 30),
    ],
    np.float32,
)  # fmt: skip
_SKIN = np.array([(214, 172, 146), (188, 140, 112), (142, 98, 74), (92, 64, 50)], np.float32)


def _clothes(rng: np.random.Generator) -> np.ndarray:
    return _CLOTHES[rng.integers(len(_CLOTHES))] * rng.uniform(0.8, 1.25)


def _finish(rng: np.random.Generator, sketch: Sketch, sun: float) -> Sprite:
    sketch.textured(noise(rng, 'plaster', sketch.size), 0.1)
    sketch.rounded(sun, 0.5)
    return sketch.sprite(rng, 0.05)


def _head(rng: np.random.Generator, sketch: Sketch, x: float, y: float, skin: np.ndarray) -> None:
    hair = np.array([(30, 24, 20), (74, 52, 34), (150, 120, 80), (130, 128, 126)], np.float32)
    sketch.limb([(x, y + 0.05), (x, y + 0.1)], 0.055, skin * 0.9)
    sketch.ellipse(x, y, 0.046, 0.062, skin)
    shade = hair[rng.integers(4)]
    sketch.ellipse(x, y - 0.026, 0.05, 0.042, shade)
    if rng.random() < 0.5:  # seen from behind
        sketch.ellipse(x, y, 0.048, 0.06, shade)


def pedestrian(rng: np.random.Generator, sun: float) -> Sprite:
    """Return a person, standing or walking, of height 1 and width `PERSON_ASPECT`."""
    top, trousers, skin = _clothes(rng), _clothes(rng), _SKIN[rng.integers(4)]
    sketch = Sketch(180, PERSON_ASPECT, top, PERSON)
    x = PERSON_ASPECT / 2
    stride = rng.uniform(0.01, 0.13)
    hip, neck = 0.52, 0.17
    side = rng.choice([-1, 1])
    for sign in (-1, 1):
        foot = x + sign * stride
        knee = x + sign * stride * 0.45 + side * 0.015
        sketch.limb([(x + sign * 0.035, hip), (knee, 0.74), (foot, 0.955)], (0.1, 0.055), trousers)
        sketch.ellipse(foot + side * 0.02, 0.972, 0.045, 0.022, (30, 28, 28))
    swing = stride * 0.8
    for sign in (-1, 1):
        hand = x + sign * (0.09 + 0.02) + rng.normal(0, swing * 0.3)
        elbow = x + sign * 0.125
        arm = [(x + sign * 0.095, neck + 0.06), (elbow, 0.36), (hand, 0.49)]
        sketch.limb(arm, (0.065, 0.045), top * 0.92)
        sketch.ellipse(hand, 0.505, 0.02, 0.024, skin)
    coat = hip + (rng.uniform(0.06, 0.2) if rng.random() < 0.35 else 0.02)
    outline = [(x - 0.1, neck + 0.03), (x - 0.05, neck - 0.005), (x + 0.05, neck - 0.005),
               (x + 0.1, neck + 0.03), (x + 0.095, coat), (x - 0.095, coat)]  # fmt: skip
    sketch.polygon(outline, top)
    if rng.random() < 0.3:  # bag
        sketch.ellipse(x + side * 0.11, 0.45, 0.05, 0.08, _clothes(rng))
    _head(rng, sketch, x, 0.085, skin)
    return _finish(rng, sketch, sun)


def cyclist(rng: np.random.Generator, sun: float, motor: bool = False) -> Sprite:
    """
    Return a rider on a bicycle or motorcycle from the side, height 1, width `RIDER_ASPECT`.

    The two-wheeler and the rider carry their own classes.
    """
    top, trousers, skin = _clothes(rng), _clothes(rng), _SKIN[rng.integers(4)]
    sketch = Sketch(180, RIDER_ASPECT, (60, 60, 60), MOTORCYCLE if motor else BICYCLE)
    frame = rng.uniform(30, 190, 3).astype(np.float32)
    radius, width = (0.17, 0.05) if motor else (0.195, 0.014)
    rear, front, axle = (0.24, 0.995 - radius), (0.76, 0.995 - radius), 0.995 - radius
    for wheel, _ in (rear, front):
        sketch.ring(wheel, axle, radius - 0.01, radius - 0.01, max(width, 0.02), (24, 24, 25))
        for spoke in np.linspace(0, np.pi, 5, endpoint=False):
            reach = radius * 0.9 * np.array([np.cos(spoke), np.sin(spoke)])
            sketch.limb([(wheel - reach[0], axle - reach[1]), (wheel + reach[0], axle + reach[1])],
                        0.006, (120, 122, 124))  # fmt: skip
    pedal = (0.46, axle + 0.01)
    saddle, bar = (0.38, 0.55), (0.68, 0.5)
    tube = 0.07 if motor else 0.02
    sketch.limb([rear, pedal, (0.65, 0.6), saddle, rear], tube, frame)
    sketch.limb([saddle, pedal], tube, frame)
    sketch.limb([front, (0.65, 0.58), bar], 0.022, frame * 0.8)
    sketch.ellipse(*saddle, 0.06, 0.018, (26, 26, 26))
    if motor:
        sketch.ellipse(0.48, 0.68, 0.18, 0.1, frame)
        sketch.ellipse(0.47, 0.8, 0.13, 0.08, (60, 60, 62))
        sketch.ellipse(0.72, 0.55, 0.04, 0.05, (210, 212, 210))
    sketch.label = RIDER
    sketch.limb([(0.39, 0.52), (0.56, 0.66), (0.47, 0.85)], (0.1, 0.05), trousers)
    sketch.ellipse(0.49, 0.87, 0.045, 0.02, (28, 28, 28))
    shoulder = (0.5, 0.23)
    sketch.limb([(0.4, 0.5), shoulder], (0.14, 0.13), top)
    sketch.limb([shoulder, (0.58, 0.38), bar], (0.06, 0.04), top * 0.9)
    _head(rng, sketch, 0.53, 0.09, skin)
    if motor or rng.random() < 0.5:
        sketch.ellipse(0.53, 0.07, 0.06, 0.055, rng.uniform(30, 230, 3))
    return _finish(rng, sketch, sun)


def parked_bicycle(rng: np.random.Generator, sun: float) -> Sprite:
    """Return a bicycle without rider, height 1 and width 1.7."""
    frame = rng.uniform(30, 170, 3).astype(np.float32)
    sketch = Sketch(110, 1.7, (70, 70, 70), BICYCLE)
    for wheel in (0.34, 1.36):
        sketch.ring(wheel, 0.68, 0.29, 0.29, 0.035, (26, 26, 27))
        for spoke in np.linspace(0, np.pi, 6, endpoint=False):
            reach = 0.28 * np.array([np.cos(spoke), np.sin(spoke)])
            sketch.limb([(wheel - reach[0], 0.68 - reach[1]), (wheel + reach[0], 0.68 + reach[1])],
                        0.008, (118, 120, 122))  # fmt: skip
    sketch.limb([(0.34, 0.68), (0.78, 0.7), (1.18, 0.22), (0.62, 0.2), (0.34, 0.68)], 0.04, frame)
    sketch.limb([(0.58, 0.1), (0.78, 0.7)], 0.035, frame)
    sketch.limb([(1.36, 0.68), (1.16, 0.1), (1.02, 0.05)], 0.035, (60, 60, 60))
    sketch.ellipse(0.57, 0.09, 0.11, 0.035, (26, 26, 26))
    return _finish(rng, sketch, sun)
