"""Frames of a bag: each moment once, in one group for all cameras, whatever lies where."""

import importlib.util
from pathlib import Path
import tracemalloc

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_training.segments.labelled_bags import BagFrames, BagOptions
import numpy as np
import pytest

# loaded by path: with --import-mode=importlib a test cannot import the file beside it
_SPEC = importlib.util.spec_from_file_location(
    'recording', Path(__file__).with_name('recording.py')
)
recording = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recording)
make_frame, stamp_of, Recorder = recording.make_frame, recording.stamp_of, recording.Recorder
FIRST = recording.FIRST


@pytest.fixture(scope='module')
def bundle(small_bundle):
    return load_bundle(small_bundle)


def write(folder, messages, name='drive'):
    """Record (topic, stamp, number of the frame) in this order; labels on topics that end so."""
    recorder = Recorder(folder, name)
    for topic, stamp, number in messages:
        image, target = make_frame(number)
        is_label = topic.endswith('labels')
        pixels, encoding = (target, 'mono8') if is_label else (image, 'rgb8')
        recorder.image(topic, stamp, pixels, encoding)
    return recorder.writer.close()


def both(stamp, number):
    return [('/image', stamp, number), ('/labels', stamp, number)]


def open_bag(path, bundle, **options):
    return BagFrames(path, BagOptions(label_topic='/labels', **options), bundle)


def assert_frames(bag, stamps):
    """Compare all frames with those of the first recording."""
    frames = dict(bag.share(0, 1))
    assert [frames[number].stamp_ns for number in range(len(frames))] == stamps
    for number, frame in frames.items():
        image, target = make_frame(number)
        np.testing.assert_array_equal(frame.image, image)
        np.testing.assert_array_equal(frame.target, target)


@pytest.mark.parametrize('order', ['looped', 'at once'])
def test_a_stamp_that_comes_again_is_taken_once_and_said(tmp_path, bundle, order):
    stamps = [stamp_of(number) for number in range(3)]
    once = [one for number, stamp in enumerate(stamps) for one in both(stamp, number)]
    again = [one for stamp in stamps[:2] for one in both(stamp, 7)]  # shows something else
    messages = once + again
    if order == 'at once':  # both images of a stamp, then both labels
        messages.sort(key=lambda one: (one[1], one[0]))
    bag = open_bag(write(tmp_path, messages), bundle)
    assert len(bag) == 3
    assert_frames(bag, stamps)
    assert len(bag.losses) == 2
    assert bag.losses[0].startswith(
        'drive.mcap repeats stamps: 2 messages on /image were left out'
    )
    assert '2 messages on /labels' in bag.losses[1]


def test_labels_behind_all_images_are_matched_in_little_memory(tmp_path, bundle):
    size, count = (300, 400), 40
    rng = np.random.default_rng(0)
    recorder = Recorder(tmp_path)
    for number in range(count):
        noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        recorder.image('/image', stamp_of(number), noise, 'rgb8')
    for number in range(count):
        recorder.image('/labels', stamp_of(number), make_frame(number, size)[1], 'mono8')
    bag = open_bag(recorder.writer.close(), bundle)
    tracemalloc.start()
    try:
        found = [(number, frame.stamp_ns) for number, frame in bag.share(0, 1)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(number, stamp_of(number)) for number in range(count)]
    # all images take 14 MB, all labels 5 MB; a chunk of the file is 1 MB
    assert peak < 6e6
    assert not bag.losses


def test_cameras_of_a_bag_share_blocks_whichever_starts_first(tmp_path, bundle):
    second = 10**9
    messages = []
    for number in range(8):
        stamp = FIRST + 500_000_000 + number * second
        messages += [('/front/image', stamp, 0), ('/front/labels', stamp, 0)]
        if number >= 3:  # the rear camera starts three seconds later
            messages += [('/rear/image', stamp, 1), ('/rear/labels', stamp, 1)]
    path = write(tmp_path, messages)
    groups = {}
    for camera in ('front', 'rear'):
        options = BagOptions(f'/{camera}/image', f'/{camera}/labels', block_seconds=4.0)
        for _, frame in BagFrames(path, options, bundle).share(0, 1):
            groups.setdefault(frame.stamp_ns, set()).add(frame.group)
    assert [len(one) for one in groups.values()] == [1] * 8
    assert len(set().union(*groups.values())) == 2


@pytest.mark.parametrize('topic', ['/image', '/labels'])
@pytest.mark.parametrize(
    ('data', 'loss'),
    [
        (b'', 'drive.mcap has 1 messages on {} that are too damaged for a stamp'),
        (b'\0\1\0\0short', 'drive.mcap has 1 messages on {} that are too damaged for a stamp'),
        (None, '1 images not readable: {} must hold sensor_msgs/msg/Image, got 40 bytes'),
    ],
)
def test_a_damaged_message_costs_its_frame_and_is_said(tmp_path, bundle, topic, data, loss):
    recorder = Recorder(tmp_path, 'drive')
    for number in range(3):
        image, target = make_frame(number)
        for name, pixels, kind in (('/image', image, 'rgb8'), ('/labels', target, 'mono8')):
            if number == 1 and name == topic:
                start = b'\0\1\0\0' + np.array(divmod(stamp_of(1), 10**9), '<u4').tobytes()
                cut = start + bytes(28) if data is None else data
                recorder.writer.write(topic, 'sensor_msgs/msg/Image', cut, stamp_of(1))
            else:
                recorder.image(name, stamp_of(number), pixels, kind)
    bag = open_bag(recorder.writer.close(), bundle)
    frames = dict(bag.share(0, 1))
    assert sorted(frame.stamp_ns for frame in frames.values()) == [stamp_of(0), stamp_of(2)]
    assert [one for one in bag.losses if one.startswith(loss.format(topic))]


def test_bags_of_like_names_are_told_apart(tmp_path, bundle):
    later = stamp_of(1000)
    made = {
        'city_2026.11.21': write(tmp_path / 'city_2026.11.21', both(FIRST, 0)).parent,
        'city_2026.11.22': write(tmp_path / 'city_2026.11.22', both(FIRST, 0)).parent,
        'drive': write(tmp_path / 'robot1', both(FIRST, 0)),
        'drive ': write(tmp_path / 'robot2', both(later, 0)),
        'left+right': write(tmp_path, both(FIRST, 0), 'left+right'),
    }
    titles = [open_bag(path, bundle).title for path in made.values()]
    assert titles == [
        f'city_2026.11.21@{FIRST}',
        f'city_2026.11.22@{FIRST}',
        f'drive@{FIRST}',
        f'drive@{later}',
        f'left-right@{FIRST}',  # '+' joins groups
    ]


def test_a_bag_whose_only_chunk_is_damaged_holds_no_frames(tmp_path, bundle):
    path = write(tmp_path, both(FIRST, 0))
    content = bytearray(path.read_bytes())
    begin = content.index(b'\x28\xb5\x2f\xfd')  # of the zstd frame; the index stays whole
    content[begin : begin + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'equal stamp, got 0 frames on /image and 0 labels'):
        open_bag(path, bundle)


def test_a_bag_given_twice_is_refused(tmp_path, small_bundle, capsys):
    path = write(tmp_path / 'bag', both(FIRST, 0))
    words = ['--bag', path, '--bag', path, '--label-topic', '/labels']
    assert recording.extract(tmp_path / 'out', small_bundle, *words) == 2
    assert f'must differ in name or begin, got {path} and {path}' in capsys.readouterr().err


def test_a_threshold_given_twice_is_one(tmp_path, small_bundle):
    words = ['--bag', write(tmp_path / 'bag', both(FIRST, 0)), '--label-topic', '/labels']
    output = tmp_path / 'out'
    assert recording.extract(output, small_bundle, *words, '--threshold', 0.8, 0.5, 0.8) == 0
    rows = recording.read_table([output], 'segments').select(['entropy_threshold', 'segment'])
    keys = [tuple(row.values()) for row in rows.to_pylist()]
    assert len(keys) == len(set(keys)) > 0
