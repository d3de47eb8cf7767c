"""
Pixels whose class is wrong, as what a score is to find: appendix A of Blum et al. 2021.

Only pixels with a labelled class count: OoD objects and void are neither right nor wrong.
"""

from collections.abc import Mapping, Sequence

from meta_ood_training.datasets import Sample
from meta_ood_training.scores import measure_scores, PixelScores, ScoreHistogram
import numpy as np


class WrongPixels:
    """
    Scores of wrongly and of rightly classified pixels, counted frame by frame.

    Parameters
    ----------
    score_names : sequence of str
        What is counted.
    num_classes : int
        C; ids beyond are no class.
    equivalent_predictions : mapping of int to int
        Predicted class -> class it counts as in this data set.

    """

    def __init__(
        self,
        score_names: Sequence[str],
        num_classes: int,
        equivalent_predictions: Mapping[int, int],
    ) -> None:
        self.histograms = {name: ScoreHistogram() for name in score_names}
        self._num_classes = num_classes
        self._counts_as = np.arange(256)
        for predicted, counted in equivalent_predictions.items():
            self._counts_as[predicted] = counted

    def update(
        self, sample: Sample, semantic: np.ndarray, scores: Mapping[str, np.ndarray]
    ) -> None:
        """Count a frame: predicted classes and scores, all (H, W)."""
        labelled = sample.target < self._num_classes
        is_wrong = self._counts_as[semantic[labelled]] != sample.target[labelled]
        for name in self.histograms.keys() & scores.keys():
            self.histograms[name].update(scores[name][labelled], is_wrong)

    def measure(self) -> dict[str, PixelScores]:
        """Return by name how well a score finds wrong pixels; {} where all or none are wrong."""
        return {
            name: measure_scores(one.counts())
            for name, one in self.histograms.items()
            if one.positives and one.negatives
        }
