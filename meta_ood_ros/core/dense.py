"""
Low-resolution logits -> full-resolution semantic, entropy and max_probability in one pass.

The network's logits are four to sixteen times smaller than the image; upsampled for all classes
they would be the largest array of the whole robot (159 MB for 19 classes at 1024x2048).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
import logging

from meta_ood_ros.core.kernels.dense_cpu import predict_on_cpu
from meta_ood_ros.core.kernels.dense_torch import predict_in_strips
from meta_ood_ros.core.kernels.host_copy import to_host
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DensePrediction:
    """
    What the network says about every pixel.

    Attributes
    ----------
    semantic : ndarray of shape (H, W), uint8
        Most probable class, 0..C-1; of equally probable ones the lowest.
    entropy : ndarray of shape (H, W), float32 in [0, 1]
        Softmax entropy divided by log C.
    max_probability : ndarray of shape (H, W), float32 in [1/C, 1]
        Probability of the most probable class.

    """

    semantic: NDArray[np.uint8]
    entropy: NDArray[np.float32]
    max_probability: NDArray[np.float32]


def predict_dense(
    logits: Tensor | NDArray[np.floating],
    size: tuple[int, int],
    *,
    align_corners: bool = False,
) -> DensePrediction:
    """
    Return class, entropy and confidence of each pixel of an image of the given size.

    Parameters
    ----------
    logits : Tensor or ndarray of shape (C, h, w), floating point
        Class scores of one image before the softmax, on any device, at the resolution of the
        network's output; 2 <= C <= 255.
    size : (int, int)
        Height and width (H, W) of the result [px]; larger, equal or smaller than (h, w).
    align_corners : bool
        How the logits are upsampled, as in torch.nn.functional.interpolate(mode='bilinear'); the
        network says which (`OodNetwork.align_corners`).

    Returns
    -------
    DensePrediction
        Arrays of shape (H, W) in host memory.

    Raises
    ------
    ValueError
        If the shapes do not fit, or NaN or infinite logits reach a pixel.

    Notes
    -----
    The same as interpolate -> softmax -> entropy and argmax, to 1e-5 of float64 for logits up to
    80 in magnitude, without an array of shape (C, H, W). On the CPU it runs on
    torch.get_num_threads() threads.

    """
    tensor, size = check_logits(logits, size)
    if tensor.device.type == 'cpu':
        semantic, entropy, max_probability, finite = predict_on_cpu(
            tensor.numpy(), size, align_corners=align_corners
        )
    else:
        predict = _find_gpu_path(str(tensor.device))
        maps = predict(tensor, size, align_corners=align_corners)
        finite = bool(maps[1].isfinite().all())
        semantic, entropy, max_probability = (values.numpy() for values in to_host(maps))
    if not finite:
        raise ValueError(
            f'logits must be finite, got NaN or infinity among the {tuple(tensor.shape)} values. '
            'Check the network: damaged weights, or an overflow in half precision.'
        )
    return DensePrediction(semantic, entropy, max_probability)


def check_logits(
    logits: Tensor | NDArray[np.floating], size: tuple[int, int]
) -> tuple[Tensor, tuple[int, int]]:
    """
    Return the logits as a contiguous float32 tensor and the size as two ints, or raise.

    Parameters
    ----------
    logits : Tensor or ndarray of shape (C, h, w), floating point
        Class scores of one image; 2 <= C <= 255.

    Returns
    -------
    Tensor of shape (C, h, w), float32

    """
    if isinstance(logits, np.ndarray):
        # torch warns of read-only memory and refuses other bytes' order and negative strides
        native = logits.dtype.newbyteorder('=')
        logits = np.require(logits, dtype=native, requirements=('C', 'W'))
    tensor = torch.as_tensor(logits).detach()
    if tensor.ndim != 3 or min(tensor.shape) < 1 or tensor.shape[0] < 2:
        raise ValueError(
            f'logits must have shape (C, h, w) with C >= 2, got {tuple(tensor.shape)}. '
            'A batch is split by the caller: pass logits[0].'
        )
    if tensor.shape[0] > 255:
        raise ValueError(
            f'logits must have at most 255 classes, got {tensor.shape[0]}. A semantic image holds '
            'one byte a pixel, and 255 means unlabelled.'
        )
    if not tensor.is_floating_point():
        raise TypeError(
            f'logits must be floating point, got {tensor.dtype}. '
            'Pass the scores that the network gives before argmax.'
        )
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f'size must be (height, width) with both at least 1, got {tuple(size)}. '
            'Pass the size of the image that the logits belong to.'
        )
    return tensor.to(torch.float32).contiguous(), (int(size[0]), int(size[1]))


@cache
def _find_gpu_path(device: str) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Return the fused kernel if it runs on the device, else the path that runs everywhere."""
    if find_spec('triton') is None or not device.startswith('cuda'):
        return predict_in_strips
    try:
        from meta_ood_ros.core.kernels.dense_triton import predict_with_triton

        # compiles, for which Triton needs a C compiler and a GPU that it knows
        predict_with_triton(torch.zeros(2, 2, 2, device=device), (4, 4), align_corners=False)
    except Exception as error:
        logger.warning(
            'The fused GPU kernel does not run on %s (%s); dense prediction takes the slower path '
            'of plain torch. Install a C compiler (apt install gcc).',
            device,
            error,
        )
        return predict_in_strips
    return predict_with_triton
