"""Every encoding against a formula written here, and every way in which an image can be wrong."""

import array

from meta_ood_ros.messages.encodings import decode_pixels, ENCODINGS
import numpy as np
import pytest

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
MONO = RNG.integers(0, 256, (6, 8), dtype=np.uint8)


def decode(pixels, encoding, *, padding=0, big_endian=False, height=None):
    """Lay out rows of bytes with padding, as a driver does, and decode them."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    width = pixels.shape[1]
    padded = np.full((rows.shape[0], rows.shape[1] + padding), 0xA5, np.uint8)
    padded[:, : rows.shape[1]] = rows
    return decode_pixels(
        array.array('B', padded.tobytes()),
        encoding=encoding,
        height=height or pixels.shape[0],
        width=width,
        step=padded.shape[1],
        is_bigendian=big_endian,
    )


def bt601(y, u, v):
    """Return RGB of luma and chroma in limited range, ITU-R BT.601."""
    y, u, v = 1.164383 * (y - 16.0), u - 128.0, v - 128.0
    rgb = np.stack([y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u], axis=-1)
    return np.clip(np.round(rgb), 0, 255)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'channels'),
    [('rgb8', [0, 1, 2]), ('bgr8', [2, 1, 0]), ('rgba8', [0, 1, 2, 2]), ('bgra8', [2, 1, 0, 1])],
)
def test_colour_channels_come_out_in_the_order_rgb(encoding, channels, padding):
    assert np.array_equal(decode(RGB[..., channels], encoding, padding=padding), RGB)


@pytest.mark.parametrize('padding', [0, 3])
def test_grey_is_the_same_in_all_channels(padding):
    expected = np.repeat(MONO[..., None], 3, axis=-1)
    assert np.array_equal(decode(MONO, 'mono8', padding=padding), expected)


@pytest.mark.parametrize('padding', [0, 1, 4])
@pytest.mark.parametrize('big_endian', [False, True])
def test_sixteen_bits_are_scaled_in_both_byte_orders(big_endian, padding):
    values = RNG.integers(0, 65536, (4, 6)).astype('>u2' if big_endian else '<u2')
    values[0, :3] = 0, 65535, 257
    expected = np.round(values.astype(np.float64) * 255 / 65535)
    decoded = decode(values, 'mono16', padding=padding, big_endian=big_endian)
    assert np.array_equal(decoded, np.repeat(expected[..., None], 3, axis=-1))
    assert decoded[0, :3, 0].tolist() == [0, 255, 1]


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_pattern_names_the_first_two_pixels_of_the_first_two_rows(pattern, padding):
    # One colour in the left half, another in the right: demosaicing is exact away from the edge.
    scene = np.empty((8, 16, 3), np.uint8)
    scene[:, :8], scene[:, 8:] = (200, 90, 30), (10, 60, 250)
    mosaic = np.empty(scene.shape[:2], np.uint8)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = scene[row::2, column::2, 'rgb'.index(colour)]
    decoded = decode(mosaic, f'bayer_{pattern}8', padding=padding)
    inner = np.r_[2:6, 10:14]
    assert np.array_equal(decoded[2:6, inner], scene[2:6, inner])


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('uyvy', 'uyvy'), ('yuv422', 'uyvy'), ('yuyv', 'yuyv'), ('yuv422_yuy2', 'yuyv')],
)
def test_yuv422_under_both_of_its_names(encoding, order, padding):
    y = RNG.integers(16, 236, (4, 8))
    u, v = RNG.integers(60, 196, (2, 4, 4))
    first, second = y[:, 0::2], y[:, 1::2]
    parts = {'uyvy': (u, first, v, second), 'yuyv': (first, u, second, v)}[order]
    packed = np.stack(parts, axis=-1).reshape(4, 8, 2).astype(np.uint8)
    expected = bt601(y, np.repeat(u, 2, axis=1), np.repeat(v, 2, axis=1))
    assert np.abs(decode(packed, encoding, padding=padding) - expected).max() <= 1


@pytest.mark.parametrize('padding', [0, 2])
def test_nv12_has_its_chroma_below_the_luma(padding):
    y = RNG.integers(16, 236, (4, 8))
    u, v = RNG.integers(60, 196, (2, 2, 4))
    planes = np.concatenate([y, np.stack([u, v], axis=-1).reshape(2, 8)]).astype(np.uint8)
    u, v = (np.repeat(np.repeat(one, 2, axis=0), 2, axis=1) for one in (u, v))
    decoded = decode(planes, 'nv12', padding=padding, height=4)
    assert decoded.shape == (4, 8, 3)
    assert np.abs(decoded - bt601(y, u, v)).max() <= 1


def test_rgb8_without_padding_is_not_copied():
    data = array.array('B', RGB.tobytes())
    decoded = decode_pixels(data, encoding='rgb8', height=6, width=8, step=24)
    assert np.shares_memory(decoded, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize('encoding', sorted(ENCODINGS))
def test_every_encoding_gives_contiguous_rgb_bytes(encoding):
    layout = ENCODINGS[encoding]
    step = 8 * layout.channels * layout.sample_bytes + 4
    data = bytes(step * 6 * layout.half_rows // 2)
    decoded = decode_pixels(data, encoding=encoding, height=6, width=8, step=step)
    assert decoded.shape == (6, 8, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'encoding': '8UC3'}, r"encoding must be one of rgb8, .*nv12, got '8UC3'"),
        ({'height': 0}, r'must have at least one pixel, got 0 x 8'),
        ({'width': 0, 'step': 0}, r'must have at least one pixel, got 6 x 0'),
        ({'step': 23}, r'step must be at least 24 bytes for 8 pixels of rgb8, got 23'),
        ({'data': bytes(143)}, r'step x rows = 24 x 6 = 144 bytes for a 6 x 8 rgb8.* got 143'),
        ({'data': bytes(145)}, r'step x rows = 24 x 6 = 144 bytes .* got 145'),
        ({'data': b''}, r'= 144 bytes .* got 0'),
        ({'encoding': 'bayer_rggb8', 'height': 5}, r'multiples of 2 and 2, got 5 x 8'),
        ({'encoding': 'uyvy', 'width': 7}, r'multiples of 1 and 2, got 6 x 7'),
        ({'encoding': 'nv12', 'height': 5}, r'multiples of 2 and 2, got 5 x 8'),
    ],
)
def test_wrong_image_is_refused_in_one_sentence(change, sentence):
    image = {'data': bytes(144), 'encoding': 'rgb8', 'height': 6, 'width': 8, 'step': 24}
    with pytest.raises(ValueError, match=sentence):
        decode_pixels(**{**image, **change})
