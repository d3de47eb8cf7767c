"""
The offline half of meta_ood: what a team does with its recordings before its robot drives.

Each function is also a verb of `meta-ood-train`, takes plain values and returns a frozen record
with numbers, paths and figures; what is wrong raises ValueError or OSError, nothing is printed.

1. `make_overlay`      objects + street frames -> a test set with exact labels
2. `finetune`          config + data -> a network that is uncertain on OoD objects
3. `export_bundle`     its checkpoint -> a bundle
4. `extract_segments`  bundle + images with truth -> a table of segments
5. `fit_meta`          that table -> the bundle with a meta classifier, judged
6. `evaluate`          bundles x data sets -> pixel scores
7. `predict`           bundle + images, a video or a bag -> pictures and segments on disk
8. `adapt`             bundle + recordings without labels -> a bundle for their domain

The wings, in this order: `datasets`, `overlays`, `finetuning`, `bundles`, `segments`, `meta`,
`evaluation`, `prediction`, `adaptation`; `provenance` says where a result comes from.
"""

import os
from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

# As meta_ood_ros does, which may be imported after torch here.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

if TYPE_CHECKING:
    from meta_ood_training.adaptation.adapt_run import adapt as adapt
    from meta_ood_training.adaptation.options import AdaptOptions as AdaptOptions
    from meta_ood_training.adaptation.stages import AdaptResult as AdaptResult
    from meta_ood_training.bundles.export import BundleResult as BundleResult
    from meta_ood_training.bundles.export import export_bundle as export_bundle
    from meta_ood_training.evaluation.bundle_scores import evaluate as evaluate
    from meta_ood_training.evaluation.bundle_scores import EvaluationResult as EvaluationResult
    from meta_ood_training.finetuning.training_run import finetune as finetune
    from meta_ood_training.finetuning.training_run import FinetuneResult as FinetuneResult
    from meta_ood_training.meta.fitted_bundle import fit_meta as fit_meta
    from meta_ood_training.meta.options import FitMetaOptions as FitMetaOptions
    from meta_ood_training.meta.result import FitMetaResult as FitMetaResult
    from meta_ood_training.overlays.overlay_set import make_overlay as make_overlay
    from meta_ood_training.overlays.overlay_set import OverlayResult as OverlayResult
    from meta_ood_training.prediction.prediction_folder import predict as predict
    from meta_ood_training.prediction.prediction_folder import (
        PredictionResult as PredictionResult,
    )
    from meta_ood_training.segments.options import ExtractionOptions as ExtractionOptions
    from meta_ood_training.segments.segment_folder import extract_segments as extract_segments
    from meta_ood_training.segments.segment_folder import SegmentsResult as SegmentsResult

_HOMES = {
    'make_overlay': 'overlays.overlay_set',
    'OverlayResult': 'overlays.overlay_set',
    'finetune': 'finetuning.training_run',
    'FinetuneResult': 'finetuning.training_run',
    'export_bundle': 'bundles.export',
    'BundleResult': 'bundles.export',
    'extract_segments': 'segments.segment_folder',
    'ExtractionOptions': 'segments.options',
    'SegmentsResult': 'segments.segment_folder',
    'fit_meta': 'meta.fitted_bundle',
    'FitMetaOptions': 'meta.options',
    'FitMetaResult': 'meta.result',
    'evaluate': 'evaluation.bundle_scores',
    'EvaluationResult': 'evaluation.bundle_scores',
    'predict': 'prediction.prediction_folder',
    'PredictionResult': 'prediction.prediction_folder',
    'adapt': 'adaptation.adapt_run',
    'AdaptOptions': 'adaptation.options',
    'AdaptResult': 'adaptation.stages',
}

__all__ = list(_HOMES)
__getattr__ = export_lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(_HOMES)
