"""Encodings that are unknown here -> RGB by cv_bridge, where it is installed and can be loaded."""

from __future__ import annotations

from functools import lru_cache
import importlib
from types import SimpleNamespace
from typing import Any

from meta_ood_ros.core.error_text import first_line
import numpy as np


def decode_with_cv_bridge(
    data: Any, *, encoding: str, height: int, width: int, step: int, is_bigendian: bool
) -> tuple[np.ndarray | None, str]:
    """
    Return the pixels as RGB, or None and the reason.

    The sizes are checked before: cv_bridge takes the fields of a message at their word.
    """
    bridge, reason = _bridge()
    if bridge is None:
        return None, reason
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
        pixels = bridge.imgmsg_to_cv2(message, 'rgb8')
    except Exception as error:  # of whatever kind its version has
        return None, f'cv_bridge: {first_line(error)}'
    if getattr(pixels, 'shape', None) != (height, width, 3) or pixels.dtype != np.uint8:
        return None, 'cv_bridge gave no picture of 8 bits'
    return np.ascontiguousarray(pixels), ''


@lru_cache(maxsize=1)
def _bridge() -> tuple[Any, str]:
    try:
        return importlib.import_module('cv_bridge').CvBridge(), ''
    # One that was built for another numpy fails with anything.
    except Exception as error:
        return None, f'cv_bridge cannot be loaded: {first_line(error)}'
