"""Camera image (H, W, 3) uint8 RGB -> network input (1, 3, h0, w0) float."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

#: Mean and standard deviation of ImageNet, of RGB values in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


#: An image is not enlarged beyond as many pixels as it takes a usual camera to fill a 4K display.
MAX_ENLARGED_PIXELS = 1 << 23


def to_work_size(image_size: tuple[int, int], *, short_side: int, stride: int) -> tuple[int, int]:
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

    Returns
    -------
    (int, int)
        Height and width of the grid, in pixels.

    Raises
    ------
    ValueError
        No pixel, or an image so long and narrow that it would be enlarged beyond all memory.

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
    if scale > 1 and size[0] * size[1] > MAX_ENLARGED_PIXELS:
        raise ValueError(
            f'image must be enlarged to at most {MAX_ENLARGED_PIXELS} pixels, got {height} x '
            f'{width}, which a short side of {short_side} makes {size[0]} x {size[1]}. '
            'Check the camera, or choose a smaller work_short_side.'
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
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f'image must have shape (H, W, 3) and type uint8, got {image.shape} {image.dtype}. '
            'Convert it to RGB bytes first.'
        )
    if 0 in image.shape:
        raise ValueError(
            f'image must have at least one pixel, got shape {image.shape}. Check the camera.'
        )


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


def to_work_mask(
    ignore_mask: np.ndarray | None, image_size: tuple[int, int], work_size: tuple[int, int]
) -> np.ndarray | None:
    """Return the mask on the work grid: every cell that holds a pixel of it; None stays None."""
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
