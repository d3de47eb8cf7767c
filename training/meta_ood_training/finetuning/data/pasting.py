"""
OoD objects onto street crops, for training only.

The overlay test set blends by other means (`overlay`): a network that has learnt what this file
leaves at an object's border gains nothing there.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
from meta_ood_training.datasets.objects import CutOut
from meta_ood_training.datasets.sample import OOD, Sample
from meta_ood_training.finetuning.data.augmentation import resize, to_uint8
import numpy as np

ROAD = 0
"""Train id of road, in Cityscapes and in IDD-Lite's coarse labels alike."""
HEIGHT_OVER_DEPTH = (0.08, 1.2)
"""Height of an object over the rows between its foot and the horizon: its height in metres over
that of the camera."""


@dataclass(frozen=True)
class PasteSettings:
    """
    How an object is placed and blended.

    Attributes
    ----------
    area_min, area_max : float
        Bounds of the object's log-uniform share of the image's pixels.
    max_upscale : float
        Largest magnification of the source object: a blown-up object gives itself away.
    top : float
        Uppermost place of the object's lower edge, as a share of the image height; 0.4 keeps
        objects on or near the ground, 0 allows the sky.
    on_road_probability : float
        Of standing on a pixel labelled road (train id 0), at a size that fits its row: the
        object's height is 0.08 to 1.2 times what lies between its foot and the road's far end,
        as of things of 0.1 to 1.5 m before a camera at 1.3 m. Else it lies anywhere.
    flip_probability : float
        Of mirroring the object left and right, in [0, 1].
    rotation_max : float
        Largest turn to either side [deg].
    smooth_border : bool
        Blends the outermost pixels of the object with what lies behind.
    adapt_brightness : bool
        Moves the object's mean brightness toward that of the pixels it covers, by a random share.
    adapt_colour : bool
        Moves mean and spread of the object's colours (a, b of CIE Lab) toward those of the
        image, by a random share.
    adapt_sharpness : bool
        Blurs the object by a random sigma up to 1.2 px and adds noise of up to 6 grey levels.

    """

    area_min: float = 0.002
    area_max: float = 0.15
    max_upscale: float = 1.5
    top: float = 0.4
    on_road_probability: float = 0.0
    flip_probability: float = 0.5
    rotation_max: float = 15.0
    smooth_border: bool = True
    adapt_brightness: bool = True
    adapt_colour: bool = True
    adapt_sharpness: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.area_min <= self.area_max < 1:
            raise ValueError(
                f'area_min and area_max must satisfy 0 < min <= max < 1, got {self.area_min} and '
                f'{self.area_max}. They are shares of the image, not pixels.'
            )
        if not 0 <= self.top <= 1:
            raise ValueError(f'top must lie in [0, 1], got {self.top}. It is a share of height.')
        if self.max_upscale <= 0:
            raise ValueError(f'max_upscale must be positive, got {self.max_upscale}.')
        for name in ('flip_probability', 'on_road_probability'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {getattr(self, name)}.')


class Foot(NamedTuple):
    """Lowest row and middle column of an object [px], and its share of the image's pixels."""

    row: int
    column: int
    share: float


def paste_object(
    sample: Sample,
    cut_out: CutOut,
    settings: PasteSettings,
    rng: np.random.Generator,
    *,
    value: int = OOD,
    foot: Foot | None = None,
) -> Sample:
    """
    Return a sample with an object on it.

    Parameters
    ----------
    value : int
        Target value of the object's pixels: OOD, or a class id for an in-distribution object
        that teaches the network not to fire at borders.
    foot : Foot or None
        Where it stands and how large it is; None draws both.

    """
    height, width = sample.target.shape
    if foot is None:
        foot = draw_foot(sample.target, settings, rng)
    share = foot.share if foot else None
    pixels, alpha = _transform(cut_out, sample.target.shape, settings, rng, share=share)
    rows, columns = alpha.shape
    if foot:
        top, left = foot.row - rows, foot.column - columns // 2
    else:
        # The lower edge may not lie above `top`; up to a fifth of the object leaves the image.
        lowest = max(settings.top * height, min(rows, 0.8 * height))
        top = round(rng.uniform(lowest, height + 0.2 * rows)) - rows
        left = round(rng.uniform(-0.2 * columns, width - 0.8 * columns))
    if not (-rows < top < height and -columns < left < width):
        return sample
    target_rows = slice(max(top, 0), min(top + rows, height))
    target_columns = slice(max(left, 0), min(left + columns, width))
    window = target_rows, target_columns
    source = (
        slice(target_rows.start - top, target_rows.stop - top),
        slice(target_columns.start - left, target_columns.stop - left),
    )
    pixels, alpha = pixels[source], alpha[source]
    solid = alpha >= 0.5
    if not solid.any():
        return sample
    image, target = sample.image.copy(), sample.target.copy()
    pixels = _adapt(pixels, solid, image, window, settings, rng)
    if settings.smooth_border:
        sigma = rng.uniform(0.5, 2.0)
        # Outside the cut-out there is nothing to blend with, so the mask may only shrink.
        alpha = np.minimum(alpha, cv2.GaussianBlur(alpha, (0, 0), sigma))
        solid = alpha >= 0.5
    weight = alpha[..., None]
    image[window] = to_uint8(weight * pixels + (1 - weight) * image[window])
    target[window][solid] = value
    return Sample(image, target, sample.name, sample.group)


def draw_foot(
    target: np.ndarray, settings: PasteSettings, rng: np.random.Generator
) -> Foot | None:
    """Return a place on the road, or None by chance and where there is no road."""
    # Without the chance nothing is drawn, and earlier configurations keep their samples.
    if settings.on_road_probability and rng.random() < settings.on_road_probability:
        return _find_foot(target, settings, rng)
    return None


def draw_share(settings: PasteSettings, rng: np.random.Generator) -> float:
    """Return a share of the image's pixels, log-uniform between the bounds."""
    return float(np.exp(rng.uniform(np.log(settings.area_min), np.log(settings.area_max))))


def _find_foot(
    target: np.ndarray, settings: PasteSettings, rng: np.random.Generator
) -> Foot | None:
    """Return where on the road an object stands and its share of the image, if there is road."""
    rows, columns = np.nonzero(target == ROAD)
    if not len(rows):
        return None
    horizon = int(rows.min())
    # A row is as likely as another, so that far places are not rare for being few pixels.
    row = int(rng.integers(horizon, int(rows.max()) + 1))
    nearest = np.abs(rows - row)
    at_row = np.flatnonzero(nearest == nearest.min())
    place = at_row[int(rng.integers(len(at_row)))]
    tall = (rows[place] - horizon + 2) * np.exp(rng.uniform(*np.log(HEIGHT_OVER_DEPTH)))
    share = float(np.clip(tall**2 / target.size, settings.area_min, settings.area_max))
    return Foot(int(rows[place]) + 1, int(columns[place]), share)


def _transform(
    cut_out: CutOut,
    size: tuple[int, ...],
    settings: PasteSettings,
    rng: np.random.Generator,
    *,
    share: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scale, turn and mirror an object: (h, w, 3) float32 pixels and (h, w) float32 alpha."""
    if share is None:
        share = draw_share(settings, rng)
    scale = np.sqrt(share * size[0] * size[1] / cut_out.mask.sum())
    largest = min(size[0] / cut_out.mask.shape[0], size[1] / cut_out.mask.shape[1])
    scale = min(scale, settings.max_upscale, largest)
    rows, columns = (max(round(side * scale), 2) for side in cut_out.mask.shape)
    pixels: np.ndarray = resize(cut_out.image, (rows, columns)).astype(np.float32)
    alpha: np.ndarray = resize(cut_out.mask.astype(np.float32), (rows, columns))
    if rng.random() < settings.flip_probability:
        pixels, alpha = pixels[:, ::-1].copy(), alpha[:, ::-1].copy()
    degrees = rng.uniform(-settings.rotation_max, settings.rotation_max)
    if degrees:
        matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1)
        cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
        wide = int(np.ceil(columns * cosine + rows * sine))
        tall = int(np.ceil(columns * sine + rows * cosine))
        matrix[:, 2] += (wide - columns) / 2, (tall - rows) / 2
        pixels = cv2.warpAffine(pixels, matrix, (wide, tall), borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(alpha, matrix, (wide, tall))
    return pixels, alpha


def _adapt(
    pixels: np.ndarray,
    solid: np.ndarray,
    image: np.ndarray,
    window: tuple[slice, slice],
    settings: PasteSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Bring light and colour of an object closer to where it goes; float32 0..255."""
    shares = rng.random(2)
    sigma, level = rng.uniform(0, 1.2), rng.uniform(0, 6)
    if settings.adapt_brightness or settings.adapt_colour:
        own = cv2.cvtColor(np.clip(pixels, 0, 255) / 255, cv2.COLOR_RGB2Lab)
        if settings.adapt_brightness:
            covered = cv2.cvtColor(image[window].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
            wish = covered[..., 0][solid].mean() - own[..., 0][solid].mean()
            own[..., 0] += shares[0] * wish
        if settings.adapt_colour:
            # every fourth row and column tell mean and spread, at a sixteenth of the cost
            thinned = np.ascontiguousarray(image[::4, ::4]).astype(np.float32) / 255
            around = cv2.cvtColor(thinned, cv2.COLOR_RGB2Lab)
            for channel in (1, 2):
                mean, spread = own[..., channel][solid].mean(), own[..., channel][solid].std()
                to_mean, to_spread = around[..., channel].mean(), around[..., channel].std()
                factor = 1 + shares[1] * (min(to_spread / max(spread, 1.0), 1.5) - 1)
                shift = mean + shares[1] * (to_mean - mean)
                own[..., channel] = (own[..., channel] - mean) * factor + shift
        own[..., 0] = np.clip(own[..., 0], 0, 100)
        pixels = cv2.cvtColor(own, cv2.COLOR_Lab2RGB) * 255
    if settings.adapt_sharpness:
        if sigma > 0.3:
            pixels = cv2.GaussianBlur(pixels, (0, 0), sigma)
        pixels = pixels + rng.normal(0, level, pixels.shape).astype(np.float32)
    return np.clip(pixels, 0, 255)
