"""Mean and deviation of the max logit by predicted class: Jung et al., ICCV 2021, section 3.2."""

from collections.abc import Iterable

from meta_ood_ros.core.dense import check_logits
from meta_ood_ros.core.kernels.strips import upsampled_strips
from meta_ood_ros.core.scorers import StandardizedMaxLogitScorer
from meta_ood_training.datasets import IGNORED, OOD
from meta_ood_training.methods.observation import Observation
import numpy as np
import torch

#: A class predicted at fewer pixels has the mean and deviation of all classes.
FEWEST_PIXELS = 100


def fit_standardized_max_logit(
    observations: Iterable[Observation],
    *,
    align_corners: bool,
    boundary: int = 0,
    smooths: bool = False,
) -> StandardizedMaxLogitScorer:
    """
    Return the scorer with the statistics of the labelled frames' in-distribution pixels.

    Parameters
    ----------
    observations : iterable of Observation
        Pixels labelled OOD or IGNORED do not count.
    align_corners : bool
        How the logits are upsampled.
    boundary, smooths : int, bool
        As of the scorer.

    """
    sums = np.zeros((3, 0))  # pixels, sum and sum of squares of the max logit, by class
    for one in observations:
        logits, size = check_logits(one.logits, one.targets.shape)
        if not sums.size:
            sums = np.zeros((3, logits.shape[0]))
        counts = (one.targets != IGNORED) & (one.targets != OOD)
        for rows, values in upsampled_strips(logits, size, align_corners=align_corners):
            best, predicted = (part[torch.from_numpy(counts[rows])] for part in values.max(0))
            numbers = best.double().cpu().numpy()
            classes = predicted.cpu().numpy()
            for row, weights in enumerate((np.ones_like(numbers), numbers, numbers**2)):
                sums[row] += np.bincount(classes, weights, minlength=sums.shape[1])
    if sums[0].sum() < FEWEST_PIXELS:
        raise ValueError(
            f'standardized_max_logit needs at least {FEWEST_PIXELS} in-distribution pixels to be '
            f'fitted on, got {int(sums[0].sum())}. Give labelled street frames.'
        )
    total = sums.sum(axis=1, keepdims=True)
    few = sums[0] < FEWEST_PIXELS
    mean, std = _statistics(np.where(few, total, sums))
    # a class whose max logit never varies would divide by nothing
    std = np.where(std > 0, std, _statistics(total)[1])
    if not (std > 0).all():
        raise ValueError(
            'standardized_max_logit needs max logits that vary, got one value everywhere. '
            'Check the network and the frames.'
        )
    return StandardizedMaxLogitScorer(
        mean, std, align_corners=align_corners, boundary=boundary, smooths=smooths
    )


def _statistics(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = sums[1] / sums[0]
    return mean, np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0.0))
