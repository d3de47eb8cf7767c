"""Cars, vans, trucks and buses as solids of a few textured faces, seen from any side."""

from dataclasses import dataclass

from meta_ood_ros.scenes.canvas import Canvas, NEAR, Sprite
from meta_ood_ros.scenes.sketch import Sketch
import numpy as np
from numpy.typing import ArrayLike

CAR, TRUCK, BUS = 13, 14, 15
Corners = tuple[tuple[float, float, float], ...]  # four [m]
_GLASS = np.array([44, 50, 56], np.float32)
_TYRE = np.array([26, 26, 27], np.float32)


@dataclass(frozen=True)
class Vehicle:
    """
    A solid standing on the ground, its middle at x = z = 0, its front towards +z.

    Attributes
    ----------
    faces : tuple
        (corners (4, 3) [m] clockwise from the top left as seen from outside, Sprite).

    """

    faces: tuple[tuple[Corners, Sprite], ...]
    width: float
    length: float
    height: float


def paint_vehicle(
    canvas: Canvas, vehicle: Vehicle, x: float, z: float, yaw: float, sun: float
) -> None:
    """Paint a vehicle."""
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    reach = np.hypot(vehicle.width, vehicle.length) / 2
    if z - canvas.camera.z < reach + NEAR:
        return
    seen = []
    for corners, sprite in vehicle.faces:
        world = np.array(corners, dtype=np.float64)
        world[:, [0, 2]] = world[:, [0, 2]] @ turn.T + (x, z)
        outline = canvas.camera.project(world)
        a, b = outline[1] - outline[0], outline[3] - outline[0]
        c, d = outline[3] - outline[2], outline[1] - outline[2]
        if (a[0] * b[1] - a[1] * b[0]) + (c[0] * d[1] - c[1] * d[0]) <= 0.5:
            continue  # turned away
        normal = np.cross(world[1] - world[0], world[3] - world[0])
        normal /= max(np.linalg.norm(normal), 1e-9)
        light = 1.0 + 0.16 * sun * normal[0] + 0.12 * abs(normal[1])
        lit = Sprite(sprite.rgb * np.float32(light), sprite.alpha, sprite.label)
        distance = np.hypot(world[:, 0].mean() - canvas.camera.x, world[:, 2].mean())
        seen.append((distance, world, lit))
    for _, world, sprite in sorted(seen, key=lambda face: -face[0]):
        canvas.quad(world, sprite)


def _box_faces(
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z0: float,
    z1: float,
    x0_top: float | None = None,
    x1_top: float | None = None,
    z0_top: float | None = None,
    z1_top: float | None = None,
) -> dict[str, Corners]:
    """Corners of the rear, front, left, right and top face of a (tapered) box."""
    x0_top = x0 if x0_top is None else x0_top
    x1_top = x1 if x1_top is None else x1_top
    z0_top = z0 if z0_top is None else z0_top
    z1_top = z1 if z1_top is None else z1_top
    a, b, c, d = (x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)
    e, f = (x0_top, y1, z0_top), (x1_top, y1, z0_top)
    g, h = (x1_top, y1, z1_top), (x0_top, y1, z1_top)
    return {
        'rear': (e, f, b, a),
        'front': (g, h, d, c),
        'left': (h, e, a, d),
        'right': (f, g, c, b),
        'top': (h, g, f, e),
    }


def _sheet(
    rng: np.random.Generator,
    paint: np.ndarray,
    height: float,
    width: float,
    label: int,
    bright: float = 1.0,
) -> Sprite:
    """Return a plain painted sheet of metal with a soft reflection of the sky."""
    sketch = Sketch(max(int(height * 70), 8), width / height, paint, label)
    sketch.box(0, 0, width / height, 1, paint * bright)
    rows = np.linspace(0.12, -0.12, sketch.size[0], dtype=np.float32)[:, None]
    sketch.textured(rows * np.ones(sketch.size, np.float32), 1.0)
    return sketch.sprite(rng, 0.03)


def _end(
    rng: np.random.Generator,
    paint: np.ndarray,
    width: float,
    height: float,
    label: int,
    rear: bool,
) -> Sprite:
    """Lower half of a car's rear or front: bumper, lights, plate, tyres, shadow below."""
    aspect = width / height
    sketch = Sketch(96, aspect, paint, label)
    for side in (0.02, aspect - 0.24):
        sketch.box(side, 0.62, side + 0.22, 1.0, _TYRE)
    sketch.box(0.03, 0.5, aspect - 0.03, 0.84, np.array([34, 34, 36], np.float32))  # underside
    dark = paint * 0.82
    outline = [(0.03, 0.0), (aspect - 0.03, 0.0), (aspect, 0.18), (aspect - 0.01, 0.72),
               (0.01, 0.72), (0.0, 0.18)]  # fmt: skip
    sketch.polygon(outline, paint)
    rows = np.linspace(0.28, -0.28, sketch.size[0], dtype=np.float32)[:, None]
    sketch.textured(rows * np.ones(sketch.size, np.float32), 1.0)
    bumper = dark if rng.random() < 0.6 else np.array([48, 48, 50], np.float32)
    sketch.box(0.02, 0.5, aspect - 0.02, 0.73, bumper)
    middle = aspect / 2
    if rear:
        lamp = np.array([150, 20, 22], np.float32) * rng.uniform(0.8, 1.45)
        tall = rng.uniform(0.16, 0.34)
        for side in (0.03, aspect - 0.03 - 0.28):
            sketch.box(side, 0.08, side + 0.28, 0.08 + tall, lamp)
            sketch.box(side + 0.1, 0.08 + tall * 0.6, side + 0.2, 0.08 + tall, (226, 200, 190))
        plate = 0.3 if rng.random() < 0.6 else 0.54
    else:
        sketch.box(0.35, 0.2, aspect - 0.35, 0.42, (30, 30, 32))  # grille
        lamp = np.array([214, 218, 220], np.float32) * rng.uniform(0.75, 1.15)
        for side in (0.05, aspect - 0.05 - 0.3):
            sketch.polygon(
                [(side, 0.14), (side + 0.3, 0.14), (side + 0.3, 0.34), (side, 0.3)], lamp
            )
        plate = 0.52
    sketch.box(middle - 0.29, plate, middle + 0.29, plate + 0.13, (224, 224, 214))
    sketch.box(middle - 0.23, plate + 0.035, middle + 0.23, plate + 0.09, (90, 90, 92))
    return sketch.sprite(rng, 0.04)


def _wheel(sketch: Sketch, x: float, y: float, radius: float) -> None:
    sketch.ellipse(x, y, radius * 1.18, radius * 1.18, (18, 18, 19))  # arch
    sketch.ellipse(x, y, radius, radius, _TYRE)
    sketch.ellipse(x, y, radius * 0.66, radius * 0.66, (128, 130, 132))
    sketch.ellipse(x, y, radius * 0.5, radius * 0.5, (92, 94, 96))
    sketch.ellipse(x, y, radius * 0.14, radius * 0.14, (160, 160, 160))


def _flank(
    rng: np.random.Generator, paint: np.ndarray, length: float, height: float, label: int
) -> Sprite:
    """Lower half of a car's side; the front is at the right edge."""
    aspect = length / height
    sketch = Sketch(96, aspect, paint, label)
    outline = [(0.0, 0.1), (0.06, 0.0), (aspect - 0.5, 0.0), (aspect - 0.06, 0.12),
               (aspect, 0.4), (aspect - 0.03, 0.78), (0.03, 0.78), (0.0, 0.5)]  # fmt: skip
    sketch.polygon(outline, paint)
    rows = np.linspace(0.25, -0.35, sketch.size[0], dtype=np.float32)[:, None]
    sketch.textured(rows * np.ones(sketch.size, np.float32), 1.0)
    for door in (0.3, 0.5, 0.7):
        sketch.limb([(aspect * door, 0.02), (aspect * door, 0.72)], 0.012, paint * 0.5)
        sketch.box(aspect * door - 0.2, 0.14, aspect * door - 0.06, 0.18, paint * 0.6)
    sketch.box(0.1, 0.7, aspect - 0.1, 0.79, (40, 40, 42))
    for wheel in (0.19, 0.81):
        _wheel(sketch, aspect * wheel, 0.66, 0.33)
    return sketch.sprite(rng, 0.04)


def _window(
    rng: np.random.Generator,
    paint: np.ndarray,
    width: float,
    height: float,
    label: int,
    pillars: int = 0,
    inset: float = 0.07,
) -> Sprite:
    """Glass in a painted frame."""
    aspect = width / height
    sketch = Sketch(64, aspect, paint, label)
    sketch.box(0, 0, aspect, 1, paint * 0.9)
    glass = _GLASS * rng.uniform(0.75, 1.6)
    sketch.box(inset, 0.1, aspect - inset, 0.98, glass)
    for k in range(3):  # sky in the upper part
        sketch.box(inset, 0.1, aspect - inset, 0.3 - 0.08 * k, glass + 14 * (k + 1))
    for k in range(pillars):
        x = aspect * (k + 1) / (pillars + 1)
        sketch.box(x - 0.05, 0.05, x + 0.05, 1, paint * 0.6)
    return sketch.sprite(rng, 0.05)


def random_car(rng: np.random.Generator) -> Vehicle:
    """Return a hatchback, saloon, estate or van; its label is car."""
    paints = np.array([(28, 29, 31), (64, 66, 70), (112, 115, 118), (168, 171, 173),
                       (222, 223, 222), (34, 52, 92), (120, 26, 28), (90, 84, 70),
                       (58, 74, 62)], np.float32)  # fmt: skip
    paint = paints[rng.choice(9, p=[0.18, 0.15, 0.15, 0.16, 0.14, 0.08, 0.07, 0.04, 0.03])]
    van = rng.random() < 0.12
    width, length = rng.uniform(1.68, 1.9), rng.uniform(3.7, 4.8)
    belt, top = (1.05, rng.uniform(1.85, 2.2)) if van else (0.92, rng.uniform(1.4, 1.66))
    half, rear, front = width / 2, -length / 2, length / 2
    boot = 0.0 if van else float(rng.choice([0.1, 0.2, 0.75]))
    hood = 0.55 if van else 1.05
    body = _box_faces(-half, half, 0.0, belt, rear, front)
    faces = [
        (body['rear'], _end(rng, paint, width, belt, CAR, rear=True)),
        (body['front'], _end(rng, paint, width, belt, CAR, rear=False)),
        (body['right'], _flank(rng, paint, length, belt, CAR)),
        (body['left'], _flank(rng, paint, length, belt, CAR).flipped()),
        (body['top'], _sheet(rng, paint, length / 2, width, CAR, 1.12)),
    ]
    z0, z1 = rear + boot, front - hood
    slope_rear = 0.1 if van else rng.uniform(0.3, 0.6)
    slope_front = 0.35 if van else rng.uniform(0.6, 0.8)
    cabin = _box_faces(
        -half * 0.97, half * 0.97, belt, top, z0, z1,
        -half * 0.8, half * 0.8, z0 + slope_rear, z1 - slope_front,
    )  # fmt: skip
    cabin_length = z1 - z0
    faces += [
        (cabin['rear'], _window(rng, paint, width, top - belt, CAR)),
        (cabin['front'], _window(rng, paint, width, top - belt, CAR)),
        (cabin['right'], _window(rng, paint, cabin_length, top - belt, CAR, 1 + van)),
        (cabin['left'], _window(rng, paint, cabin_length, top - belt, CAR, 1 + van)),
        (cabin['top'], _sheet(rng, paint, cabin_length / 2, width, CAR, 1.15)),
    ]
    return Vehicle(tuple(faces), width, length, top)


def _panel(
    rng: np.random.Generator,
    paint: np.ndarray,
    width: float,
    height: float,
    label: int,
    *,
    windows: int = 0,
    glass_band: tuple[float, float] | None = None,
    wheels: tuple[float, ...] = (),
    lamps: ArrayLike | None = None,
) -> Sprite:
    """One side of a bus or truck."""
    aspect = width / height
    sketch = Sketch(150, aspect, paint, label)
    sketch.box(0.0, 0.0, aspect, 0.9, paint)
    rows = np.linspace(0.12, -0.2, sketch.size[0], dtype=np.float32)[:, None]
    sketch.textured(rows * np.ones(sketch.size, np.float32), 1.0)
    if glass_band:
        top, bottom = glass_band
        sketch.box(0.04, top, aspect - 0.04, bottom, _GLASS * rng.uniform(0.8, 1.5))
        for k in range(1, windows):
            x = aspect * k / windows
            sketch.box(x - 0.012, top, x + 0.012, bottom, paint * 0.5)
    elif rng.random() < 0.5:  # lettering or a stripe on the tarpaulin
        top = rng.uniform(0.2, 0.5)
        sketch.box(0.08, top, aspect - 0.08, top + rng.uniform(0.08, 0.2), rng.uniform(20, 230, 3))
    sketch.box(0.0, 0.84, aspect, 0.91, (44, 44, 46))
    for wheel in wheels:
        _wheel(sketch, aspect * wheel, 0.86, 0.13)
    if lamps is not None:
        for side in (0.02, aspect - 0.12):
            sketch.box(side, 0.7, side + 0.1, 0.78, lamps)
            sketch.box(side, 0.88, side + 0.1, 1.0, _TYRE)
        sketch.box(aspect / 2 - 0.1, 0.78, aspect / 2 + 0.1, 0.83, (220, 220, 212))
    return sketch.sprite(rng, 0.04)


def random_bus(rng: np.random.Generator) -> Vehicle:
    """Return a city bus."""
    paint = np.array([(188, 36, 38), (228, 226, 220), (226, 186, 44), (40, 92, 150),
                      (60, 130, 84)][rng.integers(5)], np.float32)  # fmt: skip
    width, length, height = 2.5, rng.uniform(9.5, 12.5), rng.uniform(2.9, 3.2)
    body = _box_faces(-width / 2, width / 2, 0.0, height, -length / 2, length / 2)
    flank = _panel(rng, paint, length, height, BUS, windows=8, glass_band=(0.16, 0.5),
                   wheels=(0.22, 0.8))  # fmt: skip
    faces = (
        (body['rear'], _panel(rng, paint, width, height, BUS, windows=1, glass_band=(0.1, 0.36),
                              lamps=(160, 22, 22))),
        (body['front'], _panel(rng, paint, width, height, BUS, windows=2, glass_band=(0.12, 0.6),
                               lamps=(230, 230, 226))),
        (body['right'], flank),
        (body['left'], flank.flipped()),
        (body['top'], _sheet(rng, paint, length / 4, width, BUS)),
    )  # fmt: skip
    return Vehicle(faces, width, length, height)


def random_truck(rng: np.random.Generator) -> Vehicle:
    """Return a lorry with a box or tarpaulin body."""
    sheets = [(222, 222, 218), (186, 186, 182), (150, 154, 158), (44, 74, 128), (62, 96, 70),
              (196, 176, 132), (128, 40, 38), (84, 84, 88)]  # fmt: skip
    cargo = np.array(sheets[rng.integers(8)], np.float32) * np.float32(rng.uniform(0.8, 1.1))
    cab = np.array([(210, 210, 208), (150, 30, 30), (40, 60, 110)][rng.integers(3)], np.float32)
    width, length, height = rng.uniform(2.2, 2.5), rng.uniform(6.0, 9.0), rng.uniform(2.9, 3.6)
    split = length / 2 - 2.0
    body = _box_faces(-width / 2, width / 2, 0.0, height, -length / 2, split)
    head = _box_faces(-width / 2, width / 2, 0.0, height * 0.85, split + 0.1, length / 2)
    side = _panel(rng, cargo, split + length / 2, height, TRUCK, wheels=(0.2, 0.34))
    door = _panel(rng, cab, 1.9, height * 0.85, TRUCK, windows=1, glass_band=(0.12, 0.42),
                  wheels=(0.5,))  # fmt: skip
    faces = (
        (body['rear'], _panel(rng, cargo, width, height, TRUCK, lamps=(160, 22, 22))),
        (body['right'], side),
        (body['left'], side.flipped()),
        (body['front'], _sheet(rng, cargo, height, width, TRUCK)),
        (head['front'], _panel(rng, cab, width, height * 0.85, TRUCK, windows=1,
                               glass_band=(0.1, 0.45), lamps=(230, 230, 226))),
        (head['right'], door),
        (head['left'], door.flipped()),
        (head['top'], _sheet(rng, cab, 1.0, width, TRUCK)),
    )  # fmt: skip
    return Vehicle(faces, width, length, height)
