"""
Low-resolution logits -> both terms of the objective and their gradient, on the CPU.

What PyTorch does in some thirty passes over C full-size planes (upsampling, two softmaxes, their
products and all gradients) is done here once for each tile (see `core/kernels/dense_tiles.py`),
while its logits are in the cache. No full-size plane is ever written.
"""

from collections.abc import Sequence
from typing import Any

from meta_ood_ros.core.kernels.dense_tiles import (
    exp,
    find_tile_size,
    interpolate_rows,
    LANES,
    log,
    mix_rows,
    ONE,
    SMALLEST,
    ZERO,
)
from meta_ood_ros.core.kernels.interpolation import find_grid, grid_type
from meta_ood_ros.core.kernels.jit import array, kernel, part
from meta_ood_ros.core.kernels.lanes import load, spread, spread_from, store, sum_of, where_greater
from meta_ood_ros.core.kernels.parallel import run_over_rows
from meta_ood_training.finetuning.data.label_sets import Teaching
from meta_ood_training.finetuning.loop.value_tables import make_tables, ValueTables
from numba import types
import numpy as np
import torch
from torch import Tensor

_F1 = array(types.float32, 1)
_OUT1 = array(types.float32, 1, readonly=False)


_TABLES = types.NamedUniTuple(_F1, 6, ValueTables)


@part
def _softmax(values, num_classes, best, sums):  # type: ignore[no-untyped-def]
    """Turn values, flat (C, LANES), into e^d, their sums into sums; d is the way to the best."""
    total = spread(ZERO)
    smallest = spread(SMALLEST)
    for c in range(num_classes):
        distance = load(values, c * LANES) - best
        distance = where_greater(smallest, distance, smallest, distance)  # NaN stays NaN
        e = exp(distance)
        store(values, c * LANES, e)
        total = total + e
    store(sums, 0, total)


@part
def _interpolate_column(vertical, num_classes, sources, left, right, weight, values):  # type: ignore[no-untyped-def]
    """Fill values, flat (C, LANES), with one column of the tile."""
    for c in range(num_classes):
        start = c * sources * LANES
        value = load(vertical, start + left)
        value = value + weight * (load(vertical, start + right) - value)
        store(values, c * LANES, value)


@part
def _largest(values, num_classes):  # type: ignore[no-untyped-def]
    best = load(values, 0)
    for c in range(1, num_classes):
        value = load(values, c * LANES)
        best = where_greater(value, best, value, best)
    return best


@part
def _sum_up(  # type: ignore[no-untyped-def]
    tables, labels, best, dot, sums, masses, target_sums, valid, scale, target_scale, totals
):
    """Add a column's losses to the totals; set the factors of the gradient's two parts."""
    for r in range(LANES):
        value = labels[r]
        # -sum t log p = sum(t) (log(sum e^d) + best) - sum(t z), all targets t over their sum
        # before they were weighted
        mass = masses[r] / target_sums[r]
        loss = mass * (log(sums[r]) + best[r]) - dot[r] / target_sums[r]
        if valid[r] > ZERO:
            totals[0] += np.float64(tables.is_known[value] * loss)
            totals[1] += np.float64(tables.is_ood[value] * loss)
        weight = tables.weight[value] * valid[r]
        scale[r] = weight * mass / sums[r]
        target_scale[r] = weight / target_sums[r]


@part
def _add_rows(vertical, shape, row, mixed, mix, source, sources, gradient):  # type: ignore[no-untyped-def]
    """Add a tile's gradient, flat (C, sources, LANES), to that of the logits it is mixed from."""
    num_classes, height, width = shape
    for c in range(num_classes):
        for i in range(sources):
            start = (c * height + row) * width + source + i
            value = load(vertical, (c * sources + i) * LANES)
            for k in range(mixed):
                gradient[start + k * width] += sum_of(value * load(mix, k * LANES))


@kernel(
    _F1, grid_type(types.float32), _F1, grid_type(types.float32), types.boolean,
    array(types.uint8, 1), _TABLES, types.UniTuple(types.intp, 5),
    _OUT1, array(types.float64, 1, readonly=False),
)  # fmt: skip
def _find_loss(  # type: ignore[no-untyped-def]
    logits, grid, teacher, teacher_grid, is_taught, target, tables, most, gradient, totals
):
    """Add one image's losses to the totals and the gradient of its weighted loss to gradient."""
    tile_columns, most_rows, most_columns, teacher_rows, teacher_columns = most
    num_classes = grid.shape[0]
    height, width = grid.row_low.size, grid.column_low.size
    mix = np.empty(most_rows * LANES, np.float32)
    teacher_mix = np.empty(teacher_rows * LANES, np.float32)
    vertical = np.empty(num_classes * most_columns * LANES, np.float32)
    vertical_gradient = np.empty(num_classes * most_columns * LANES, np.float32)
    teacher_vertical = np.empty(num_classes * teacher_columns * LANES, np.float32)
    z = np.empty(num_classes * LANES, np.float32)
    p = np.empty(num_classes * LANES, np.float32)
    t = np.zeros(num_classes * LANES, np.float32)
    labels = np.empty(LANES, np.uint8)
    valid = np.empty(LANES, np.float32)
    best, dot = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    sums, target_sums = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    masses, known = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    scale, target_scale = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    one = spread(ONE)
    for top in range(0, height, LANES):
        rows = min(LANES, height - top)
        row = grid.row_low[top]
        mixed = grid.row_high[top + rows - 1] - row + 1
        mix_rows(grid, top, rows, mix)
        for r in range(LANES):
            valid[r] = ONE if r < rows else ZERO
        if is_taught:
            teacher_row = teacher_grid.row_low[top]
            teacher_mixed = teacher_grid.row_high[top + rows - 1] - teacher_row + 1
            mix_rows(teacher_grid, top, rows, teacher_mix)
        for left in range(0, width, tile_columns):
            columns = min(tile_columns, width - left)
            source = grid.column_low[left]
            sources = grid.column_high[left + columns - 1] - source + 1
            interpolate_rows(logits, grid.shape, row, mixed, mix, source, sources, vertical)
            vertical_gradient[:] = ZERO
            if is_taught:
                teacher_source = teacher_grid.column_low[left]
                teacher_sources = teacher_grid.column_high[left + columns - 1] - teacher_source + 1
                interpolate_rows(
                    teacher, teacher_grid.shape, teacher_row, teacher_mixed, teacher_mix,
                    teacher_source, teacher_sources, teacher_vertical,
                )  # fmt: skip
            for x in range(left, left + columns):
                low = (grid.column_low[x] - source) * LANES
                high = (grid.column_high[x] - source) * LANES
                weight = spread_from(grid.column_weight, x)
                _interpolate_column(vertical, num_classes, sources, low, high, weight, z)
                p[:] = z
                highest = _largest(p, num_classes)
                store(best, 0, highest)
                _softmax(p, num_classes, highest, sums)
                if is_taught:
                    _interpolate_column(
                        teacher_vertical, num_classes, teacher_sources,
                        (teacher_grid.column_low[x] - teacher_source) * LANES,
                        (teacher_grid.column_high[x] - teacher_source) * LANES,
                        spread_from(teacher_grid.column_weight, x), t,
                    )  # fmt: skip
                else:
                    t[:] = ZERO
                for r in range(LANES):
                    labels[r] = target[(top + min(r, rows - 1)) * width + x]
                    start = np.intp(labels[r]) * num_classes
                    share = tables.share[labels[r]]
                    known[r] = tables.is_known[labels[r]]
                    for c in range(num_classes):
                        i = c * LANES + r
                        t[i] = share * t[i] + tables.offset[start + c]
                _softmax(t, num_classes, _largest(t, num_classes), target_sums)
                product, mass = spread(ZERO), spread(ZERO)
                for c in range(num_classes):
                    # 1 for OoD pixels, else the weight of the class
                    class_weight = one + load(known, 0) * spread(tables.class_weights[c] - ONE)
                    target_c = load(t, c * LANES) * class_weight
                    store(t, c * LANES, target_c)
                    mass = mass + target_c
                    product = product + target_c * load(z, c * LANES)
                store(dot, 0, product)
                store(masses, 0, mass)
                _sum_up(
                    tables, labels, best, dot, sums, masses, target_sums, valid, scale,
                    target_scale, totals,
                )  # fmt: skip
                for c in range(num_classes):
                    g = load(p, c * LANES) * load(scale, 0) - load(t, c * LANES) * load(
                        target_scale, 0
                    )
                    at_low = c * sources * LANES + low
                    at_high = c * sources * LANES + high
                    near = load(vertical_gradient, at_low) + (one - weight) * g
                    store(vertical_gradient, at_low, near)
                    far = load(vertical_gradient, at_high) + weight * g
                    store(vertical_gradient, at_high, far)
            _add_rows(vertical_gradient, grid.shape, row, mixed, mix, source, sources, gradient)


class FusedTerms(torch.autograd.Function):
    """
    Weighted sum of both terms over all pixels, differentiable, and the two plain sums, (2,).

    Its inputs are the logits (N, C, h, w), the target (N, H, W), `align_corners`, the weights of
    one in-distribution and one OoD pixel in the total, those of the classes (C), and a `Teaching`
    or None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        align_corners: bool,
        weights: tuple[float, float],
        class_weights: Sequence[float],
        teaching: Teaching | None,
    ) -> tuple[Tensor, Tensor]:
        planes = np.ascontiguousarray(logits.detach().numpy())
        size = int(target.shape[1]), int(target.shape[2])
        grid = find_grid(planes.shape[1:], size, 'float32', align_corners=align_corners)
        most = find_tile_size(grid, size, arrays=3)
        if teaching is None:
            taught, taught_grid, taught_most = np.empty((len(planes), 0), np.float32), grid, most
        else:
            taught = np.ascontiguousarray(teaching.logits.detach().numpy())
            taught_grid = find_grid(
                taught.shape[1:], size, 'float32', align_corners=teaching.align_corners
            )
            taught_most = find_tile_size(taught_grid, size, arrays=3)
        columns = min(most[0], taught_most[0])
        gradient = np.zeros_like(planes)
        totals = np.zeros((len(planes), 2))
        labels = np.ascontiguousarray(target.numpy())

        def work(first: int, last: int) -> None:
            for n in range(first, last):
                sets = None if teaching is None else teaching.sets[n]
                tables = make_tables(planes.shape[1], weights, class_weights, sets)
                _find_loss(
                    planes[n].reshape(-1), grid, taught[n].reshape(-1), taught_grid,
                    teaching is not None, labels[n].reshape(-1), tables,
                    (columns, *most[1:], *taught_most[1:]), gradient[n].reshape(-1), totals[n],
                )  # fmt: skip

        _find_loss.compile()
        run_over_rows(work, len(planes), rows_per_chunk=1)
        ctx.save_for_backward(torch.from_numpy(gradient))
        sums = totals.sum(0)
        plain = torch.from_numpy(sums).float()
        ctx.mark_non_differentiable(plain)
        return torch.tensor(float(sums @ weights)), plain

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None, None, None, None
