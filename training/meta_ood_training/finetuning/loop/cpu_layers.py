"""
Depthwise convolution and PReLU with fast gradients on a CPU.

PyTorch's own backward passes of these two layers take most of a training step of ESPNetv2 on a
CPU without AVX-512: the depthwise convolution's goes through a matrix product for each channel,
PReLU's is not vectorized for channels-last memory. Forward passes stay PyTorch's.
"""

from typing import Any, cast

from meta_ood_ros.core.kernels.jit import array, kernel
from meta_ood_ros.core.kernels.parallel import run_over_rows
from numba import types
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional

_F4 = array(types.float32, 4)
_F3 = array(types.float32, 3)
_F2 = array(types.float32, 2)
_F1 = array(types.float32, 1)
_OUT4 = array(types.float32, 4, readonly=False)
_OUT2 = array(types.float32, 2, readonly=False)
_INT = types.int64


@kernel(_INT, _F4, _F4, _F3, _INT, _INT, _INT, _OUT4, _OUT4)
def _depthwise_backward(
    n: int,
    gradient: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    stride: int,
    padding: int,
    dilation: int,
    x_gradient: np.ndarray,
    weight_gradient: np.ndarray,
) -> None:
    """Add image n's share to both gradients; all arrays have channels last."""
    _, rows, columns, channels = gradient.shape
    height, width = x.shape[1], x.shape[2]
    size = weight.shape[0]
    for row in range(rows):
        for i in range(size):
            y = row * stride - padding + i * dilation
            if y < 0 or y >= height:
                continue
            for column in range(columns):
                for j in range(size):
                    z = column * stride - padding + j * dilation
                    if z < 0 or z >= width:
                        continue
                    for c in range(channels):
                        g = gradient[n, row, column, c]
                        x_gradient[n, y, z, c] += g * weight[i, j, c]
                        weight_gradient[n, i, j, c] += g * x[n, y, z, c]


@kernel(_INT, _F2, _F2, _F1, _INT, _INT, _OUT2, _OUT2)
def _prelu_backward(
    part: int,
    gradient: np.ndarray,
    x: np.ndarray,
    slope: np.ndarray,
    first: int,
    last: int,
    x_gradient: np.ndarray,
    slope_gradient: np.ndarray,
) -> None:
    """Handle the pixels first..last-1; a row is a pixel, a column a channel."""
    channels = x.shape[1]
    for pixel in range(first, last):
        for c in range(channels):
            g = gradient[pixel, c]
            value = x[pixel, c]
            positive = value > 0
            x_gradient[pixel, c] = g if positive else g * slope[c]
            slope_gradient[part, c] += np.float32(0.0) if positive else g * value


class _Depthwise(torch.autograd.Function):
    """Convolution of each channel with its own kernel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, dilation
        return functional.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        images = _channels_last(x)
        taps = np.ascontiguousarray(weight.detach()[:, 0].permute(1, 2, 0).numpy())
        x_gradient = np.zeros_like(images)
        # one sum an image, added in their order: the same whatever the number of threads
        weight_gradient = np.zeros((len(images), *taps.shape), np.float32)
        arrays = _channels_last(gradient), images, taps, *ctx.geometry

        def work(first: int, last: int) -> None:
            for n in range(first, last):
                _depthwise_backward(n, *arrays, x_gradient, weight_gradient)

        run_over_rows(work, len(images), rows_per_chunk=1)
        total = torch.from_numpy(weight_gradient.sum(0)).permute(2, 0, 1)[:, None]
        return torch.from_numpy(x_gradient).permute(0, 3, 1, 2), total, None, None, None


class _Prelu(torch.autograd.Function):
    """Identity above 0, a slope of each channel's own below."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return functional.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        images, channels = _channels_last(x), x.shape[1]
        pixels = images.reshape(-1, channels)
        slopes = slope.detach().numpy()
        x_gradient = np.empty_like(pixels)
        chunk = max(1, -(-len(pixels) // 16))
        slope_gradient = np.zeros((-(-len(pixels) // chunk), channels), np.float32)
        gradients = _channels_last(gradient).reshape(-1, channels)

        def work(first: int, last: int) -> None:
            part = first // chunk
            _prelu_backward(
                part, gradients, pixels, slopes, first, last, x_gradient, slope_gradient
            )

        run_over_rows(work, len(pixels), rows_per_chunk=chunk)
        total = torch.from_numpy(slope_gradient.sum(0))
        return torch.from_numpy(x_gradient.reshape(images.shape)).permute(0, 3, 1, 2), total


class FastDepthwise(nn.Conv2d):
    """A depthwise convolution without bias; elsewhere than in training on a CPU as any other."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H', W') for (N, C, H, W)."""
        if not _is_ours(x):
            return super().forward(x)
        padding = self.padding[0]
        assert isinstance(padding, int)
        return _Depthwise.apply(x, self.weight, self.stride[0], padding, self.dilation[0])


class FastPrelu(nn.PReLU):
    """PReLU with one slope a channel; elsewhere than in training on a CPU as any other."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, its negative values multiplied by the channel's slope."""
        return _Prelu.apply(x, self.weight) if _is_ours(x) else super().forward(x)


def speed_up_layers(network: nn.Module) -> int:
    """
    Replace the layers of a network that have a faster twin here.

    Parameters
    ----------
    network : nn.Module
        Changed in place. Parameters stay the same objects under the same names, so that
        checkpoints and optimizers notice nothing.

    """
    count = 0
    for part in list(network.modules()):
        for name, layer in list(part.named_children()):
            twin = _twin(layer)
            if twin is not None:
                twin.weight = cast('nn.Parameter', layer.weight)
                twin.train(layer.training)
                part._modules[name] = twin
                count += 1
    return count


def _twin(layer: nn.Module) -> FastDepthwise | FastPrelu | None:
    if type(layer) is nn.PReLU and layer.num_parameters > 1:
        return FastPrelu(layer.num_parameters)
    if type(layer) is not nn.Conv2d or layer.bias is not None or layer.padding_mode != 'zeros':
        return None
    same = all(
        isinstance(pair, tuple) and pair[0] == pair[1]
        for pair in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    channels = layer.in_channels
    # below 8 channels the kernel's inner loop is too short to be worth its calls
    if not same or not layer.groups == channels == layer.out_channels >= 8:
        return None
    return FastDepthwise(
        channels,
        channels,
        layer.kernel_size[0],
        layer.stride[0],
        layer.padding[0],
        layer.dilation[0],
        groups=channels,
        bias=False,
    )


def _is_ours(x: Tensor) -> bool:
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.dim() == 4
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cpu')
    )


def _channels_last(x: Tensor) -> np.ndarray:
    """Return (N, H, W, C), C-contiguous."""
    return np.ascontiguousarray(x.detach().permute(0, 2, 3, 1).numpy())
