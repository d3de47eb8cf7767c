"""Name of an image in a table -> its pixels again, from where the segments were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meta_ood_ros.bags.bag import Bag, IMAGE_TYPES
from meta_ood_ros.core.bundle import Bundle
from meta_ood_ros.scenes import render_scene
from meta_ood_training.datasets import open_dataset, parse_dataset
from meta_ood_training.segments.labelled_frames import SCENE_SIZE
from meta_ood_training.segments.options import ExtractionOptions
import numpy as np


def describe_places(options: ExtractionOptions, titles: Sequence[str]) -> list[dict[str, Any]]:
    """Return where each source lies, in the order in which they are opened."""
    places: list[dict[str, Any]] = []
    for text in options.data:
        _, layout, path = parse_dataset(text)
        places.append({'data': f'{layout}={path.resolve()}'})
    places += [{'scenes': options.scene_shapes} for _ in options.scenes]
    places += [{'bag': str(one.resolve()), 'topic': options.image_topic} for one in options.bags]
    return [{'title': title, **one} for title, one in zip(titles, places, strict=True)]


def find_image(
    sidecars: Sequence[Mapping[str, Any]], name: str, bundle: Bundle
) -> np.ndarray | None:
    """
    Return an image by its name in the table of frames.

    Returns
    -------
    ndarray of shape (H, W, 3), uint8, or None
        RGB; None where it lies there no more, or the table is of a version that does not say.

    """
    for sidecar in sidecars:
        for place in sidecar.get('places', ()):
            title, slash, rest = name.partition('/')
            if slash and title == place['title']:
                try:
                    image = _read(place, rest, bundle)
                except (OSError, ValueError):
                    continue
                if image is not None:
                    return image
    return None


def _read(place: Mapping[str, Any], rest: str, bundle: Bundle) -> np.ndarray | None:
    if 'data' in place:
        _, layout, path = parse_dataset(place['data'])
        dataset = open_dataset(
            layout, path, num_classes=bundle.num_classes, class_names=bundle.class_names
        )
        names = list(dataset.names)
        return dataset[names.index(rest)].image if rest in names else None
    if 'scenes' in place:
        return render_scene(int(rest), size=SCENE_SIZE, split=place['scenes']).image
    bag = Bag(Path(place['bag']))
    for message in bag.read(bag.choose_topic(IMAGE_TYPES, place['topic'], option='--image-topic')):
        if message.stamp_ns == int(rest):
            return message.to_rgb()
    return None
