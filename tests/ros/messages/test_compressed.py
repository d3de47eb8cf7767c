"""JPEG and PNG against the pixels that went in, and files that are cut short."""

import array

import cv2
from meta_ood_ros.messages.compressed import decode_compressed
import numpy as np
import pytest

RGB = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 6
)


def encode(extension, pixels=RGB):
    good, content = cv2.imencode(extension, pixels[..., ::-1])
    assert good
    return content.tobytes()


def with_exif(jpeg, segment):
    """Put an APP1 segment behind the start of the file."""
    return jpeg[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + jpeg[2:]


def test_png_comes_back_bit_for_bit():
    decoded = decode_compressed(array.array('B', encode('.png')), format='rgb8; png compressed')
    assert np.array_equal(decoded, RGB)
    assert decoded.flags.c_contiguous


def test_jpeg_comes_back_in_the_order_rgb():
    colour = np.full((16, 24, 3), (200, 40, 90), np.uint8)
    decoded = decode_compressed(encode('.jpg', colour), format='jpeg')
    assert decoded.shape == (16, 24, 3)
    assert np.abs(decoded.astype(int) - colour).max() <= 4


def test_grey_file_becomes_rgb():
    good, content = cv2.imencode('.png', RGB[..., 0])
    assert good
    assert np.array_equal(decode_compressed(content)[..., 2], RGB[..., 0])


def test_exif_orientation_does_not_turn_the_pixels():
    # TIFF header, one directory entry: tag 0x0112 (orientation), SHORT, one value, 6 = turn right.
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    jpeg = with_exif(encode('.jpg'), exif)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (64, 48)
    assert decode_compressed(jpeg).shape[:2] == (48, 64)


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
@pytest.mark.parametrize('share', [0.05, 0.5, 0.9, 0.99])
def test_truncated_file_is_refused(extension, share):
    content = encode(extension)
    with pytest.raises(ValueError, match=r'truncated: check the network'):
        decode_compressed(content[: int(share * len(content))])


def test_end_marker_of_a_thumbnail_does_not_count():
    jpeg = with_exif(encode('.jpg'), b'Exif\0\0' + b'\xff\xd8thumbnail\xff\xd9')
    assert decode_compressed(jpeg).shape == RGB.shape
    with pytest.raises(ValueError, match='truncated'):
        decode_compressed(jpeg[: len(jpeg) * 3 // 4])


def test_bytes_behind_the_end_marker_are_allowed():
    # Some drivers send a fixed buffer size.
    assert decode_compressed(encode('.jpg') + bytes(64)).shape == RGB.shape


@pytest.mark.parametrize(
    ('content', 'format', 'sentence'),
    [
        (b'', 'jpeg', r"compressed image \('jpeg'\) must have data, got 0 bytes"),
        (b'no image' * 9, 'jpeg', r'other file that OpenCV reads, got 72 bytes that it does not'),
        (b'x', '16UC1; compressedDepth png', r"colour or grey picture, got format '16UC1; comp"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(content, format, sentence):
    with pytest.raises(ValueError, match=sentence):
        decode_compressed(content, format=format)
