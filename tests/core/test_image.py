"""Camera image to network input: known sizes, known values."""

import cv2
from meta_ood_ros.core.image import open_image, resize_image, to_network_input, to_work_size
import numpy as np
import pytest
import torch


@pytest.mark.parametrize(
    ('image_size', 'short_side', 'stride', 'expected'),
    [
        ((1080, 1920), 512, 16, (512, 912)),  # 910.2 rounds to 57 x 16
        ((1920, 1080), 512, 16, (912, 512)),  # upright camera
        ((360, 480), 0, 16, (368, 480)),  # as received: 22.5 strides round to an even 22 or up
        ((512, 1024), 512, 16, (512, 1024)),
        ((5, 1000), 64, 16, (64, 12800)),
        ((2160, 3840), 0, 16, (2160, 3840)),  # 4K video fits where the size is kept
        ((1080, 1920), 1080, 16, (1088, 1920)),  # and full HD where it is asked for
        ((100, 400), 512, 16, (512, 2048)),  # 4:1, the bound itself
        ((3, 3), 0, 8, (8, 8)),  # never less than one stride
    ],
)
def test_work_size_keeps_the_aspect(image_size, short_side, stride, expected):
    got = to_work_size(image_size, short_side=short_side, stride=stride)
    assert all(side % stride == 0 for side in got)
    if image_size == (360, 480):
        assert got[0] in (352, 368)
        assert got[1] == 480
    else:
        assert got == expected


def test_work_size_is_the_same_for_one_scene_at_two_resolutions():
    assert to_work_size((360, 640), short_side=512, stride=16) == to_work_size(
        (720, 1280), short_side=512, stride=16
    )


@pytest.mark.parametrize('image_size', [(1, 30), (30, 1), (2, 60), (16, 500), (100, 2000)])
def test_long_and_narrow_image_becomes_no_grid_of_gigabytes(image_size):
    with pytest.raises(ValueError, match=r'work grid must have at most 1048576 pixels, got an im'):
        to_work_size(image_size, short_side=512, stride=16)


def test_grid_has_one_bound_whether_the_image_grows_or_shrinks():
    for image_size in ((100, 200), (800, 1600), (4000, 8000)):
        options = {'short_side': 800, 'stride': 16}
        assert to_work_size(image_size, **options, max_pixels=1_280_000) == (800, 1600)
        with pytest.raises(
            ValueError, match=r'makes 800 x 1600. Check the camera, choose a small'
        ):
            to_work_size(image_size, **options, max_pixels=1_279_999)
    with pytest.raises(ValueError, match=r'at most 8388608 pixels.*or raise max_work_pixels'):
        to_work_size((4320, 7680), short_side=0, stride=16)


def test_empty_image_is_refused():
    with pytest.raises(ValueError, match='at least one pixel, got 0 x 640. Check the camera'):
        to_work_size((0, 640), short_side=512, stride=16)
    with pytest.raises(ValueError, match=r'at least one pixel, got shape \(0, 4, 3\)'):
        to_network_input(np.zeros((0, 4, 3), dtype=np.uint8))


def test_input_is_normalized_and_channels_come_first():
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 255, 51, 0
    x = to_network_input(image, mean=(0.5, 0.1, 0.25), std=(0.25, 0.5, 0.125))
    assert x.shape == (1, 3, 2, 3)
    np.testing.assert_allclose(x[0, :, 1, 2], [2.0, 0.2, -2.0], rtol=1e-6)


def test_input_matches_the_formula_in_float64():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    x = to_network_input(image).numpy()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(x[0], ((image / 255.0 - mean) / std).transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    'image',
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_other_shapes_and_types_are_refused(image):
    with pytest.raises(ValueError, match=r'must have shape \(H, W, 3\) and type uint8, got'):
        to_network_input(image)


def test_shrinking_averages_and_keeps_a_thin_line():
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[:, 33] = 255  # one pixel wide; a quarter of it remains in each of the new pixels
    small = resize_image(image, (16, 16))
    np.testing.assert_array_equal(small[:, 8, 0], np.full(16, 64))


def test_read_only_image_is_not_written_to_and_raises_no_warning(recwarn):
    image = np.full((8, 8, 3), 7, dtype=np.uint8)
    image.setflags(write=False)
    to_network_input(image)
    assert not recwarn.list
    assert (image == 7).all()


def test_one_image_has_the_strides_of_any_batch():
    x = to_network_input(np.zeros((8, 10, 3), np.uint8))
    assert x.stride() == torch.zeros(1, 3, 8, 10).to(memory_format=torch.channels_last).stride()
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ('image', 'advice'),
    [
        (np.zeros((4, 6), np.uint8), r'got \(4, 6\) uint8. Make a grey image RGB: cv2.cvtColor'),
        (np.zeros((4, 6), bool), r'got \(4, 6\) bool. Make a grey image RGB'),
        (np.zeros((4, 6, 4), np.uint8), r'got \(4, 6, 4\) uint8. Leave out the alpha channel'),
        (np.zeros((4, 6, 3), np.float32), r'float32. Convert it to RGB bytes first: \(255 \* im'),
        (np.zeros((3, 4, 6), np.uint8), r'got \(3, 4, 6\) uint8. Channels go last: image.transp'),
        (np.zeros((3, 4, 6), np.float32), r'\(3, 4, 6\) float32. Channels go last'),
        (np.zeros((2, 4, 6, 3), np.uint8), r'It is a batch: call pipeline.batch\(list\(images\)'),
        (np.zeros((4, 6, 3), np.uint16), r'got \(4, 6, 3\) uint16. Convert it to RGB bytes first'),
        (torch.zeros(3, 4, 6), r'got Tensor. Pass a numpy array of RGB bytes \(of a tensor'),
        ([[[0, 0, 0]]], 'got list. Pass a numpy array of RGB bytes'),
        (None, 'got NoneType. Pass a numpy array'),
    ],
)
def test_each_kind_of_wrong_image_is_told_what_to_do(image, advice):
    with pytest.raises(ValueError, match=advice):
        open_image(image)


def test_an_image_comes_from_a_path_or_from_pil_too(tmp_path):
    pil = pytest.importorskip('PIL.Image')
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    assert open_image(image) is image
    path = tmp_path / 'street.png'
    cv2.imwrite(str(path), image[..., ::-1])
    for given in (path, str(path), pil.fromarray(image), pil.open(path)):
        np.testing.assert_array_equal(open_image(given), image)
    grey = pil.fromarray(image[..., 0])
    np.testing.assert_array_equal(open_image(grey), np.repeat(image[..., :1], 3, axis=2))
    with pytest.raises(ValueError, match="must have 8 bits a channel, got mode 'I;16'"):
        open_image(pil.fromarray(image[..., 0].astype(np.uint16)))


def test_a_file_that_is_no_whole_picture_is_refused(tmp_path):
    path = tmp_path / 'street.jpg'
    with pytest.raises(FileNotFoundError):
        open_image(path)
    whole = cv2.imencode('.jpg', np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    for content, reason in (
        (b'', r'street\.jpg must'),
        (b'no picture', r'street\.jpg must'),
        (whole[:-200], r'street\.jpg must reach its end marker, got \d+ bytes'),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            open_image(path)


def test_a_photograph_is_turned_as_it_says(tmp_path):
    pil = pytest.importorskip('PIL.Image')
    exif = pil.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    pil.new('RGB', (20, 10)).save(tmp_path / 'photograph.jpg', exif=exif)
    assert open_image(tmp_path / 'photograph.jpg').shape == (20, 10, 3)
