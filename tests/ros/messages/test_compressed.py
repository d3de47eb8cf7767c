"""JPEG and PNG against the pixels that went in, and files that are cut short."""

import array

import cv2
from meta_ood_ros.messages.compressed import decode_compressed
from meta_ood_ros.messages.encodings import ENCODINGS, UNNAMED
import numpy as np
import pytest

RGB = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 6
)


def encode(extension, pixels=RGB):
    good, content = cv2.imencode(extension, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    assert good
    return content.tobytes()


def with_exif(jpeg, segment):
    """Put an APP1 segment behind the start of the file."""
    return jpeg[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + jpeg[2:]


def test_png_comes_back_bit_for_bit():
    decoded = decode_compressed(
        array.array('B', encode('.png')), format='rgb8; png compressed bgr8'
    )
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
        (b'no image' * 9, 'jpeg', r'must be JPEG, PNG, .*, got 72 bytes of something else'),
        (b'x', '16UC1; compressedDepth png', r"colour or grey picture, got format '16UC1; comp"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(content, format, sentence):
    with pytest.raises(ValueError, match=sentence):
        decode_compressed(content, format=format)


def test_foreign_format_of_any_length_makes_a_short_sentence():
    with pytest.raises(ValueError, match='something else') as caught:
        decode_compressed(b'no image', format='x' * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize('format', ['', 'jpeg', 'png', 'jpg', 'jpeg; by hand', 'bgr8', 'rgb8'])
def test_format_that_states_no_encoding_leaves_the_file_as_it_is(format):
    assert np.array_equal(decode_compressed(encode('.png'), format=format), RGB)


@pytest.mark.parametrize('colours', ['rgb', 'bgr', 'rgba', 'bgra'])
@pytest.mark.parametrize(('bits', 'kind'), [(8, 'jpeg'), (8, 'png'), (16, 'png')])
def test_colour_file_holds_bgr_only_if_its_format_says_so(colours, bits, kind):
    pixels = RGB if bits == 8 else 257 * RGB.astype(np.uint16)
    content = encode('.png', pixels)
    start = f'{colours}{bits}; {kind} compressed '
    assert np.array_equal(decode_compressed(content, format=f'{start}bgr{bits}'), RGB)
    for inside in (f'rgb{bits}', ''):
        assert np.array_equal(decode_compressed(content, format=start + inside), RGB[..., ::-1])


def test_grey_file_of_a_colour_camera_stays_grey():
    content = cv2.imencode('.png', RGB[..., 0])[1].tobytes()
    decoded = decode_compressed(content, format='rgb8; png compressed rgb8')
    assert np.array_equal(decoded, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize('inside', ['', 'mono8', 'bgr8'])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('bits', [8, 16])
def test_mosaic_in_a_grey_file_is_a_mosaic(pattern, bits, inside):
    colour = np.array((200, 90, 30), np.uint8)
    mosaic = np.empty((48, 64), np.uint8)
    for index, name in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = colour['rgb'.index(name)]
    deep = mosaic if bits == 8 else 257 * mosaic.astype(np.uint16)
    content = cv2.imencode('.png', deep)[1].tobytes()
    start = f'bayer_{pattern}{bits}; '
    assert np.all(decode_compressed(content, format=f'{start}png compressed {inside}') == colour)
    lossy = cv2.imencode('.jpg', mosaic, (cv2.IMWRITE_JPEG_QUALITY, 100))[1].tobytes()
    decoded = decode_compressed(lossy, format=f'{start}jpeg compressed {inside}')
    assert np.abs(decoded.mean((0, 1)) - colour).max() < 3


def test_picture_of_a_mosaic_camera_that_is_in_colour_stays_as_it_is():
    decoded = decode_compressed(encode('.png'), format='bayer_rggb8; png compressed bgr8')
    assert np.array_equal(decoded, RGB)


def test_mono16_file_is_scaled_as_the_raw_message_is():
    samples = np.linspace(0, 4095, 48 * 64).reshape(48, 64).astype(np.uint16)
    content = cv2.imencode('.png', samples)[1].tobytes()
    said = []
    dark = decode_compressed(content, format='mono16; png compressed ', warn=said.append)
    assert np.array_equal(dark[..., 1], np.round(samples * (255 / 65535)))
    assert said
    assert 'uses 1/16 of the range' in said[0]
    bright = decode_compressed(content, format='mono16; png compressed ', bits=12)
    assert np.array_equal(bright[..., 1], np.round(samples * (255 / 4095)))


def test_jpeg_of_sixteen_bits_holds_the_upper_eight():
    content = cv2.imencode('.png', RGB[..., 0])[1].tobytes()
    format = 'mono16; jpeg compressed mono8'
    assert np.array_equal(decode_compressed(content, format=format)[..., 0], RGB[..., 0])
    content = cv2.imencode('.png', RGB[..., 0] >> 4)[1].tobytes()
    bright = decode_compressed(content, format=format, bits=12)
    assert np.abs(bright[..., 0].astype(int) - RGB[..., 0]).max() <= 16


@pytest.mark.parametrize('encoding', ['8UC1', '8UC3', '8UC4'])
def test_encoding_that_counts_channels_is_told(encoding):
    said = []
    decoded = decode_compressed(
        encode('.png'), format=f'{encoding}; png compressed ', warn=said.append
    )
    assert np.array_equal(decoded, RGB)
    assert len(said) == 1
    assert said[0].startswith(f'Images say {encoding}')


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1', '16SC1', '64FC1'])
@pytest.mark.parametrize('kind', ['png', 'jpeg', 'tiff'])
def test_measured_values_are_refused_by_name(encoding, kind):
    content = cv2.imencode('.png', np.full((4, 6), 900, np.uint16))[1]
    with pytest.raises(ValueError, match=f'must be that of a picture, got {encoding}, which hol'):
        decode_compressed(content, format=f'{encoding}; {kind} compressed ')


def test_yuv_is_what_the_publisher_makes_of_it_or_refused():
    content = cv2.imencode('.png', RGB[..., 0])[1].tobytes()
    decoded = decode_compressed(content, format='yuv422; jpeg compressed mono8')
    assert np.array_equal(decoded[..., 0], RGB[..., 0])
    for format in ('yuv422; png compressed ', 'rgb888; jpeg compressed bgr8', ';', 'h264; x'):
        with pytest.raises(ValueError, match=r'must state an encoding that is known, got'):
            decode_compressed(content, format=format)


@pytest.mark.parametrize('encoding', ['mono16', 'bayer_rggb8'])
def test_samples_with_a_sign_are_refused(encoding):
    content = cv2.imencode('.tiff', np.full((4, 6), -3, np.int16))[1]
    with pytest.raises(
        ValueError, match='must have samples of 8 or 16 bits without sign, got int'
    ):
        decode_compressed(content, format=f'{encoding}; tiff compressed ')


ANY_FILE = [
    encode(ending, pixels)
    for ending, kinds in {
        '.jpg': (RGB, RGB[..., 0]),
        '.png': (RGB, RGB[..., 0], 257 * RGB.astype(np.uint16), np.dstack([RGB, RGB[..., 0]])),
        '.tiff': (RGB, 257 * RGB.astype(np.uint16), RGB[..., 0].astype(np.int16)),
        '.webp': (RGB,),
        '.bmp': (RGB,),
        '.ppm': (RGB,),
    }.items()
    for pixels in kinds
]


@pytest.mark.parametrize('encoding', [*ENCODINGS, *UNNAMED, '16UC1', 'unheard of', ''])
def test_any_file_under_any_format_gives_a_picture_or_a_sentence(encoding):
    for inside in ('', ' jpeg compressed bgr8', ' png compressed ', ' tiff compressed mono8'):
        for content in ANY_FILE:
            try:
                decoded = decode_compressed(content, format=f'{encoding};{inside}', bits=12)
            except ValueError:
                continue
            assert (decoded.shape, decoded.dtype) == (RGB.shape, np.uint8)
            assert decoded.flags.c_contiguous


def test_large_file_is_refused_by_its_header():
    with pytest.raises(
        ValueError, match=r"image \('png'\) must have at most 3071 pixels, got 48 x"
    ):
        decode_compressed(encode('.png'), format='png', max_pixels=48 * 64 - 1)


def test_recorded_files_of_research_data(cases):
    from meta_ood_ros.bags.bag import Bag

    def pictures(name):
        return [one.to_rgb() for one in Bag(cases / f'bags/{name}.mcap').read()]

    raw = pictures('zero_stamps')
    for name in ('rgb8_jpeg_bgr8', 'rgb8_jpeg_rgb8', 'png_in_fixed_buffer'):
        for decoded, expected in zip(pictures(name), raw, strict=False):
            assert np.abs(decoded.astype(int) - expected).mean() < 3, name
    with pytest.raises(ValueError, match='got 16UC1, which holds measured'):
        pictures('depth16_png')
    with pytest.raises(ValueError, match='must have at most 33554432 pixels'):
        pictures('jpeg_giant_header')
