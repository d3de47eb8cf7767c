"""Who uses a street: moving, parked and crossing vehicles, pedestrians, riders."""

from collections.abc import Callable
from typing import Generic, TypeVar

from meta_ood_ros.scenes import people, vehicles
from meta_ood_ros.scenes.canvas import Sprite
from meta_ood_ros.scenes.ground import Street
from meta_ood_ros.scenes.things import driving, standing, Thing
import numpy as np

FLOW = 0.35  # m a frame that traffic moves, as fast as the camera of a sequence
STROLL = 0.13  # m a frame that people walk

T = TypeVar('T')


class _Pool(Generic[T]):
    """A few different items, drawn once and met several times in a scene: drawing them costs."""

    def __init__(
        self, rng: np.random.Generator, make: Callable[[np.random.Generator], T], limit: int
    ) -> None:
        self._rng, self._make, self._limit = rng, make, limit
        self._items: list[T] = []

    def take(self) -> T:
        if len(self._items) < self._limit:
            self._items.append(self._make(self._rng))
            return self._items[-1]
        return self._items[self._rng.integers(self._limit)]


def traffic(rng: np.random.Generator, street: Street, sunlight: float) -> list[Thing]:
    """Return vehicles: moving in their lanes, parked at the edges, sometimes one that crosses."""
    cars = _Pool(rng, vehicles.random_car, 4)
    large = _Pool(rng, _large_vehicle, 2)

    def vehicle() -> vehicles.Vehicle:
        return (large if rng.random() < 0.12 else cars).take()

    things = []
    busy = rng.uniform(0.15, 0.9) * (0.6 if street.kind == 'country' else 1.0)
    for x, direction in street.lanes:
        own = abs(x) < 1.2
        z = rng.uniform(14, 40) if own else rng.uniform(6, 30)
        while z < 110:
            if rng.random() < busy:
                yaw = (0 if direction > 0 else np.pi) + rng.normal(0, 0.02)
                at = x + street.centre(z) + rng.normal(0, 0.15)
                flow = (0.0, direction * FLOW)
                things.append(driving(vehicle(), at, z, yaw, sunlight=sunlight, velocity=flow))
            z += rng.uniform(9, 45)
    if street.parking:
        things += _parked(rng, street, cars, sunlight)
    if street.kind == 'city' and rng.random() < 0.25:
        z, way = rng.uniform(18, 50), rng.choice([-1, 1])
        x = rng.uniform(street.left, street.right)
        yaw = way * np.pi / 2 + rng.normal(0, 0.1)
        flow = (way * 0.3, 0.0)
        things.append(driving(vehicle(), x, z, yaw, sunlight=sunlight, velocity=flow))
    return things


def _large_vehicle(rng: np.random.Generator) -> vehicles.Vehicle:
    return vehicles.random_bus(rng) if rng.random() < 0.5 else vehicles.random_truck(rng)


def _parked(
    rng: np.random.Generator, street: Street, cars: _Pool[vehicles.Vehicle], sunlight: float
) -> list[Thing]:
    things = []
    for edge, inward in ((street.left, 1), (street.right, -1)):
        z, density = rng.uniform(0, 9), rng.uniform(0.2, 0.95)
        while z < 90:
            car = cars.take()
            if rng.random() < density:
                x = edge + inward * (1.05 + rng.normal(0, 0.06)) + street.centre(z)
                yaw = (np.pi if rng.random() < 0.25 else 0.0) + rng.normal(0, 0.015)
                things.append(driving(car, x, z, yaw, sunlight=sunlight))
            z += car.length + rng.uniform(0.6, 2.0)
    return things


def people_about(rng: np.random.Generator, street: Street, sunlight: float) -> list[Thing]:
    """Return people on the pavements, sometimes on the road, and riders at its edge."""
    things = []
    crowd = _Pool(rng, lambda source: people.pedestrian(source, sunlight), 4)

    def put(
        sprite: Sprite,
        x: float,
        z: float,
        aspect: float,
        height: float,
        velocity: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        x = x + street.centre(z)
        things.append(standing(sprite, x, z, aspect * height, height, sunlight=sunlight,
                               velocity=velocity))  # fmt: skip

    most = {'city': 9, 'suburb': 4, 'country': 2}[street.kind]
    for _ in range(rng.integers(0, most + 1)):
        side = rng.choice([-1, 1])
        edge = street.left if side < 0 else street.right
        width = street.pavement_left if side < 0 else street.pavement_right
        x = edge + side * rng.uniform(0.3, max(width - 0.2, 0.6))
        z = float(np.exp(rng.uniform(np.log(6), np.log(60))))
        walk = (0.0, STROLL * rng.choice([-1, 1]))
        for k in range(rng.integers(1, 3)):
            put(crowd.take(), x + 0.6 * k, z, people.PERSON_ASPECT, rng.uniform(1.5, 1.9), walk)
    if rng.random() < 0.2:
        x, walk = rng.uniform(street.left, street.right), (STROLL * rng.choice([-1, 1]), 0.0)
        put(crowd.take(), x, rng.uniform(10, 35), people.PERSON_ASPECT, 1.75, walk)
    for _ in range(rng.integers(0, 3)):
        sprite = people.cyclist(rng, sunlight, motor=rng.random() < 0.3)
        sprite = sprite.flipped() if rng.random() < 0.5 else sprite
        edge = rng.choice([street.left + 0.9, street.right - 0.9])
        put(sprite, edge, rng.uniform(8, 45), people.RIDER_ASPECT, 1.75, (0.0, FLOW))
    if street.kind == 'city' and rng.random() < 0.4:
        side = street.left - 1.0 if rng.random() < 0.5 else street.right + 1.0
        put(people.parked_bicycle(rng, sunlight), side, rng.uniform(6, 25), 1.7, 1.0)
    return things
