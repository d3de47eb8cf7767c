"""The messages: their text, what is generated from it, and a second serializer that reads both."""

from __future__ import annotations

from array import array
import hashlib
import json
import math
from pathlib import Path

import meta_ood_msgs
from meta_ood_msgs.msg import OodSegment, OodSegmentArray
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message

# Of a virtual environment or of a colcon workspace.
SHARE = next(
    share / 'msg'
    for parent in Path(meta_ood_msgs.__file__).parents
    if (share := parent / 'share' / 'meta_ood_msgs').is_dir()
)
NAMES = ('OodObstacle', 'OodObstacleArray', 'OodSegment', 'OodSegmentArray')


@pytest.fixture(scope='module')
def sources(repository):
    folder = repository / 'ros2_ws' / 'src' / 'meta_ood_msgs' / 'msg'
    assert {path.stem for path in folder.iterdir()} == set(NAMES)
    return {name: (folder / f'{name}.msg').read_text() for name in NAMES}


@pytest.fixture(scope='module')
def typestore(sources):
    typesys = pytest.importorskip('rosbags.typesys')
    store = typesys.get_typestore(typesys.Stores.ROS2_KILTED)
    types = {}
    for name, text in sources.items():
        types.update(typesys.get_types_from_msg(text, f'meta_ood_msgs/msg/{name}'))
    store.register(types)
    return store


def example():
    message = OodSegmentArray(
        camera='front', height=360, width=480, work_height=384, work_width=512
    )
    message.header.stamp.sec, message.header.stamp.nanosec = 7, 8
    message.header.frame_id = 'front_optical'
    message.model_id = 'default@0123456789ab'
    message.score, message.score_threshold, message.meta_threshold = 'entropy', 0.5, 0.25
    message.class_names = ['road', 'sidewalk']
    message.metric_names = ['size', 'entropy_mean']
    message.segments_found, message.segments_rejected = 2, 1
    segment = OodSegment(id=65535, area_px=12, class_id=1, ood_probability=0.75, accepted=True)
    segment.roi.x_offset, segment.roi.width = 3, 4
    segment.contour_x, segment.contour_y = array('H', [3, 6, 6]), array('H', [1, 1, 65535])
    segment.metrics = array('f', [12.0, 0.5])
    message.segments = [segment, OodSegment(class_id=OodSegment.CLASS_UNLABELED)]
    return message


def test_installed_messages_are_made_from_the_text_in_the_source_tree(sources):
    for name, text in sources.items():
        assert (SHARE / f'{name}.msg').read_text() == text, 'run make install'


def test_messages_that_bags_hold_are_what_they_were(sources):
    # A later field would make recorded bags unreadable: what is new gets a message of its own.
    digests = {name: hashlib.sha256(sources[name].encode()).hexdigest()[:12] for name in NAMES[2:]}
    assert digests == {'OodSegment': '99b8bdfd941a', 'OodSegmentArray': '7979e501edca'}


def test_every_field_has_a_comment(sources):
    for text in sources.values():
        lines = text.splitlines()
        assert lines[0].startswith('#')
        assert all('#' in line or '=' in line for line in lines)


def test_numbers_say_their_unit_or_range(sources):
    words = (
        '[px]',
        '[m]',
        '0..',
        '>=',
        '1..65535',
        'unit of',
        'index',
        'order of',
        'len(segments)',
    )
    for text in sources.values():
        for line in text.splitlines()[1:]:
            if line.startswith(('uint', 'float')) and '=' not in line.split('#')[0]:
                assert any(word in line for word in (*words, 'min_size_px', '0..')), line


def test_unlabeled_is_the_value_of_an_ignored_pixel():
    assert OodSegment.CLASS_UNLABELED == 255


def test_round_trip_keeps_every_field():
    message = example()
    assert deserialize_message(serialize_message(message), OodSegmentArray) == message


def test_missing_probability_is_nan_on_the_other_side():
    bytes_ = serialize_message(OodSegment(ood_probability=math.nan))
    assert math.isnan(deserialize_message(bytes_, OodSegment).ood_probability)


def test_empty_array_of_segments_is_a_message():
    message = deserialize_message(serialize_message(OodSegmentArray()), OodSegmentArray)
    assert message.segments == []
    assert len(OodSegment().metrics) == len(OodSegment().contour_x) == 0


def test_values_outside_the_type_are_refused():
    segment = OodSegment()
    segment._check_fields = True  # off by default where speed counts
    with pytest.raises(AssertionError, match='unsigned integer'):
        segment.id = 65536


def test_a_reader_without_ros_sees_the_same_values(typestore):
    message = example()
    kind = 'meta_ood_msgs/msg/OodSegmentArray'
    read = typestore.deserialize_cdr(serialize_message(message), kind)
    assert (read.header.stamp.sec, read.header.frame_id) == (7, 'front_optical')
    assert (read.score, read.score_threshold) == ('entropy', 0.5)
    assert read.class_names == ['road', 'sidewalk']
    assert read.segments[0].id == 65535
    np.testing.assert_array_equal(read.segments[0].contour_y, [1, 1, 65535])
    np.testing.assert_array_equal(read.segments[0].metrics, np.float32([12.0, 0.5]))
    assert read.segments[1].class_id == read.segments[1].CLASS_UNLABELED
    assert (
        deserialize_message(bytes(typestore.serialize_cdr(read, kind)), OodSegmentArray) == message
    )


@pytest.mark.parametrize('name', NAMES)
def test_type_hash_is_the_one_of_a_second_implementation(typestore, name):
    # It decides whether a recorded bag can still be played into a node.
    hashes = json.loads((SHARE / f'{name}.json').read_text())['type_hashes']
    installed = {entry['type_name']: entry['hash_string'] for entry in hashes}
    kind = f'meta_ood_msgs/msg/{name}'
    assert installed[kind] == typestore.hash_rihs01(kind)
