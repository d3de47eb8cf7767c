"""
Segmentation networks: normalised image (N, 3, h0, w0) -> logits (N, C, h, w), not upsampled.

The names of their layers are those of the published checkpoints, which therefore load by name.

1. `ood_network`        what each of them offers: logits, and the features before them
2. `deeplabv3plus`      on `wide_resnet` (the paper's) or `mobilenet`
3. `deeplabv3plus_edgetpu`  on `mobilenet_edgetpu`, whose padding is `same_conv`
4. `dual_gcn`           the second network of the paper
5. `espnet_v2`          made of `espnet_units`
6. `efficientvit_seg`   made of `conv_norm_act` and `linear_attention`
7. `onnx_network`       the user's own; `onnx_file`: its file, refused where it may never end;
   `onnx_outputs`: what it gives, refused where it is no logits
8. `outlier_decoder`    beside the classes of 3 and 6, whose logits it makes milder
9. `feature_network`    logits and features in one output, for any backend
10. `checkpoints`       published files -> weights, running nothing found in them
"""

from collections.abc import Callable, Mapping
import inspect
from numbers import Integral, Real
from typing import Any

from meta_ood_ros.core.error_text import brief
from meta_ood_ros.core.networks.checkpoints import load_checkpoint, load_weights
from meta_ood_ros.core.networks.deeplabv3plus import (
    DeepLabV3PlusMobileNetV2,
    DeepLabV3PlusWideResNet38,
)
from meta_ood_ros.core.networks.deeplabv3plus_edgetpu import DeepLabV3PlusMobileNetEdgeTpu
from meta_ood_ros.core.networks.dual_gcn import DualGcnResNet50
from meta_ood_ros.core.networks.efficientvit_seg import EfficientVitSegB0
from meta_ood_ros.core.networks.espnet_v2 import cityscapes_19, EspNetV2
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
from meta_ood_ros.core.networks.ood_network import OodNetwork

NETWORK_BUILDERS: dict[str, Callable[..., OodNetwork]] = {
    'espnet_v2': EspNetV2,
    'deeplabv3plus_wide_resnet38': DeepLabV3PlusWideResNet38,
    'deeplabv3plus_mobilenet_v2': DeepLabV3PlusMobileNetV2,
    'deeplabv3plus_mobilenet_edgetpu': DeepLabV3PlusMobileNetEdgeTpu,
    'dual_gcn_resnet50': DualGcnResNet50,
    'efficientvit_seg_b0': EfficientVitSegB0,
}
NETWORK_NAMES = tuple(NETWORK_BUILDERS)
# 255 is the id of ignored pixels in a uint8 map of class ids.
MAX_CLASSES = 255

__all__ = [
    'NETWORK_BUILDERS',
    'NETWORK_NAMES',
    'OnnxNetwork',
    'OodNetwork',
    'build_network',
    'check_arguments',
    'cityscapes_19',
    'load_checkpoint',
    'load_weights',
]


def build_network(name: str, *, num_classes: int, **arguments: Any) -> OodNetwork:
    """
    Build a network with random weights, in train mode.

    Parameters
    ----------
    name : str
        One of NETWORK_NAMES.
    num_classes : int
        C, in 2..255.
    **arguments
        What the architecture takes besides, for example `scale` of espnet_v2.

    Returns
    -------
    OodNetwork
        With `num_classes`, `stride` and `align_corners`.

    """
    if name not in NETWORK_BUILDERS:
        known = ', '.join(NETWORK_NAMES)
        raise ValueError(f'Architecture must be one of {known}, got {name!r}. Check its spelling.')
    is_integer = isinstance(num_classes, int) and not isinstance(num_classes, bool)
    if not is_integer or not 2 <= num_classes <= MAX_CLASSES:
        raise ValueError(
            f'num_classes must be an integer in 2..{MAX_CLASSES}, got {num_classes!r}. '
            'It is the number of logits a pixel.'
        )
    builder = NETWORK_BUILDERS[name]
    check_arguments(name, builder, arguments)
    return builder(num_classes, **arguments)


def check_arguments(
    name: str, builder: Callable[..., OodNetwork], arguments: Mapping[str, Any]
) -> None:
    """Refuse arguments that an architecture does not take, or not of this kind."""
    defaults = {
        key: one.default
        for key, one in inspect.signature(builder).parameters.items()
        if one.default is not inspect.Parameter.empty
    }
    for key, value in arguments.items():
        if key not in defaults:
            raise ValueError(
                f'{name} takes the arguments {", ".join(defaults) or "(none)"}, got {key!r}. '
                'Remove it or choose another architecture.'
            )
        if not _is_like(value, defaults[key]):
            raise ValueError(
                f'argument {key} of {name} must be of the kind of {defaults[key]!r}, got '
                f'{brief(value)}. Write it so.'
            )


def _is_like(value: Any, default: Any) -> bool:
    """Return whether a value is of the kind of another: numbers for numbers, not True for 1."""
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and all(_is_like(one, default[0]) for one in value)
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    wanted = Integral if isinstance(default, int) else Real
    return isinstance(value, wanted) and not isinstance(value, bool)
