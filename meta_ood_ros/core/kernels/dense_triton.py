"""
Low-resolution logits -> semantic, entropy and max_probability at full size, on a GPU.

One kernel: a program holds the logits of all classes for some pixels of a row in registers, so
that nothing but the low-resolution logits is read and nothing but the three maps is written.
Imported only where Triton can be (it comes with torch's CUDA and ROCm builds).
"""

import math

from meta_ood_ros.core.kernels.interpolation import find_taps
import torch
from torch import Tensor
import triton
import triton.language as tl

# Numbers a program holds: 4 warps of 32 threads with 32 registers of values each.
PROGRAM_NUMBERS = 4096


@triton.jit
def _predict(  # type: ignore[no-untyped-def]
    logits, row_low, row_high, row_weight, col_low, col_high, col_weight,
    semantic, entropy, max_probability, num_classes, plane, in_width, width, per_log_c,
    CLASSES: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    y = tl.program_id(1)
    x = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.arange(0, CLASSES)
    in_image = x < width
    known = (c < num_classes)[:, None]
    left = tl.load(col_low + x, mask=in_image, other=0)[None, :]
    right = tl.load(col_high + x, mask=in_image, other=0)[None, :]
    column_share = tl.load(col_weight + x, mask=in_image, other=0.0)[None, :]
    row_share = tl.load(row_weight + y)
    upper = logits + c[:, None] * plane + tl.load(row_low + y) * in_width
    lower = logits + c[:, None] * plane + tl.load(row_high + y) * in_width
    a = tl.load(upper + left, mask=known, other=0.0)
    a += column_share * (tl.load(upper + right, mask=known, other=0.0) - a)
    b = tl.load(lower + left, mask=known, other=0.0)
    b += column_share * (tl.load(lower + right, mask=known, other=0.0) - b)
    value = tl.where(known, a + row_share * (b - a), float('-inf'))
    best = tl.max(value, axis=0)
    winner = tl.argmax(value, axis=0, tie_break_left=True)
    distance = value - best[None, :]
    e = tl.exp(distance)
    total = tl.sum(e, axis=0)
    # e^d d is 0 for d -> -inf, which only a clamped d gives without 0 * inf
    weighted = tl.sum(e * tl.where(distance < -1e4, -1e4, distance), axis=0)
    h = (tl.log(total) - weighted / total) * per_log_c
    h = tl.where(h < 0.0, 0.0, tl.where(h > 1.0, 1.0, h))  # NaN stays NaN
    out = y * width + x
    tl.store(semantic + out, winner.to(tl.uint8), mask=in_image)
    tl.store(entropy + out, h, mask=in_image)
    tl.store(max_probability + out, 1.0 / total, mask=in_image)


def predict_with_triton(
    logits: Tensor, size: tuple[int, int], *, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return semantic, entropy and max_probability.

    Parameters
    ----------
    logits : Tensor of shape (C, h, w), float32, contiguous, on a GPU
        Class scores before the softmax; 2 <= C <= 255.

    Returns
    -------
    semantic : Tensor of shape (H, W), uint8, on the device of `logits`
    entropy, max_probability : Tensor of shape (H, W), float32 in [0, 1] or NaN

    """
    num_classes, in_height, in_width = logits.shape
    height, width = size
    device = logits.device
    taps = []
    for tap in (
        find_taps(in_height, height, align_corners=align_corners),
        find_taps(in_width, width, align_corners=align_corners),
    ):
        taps += [torch.tensor(index, device=device) for index in (tap.low, tap.high)]
        taps.append(torch.tensor(tap.weight, device=device, dtype=torch.float32))
    semantic = torch.empty(size, dtype=torch.uint8, device=device)
    entropy = torch.empty(size, dtype=torch.float32, device=device)
    max_probability = torch.empty(size, dtype=torch.float32, device=device)
    classes = triton.next_power_of_2(num_classes)
    pixels = max(16, min(256, PROGRAM_NUMBERS // classes))
    # Triton launches on the current device, whatever its arguments live on.
    with torch.cuda.device(device):
        _predict[(triton.cdiv(width, pixels), height)](
            logits, *taps, semantic, entropy, max_probability, num_classes, in_height * in_width,
            in_width, width, 1.0 / math.log(num_classes), CLASSES=classes, PIXELS=pixels,
        )  # fmt: skip
    return semantic, entropy, max_probability
