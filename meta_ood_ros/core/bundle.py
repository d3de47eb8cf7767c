"""What ties together what must match: a network, its classes, its meta classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meta_ood_ros.core.bundle_description import BundleError
from meta_ood_ros.core.image import IMAGENET_MEAN, IMAGENET_STD
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.networks import build_network, OodNetwork
from meta_ood_ros.core.networks.checkpoints import load_weights
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_ros.core.settings import SHORT_SIDES
from torch import Tensor

LABEL_RULES = ('deployed', 'published')

#: The architecture of a network that the user brings as an ONNX file.
ONNX_ARCHITECTURE = 'onnx'


@dataclass(frozen=True, eq=False)
class Bundle:
    """
    A network with the meta classifier fitted to it, and all that both assume.

    Parameters
    ----------
    name : str
        Shown in `model_id`.
    architecture : str
        A name of `build_network`, or 'onnx' for a network of the user's own.
    arguments : mapping
        Keyword arguments of `build_network`; for 'onnx', `stride` and `align_corners`.
    class_names : tuple of C str
        Index = class id.
    class_colors : tuple of C (int, int, int)
        RGB.
    input_mean, input_std : tuple of 3 float
        Of RGB values in [0, 1].
    entropy_threshold, meta_threshold : float
        What the node uses unless told otherwise.
    core_threshold : float
        Accepted segments are published as their parts of at least this entropy, see
        `PipelineSettings`; 0 publishes them as they were judged.
    work_short_side : int
        Short side in pixels at which the network was trained and the classifier fitted, 64 to
        4096; 0 is the size received.
    min_size_px : int
        Segments of fewer work pixels are dropped, when fitting and when serving.
    label_rule : str
        'deployed' or 'published': on which pixels the classifier's segments were found.
    weights : mapping of str to Tensor
        State dict of the network; empty for 'onnx'.
    onnx : bytes
        The ONNX file; empty otherwise.
    meta_classifiers : tuple of MetaClassifier
        One for each entropy threshold; may be empty.
    provenance : mapping
        Data, command, git revision, scores.
    licence_of_weights, data_terms : str
        What a user of the weights must know.
    digest : str
        SHA-256 of the files, in hex; empty until saved or loaded.

    Raises
    ------
    BundleError
        On construction, where the parts do not fit together.

    """

    name: str
    architecture: str
    arguments: Mapping[str, Any]
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    input_mean: tuple[float, float, float] = IMAGENET_MEAN
    input_std: tuple[float, float, float] = IMAGENET_STD
    entropy_threshold: float = 0.5
    meta_threshold: float = 0.5
    core_threshold: float = 0.0
    work_short_side: int = 0
    min_size_px: int = 0
    label_rule: str = 'deployed'
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence_of_weights: str = ''
    data_terms: str = ''
    weights: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    onnx: bytes = field(default=b'', repr=False)
    meta_classifiers: tuple[MetaClassifier, ...] = field(default=(), repr=False)
    digest: str = ''

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        classes = len(self.class_names)
        if not 2 <= classes <= 254:
            raise BundleError(f'class_names must have 2 to 254 entries, got {classes}.')
        if len(self.class_colors) != classes:
            raise BundleError(
                f'class_colors must have one colour for each of the {classes} classes, '
                f'got {len(self.class_colors)}.'
            )
        if self.label_rule not in LABEL_RULES:
            raise BundleError(
                f'label_rule must be one of {", ".join(LABEL_RULES)}, got {self.label_rule!r}.'
            )
        if not 0.0 < self.entropy_threshold <= 1.0:
            raise BundleError(
                f'entropy_threshold must lie in (0, 1], got {self.entropy_threshold}. '
                'It is a share of log C, not a percentage.'
            )
        if not 0.0 <= self.meta_threshold <= 1.0:
            raise BundleError(f'meta_threshold must lie in [0, 1], got {self.meta_threshold}.')
        if not 0.0 <= self.core_threshold <= 1.0:
            raise BundleError(
                f'core_threshold must lie in [0, 1], got {self.core_threshold}. It is a share of '
                'log C; 0 publishes segments as they were judged.'
            )
        low, high = SHORT_SIDES
        if self.work_short_side and not low <= self.work_short_side <= high:
            raise BundleError(
                f'work_short_side must be 0 or lie in [{low}, {high}], got '
                f'{self.work_short_side}. 0 works at the size received.'
            )
        if self.min_size_px < 0:
            raise BundleError(
                f'min_size_px must be at least 0, got {self.min_size_px}. 0 keeps every segment.'
            )
        expected = metric_names(classes)
        for one in self.meta_classifiers:
            if one.metric_names != expected:
                raise BundleError(
                    f'meta classifier must be fitted on the {len(expected)} metrics of '
                    f'{classes} classes, got {len(one.metric_names)} others. It belongs to '
                    'another network: fit one with meta-ood-train fit-meta'
                )

    @property
    def num_classes(self) -> int:
        """Return C."""
        return len(self.class_names)

    @property
    def model_id(self) -> str:
        """Return '<name>@<first 12 hex digits of the digest>'."""
        return f'{self.name}@{self.digest[:12] or "unsaved"}'

    def build_network(self) -> OodNetwork:
        """
        Return the network with its weights, float32, in evaluation mode, on the CPU.

        Raises
        ------
        BundleError
            Architecture and weights do not fit.

        """
        try:
            if self.architecture == ONNX_ARCHITECTURE:
                return OnnxNetwork(self.onnx, num_classes=self.num_classes, **self.arguments)
            network = build_network(
                self.architecture, num_classes=self.num_classes, **self.arguments
            )
            weights = {
                key: value.float() if value.is_floating_point() else value
                for key, value in self.weights.items()
            }
            load_weights(network, weights, source=f'bundle {self.model_id}')
        except (ValueError, TypeError) as error:
            raise BundleError(f'network of bundle {self.model_id} cannot be built: {error}') from (
                error
            )
        return network.eval()
