"""
Images, a video or a bag -> pictures and segments on disk, without a node.

1. `inputs`             a path -> frames, one after the other
2. `frame_files`        OodResult -> the files of one frame, its record last; `polygons` for COCO,
                        `benchmark_files` for two public benchmarks
3. `tables`             records of all frames -> JSON lines or Parquet, and COCO
4. `overlapping`        decoding, network and writing at the same time
5. `prediction_folder`  `predict`, the whole way, of these `run_facts`; `command` is its verb
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.prediction.prediction_folder import predict as predict
    from meta_ood_training.prediction.prediction_folder import PredictionResult as PredictionResult

__getattr__ = export_lazily(
    __name__, {'predict': 'prediction_folder', 'PredictionResult': 'prediction_folder'}
)
