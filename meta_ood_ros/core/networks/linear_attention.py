"""Multi-scale attention with ReLU kernels: Cai, Li, Hu, Gan, Han, EfficientViT, ICCV 2023."""

from meta_ood_ros.core.networks.conv_norm_act import ConvNormAct
import torch
from torch import nn, Tensor

# Of a token: queries, keys and values of a head have this many channels each.
HEAD_CHANNELS = 16
EPSILON = 1e-15


class LinearAttention(nn.Module):
    """
    Every pixel attends to every other, at a cost that grows with their number only.

    Tokens come at two scales: as projected, and averaged over 5x5 pixels by learned weights. With
    a_i = ReLU(q_i) the output is a_i^T sum_j ReLU(k_j) v_j^T / a_i^T sum_j ReLU(k_j).

    Parameters
    ----------
    channels : int
        A multiple of HEAD_CHANNELS.

    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        heads = channels // HEAD_CHANNELS
        wide = 3 * heads * HEAD_CHANNELS
        self.qkv = ConvNormAct(channels, wide, has_norm=False, has_act=False)
        around = nn.Conv2d(wide, wide, kernel_size=5, padding=2, groups=wide, bias=False)
        mix = nn.Conv2d(wide, wide, kernel_size=1, groups=3 * heads, bias=False)
        self.aggreg = nn.ModuleList([nn.Sequential(around, mix)])
        self.proj = ConvNormAct(2 * heads * HEAD_CHANNELS, channels, has_act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, h, w) from the same shape."""
        tokens = self.qkv(x)
        tokens = torch.cat([tokens, self.aggreg[0](tokens)], dim=1)
        # Sums over all pixels leave the range of fp16, and bf16 rounds them too coarsely.
        # Tensors without numbers, by which operations are counted, know no autocast.
        kind = 'cpu' if x.is_meta else x.device.type
        with torch.autocast(kind, enabled=False):
            is_wide = tokens.dtype in (torch.float32, torch.float64)
            attended = attend(tokens if is_wide else tokens.float())
        return self.proj(attended.to(tokens.dtype))


def attend(tokens: Tensor) -> Tensor:
    """
    Return the attended values of all heads.

    Parameters
    ----------
    tokens : Tensor of shape (N, heads x 48, h, w)
        Of each head 16 channels of queries, 16 of keys, 16 of values.

    Returns
    -------
    Tensor of shape (N, heads x 16, h, w)

    """
    batch, _, height, width = tokens.shape
    tokens = tokens.reshape(batch, -1, 3 * HEAD_CHANNELS, height * width)
    queries, keys, values = tokens.split(HEAD_CHANNELS, dim=2)
    queries, keys = torch.relu(queries), torch.relu(keys)
    # a further value, always 1, sums up the weights
    values = torch.cat([values, torch.ones_like(values[:, :, :1])], dim=2)
    sums = values @ keys.transpose(-1, -2) @ queries
    attended = sums[:, :, :-1] / (sums[:, :, -1:] + EPSILON)
    return attended.reshape(batch, -1, height, width)
