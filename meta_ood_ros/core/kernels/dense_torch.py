"""
Low-resolution logits -> semantic, entropy and max_probability at full size, on any torch device.

A strip of output rows at a time, so that memory stays bounded whatever the device: the path for
accelerators on which Triton does not run, and a second implementation that runs everywhere.
"""

import math

from meta_ood_ros.core.kernels.strips import upsampled_strips
import torch
from torch import Tensor


def predict_in_strips(
    logits: Tensor, size: tuple[int, int], *, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return semantic, entropy and max_probability, computed in strips of rows.

    Parameters
    ----------
    logits : Tensor of shape (C, h, w), float32
        Class scores before the softmax, on any device; 2 <= C <= 255.

    Returns
    -------
    semantic : Tensor of shape (H, W), uint8, on the device of `logits`
    entropy, max_probability : Tensor of shape (H, W), float32 in [0, 1] or NaN

    """
    num_classes = logits.shape[0]
    device = logits.device
    semantic = torch.empty(size, dtype=torch.uint8, device=device)
    entropy = torch.empty(size, dtype=torch.float32, device=device)
    max_probability = torch.empty(size, dtype=torch.float32, device=device)
    for part, values in upsampled_strips(logits, size, align_corners=align_corners):
        # torch.max does not promise which of equal maxima it names, hence argmax of the mask
        best = values.amax(0)
        semantic[part] = (values == best).to(torch.uint8).argmax(0).to(torch.uint8)
        distance = values - best
        exponential = distance.exp()
        total = exponential.sum(0)
        # e^d d is 0 for d -> -inf, which only a clamped d gives without 0 * inf
        weighted = (exponential * distance.clamp(min=-1e4)).sum(0)
        entropy[part] = ((total.log() - weighted / total) / math.log(num_classes)).clamp(0.0, 1.0)
        max_probability[part] = 1.0 / total
    return semantic, entropy, max_probability
