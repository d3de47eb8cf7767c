"""Predicted and labelled classes -> one confusion matrix, IoU, mIoU, mIoU over the threshold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""Entropy thresholds of the mIoU curve (figure 6 of Chan et al.)."""


@dataclass(eq=False)
class ConfusionCounts:
    """
    One confusion matrix over a whole data set, by entropy.

    Attributes
    ----------
    num_classes : int
        C.
    thresholds : tuple of float
        Ascending entropy thresholds in (0, 1]; T of them.
    equivalent_predictions : mapping of int to int
        Predicted class -> class it counts as in this data set (rider is bicycle in CamVid).
    counts : ndarray of shape (T + 1, C, C), int64
        Pixels by number of thresholds that their entropy reaches, labelled class and predicted
        class.

    """

    num_classes: int
    thresholds: tuple[float, ...] = THRESHOLDS
    equivalent_predictions: Mapping[int, int] = field(default_factory=dict)
    counts: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.thresholds) + 1, self.num_classes, self.num_classes)
        self.counts = np.zeros(shape, np.int64)
        self._columns = np.arange(256)
        for predicted, counted in self.equivalent_predictions.items():
            if max(predicted, counted) >= self.num_classes:
                continue
            self._columns[predicted] = counted

    def update(
        self,
        semantic: NDArray[np.uint8],
        entropy: NDArray[np.float32],
        target: NDArray[np.uint8],
    ) -> None:
        """
        Count the pixels of one image.

        Parameters
        ----------
        semantic : ndarray of shape (H, W), uint8
            Predicted class, 0..C-1.
        entropy : ndarray of shape (H, W), float32
            Normalized, in [0, 1].
        target : ndarray of shape (H, W), uint8
            As in `Sample`; only class ids count.

        """
        used = target < self.num_classes
        if not used.any():
            return
        # entropy >= threshold is OoD, so an entropy equal to a threshold has reached it.
        limits = np.asarray(self.thresholds, np.float32)
        level = np.searchsorted(limits, entropy[used], side='right')
        column = self._columns[semantic[used]]
        cell = (level * self.num_classes + target[used]) * self.num_classes + column
        self.counts += np.bincount(cell, minlength=self.counts.size).reshape(self.counts.shape)

    def iou(self) -> NDArray[np.float64]:
        """
        Return the intersection over union of each class, without OoD predictions.

        Returns
        -------
        ndarray of shape (C,), float64
            NaN for a class that is not labelled.

        """
        matrix = self.counts.sum(axis=0)
        return _iou(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))

    def mean_iou(self) -> float:
        """
        Return the mean IoU over the labelled classes, without OoD predictions.

        Returns
        -------
        float
            NaN where no class is labelled.

        """
        return _mean(self.iou())

    def mean_iou_over_threshold(self) -> NDArray[np.float64]:
        """
        Return the mean IoU when pixels of entropy >= threshold are predicted to be OoD.

        Returns
        -------
        ndarray of shape (T,), float64
            Mean over the labelled classes; OoD is no class of its own (figure 6 of Chan et al.).

        """
        # predictions that keep their class at threshold t are those that do not reach it
        kept = np.cumsum(self.counts, axis=0)[:-1]
        labelled = self.counts.sum(axis=(0, 2))
        curves = [_mean(_iou(np.diag(one), labelled, one.sum(axis=0))) for one in kept]
        return np.array(curves)


def _iou(
    hits: NDArray[np.int64], labelled: NDArray[np.int64], predicted: NDArray[np.int64]
) -> NDArray[np.float64]:
    union = labelled + predicted - hits
    return np.where(labelled > 0, hits / np.maximum(union, 1), np.nan)


def _mean(iou: NDArray[np.float64]) -> float:
    return float(np.nanmean(iou)) if np.isfinite(iou).any() else float('nan')
