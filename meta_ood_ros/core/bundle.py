"""What ties together what must match: a network, its classes, its meta classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
import hashlib
import json
from typing import Any

from meta_ood_ros.core.error_text import first_line
from meta_ood_ros.core.files.bundle_checks import BundleError, check_fields
from meta_ood_ros.core.files.bundle_checks import LABEL_RULES as LABEL_RULES
from meta_ood_ros.core.image import IMAGENET_MEAN, IMAGENET_STD
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.networks import (
    build_network,
    check_arguments,
    NETWORK_BUILDERS,
    OodNetwork,
)
from meta_ood_ros.core.networks.checkpoints import load_weights
from meta_ood_ros.core.networks.onnx_network import OnnxNetwork
from meta_ood_ros.core.scorers import check_servable, FittedScore
from meta_ood_ros.core.segment_metrics import metric_names
import torch
from torch import Tensor

_OF_NETWORK = ('architecture', 'arguments', 'class_names', 'input_mean', 'input_std')

#: The architecture of a network that the user brings as an ONNX file.
ONNX_ARCHITECTURE = 'onnx'


@dataclass(frozen=True, eq=False, repr=False)
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
    score : str
        What is thresholded, one of `settings.SCORES`; the thresholds and the meta classifiers are
        of this score.
    label_rule : str
        'deployed' or 'published': on which pixels the classifier's segments were found.
    weights : mapping of str to Tensor
        State dict of the network; empty for 'onnx'.
    onnx : bytes
        The ONNX file; empty otherwise.
    meta_classifiers : tuple of MetaClassifier
        One for each entropy threshold; may be empty.
    fitted_score : FittedScore or None
        State and scale of the score; None for one that needs none, such as entropy.
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
    score: str = 'entropy'
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence_of_weights: str = ''
    data_terms: str = ''
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    onnx: bytes = b''
    meta_classifiers: tuple[MetaClassifier, ...] = ()
    fitted_score: FittedScore | None = None
    digest: str = ''

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        check_fields(vars(self))
        self._check_score()
        classes = len(self.class_names)
        expected = metric_names(classes)
        for one in self.meta_classifiers:
            if one.metric_names != expected:
                raise BundleError(
                    f'meta classifier must be fitted on the {len(expected)} metrics of '
                    f'{classes} classes, got {len(one.metric_names)} others. It belongs to '
                    'another network: fit one with meta-ood-train fit-meta'
                )

    def _check_score(self) -> None:
        fitted = self.fitted_score
        if fitted is not None and (fitted.name != self.score or self.score == 'entropy'):
            raise BundleError(
                f'score of a bundle must be the one that was fitted, {fitted.name}, and entropy '
                f'takes no fit, got {self.score}. Fit again: meta-ood-train fit-score'
            )
        try:
            check_servable(self.score, is_fitted=fitted is not None)
        except ValueError as error:
            raise BundleError(str(error)) from error

    def __repr__(self) -> str:
        """Return name, network and what it knows in a line."""
        return (
            f'Bundle({self.model_id}, {self.architecture}, {self.num_classes} classes, '
            f'{len(self.meta_classifiers)} meta classifiers)'
        )

    @property
    def num_classes(self) -> int:
        """Return C."""
        return len(self.class_names)

    @cached_property
    def network_sha256(self) -> str:
        """
        Return the SHA-256, in hex, of all that turns an image into logits of classes.

        Architecture and its arguments, input mean and standard deviation, class names; names,
        types, shapes and values of the weights. A new meta classifier does not change it.
        """
        described = {name: getattr(self, name) for name in _OF_NETWORK}
        # tuples and lists alike: a bundle has the ones when made and the others when loaded
        digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=dict).encode())
        digest.update(self.onnx)
        for name in sorted(self.weights):
            tensor = self.weights[name].detach().cpu().contiguous()
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)};'.encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def check_classifiers(self) -> None:
        """
        Refuse meta classifiers and a score that were fitted for another network.

        Raises
        ------
        BundleError
            One says that it belongs to another network.

        """
        fitted = self.fitted_score
        if fitted is not None and fitted.network_sha256 not in ('', self.network_sha256):
            raise BundleError(
                f'score {fitted.name} must be fitted for the network beside it, '
                f'{self.network_sha256[:12]}..., got one for {fitted.network_sha256[:12]}.... '
                'Take the one of this bundle, or fit one with meta-ood-train fit-score'
            )
        for one in self.meta_classifiers:
            if one.network_sha256 not in ('', self.network_sha256):
                raise BundleError(
                    f'meta classifier must be fitted for the network beside it, '
                    f'{self.network_sha256[:12]}..., got one for {one.network_sha256[:12]}.... '
                    'Take the one of this bundle, or fit one with meta-ood-train fit-meta'
                )

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
                check_arguments(ONNX_ARCHITECTURE, OnnxNetwork, self.arguments)
                return OnnxNetwork(
                    self.onnx,
                    num_classes=self.num_classes,
                    work_short_side=self.work_short_side,
                    **self.arguments,
                )
            builder = NETWORK_BUILDERS.get(self.architecture)
            if builder is not None:  # before a key such as num_classes is passed twice
                check_arguments(self.architecture, builder, self.arguments)
            network = build_network(
                self.architecture, num_classes=self.num_classes, **self.arguments
            )
            weights = {
                key: value.float() if value.is_floating_point() else value
                for key, value in self.weights.items()
            }
            load_weights(network, weights, source=f'bundle {self.model_id}')
        except ValueError as error:
            raise BundleError(f'network of bundle {self.model_id} cannot be built: {error}') from (
                error
            )
        except (TypeError, RuntimeError, MemoryError) as error:  # of torch, for a value in range
            raise BundleError(
                f'network of bundle {self.model_id} must be built from {dict(self.arguments)}, '
                f'got: {first_line(error)}. Correct arguments in bundle.yaml.'
            ) from error
        return network.eval()
