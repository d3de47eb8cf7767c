"""Does a backend say the same as PyTorch in float32? Asked once, while configuring."""

from dataclasses import dataclass
import math

from meta_ood_ros.core.backends.backend import Backend, BackendError
from meta_ood_ros.core.uncertainty import normalized_entropy
import torch
from torch import nn, Tensor


@dataclass(frozen=True)
class Tolerance:
    """How far a backend's entropy may be from float32 eager, in shares of log C."""

    mean: float
    largest: float


# About four times what ESPNetv2 showed on nine street images at 352 x 480: mean and largest
# difference 0.0000002 and 0.000003 (fp32), 0.0008 and 0.009 (fp16), 0.0055 and 0.071 (bf16).
# fp32 leaves room for TensorFloat-32, which GPUs use for float32 convolutions.
TOLERANCES = {
    'fp32': Tolerance(mean=1e-3, largest=1e-2),
    'fp16': Tolerance(mean=3e-3, largest=4e-2),
    'bf16': Tolerance(mean=2e-2, largest=3e-1),
}


@dataclass(frozen=True)
class SelfCheck:
    """
    What the comparison found.

    Parameters
    ----------
    mean_difference, largest_difference : float
        Absolute difference of the normalized entropy on the logits' grid.
    equal_classes : float
        Share of pixels with the same most probable class.
    tolerance : Tolerance
        Which both differences met.

    """

    mean_difference: float
    largest_difference: float
    equal_classes: float
    tolerance: Tolerance


def self_check(backend: Backend, network: nn.Module, x: Tensor) -> SelfCheck:
    """
    Compare the entropy of a backend with that of the network in float32 eager.

    Parameters
    ----------
    backend : Backend
        Loaded from this network.
    network : OodNetwork
        In eval mode, on the CPU or any device.
    x : Tensor of shape (N, 3, h0, w0), float32
        A normalised image; a camera's tells more than noise.

    Returns
    -------
    SelfCheck
        The differences found.

    Raises
    ------
    BackendError
        A difference exceeds the tolerance of the backend's precision, or is not a number.

    """
    place = next((parameter.device for parameter in network.parameters()), torch.device('cpu'))
    with torch.inference_mode():
        expected = network(x.to(place)).float().cpu()
        got = backend(x).float().cpu()
    if got.shape != expected.shape:
        raise BackendError(
            f'backend {backend.name} must give logits of shape {tuple(expected.shape)} as float32 '
            f'eager does, got {tuple(got.shape)}. Set backend to eager.'
        )
    classes = getattr(network, 'num_classes', expected.shape[1])  # features may follow
    got, expected = got[:, :classes], expected[:, :classes]
    difference = (normalized_entropy(got, 1) - normalized_entropy(expected, 1)).abs()
    mean, largest = difference.mean().item(), difference.max().item()
    tolerance = TOLERANCES[backend.precision]
    if not (mean <= tolerance.mean and largest <= tolerance.largest):
        found = 'not a number' if math.isnan(mean) else f'{mean:.2g} and {largest:.2g}'
        raise BackendError(
            f'entropy of backend {backend.name} in {backend.precision} must agree with float32 '
            f'eager to {tolerance.mean:g} on average and {tolerance.largest:g} at most, got '
            f'{found}. Set precision to fp32, or backend to eager.'
        )
    equal = (got.argmax(1) == expected.argmax(1)).float().mean().item()
    return SelfCheck(mean, largest, equal, tolerance)
