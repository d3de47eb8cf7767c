"""
Encodings -> RGB by cv_bridge, where it is installed, can be loaded and decodes as it should.

What is unknown here it decodes alone. Of what both know it gets the encodings of 8 bits in which
it decodes a trial picture as we do; rgb8 is no conversion, and of 16 bits our own knows how many
are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
import importlib
from types import SimpleNamespace
from typing import Any

import cv2
from meta_ood_ros.core.error_text import first_line
import numpy as np

#: Encodings that cv_bridge and this package both know, with their bytes a pixel.
SHARED = {
    'bgr8': 3,
    'rgba8': 4,
    'bgra8': 4,
    'mono8': 1,
    'bayer_rggb8': 1,
    'bayer_bggr8': 1,
    'bayer_gbrg8': 1,
    'bayer_grbg8': 1,
    'yuv422': 2,
    'yuv422_yuy2': 2,
}
# OpenCV's own rounding differs from version to version.
_ALIKE = 1


def decode_with_either(
    convert: Callable[[np.ndarray], np.ndarray],
    samples: np.ndarray,
    data: Any,
    *,
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
) -> np.ndarray:
    """Return the pixels by cv_bridge where it has proved to decode as `convert`, else by that."""
    # cv_bridge takes rows for whole pixels, and OpenCV leaves small mosaics out.
    fits = encoding in SHARED and step % SHARED[encoding] == 0 and min(height, width) > 3
    if fits and _is_trusted(encoding, convert):
        pixels, _ = decode_with_cv_bridge(
            data, encoding=encoding, height=height, width=width, step=step,
            is_bigendian=is_bigendian,
        )  # fmt: skip
        if pixels is not None:
            return pixels
    return convert(samples)


def _is_trusted(encoding: str, convert: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Return whether cv_bridge decodes a picture of noise as we do; it is tried once."""
    loaded = _bridge()
    if loaded.bridge is not None and encoding not in loaded.trusted:
        channels = SHARED[encoding]
        # rows are padded by a pixel, which some versions take for part of the picture
        noise = np.random.default_rng(0).integers(0, 256, (8, 13 * channels), np.uint8)
        picture = np.ascontiguousarray(noise[:, : 12 * channels])
        theirs, _ = decode_with_cv_bridge(
            noise.ravel(), encoding=encoding, height=8, width=12, step=noise.shape[1],
            is_bigendian=False,
        )  # fmt: skip
        ours = convert(picture.reshape(8, 12, channels) if channels > 1 else picture)
        loaded.trusted[encoding] = theirs is not None and bool(
            cv2.norm(theirs, ours, cv2.NORM_INF) <= _ALIKE
        )
    return loaded.trusted.get(encoding, False)


def decode_with_cv_bridge(
    data: Any, *, encoding: str, height: int, width: int, step: int, is_bigendian: bool
) -> tuple[np.ndarray | None, str]:
    """
    Return the pixels as RGB, or None and the reason.

    The sizes are checked before: cv_bridge takes the fields of a message at their word.
    """
    loaded = _bridge()
    if loaded.bridge is None:
        return None, loaded.reason
    content = np.frombuffer(data, np.uint8)
    if step < width or content.size != step * height:
        return None, f'{content.size} bytes are not step x height = {step} x {height}'
    message = SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=content.tobytes(),
    )
    try:
        pixels = loaded.bridge.imgmsg_to_cv2(message, 'rgb8')
    except Exception as error:  # of whatever kind its version has
        return None, f'cv_bridge: {first_line(error)}'
    if getattr(pixels, 'shape', None) != (height, width, 3) or pixels.dtype != np.uint8:
        return None, 'cv_bridge gave no picture of 8 bits'
    return np.ascontiguousarray(pixels), ''


@dataclass(frozen=True)
class _Loaded:
    """The bridge, or why there is none, and which encodings it decodes as we do."""

    bridge: Any = None
    reason: str = ''
    trusted: dict[str, bool] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _bridge() -> _Loaded:
    try:
        return _Loaded(importlib.import_module('cv_bridge').CvBridge())
    # One that was built for another numpy fails with anything.
    except Exception as error:
        return _Loaded(reason=f'cv_bridge cannot be loaded: {first_line(error)}')
