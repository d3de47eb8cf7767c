"""Convolution with the padding that TensorFlow calls SAME."""

import math

from torch import nn, Tensor
from torch.nn.functional import pad


class SameConv(nn.Conv2d):
    """
    Convolution whose output has ceil(h / stride) rows, padded as TensorFlow pads.

    The zeros needed go half before and half after the image, the odd one after it. So a 3x3
    convolution with stride 2 pads an even side at its end only, unlike `padding=1`.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Side of the window, odd.
    stride, dilation, groups : int
        As of Conv2d.
    before : int or None
        Zeros before the image where stride > 1, in place of TensorFlow's half; the rest goes
        after it. 0 puts the first window one pixel further right than 1 does.
    is_linear : bool
        Whether no ReLU follows. The random weights keep the mean square from layer to layer, for
        which a ReLU needs twice the variance.

    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        before: int | None = None,
        is_linear: bool = False,
    ) -> None:
        # with stride 1 both halves are equal, and the convolution itself can pad
        padding = dilation * (kernel // 2) if stride == 1 else 0
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        self.before = before
        gain = 1.0 if is_linear else 2.0
        nn.init.normal_(self.weight, std=math.sqrt(gain / self.weight[0].numel()))
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, ceil(h / stride), ceil(w / stride)) from (N, inputs, h, w)."""
        if self.stride[0] > 1:
            rows, columns = (self._zeros(int(side), axis) for axis, side in enumerate(x.shape[2:]))
            x = pad(x, (*columns, *rows))
        return super().forward(x)

    def _zeros(self, side: int, axis: int) -> tuple[int, int]:
        stride = self.stride[axis]
        window = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        total = max((-(-side // stride) - 1) * stride + window - side, 0)
        before = total // 2 if self.before is None else self.before
        return before, max(total - before, 0)
