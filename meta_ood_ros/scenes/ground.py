"""The ground of a street: carriageway with markings, kerbs, pavements, verges."""

from dataclasses import dataclass

from meta_ood_ros.scenes.canvas import Canvas
from meta_ood_ros.scenes.noise import noise_on_plane
from meta_ood_ros.scenes.weather import Weather
import numpy as np

ROAD, SIDEWALK, TERRAIN = 0, 1, 9


@dataclass(frozen=True)
class Street:
    """
    Cross-section and course of a street; the camera drives at x = 0.

    Attributes
    ----------
    left, right : float
        Where the carriageway ends [m], left < 0 < right.
    lane_lines : tuple of float
        Lateral position of the lane lines [m], () for none.
    lanes : tuple of tuple of float
        (centre [m], +1 our direction or -1 oncoming) of each lane.
    parking : float
        Width of the parking strip at each edge of the carriageway [m], 0 for none.

    """

    kind: str
    left: float
    right: float
    pavement_left: float
    pavement_right: float
    lane_lines: tuple[float, ...]
    lanes: tuple[tuple[float, float], ...]
    parking: float
    edge_lines: bool
    crossing: float
    bend: float
    asphalt: tuple[float, float, float]
    paving: tuple[float, float, float]
    verge: tuple[float, float, float]
    wear: float
    seed: int

    def centre(self, z):
        """Return how far the street has bent away from x = 0 at distance z [m]."""
        return 0.5 * self.bend * np.square(np.maximum(z, 0))


def random_street(rng: np.random.Generator, kind: str | None = None) -> Street:
    """Return a street of a kind, or of any kind."""
    if kind is None:
        kind = str(rng.choice(['city', 'city', 'city', 'suburb', 'country']))
    lane = rng.uniform(2.9, 3.7)
    ahead = int(rng.integers(1, 3 if kind == 'city' else 2))
    oncoming = int(rng.integers(1, 3)) if kind == 'city' else 1
    offset = rng.normal(0, 0.25)
    # Where parking strips are wanted, the carriageway is wider (lane lines stay).
    parking = 2.1 if kind != 'country' and rng.random() < 0.6 else 0.0
    left = -(oncoming + 0.5) * lane + offset
    right = (ahead - 0.5) * lane + offset
    lanes = tuple(
        (float(left + lane * (k + 0.5)), -1.0 if k < oncoming else 1.0)
        for k in range(oncoming + ahead)
    )
    lines = tuple(float(left + lane * k) for k in range(1, oncoming + ahead))
    if kind != 'country' and rng.random() < 0.3:
        lines = ()
    paved = kind == 'city' or (kind == 'suburb' and rng.random() < 0.7)
    grey = rng.uniform(76, 128)
    tone = np.float32([1.0, rng.uniform(0.98, 1.01), rng.uniform(0.96, 1.05)])
    if kind == 'country' and rng.random() < 0.2:  # dirt road
        tone, lines = np.float32([1.12, 1.0, 0.84]), ()
    paving = np.float32([1.0, 0.97, 0.93]) * rng.uniform(125, 195)
    if rng.random() < 0.25:
        paving = np.float32([168, 128, 112]) * rng.uniform(0.75, 1.05)
    verge = [(92, 116, 58), (128, 126, 74), (148, 134, 98), (108, 120, 66)][rng.integers(4)]
    return Street(
        kind=kind,
        left=left - parking,
        right=right + parking,
        pavement_left=float(rng.uniform(1.6, 4.5)) if paved else 0.0,
        pavement_right=float(rng.uniform(1.6, 4.5)) if paved else 0.0,
        lane_lines=lines,
        lanes=lanes,
        parking=parking,
        edge_lines=bool(lines) and rng.random() < (0.85 if kind == 'country' else 0.35),
        crossing=float(rng.uniform(9, 40)) if kind == 'city' and rng.random() < 0.25 else -1.0,
        bend=float(rng.normal(0, 0.0012 if kind == 'city' else 0.003)),
        asphalt=tuple((grey * tone).tolist()),
        paving=tuple(paving.tolist()),
        verge=tuple((np.float32(verge) * rng.uniform(0.75, 1.15)).tolist()),
        wear=float(rng.random()),
        seed=int(rng.integers(2**31)),
    )


def paint_ground(canvas: Canvas, street: Street, weather: Weather) -> None:
    """Fill everything below the horizon; must come before all that stands on it."""
    top = canvas.camera.first_ground_row()
    if top >= canvas.camera.size[0]:
        return
    x, z = canvas.camera.ground()
    canvas.depth[top:] = z - np.float32(canvas.camera.z)
    lateral = x - street.centre(z).astype(np.float32)
    pixel = np.maximum(z - canvas.camera.z, 0.1) / np.float32(canvas.camera.focal)  # m per px
    rng = np.random.default_rng(street.seed)
    shift = rng.uniform(0, 400, 2).astype(np.float32)
    x, z = x + shift[0], z + shift[1]

    road = (lateral > street.left) & (lateral < street.right)
    walk_left = (lateral <= street.left) & (lateral > street.left - street.pavement_left)
    walk_right = (lateral >= street.right) & (lateral < street.right + street.pavement_right)
    walk = walk_left | walk_right
    fine = noise_on_plane('grain', x, z, 48) * np.minimum(1, 0.02 / pixel)
    soft = noise_on_plane('plaster', x, z, 9) * np.minimum(1, 0.1 / pixel)
    broad = noise_on_plane('cloud', x, z * 0.35, 5)

    asphalt = _asphalt(street, lateral, fine, soft, broad)
    _mark(street, asphalt, lateral, z - shift[1], pixel, 1 - 0.25 * np.abs(soft) * street.wear)
    paving = np.float32(street.paving) * (1 + 0.06 * fine + 0.05 * soft + 0.04 * broad)[..., None]
    paving *= _joints(lateral, z, pixel)[..., None]
    grass = np.float32(street.verge) * (1 + 0.17 * fine + 0.2 * soft + 0.1 * broad)[..., None]
    grass += (8 * broad)[..., None] * np.float32([1.0, 0.2, -0.6])
    ground = np.where(road[..., None], asphalt, np.where(walk[..., None], paving, grass))
    _kerbs(street, ground, lateral, pixel)
    canvas.classes[top:] = np.where(road, ROAD, np.where(walk, SIDEWALK, TERRAIN))
    clear = canvas.clearness(z[:, :1] - shift[1] - canvas.camera.z)[..., None].astype(np.float32)
    canvas.image[top:] = ground * clear + canvas.haze_colour * (1 - clear)


def _asphalt(street, lateral, fine, soft, broad):
    """Colour of the carriageway without its markings."""
    gain = 1 + 0.07 * fine + 0.05 * soft + (0.03 + 0.04 * street.wear) * broad
    # Tyres polish two tracks per lane, oil darkens the middle.
    gain += 0.035 * np.cos(lateral * (2 * np.pi / 1.65))
    if street.wear > 0.5:
        patch = np.clip((broad - 1.1) * 6, 0, 1)
        gain -= 0.18 * (street.wear - 0.3) * patch
        crack = np.abs(soft + 0.6 * broad) < 0.035
        gain -= np.float32(0.2) * crack
    return np.float32(street.asphalt) * gain[..., None]


def _mark(street, asphalt, lateral, z, pixel, wear):
    """Paint lane lines, edge lines and the zebra crossing into the asphalt, in place."""
    cover = np.zeros_like(lateral)

    def stripe(centre, width):
        edge = (width / 2 - np.abs(lateral - centre)) / pixel + 0.5
        return np.clip(edge, 0, 1) * np.minimum(1, width / pixel)

    dashed = np.mod(z, 9.0) < 3.5
    for line in street.lane_lines:
        cover = np.maximum(cover, stripe(line, 0.13) * dashed)
    if street.edge_lines:
        for line in (street.left + 0.3, street.right - 0.3):
            cover = np.maximum(cover, stripe(line, 0.13))
    if street.crossing > 0:
        zebra = (np.abs(z - street.crossing) < 1.8) & (np.mod(lateral, 1.0) < 0.5)
        cover = np.maximum(cover, zebra * np.minimum(1, 0.5 / pixel))
    cover *= 0.85 * np.clip(wear, 0, 1)
    asphalt += (np.float32([218, 218, 212]) - asphalt) * cover[..., None]


def _joints(lateral, z, pixel):
    """Gain of the joints between paving slabs; they fade out with distance."""
    fade = np.clip(1.6 - pixel / 0.03, 0, 1)
    joint = (np.mod(lateral, 0.5) < 0.035) | (np.mod(z, 0.5) < 0.05)
    return 1 - 0.2 * fade * joint


def _kerbs(street, ground, lateral, pixel):
    """Draw the kerb stones, in place."""
    for edge, width in (
        (street.left, street.pavement_left),
        (street.right, street.pavement_right),
    ):
        if width:
            stone = np.clip((0.1 - np.abs(lateral - edge)) / pixel + 0.5, 0, 1)
            stone *= np.minimum(1, 0.2 / pixel)
            tone = np.float32(street.paving) * 1.12
            ground += (tone - ground) * (0.8 * stone)[..., None]
            gutter = np.clip((0.12 - np.abs(lateral - edge - np.sign(-edge) * 0.2)) / pixel, 0, 1)
            ground *= (1 - 0.22 * gutter * np.minimum(1, 0.2 / pixel))[..., None]
