"""OodResult -> segments in messages: which, in what order, with what in them."""

from dataclasses import replace
import math

from meta_ood_ros.core.result import OodResult
from meta_ood_ros.core.segment_metrics import metric_names, SegmentMetrics
from meta_ood_ros.core.segments import find_segments, summarize_segments
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.segment_messages import choose_segments, to_segment_array
import numpy as np
import pytest
from std_msgs.msg import Header


def make_result(mask, *, probability=None, image_size=None, meta_threshold=0.5):
    """Return what the pipeline would say about a hand-drawn OoD mask."""
    mask = np.asarray(mask, bool)
    segments = find_segments(mask)
    rng = np.random.default_rng(0)
    entropy = np.where(mask, rng.uniform(0.5, 1.0, mask.shape), 0.1).astype(np.float32)
    semantic = rng.integers(0, 19, mask.shape, dtype=np.uint8)
    names = metric_names(19)
    values = rng.normal(size=(segments.count, len(names)))
    rows, columns = np.nonzero(segments.labels)
    ids = segments.labels[rows, columns] - 1
    for name, position in (('centroid_row', rows), ('centroid_column', columns)):
        values[:, names.index(name)] = np.bincount(ids, position) / np.bincount(ids)
    if probability is None:
        probability = np.full(segments.count, np.nan)
    probability = np.asarray(probability, np.float32)
    accepted = np.isnan(probability) | (probability >= meta_threshold)
    return OodResult(
        semantic=semantic,
        entropy=entropy,
        max_probability=1 - entropy,
        segments=segments,
        metrics=SegmentMetrics(values, names),
        ood_probability=probability,
        accepted=accepted,
        summary=summarize_segments(segments, semantic, entropy),
        entropy_threshold=0.5,
        meta_threshold=meta_threshold,
        classifier_threshold=None,
        image_size=image_size or mask.shape,
        work_size=mask.shape,
    )


def squares(*sides, size=(40, 200)):
    """Return a mask with squares of these sides in a row, 3 pixels apart."""
    mask = np.zeros(size, bool)
    left = 2
    for side in sides:
        mask[5 : 5 + side, left : left + side] = True
        left += side + 3
    return mask


def message_of(result, **settings):
    settings = NodeSettings(**settings)
    published = choose_segments(
        result,
        publish_rejected=settings.publish_rejected,
        max_segments=settings.max_segments,
    )
    return to_segment_array(
        result,
        published,
        settings,
        header=Header(frame_id='optical'),
        camera='front',
        model_id='tiny@0123456789ab',
        class_names=[f'class {index}' for index in range(19)],
    )


@pytest.mark.parametrize('image_size', [None, (80, 400)])
def test_all_fields_of_all_segments(image_size):
    result = make_result(squares(3, 7, 1, 5), probability=[0.9, 0.2, 0.5, 0.7])
    result = replace(result, image_size=image_size or result.work_size)
    factor = result.image_size[0] // 40
    message = message_of(result, publish_rejected=True, publish_metrics=True)
    assert (message.camera, message.model_id) == ('front', 'tiny@0123456789ab')
    assert (message.height, message.width) == result.image_size
    assert (message.work_height, message.work_width) == (40, 200)
    assert (message.score, message.score_threshold, message.meta_threshold) == (
        'entropy',
        0.5,
        0.5,
    )
    assert message.metric_names == list(metric_names(19))
    assert (message.segments_found, message.segments_rejected) == (4, 1)
    assert [one.id for one in message.segments] == [1, 2, 3, 4]
    assert [one.accepted for one in message.segments] == [True, False, True, True]
    for k, segment in enumerate(message.segments):
        inside = result.segments.labels == k + 1
        rows, columns = np.nonzero(inside)
        assert segment.area_px == factor**2 * rows.size
        assert segment.roi.x_offset == factor * columns.min()
        assert segment.roi.y_offset == factor * rows.min()
        assert segment.roi.width == segment.roi.height == factor * (np.ptp(rows) + 1)
        assert not segment.roi.do_rectify
        assert segment.centroid_x == pytest.approx(factor * (columns.mean() + 0.5) - 0.5)
        assert segment.centroid_y == pytest.approx(factor * (rows.mean() + 0.5) - 0.5)
        assert segment.class_id == np.bincount(result.semantic[inside]).argmax()
        assert segment.ood_probability == result.ood_probability[k]
        assert segment.score_mean == pytest.approx(result.entropy[inside].mean())
        assert segment.score_max == result.entropy[inside].max()
        assert np.array_equal(segment.metrics, result.metrics.values[k].astype(np.float32))
        assert segment.contour_x.typecode == segment.contour_y.typecode == 'H'
        assert min(segment.contour_x) == segment.roi.x_offset
        assert max(segment.contour_y) == segment.roi.y_offset + segment.roi.height - 1


def test_a_core_lies_where_it_is_whatever_segment_it_was_judged_in():
    result = make_result(squares(3, 7), probability=[0.9, 0.9])
    judged = SegmentMetrics(result.metrics.values[[0, 0]], result.metrics.names)
    message = message_of(replace(result, metrics=judged, core_threshold=0.8), publish_metrics=True)
    for k, segment in enumerate(message.segments):
        rows, columns = np.nonzero(result.segments.labels == k + 1)
        assert segment.centroid_x == pytest.approx(columns.mean())
        assert segment.centroid_y == pytest.approx(rows.mean())
        assert (segment.area_px, segment.roi.x_offset) == (rows.size, columns.min())
    assert message.segments[0].metrics == message.segments[1].metrics


def test_rejected_segments_are_counted_but_not_published():
    message = message_of(make_result(squares(3, 7, 1), probability=[0.9, 0.2, 0.6]))
    assert [one.id for one in message.segments] == [1, 3]  # ids keep their gaps
    assert (message.segments_found, message.segments_rejected) == (3, 1)


def test_without_meta_classifier_all_are_accepted_with_nan():
    message = message_of(make_result(squares(3, 4)))
    assert all(one.accepted and math.isnan(one.ood_probability) for one in message.segments)
    assert len(message.segments) == 2


def test_largest_segments_stay_with_their_ids():
    result = make_result(squares(3, 7, 3, 5, 2), probability=[0.9, 0.9, 0.9, 0.9, 0.9])
    message = message_of(result, max_segments=3)
    assert [one.id for one in message.segments] == [1, 2, 4]  # of equal ones the first
    assert (message.segments_found, message.segments_rejected) == (5, 0)


def test_rejected_segments_take_no_place_from_accepted_ones():
    result = make_result(squares(9, 2, 3), probability=[0.1, 0.9, 0.9])
    assert [one.id for one in message_of(result, max_segments=2).segments] == [2, 3]


def test_no_segment_gives_an_empty_message():
    message = message_of(make_result(np.zeros((40, 200))), publish_metrics=True)
    assert message.segments == []
    assert (message.segments_found, message.segments_rejected) == (0, 0)
    assert len(message.metric_names) == 75


def test_segment_that_no_pixel_of_a_smaller_image_shows_is_not_told():
    mask = np.zeros((40, 200), bool)
    mask[4, 10], mask[20:30, 50:60] = True, True
    result = make_result(mask, image_size=(20, 100))  # which shows odd rows and columns
    message = message_of(result)
    assert [one.id for one in message.segments] == [2]
    assert (message.segments_found, message.segments[0].area_px) == (1, 25)


def test_ids_beyond_sixteen_bits_are_numbered_anew():
    mask = np.zeros((400, 700), bool)
    mask[::2, ::2] = True  # 70,000 single pixels
    mask[398, 690:] = True  # the last one is larger
    result = make_result(mask)
    assert result.segments.count > 65535
    settings = {'publish_contours': False, 'max_segments': 65535}
    message = message_of(result, **settings)
    assert message.segments_found == result.segments.count
    ids = [one.id for one in message.segments]
    assert ids == list(range(1, 65536))
    assert message.segments[-1].area_px == 10
    few = message_of(result, publish_contours=False, max_segments=2)
    assert [one.id for one in few.segments] == [1, 2]
