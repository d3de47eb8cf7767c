"""
Data sets on disk -> `Sample(image, target, name, group)`, one module per layout.

sample                  the record, and what a target's values mean
paired                  image file + label file -> sample; what all layouts share
camvid, cityscapes, idd_lite, labelme_facade     in-distribution streets
ecssd, coco, objects, sources                    OoD proxies, objects to paste, their splits
coco_rules, coco_annotations, run_lengths        which of COCO's images; its files and masks
road_anomaly, fishyscapes, lost_and_found, segment_me_if_you_can    OoD tests
folder                  one's own data, and overlay test sets
image_names             which image a name on the command line means
registry                `name=path` -> dataset
"""

from meta_ood_training.datasets.camvid import CamVid
from meta_ood_training.datasets.cityscapes import Cityscapes
from meta_ood_training.datasets.coco import CocoOod
from meta_ood_training.datasets.coco_rules import CocoRules, informative_rules, PUBLISHED_RULES
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.fishyscapes import Fishyscapes
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.datasets.idd_lite import IddLite
from meta_ood_training.datasets.labelme_facade import LabelMeFacade
from meta_ood_training.datasets.lost_and_found import LostAndFound
from meta_ood_training.datasets.objects import (
    CutOut,
    find_coco_objects,
    find_ecssd_objects,
    find_street_objects,
    ObjectSource,
)
from meta_ood_training.datasets.paired import Pair, PairedImages
from meta_ood_training.datasets.registry import DATASETS, open_dataset, parse_dataset
from meta_ood_training.datasets.road_anomaly import RoadAnomaly
from meta_ood_training.datasets.sample import (
    IGNORED,
    IN_DISTRIBUTION,
    OOD,
    Sample,
    SampleDataset,
)
from meta_ood_training.datasets.segment_me_if_you_can import SegmentMeIfYouCan
from meta_ood_training.datasets.sources import source_split

__all__ = [
    'DATASETS',
    'IGNORED',
    'IN_DISTRIBUTION',
    'OOD',
    'PUBLISHED_RULES',
    'CamVid',
    'Cityscapes',
    'CocoOod',
    'CocoRules',
    'CutOut',
    'Ecssd',
    'Fishyscapes',
    'Folder',
    'IddLite',
    'LabelMeFacade',
    'LostAndFound',
    'ObjectSource',
    'Pair',
    'PairedImages',
    'RoadAnomaly',
    'Sample',
    'SampleDataset',
    'SegmentMeIfYouCan',
    'find_coco_objects',
    'find_ecssd_objects',
    'find_street_objects',
    'informative_rules',
    'open_dataset',
    'parse_dataset',
    'source_split',
]
