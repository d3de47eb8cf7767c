"""Messages built and read without copying more than once."""

import array
import sys

from meta_ood_ros.messages.conversions import new_image, to_image, to_rgb
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header


def header():
    message = Header(frame_id='front_optical')
    message.stamp.sec, message.stamp.nanosec = 12, 345678901
    return message


@pytest.mark.parametrize(
    ('encoding', 'dtype', 'channels'),
    [('mono8', 'u1', ()), ('mono16', 'u2', ()), ('32FC1', 'f4', ()), ('rgb8', 'u1', (3,))],
)
def test_pixels_written_into_the_view_are_the_data_of_the_message(encoding, dtype, channels):
    message, pixels = new_image(header(), (5, 7), encoding)
    assert pixels.shape == (5, 7, *channels)
    assert not pixels.any()
    values = np.arange(pixels.size).reshape(pixels.shape).astype(dtype)
    pixels[...] = values
    assert isinstance(message.data, array.array)
    assert message.data.typecode == 'B'
    assert message.data.tobytes() == values.tobytes()
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))
    assert (message.height, message.width, message.encoding) == (5, 7, encoding)
    assert message.step * message.height == len(message.data)
    assert message.is_bigendian == (sys.byteorder == 'big')
    assert message.header == header()


def test_header_is_passed_on_as_the_same_object():
    mine = header()
    assert new_image(mine, (2, 2), 'mono8')[0].header is mine


def test_image_of_pixels_that_are_not_contiguous():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    message = to_image(header(), pixels[::2, ::-1], 'rgb8')
    assert np.array_equal(to_rgb(message), pixels[::2, ::-1])


def test_wrong_pixels_are_refused():
    with pytest.raises(
        ValueError, match=r"mono8 needs pixels of shape \('H', 'W'\) and type uint8"
    ):
        to_image(header(), np.zeros((2, 2), np.float32), 'mono8')


def test_rgb_image_is_read_in_place():
    message, pixels = new_image(header(), (4, 6), 'rgb8')
    assert np.shares_memory(to_rgb(message), pixels)


def test_compressed_image_is_read():
    import cv2

    content = cv2.imencode('.png', np.full((3, 4, 3), (1, 2, 3), np.uint8))[1]
    message = CompressedImage(format='png', data=content.tobytes())
    assert np.array_equal(to_rgb(message), np.full((3, 4, 3), (3, 2, 1)))


def test_big_endian_flag_of_the_message_counts():
    message = Image(encoding='mono16', height=1, width=1, step=2, is_bigendian=1)
    message.data = array.array('B', [255, 0])
    assert to_rgb(message).tolist() == [[[254, 254, 254]]]
    message.is_bigendian = 0
    assert to_rgb(message).tolist() == [[[1, 1, 1]]]


def test_other_messages_are_refused():
    with pytest.raises(
        ValueError, match='must be a sensor_msgs Image or CompressedImage, got Cam'
    ):
        to_rgb(CameraInfo())
