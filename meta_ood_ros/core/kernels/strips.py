"""Low-resolution maps -> their values at full size, a strip of rows at a time, on any device."""

from collections.abc import Iterator

from meta_ood_ros.core.kernels.interpolation import find_taps
import torch
from torch import Tensor

# float32 numbers of one strip's logits: 64 MB, so that a strip fills a GPU but not its memory.
STRIP_NUMBERS = 1 << 24
# On a CPU 4 MB, which its caches hold: max_logit of 19 x 512 x 912 took 56 ms of CPU time, not 222
# (2026-11-30, two cores of a shared x86-64 machine).
CPU_STRIP_NUMBERS = 1 << 20


def upsampled_strips(
    maps: Tensor, size: tuple[int, int], *, align_corners: bool
) -> Iterator[tuple[slice, Tensor]]:
    """
    Yield strips of maps of (H, W), upsampled bilinearly, from top to bottom.

    Parameters
    ----------
    maps : Tensor of shape (C, h, w), float32
        On any device.

    Yields
    ------
    slice
        The rows.
    Tensor of shape (C, rows, W), float32

    """
    height, width = size
    device = maps.device
    rows = find_taps(maps.shape[1], height, align_corners=align_corners)
    columns = find_taps(maps.shape[2], width, align_corners=align_corners)
    row_low, row_high = (torch.tensor(tap, device=device) for tap in (rows.low, rows.high))
    col_low, col_high = (torch.tensor(tap, device=device) for tap in (columns.low, columns.high))
    row_weight = torch.tensor(rows.weight, device=device, dtype=torch.float32)[:, None]
    col_weight = torch.tensor(columns.weight, device=device, dtype=torch.float32)
    numbers = min(STRIP_NUMBERS, CPU_STRIP_NUMBERS) if device.type == 'cpu' else STRIP_NUMBERS
    strip = max(1, numbers // (maps.shape[0] * width))
    for top in range(0, height, strip):
        part = slice(top, min(top + strip, height))
        upper = maps.index_select(1, row_low[part])
        lower = maps.index_select(1, row_high[part])
        values = torch.lerp(upper, lower, row_weight[part])
        left = values.index_select(2, col_low)
        yield part, torch.lerp(left, values.index_select(2, col_high), col_weight)
