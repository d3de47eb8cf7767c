"""Sample -> square training crop: scale, crop, flip and light, all from one random generator."""

from dataclasses import dataclass

import cv2
from meta_ood_training.datasets.sample import IGNORED, Sample
import numpy as np


@dataclass(frozen=True)
class AugmentationSettings:
    """
    What happens to a sample on its way into a batch; the defaults are the paper's.

    Attributes
    ----------
    crop : int
        Side of the square crop [px]. 480 for Cityscapes; CamVid's 480x360 frames want <= 352.
    scale_min, scale_max : float
        Bounds of the log-uniform scale factor; 1 and 1 is no jitter. An image whose shorter
        side would be below `crop` is scaled up to it, aspect ratio kept.
    flip_probability : float
        Of mirroring left and right, in [0, 1].
    brightness, contrast, saturation : float
        Half width of a factor around 1, such as 0.4 for 0.6..1.4.
    hue : float
        Half width of the hue shift as a share of the circle, in [0, 0.5].
    blur_probability, noise_probability, jpeg_probability : float
        Of blurring, of adding noise, of re-encoding as JPEG, each in [0, 1].
    blur_max : float
        Largest sigma of the Gaussian blur [px], drawn from 0.3 on.
    noise_max : float
        Largest standard deviation of the Gaussian noise [grey levels], drawn from 0 on.
    jpeg_min : int
        Lowest JPEG quality of re-encoding, 1..100; drawn up to 95.
    crop_attempts : int
        Crops drawn at most until one holds a pixel that is not ignored.

    """

    crop: int = 480
    scale_min: float = 1.0
    scale_max: float = 1.0
    flip_probability: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur_probability: float = 0.0
    blur_max: float = 1.5
    noise_probability: float = 0.0
    noise_max: float = 8.0
    jpeg_probability: float = 0.0
    jpeg_min: int = 40
    crop_attempts: int = 1

    def __post_init__(self) -> None:
        if self.crop < 1:
            raise ValueError(f'crop must be a positive number of pixels, got {self.crop}.')
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError(
                f'scale_min and scale_max must satisfy 0 < min <= max, got {self.scale_min} and '
                f'{self.scale_max}. 1 and 1 is no scale jitter.'
            )
        for name in ('flip', 'blur', 'noise', 'jpeg'):
            value = getattr(self, f'{name}_probability')
            if not 0 <= value <= 1:
                raise ValueError(f'{name}_probability must lie in [0, 1], got {value}.')
        for name in ('brightness', 'contrast', 'saturation'):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(
                    f'{name} must lie in [0, 1), got {value}. It is the half width of a factor.'
                )
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f'hue must lie in [0, 0.5], got {self.hue}. 0.5 is the full circle.')
        if not 1 <= self.jpeg_min <= 95:
            raise ValueError(f'jpeg_min must lie in 1..95, got {self.jpeg_min}.')
        if self.crop_attempts < 1:
            raise ValueError(f'crop_attempts must be at least 1, got {self.crop_attempts}.')


def sample_rng(seed: int, epoch: int, index: int, purpose: int = 0) -> np.random.Generator:
    """
    Return the random generator of one sample in one epoch.

    Parameters
    ----------
    seed, epoch, index : int
        Non-negative. Nothing else decides what happens to a sample, so a run that resumes in
        the middle of an epoch, with any number of workers, sees the same pixels.

    """
    return np.random.default_rng((seed, epoch, index, purpose))


def crop_sample(
    sample: Sample, settings: AugmentationSettings, rng: np.random.Generator
) -> Sample:
    """Return a randomly scaled, cropped and mirrored square of a sample."""
    return fit_window(cut_window(sample, settings, rng), settings.crop)


def cut_window(
    sample: Sample,
    settings: AugmentationSettings,
    rng: np.random.Generator,
    *,
    short_side: int = 0,
) -> Sample:
    """
    Return the part of a sample that becomes a crop, in the sample's own pixels.

    Parameters
    ----------
    short_side : int
        The scale factor counts from the image scaled to this short side [px]; 0 is its own.

    Returns
    -------
    Sample
        Square, mirrored or not. An object pasted here shares the resolution of what surrounds
        it, which `fit_window` then changes for both.

    """
    height, width = sample.target.shape
    base = short_side / min(height, width) if short_side else 1.0
    for _ in range(settings.crop_attempts):
        scale = np.exp(rng.uniform(np.log(settings.scale_min), np.log(settings.scale_max)))
        # The crop is cut before it is resized: the same pixels without resizing the whole image.
        box = min(round(settings.crop / (scale * base)), height, width)
        box = max(box, 1)
        top = int(rng.integers(height - box + 1))
        left = int(rng.integers(width - box + 1))
        window = slice(top, top + box), slice(left, left + box)
        if np.any(sample.target[window] != IGNORED):
            break
    image, target = sample.image[window], sample.target[window]
    if rng.random() < settings.flip_probability:
        image, target = image[:, ::-1], target[:, ::-1]
    return Sample(
        np.ascontiguousarray(image), np.ascontiguousarray(target), sample.name, sample.group
    )


def fit_window(sample: Sample, side: int) -> Sample:
    """Return a square sample at the size of a crop."""
    if sample.target.shape == (side, side):
        return sample
    image = resize(sample.image, (side, side))
    target = cv2.resize(sample.target, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    return Sample(image, target, sample.name, sample.group)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Return an image at another size, without aliasing.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3) or (H, W), uint8 or float32
        Any image.

    Returns
    -------
    ndarray of that size, same dtype

    """
    if image.shape[:2] == tuple(size):
        return image
    smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
    rule = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=rule)


def jitter_light(
    image: np.ndarray, settings: AugmentationSettings, rng: np.random.Generator
) -> np.ndarray:
    """
    Return an image under other light, through another camera.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB.

    """
    # All numbers are drawn before any is used, so that switching one step off leaves the others
    # as they were.
    gain, stretch, colour = (1 + rng.uniform(-1, 1, 3) * _half_widths(settings)).tolist()
    turn = rng.uniform(-settings.hue, settings.hue)
    chances = rng.random(3)
    sigma = rng.uniform(0.3, max(settings.blur_max, 0.3))
    noise_level = rng.uniform(0, settings.noise_max)
    quality = int(rng.integers(settings.jpeg_min, 96))
    noise_seed = int(rng.integers(2**32))

    if (gain, stretch, colour) != (1.0, 1.0, 1.0):
        pixels = image.astype(np.float32) * gain
        mean = float(pixels.mean())
        pixels = mean + (pixels - mean) * stretch
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
        image = to_uint8(grey + (pixels - grey) * colour)
    if turn:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        # OpenCV's 8-bit hue runs over 0..179.
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turn * 180)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if chances[0] < settings.blur_probability:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if chances[1] < settings.noise_probability:
        noise = np.random.default_rng(noise_seed).normal(0, noise_level, image.shape)
        image = to_uint8(image + noise)
    if chances[2] < settings.jpeg_probability:
        image = recompress(image, quality)
    return image


def recompress(image: np.ndarray, quality: int) -> np.ndarray:
    """
    Return an image after one JPEG round trip.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB.

    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """
    Return grey levels rounded and clipped to 0..255.

    Parameters
    ----------
    image : ndarray, float
        Any shape.

    Returns
    -------
    ndarray of uint8, same shape

    """
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _half_widths(settings: AugmentationSettings) -> np.ndarray:
    return np.array([settings.brightness, settings.contrast, settings.saturation])
