"""Pictures of a hand-made result, and how much memory they take to make."""

import tracemalloc

from meta_ood_ros.messages.conversions import to_rgb
from meta_ood_ros.messages.pictures import PICTURES, Pictures
from meta_ood_ros.messages.segment_messages import choose_segments
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from .test_segment_messages import make_result, squares

PALETTE = np.random.default_rng(1).integers(0, 200, (19, 3), dtype=np.uint8)


def make_pictures(result, image=None, **options):
    options = {'publish_rejected': False, 'max_segments': 1000} | options
    if image is None:
        image = np.zeros((*result.image_size, 3), np.uint8)
    return Pictures(
        result,
        choose_segments(result, **options),
        image=image,
        palette=PALETTE,
        overlay_alpha=0.5,
    )


def pixels(message, dtype=np.uint8):
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, -1)[..., 0]


def test_only_accepted_segments_are_class_c_and_only_published_ones_have_ids():
    result = make_result(squares(3, 7, 4), probability=[0.9, 0.2, 0.8])
    pictures = make_pictures(result, max_segments=1)
    labels = result.segments.labels
    semantic = pixels(pictures.make('semantic', Header()))
    assert np.array_equal(semantic, result.semantic)
    with_ood = pixels(pictures.make('semantic_ood', Header()))
    assert np.array_equal(with_ood == 19, (labels == 1) | (labels == 3))
    assert np.array_equal(with_ood[with_ood != 19], result.semantic[with_ood != 19])
    ids = pixels(pictures.make('segment_ids', Header()), np.uint16)
    assert np.array_equal(ids, 3 * (labels == 3))
    both = make_pictures(result, publish_rejected=True).make('segment_ids', Header())
    assert np.array_equal(pixels(both, np.uint16), labels)


def test_every_picture_is_as_large_as_the_image_at_any_work_size():
    for image_size in ((40, 200), (80, 400), (39, 199), (43, 211)):
        pictures = make_pictures(make_result(squares(3, 7), image_size=image_size))
        for name, encoding in PICTURES.items():
            message = pictures.make(name, Header(frame_id='optical'))
            assert (message.height, message.width) == image_size
            assert (message.encoding, message.header.frame_id) == (encoding, 'optical')


def test_values_stay_in_their_range_when_scaled():
    pictures = make_pictures(make_result(squares(3, 7), image_size=(131, 407)))
    entropy = pixels(pictures.make('entropy', Header()), np.float32)
    assert entropy.min() >= 0
    assert entropy.max() <= 1
    assert np.isfinite(entropy).all()


def test_confidence_is_rounded():
    result = make_result(squares(3))
    result.max_probability[...] = np.linspace(0, 1, result.max_probability.size).reshape(40, 200)
    confidence = pixels(make_pictures(result).make('confidence', Header()))
    assert np.array_equal(confidence, np.rint(255.0 * result.max_probability))


# Bytes that making a picture may take at its peak, as a multiple of the picture's own size: what
# is more than 1 is a copy or an intermediate image, named here.
PEAKS = {
    'semantic': 1.0,
    'entropy': 1.0,
    'confidence': 1.0,
    'segment_ids': 1.5,  # which pixels belong to segments, as a mask
    'semantic_ood': 3.0,  # that mask, and the classes with OoD
    'semantic_color': 1.0,
    'overlay': 5 / 3,  # semantic_ood, and the mask whose border is traced
}


@pytest.mark.parametrize('name', PEAKS)
def test_pictures_are_made_without_needless_copies(name):
    result = make_result(squares(3, 7, 12, size=(800, 1200)))
    pictures = make_pictures(result)
    pictures.make(name, Header())  # caches of index and palette
    pictures = make_pictures(result)
    tracemalloc.start()
    try:
        message = pictures.make(name, Header())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= (PEAKS[name] + 0.1) * len(message.data) + 100_000


def test_received_image_is_read_without_a_copy():
    message = Image(encoding='rgb8', height=400, width=600, step=1800)
    message.data.frombytes(bytes(400 * 1800))
    tracemalloc.start()
    try:
        image = to_rgb(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image.shape == (400, 600, 3)
    assert peak < 10_000
