"""
COCO's instances as OoD proxies: from its files to labelled images.

1. `files`        where images and annotation files lie
2. `annotations`  annotation files -> images with their instances, checked
3. `run_lengths`  segmentations (polygons, run lengths) -> masks
4. `rules`        which images and categories become proxies
5. `ood_images`   all of it -> samples whose unknown objects are OoD
"""

from meta_ood_training.datasets.coco.ood_images import CocoOod as CocoOod
from meta_ood_training.datasets.coco.ood_images import CocoReport as CocoReport
