"""The baselines: the published definitions, written the plain way."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


def predict_dense_naively(
    logits: Tensor, size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return semantic, entropy and max_probability: upsample, then softmax, entropy, argmax."""
    full = torch.nn.functional.interpolate(
        logits[None], size, mode='bilinear', align_corners=False
    )[0]
    probabilities = full.softmax(0)
    entropy = -(probabilities * probabilities.clamp_min(1e-38).log()).sum(0)
    entropy /= math.log(logits.shape[0])
    max_probability, semantic = probabilities.max(0)
    return semantic.numpy(), entropy.numpy(), max_probability.numpy()


def upsample_probabilities(logits: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the softmax (C, H, W) that the published code keeps on disk."""
    full = torch.nn.functional.interpolate(
        logits[None], size, mode='bilinear', align_corners=False
    )[0]
    return full.softmax(0).numpy()


def measure_in_a_loop(
    probabilities: NDArray[np.float32], labels: NDArray[np.int32], count: int
) -> NDArray[np.float64]:
    """
    Return the 37+2C metrics with one pass over the image for each segment.

    The maps of entropy, margin and variation are made once, then every segment is a mask of the
    whole image. Columns are in our order, so that the result can be compared.
    """
    num_classes = len(probabilities)
    log_p = np.log(np.maximum(probabilities, 1e-38))
    entropy = -(probabilities * log_p).sum(0) / math.log(num_classes)
    second, best = np.partition(probabilities, num_classes - 2, axis=0)[-2:]
    maps = (entropy, 1 - best + second, 1 - best)
    semantic = probabilities.argmax(0)
    around = np.ones((3, 3), np.uint8)
    background = labels == 0
    near_background = cv2.dilate(background.astype(np.uint8), around) > 0
    rows = np.empty((count, 37 + 2 * num_classes))
    for k in range(1, count + 1):
        mask = labels == k
        boundary = mask & near_background
        interior = mask & ~boundary
        size, inner, border = (int(region.sum()) for region in (mask, interior, boundary))
        per_border = 1 / max(border, 1)
        row = [size, inner, border, size * per_border, inner * per_border]
        for quantity in maps:
            values = [quantity[region].astype(np.float64) for region in (mask, interior, boundary)]
            for statistic in (np.mean, np.var):
                whole, inside, edge = (statistic(v) if len(v) else 0.0 for v in values)
                row += [whole, inside, edge, whole * size * per_border]
                row += [inside * inner * per_border]
        row += [probabilities[c][mask].mean(dtype=np.float64) for c in range(num_classes)]
        row += list(_count_neighbours(mask, background, semantic, num_classes))
        row += [indices.mean() for indices in np.nonzero(mask)]
        rows[k - 1] = row
    return rows


def _count_neighbours(
    mask: NDArray[np.bool_],
    background: NDArray[np.bool_],
    semantic: NDArray[np.int64],
    num_classes: int,
) -> NDArray[np.float64]:
    """Return the share of each class among the pairs of a pixel and a background neighbour."""
    height, width = mask.shape
    counts = np.zeros(num_classes)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            here = np.s_[max(-i, 0) : height - max(i, 0), max(-j, 0) : width - max(j, 0)]
            there = np.s_[max(i, 0) : height - max(-i, 0), max(j, 0) : width - max(-j, 0)]
            pairs = mask[here] & background[there]
            counts += np.bincount(semantic[there][pairs], minlength=num_classes)
    return counts / max(counts.sum(), 1)
