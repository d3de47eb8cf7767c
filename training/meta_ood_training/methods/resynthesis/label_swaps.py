"""Synthetic discrepancies: segments of a class map get the name of another class."""

from collections.abc import Sequence

import cv2
import numpy as np


def swap_labels(
    semantics: np.ndarray,
    rng: np.random.Generator,
    *,
    classes: Sequence[int],
    share: float,
    smallest: float,
    largest: float,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return a class map some of whose segments have another class, and where.

    Parameters
    ----------
    semantics : ndarray of shape (H, W), uint8
        Class ids.
    classes : sequence of int
        Of which the others are drawn: at least two, those that the generator knows.
    share : float
        Chance of each segment.
    smallest, largest : float
        Segments that may, by their share of the map.

    Returns
    -------
    swapped : ndarray of shape (H, W), uint8
    is_swapped : ndarray of shape (H, W), bool
        True exactly where the two maps differ.

    Notes
    -----
    Lis et al. (ICCV 2019, section 3.3) swap instances. Where labels have none, a segment is what
    is 8-connected and of one class, so that touching cars change together.

    """
    if len(set(classes)) < 2:
        raise ValueError(
            f'swaps need at least two classes that occur in the data, got {list(classes)}. Add '
            'frames with more of them.'
        )
    swapped = semantics.copy()
    for old in np.unique(semantics).tolist():
        others = [one for one in classes if one != old]
        count, segments, stats, _ = cv2.connectedComponentsWithStats(
            (semantics == old).astype(np.uint8), connectivity=8
        )
        for segment in range(1, count):
            area = stats[segment, cv2.CC_STAT_AREA] / semantics.size
            # Both are drawn for every segment: what one is does not depend on those before it.
            chance, new = rng.random(), others[int(rng.integers(len(others)))]
            if smallest <= area <= largest and chance < share:
                swapped[segments == segment] = new
    return swapped, swapped != semantics
