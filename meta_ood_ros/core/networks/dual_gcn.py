"""
DualGCN with ResNet-50: Zhang, Li, Arnab, Yang, Tong, Torr, BMVC 2019; second network of the paper.

Two graph convolutions over the backbone's map: one among pixels (coordinate space) and one among
learned nodes (feature space). The names of the layers are those of the published checkpoint.
"""

from meta_ood_ros.core.networks.ood_network import OodNetwork
import torch
from torch import nn, Tensor
from torch.nn.functional import interpolate, relu

EXPANSION = 4  # a bottleneck's output channels are four times its inner ones


class DualGcnResNet50(OodNetwork):
    """
    DualGCN on a dilated ResNet-50; logits at an eighth of the input's resolution.

    53.5 M parameters at 19 classes. The published checkpoint holds an auxiliary classifier `dsn`,
    whose output the authors drop; here it is kept for its weights' sake, frozen and never run.

    Parameters
    ----------
    num_classes : int
        C.

    """

    stride = 8
    align_corners = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv1 = nn.Sequential(
            *_conv_bn_relu(3, 64, stride=2),
            *_conv_bn_relu(64, 64),
            nn.Conv2d(64, 128, kernel_size=3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(128)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
        self.layer1 = _level(128, 64, dilations=(1, 1, 1))
        self.layer2 = _level(256, 128, dilations=(1, 1, 1, 1), stride=2)
        self.layer3 = _level(512, 256, dilations=(2, 2, 2, 2, 2, 2))
        self.layer4 = _level(1024, 512, dilations=(4, 8, 16))
        self.head = _Head(2048, 512, num_classes)
        self.dsn = nn.Sequential(
            nn.Conv2d(1024, 512, kernel_size=3, padding=1),
            nn.BatchNorm2d(512),
            nn.Identity(),  # the published dropout, numbered 2
            nn.Conv2d(512, num_classes, kernel_size=1),
        ).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits at about an eighth of the input's resolution.

        Parameters
        ----------
        x : Tensor of shape (N, 3, h0, w0), float
            RGB, normalised with the ImageNet mean and standard deviation.

        Returns
        -------
        Tensor of shape (N, C, h, w), float
            h = h0 / 8 + 1 at multiples of 8, because the pooling rounds up. To be upsampled with
            align_corners=True.

        """
        x = self.maxpool(relu(self.bn1(self.conv1(x))))
        return self.head(self.layer4(self.layer3(self.layer2(self.layer1(x)))))

    def last_layers(self) -> tuple[tuple[nn.Conv2d, int], ...]:
        """Return the layer that gives the logits."""
        layer = self.head.bottleneck[-1]
        assert isinstance(layer, nn.Conv2d)
        return ((layer, layer.in_channels),)


class _Bottleneck(nn.Module):
    """y = ReLU(1x1 - 3x3 - 1x1 + shortcut), the shortcut projected where the shape changes."""

    def __init__(self, inputs: int, channels: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = EXPANSION * channels
        self.conv1 = nn.Conv2d(inputs, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels,
            channels,
            kernel_size=3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            bias=False,
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn1(self.conv1(x)))
        y = relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(self.bn3(self.conv3(y)) + shortcut)


class _Head(nn.Module):
    """Reduce, reason on both graphs, and classify beside the backbone's map."""

    def __init__(self, inputs: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conva = nn.Sequential(*_conv_bn_relu(inputs, channels))
        self.dualgcn = _DualGcn(channels)
        self.convb = nn.Sequential(*_conv_bn_relu(channels, channels))
        self.bottleneck = nn.Sequential(
            *_conv_bn_relu(inputs + channels, channels),
            nn.Conv2d(channels, num_classes, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.convb(self.dualgcn(self.conva(x)))
        return self.bottleneck(torch.cat([x, y], dim=1))


class _DualGcn(nn.Module):
    """Both graph convolutions on (N, channels, h, w), joined by a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        states, nodes = channels // 2, channels // 4
        self.phi = nn.Conv2d(channels, states, kernel_size=1, bias=False)
        self.bn_phi = nn.BatchNorm2d(states)
        self.theta = nn.Conv2d(channels, nodes, kernel_size=1, bias=False)
        self.bn_theta = nn.BatchNorm2d(nodes)
        self.conv_adj = nn.Conv1d(nodes, nodes, kernel_size=1, bias=False)
        self.bn_adj = nn.BatchNorm1d(nodes)
        self.conv_wg = nn.Conv1d(states, states, kernel_size=1, bias=False)
        self.bn_wg = nn.BatchNorm1d(states)
        self.conv3 = nn.Conv2d(states, channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        downsampling: list[nn.Module] = []
        for _ in range(3):
            downsampling.append(
                nn.Conv2d(
                    channels,
                    channels,
                    kernel_size=3,
                    stride=2,
                    padding=1,
                    groups=channels,
                    bias=False,
                )
            )
            downsampling.append(nn.BatchNorm2d(channels))
        self.local = nn.Sequential(*downsampling)
        self.gcn_local_attention = _PixelGraph(channels)
        self.final = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gcn_local_attention(self.local(x))
        gate = interpolate(gate, x.shape[-2:], mode='bilinear', align_corners=True)
        return self.final(torch.cat([x * gate + x, self._reason(x)], dim=1))

    def _reason(self, x: Tensor) -> Tensor:
        """Project pixels onto nodes, let the nodes exchange state, project back."""
        projection = self.bn_theta(self.theta(x)).flatten(2)  # (N, nodes, pixels)
        states = self.bn_phi(self.phi(x)).flatten(2) @ projection.transpose(1, 2)
        # conv_adj is the learned adjacency: it mixes nodes; conv_wg mixes the states' channels.
        mixed = self.bn_adj(self.conv_adj(states.transpose(1, 2))).transpose(1, 2)
        states = self.bn_wg(self.conv_wg(mixed + states))
        y = (states @ projection).unflatten(2, x.shape[-2:])
        return relu(x + self.bn3(self.conv3(y)))


class _PixelGraph(nn.Module):
    """Graph convolution among pixels, in the order k (q v), which is linear in their number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.node_k = nn.Conv2d(channels, inner, kernel_size=1)
        self.node_v = nn.Conv2d(channels, inner, kernel_size=1)
        self.node_q = nn.Conv2d(channels, inner, kernel_size=1)
        self.conv_wg = nn.Conv1d(inner, inner, kernel_size=1, bias=False)
        self.bn_wg = nn.BatchNorm1d(inner)
        self.out = nn.Sequential(
            nn.Conv2d(inner, channels, kernel_size=1), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        k, v, q = (node(x).flatten(2) for node in (self.node_k, self.node_v, self.node_q))
        affinity = (q @ v.transpose(1, 2)).softmax(dim=2)
        message = affinity.transpose(1, 2) @ k  # (N, inner, pixels)
        state = self.bn_wg(self.conv_wg(message)).unflatten(2, x.shape[-2:])
        return relu(self.out(state) + x)


def _level(
    inputs: int, channels: int, *, dilations: tuple[int, ...], stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        *(
            _Bottleneck(
                inputs if i == 0 else EXPANSION * channels,
                channels,
                stride=stride if i == 0 else 1,
                dilation=dilation,
            )
            for i, dilation in enumerate(dilations)
        )
    )


def _conv_bn_relu(inputs: int, outputs: int, *, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
