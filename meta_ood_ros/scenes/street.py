"""The stage of a scene: houses, walls, plants and street furniture along both sides."""

from meta_ood_ros.scenes import facades, furniture
from meta_ood_ros.scenes.canvas import Canvas, Sprite
from meta_ood_ros.scenes.ground import Street
from meta_ood_ros.scenes.noise import noise
from meta_ood_ros.scenes.things import lining, standing, Thing
from meta_ood_ros.scenes.weather import Weather
import numpy as np

START, END = -12.0, 150.0  # m; the stage along z
BUILDING, VEGETATION = 2, 8


def _leaf_colour(rng: np.random.Generator) -> np.ndarray:
    greens = [(88, 112, 56), (70, 94, 48), (112, 128, 66), (96, 98, 52), (136, 116, 58),
              (60, 82, 52)]  # fmt: skip
    return np.array(greens[rng.choice(6, p=[0.28, 0.24, 0.18, 0.12, 0.06, 0.12])], np.float32)


def paint_backdrop(canvas: Canvas, rng: np.random.Generator, kind: str) -> None:
    """Close the view at the horizon with distant trees, hills or roofs; comes after the sky."""
    height, width = canvas.classes.shape
    horizon = canvas.camera.horizon
    above = int(0.25 * height)
    first = max(int(horizon) - above, 0)
    shape = (max(min(int(horizon) + 2, height) - first, 1), width)
    for layer in range(2):
        built = kind != 'country' and layer == 1 and rng.random() < 0.7
        skyline = noise(rng, 'plaster' if built else 'cloud', (1, width), width / 160)[0]
        if built:
            step = max(width // 40, 1)
            skyline = np.repeat(skyline[::step], step)[:width]
        mean = height * rng.uniform(0.02, 0.07) / (1 + layer)
        top = horizon - first - mean * np.clip(1 + 0.5 * skyline, 0.15, 3)
        rows = np.arange(shape[0], dtype=np.float32)[:, None]
        ragged = 0 if built else 0.6 * noise(rng, 'grain', shape)
        alpha = np.clip(rows - top[None, :] + ragged + 0.5, 0, 1).astype(np.float32)
        if built:
            grain = 1 + 0.06 * noise(rng, 'grain', shape)
            rgb = np.float32(rng.uniform(120, 180)) * np.repeat(grain[..., None], 3, axis=2)
        else:
            rgb = facades.leaves(rng, shape, _leaf_colour(rng))
        sprite = Sprite(rgb, alpha, BUILDING if built else VEGETATION)
        canvas.paint(first, 0, sprite, depth=260.0 if layer == 0 else 180.0)


def street_sides(rng: np.random.Generator, street: Street, weather: Weather) -> list[Thing]:
    """Return what lines a street."""
    sunlight = weather.sun * weather.sunshine
    leaf = _leaf_colour(rng)
    bare = rng.random() < 0.12
    trees = [furniture.tree(rng, leaf * rng.uniform(0.85, 1.15), bare) for _ in range(3)]
    things: list[Thing] = []
    for side in (-1, 1):
        edge = street.left - street.pavement_left if side < 0 else (
            street.right + street.pavement_right
        )  # fmt: skip
        builder = {'city': _city_side, 'suburb': _suburb_side, 'country': _country_side}
        things += builder[street.kind](rng, street, side, edge, trees, leaf, sunlight)
        things += _furniture(rng, street, side, sunlight)
    return things


def _tree(
    rng: np.random.Generator,
    trees: list[Sprite],
    x: float,
    z: float,
    sunlight: float,
    height: float | None = None,
) -> Thing:
    height = rng.uniform(4.5, 11) if height is None else height
    sprite = trees[rng.integers(len(trees))]
    sprite = sprite.flipped() if rng.random() < 0.5 else sprite
    return standing(sprite, x, z, height * furniture.TREE_ASPECT, height, sunlight=sunlight)


def _front(
    rng: np.random.Generator,
    street: Street,
    side: int,
    edge: float,
    z0: float,
    z1: float,
    height: float,
) -> tuple[tuple[float, float], tuple[float, float], Sprite]:
    """Return a house front along the street; the sprite's left edge is its near end."""
    near, far = (edge + street.centre(z0), z0), (edge + street.centre(z1), z1)
    return near, far, facades.facade(rng, z1 - z0, height)


def _end_wall(
    rng: np.random.Generator,
    side: int,
    near: tuple[float, float],
    depth: float,
    height: float,
    sprite: Sprite | None = None,
) -> Thing:
    """Return the wall of a house that faces the camera."""
    sprite = facades.facade(rng, depth, height) if sprite is None else sprite
    return standing(sprite, near[0] + side * depth / 2, near[1] + 0.02, depth, height)


def _city_side(
    rng: np.random.Generator,
    street: Street,
    side: int,
    edge: float,
    trees: list[Sprite],
    leaf: np.ndarray,
    sunlight: float,
) -> list[Thing]:
    things, z, before = [], START, 0.0
    level = rng.uniform(8, 20)
    green_gaps = rng.uniform(0.05, 0.35)
    edge = edge + side * 0.1
    while z < END:
        width = rng.uniform(8, 22) if z < 70 else rng.uniform(16, 34)
        if rng.random() < green_gaps:
            things += _gap(rng, street, side, edge, trees, leaf, z, z + width, sunlight)
            before = 0.0
        else:
            height = float(np.clip(level + rng.normal(0, 3), 5, 28))
            near, far, front = _front(rng, street, side, edge, z, z + width, height)
            things.append(lining(front, near, far, height, shadow=-side, sunlight=sunlight))
            if height > before + 1.5 and z > 2:
                things.append(_end_wall(rng, side, near, 12.0, height))
            before = height
        z += width
    pavement = street.pavement_left if side < 0 else street.pavement_right
    if pavement > 2.2 and rng.random() < 0.55:
        kerb = (street.left - 0.8) if side < 0 else (street.right + 0.8)
        for z in np.arange(rng.uniform(4, 14), END, rng.uniform(8, 18)):
            z += rng.normal(0, 0.8)
            things.append(_tree(rng, trees, kerb + street.centre(z), z, sunlight))
    return things


def _gap(
    rng: np.random.Generator,
    street: Street,
    side: int,
    edge: float,
    trees: list[Sprite],
    leaf: np.ndarray,
    z0: float,
    z1: float,
    sunlight: float,
) -> list[Thing]:
    """Return a courtyard or small park between two houses."""
    things = []
    near, far = (edge + street.centre(z0), z0), (edge + street.centre(z1), z1)
    kind = rng.integers(4)
    length = z1 - z0
    if kind == 0:
        height = rng.uniform(1.2, 3.0)
        things.append(lining(facades.wall(rng, length, height), near, far, height, shadow=-side))
    elif kind == 1:
        height = rng.uniform(1.0, 2.2)
        things.append(lining(facades.fence(rng, length, height), near, far, height))
    elif kind == 2:
        height = rng.uniform(1.0, 2.4)
        hedge = facades.hedge(rng, length, height, leaf)
        things.append(lining(hedge, near, far, height, shadow=-side))
    for z in np.arange(z0 + 2, z1, rng.uniform(3.5, 7)):
        x = edge + side * rng.uniform(2.5, 9) + street.centre(z)
        things.append(_tree(rng, trees, x, z, sunlight, rng.uniform(5, 12)))
    back = edge + side * 14
    height = rng.uniform(7, 16)
    near, far = (back + street.centre(z0), z0), (back + street.centre(z1), z1)
    things.append(lining(facades.facade(rng, length, height), near, far, height))
    return things


def _suburb_side(
    rng: np.random.Generator,
    street: Street,
    side: int,
    edge: float,
    trees: list[Sprite],
    leaf: np.ndarray,
    sunlight: float,
) -> list[Thing]:
    things, z = [], START
    border = rng.integers(4)
    setback = rng.uniform(3, 9)
    while z < END:
        width = rng.uniform(8, 15)
        garden = rng.uniform(3, 12)
        near = (edge + side * setback + street.centre(z), z)
        if rng.random() < 0.8:
            things += _house(rng, street, side, near, width, sunlight)
        for _ in range(rng.integers(1, 5)):
            at = z + rng.uniform(0, width + garden)
            x = edge + side * rng.uniform(0.8, setback + 6) + street.centre(at)
            if rng.random() < 0.6:
                things.append(_tree(rng, trees, x, at, sunlight, rng.uniform(3, 9)))
            else:
                size = rng.uniform(0.8, 2.2)
                things.append(standing(furniture.bush(rng, leaf), x, at, size * 1.5, size))
        end = z + width + garden
        near, far = (edge + street.centre(z), z), (edge + street.centre(end), end)
        height = rng.uniform(0.7, 1.9)
        if border < 3 and rng.random() < 0.85:
            make = (facades.wall, facades.fence)[border] if border < 2 else None
            sprite = make(rng, end - z, height) if make else (
                facades.hedge(rng, end - z, height, leaf)
            )  # fmt: skip
            things.append(lining(sprite, near, far, height, shadow=-side))
        z = end
    return things


def _house(
    rng: np.random.Generator,
    street: Street,
    side: int,
    near: tuple[float, float],
    width: float,
    sunlight: float,
) -> list[Thing]:
    """Return a detached house with a pitched roof whose gable faces the camera."""
    height, pitch, depth = rng.uniform(3.2, 6.5), rng.uniform(2, 3.5), rng.uniform(8, 11)
    x, z = near
    far = (x + street.centre(z + width) - street.centre(z), z + width)
    front = facades.facade(rng, width, height)
    slope = facades.roof(rng, width, 5)
    end = facades.gable(rng, depth, height + pitch, pitch)
    ridge = side * depth / 2

    def draw(canvas: Canvas, x: float, z: float) -> None:
        limit = canvas.camera.z + 1.5
        if far[1] <= limit:
            return
        start = max(z, limit)
        canvas.quad([(x + ridge, height + pitch, start), (far[0] + ridge, height + pitch, far[1]),
                     (far[0], height, far[1]), (x, height, start)], slope)  # fmt: skip
        canvas.wall((x, z), far, 0.0, height, front)
        if z > limit:
            canvas.billboard(x + ridge, z, depth, height + pitch, end)

    def cast(canvas: Canvas, x: float, z: float) -> None:
        canvas.shade(
            [[(x, z), far, (far[0] - side * 0.5, far[1]), (x - side * 0.5, z)]], 0.3, 0.05
        )
        if sunlight * side > 0.3:
            reach = -side * height * 0.8
            canvas.shade([[(x, z), far, (far[0] + reach, far[1] + 1), (x + reach, z + 1)]],
                         0.42 * abs(sunlight), 0.01)  # fmt: skip

    left, right = sorted((0.0, side * depth))
    return [Thing(x, z, far[1], (left, right, height + pitch), draw, cast)]


def _country_side(
    rng: np.random.Generator,
    street: Street,
    side: int,
    edge: float,
    trees: list[Sprite],
    leaf: np.ndarray,
    sunlight: float,
) -> list[Thing]:
    things = []
    wood = rng.random() < 0.5
    first, last = (1.5, 9) if wood else (5, 45)
    for z in np.arange(
        rng.uniform(3, 9), END, rng.uniform(2.2, 4.5) if wood else rng.uniform(7, 20)
    ):
        x = edge + side * rng.uniform(first, last) + street.centre(z)
        if rng.random() < 0.75:
            things.append(_tree(rng, trees, x, z, sunlight, rng.uniform(4, 13)))
        else:
            size = rng.uniform(0.7, 2.5)
            things.append(standing(furniture.bush(rng, leaf), x, z, size * 1.5, size))
    if rng.random() < 0.35:
        rail = facades.guard_rail(rng, 12.0)
        x = edge + side * 0.8
        for z in np.arange(START, 90, 12.0):
            near, far = ((x + street.centre(at), at) for at in (z, z + 12.0))
            things.append(lining(rail, near, far, 0.75))
    if rng.random() < 0.4:
        z = rng.uniform(18, 70)
        near = (edge + side * rng.uniform(6, 18) + street.centre(z), z)
        things += _house(rng, street, side, near, rng.uniform(9, 14), sunlight)
    return things


def _furniture(
    rng: np.random.Generator, street: Street, side: int, sunlight: float
) -> list[Thing]:
    """Lamp posts, signs, traffic lights, bollards near the kerb."""
    things = []
    kerb = street.left - 0.5 if side < 0 else street.right + 0.5

    def put(sprite: Sprite, z: float, width: float, height: float) -> None:
        x = kerb + street.centre(z)
        things.append(standing(sprite, x, z, width, height, sunlight=sunlight * 0.5))

    if street.kind != 'country' and rng.random() < 0.75:
        lamp, height = furniture.lamp_post(rng, -side), rng.uniform(5, 9)
        for z in np.arange(rng.uniform(6, 28), END, rng.uniform(22, 36)):
            put(lamp, z, height * 0.3, height)
    for _ in range(rng.integers(0, 4)):
        height = rng.uniform(2.2, 3.2)
        put(furniture.traffic_sign(rng), rng.uniform(7, 60), height * 0.34, height)
    if street.kind == 'city' and rng.random() < 0.4:
        z = street.crossing + 2.2 if street.crossing > 0 else rng.uniform(12, 45)
        put(furniture.traffic_light(rng), z, 0.7, 3.5)
    if street.kind == 'city' and rng.random() < 0.2:
        post = furniture.bollard(rng)
        for z in np.arange(rng.uniform(5, 9), 40, rng.uniform(1.5, 3)):
            put(post, z, 0.22, 1.0)
    return things
