"""Whatever a camera sends: dropped, counted, reported once, and the next frame is processed."""

import array
import re

import cv2
from meta_ood_ros.messages.conversions import to_image
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from ..conftest import make_header, NOT_A_NUMBER, scene, wait_for


@pytest.fixture
def log(monkeypatch):
    """Collect what nodes warn about."""
    from rclpy.impl.rcutils_logger import RcutilsLogger

    lines, warning = [], RcutilsLogger.warning

    def note(self, message, **options):
        lines.append(message)
        return warning(self, message, **options)

    monkeypatch.setattr(RcutilsLogger, 'warning', note)
    return lines


def wrong(change):
    """Return an image message with something wrong about it."""
    message = to_image(make_header(7), scene(), 'rgb8')
    change(message)
    return message


def shorten(message):
    message.data = message.data[:-1]


def empty(message):
    message.height = message.width = message.step = 0
    message.data = array.array('B')


def rename(message):
    message.encoding = 'rgb888'


def flatten(message):
    message.height, message.width, message.step = 1, 12288, 36864


def widen(message):
    message.step += 4


def make_giant(message):
    message.encoding, message.height, message.width, message.step = 'mono8', 6000, 6000, 6000
    message.data = array.array('B', bytes(36_000_000))


def measure(message):
    message.encoding, message.width = '16UC1', message.width * 3 // 2


BAD_IMAGES = {
    'too many pixels': (make_giant, r'at most 33554432 pixels, got 6000 x 6000'),
    'depth': (measure, 'must be that of a picture, got 16UC1, which holds measured values'),
    'unknown encoding': (rename, "must be one of rgb8, .* got 'rgb888'"),
    'data too short': (shorten, 'bytes for a 96 x 128 rgb8 image, got 36863'),
    'zero-sized': (empty, 'at least one pixel, got 0 x 0'),
    'one endless row': (
        flatten,
        r'work grid must have at most 1048576 pixels, got an image of 1 x 12288, which',
    ),
    'step x height does not match': (widen, '= 388 x 96 = 37248 bytes'),
}


@pytest.mark.parametrize('name', BAD_IMAGES)
def test_bad_image_is_dropped_counted_and_reported_once(robot, colour_network, log, name):
    change, sentence = BAD_IMAGES[name]
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    for number in (1, 2):
        camera.publish(wrong(change))
        wait_for(lambda n=number: facts().get('dropped_invalid') == str(n))
    assert facts()['last_drop'].startswith('invalid: ')
    assert facts().level == b'\x01'  # frames come, and none can be used
    assert re.search(sentence, facts().message)
    assert facts()['last_drop_stamp'].endswith('.000000007')
    robot.ask(camera, scene(), segments)  # the node is alive
    assert len(segments) == 1
    wait_for(lambda: facts()['processed'] == '1')
    assert (facts()['in'], facts()['dropped']) == ('3', '2')
    assert facts().level == b'\x00'
    assert robot.node._session is not None
    about = [line for line in log if 'Such frames are dropped' in line]
    assert len(about) == 1
    assert re.search(sentence, about[0])


def test_truncated_jpeg_is_dropped_and_the_next_frame_processed(robot, colour_network, log):
    robot.start(image_transport='compressed', diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera('image/compressed', CompressedImage)
    robot.connect(camera)
    content = cv2.imencode('.jpg', scene((60, 40, 16, 16))[..., ::-1])[1].tobytes()
    for number in (1, 2):
        message = CompressedImage(header=make_header(number), format='jpeg')
        message.data.frombytes(content[: len(content) // 2])
        camera.publish(message)
        wait_for(lambda n=number: facts().get('dropped_invalid') == str(n))
    message = CompressedImage(header=make_header(3), format='jpeg')
    message.data.frombytes(content)
    camera.publish(message)
    wait_for(lambda: segments)
    assert segments[0].header == message.header
    assert len(segments[0].segments) == 1
    assert sum('truncated' in line for line in log) == 1


def test_ever_new_encodings_are_told_once(robot, colour_network, log):
    robot.start(diagnostics_period=0.1)
    robot.listen('ood/segments')
    facts = robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    for number in range(1, 8):
        message = to_image(make_header(number), scene(), 'rgb8')
        message.encoding = f'{"abcdefgh"[number]}' * number
        camera.publish(message)
        wait_for(lambda n=number: facts().get('dropped_invalid') == str(n))
    assert sum('Such frames are dropped' in line for line in log) == 1


def test_doubtful_picture_is_processed_with_a_warning_until_it_is_set_right(
    robot, colour_network, log
):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    grey = np.full((96, 128), 3000, np.uint16)
    for number in (1, 2):
        camera.publish(to_image(make_header(number), grey, 'mono16'))
        wait_for(lambda n=number: len(segments) == n)
    wait_for(lambda: facts().level == b'\x01')
    assert 'The picture uses 1/16 of the range of its 16-bit samples' in facts().message
    assert sum('uses 1/16' in line for line in log) == 1
    assert robot.set(mono16_bits=12) == ''
    camera.publish(to_image(make_header(3), grey, 'mono16'))
    wait_for(lambda: len(segments) == 3)
    wait_for(lambda: facts().level == b'\x00')
    message = to_image(make_header(4), scene(), 'rgb8')
    message.encoding = '8UC3'
    camera.publish(message)
    wait_for(lambda: len(segments) == 4)
    wait_for(lambda: 'taken for bgr8' in facts().message)


def test_bounds_are_live(robot, colour_network):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    for number, name in enumerate(('max_image_pixels', 'max_work_pixels'), start=1):
        assert robot.set(**{name: 96 * 128 - 1}) == ''
        robot.send(camera, scene())
        wait_for(lambda n=number: facts().get('dropped_invalid') == str(n))
        assert 'must have at most 12287 pixels' in facts()['last_drop']
        assert robot.set(**{name: 1 << 20}) == ''
        robot.ask(camera, scene(), segments)


def test_nan_logits_drop_the_frame(robot, colour_network, log):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    broken = scene()
    broken[50:54, 50:54] = NOT_A_NUMBER
    for number in (1, 2):
        robot.send(camera, broken)
        wait_for(lambda n=number: facts().get('dropped_failed') == str(n))
    assert facts()['failures_in_a_row'] == '2'
    assert 'must be finite' in facts()['last_drop']
    robot.ask(camera, scene(), segments)
    wait_for(lambda: facts()['failures_in_a_row'] == '0')
    assert len(segments) == 1
    assert sum('could not be processed' in line for line in log) == 1


def test_size_may_change_from_frame_to_frame(robot, colour_network, log):
    robot.start()
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    for size in ((96, 128), (192, 256), (96, 128), (128, 96), (100, 130)):
        answer = robot.ask(camera, scene((70, 40, 8, 8), size=size), segments)
        assert (answer.height, answer.width) == size
        assert len(answer.segments) == 1
    changes = [line for line in log if 'the size of images changed' in line]
    assert changes == ['Camera: the size of images changed from 96 x 128 to 192 x 256.']


def test_too_many_failures_in_a_row_make_the_node_inactive(robot, colour_network, log):
    robot.start(max_failures=3, diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    broken = scene()
    broken[:] = NOT_A_NUMBER
    for number in (1, 2, 3):
        robot.send(camera, broken)
        wait_for(lambda n=number: facts().get('dropped_failed') == str(n))
    wait_for(lambda: facts()['state'] == 'inactive')
    assert facts().level == b'\x02'
    assert '3 frames in a row failed: the node becomes inactive' in facts().message
    assert robot.do('activate') == 'success'
    robot.connect(camera)
    robot.ask(camera, scene(), segments)
    wait_for(lambda: facts().level != b'\x02')


def test_error_while_sending_ends_with_the_frame(robot, colour_network, monkeypatch):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    semantic = robot.listen('ood/semantic', Image)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/segments', 'ood/semantic'])
    with monkeypatch.context() as patch:
        patch.setattr('meta_ood_ros.messages.pictures.Pictures.make', lambda *_: 1 / 0)
        robot.send(camera, scene())
        wait_for(lambda: facts().get('dropped_failed') == '1')
    assert 'ZeroDivisionError' in facts()['last_drop']
    robot.ask(camera, scene(), segments)
    wait_for(lambda: semantic)


def test_error_outside_the_network_does_not_end_the_worker(robot, colour_network):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    clock = robot.node._session._processor._ros_seconds
    robot.node._session._processor._ros_seconds = lambda: 1 / 0
    robot.send(camera, scene())
    wait_for(lambda: facts().get('dropped_failed') == '1')
    robot.node._session._processor._ros_seconds = clock
    robot.ask(camera, scene(), segments)
