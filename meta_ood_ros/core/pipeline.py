"""OodPipeline: camera image -> OoD segments with their probability, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meta_ood_ros.core.backends import load_backend
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.decision import judge_segments, publish_cores
from meta_ood_ros.core.dense import predict_dense
from meta_ood_ros.core.image import open_image, to_network_input, to_work_grid, to_work_size
from meta_ood_ros.core.meta_classifier import find_nearest_classifier
from meta_ood_ros.core.networks.feature_network import FeatureNetwork
from meta_ood_ros.core.networks.ood_network import OodNetwork
from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.scorers import bundle_threshold, check_classifiers, SCORERS, serve
from meta_ood_ros.core.segment_metrics import measure_segments_from_logits, SegmentMetrics
from meta_ood_ros.core.segments import find_segments, summarize_segments
from meta_ood_ros.core.settings import FROM_BUNDLE, PipelineSettings
from meta_ood_ros.core.stopwatch import Stopwatch
import numpy as np
import torch


class OodPipeline:
    """
    The whole method for one network: call it with an image, get an `OodResult`.

    Parameters
    ----------
    bundle : Bundle, str or Path, optional
        Network and meta classifier, or the name of an installed bundle or the directory of one;
        the installed default where absent.
    settings : PipelineSettings, optional
        Thresholds and work size; by default those of the bundle.
    device : str
        'cpu', 'cuda', 'cuda:N' or 'auto'.
    backend, precision : str
        How the network runs, see `load_backend`.
    **options
        Further options of `load_backend`.

    Attributes
    ----------
    backend : Backend
        The network, ready to run.
    score : str
        What is thresholded.
    fixed_size : (int, int) or None
        Height and width of the network's input where it takes no other.
    has_fixed_batch : bool
        Whether the network takes one image at a time and no more.

    Examples
    --------
    >>> from meta_ood_ros.core import OodPipeline
    >>> pipeline = OodPipeline()
    >>> result = pipeline(np.zeros((96, 128, 3), dtype=np.uint8))
    >>> result.entropy.shape == result.work_size
    True

    """

    def __init__(
        self,
        bundle: Bundle | str | Path | None = None,
        settings: PipelineSettings | None = None,
        device: str = 'cpu',
        *,
        backend: str = 'auto',
        precision: str = 'auto',
        **options: Any,
    ) -> None:
        self.bundle = load_bundle(bundle)
        self.settings = settings or PipelineSettings()
        self.score = self.settings.score or self.bundle.score
        check_classifiers(self.score, [one.score for one in self.bundle.meta_classifiers])
        self.effective_thresholds(self.settings)
        network = self.build_network()
        self._stride, self._align_corners = network.stride, network.align_corners
        self.fixed_size, self.has_fixed_batch = network.fixed_size, network.has_fixed_batch
        self._served = serve(self.score, self.bundle, align_corners=self._align_corners)
        self.backend = load_backend(
            backend, network, device=device, precision=precision, **options
        )

    def build_network(self) -> OodNetwork:
        """Return the bundle's network; where the score looks at features, logits and these."""
        network = self.bundle.build_network()
        return FeatureNetwork(network) if SCORERS[self.score].uses_features else network

    def __repr__(self) -> str:
        """Return network, backend and device in a line."""
        return f'OodPipeline({self.bundle.model_id}, {self.backend.name} on {self.backend.device})'

    def __call__(
        self,
        image: np.ndarray | str | Path | Any,
        *,
        settings: PipelineSettings | None = None,
        ignore_mask: np.ndarray | None = None,
    ) -> OodResult:
        """
        Find the OoD segments of one image.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), uint8, or str, Path or PIL image
            RGB; a path is read, see `open_image`.
        settings : PipelineSettings, optional
            For this image only; its work_short_side counts, too.
        ignore_mask : ndarray of shape (H, W), bool, optional
            True where nothing is ever OoD.

        Returns
        -------
        OodResult
            Maps and segments on the work grid.

        Raises
        ------
        ValueError
            The image has another shape or type, or the network gave NaN.

        """
        return self.batch([image], settings=[settings], ignore_masks=[ignore_mask])[0]

    def batch(
        self,
        images: Sequence[np.ndarray | str | Path | Any],
        *,
        settings: Sequence[PipelineSettings | None] | None = None,
        ignore_masks: Sequence[np.ndarray | None] | None = None,
    ) -> list[OodResult]:
        """
        Find the OoD segments of several images that go through the network together.

        Parameters
        ----------
        images : sequence of what a call takes
            All of one work size, see `work_size`.
        settings : sequence of PipelineSettings or None, optional
            One an image; None stands for those of the pipeline.
        ignore_masks : sequence of ndarray of shape (H, W), bool, or None, optional
            One an image.

        Returns
        -------
        list of OodResult
            As of one call an image, up to rounding; the network's time is that of all images.

        Raises
        ------
        ValueError
            An image has another shape or type, the work sizes differ, or the network gave NaN.

        """
        chosen = [one or self.settings for one in settings or [None] * len(images)]
        masks = ignore_masks or [None] * len(images)
        opened = [open_image(image) for image in images]
        sizes = [(image.shape[0], image.shape[1]) for image in opened]
        work_sizes = {self.work_size(*one) for one in zip(sizes, chosen, strict=True)}
        if len(work_sizes) != 1:
            raise ValueError(
                f'images of a batch must have one work size, got {sorted(work_sizes)}. '
                'Call the pipeline once for each work size.'
            )
        (work_size,) = work_sizes
        watches = [Stopwatch() for _ in opened]
        inputs = []
        for image, watch in zip(opened, watches, strict=True):
            with watch('preparation'):
                inputs.append(self._to_input(image, work_size))
        together = Stopwatch()
        with together('network'):
            logits = self.backend(inputs[0] if len(inputs) == 1 else torch.cat(inputs))
            if logits.is_cuda:  # the kernels run on: without this the next stage pays
                torch.cuda.synchronize(logits.device)
        results = []
        for number, watch in enumerate(watches):
            watch.milliseconds |= together.milliseconds
            given = logits[number], work_size, sizes[number], chosen[number], masks[number]
            results.append(self._from_logits(*given, watch))
        return results

    def from_logits(
        self,
        logits: torch.Tensor,
        size: tuple[int, int],
        *,
        settings: PipelineSettings | None = None,
        ignore_mask: np.ndarray | None = None,
    ) -> OodResult:
        """
        Find the OoD segments from what the network said; all but the network itself.

        Parameters
        ----------
        logits : Tensor of shape (C, h', w'), or (C + D, h', w') with the features
            As `backend` gives them, on the grid of the network's output.
        size : (int, int)
            Height and width of the work grid, in pixels.
        settings, ignore_mask : optional
            For this image only, as in a call; the mask is on the work grid.

        Returns
        -------
        OodResult
            With `image_size` equal to `work_size`.

        """
        settings = settings or self.settings
        return self._from_logits(logits, size, size, settings, ignore_mask, Stopwatch())

    def work_size(
        self, image_size: tuple[int, int], settings: PipelineSettings | None = None
    ) -> tuple[int, int]:
        """Return height and width in pixels of the grid on which such an image is seen."""
        chosen = settings or self.settings
        side, most = self.effective_short_side(chosen), chosen.max_work_pixels
        return to_work_size(image_size, short_side=side, stride=self._stride, max_pixels=most)

    def effective_short_side(self, settings: PipelineSettings) -> int:
        """Return the short side of that grid in pixels, the bundle's where none is set."""
        short_side = settings.work_short_side
        return self.bundle.work_short_side if short_side == FROM_BUNDLE else short_side

    def effective_thresholds(self, settings: PipelineSettings) -> tuple[float, float]:
        """Return entropy and meta threshold, those of the bundle where none is set."""
        bundle = self.bundle
        entropy, meta = settings.entropy_threshold, settings.meta_threshold
        return (
            bundle_threshold(bundle, self.score) if entropy == FROM_BUNDLE else entropy,
            bundle.meta_threshold if meta == FROM_BUNDLE else meta,
        )

    def effective_core_threshold(self, settings: PipelineSettings) -> float:
        """Return where accepted segments are cut; 0 where they are published as judged."""
        core = settings.core_threshold
        if core == FROM_BUNDLE:
            core = self.bundle.core_threshold if self.score == self.bundle.score else 0.0
        return core if core > self.effective_thresholds(settings)[0] else 0.0

    def _to_input(self, image: np.ndarray, work_size: tuple[int, int]) -> torch.Tensor:
        return to_network_input(
            image,
            work_size,
            mean=self.bundle.input_mean,
            std=self.bundle.input_std,
            device=self.backend.device,
        )

    def _from_logits(
        self,
        logits: torch.Tensor,
        work_size: tuple[int, int],
        image_size: tuple[int, int],
        settings: PipelineSettings,
        ignore_mask: np.ndarray | None,
        watch: Stopwatch,
    ) -> OodResult:
        entropy_threshold, meta_threshold = self.effective_thresholds(settings)
        with watch('dense'):
            outputs, logits = logits, logits[: self.bundle.num_classes]
            dense = predict_dense(logits, work_size, align_corners=self._align_corners)
            if self._served is not None:
                dense = replace(dense, entropy=self._served(work_size, outputs))
        with watch('segments'):
            ood_mask = dense.entropy >= np.float32(entropy_threshold)
            ignored = to_work_grid(ignore_mask, image_size, work_size)
            if ignored is not None:
                ood_mask &= ~ignored
            min_size_px = settings.min_size_px or self.bundle.min_size_px
            segments = find_segments(ood_mask, min_size_px=min_size_px)
        with watch('metrics'):
            metrics = measure_segments_from_logits(
                logits,
                work_size,
                segments,
                align_corners=self._align_corners,
                dense=dense,  # the classes of the neighbours stand there already
            )
        with watch('meta_classifier'):
            classifier = find_nearest_classifier(self.bundle.meta_classifiers, entropy_threshold)
            ood_probability, accepted = judge_segments(classifier, metrics, meta_threshold)
        core_threshold = self.effective_core_threshold(settings)
        with watch('segments'):
            if core_threshold:
                segments, row = publish_cores(
                    segments, accepted, dense.entropy, core_threshold, min_size_px=min_size_px
                )
                metrics = SegmentMetrics(metrics.values[row], metrics.names)
                ood_probability, accepted = ood_probability[row], accepted[row]
            summary = summarize_segments(segments, dense.semantic, dense.entropy)
        return OodResult(
            semantic=dense.semantic,
            entropy=dense.entropy,
            max_probability=dense.max_probability,
            segments=segments,
            metrics=metrics,
            ood_probability=ood_probability,
            accepted=accepted,
            summary=summary,
            entropy_threshold=entropy_threshold,
            meta_threshold=meta_threshold,
            core_threshold=core_threshold,
            score=self.score,
            classifier_threshold=None if classifier is None else classifier.entropy_threshold,
            image_size=image_size,
            work_size=work_size,
            ignored=ignored,
            milliseconds=watch.milliseconds,
            class_names=self.bundle.class_names,
            class_colors=self.bundle.class_colors,
        )
