"""
Images or bags with ground truth -> Parquet, one row a segment, and back into arrays.

1.  `segment_folder`     `extract_segments`, the whole way; `command` is its verb
2.  `options`, `sources` what to extract -> data sets, scenes and bags
3.  `labelled_frames`, `labelled_bags`  their images with truth, one at a time
4.  `stamp_matching`     messages of several topics -> those of equal stamp
5.  `labels`             segments of one image + its target -> which are true
6.  `extraction`         bundle + labelled image -> rows, for several entropy thresholds
7.  `recorded_segments`, `recorded_rows`  the same from what a node has published
8.  `table`              rows <-> Parquet; `schemas`, `pieces`: what is done of them; `description`
9.  `folders`            folders of segments -> what they share
10. `loading`            Parquet -> the segments of one entropy threshold
11. `segment_set`        these segments as arrays
12. `frame_images`       name of an image -> its pixels again
"""

from typing import TYPE_CHECKING

from meta_ood_training.lazy_exports import export_lazily

if TYPE_CHECKING:
    from meta_ood_training.segments.options import ExtractionOptions as ExtractionOptions
    from meta_ood_training.segments.segment_folder import extract_segments as extract_segments
    from meta_ood_training.segments.segment_folder import SegmentsResult as SegmentsResult

__getattr__ = export_lazily(
    __name__,
    {
        'extract_segments': 'segment_folder',
        'ExtractionOptions': 'options',
        'SegmentsResult': 'segment_folder',
    },
)
