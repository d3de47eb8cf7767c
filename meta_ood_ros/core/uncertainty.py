"""
Logits -> probabilities -> how uncertain each pixel is.

Everything starts from log-probabilities, so that no epsilon is needed: a saturated softmax has
entropy 0, where -(p * p.log()).sum() would give NaN.
"""

import math

import torch
from torch import Tensor


def softmax_probabilities(logits: Tensor, dim: int = 0) -> Tensor:
    """
    Return the softmax of the logits over the class dimension.

    Parameters
    ----------
    logits : Tensor, floating point, any shape with C >= 2 along `dim`
        Class scores before the softmax; (C, H, W) for one image.
    dim : int
        The class dimension.

    Returns
    -------
    Tensor of the shape and dtype of `logits`
        Probabilities in [0, 1] that sum to 1 along `dim`.

    """
    _check_classes(logits, dim, 'logits')
    return torch.softmax(logits, dim)


def normalized_entropy(logits: Tensor, dim: int = 0) -> Tensor:
    """
    Return the softmax entropy of each pixel, divided by its maximum log C.

    Parameters
    ----------
    logits : Tensor, floating point, any shape with C >= 2 along `dim`
        Class scores before the softmax; (C, H, W) for one image.
    dim : int
        The class dimension.

    Returns
    -------
    Tensor, the shape of `logits` without `dim`
        In [0, 1]: 0 where one class is certain, 1 where all classes are equal.

    Notes
    -----
    The quantity that equation 5 of Chan et al. (2021) compares with the threshold. The published
    code adds 1.19e-7 inside the logarithm; nothing is added here.

    Examples
    --------
    >>> round(normalized_entropy(torch.tensor([2.0, 1.0, 0.0])).item(), 4)
    0.7577
    >>> normalized_entropy(torch.tensor([200.0, 0.0, 0.0])).item()
    0.0

    """
    _check_classes(logits, dim, 'logits')
    # log_softmax of finite logits is finite, so that 0 * log 0 is 0 * a number
    log_p = torch.log_softmax(logits, dim)
    entropy = -(log_p.exp() * log_p).sum(dim)
    return (entropy / math.log(logits.shape[dim])).clamp(0.0, 1.0)


def variation_ratio(probabilities: Tensor, dim: int = 0) -> Tensor:
    """
    Return the probability that is not on the most probable class, 1 - p1.

    Parameters
    ----------
    probabilities : Tensor, floating point in [0, 1], any shape with C >= 2 along `dim`
        Softmax output; (C, H, W) for one image.
    dim : int
        The class dimension.

    Returns
    -------
    Tensor, the shape of `probabilities` without `dim`
        In [0, 1 - 1/C].

    """
    _check_classes(probabilities, dim, 'probabilities')
    return 1.0 - probabilities.amax(dim)


def probability_margin(probabilities: Tensor, dim: int = 0) -> Tensor:
    """
    Return one minus the lead of the most probable class over the second, 1 - p1 + p2.

    Parameters
    ----------
    probabilities : Tensor, floating point in [0, 1], any shape with C >= 2 along `dim`
        Softmax output; (C, H, W) for one image.
    dim : int
        The class dimension.

    Returns
    -------
    Tensor, the shape of `probabilities` without `dim`
        In [0, 1]: 0 where one class is certain, 1 where the two best are equal.

    """
    _check_classes(probabilities, dim, 'probabilities')
    best = probabilities.topk(2, dim=dim).values
    return 1.0 - best.select(dim, 0) + best.select(dim, 1)


def _check_classes(values: Tensor, dim: int, name: str) -> None:
    if not values.is_floating_point():
        raise TypeError(
            f'{name} must be floating point, got {values.dtype}. Class ids carry no uncertainty: '
            'pass the scores that the network gives before argmax.'
        )
    if not -values.ndim <= dim < values.ndim or values.shape[dim] < 2:
        raise ValueError(
            f'{name} must have at least 2 classes along dimension {dim}, '
            f'got shape {tuple(values.shape)}. Say where the classes are with dim.'
        )
