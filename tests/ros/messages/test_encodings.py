"""Every encoding against a formula written here, and every way in which an image can be wrong."""

import array
from itertools import product
from types import SimpleNamespace

from meta_ood_ros.messages import foreign_encodings
from meta_ood_ros.messages.encodings import decode_pixels, ENCODINGS, UNNAMED
import numpy as np
import pytest

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
MONO = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
#: What cv_bridge knows as well, and the node decodes itself all the same.
SHARED_WITH_16_BITS = ['rgb8', *(name for name in ENCODINGS if name.endswith('16'))]


def decode(pixels, encoding, *, padding=0, big_endian=False, height=None, **options):
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
        **options,
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


@pytest.mark.parametrize('padding', [0, 4, 5])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize(
    ('encoding', 'channels'),
    [
        ('rgb16', [0, 1, 2]),
        ('bgr16', [2, 1, 0]),
        ('16UC3', [2, 1, 0]),
        ('rgba16', [0, 1, 2, 2]),
        ('bgra16', [2, 1, 0, 1]),
        ('16UC4', [2, 1, 0, 1]),
    ],
)
def test_colours_of_sixteen_bits(encoding, channels, big_endian, padding):
    values = RNG.integers(0, 65536, (4, 6, 3))
    values[0, 0] = 65535
    expected = np.round(values * 255 / 65535)
    pixels = values[..., channels].astype('>u2' if big_endian else '<u2')
    decoded = decode(pixels, encoding, padding=padding, big_endian=big_endian)
    assert np.array_equal(decoded, expected)


@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bayer_rggb16'])
def test_used_bits_fill_the_range_and_a_dark_picture_is_told(bits, encoding):
    shape = (4, 6, 3) if encoding == 'rgb16' else (4, 6)
    white = np.full(shape, (1 << bits) - 1, np.uint16)
    said = []
    assert np.all(decode(white, encoding, bits=bits, warn=said.append) == 255)
    assert said == []
    dark = decode(white, encoding, warn=said.append)
    assert np.all(dark == round(255 * ((1 << bits) - 1) / 65535))
    if bits == 16:
        assert said == []
    else:
        assert said == [
            f'The picture uses 1/{65536 >> bits} of the range of its 16-bit samples and is dark. '
            f'If the sensor has {bits} bits, set mono16_bits to {bits}.'
        ]


def test_samples_beyond_the_used_bits_become_white_and_are_told():
    said = []
    values = np.array([[0, 1023, 1024, 4095]], np.uint16)
    decoded = decode(values, 'mono16', bits=10, warn=said.append)
    assert decoded[0, :, 0].tolist() == [0, 255, 255, 255]
    assert said == [
        'Samples of the images go beyond the 10 bits of mono16_bits and become white. Set it to '
        '12 or more.'
    ]


def test_black_picture_is_not_suspicious():
    said = []
    decode(np.zeros((4, 6), np.uint16), 'mono16', warn=said.append)
    assert said == []


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'name', 'pixels'),
    [
        ('8UC1', 'mono8', MONO),
        ('8UC3', 'bgr8', RGB),
        ('8UC4', 'bgra8', np.dstack([RGB, MONO])),
    ],
)
def test_encoding_that_counts_channels_is_what_opencv_means(encoding, name, pixels, padding):
    said = []
    decoded = decode(pixels, encoding, padding=padding, warn=said.append)
    assert np.array_equal(decoded, decode(pixels, name))
    (sentence,) = said
    assert sentence.startswith(f'Images say {encoding} where they should name their colours: ')
    assert f'taken for {name}' in sentence


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1', '64FC3', '16SC1', '8SC1', '32F'])
def test_measured_values_are_no_picture(encoding):
    with pytest.raises(ValueError, match=f'must be that of a picture, got {encoding}, which hol'):
        decode(np.ones((4, 6), np.uint16), encoding)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('size', [(8, 16), (9, 15), (8, 17)])
def test_bayer_pattern_names_the_first_two_pixels_of_the_first_two_rows(
    pattern, padding, bits, size
):
    # One colour in the left half, another in the right: demosaicing is exact away from the edge.
    scene = np.empty((*size, 3), np.uint8)
    scene[:, :8], scene[:, 8:] = (200, 90, 30), (10, 60, 250)
    mosaic = to_mosaic(scene, pattern)
    if bits == 16:
        mosaic = 257 * mosaic.astype('<u2')
    decoded = decode(mosaic, f'bayer_{pattern}{bits}', padding=padding)
    assert decoded.shape == scene.shape
    inner = np.r_[2:6, 10:14]
    assert np.array_equal(decoded[2:6, inner], scene[2:6, inner])


def to_mosaic(scene, pattern):
    mosaic = np.empty(scene.shape[:2], scene.dtype)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = scene[row::2, column::2, 'rgb'.index(colour)]
    return mosaic


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('size', [(2, 2), (2, 3), (3, 3), (2, 9), (5, 3), (5, 5)])
def test_smallest_bayer_pictures_have_their_colour(size, pattern):
    scene = np.full((*size, 3), (200, 90, 30), np.uint8)
    assert np.array_equal(decode(to_mosaic(scene, pattern), f'bayer_{pattern}8'), scene)


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
@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
def test_nv12_and_nv21_have_their_chroma_below_the_luma(encoding, padding):
    y = RNG.integers(16, 236, (4, 8))
    u, v = RNG.integers(60, 196, (2, 2, 4))
    pair = [u, v] if encoding == 'nv12' else [v, u]
    planes = np.concatenate([y, np.stack(pair, axis=-1).reshape(2, 8)]).astype(np.uint8)
    u, v = (np.repeat(np.repeat(one, 2, axis=0), 2, axis=1) for one in (u, v))
    decoded = decode(planes, encoding, padding=padding, height=4)
    assert decoded.shape == (4, 8, 3)
    assert np.abs(decoded - bt601(y, u, v)).max() <= 1


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('size', [(4, 8), (3, 5)])
def test_nv24_has_two_chroma_rows_below_for_each_of_luma(size, padding):
    height, width = size
    y = RNG.integers(16, 236, size)
    u, v = RNG.integers(60, 196, (2, *size))
    # The second plane has lines of twice the length: with padding, twice the padding behind them.
    chroma = np.zeros((height, 2 * (width + padding)), np.uint8)
    chroma[:, : 2 * width] = np.stack([u, v], axis=-1).reshape(height, 2 * width)
    luma = np.zeros((height, width + padding), np.uint8)
    luma[:, :width] = y
    decoded = decode_pixels(
        luma.tobytes() + chroma.tobytes(),
        encoding='nv24',
        height=height,
        width=width,
        step=width + padding,
    )
    assert decoded.shape == (*size, 3)
    assert np.abs(decoded - bt601(y, u, v)).max() <= 1


@pytest.mark.parametrize(('encoding', 'halves'), [('nv12', 3), ('nv21', 3), ('nv24', 6)])
def test_chroma_may_count_as_part_of_the_row(encoding, halves):
    data = RNG.integers(0, 256, 8 * 6 * halves // 2, dtype=np.uint8).tobytes()
    image = {'encoding': encoding, 'height': 6, 'width': 8}
    whole = decode_pixels(data, step=8, **image)
    assert np.array_equal(decode_pixels(data, step=8 * halves // 2, **image), whole)


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
        (
            {'encoding': 'rgb888'},
            r"must be one of rgb8, .*nv24, got 'rgb888' \(cv_bridge",
        ),
        ({'height': 0}, r'must have at least one pixel, got 0 x 8'),
        ({'width': 0, 'step': 0}, r'must have at least one pixel, got 6 x 0'),
        ({'step': 23}, r'step must be at least 24 bytes for 8 pixels of rgb8, got 23'),
        ({'data': bytes(143)}, r'step x rows = 24 x 6 = 144 bytes for a 6 x 8 rgb8.* got 143'),
        ({'data': bytes(145)}, r'step x rows = 24 x 6 = 144 bytes .* got 145'),
        ({'data': b''}, r'= 144 bytes .* got 0'),
        ({'encoding': 'nv21', 'width': 7, 'step': 7}, r'multiples of 2 and 2, got 6 x 7'),
        ({'encoding': 'uyvy', 'width': 7}, r'multiples of 1 and 2, got 6 x 7'),
        ({'encoding': 'nv12', 'height': 5}, r'multiples of 2 and 2, got 5 x 8'),
    ],
)
def test_wrong_image_is_refused_in_one_sentence(change, sentence):
    image = {'data': bytes(144), 'encoding': 'rgb8', 'height': 6, 'width': 8, 'step': 24}
    with pytest.raises(ValueError, match=sentence):
        decode_pixels(**{**image, **change})


@pytest.fixture
def cv_bridge(monkeypatch):
    """Put a module in its place that knows one more encoding; collect what it is asked."""
    asked = []

    class CvBridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            asked.append((message.encoding, desired_encoding))
            if message.encoding != 'grey4':
                raise RuntimeError('Unrecognized image encoding\n[rgb888]')
            rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
            return np.repeat(rows[:, : message.width, None], 3, axis=2)

    monkeypatch.setitem(__import__('sys').modules, 'cv_bridge', SimpleNamespace(CvBridge=CvBridge))
    foreign_encodings._bridge.cache_clear()
    yield asked
    foreign_encodings._bridge.cache_clear()


def test_what_is_unknown_goes_to_cv_bridge(cv_bridge):
    assert np.array_equal(decode(MONO, 'grey4', padding=3), np.repeat(MONO[..., None], 3, axis=2))
    assert cv_bridge == [('grey4', 'rgb8')]
    with pytest.raises(
        ValueError, match=r"got 'rgb888' \(cv_bridge: Unrecognized image encoding\)"
    ):
        decode(MONO, 'rgb888')
    # it fails over what it should know: asked once, and never again
    for _ in range(3):
        assert np.array_equal(decode(MONO, 'mono8'), np.repeat(MONO[..., None], 3, axis=2))
    assert cv_bridge[2:] == [('mono8', 'rgb8')]


def test_cv_bridge_gets_only_sizes_that_agree(cv_bridge):
    with pytest.raises(ValueError, match=r'47 bytes are not step x height = 8 x 6'):
        decode_pixels(bytes(47), encoding='grey4', height=6, width=8, step=8)
    assert cv_bridge == []


def test_cv_bridge_is_used_where_it_decodes_noise_as_we_do(monkeypatch):
    answers = []

    class CvBridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
            picture = np.repeat(rows[:, : message.width, None], 3, axis=2)
            answers.append(picture + np.uint8(40 * (message.encoding == 'bayer_rggb8')))
            return answers[-1]

    monkeypatch.setitem(__import__('sys').modules, 'cv_bridge', SimpleNamespace(CvBridge=CvBridge))
    foreign_encodings._bridge.cache_clear()
    # black and grey prove nothing: noise is tried before the first picture
    black = decode(np.zeros_like(MONO), 'bayer_rggb8')
    assert len(answers) == 1
    assert not black.any()
    assert not np.array_equal(decode(MONO, 'bayer_rggb8'), answers[0])
    assert len(answers) == 1
    padded = decode(MONO, 'mono8', padding=3)
    assert len(answers) == 3
    assert np.shares_memory(padded, answers[2])
    assert np.array_equal(decode(MONO, 'mono8'), padded)
    assert len(answers) == 4
    # no conversion, 16 bits, rows of no whole pixels, unknown to it: not asked
    decode(RGB, 'rgb8')
    decode(RGB[..., ::-1], 'bgr8', padding=1)
    decode(MONO.astype(np.uint16), 'mono16')
    decode(np.zeros((9, 8), np.uint8), 'nv12', height=6)
    assert len(answers) == 4
    foreign_encodings._bridge.cache_clear()


@pytest.mark.parametrize('encoding', [*foreign_encodings.SHARED, *SHARED_WITH_16_BITS])
def test_cv_bridge_and_our_own_decode_alike(encoding, monkeypatch):
    module = pytest.importorskip('cv_bridge', reason='cv_bridge is not installed')
    try:
        bridge = module.CvBridge()
        bridge.encoding_to_dtype_with_channels('yuv422')
    except Exception as error:
        pytest.skip(f'cv_bridge cannot be loaded, or is not that of ROS: {error!r}')
    layout = ENCODINGS[encoding]
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (10, 12 * layout.channels * layout.sample_bytes), np.uint8)
    message = SimpleNamespace(
        height=10, width=12, encoding=encoding, is_bigendian=False, step=data.shape[1],
        data=data.tobytes(),
    )  # fmt: skip
    theirs = bridge.imgmsg_to_cv2(message, 'rgb8')
    monkeypatch.setattr(foreign_encodings, '_bridge', foreign_encodings._Loaded)
    ours = decode_pixels(
        message.data, encoding=encoding, height=10, width=12, step=message.step
    )  # by ourselves alone
    difference = np.abs(theirs.astype(int) - ours.astype(int))
    # of 16 bits they interpolate colours first and round then
    assert difference.max() <= (2 if encoding.endswith('16') else 0)


def test_cv_bridge_that_cannot_be_loaded_is_told_beside_the_list(monkeypatch):
    class Broken:
        def __getattr__(self, name):
            raise ImportError('numpy.core.multiarray failed to import')

    monkeypatch.setitem(__import__('sys').modules, 'cv_bridge', Broken())
    foreign_encodings._bridge.cache_clear()
    with pytest.raises(ValueError, match='one of rgb8, .*cannot be loaded: numpy.core.multiarray'):
        decode(MONO, 'grey4')
    foreign_encodings._bridge.cache_clear()


def test_foreign_text_of_any_length_makes_a_short_sentence():
    with pytest.raises(ValueError, match=r"got 'xxx.*x'\.\.\. \(cv_bridge") as caught:
        decode(MONO, 'x' * 100_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize('encoding', [*ENCODINGS, *UNNAMED, 'unheard of', ''])
def test_any_sizes_give_a_picture_or_a_sentence(encoding):
    layout = ENCODINGS.get(UNNAMED.get(encoding, encoding), ENCODINGS['mono8'])
    for height, width in product((0, 1, 2, 3, 4, 5, 8), repeat=2):
        for more, surplus in product((0, 1, 4, -1), (0, 0, 1, -1)):
            step = width * layout.channels * layout.sample_bytes + more
            data = bytes(max(0, step * height * layout.half_rows // 2 + surplus))
            image = {'encoding': encoding, 'height': height, 'width': width, 'step': step}
            try:
                decoded = decode_pixels(data, **image, is_bigendian=more > 0, bits=10)
            except ValueError:
                continue
            assert (decoded.shape, decoded.dtype) == ((height, width, 3), np.uint8)
            assert decoded.flags.c_contiguous


def test_more_pixels_than_allowed_are_refused():
    assert decode(MONO, 'mono8', max_pixels=48).shape == (6, 8, 3)
    with pytest.raises(ValueError, match='image must have at most 47 pixels, got 6 x 8'):
        decode(MONO, 'mono8', max_pixels=47)


@pytest.mark.parametrize('name', ['8uc3_bgr', 'mono16_12bit', 'nv21'])
def test_recorded_images_of_research_data(cases, name):
    from meta_ood_ros.bags.bag import Bag

    bag = Bag(cases / f'bags/{name}.mcap')
    message = next(iter(bag.read('/camera/image_raw'))).message
    said = []
    fields = ('data', 'encoding', 'height', 'width', 'step')
    image = {field: getattr(message, field) for field in fields}
    decoded = decode_pixels(**image, warn=said.append, bits=16)
    assert decoded.shape == (360, 480, 3)
    told = {'8uc3_bgr': 'taken for bgr8', 'mono16_12bit': 'uses 1/16 of the range', 'nv21': ''}
    assert told[name] in ' '.join(said)
    assert bool(said) == bool(told[name])
    if name == 'mono16_12bit':
        bright = decode_pixels(**image, bits=12)
        assert abs(bright.mean() / decoded.mean() - 16) < 2
