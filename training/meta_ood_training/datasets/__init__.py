"""
Data sets on disk -> `Sample(image, target, name, group)`, one module per layout.

sample                  the record, and what a target's values mean
label_image, classes_file        values of a label file; one's own classes
paired                  image file + label file -> sample; what all layouts share
camvid, cityscapes, idd_lite, labelme_facade     in-distribution streets
ecssd, coco, objects, sources    OoD proxies, objects to paste, their splits; `coco` has rooms
object_folder           one's own objects: cut-outs, or images and masks
road_anomaly, fishyscapes, lost_and_found, segment_me_if_you_can, caos    OoD tests
folder                  one's own data, and overlay test sets
image_names             which image a name on the command line means
registry                `name=path` -> dataset
"""

from meta_ood_training.datasets.camvid import CamVid
from meta_ood_training.datasets.caos import BddAnomaly, StreetHazards
from meta_ood_training.datasets.cityscapes import Cityscapes
from meta_ood_training.datasets.classes_file import ClassTable, exported_classes, read_classes
from meta_ood_training.datasets.coco import CocoOod
from meta_ood_training.datasets.coco.rules import CocoRules, informative_rules, PUBLISHED_RULES
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.fishyscapes import Fishyscapes
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.datasets.idd_lite import IddLite
from meta_ood_training.datasets.labelme_facade import LabelMeFacade
from meta_ood_training.datasets.lost_and_found import LostAndFound
from meta_ood_training.datasets.object_folder import find_folder_objects
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
    'BddAnomaly',
    'CamVid',
    'Cityscapes',
    'ClassTable',
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
    'StreetHazards',
    'exported_classes',
    'find_coco_objects',
    'find_ecssd_objects',
    'find_folder_objects',
    'find_street_objects',
    'informative_rules',
    'open_dataset',
    'parse_dataset',
    'read_classes',
    'source_split',
]
