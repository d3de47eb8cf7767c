"""OoD segments -> the 37+2C segment metrics, one row a segment."""

from __future__ import annotations

from dataclasses import dataclass

from meta_ood_ros.core.dense import check_logits, DensePrediction
from meta_ood_ros.core.kernels.host_copy import to_host
from meta_ood_ros.core.kernels.segment_sums import metric_names as metric_names
from meta_ood_ros.core.kernels.segment_sums import sum_over_segments, to_metric_values
from meta_ood_ros.core.kernels.segment_sums_from_logits import sum_from_logits
from meta_ood_ros.core.segments import Segments
import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class SegmentMetrics:
    """
    One row of numbers for each segment.

    Attributes
    ----------
    values : ndarray of shape (K, D), float64
        Row k describes the segment with id k + 1; D = 37 + 2C.
    names : tuple of str, length D
        What the columns mean.

    """

    values: NDArray[np.float64]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        """Return what the table holds in a line."""
        return f'SegmentMetrics({len(self.values)} segments x {len(self.names)} metrics)'

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """Return the column of that name, (K,)."""
        if name not in self.names:
            raise KeyError(f'no segment metric {name!r}. The names are: {", ".join(self.names)}')
        return self.values[:, self.names.index(name)]


def measure_segments(
    probabilities: NDArray[np.floating] | Tensor, segments: Segments
) -> SegmentMetrics:
    """
    Return the segment metrics, computed from the full probabilities: the definition.

    Parameters
    ----------
    probabilities : ndarray or Tensor of shape (C, H, W), floating point in [0, 1]
        Softmax of every pixel.
    segments : Segments
        Labels of shape (H, W).

    Returns
    -------
    SegmentMetrics
        (K, 37 + 2C) float64; K = 0 gives an array of length 0.

    Notes
    -----
    A pixel belongs to the boundary of its segment if at least one of its eight neighbours inside
    the image belongs to no segment; the image border makes no boundary. Of the pixels of a
    segment, its interior and its boundary are taken:

    * `size*`: numbers of pixels; relative: divided by the number of boundary pixels;
    * `entropy_*` (normalized), `margin_*` (1 - p1 + p2), `variation_*` (1 - p1): mean and
      population variance; relative: times `size_relative`, or of the interior times
      `size_relative_interior`;
    * `probability_mean_c`: mean probability of class c;
    * `neighbour_share_c`: of all pairs of a pixel of the segment and one of its neighbours that
      belongs to no segment, the share where that neighbour's most probable class is c;
    * `centroid_row`, `centroid_column`: mean position, (0, 0) at the centre of the first pixel.

    A segment without boundary fills the image: its relative metrics are defined as if it had one
    boundary pixel, its boundary means and variances and its neighbour shares are 0. Likewise the
    interior's means and variances where there is no interior. Sums are float64.

    The metrics are those of Chan et al. (2021), section 4, without the epsilon that the published
    code adds inside the logarithm.

    """
    if isinstance(probabilities, Tensor):
        probabilities = probabilities.detach().cpu().float().numpy()
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 3 or probabilities.shape[0] < 2:
        raise ValueError(
            'probabilities must have shape (C, H, W) with C >= 2, got '
            f'{probabilities.shape}. A batch is split by the caller: pass probabilities[0].'
        )
    if not np.issubdtype(probabilities.dtype, np.floating):
        raise TypeError(
            f'probabilities must be floating point, got {probabilities.dtype}. '
            'Pass the softmax of the logits.'
        )
    _check_labels(segments, probabilities.shape[1:])
    sums = sum_over_segments(probabilities, segments.labels, segments.count)
    return SegmentMetrics(to_metric_values(sums), metric_names(probabilities.shape[0]))


def measure_segments_from_logits(
    logits: Tensor | NDArray[np.floating],
    size: tuple[int, int],
    segments: Segments,
    *,
    align_corners: bool = False,
    dense: DensePrediction | None = None,
) -> SegmentMetrics:
    """
    Return the segment metrics, computed from low-resolution logits: the fast path.

    Parameters
    ----------
    logits : Tensor or ndarray of shape (C, h, w), floating point
        Class scores of one image before the softmax; 2 <= C <= 255.
    size : (int, int)
        Height and width (H, W) of the image [px], the shape of the labels.
    segments : Segments
        Labels of shape (H, W).
    align_corners : bool
        How the logits are upsampled, as in torch.nn.functional.interpolate(mode='bilinear').
    dense : DensePrediction, optional
        What `predict_dense` returned for the same logits: its semantic map then says the classes
        of the segments' neighbours, which saves computing them again.

    Returns
    -------
    SegmentMetrics
        (K, 37 + 2C) float64, the values of `measure_segments` for the softmax of the upsampled
        logits, computed in float64.

    Raises
    ------
    ValueError
        If the shapes do not fit, or NaN or infinite logits reach a segment.

    Notes
    -----
    Probabilities are computed on the pixels of segments only; the work is proportional to their
    number, after one pass over the labels.

    """
    tensor, size = check_logits(logits, size)
    _check_labels(segments, size)
    if dense is not None and dense.semantic.shape != size:
        raise ValueError(
            f'dense must be of the size {size}, got {dense.semantic.shape}. '
            'Pass what predict_dense returned for the same logits and size.'
        )
    names = metric_names(tensor.shape[0])
    if segments.count == 0:  # the logits then need not leave the GPU
        return SegmentMetrics(np.zeros((0, len(names))), names)
    # The kernel counts by class without looking whether its table has such a row.
    if dense is not None and dense.semantic.max(initial=0) >= tensor.shape[0]:
        raise ValueError(
            f'dense.semantic must hold classes below {tensor.shape[0]}, got '
            f'{dense.semantic.max(initial=0)}. Pass what predict_dense returned for the same '
            'logits.'
        )
    (host,) = to_host([tensor])
    sums = sum_from_logits(
        host.numpy(),
        segments.labels,
        segments.count,
        align_corners=align_corners,
        semantic=None if dense is None else dense.semantic,
    )
    values = to_metric_values(sums)
    if not np.isfinite(values).all():
        raise ValueError(
            f'logits must be finite, got NaN or infinity among the {tuple(tensor.shape)} values. '
            'Check the network: damaged weights, or an overflow in half precision.'
        )
    return SegmentMetrics(values, names)


def _check_labels(segments: Segments, size: tuple[int, ...]) -> None:
    labels = segments.labels
    if labels.shape != tuple(size) or labels.dtype != np.int32:
        raise ValueError(
            f'segments.labels must be int32 of shape {tuple(size)}, got {labels.dtype} of shape '
            f'{labels.shape}. Find the segments in a mask of the size of the image.'
        )
