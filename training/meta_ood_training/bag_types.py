"""Recorded bytes -> message objects and their pixels, without ROS."""

from __future__ import annotations

from typing import Any

from meta_ood_ros.compressed import decode_compressed
from meta_ood_ros.encodings import decode_pixels
from meta_ood_training.bag_messages import BagMessage
import numpy as np
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
SEGMENTS_TYPE = 'meta_ood_msgs/msg/OodSegmentArray'


class Deserializer:
    """Turns recorded bytes into message objects; learns foreign types from the bag itself."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_KILTED)

    def __call__(self, message: BagMessage) -> Any:
        """Return the message object."""
        if message.type_name not in self._store.types:
            if not message.definition:
                raise ValueError(
                    f'bag must hold the definition of {message.type_name}, got none for topic '
                    f'{message.topic}. Record again with ROS 2 Iron or later, or as .mcap.'
                )
            self._store.register(get_types_from_msg(message.definition, message.type_name))
        return self._store.deserialize_cdr(message.data, message.type_name)


def to_rgb(message: Any) -> np.ndarray:
    """Return the RGB pixels of an Image or CompressedImage object, (H, W, 3) uint8."""
    if hasattr(message, 'format'):
        return decode_compressed(message.data, format=message.format)
    return decode_pixels(
        message.data,
        encoding=message.encoding,
        height=message.height,
        width=message.width,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
    )


def to_labels(message: Any) -> np.ndarray:
    """Return the pixels of a mono8 or mono16 Image object, (H, W) uint8 or uint16."""
    encoding = getattr(message, 'encoding', 'CompressedImage')
    kinds = {'mono8': np.uint8, '8UC1': np.uint8, 'mono16': np.uint16, '16UC1': np.uint16}
    if encoding not in kinds:
        raise ValueError(
            f'labels must be an Image with encoding mono8 or mono16, got {encoding!r}. Record '
            'class ids, not colours; never compress them as JPEG.'
        )
    kind = np.dtype(kinds[encoding]).newbyteorder('>' if message.is_bigendian else '<')
    data = np.frombuffer(bytes(message.data), dtype=np.uint8)
    if len(data) != message.height * message.step or message.step < message.width * kind.itemsize:
        raise ValueError(
            f'labels of {message.height} rows of {message.step} bytes must have '
            f'{message.height * message.step} bytes, got {len(data)}. The message is damaged.'
        )
    rows = data.reshape(message.height, message.step)[:, : message.width * kind.itemsize]
    return np.ascontiguousarray(rows).view(kind).astype(kinds[encoding])
