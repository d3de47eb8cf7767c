"""Depth images and calibrations as drivers send them, whole and broken."""

import struct
from types import SimpleNamespace

import cv2
from meta_ood_ros.messages.depth_messages import to_camera_model, to_depth
import numpy as np
import pytest

DEPTH = np.arange(12, dtype=np.uint16).reshape(3, 4) * 500


def image(pixels, encoding, *, padding=0, big=False, **changes):
    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.ascontiguousarray(stored).view(np.uint8).reshape(len(pixels), -1)
    data = np.pad(rows, ((0, 0), (0, padding)))
    fields = {
        'height': pixels.shape[0], 'width': pixels.shape[1], 'encoding': encoding,
        'is_bigendian': big, 'step': data.shape[1], 'data': data.tobytes(),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def compressed(pixels, name, a=0.0, b=0.0):
    _, png = cv2.imencode('.png', pixels)
    return SimpleNamespace(format=name, data=struct.pack('<iff', 0, a, b) + png.tobytes())


def cut_short():
    message = compressed(DEPTH, '16UC1; compressedDepth png')
    message.data = message.data[:-20]
    return message


def huge():
    """Return a small file whose header asks for 2 x 65535^2 bytes."""
    message = compressed(DEPTH, '16UC1; compressedDepth png')
    data = bytearray(message.data)
    data[28:36] = struct.pack('>II', 65535, 65535)  # IHDR, behind 12 bytes of ours and 16 of PNG
    message.data = bytes(data)
    return message


@pytest.mark.parametrize('padding', [0, 8])
@pytest.mark.parametrize('big', [False, True])
def test_both_encodings_in_both_byte_orders_with_and_without_padding(big, padding):
    for name in ('16UC1', 'mono16'):
        found = to_depth(image(DEPTH, name, big=big, padding=padding))
        np.testing.assert_array_equal(found, DEPTH)
    metres = (DEPTH / 1000).astype(np.float32)
    metres[0, 0] = np.nan
    np.testing.assert_array_equal(
        to_depth(image(metres, '32FC1', big=big, padding=padding)), metres
    )


def test_compressed_millimetres_are_lossless():
    np.testing.assert_array_equal(to_depth(compressed(DEPTH, '16UC1; compressedDepth png')), DEPTH)
    np.testing.assert_array_equal(to_depth(compressed(DEPTH, '16UC1; compressedDepth')), DEPTH)


def test_compressed_metres_are_inverse_depth():
    # what compressed_depth_image_transport stores: a / z + b, 0 for no depth
    a, b = 100.0 * 101.0, -100.0
    z = np.array([[0.5, 1.0, 4.0, 9.0]], np.float32)
    stored = np.where(z > 0, a / z + b, 0).astype(np.uint16)
    stored[0, 3] = 0
    found = to_depth(compressed(stored, '32FC1; compressedDepth png', a, b))
    np.testing.assert_allclose(found[0, :3], z[0, :3], rtol=1e-3)
    assert np.isnan(found[0, 3])


@pytest.mark.parametrize(
    ('message', 'sentence'),
    [
        (image(DEPTH, 'rgb16'), "must have encoding 16UC1 or 32FC1, got 'rgb16'"),
        (image(DEPTH, '16UC1', step=7), 'must have a step of at least 8 bytes, got 7'),
        (image(DEPTH, '16UC1', width=0), 'depth image of 3 x 0 pixels'),
        (image(DEPTH, '16UC1', data=b'12'), 'must be step x height = 8 x 3 = 24 bytes, got 2'),
        (compressed(DEPTH, '16UC1; compressedDepth rvl'), 'compressed depth must be PNG'),
        (compressed(DEPTH, 'rgb8; jpeg compressed bgr8'), 'compressed depth must have format'),
        (compressed(DEPTH.astype(np.uint8), '16UC1; compressedDepth'), 'hold a PNG of 16 bits'),
        (SimpleNamespace(format='16UC1; compressedDepth', data=b''), 'compressed depth must'),
        (cut_short(), 'compressed depth must reach its end marker'),
        (huge(), 'compressed depth must have at most 33554432 pixels'),
        (
            SimpleNamespace(format='16UC1; compressedDepth', data=b'x' * 50),
            'compressed depth must',
        ),
    ],
)
def test_what_is_no_depth_is_refused(message, sentence):
    with pytest.raises(ValueError, match=sentence):
        to_depth(message)


def test_camera_info_becomes_the_model_of_the_image():
    roi = SimpleNamespace(x_offset=100, y_offset=50, width=400, height=300, do_rectify=False)
    info = SimpleNamespace(
        height=480, width=640, k=[500.0, 0, 320, 0, 500, 240, 0, 0, 1], d=[0.0] * 5,
        distortion_model='plumb_bob', binning_x=2, binning_y=2, roi=roi,
    )  # fmt: skip
    model = to_camera_model(info)
    assert model.size == (150, 200)
    np.testing.assert_allclose(model.matrix[:2, 2], ((220.5 / 2) - 0.5, (190.5 / 2) - 0.5))
    np.testing.assert_allclose(model.matrix[0, 0], 250)
