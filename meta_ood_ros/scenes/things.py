"""What stands or moves in a street, with its shadow and the room it takes in the picture."""

from collections.abc import Callable
from dataclasses import dataclass

from meta_ood_ros.scenes.camera import Camera
from meta_ood_ros.scenes.canvas import Canvas, NEAR, Sprite
from meta_ood_ros.scenes.vehicles import paint_vehicle, Vehicle
import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom [px]


@dataclass(frozen=True)
class Thing:
    """
    One item of a scene.

    Attributes
    ----------
    depth : float
        Its far end [m]; things are painted in the order of falling depth.
    box : tuple of float
        Left, right (relative to x), top [m]: the upright rectangle it fills at z.

    """

    x: float
    z: float
    depth: float
    box: tuple[float, float, float]
    draw: Callable[[Canvas, float, float], None]
    cast: Callable[[Canvas, float, float], None] | None = None
    velocity: tuple[float, float] = (0.0, 0.0)

    def place(self, frame: int) -> tuple[float, float, float]:
        """Return x, z and depth at a frame [m]."""
        dx, dz = self.velocity[0] * frame, self.velocity[1] * frame
        return self.x + dx, self.z + dz, self.depth + dz

    def outline(self, camera: Camera, frame: int = 0) -> Box | None:
        """Return left, top, right, bottom in the picture [px], or None when it is behind."""
        x, z, depth = self.place(frame)
        if depth - camera.z < NEAR:
            return None
        z = max(z, camera.z + NEAR)
        left, right, top = self.box
        corners = camera.project([(x + left, top, z), (x + right, 0, z)])
        return (*corners[0], *corners[1])


def ellipse_on_ground(x: float, z: float, rx: float, rz: float, corners: int = 14) -> np.ndarray:
    """Return the corners of an ellipse on the ground, shape (corners, 2) [m]."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + rx * np.cos(angle), z + rz * np.sin(angle)], axis=1)


def standing(
    sprite: Sprite,
    x: float,
    z: float,
    width: float,
    height: float,
    *,
    sunlight: float = 0.0,
    velocity: tuple[float, float] = (0.0, 0.0),
    ood_id: int = 0,
) -> Thing:
    """
    Return a thing drawn as one upright sprite.

    Parameters
    ----------
    sunlight : float
        Direction x strength of the sun, -1..1: a long shadow falls the other way.

    """

    def draw(canvas: Canvas, x: float, z: float) -> None:
        canvas.billboard(x, z, width, height, sprite, ood_id=ood_id)

    def cast(canvas: Canvas, x: float, z: float) -> None:
        canvas.shade([ellipse_on_ground(x, z, width * 0.5, width * 0.22 + 0.05)], 0.6, 0.12)
        if abs(sunlight) > 0.3:
            reach = -np.sign(sunlight) * height * 0.7
            away = ellipse_on_ground(x + reach / 2, z + 0.1, abs(reach) / 2, width * 0.25)
            canvas.shade([away], 0.4 * abs(sunlight), 0.08)

    return Thing(x, z, z, (-width / 2, width / 2, height), draw, cast, velocity)


def driving(
    vehicle: Vehicle,
    x: float,
    z: float,
    yaw: float,
    *,
    sunlight: float = 0.0,
    velocity: tuple[float, float] = (0.0, 0.0),
) -> Thing:
    """Return a vehicle as a thing; x, z is its middle [m]."""
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    half_x = (abs(np.cos(yaw)) * vehicle.width + abs(np.sin(yaw)) * vehicle.length) / 2
    half_z = (abs(np.sin(yaw)) * vehicle.width + abs(np.cos(yaw)) * vehicle.length) / 2
    corners = np.array([(-0.52, -0.51), (0.52, -0.51), (0.52, 0.51), (-0.52, 0.51)])
    footprint = corners * (vehicle.width, vehicle.length) @ turn.T

    def draw(canvas: Canvas, x: float, z: float) -> None:
        paint_vehicle(canvas, vehicle, x, z + half_z, yaw, sunlight)

    def cast(canvas: Canvas, x: float, z: float) -> None:
        place = footprint + (x, z + half_z)
        canvas.shade([place], 0.72, 0.06)
        if abs(sunlight) > 0.3:
            canvas.shade([place + (-np.sign(sunlight) * vehicle.height * 0.6, 0.0)],
                         0.4 * abs(sunlight), 0.05)  # fmt: skip

    box = (-half_x, half_x, vehicle.height)
    return Thing(x, z - half_z, z - half_z, box, draw, cast, velocity)


def lining(
    sprite: Sprite,
    near: tuple[float, float],
    far: tuple[float, float],
    height: float,
    *,
    shadow: float = 0.0,
    sunlight: float = 0.0,
) -> Thing:
    """Return an upright surface along the street (house front, wall, hedge) as a thing."""
    x0, x1 = sorted((near[0], far[0]))

    def draw(canvas: Canvas, x: float, z: float) -> None:
        canvas.wall((x, z), far, 0.0, height, sprite)

    def cast(canvas: Canvas, x: float, z: float) -> None:
        foot = shadow * 0.45
        canvas.shade([[(x, z), far, (far[0] + foot, far[1]), (x + foot, z)]], 0.3, 0.05)
        if sunlight * shadow < -0.3:
            reach = shadow * height * 0.75
            canvas.shade([[(x, z), far, (far[0] + reach, far[1] + 1), (x + reach, z + 1)]],
                         0.42 * abs(sunlight), 0.01)  # fmt: skip

    box = (x0 - near[0], x1 - near[0] + 1e-3, height)
    return Thing(near[0], near[1], far[1], box, draw, cast if shadow else None)
