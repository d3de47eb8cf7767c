"""Light, sky and air of a scene, and what a camera makes of them."""

from dataclasses import dataclass

import cv2
from meta_ood_ros.scenes.camera import Camera
from meta_ood_ros.scenes.canvas import Canvas
from meta_ood_ros.scenes.noise import noise
import numpy as np

SKY = 10


@dataclass(frozen=True)
class Weather:
    """
    One kind of day.

    Attributes
    ----------
    zenith, horizon : tuple of float
        Colour of the sky above and at the horizon, 0..255.
    haze_range : float
        Distance at which 63 % of the light comes from the air [m].

    """

    sun: float
    sunshine: float
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: float
    haze_range: float
    seed: int


def random_weather(rng: np.random.Generator) -> Weather:
    """Return a day: half of them overcast, as in most street recordings."""
    overcast = rng.random() < 0.5
    sun = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0))
    if overcast:
        level = rng.uniform(225, 300)
        horizon = np.array([level, level, level * 1.01], np.float32)
        zenith = horizon * np.array([0.93, 0.95, 0.97], np.float32) * rng.uniform(0.85, 1.02)
        sunshine, clouds = rng.uniform(0.0, 0.25), rng.uniform(0.2, 0.9)
    else:
        horizon = np.array([205, 222, 238], np.float32) * rng.uniform(0.88, 1.05)
        zenith = np.array([96, 148, 212], np.float32) * rng.uniform(0.75, 1.15)
        sunshine, clouds = rng.uniform(0.4, 1.0), rng.uniform(0.0, 0.6)
    return Weather(
        sun,
        sunshine,
        tuple(zenith.tolist()),
        tuple(horizon.tolist()),
        clouds,
        float(np.exp(rng.uniform(np.log(120), np.log(900)))),
        int(rng.integers(2**31)),
    )


def paint_sky(canvas: Canvas, weather: Weather) -> None:
    """Fill the whole picture with sky; the ground and everything else comes on top."""
    height, width = canvas.classes.shape
    reach = max(canvas.camera.horizon, 1.0)
    share = np.clip(np.arange(height, dtype=np.float32) / reach, 0, 1)[:, None, None] ** 1.4
    sky = (
        np.array(weather.zenith, np.float32) * (1 - share)
        + np.array(weather.horizon, np.float32) * share
    )
    canvas.image[:] = sky
    rng = np.random.default_rng(weather.seed)
    rows = min(int(reach) + 1, height)
    field = noise(rng, 'cloud', (rows, width), width / 320)
    field = np.clip(field * 0.55 + 1.6 * (weather.clouds - 0.5), 0, 1)
    white = np.array([250, 250, 252], np.float32) * np.float32(0.92 + 0.08 * weather.sunshine)
    cloud = white * (0.94 + 0.06 * field)[..., None]
    canvas.image[:rows] += (cloud - canvas.image[:rows]) * (0.75 * field)[..., None]
    canvas.classes[:] = SKY


@dataclass(frozen=True)
class Lens:
    """
    What the camera does to the light.

    Attributes
    ----------
    blur : float
        Standard deviation of the optical blur at 640 px width [px].
    noise : float
        Standard deviation of the sensor noise at mid grey, 0..255.

    """

    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    saturation: float = 1.0
    blur: float = 0.4
    noise: float = 2.0
    vignette: float = 0.1
    jpeg_quality: int = 92


def random_lens(rng: np.random.Generator) -> Lens:
    """Return the camera of a scene."""
    warmth = rng.normal(0, 0.05)
    return Lens(
        exposure=float(np.exp(rng.normal(-0.02, 0.16))),
        white_balance=(float(np.exp(warmth)), float(np.exp(rng.normal(0, 0.015))),
                       float(np.exp(-warmth))),
        contrast=float(rng.uniform(0.85, 1.3)),
        saturation=float(rng.uniform(0.55, 1.15)),
        blur=float(rng.uniform(0.25, 0.9)),
        noise=float(np.exp(rng.uniform(np.log(0.8), np.log(6)))),
        vignette=float(rng.uniform(0.0, 0.3)),
        jpeg_quality=int(rng.integers(60, 98)) if rng.random() < 0.8 else 0,
    )  # fmt: skip


def develop(image: np.ndarray, camera: Camera, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    """
    Turn painted light into a photograph.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        0..255; overwritten.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.

    """
    height, width = camera.size
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    # Cameras meter: most of the way to mid grey, by what is on the ground.
    metered = float(np.minimum(grey, 200)[height // 2 :: 4, ::4].mean())
    exposure = lens.exposure * (108 / max(metered, 20)) ** 0.8
    gain = np.array(lens.white_balance, np.float32) * np.float32(exposure)
    image -= grey[..., None]
    image *= np.float32(lens.saturation)
    image += grey[..., None]
    if lens.vignette:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        image *= (1 - lens.vignette * 0.5 * (x * x + y * y))[..., None]
    image *= gain * np.float32(lens.contrast)
    image += np.float32(100 * (1 - lens.contrast))
    # Highlights roll off instead of clipping, as film and video curves do.
    np.clip(image, 0, 500, out=image)
    high = image > 200
    image[high] = 200 + 55 * (1 - np.exp(-(image[high] - 200) / 55))
    sigma = lens.blur * width / 640
    if sigma > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if lens.noise:
        shot = np.sqrt(np.clip(image, 4, 255) / 128) * np.float32(lens.noise)
        image = image + shot * rng.standard_normal(image.shape, dtype=np.float32)
    photograph = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if lens.jpeg_quality:
        quality = [cv2.IMWRITE_JPEG_QUALITY, lens.jpeg_quality]
        _, code = cv2.imencode('.jpg', photograph[..., ::-1], quality)
        decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded a line above
        photograph = np.ascontiguousarray(decoded[..., ::-1])
    return photograph
