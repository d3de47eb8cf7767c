"""Options of `segments` -> the data sets, scenes and bags whose frames are taken."""

from __future__ import annotations

from collections.abc import Sequence

from meta_ood_ros.core.bundle import Bundle
from meta_ood_training.datasets.registry import fits_classes, open_dataset, parse_dataset
from meta_ood_training.segments.labelled_bags import BagFrames, BagOptions, LabelledBag
from meta_ood_training.segments.labelled_frames import (
    DatasetFrames,
    FrameSource,
    parse_seeds,
    SceneFrames,
)
from meta_ood_training.segments.options import ExtractionOptions
from meta_ood_training.segments.recorded_segments import RecordedSegments


def open_sources(options: ExtractionOptions, bundle: Bundle) -> list[FrameSource]:
    """
    Return the sources of frames in the order of the tables.

    Raises
    ------
    ValueError
        None at all, one that does not fit the bundle, or several that do not go together.

    """
    sources: list[FrameSource] = []
    for text in options.data:
        title, name, path = parse_dataset(text)
        split = title if title != name else options.split
        _check_classes(name, name, bundle)
        opened = open_dataset(
            name, path, num_classes=bundle.num_classes, class_names=bundle.class_names
        )
        sources.append(DatasetFrames(name, opened, split))
    if options.scenes:
        _check_classes('scenes', 'rendered scenes', bundle)
    sources += [
        SceneFrames(parse_seeds(text), shapes=options.scene_shapes, split=options.split)
        for text in options.scenes
    ]
    bag_options = BagOptions(
        image_topic=options.image_topic,
        label_topic=options.label_topic,
        label_folder=options.label_folder,
        segments_topic=options.recorded,
        ids_topic=options.recorded_ids,
        block_seconds=options.block_seconds,
        split=options.split,
    )
    kind = RecordedSegments if options.recorded else BagFrames
    bags = [kind(path, bag_options, bundle) for path in options.bags]
    _check_bags(bags)
    sources += bags
    if not sources:
        raise ValueError(
            'segments needs frames with ground truth, got none. Pass --data, --scenes or --bag.'
        )
    if options.recorded and options.label_rule != 'deployed':
        raise ValueError(
            f'recorded segments are as the node formed them, got --label-rule '
            f'{options.label_rule}. Leave it out, or leave out --recorded.'
        )
    if options.recorded and len(sources) != len(options.bags):
        raise ValueError(
            'recorded segments cannot be mixed with images, got --recorded beside --data or '
            '--scenes. Write them into two folders and give fit-meta both.'
        )
    return sources


def _check_classes(layout: str, described: str, bundle: Bundle) -> None:
    """Refuse labels that mean other classes than those of the network."""
    if not fits_classes(layout, bundle.class_names):
        raise ValueError(
            f'labels of {described} are Cityscapes train ids, got a network of other classes '
            f'({", ".join(bundle.class_names[:3])}, ...). Write images with labels of its own ids '
            'into a folder and pass --data folder=PATH.'
        )


def _check_bags(bags: Sequence[LabelledBag]) -> None:
    """Refuse bags that cannot be told apart: their frames would be one another's."""
    known: dict[str, LabelledBag] = {}
    for one in bags:
        same = known.setdefault(one.title, one)
        if same is not one:
            raise ValueError(
                f'bags must differ in name or begin, got {same.bag.path} and {one.bag.path}, both '
                f'{one.title}. Give each bag once, or rename one.'
            )
