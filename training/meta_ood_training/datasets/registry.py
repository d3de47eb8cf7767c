"""`name=path` on the command line or in a config -> a dataset."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_training.datasets.camvid import CamVid
from meta_ood_training.datasets.caos import BddAnomaly, StreetHazards
from meta_ood_training.datasets.cityscapes import Cityscapes
from meta_ood_training.datasets.coco import CocoOod
from meta_ood_training.datasets.ecssd import Ecssd
from meta_ood_training.datasets.fishyscapes import Fishyscapes
from meta_ood_training.datasets.folder import Folder
from meta_ood_training.datasets.idd_lite import IddLite
from meta_ood_training.datasets.labelme_facade import LabelMeFacade
from meta_ood_training.datasets.lost_and_found import LostAndFound
from meta_ood_training.datasets.road_anomaly import RoadAnomaly
from meta_ood_training.datasets.sample import SampleDataset
from meta_ood_training.datasets.segment_me_if_you_can import SegmentMeIfYouCan

DATASETS: dict[str, Callable[[str | Path], SampleDataset]] = {
    'bdd_anomaly': BddAnomaly,
    'camvid_train': partial(CamVid, split='train'),
    'camvid_fit': partial(CamVid, split='fit'),
    'camvid_select': partial(CamVid, split='select'),
    'camvid_val': partial(CamVid, split='val'),
    'camvid_test': partial(CamVid, split='test'),
    'camvid_test_unseen': partial(CamVid, split='test_unseen'),
    'cityscapes_train': partial(Cityscapes, split='train'),
    'cityscapes_val': partial(Cityscapes, split='val'),
    'coco': CocoOod,
    'ecssd': Ecssd,
    'fishyscapes': Fishyscapes,
    'fishyscapes_lost_and_found': partial(Fishyscapes, part='LostAndFound'),
    'fishyscapes_static': partial(Fishyscapes, part='Static'),
    'folder': Folder,
    'folder_fit': partial(Folder, part='fit'),
    'folder_select': partial(Folder, part='select'),
    'idd_lite': IddLite,
    'idd_lite_select': partial(IddLite, part='select', is_known=True),
    'labelme_facade': LabelMeFacade,
    'labelme_facade_fit': partial(LabelMeFacade, part='fit'),
    'labelme_facade_select': partial(LabelMeFacade, part='select'),
    'lost_and_found_test': partial(LostAndFound, split='test'),
    'lost_and_found_test_with_non_hazards': partial(
        LostAndFound, split='test', non_hazards='in_distribution'
    ),
    'lost_and_found_train': partial(LostAndFound, split='train'),
    'road_anomaly': RoadAnomaly,
    'segment_me_if_you_can': SegmentMeIfYouCan,
    'street_hazards': StreetHazards,
}
"""Every layout with the options that evaluation needs, by the name used on the command line."""


FOR_ANY_CLASSES = (
    'coco',
    'ecssd',
    'fishyscapes',
    'fishyscapes_lost_and_found',
    'fishyscapes_static',
    'folder',
    'folder_fit',
    'folder_select',
    'road_anomaly',
    'segment_me_if_you_can',
)
"""Layouts whose labels name no class, and `folder`, whose labels hold the network's own ids; all
others hold Cityscapes train ids."""


FOLDERS = {'folder': 'all', 'folder_fit': 'fit', 'folder_select': 'select'}
"""Layouts of one's own images, by the part that each opens."""


def fits_classes(name: str, class_names: Sequence[str]) -> bool:
    """Return whether the class ids in a layout's labels, if any, mean a network's classes."""
    return name in FOR_ANY_CLASSES or tuple(class_names) == tuple(CITYSCAPES_NAMES)


def open_dataset(
    name: str,
    path: str | Path,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> SampleDataset:
    """
    Return a dataset by its name.

    Parameters
    ----------
    name : str
        A key of DATASETS.
    path : str or Path
        Where it lies.
    num_classes : int, optional
        Of the network, whose own class ids the labels of a `folder` hold.
    class_names : sequence of str, optional
        Of the network, by which a `folder` with its own `classes.yaml` is read.

    Returns
    -------
    SampleDataset

    """
    if name not in DATASETS:
        nearest = get_close_matches(name, DATASETS, 1, 0.4)
        hint = f' Did you mean {nearest[0]!r}?' if nearest else ''
        raise ValueError(
            f'dataset must be one of {", ".join(sorted(DATASETS))}, got {name!r}.{hint}'
        )
    if name in FOLDERS:
        part = FOLDERS[name]
        return Folder(path, num_classes=num_classes, class_names=class_names, part=part)
    return DATASETS[name](path)


def parse_dataset(text: str) -> tuple[str, str, Path]:
    """
    Return title, layout name and path of `[title:]name=path`.

    Parameters
    ----------
    text : str
        As given on the command line, such as `road_anomaly=data/road_anomaly` or
        `overlay:folder=runs/overlay`.

    Returns
    -------
    tuple of (str, str, Path)
        The title is the layout name where none is given.

    """
    key, equals, path = text.partition('=')
    title, colon, name = key.partition(':')
    if not equals or not path or not title:
        raise ValueError(
            f'a dataset must be given as [title:]name=path, got {text!r}. '
            f'Example: road_anomaly=data/road_anomaly.'
        )
    return title, name if colon else title, Path(path).expanduser()
