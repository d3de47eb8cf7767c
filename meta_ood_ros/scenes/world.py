"""A whole scene from one seed, and the pictures taken of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
from meta_ood_ros.scenes.camera import Camera
from meta_ood_ros.scenes.canvas import Canvas
from meta_ood_ros.scenes.ground import paint_ground, random_street, Street
from meta_ood_ros.scenes.street import paint_backdrop, street_sides
from meta_ood_ros.scenes.things import standing, Thing
from meta_ood_ros.scenes.traffic import FLOW, people_about, traffic
from meta_ood_ros.scenes.unknown import random_unknown, SCENE_SPLITS
from meta_ood_ros.scenes.weather import (
    develop,
    Lens,
    paint_sky,
    random_lens,
    random_weather,
    Weather,
)
import numpy as np

STEP = FLOW  # m the camera moves from frame to frame of a sequence: 12.6 km/h at 10 Hz


@dataclass(frozen=True)
class Scene:
    """
    A picture and its truth, in the picture and in space.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    classes : ndarray of uint8, shape (H, W)
        Cityscapes train id, 0..18; 255 on unknown objects.
    ood_ids : ndarray of uint16, shape (H, W)
        0, or the id of the unknown object, 1..number of objects; each is one 8-connected region.
    ood_families : tuple of str
        Family of object 1, 2, ...; an object may be out of sight.
    depth : ndarray of float32, shape (H, W)
        Distance along the optical axis [m]; infinite in the sky.
    camera_matrix : ndarray of float64, shape (3, 3)
        K of a pinhole without distortion, whose optical axis is level.
    camera_height : float
        Of the optical centre above the flat ground [m].
    ood_positions, ood_feet : ndarray of float64, shape (number of objects, 3)
        Middle of each object and of its foot on the ground, in the optical frame: x right,
        y down, z forward [m].

    """

    image: np.ndarray
    classes: np.ndarray
    ood_ids: np.ndarray
    ood_families: tuple[str, ...]
    depth: np.ndarray
    camera_matrix: np.ndarray
    camera_height: float
    ood_positions: np.ndarray
    ood_feet: np.ndarray


@dataclass(frozen=True)
class _World:
    camera: Camera
    lens: Lens
    weather: Weather
    street: Street
    things: tuple[Thing, ...]
    unknowns: tuple[Thing, ...]
    families: tuple[str, ...]
    seed: np.random.SeedSequence


def render_scene(
    seed: int,
    *,
    size: tuple[int, int] = (360, 640),
    ood_objects: int | tuple[int, int] = (0, 3),
    split: str = 'train',
    kind: str | None = None,
) -> Scene:
    """
    Draw one street scene.

    Parameters
    ----------
    seed : int
        Equal seeds (and arguments) give equal scenes.
    size : tuple of int
        (height, width) in px, at least (64, 64).
    ood_objects : int or tuple of int
        Number of unknown objects on the road, or its smallest and largest value. Fewer are drawn
        where the road in view has no room for more.
    split : str
        'train' or 'test': which families of shapes the objects come from (`SCENE_SPLITS`).
    kind : str or None
        'city', 'suburb', 'country', or None for any.

    Returns
    -------
    Scene
        Picture and labels of the given size.

    """
    return _photograph(_make_world(seed, size, ood_objects, split, kind, frames=1), 0)


def render_sequence(
    seed: int,
    frames: int,
    *,
    size: tuple[int, int] = (360, 640),
    ood_objects: int | tuple[int, int] = (2, 4),
    split: str = 'test',
    kind: str | None = None,
) -> Iterator[Scene]:
    """
    Drive through one street scene and take pictures; ids stay with their objects.

    Parameters
    ----------
    seed : int
        As in `render_scene`.
    frames : int
        Number of pictures, >= 1; the camera moves 0.35 m from one to the next.
    size, ood_objects, split, kind
        As in `render_scene`.

    Yields
    ------
    Scene

    """
    if frames < 1:
        raise ValueError(f'frames must be at least 1, got {frames}. Ask for one frame or more.')
    world = _make_world(seed, size, ood_objects, split, kind, frames)
    for frame in range(frames):
        yield _photograph(world, frame)


def _make_world(seed, size, ood_objects, split, kind, frames) -> _World:
    if split not in SCENE_SPLITS:
        known = ', '.join(SCENE_SPLITS)
        raise ValueError(f'split must be one of {known}, got {split!r}. Choose one of these.')
    if kind not in (None, 'city', 'suburb', 'country'):
        raise ValueError(f'kind must be city, suburb, country or None, got {kind!r}. Choose one.')
    if min(size) < 64:
        raise ValueError(
            f'size must be at least (64, 64), got {tuple(size)}. Ask for more pixels.'
        )
    fewest, most = (ood_objects,) * 2 if np.isscalar(ood_objects) else ood_objects
    if not 0 <= fewest <= most:
        raise ValueError(
            f'ood_objects must be a count or (smallest, largest), got {ood_objects!r}. '
            'Give numbers >= 0 in rising order.'
        )
    root = np.random.SeedSequence(seed)
    stage, actors, objects, frame_seed = root.spawn(4)
    rng = np.random.default_rng(stage)
    street, weather, lens = random_street(rng, kind), random_weather(rng), random_lens(rng)
    height, width = size
    camera = Camera(
        size=(int(height), int(width)),
        focal=width * rng.uniform(0.75, 1.2),
        horizon=height * rng.uniform(0.36, 0.54),
        x=rng.normal(0, 0.15),
        elevation=rng.uniform(1.2, 1.75),
    )
    views = [(frame, replace(camera, z=frame * STEP)) for frame in {0, frames // 2, frames - 1}]
    rng = np.random.default_rng(objects)
    count = int(rng.integers(fewest, most + 1))
    unknowns, families = _unknowns(rng, street, weather, camera, views, count, split)
    sunlight = weather.sun * weather.sunshine
    rng = np.random.default_rng(actors)
    others = traffic(rng, street, sunlight) + people_about(rng, street, sunlight)
    rng = np.random.default_rng(stage.spawn(1)[0])
    others += street_sides(rng, street, weather)
    things = [thing for thing in others if not _hides(thing, unknowns, views)] + unknowns
    return _World(
        camera, lens, weather, street, tuple(things), tuple(unknowns), tuple(families), frame_seed
    )


def _overlap(a, b, margin=0.0):
    return not (
        a[2] + margin < b[0]
        or b[2] + margin < a[0]
        or a[3] + margin < b[1]
        or b[3] + margin < a[1]
    )


def _hides(thing: Thing, unknowns: list[Thing], views) -> bool:
    """Tell whether a thing covers or runs into an unknown object in any view."""
    for frame, camera in views:
        mine = thing.outline(camera, frame)
        if mine is None:
            continue
        for unknown in unknowns:
            theirs = unknown.outline(camera, frame)
            nearer = thing.place(frame)[1] < unknown.z + 0.5
            if theirs is not None and nearer and _overlap(mine, theirs, 1.0):
                return True
    return False


def _unknowns(rng, street, weather, camera, views, count, split):
    """Unknown objects on the carriageway, none in front of another."""
    things: list[Thing] = []
    families: list[str] = []
    travel = max(view.z for _, view in views)
    # Its foot is in the picture: the row of the ground there is above the lower border.
    nearest = max(camera.focal * camera.elevation / (0.96 * camera.size[0] - camera.horizon), 4.0)
    farthest = max(32.0, 1.5 * nearest)
    for _ in range(count):
        family, sprite, width, height = random_unknown(rng, split, weather.sun)
        for _ in range(30):
            z = travel + float(np.exp(rng.uniform(np.log(nearest), np.log(farthest))))
            sight = 0.45 * camera.size[1] / camera.focal * (z - travel) - width / 2
            low = max(street.left + width / 2 + 0.1, -sight)
            high = min(street.right - width / 2 - 0.1, sight)
            if low >= high:
                continue
            x = rng.uniform(low, high) + street.centre(z)
            thing = standing(sprite, x, z, width, height, sunlight=weather.sun * weather.sunshine,
                             ood_id=len(things) + 1)  # fmt: skip
            clear = all(
                not _overlap(thing.outline(view, frame), other.outline(view, frame), 6.0)
                for frame, view in views
                for other in things
            )
            if clear:
                things.append(thing)
                families.append(family)
                break
    return things, families


def _photograph(world: _World, frame: int) -> Scene:
    camera = replace(world.camera, z=frame * STEP)
    canvas = Canvas(camera, np.float32(world.weather.horizon), world.weather.haze_range)
    fixed = np.random.default_rng(world.seed)  # the same in every frame
    moment = np.random.default_rng([int(world.seed.generate_state(1)[0]), frame])
    paint_sky(canvas, world.weather)
    paint_backdrop(canvas, fixed, world.street.kind)
    paint_ground(canvas, world.street, world.weather)
    order = sorted(world.things, key=lambda thing: -thing.place(frame)[2])
    for thing in order:
        x, z, depth = thing.place(frame)
        if thing.cast is not None and depth > camera.z:
            thing.cast(canvas, x, z)
    for thing in order:
        x, z, depth = thing.place(frame)
        if depth > camera.z:
            thing.draw(canvas, x, z)
    _keep_one_piece(canvas)
    image = develop(canvas.image, camera, world.lens, moment)
    middles, feet = (
        camera.to_optical([(thing.x, share * thing.box[2], thing.z) for thing in world.unknowns])
        for share in (0.5, 0.0)
    )
    return Scene(
        image, canvas.classes, canvas.ood_ids, world.families,
        canvas.depth, camera.matrix, float(camera.elevation), middles, feet,
    )  # fmt: skip


def _keep_one_piece(canvas: Canvas) -> None:
    """Leave crumbs that fall off an object at its pixel size unlabelled (255, id 0), in place."""
    for ood_id in np.unique(canvas.ood_ids)[1:]:
        mask = (canvas.ood_ids == ood_id).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if count > 2:
            largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
            canvas.ood_ids[(pieces != largest) & (pieces != 0)] = 0
