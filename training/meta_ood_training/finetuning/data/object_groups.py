"""
Small OoD objects close together: stones of a fall, cones of a site.

A network that has only seen single ones on the road fills what lies between them.
"""

from collections.abc import Sequence

from meta_ood_training.datasets.objects import CutOut
from meta_ood_training.datasets.sample import Sample
from meta_ood_training.finetuning.data.pasting import (
    draw_foot,
    draw_share,
    Foot,
    paste_object,
    PasteSettings,
)
import numpy as np

GROUP_AREA_MAX = 0.004
"""Of the image: larger things beside each other are told apart without being taught."""
GROUP_SIZES = (3, 8)
GROUP_GAPS = (0.2, 2.0)
"""Between the things of a group, in their own widths."""
_GROUP_FLATTENING = 0.5
"""What lies on the ground is closer together from top to bottom than from left to right."""
_LOG_SPREAD = 0.7
"""Areas within a group are those of its middle times exp(-0.7) to exp(0.7)."""
_PLACING_TRIES = 20


def paste_group(
    sample: Sample,
    cut_outs: Sequence[CutOut],
    settings: PasteSettings,
    rng: np.random.Generator,
) -> Sample:
    """
    Return a sample with small OoD objects close together, and what lies between them as it was.

    Parameters
    ----------
    cut_outs : sequence of CutOut
        One or more; each thing of the group shows one of them: few make them alike, as cones are.
    settings : PasteSettings
        Of each; the group's middle stands where a single object would.

    """
    height, width = sample.target.shape
    middle = draw_foot(sample.target, settings, rng)
    if middle is None:
        row = int(rng.uniform(settings.top * height, height))
        middle = Foot(row, int(rng.uniform(0, width)), draw_share(settings, rng))
    share = min(middle.share, GROUP_AREA_MAX)
    side = np.sqrt(share * sample.target.size)
    gap = rng.uniform(*GROUP_GAPS)
    count = int(rng.integers(GROUP_SIZES[0], GROUP_SIZES[1] + 1))
    for down, right in _scatter(count, rng):
        row = middle.row + round(down * _GROUP_FLATTENING * (1 + gap) * side)
        column = middle.column + round(right * (1 + gap) * side)
        foot = Foot(row, column, share * float(np.exp(rng.uniform(-_LOG_SPREAD, _LOG_SPREAD))))
        cut_out = cut_outs[int(rng.integers(len(cut_outs)))]
        sample = paste_object(sample, cut_out, settings, rng, foot=foot)
    return sample


def _scatter(count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return count places or fewer, no two closer than 1, the farthest up first."""
    places: list[tuple[float, float]] = []
    for _ in range(count * _PLACING_TRIES):
        down, right = rng.normal(0, np.sqrt(count) / 2, 2)
        if all(np.hypot(down - a, right - b) >= 1 for a, b in places):
            places.append((float(down), float(right)))
        if len(places) == count:
            break
    return sorted(places)
