"""A network whose output carries its features behind its logits, for any backend."""

from meta_ood_ros.core.networks.ood_network import OodNetwork
import torch
from torch import nn, Tensor


class FeatureNetwork(OodNetwork):
    """
    Logits and features of another network as one output of C + D channels.

    Parameters
    ----------
    network : OodNetwork
        One that has features, which an ONNX file has not.

    """

    def __init__(self, network: OodNetwork) -> None:
        super().__init__()
        network.last_layers()  # an ONNX file is refused here
        self.network = network
        self.num_classes, self.stride = network.num_classes, network.stride
        self.align_corners = network.align_corners
        self.input_mean, self.input_std = network.input_mean, network.input_std
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits, and the features behind them.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised as the bundle says.

        Returns
        -------
        Tensor of shape (N, C + D, h, w), float

        """
        return torch.cat(self.network.with_features(x), dim=1)

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return those of the network."""
        return self.network.last_layers()
