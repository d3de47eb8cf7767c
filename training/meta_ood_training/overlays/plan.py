"""Frames, objects, seed -> which object goes where, before a pixel is touched."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from meta_ood_training.datasets.objects import ObjectSource
import numpy as np

AREA_MIN, AREA_MAX = 0.004, 0.06
"""Object sizes as shares of the frame, log-uniform: on half of the frames they make
(0.06 - 0.004) / log(15) / 2 = 1.03 % of all pixels."""
MAX_SIDE = 0.8
"""Largest side of an object's box as a share of the frame's."""
FLYING = ('airplane', 'aeroplane', 'bird', 'kite', 'frisbee')
"""Categories that may stand above the street."""
STYLES = ('street', 'fishyscapes')
GROUND, SKY = (0.5, 0.95), (0.15, 0.6)
"""Rows of an object's lower edge, as shares of the height; uniform."""


@dataclass(frozen=True)
class OverlaySettings:
    """
    What an overlay set is made of.

    Attributes
    ----------
    control_share : float
        Share of the other frames with one pasted in-distribution object.
    jpeg_quality : int
        At which every frame is encoded, pasted or not. On a sample of CamVid the published
        ESPNetv2 loses 0.8 points of mIoU at 95 and 2.5 at 90.
    style : str
        `street`: objects stand on the street, blended as `blending` says; `fishyscapes`: they are
        anywhere but on the ego vehicle, with all steps of FS Static and FS Web.
    fog_share : float
        Probability of fog on a frame, with style `fishyscapes`.

    """

    object_share: float = 0.5
    control_share: float = 0.5
    area_min: float = AREA_MIN
    area_max: float = AREA_MAX
    blending: str = 'full'
    jpeg_quality: int = 95
    seed: int = 0
    style: str = 'street'
    fog_share: float = 0.0

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f'style must be one of {", ".join(STYLES)}, got {self.style!r}.')
        if self.fog_share and self.style != 'fishyscapes':
            raise ValueError(
                f'fog_share belongs to style fishyscapes, got {self.fog_share} with '
                f'{self.style!r}. Leave it out.'
            )
        for name in ('object_share', 'control_share', 'fog_share'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {getattr(self, name)}.')
        if not 0 < self.area_min <= self.area_max < 1:
            raise ValueError(
                f'area_min and area_max must satisfy 0 < min <= max < 1, got {self.area_min} and '
                f'{self.area_max}. They are shares of the frame.'
            )
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f'jpeg_quality must lie in 1..100, got {self.jpeg_quality}.')


@dataclass(frozen=True)
class Placement:
    """
    One object on one frame.

    Attributes
    ----------
    bottom, left : float
        Place in [0, 1] within what is allowed: the lower edge's row, the box's column.

    """

    source: ObjectSource
    scale: float
    bottom: float
    left: float
    is_mirrored: bool


def plan_objects(
    groups: Sequence[str],
    objects: Sequence[ObjectSource],
    frame_sizes: Sequence[tuple[int, int]],
    settings: OverlaySettings,
) -> dict[int, Placement]:
    """
    Return the OoD object of each chosen frame, groups and sizes being those of all frames.

    Notes
    -----
    Every block has source images of its own, so that a block and its sources are one group in
    bootstrap and folds. Sizes are spread evenly over the log-uniform law and dealt out at
    random; a frame takes an object of its block that need not be enlarged, the least used first.

    """
    rng = np.random.default_rng((settings.seed, 1))
    wanted = round(settings.object_share * len(groups))
    if not wanted:
        return {}
    blocks = list(dict.fromkeys(groups))
    sources = list(dict.fromkeys(source.group for source in objects))
    if len(sources) < len(blocks):
        raise ValueError(
            f'an overlay set needs a source image for each of its {len(blocks)} sequence blocks, '
            f'got {len(sources)}. Add objects or take longer blocks.'
        )
    chosen = _spread(groups, blocks, wanted, rng)
    owner = {
        sources[source]: blocks[place % len(blocks)]
        for place, source in enumerate(rng.permutation(len(sources)))
    }
    even = (rng.permutation(wanted) + 0.5) / wanted
    shares = settings.area_min * (settings.area_max / settings.area_min) ** even
    used: Counter[str] = Counter()
    plan = {}
    for index, share in zip(chosen, shares.tolist(), strict=True):
        pool = [source for source in objects if owner[source.group] == groups[index]]
        size = frame_sizes[index]
        pixels = share * size[0] * size[1]
        scales = {source.name: _scale(source, pixels, size) for source in pool}
        enough = [
            source for source in pool if scales[source.name] ** 2 * source.area >= 0.999 * pixels
        ]
        if enough:
            fewest = min(used[source.name] for source in enough)
            enough = [source for source in enough if used[source.name] == fewest]
            source = enough[int(rng.integers(len(enough)))]
        else:  # the block has none so large: its largest, as large as it is
            source = max(pool, key=lambda one: scales[one.name] ** 2 * one.area)
        used[source.name] += 1
        bottom, left, mirror = rng.random(3).tolist()
        plan[index] = Placement(source, scales[source.name], bottom, left, mirror < 0.5)
    return plan


def plan_controls(
    free: Sequence[int],
    controls: Sequence[tuple[ObjectSource, int]],
    settings: OverlaySettings,
) -> dict[int, tuple[ObjectSource, int]]:
    """
    Return the in-distribution object of each chosen frame, and its class.

    Returns
    -------
    dict of int to (ObjectSource, int)
        By index of the frame; classes in turn, each object at most once as long as they last.

    """
    rng = np.random.default_rng((settings.seed, 2))
    wanted = round(settings.control_share * len(free))
    if not wanted or not controls:
        return {}
    by_class: dict[int, list[ObjectSource]] = {}
    for place in rng.permutation(len(controls)):
        source, train_id = controls[place]
        by_class.setdefault(train_id, []).append(source)
    classes = sorted(by_class)
    frames = rng.permutation(np.asarray(free))[:wanted]
    plan = {}
    for number, index in enumerate(frames.tolist()):
        train_id = classes[number % len(classes)]
        pool = by_class[train_id]
        plan[index] = pool[(number // len(classes)) % len(pool)], train_id
    return plan


def find_corner(
    placement: Placement, box: tuple[int, int], frame_size: tuple[int, int]
) -> tuple[int, int]:
    """Return the upper left pixel of a placed object."""
    lowest, highest = SKY if placement.source.category in FLYING else GROUND
    height, width = frame_size
    bottom = height * (lowest + placement.bottom * (highest - lowest))
    top = min(max(round(bottom) - box[0], 0), height - box[0])
    return top, round(placement.left * (width - box[1]))


def _scale(source: ObjectSource, pixels: float, frame_size: tuple[int, int]) -> float:
    """Scale an object to a number of pixels, but never up and never beyond MAX_SIDE."""
    rows, columns = source.box
    largest = min(MAX_SIDE * frame_size[0] / rows, MAX_SIDE * frame_size[1] / columns)
    return min((pixels / source.area) ** 0.5, largest, 1.0)


def _spread(
    groups: Sequence[str], blocks: Sequence[str], wanted: int, rng: np.random.Generator
) -> list[int]:
    """Choose frames so that every block gets its share, the rest by lot."""
    members = {
        block: rng.permutation([i for i, group in enumerate(groups) if group == block]).tolist()
        for block in blocks
    }
    ranked = sorted(
        ((place + rng.random()) / len(frames), frame)
        for frames in members.values()
        for place, frame in enumerate(frames)
    )
    return sorted(frame for _, frame in ranked[:wanted])
