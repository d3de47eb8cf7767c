"""Messages of a depth camera -> depth image and camera model; needs no ROS."""

from __future__ import annotations

import struct
from typing import Any

from meta_ood_ros.core.files.image_file import AS_SAMPLED, decode_image
from meta_ood_ros.core.places import CameraModel
import numpy as np

# mono16 is what the ZED driver calls its millimetres (openni_depth_mode).
_TYPES = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4'}
# compressed_depth_image_transport: format (int32) and two parameters (float32) before the PNG
_HEADER = struct.Struct('<iff')
_DO = 'Publish depth as 16UC1 [mm] or 32FC1 [m].'


def to_depth(message: Any) -> np.ndarray:
    """
    Return the depth of a sensor_msgs Image or of a CompressedImage of compressedDepth.

    Returns
    -------
    ndarray of shape (H, W), uint16 [mm] or float32 [m]
        It may be a view of the message: do not write to it.

    Raises
    ------
    ValueError
        Anything that is not a whole depth image.

    """
    if hasattr(message, 'encoding'):
        return _from_image(message)
    return _from_compressed(message)


def _from_image(message: Any) -> np.ndarray:
    if message.encoding not in _TYPES:
        raise ValueError(
            f'depth image must have encoding 16UC1 or 32FC1, got {message.encoding!r}. {_DO}'
        )
    dtype = np.dtype(('>' if message.is_bigendian else '<') + _TYPES[message.encoding])
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1 or step < width * dtype.itemsize:
        raise ValueError(
            f'depth image of {height} x {width} pixels must have a step of at least '
            f'{max(width, 1) * dtype.itemsize} bytes, got {step}. Check the camera driver.'
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size != height * step:
        raise ValueError(
            f'depth image data must be step x height = {step} x {height} = {height * step} bytes, '
            f'got {data.size}. Check the camera driver.'
        )
    rows = data.reshape(height, step)[:, : width * dtype.itemsize]
    return np.ascontiguousarray(rows).view(dtype)


def _from_compressed(message: Any) -> np.ndarray:
    encoding, _, transport = message.format.partition(';')
    encoding, transport = encoding.strip(), transport.strip().lower()
    if encoding not in _TYPES or not transport.startswith('compresseddepth'):
        raise ValueError(
            'compressed depth must have format "16UC1; compressedDepth" or '
            f'"32FC1; compressedDepth", got {message.format!r}. {_DO}'
        )
    if 'rvl' in transport:
        raise ValueError(
            f'compressed depth must be PNG, got {message.format!r}. '
            'Set the format of the publisher to png, or subscribe to the raw depth.'
        )
    content = bytes(message.data)
    image = decode_image(content[_HEADER.size :], flags=AS_SAMPLED, name='compressed depth')
    if image.dtype != np.uint16 or image.ndim != 2:
        raise ValueError(
            f'compressed depth must hold a PNG of 16 bits, got {image.dtype} of shape '
            f'{image.shape}. Check the driver.'
        )
    if encoding == '16UC1':
        return image
    _, a, b = _HEADER.unpack_from(content)
    depth = np.full(image.shape, np.nan, np.float32)
    np.divide(np.float32(a), image - np.float32(b), out=depth, where=image > 0)
    return depth


def to_camera_model(message: Any) -> CameraModel:
    """
    Return the camera model of a sensor_msgs CameraInfo.

    Raises
    ------
    ValueError
        It is not calibrated, or described in a way that cannot be honoured.

    """
    roi = message.roi
    return CameraModel.from_calibration(
        (message.height, message.width),
        message.k,
        message.d,
        message.distortion_model,
        binning=(message.binning_x, message.binning_y),
        region=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )
