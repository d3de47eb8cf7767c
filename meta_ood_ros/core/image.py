"""Camera image (H, W, 3) uint8 RGB -> network input (1, 3, h0, w0) float."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from meta_ood_ros.core.files.image_file import read_image_file
from meta_ood_ros.core.networks.ood_network import IMAGENET_MEAN, IMAGENET_STD
import numpy as np
import torch

#: What a work grid may have unless told otherwise: 2^20, or an image of 4:1 at the short
#: side asked for, or 4K video where the size received is kept.
_USUAL_PIXELS, _USUAL_ASPECT, _RECEIVED_PIXELS = 1 << 20, 4, 1 << 23


def to_work_size(
    image_size: tuple[int, int],
    *,
    short_side: int,
    stride: int,
    max_pixels: int = 0,
) -> tuple[int, int]:
    """
    Return the grid on which the network sees an image: same aspect, given short side.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the camera image, in pixels.
    short_side : int
        Shorter side of the grid in pixels; 0 keeps the size of the image.
    stride : int
        Both sides are rounded to the nearest multiple of this, at least one.
    max_pixels : int
        The grid may have as many, whether the image grows or shrinks to it; 0 allows 2^20,
        or an image of 4:1 at a larger short side, or 4K video where the size is kept.

    Returns
    -------
    (int, int)
        Height and width of the grid, in pixels.

    Raises
    ------
    ValueError
        No pixel, or a grid of more than `max_pixels`, as of an image that is long and narrow.

    """
    height, width = image_size
    if height < 1 or width < 1:
        raise ValueError(
            f'image must have at least one pixel, got {height} x {width}. Check the camera.'
        )
    scale = short_side / min(height, width) if short_side else 1.0
    size = (
        max(1, round(height * scale / stride)) * stride,
        max(1, round(width * scale / stride)) * stride,
    )
    usual = max(_USUAL_PIXELS, _USUAL_ASPECT * short_side**2) if short_side else _RECEIVED_PIXELS
    most = max_pixels or usual
    if size[0] * size[1] > most:
        raise ValueError(
            f'work grid must have at most {most} pixels, got an image of {height} x '
            f'{width}, which a short side of {short_side} makes {size[0]} x {size[1]}. Check the '
            'camera, choose a smaller work_short_side, or raise max_work_pixels if memory allows.'
        )
    return size


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """
    Return the image at another size: area averages when it shrinks, bilinear when it grows.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        The image itself where nothing changes.

    """
    if image.shape[:2] == tuple(size):
        return image
    # Averaging over the pixels that fall together is what keeps thin obstacles in a smaller image.
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=method)


def check_image(image: np.ndarray) -> None:
    """
    Refuse what is no RGB image.

    Parameters
    ----------
    image : ndarray
        Expected of shape (H, W, 3), uint8, with at least one pixel.

    Raises
    ------
    ValueError
        The image has another shape or type.

    """
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        raise ValueError(_refusal(image))
    if 0 in image.shape:
        raise ValueError(
            f'image must have at least one pixel, got shape {image.shape}. Check the camera.'
        )


def _refusal(image: Any) -> str:
    """Say what was expected of an image, what came, and what to do about that kind."""
    expected = 'image must have shape (H, W, 3) and type uint8, got'
    if not isinstance(image, np.ndarray):
        return (
            f'{expected} {type(image).__name__}. Pass a numpy array of RGB bytes (of a tensor: '
            'tensor.cpu().numpy()), a path or a PIL image.'
        )
    shape = image.shape
    if image.dtype == bool or (image.ndim == 2 and image.dtype == np.uint8):
        advice = 'Make a grey image RGB: cv2.cvtColor(image, cv2.COLOR_GRAY2RGB).'
    elif image.ndim == 4:
        advice = 'It is a batch: call pipeline.batch(list(images)).'
    elif image.ndim == 3 and shape[0] == 3 and shape[2] != 3:
        advice = 'Channels go last: image.transpose(1, 2, 0), in RGB bytes.'
    elif image.dtype.kind == 'f':
        advice = 'Convert it to RGB bytes first: (255 * image).round().astype("uint8") for 0..1.'
    elif image.ndim == 3 and shape[2] == 4:
        advice = 'Leave out the alpha channel: image[..., :3].'
    else:
        advice = 'Convert it to RGB bytes first.'
    return f'{expected} {shape} {image.dtype}. {advice}'


def open_image(image: np.ndarray | str | Path | Any) -> np.ndarray:
    """
    Return an image as RGB bytes, from a file or a PIL image where it is none.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8, or str, Path or PIL image
        An array is returned itself. A file is a JPEG, PNG or other that OpenCV reads; the
        orientation that it states is applied. A PIL image has 8 bits a channel and is taken as
        its pixels lie.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8
        RGB.

    Raises
    ------
    ValueError
        It is something else, or the file is damaged or no picture.
    FileNotFoundError
        There is no such file.

    """
    if isinstance(image, np.ndarray):
        check_image(image)
        return image
    if isinstance(image, (str, Path)):
        return _read_image(Path(image).expanduser())
    if hasattr(image, 'mode') and hasattr(image, 'convert'):  # PIL's, which need not be here
        if image.mode.startswith(('I', 'F')):
            raise ValueError(
                f'a PIL image must have 8 bits a channel, got mode {image.mode!r}. '
                'Scale its values to 0..255 and convert it to RGB first.'
            )
        image = np.asarray(image.convert('RGB'))
    check_image(image)
    return image


def _read_image(path: Path) -> np.ndarray:
    pixels = read_image_file(path, flags=cv2.IMREAD_COLOR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def to_network_input(
    image: np.ndarray,
    size: tuple[int, int] | None = None,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    device: str | torch.device = 'cpu',
) -> torch.Tensor:
    """
    Return the image as the network expects it: scaled, normalized, channels first.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        RGB.
    size : (int, int), optional
        Height and width of the network input; by default those of the image.
    mean, std : sequence of 3 floats
        Of the RGB values in [0, 1] that the network was trained with.
    device : str or torch.device
        The bytes travel there before they become floats: a quarter of the traffic.

    Returns
    -------
    Tensor of shape (1, 3, h0, w0), float32
        (image / 255 - mean) / std.

    Raises
    ------
    ValueError
        The image has another shape or type.

    """
    check_image(image)
    resized = np.ascontiguousarray(resize_image(image, size or image.shape[:2]))
    if not resized.flags.writeable:  # torch shares the memory and warns; a camera buffer is const
        resized = resized.copy()
    # The batch dimension first: added last it would have a stride that no other batch has, for
    # which a compiled network is compiled again.
    x = torch.from_numpy(resized)[None].to(device).permute(0, 3, 1, 2).float()
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], device=x.device).view(1, 3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=x.device)
    return torch.addcmul(shift.view(1, 3, 1, 1), x, scale)


def to_work_grid(
    ignore_mask: np.ndarray | None, image_size: tuple[int, int], work_size: tuple[int, int]
) -> np.ndarray | None:
    """Return the ignore mask on the work grid, True wherever an ignored pixel falls."""
    if ignore_mask is None:
        return None
    if ignore_mask.shape != tuple(image_size) or ignore_mask.dtype != bool:
        raise ValueError(
            f'ignore_mask must have shape {tuple(image_size)} and type bool, '
            f'got {ignore_mask.shape} {ignore_mask.dtype}. Resize it to the image first.'
        )
    size = (work_size[1], work_size[0])
    marked = ignore_mask * np.uint8(255)
    if work_size[0] < image_size[0] or work_size[1] < image_size[1]:
        # Every cell that holds an ignored pixel: none of these may become OoD.
        return cv2.resize(marked, size, interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(marked, size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
