"""What an ONNX network takes and gives -> accepted, or named for what it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LARGE_TRIAL = 512
_TRIAL_SEED = 0
# Of sums of probabilities in float16 over a hundred classes.
_ROUNDING = 0.02


class RefusedSizeError(ValueError):
    """The graph does not take an image of this size; it may take another."""


def has_channels_first(shape: Sequence[object]) -> bool:
    """Return whether an input may be (N, 3, h0, w0): an axis may be open, a number or a name."""
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        return False
    return shape[1] == 3 or shape[3] != 3


def describe_input(shape: Sequence[object], kind: str) -> str:
    """Return what is known of an input that is no float32 image with channels first, or ''."""
    if len(shape) == 4 and shape[3] == 3 and shape[1] != 3:
        return ' Its channels come last (NHWC): put a Transpose before it, or export it as NCHW.'
    if kind == 'tensor(uint8)':
        return ' It takes bytes (uint8): leave scaling and normalisation out of the graph.'
    if kind in ('tensor(float16)', 'tensor(double)', 'tensor(bfloat16)'):
        return ' It takes other floats: export it in float32.'
    return ''


def trial_sizes(sides: Sequence[object], *, stride: int, short_side: int) -> list[tuple[int, int]]:
    """
    Return the sizes of which a graph must take one, those that cost least first.

    Parameters
    ----------
    sides : sequence of int or other
        h0 and w0 as the graph says, any other type where it leaves them open.
    short_side : int
        At which the network will work [px]; 0 where it takes images as they come.

    """
    if short_side:
        # late: it brings OpenCV, which a network alone does not need
        from meta_ood_ros.core.image import to_work_size

        sizes = [to_work_size((3, 4), short_side=short_side, stride=stride)]
    else:
        # Enough for one class count; graphs that halve often, or crop, need more.
        large = -(-_LARGE_TRIAL // stride) * stride
        sizes = [(4 * stride, 4 * stride), (large, large)]
    fixed = [
        tuple(
            side if isinstance(side, int) else free for side, free in zip(sides, size, strict=True)
        )
        for size in sizes
    ]
    return [(size[0], size[1]) for size in dict.fromkeys(fixed)]


def make_trial_image(size: tuple[int, int]) -> np.ndarray:
    """Return noise as a normalised image, (1, 3, h0, w0) float32: no class, and no zero logits."""
    rng = np.random.default_rng(_TRIAL_SEED)
    return rng.standard_normal((1, 3, *size), np.float32)


def check_shape(logits: np.ndarray, images: int, num_classes: int) -> None:
    """Refuse an output that does not hold one logit for each class, with its channels first."""
    if logits.ndim == 4 and logits.shape[:2] == (images, num_classes):
        return
    advice = 'Name as many classes as the network has, and export the logits as first output.'
    is_single = logits.ndim == 3 or (logits.ndim == 4 and 1 in (logits.shape[1], logits.shape[3]))
    if is_single and (logits.dtype.kind in 'iub' or bool((logits == np.round(logits)).all())):
        advice = 'These are class ids (argmax): export the logits that it is taken of.'
    elif logits.ndim == 4 and logits.shape[3] == num_classes:
        advice = 'Its channels come last (NHWC): put a Transpose behind it, or export it as NCHW.'
    kind = f' {logits.dtype}' if logits.dtype.kind in 'iub' else ''
    raise ValueError(
        f'ONNX network must give logits of shape ({images}, {num_classes}, h, w), one for each of '
        f'the {num_classes} classes, got {logits.shape}{kind}. {advice}'
    )


def check_values(logits: np.ndarray) -> None:
    """Refuse what a network gives for noise when it is NaN, or no logits but probabilities."""
    if not np.isfinite(logits).all():
        raise ValueError(
            'ONNX network must give finite logits for any image, got NaN or infinity. Its weights '
            'are damaged: copy or export it again.'
        )
    low, high = float(logits.min()), float(logits.max())
    if low < 0 or high > 1 + _ROUNDING or low == high:
        return
    sums = logits.sum(axis=1, dtype=np.float64)
    if np.abs(sums - 1).max() <= _ROUNDING:
        raise ValueError(
            'ONNX network must give logits, got probabilities that add up to 1 over the classes: '
            'it ends in a softmax. Taken twice, it leaves everything uncertain, and the whole '
            'frame would be one segment. Export it without its last softmax.'
        )
    raise ValueError(
        f'ONNX network must give logits, got values from {low:.3g} to {high:.3g} for an image of '
        'noise: it ends in a sigmoid or another squashing. Export it without its last layer.'
    )
