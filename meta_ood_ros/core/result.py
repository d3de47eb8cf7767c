"""What the method says about one image."""

from dataclasses import dataclass, field

from meta_ood_ros.core.segment_metrics import SegmentMetrics
from meta_ood_ros.core.segments import Segments, SegmentSummary
import numpy as np


@dataclass(frozen=True, eq=False)
class OodResult:
    """
    What the pipeline says about one image; maps and segments live on the work grid.

    Parameters
    ----------
    semantic : ndarray of shape (h, w), uint8
        Most probable class of each pixel; never changed by OoD.
    entropy : ndarray of shape (h, w), float32
        Normalized softmax entropy in [0, 1].
    max_probability : ndarray of shape (h, w), float32
        Largest softmax probability in (0, 1].
    segments : Segments
        What is published, K of them: 8-connected regions of entropy >= entropy_threshold, and
        with a core_threshold, in place of each accepted one its cores.
    metrics : SegmentMetrics
        (K, D), one row a segment: of a core, those of the segment it was judged in.
    ood_probability : ndarray of shape (K,), float32
        P(true OoD), of a core that of the segment it was judged in; NaN without meta classifier.
    accepted : ndarray of shape (K,), bool
        ood_probability >= meta_threshold, or no meta classifier.
    summary : SegmentSummary
        Class, box, size and score of each segment.
    entropy_threshold, meta_threshold : float
        As used for this image; segments are found and judged at entropy_threshold.
    core_threshold : float
        Where the accepted ones were cut into their cores; 0 = published as judged.
    classifier_threshold : float or None
        The entropy threshold at which the meta classifier used was fitted.
    image_size, work_size : (int, int)
        Height and width of the camera image and of the work grid, in pixels.
    ignored : ndarray of shape (h, w), bool, or None
        Where the ignore mask lies.
    milliseconds : dict of str to float
        Time of each stage.

    """

    semantic: np.ndarray
    entropy: np.ndarray
    max_probability: np.ndarray
    segments: Segments
    metrics: SegmentMetrics
    ood_probability: np.ndarray
    accepted: np.ndarray
    summary: SegmentSummary
    entropy_threshold: float
    meta_threshold: float
    classifier_threshold: float | None
    image_size: tuple[int, int]
    work_size: tuple[int, int]
    core_threshold: float = 0.0
    ignored: np.ndarray | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def class_id(self) -> np.ndarray:
        """Return the most frequent class of each segment, (K,)."""
        return self.summary.class_id
