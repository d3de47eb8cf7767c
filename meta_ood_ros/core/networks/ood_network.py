"""What every segmentation network of this package offers, whoever published it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate

#: Mean and standard deviation of ImageNet, of RGB values in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class OodNetwork(nn.Module):
    """
    Semantic segmentation network that returns logits on its own grid, never upsampled.

    Upsampling is left to `predict_dense`, which does it together with softmax and entropy and so
    never holds C planes of full size.

    Attributes
    ----------
    num_classes : int
        C, the number of logits a pixel.
    stride : int
        Input sides should be multiples of it: then all grids inside the network line up.
    align_corners : bool
        How the logits are to be upsampled, as the network was trained.
    input_mean, input_std : tuple of 3 float
        Of RGB values in [0, 1], with which its images were normalised in training.
    fixed_size : (int, int) or None
        h0 and w0 where it takes no other.
    has_fixed_batch : bool
        Whether it takes one image at a time and no more.
    outlier_inputs : tuple of str
        Layers whose inputs the outlier decoder of this architecture looks at, its finest map
        last; () where it has no place for one.

    """

    num_classes: int
    stride: int
    align_corners: bool
    input_mean: tuple[float, float, float] = IMAGENET_MEAN
    input_std: tuple[float, float, float] = IMAGENET_STD
    fixed_size: tuple[int, int] | None = None
    has_fixed_batch: bool = False
    outlier_inputs: tuple[str, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits of a batch of normalised images.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised as the bundle says.

        Returns
        -------
        Tensor of shape (N, C, h, w), float
            Unbounded scores before the softmax, h <= h0 and w <= w0.

        """
        raise NotImplementedError

    @classmethod
    def outlier_arguments(
        cls, inputs: Sequence[str], arguments: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """
        Return the further arguments of a network whose outlier decoder looks at some layers.

        Parameters
        ----------
        inputs : sequence of str
            Layers whose inputs it should get, in order.
        arguments : mapping of str
            Those of the network so far.

        Returns
        -------
        dict or None
            None where no outlier decoder of this architecture looks at them.

        """
        return {} if inputs and tuple(inputs) == cls.outlier_inputs else None

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """
        Return the 1x1 convolutions whose sum is the logits, each with its number of inputs.

        Returns
        -------
        tuple of (Conv2d, int)
            The layer, and how many of its first input channels count: a folded copy fills them
            up with zeros.

        """
        raise NotImplementedError

    def last_weights(self) -> tuple[Tensor, Tensor]:
        """
        Return the matrix and the bias that make logits of features.

        Returns
        -------
        weight : Tensor of shape (C, D), float
        bias : Tensor of shape (C,), float
            logits = weight @ features + bias, pixel by pixel.

        """
        layers = self.last_layers()
        weight = torch.cat([layer.weight[:, :inputs, 0, 0] for layer, inputs in layers], dim=1)
        biases = [layer.bias for layer, _ in layers if layer.bias is not None]
        bias = sum(biases, torch.zeros_like(weight[:, 0]))
        return weight.detach(), bias.detach()

    def with_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the logits of a batch, and the input of the last layer that they come from.

        Not for two threads at once.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised as the bundle says.

        Returns
        -------
        logits : Tensor of shape (N, C, h, w), float
            As `forward` gives them.
        features : Tensor of shape (N, D, h, w), float
            After the activation before the last layer. Of two last layers on two grids both,
            the coarser upsampled like its logits.

        """
        layers = self.last_layers()
        seen: list[Tensor] = []
        hooks = [
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            for layer, _ in layers
        ]
        try:
            logits = self(x)
        finally:
            for hook in hooks:
                hook.remove()
        size = logits.shape[-2:]
        counting = [one[:, :inputs] for one, (_, inputs) in zip(seen, layers, strict=True)]
        features = [
            one
            if one.shape[-2:] == size
            else interpolate(one, size, mode='bilinear', align_corners=self.align_corners)
            for one in counting
        ]
        return logits, features[0] if len(features) == 1 else torch.cat(features, dim=1)

    def own_names(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """
        Return weights as a published file names them under this network's names.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            As `load_checkpoint` gives it.

        Returns
        -------
        mapping of str to Tensor
            The same where the file has these names already, as nearly all do.

        """
        return state_dict
