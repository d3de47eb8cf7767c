"""
The method without ROS: an image in, OoD segments out. The data path, one line a room.

1. `image`            camera image (H,W,3) uint8 RGB -> network input (1,3,h0,w0)
2. `networks`         network input -> logits (1,C,h,w), not upsampled; `backends`: how it runs
3. `uncertainty`      logits -> probabilities, normalized entropy (the definitions)
4. `dense`            logits -> semantic, entropy, max_probability at full size, in one pass
5. `segments`         entropy >= threshold -> 8-connected OoD segments
6. `segment_metrics`  segments -> the 37+2C metrics, one row a segment
7. `meta_classifier`  metrics -> ood_probability = P(true OoD), by one of the `meta_models`
8. `decision`         accepted segments -> the cores that are published, by the `segment_tree`
9. `scorers`          logits, and features -> other OoD scores of pixels than entropy
10. `places`          segments, and depth or flat ground -> where they are in space

`result` is what comes out, on the work grid and, through `received_grid`, in pixels of the image;
`pictures` draws it, `result_files` keeps it.

`pipeline` runs these in order; `bundle` ties network and meta classifier together, `bundle_files`
keeps them on disk, with `files`: the old or the new whole; `settings` is the one home of
every default; `classes` names the 19 classes of Cityscapes; `kernels` is how 4 to 6 are fast.

What these need: `result` (all that is said about an image), `validated_field` (one setting and
its range), `stopwatch` (milliseconds of each stage), `error_text` (what a library said, in our
sentence).
"""

from meta_ood_ros.core.backends import load_backend as load_backend
from meta_ood_ros.core.bundle import Bundle as Bundle
from meta_ood_ros.core.bundle_files import load_bundle as load_bundle
from meta_ood_ros.core.bundle_files import save_bundle as save_bundle
from meta_ood_ros.core.dense import DensePrediction as DensePrediction
from meta_ood_ros.core.dense import predict_dense as predict_dense
from meta_ood_ros.core.files.bundle_checks import BundleError as BundleError
from meta_ood_ros.core.files.meta_classifier_file import (
    load_meta_classifiers as load_meta_classifiers,
)
from meta_ood_ros.core.files.meta_classifier_file import (
    save_meta_classifiers as save_meta_classifiers,
)
from meta_ood_ros.core.image import open_image as open_image
from meta_ood_ros.core.image import to_network_input as to_network_input
from meta_ood_ros.core.image import to_work_size as to_work_size
from meta_ood_ros.core.meta_classifier import MetaClassifier as MetaClassifier
from meta_ood_ros.core.networks import build_network as build_network
from meta_ood_ros.core.networks import NETWORK_NAMES as NETWORK_NAMES
from meta_ood_ros.core.networks.checkpoints import load_checkpoint as load_checkpoint
from meta_ood_ros.core.networks.checkpoints import load_weights as load_weights
from meta_ood_ros.core.pictures import draw_overlay as draw_overlay
from meta_ood_ros.core.pipeline import OodPipeline as OodPipeline
from meta_ood_ros.core.result import ImageSizeResult as ImageSizeResult
from meta_ood_ros.core.result import OodResult as OodResult
from meta_ood_ros.core.result_files import load_result as load_result
from meta_ood_ros.core.result_files import save_result as save_result
from meta_ood_ros.core.segment_metrics import measure_segments as measure_segments
from meta_ood_ros.core.segment_metrics import (
    measure_segments_from_logits as measure_segments_from_logits,
)
from meta_ood_ros.core.segment_metrics import metric_names as metric_names
from meta_ood_ros.core.segment_metrics import SegmentMetrics as SegmentMetrics
from meta_ood_ros.core.segments import find_segments as find_segments
from meta_ood_ros.core.segments import Segments as Segments
from meta_ood_ros.core.segments import SegmentSummary as SegmentSummary
from meta_ood_ros.core.segments import summarize_segments as summarize_segments
from meta_ood_ros.core.settings import FROM_BUNDLE as FROM_BUNDLE
from meta_ood_ros.core.settings import NodeSettings as NodeSettings
from meta_ood_ros.core.settings import PipelineSettings as PipelineSettings
from meta_ood_ros.core.uncertainty import normalized_entropy as normalized_entropy
from meta_ood_ros.core.uncertainty import probability_margin as probability_margin
from meta_ood_ros.core.uncertainty import softmax_probabilities as softmax_probabilities
from meta_ood_ros.core.uncertainty import variation_ratio as variation_ratio
