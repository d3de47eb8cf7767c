"""A picture for people: frame, class map, resynthesis and both scores, a row each frame."""

from collections.abc import Sequence

import cv2
from meta_ood_training.methods.resynthesis.comparison import Comparison
from meta_ood_training.methods.resynthesis.frames import Frame
import numpy as np
from torch import Tensor


def example_row(
    frame: Frame,
    swapped: np.ndarray,
    comparison: Comparison,
    maps: Tensor,
    colors: Sequence[tuple[int, int, int]],
) -> np.ndarray:
    """Return one row, (h, 5 w, 3) uint8 RGB: `swapped` is the class map (h, w) that was shown."""
    made = comparison.resynthesized[0].permute(1, 2, 0).mul(255).byte().cpu().numpy()
    scores = [_to_picture(one.cpu().numpy()) for one in maps[:2]]
    return np.hstack([frame.image, np.array(colors, np.uint8)[swapped], made, *scores])


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of different widths above each other, black beside the shorter ones."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _to_picture(score: np.ndarray) -> np.ndarray:
    grey = (np.clip(score, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
