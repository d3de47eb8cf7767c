"""Image files that are whole, cut short, turned, too large or damaged: the header comes first."""

import os
from pathlib import Path
import re
import struct
import subprocess
import sys
import zlib

import cv2
from meta_ood_ros.core.files.image_file import (
    AS_STORED,
    decode_image,
    read_image_file,
    UPRIGHT,
    write_image_file,
)
from meta_ood_ros.core.files.image_header import read_header
import numpy as np
import pytest

RNG = np.random.default_rng(5)
BGR = cv2.GaussianBlur(RNG.integers(0, 256, (96, 128, 3), dtype=np.uint8), (0, 0), 4)
ENDINGS = ('.jpg', '.png', '.webp', '.bmp', '.tiff', '.ppm', '.pgm', '.gif')
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
#: An interval a row of 16 x 16 blocks, so that the data ends where an interval does.
WHOLE_ROWS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 8)
NO_SUBSAMPLING = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)


def encode(ending, pixels=BGR, options=()):
    if ending == '.gif' and not cv2.haveImageWriter('a.gif'):
        pytest.skip('this OpenCV writes no GIF')
    if ending == '.pgm' and pixels.ndim == 3:
        pixels = pixels[..., 0]
    good, content = cv2.imencode(ending, pixels, list(options))
    assert good
    return content.tobytes()


def with_size(jpeg, height, width=None):
    """Let the header of a JPEG say another size."""
    at = re.search(rb'\xff[\xc0-\xc2]', jpeg).start() + 5
    old = struct.unpack('>HH', jpeg[at : at + 4])
    return jpeg[:at] + struct.pack('>HH', height, width or old[1]) + jpeg[at + 4 :]


def png(height, width, *, depth=8, colour=2, rows=None, behind=b''):
    """Return a PNG of zeros, of `rows` rows of data."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = bytes(1 + width * channels * depth // 8)
    pack = zlib.compressobj(1)
    data = b''.join(pack.compress(row) for _ in range(height if rows is None else rows))
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', data + pack.flush()), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(map(chunk, *zip(*chunks, strict=True))) + behind


def chunk(name, content):
    total = zlib.crc32(name + content)
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', total)


def with_orientation(jpeg, value):
    # TIFF header, one directory entry: tag 0x0112 (orientation), SHORT, one value.
    tag = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0' % value
    return jpeg[:2] + b'\xff\xe1' + (len(tag) + 2).to_bytes(2, 'big') + tag + jpeg[2:]


@pytest.mark.parametrize('ending', ENDINGS)
def test_header_says_the_size_of_what_is_decoded(ending):
    content = encode(ending)
    header = read_header(content)
    assert (header.height, header.width) == (96, 128)
    assert decode_image(content).shape == (96, 128, 3)


@pytest.mark.parametrize('quality', [20, 101])
def test_header_of_both_kinds_of_webp(quality):
    content = encode('.webp', options=(cv2.IMWRITE_WEBP_QUALITY, quality))
    header = read_header(content)
    assert (header.kind, header.height, header.width) == ('WebP', 96, 128)


def test_header_of_webp_with_extensions_and_of_old_bmp():
    extended = b'RIFF\0\0\0\0WEBPVP8X' + bytes(8) + (639).to_bytes(3, 'little')
    header = read_header(extended + (479).to_bytes(3, 'little'))
    assert (header.height, header.width) == (480, 640)
    header = read_header(b'BM' + bytes(12) + struct.pack('<IHH', 12, 640, 480))
    assert (header.height, header.width) == (480, 640)
    header = read_header(b'BM' + bytes(12) + struct.pack('<Iii', 40, 640, -480))
    assert (header.height, header.width) == (480, 640)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('is_big', [False, True])
def test_header_of_tiff_in_every_layout(order, is_big):
    entries = [
        (256, 3, 640),
        (257, 4, 480),
        (322, 4, 100_000),
    ]  # wide tiles: room is made for them
    if is_big:
        start = struct.pack(order + 'HHHQQ', 43, 8, 0, 16, len(entries))
        form = order + 'HHQ'
    else:
        start = struct.pack(order + 'HIH', 42, 8, len(entries))
        form = order + 'HHI'
    content = (b'II' if order == '<' else b'MM') + start
    for tag, kind, value in entries:
        number = struct.pack(order + {3: 'H', 4: 'I'}[kind], value)
        content += struct.pack(form, tag, kind, 1) + number.ljust(8 if is_big else 4, b'\0')
    header = read_header(content)
    assert (header.kind, header.height, header.width) == ('TIFF', 480, 100_000)


@pytest.mark.parametrize('ending', ENDINGS)
def test_too_many_pixels_are_refused_before_decoding(ending, monkeypatch):
    content = encode(ending)
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(ValueError, match='must have at most 12287 pixels, got 96 x 128. Check'):
        decode_image(content, max_pixels=96 * 128 - 1)


@pytest.mark.parametrize(
    ('start', 'kind'),
    [
        (b'\0\0\0\x0cjP  \r\n\x87\n', 'JPEG 2000'),
        (b'\xff\x4f\xff\x51', 'JPEG 2000'),
        (b'\0\0\0\x20ftypavif', 'AVIF or HEIF'),
        (b'\x76\x2f\x31\x01', 'OpenEXR'),
        (b'#?RADIANCE\n', 'Radiance HDR'),
        (b'\x59\xa6\x6a\x95', 'Sun raster'),
        (b'P7\nWIDTH 60000\n', 'PAM or PFM'),
        (b'Pf\n60000 60000\n', 'PAM or PFM'),
        (b'\xff\x0a', 'JPEG XL'),
    ],
)
def test_formats_whose_size_is_unknown_are_refused_by_name(start, kind):
    with pytest.raises(ValueError, match=f'image file must be JPEG, PNG, .* got {kind}, whose'):
        decode_image(start + bytes(64))


def test_what_holds_no_picture_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match='got 9 bytes of something else. Check the camera'):
        decode_image(b'no image!')
    with pytest.raises(ValueError, match='must have at least one pixel, got 0 x 128'):
        decode_image(with_size(encode('.jpg'), 0))
    with pytest.raises(ValueError, match='must be a baseline or progressive JPEG'):
        decode_image(encode('.jpg').replace(b'\xff\xc0', b'\xff\xc9'))
    with pytest.raises(ValueError, match='must have samples of 8 or 16 bits, got a TIFF of 32'):
        decode_image(encode('.tiff', np.zeros((4, 6), np.float32)))
    with pytest.raises(
        ValueError, match=r'must be a whole PNG, got \d+ bytes that cannot be deco'
    ):
        decode_image(png(40, 40).replace(b'IDAT', b'iDAT'))


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('share', [0.0005, 0.01, 0.3, 0.9, 0.99])
def test_file_that_is_cut_short_is_refused(ending, share):
    content = encode(ending, RNG.integers(0, 256, BGR.shape, dtype=np.uint8))
    with pytest.raises(ValueError, match='truncated|something else'):
        decode_image(content[: int(share * len(content))])


@pytest.mark.parametrize('ending', ENDINGS)
def test_zeros_behind_the_end_are_ignored(ending):
    content = encode(ending)
    assert np.array_equal(decode_image(content + bytes(100_000)), decode_image(content))


@pytest.mark.parametrize('ending', ['.jpg', '.png'])
def test_file_that_is_cut_short_in_a_fixed_buffer_is_refused(ending):
    content = encode(ending)
    with pytest.raises(ValueError, match='must reach its end marker.* truncated'):
        decode_image(content[: len(content) // 2] + bytes(len(content)))


@pytest.mark.parametrize(
    'options', [(), PROGRESSIVE, RESTARTS, WHOLE_ROWS, NO_SUBSAMPLING, (*PROGRESSIVE, *RESTARTS)]
)
@pytest.mark.parametrize('grey', [False, True])
def test_scan_that_ends_before_the_header_says_is_truncated(options, grey):
    whole = encode('.jpg', BGR[..., 0] if grey else BGR, options)
    assert decode_image(whole).shape == (96, 128, 3)
    for size in ((112, 128), (224, 128), (96, 256), (1120, 128)):
        with pytest.raises(ValueError, match='truncated'):
            decode_image(with_size(whole, *size))


@pytest.mark.parametrize(
    'options', [(), PROGRESSIVE, RESTARTS, WHOLE_ROWS, NO_SUBSAMPLING, (*PROGRESSIVE, *RESTARTS)]
)
@pytest.mark.parametrize('grey', [False, True])
def test_picture_of_the_grey_that_decoders_make_up_is_whole(options, grey):
    picture = BGR.copy()
    picture[48:] = 128
    content = encode('.jpg', picture[..., 0] if grey else picture, options)
    decoded = decode_image(content)
    assert np.all(decoded[-16:] == 128)
    flat = encode('.jpg', np.full_like(picture, 128), options)
    assert np.all(decode_image(flat) == 128)


def test_more_pixels_than_data_can_hold_are_refused_before_decoding(monkeypatch):
    content = with_size(encode('.jpg'), 5000, 6000)
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(
        ValueError, match=r'the 5000 x 6000 pixels are complete. The image is trun'
    ):
        decode_image(content)


def test_jpeg_of_endless_scans_is_refused():
    content = encode('.jpg', options=PROGRESSIVE)
    at = content.rindex(b'\xff\xda')
    with pytest.raises(ValueError, match='must have at most 100 scans'):
        decode_image(content[:at] + 100 * content[at:-2] + b'\xff\xd9')


@pytest.mark.parametrize('length', [0xFF000026, 0x7FFFFFFF, 1_000_000])
def test_png_chunk_longer_than_the_file_is_refused_before_memory_is_taken(length):
    content = bytearray(png(40, 40))
    at = content.index(b'IDAT') - 4
    content[at : at + 4] = length.to_bytes(4, 'big')
    with pytest.raises(ValueError, match=r'must reach its end marker.* truncated'):
        decode_image(bytes(content))


def test_png_with_too_few_rows_is_refused():
    assert decode_image(png(40, 40)).shape == (40, 40, 3)
    with pytest.raises(ValueError, match='must be a whole PNG'):
        decode_image(png(40, 40, rows=20))


def test_no_error_of_opencv_leaves_the_decoder(monkeypatch):
    def fail(*_):
        raise cv2.error('Assertion failed (size.width > 0)')

    content = encode('.jpg')
    monkeypatch.setattr(cv2, 'imdecode', fail)
    with pytest.raises(ValueError, match=r'cannot be decoded \(Assertion failed \(size.width'):
        decode_image(content)


@pytest.mark.parametrize('ending', ENDINGS)
def test_random_damage_gives_a_picture_or_a_sentence(ending):
    content = bytearray(encode(ending))
    rng, said = np.random.default_rng(11), []
    for _ in range(100):
        damaged = content.copy()
        reach = 64 if rng.random() < 0.7 else len(content)
        for place in rng.integers(0, reach, rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(8)
        try:
            pixels = decode_image(bytes(damaged), max_pixels=1 << 20)
        except ValueError as error:
            said.append(str(error))
        else:
            assert pixels.size <= 3 << 20
    assert all(sentence.startswith('image file must ') for sentence in said)
    assert said


BOMBS = {
    'jpeg': lambda: with_size(encode('.jpg'), 65500, 65500),
    'progressive jpeg': lambda: with_size(encode('.jpg', options=PROGRESSIVE), 65500, 65500),
    'png': lambda: png(10_000, 10_000, rows=1),
    'png of 16 bits': lambda: png(8000, 8000, depth=16, colour=6, rows=1),
    'largest png of 16 bits': lambda: png(4096, 8192, depth=16, colour=6),
    'largest jpeg': lambda: encode('.jpg', np.zeros((4096, 8192, 3), np.uint8), PROGRESSIVE),
}


def test_small_files_take_no_large_memory(tmp_path):
    names = []
    for number, (_, make) in enumerate(BOMBS.items()):
        names.append(tmp_path / str(number))
        names[-1].write_bytes(make())
    program = """
import sys, resource
from meta_ood_ros.core.files.image_file import decode_image
resource.setrlimit(resource.RLIMIT_AS, (8 << 30,) * 2)
for name in sys.argv[1:]:
    with open('/proc/self/clear_refs', 'w') as peak:
        peak.write('5')
    try:
        print(decode_image(open(name, 'rb').read()).shape)
    except ValueError as error:
        print(error)
    with open('/proc/self/status') as status:
        print(next(line for line in status if line.startswith('VmHWM')).split()[1])
"""
    done = subprocess.run(
        [sys.executable, '-c', program, *map(str, names)],
        text=True,
        capture_output=True,
        env={**os.environ, 'OPENCV_LOG_LEVEL': 'SILENT'},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, said, peak in zip(BOMBS, lines[::2], lines[1::2], strict=True):
        assert said == '(4096, 8192, 3)' if 'largest' in name else 'must' in said, name
        assert int(peak) < 1200 * 1024, name


@pytest.mark.parametrize('value', range(1, 9))
def test_orientation_is_applied_where_it_is_asked_for(value):
    jpeg = encode('.jpg')
    stored = decode_image(jpeg)
    # What a viewer does, by the definition of the tag: which stored edge is the top, and the left.
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }[value]
    turned = with_orientation(jpeg, value)
    assert np.array_equal(decode_image(turned, flags=AS_STORED), stored)
    assert np.array_equal(decode_image(turned, flags=UPRIGHT), upright)
    with pytest.raises(ValueError, match='truncated'):
        decode_image(with_orientation(with_size(jpeg, 224), value), flags=UPRIGHT)


@pytest.mark.parametrize('ending', ['.png', '.jpg'])
def test_name_may_be_made_of_any_bytes(tmp_path, ending):
    path = tmp_path / (os.fsdecode(b'stra\xdfe') + ending)
    write_image_file(path, BGR)
    assert [os.fsencode(one.name) for one in tmp_path.iterdir()] == [
        b'stra\xdfe' + ending.encode()
    ]
    assert read_image_file(path, flags=AS_STORED).shape == BGR.shape
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'stra\\udcdfe.* must be JPEG') as caught:
        read_image_file(path, flags=AS_STORED)
    str(caught.value).encode()


def test_failure_to_write_is_an_error_with_a_reason(tmp_path):
    with pytest.raises(FileNotFoundError, match='No such file'):
        write_image_file(tmp_path / 'nowhere/a.png', BGR)


def test_no_file_is_opened_by_opencv():
    root = Path(__file__).resolve().parents[3]
    folders = ('meta_ood_ros', 'training', 'benchmarks', 'launch', 'docs')
    files = [path for folder in folders for path in (root / folder).rglob('*.py')]
    assert len(files) > 200
    opened = re.compile(r'\b(imread|imreadmulti|imwrite|imwritemulti|imcount)\(')
    assert [str(path) for path in files if opened.search(path.read_text())] == []


def test_giant_header_of_research_data_is_refused(cases):
    with pytest.raises(ValueError, match='must have at most'):
        read_image_file(cases / 'giant_header/images/a.jpg', flags=AS_STORED)
    assert read_image_file(cases / 'giant_header/images/b.jpg', flags=AS_STORED).any()
