"""The demo as users run it: its own process, the real node in another, DDS between them."""

from __future__ import annotations

from collections import Counter
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

import cv2
from meta_ood_ros.bags.bag import Bag, BagWriter, TypeStore
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.demo.__main__ import main
from meta_ood_ros.demo.answers import Answer
from meta_ood_ros.demo.frames import DemoFrame, find_source
from meta_ood_ros.demo.node import NodeProcess
from meta_ood_ros.demo.output import OutputFolder
from meta_ood_ros.demo.report import Tally
from meta_ood_ros.demo.top_view import draw_top_view
from meta_ood_ros.demo.truth import compare_places, FrameTruth, ObjectTruth, PlaceTruth
from meta_ood_ros.messages.conversions import to_image
from meta_ood_ros.messages.pictures import PICTURES
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    # The demo chooses these itself.
    if name not in ('ROS_DOMAIN_ID', 'FASTDDS_DEFAULT_PROFILES_FILE')
}


@pytest.fixture(scope='module')
def bundle(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp('bundles') / 'tiny'
    save_bundle(tiny_bundle, folder)
    return folder


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, '-m', 'meta_ood_ros.demo', *map(str, arguments)],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def play(*arguments):
    """Run the demo; return its exit status, its table as a dict, stdout and stderr."""
    process = start(*arguments)
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    table = dict(re.findall(r'^(\S[^|\n]*?) +\| (.*)$', output, re.MULTILINE))
    return process.returncode, table, output, errors


def pictures_of(folder):
    return sorted(path.name for path in folder.glob('*.jpg'))


def stamps_by_topic(bag):
    stamps = {}
    for one in bag.read():
        stamps.setdefault(one.raw.topic, []).append((one.stamp_ns, one.message.header.frame_id))
    return stamps


def processes_of(text):
    """Return the ids of processes with a text on their command line."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if str(text).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_rendered_streets(bundle, tmp_path):
    out = tmp_path / 'out'
    status, table, output, errors = play('--bundle', bundle, '--output', out, '--frames', 3)
    assert status == 0, output + errors
    assert table['frames in'] == table['frames processed'] == '3'
    assert table['frames dropped'] == '0'
    assert 'ms' in table['latency p50 / p95']
    assert 'false accepted segments a frame' in table
    names = ('street01_1', 'street01_2', 'street02_1')
    assert pictures_of(out) == [f'000{k}_{name}.jpg' for k, name in enumerate(names, 1)]
    assert cv2.imread(str(out / '0001_street01_1.jpg')).shape == (40 + 540 + 64, 1444, 3)
    assert cv2.imread(str(out / 'contact_sheet.png')) is not None
    above = cv2.imread(str(out / 'top_view.png'))
    assert (above == (120, 200, 90)).all(axis=2).any()  # BGR: the rings of true objects
    assert re.fullmatch(
        r'\d+ of \d+ \(\d+%\)', table.get('objects placed within 10%', '0 of 0 (0%)')
    )

    bag = Bag(out)
    stamps = stamps_by_topic(bag)
    names = {f'/ood/{name}' for name in ('segments', 'obstacles', *PICTURES)}
    names |= {'/labels', '/depth', '/camera_info'}
    assert names | {'/image'} <= set(stamps)
    for topic in names:
        assert stamps[topic] == stamps['/image'], topic
    assert len(set(stamps['/image'])) == 3
    found, accepted = map(int, table['segments found / accepted'].split(' / '))
    messages = [one.message for one in bag.read('/ood/segments')]
    assert sum(one.segments_found for one in messages) == found > 0
    assert sum(s.accepted for one in messages for s in one.segments) == accepted
    # Complete records: fit-meta can use them.
    assert all(one.segments_found == len(one.segments) for one in messages)
    assert all(len(s.metrics) == 75 for one in messages for s in one.segments)
    obstacles = [one.message for one in bag.read('/ood/obstacles')]
    assert [len(one.obstacles) for one in obstacles] == [
        sum(s.accepted for s in one.segments) for one in messages
    ]
    assert [one.message.encoding for one in bag.read('/depth')] == ['16UC1'] * 3
    labels = np.concatenate([one.message.data for one in bag.read('/labels')])
    assert set(np.unique(labels)) <= {*range(19), 254}
    assert (labels == 254).any()
    assert not processes_of(bundle)


def test_a_shorter_run_leaves_nothing_of_the_one_before(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    for count in (3, 1):
        output = OutputFolder(tmp_path, frames=count, title='run', record=False)
        for number in range(count):
            output.write_picture(number, f'a/b {number}', picture)
        output.sheet.add(picture, 'one')
        output.close()
        (tmp_path / 'mine.jpg').write_bytes(b'')
    assert pictures_of(tmp_path) == ['0001_a_b_0.jpg', 'mine.jpg']
    assert (tmp_path / 'contact_sheet.png').is_file()
    assert '*.jpg (1)' in output.summary()


def test_a_folder_of_mixed_sizes_on_two_cameras_of_a_namespace(bundle, tmp_path):
    folder, truth, out = tmp_path / 'in', tmp_path / 'truth', tmp_path / 'out'
    folder.mkdir()
    truth.mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(72, 128), (90, 120), (72, 128), (128, 72), (72, 128)]):
        cv2.imwrite(str(folder / f'{number}.png'), rng.integers(0, 255, (*size, 3), np.uint8))
        cv2.imwrite(str(truth / f'{number}.png'), np.full(size, number, np.uint8))
    (folder / '2b.jpg').write_bytes(b'no picture')
    status, table, output, errors = play(
        '--images', folder, '--labels', truth, '--bundle', bundle, '--output', out,
        '--namespace', 'fleet/one', '--cameras', 'front', 'rear',
    )  # fmt: skip
    assert status == 0, output + errors
    assert table['frames in'] == '6'
    assert table['unreadable, not sent'] == '1'
    assert table['frames processed'] == '5'
    assert table['frames dropped'] == '0'
    assert re.search(r'2b\.jpg is left out: .* must be JPEG, PNG', output + errors)
    assert len(pictures_of(out)) == 5
    bag = Bag(out / 'demo.mcap')
    stamps = stamps_by_topic(bag)
    for camera, count in (('front', 3), ('rear', 2)):
        sent = stamps[f'/fleet/one/{camera}/image']
        assert len(sent) == count
        assert {frame_id for _, frame_id in sent} == {f'{camera}_optical_frame'}
        for name in ('segments', *PICTURES):
            assert stamps[f'/fleet/one/ood/{camera}/{name}'] == sent, name
        messages = [one.message for one in bag.read(f'/fleet/one/ood/{camera}/segments')]
        assert {one.camera for one in messages} == {camera}
    sizes = [
        (one.message.height, one.message.width) for one in bag.read('/fleet/one/ood/front/entropy')
    ]
    assert sizes == [(72, 128), (72, 128), (72, 128)]
    labels = [one.message.data for one in bag.read('/fleet/one/front/labels')]
    assert [set(one) for one in labels] == [{0}, {2}, {4}]
    assert stamps['/fleet/one/front/labels'] == stamps['/fleet/one/front/image']


def test_a_picture_without_fitting_labels_is_left_out(tmp_path):
    pictures, truth = tmp_path / 'pictures', tmp_path / 'truth'
    pictures.mkdir()
    truth.mkdir()
    for name in ('good', 'none', 'large', 'colour'):
        cv2.imwrite(str(pictures / f'{name}.png'), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(truth / 'good.png'), np.full((4, 6), 254, np.uint8))
    cv2.imwrite(str(truth / 'large.png'), np.zeros((5, 6), np.uint8))
    cv2.imwrite(str(truth / 'colour.png'), np.full((4, 6, 3), (1, 2, 3), np.uint8))
    frames = {one.name: one for one in find_source(images=pictures, labels=truth)}
    assert (frames['good'].labels == 254).all()
    for name, said in (
        ('none', r'of shape \(4, 6\).*got none'),
        ('large', r'of shape \(4, 6\).*got shape \(5, 6\)'),
        ('colour', r'one 8-bit channel, got \(4, 6, 3\)'),
    ):
        frame = frames[f'{name}.png']
        assert frame.image is None
        assert re.search(said, frame.complaint)


def test_a_bag_is_played_as_it_is_and_a_bad_message_is_reported(bundle, tmp_path, capsys):
    source, out = tmp_path / 'source', tmp_path / 'out'
    rng = np.random.default_rng(0)
    with BagWriter(source, 'drive') as writer:
        for number in range(4):
            # Smooth, so that the JPEG is small.
            picture = cv2.resize(rng.integers(0, 255, (4, 6, 3), np.uint8), (120, 90))
            data = cv2.imencode('.jpg', picture)[1].tobytes()
            message = CompressedImage(header=Header(frame_id='lens'), format='jpeg')
            message.header.stamp.sec = 100 + number
            message.data.frombytes(data[: len(data) // (2 if number == 1 else 1)])
            writer.write('/lens/compressed', COMPRESSED, serialize_message(message), number)
        other = to_image(Header(), np.zeros((4, 4), np.uint8), 'mono8')
        writer.write('/other', 'sensor_msgs/msg/Image', serialize_message(other), 9)
    assert main(['--bag', str(source)]) == 2
    assert 'got /lens/compressed, /other. Choose with --topic.' in capsys.readouterr().err
    status, table, output, errors = play(
        '--bag', source, '--topic', '/lens/compressed', '--bundle', bundle, '--output', out
    )
    assert status == 0, output + errors
    assert table['frames in'] == '4'
    assert table['frames processed'] == '3'
    assert table['frames dropped'] == '1 (invalid: 1)'
    assert '101_000000000 was dropped by the node: invalid: compressed image' in output + errors
    stamps = stamps_by_topic(Bag(out))
    assert stamps['/ood/segments'] == [(sec * 10**9, 'lens') for sec in (100, 102, 103)]
    assert pictures_of(out) == [
        f'000{k}_{s}_000000000.jpg' for k, s in ((1, 100), (3, 102), (4, 103))
    ]


@pytest.mark.slow
@pytest.mark.parametrize('usable', [True, False])
def test_a_database_is_played_to_its_end_and_a_useless_one_has_its_status(
    bundle, tmp_path, usable
):
    source, out, count = tmp_path / 'source', tmp_path / 'out', 6
    store = TypeStore().store
    with Writer(source, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic = writer.add_connection('/lens', 'sensor_msgs/msg/Image', typestore=store)
        for number in range(count):
            header = Header(frame_id='lens')
            header.stamp.sec = 100 + number
            image = to_image(header, np.full((90, 120, 3), 30 * number, np.uint8), 'rgb8')
            if not usable:
                image.step = 7
            writer.write(topic, number, serialize_message(image))
    status, table, output, errors = play(
        '--bag', source / 'source.db3', '--bundle', bundle, '--output', out
    )
    assert table['frames in'] == str(count)
    assert table['frames processed'] == (str(count) if usable else '0')
    assert status == (0 if usable else 3), output + errors
    if not usable:
        expected = f'None of {count} frames could be used: {count} x dropped by the node, invalid:'
        assert expected in errors


def test_a_node_that_cannot_start_says_why(tmp_path):
    out = tmp_path / 'out'
    status, table, _, errors = play('--bundle', tmp_path / 'none', '--output', out)
    assert status == 1
    assert 'The node ended with status 1. Its last lines:' in errors
    assert 'Cannot configure: ' in errors
    assert str(tmp_path / 'none') in errors
    assert table['frames in'] == '0'


def test_warnings_of_the_node_are_found_however_the_terminal_formats_its_log(
    tmp_path, monkeypatch
):
    monkeypatch.setenv('RCUTILS_CONSOLE_OUTPUT_FORMAT', '{message}')
    node = NodeProcess({'bundle': str(tmp_path)}, namespace='', log=tmp_path / 'log')
    try:
        node._process.wait(120)
        (warning,) = node.warnings()
    finally:
        node.stop()
    assert warning.startswith('Cannot configure: bundle ')


def test_the_node_ends_with_a_demo_that_was_killed(tmp_path):
    program = (
        'import os, sys; from pathlib import Path; from meta_ood_ros.demo.node import NodeProcess;'
        "node = NodeProcess({'bundle': sys.argv[1]}, namespace='', log=Path(sys.argv[2]));"
        'print(node._process.pid, flush=True); os._exit(9)'
    )
    arguments = [sys.executable, '-c', program, str(tmp_path), str(tmp_path / 'log')]
    done = subprocess.run(arguments, env=ENVIRONMENT, text=True, capture_output=True, timeout=120)
    assert done.returncode == 9, done.stderr
    deadline = time.monotonic() + 60
    while int(done.stdout) in processes_of('ood_node'):
        assert time.monotonic() < deadline, (tmp_path / 'log').read_text()
        time.sleep(0.05)
    # Not because it failed to start.
    assert 'Cannot configure' not in (tmp_path / 'log').read_text()


def test_ctrl_c_keeps_what_was_written_and_ends_the_node(bundle, tmp_path):
    out = tmp_path / 'out'
    process = start('--bundle', bundle, '--output', out, '--frames', 500)
    try:
        deadline = time.monotonic() + 200
        while len(pictures_of(out) if out.is_dir() else []) < 2:
            assert time.monotonic() < deadline, process.communicate()
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert 'Interrupted. What was written before is kept.' in errors
    assert 'Traceback' not in errors
    assert 'frames processed' in output
    bag = Bag(out)
    assert bag.counts['/ood/segments'] >= 2
    list(bag.read())
    assert bag.loss == ''
    assert (out / 'contact_sheet.png').is_file()
    assert not processes_of(bundle)


def test_an_output_that_cannot_be_written_is_one_sentence(bundle, tmp_path, capsys):
    (tmp_path / 'file').write_text('in the way')
    assert main(['--output', str(tmp_path / 'file'), '--frames', '2']) == 1
    assert f'Cannot write to {tmp_path / "file"}: ' in capsys.readouterr().err
    # In the middle of the run: what was written before stays.
    out = tmp_path / 'out'
    (out / '0002_street01_2.jpg').mkdir(parents=True)
    status, table, _, errors = play('--bundle', bundle, '--output', out, '--frames', 5)
    assert status == 1
    assert f'Cannot write to {out}: Is a directory. Free some space or name another' in errors
    assert 'Traceback' not in errors
    assert int(table['frames processed']) < 5
    assert (out / '0001_street01_1.jpg').is_file()
    assert Bag(out / 'demo.mcap').counts['/ood/segments'] >= 2


def answer(*, found=0, rejected=0, **changes):
    from meta_ood_msgs.msg import OodSegmentArray

    segments = OodSegmentArray(segments_found=found, segments_rejected=rejected)
    return Answer(DemoFrame('one', None), '', **({'segments': segments} | changes))


def test_why_nothing_could_be_used_is_said_by_cause():
    assert Tally().describe_nothing() == 'No frame could be used: none came.'
    tally = Tally(frames=12)
    for number in range(6):
        tally.leave_out(f'cause {number // 2}')
    tally.add(answer(segments=None, drop='invalid: image step'))
    for _ in range(4):
        tally.add(answer(segments=None))
    tally.leave_out('cause 9')
    assert tally.describe_nothing() == (
        'None of 12 frames could be used: 4 x no answer came.; 2 x cause 0; 2 x cause 1; '
        '2 x cause 2; 2 for other causes'
    )
    tally.add(answer(found=1, latency_ms=1.0))
    assert tally.describe_nothing() == ''


def test_table_of_a_run_counted_by_hand():
    tally = Tally(frames=6, unreadable=1)
    tally.add(answer(found=5, rejected=3, latency_ms=100.0))
    tally.add(answer(found=1, latency_ms=200.0, missing=('overlay',)))
    tally.add(answer(segments=None, drop='invalid: image step must be at least 9'))
    tally.add(answer(segments=None, drop='invalid: something else'))
    lost = answer(segments=None)
    assert lost.is_lost
    tally.add(lost)
    large = (ObjectTruth(400, 0.25), ObjectTruth(900, 0.24))
    places = (
        PlaceTruth((0.0, 0.0, 10.0), (0.0, 0.0, 10.5)),
        PlaceTruth((3.0, 0.0, 4.0), (3.0, 1.0, 4.0)),
        PlaceTruth((0.0, 0.0, 10.0), (0.0, 0.3, 10.4)),
        PlaceTruth((0.0, 0.0, 10.0), None),
    )
    small = (ObjectTruth(399, 0.9),)
    tally.truth = [FrameTruth(large, 1, places[:3]), FrameTruth(small, 0, places[3:])]
    assert tally.drops == Counter(invalid=2)
    assert dict(tally.rows()) == {
        'frames in': '6',
        'unreadable, not sent': '1',
        'frames processed': '2',
        'frames dropped': '2 (invalid: 2)',
        'frames lost without a reason': '1',
        'frames that lack an output': '1',
        'segments found / accepted': '6 / 3',
        'latency p50 / p95': '150 / 195 ms',
        'unknown objects found, of 400 px or more': '1 of 2 (50%)',
        'unknown objects found, smaller': '1 of 1 (100%)',
        'false accepted segments a frame': '0.50',
        'median error of places': '0.50 m (5.0%)',
        'objects placed within 10%': '2 of 4 (50%)',
    }


def test_a_segment_has_the_place_of_the_object_it_covers():
    objects = np.zeros((8, 12), np.uint16)
    objects[1:5, 1:5], objects[1:5, 7:11] = 1, 2
    segments = np.zeros((8, 12), np.uint16)
    segments[1:5, 1:4] = 7  # most of object 1
    segments[4, 7:9] = 8  # IoU 2 / 16 with object 2
    segments[7] = 9  # on nothing
    truth = np.array([(1.0, 0.0, 5.0), (2.0, 0.0, 6.0)])
    place = (1.0, 0.0, 5.5)
    found = compare_places(segments, {7: place, 8: place, 9: None}, objects, truth)
    assert found == (PlaceTruth((1.0, 0.0, 5.0), place),)
    assert (found[0].error, found[0].share) == (0.5, pytest.approx(0.5 / 26**0.5))
    segments[1:5, 7:11] = 9
    assert compare_places(segments, {9: None}, objects, truth)[0].error == float('inf')


def test_the_view_from_above_has_the_camera_below_and_metres_to_scale():
    def middle(picture, colour):
        rows, columns = np.nonzero((picture == colour).all(axis=2))
        return columns.mean(), rows.mean()

    near = draw_top_view([(0.0, 1.0, 10.0)], [(4.0, 0.0, 20.0)], 0.5)
    assert middle(near, (90, 200, 120)) == pytest.approx((240, 420 - 100), abs=1)
    assert middle(near, (255, 96, 64)) == pytest.approx((240 + 40, 420 - 200), abs=1)
    assert not (draw_top_view([], [], 0.5) == (255, 96, 64)).all(axis=2).any()
    # outside is cut off, and no error
    assert draw_top_view([(900.0, 0.0, -900.0)], [(0.0, 0.0, 99.0)], 0.5).shape == (440, 480, 3)
