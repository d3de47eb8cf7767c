"""Frame policy of the whole node: latest wins, age, rate, several cameras, clocks."""

import time

import cv2
from meta_ood_ros.messages.conversions import to_image
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from ..conftest import make_header, scene, wait_for


def test_latest_frame_wins_and_callbacks_answer_during_inference(robot, colour_network):
    robot.start(max_age=0.0, diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    alpha = robot.peer.create_client(SetParameters, '/ood/set_parameters')
    robot.connect(camera)
    assert alpha.wait_for_service(30)
    colour_network.gate.clear()
    headers = [robot.send(camera, scene())]
    wait_for(lambda: colour_network.frames == 1)
    for number in range(2, 7):
        headers.append(robot.send(camera, scene()))
        wait_for(lambda n=number: facts().get('in') == str(n))
    change = ParameterMsg(name='overlay_alpha', value=ParameterValue(type=3, double_value=0.1))
    answer = alpha.call(SetParameters.Request(parameters=[change]), timeout_sec=30)
    assert answer.results[0].successful
    assert segments == []  # the network is still at work on the first frame
    assert facts()['dropped_replaced'] == '4'
    colour_network.gate.set()
    wait_for(lambda: len(segments) == 2)
    assert [one.header for one in segments] == [headers[0], headers[-1]]
    wait_for(lambda: facts()['processed'] == '2')
    assert (facts()['in'], facts()['dropped']) == ('6', '4')


def test_frame_that_waited_too_long_is_dropped(robot, colour_network):
    robot.start(max_age=0.0, diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    colour_network.gate.clear()
    first = robot.send(camera, scene())
    wait_for(lambda: colour_network.frames == 1)
    second = robot.send(camera, scene())
    wait_for(lambda: facts().get('in') == '2')
    assert robot.set(max_age=0.1) == ''
    time.sleep(0.2)
    colour_network.gate.set()
    wait_for(lambda: facts().get('dropped_stale') == '1')
    assert facts()['last_drop_stamp'] == f'{second.stamp.sec}.{second.stamp.nanosec:09d}'
    assert 'max_age is 0.1 s' in facts()['last_drop']
    assert [one.header for one in segments] == [first]


def test_age_counts_from_arrival_not_from_the_stamp(robot, colour_network):
    # A bag that is replayed without /clock: its stamps are years old.
    robot.start(max_age=60.0, diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    for years in (-3, 3):
        header = make_header(1)
        header.stamp.sec += years * 31_536_000
        before = len(segments)
        camera.publish(to_image(header, scene(), 'rgb8'))
        wait_for(lambda n=before: len(segments) > n)
        wait_for(lambda n=years: float(facts().get('stamp_age_s', 0)) * n < 0)
        assert 'use_sim_time' in facts().message
        assert facts().level == b'\x01'
    robot.ask(camera, scene(), segments)
    wait_for(lambda: 'use_sim_time' not in facts().message)


def test_drop_is_told_at_once_however_long_the_period(robot, colour_network):
    robot.start(diagnostics_period=60.0)
    robot.listen('ood/segments')
    facts = robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/segments', 'diagnostics'])
    camera.publish(Image(encoding='nonsense'))
    wait_for(lambda: facts().get('dropped_invalid') == '1', 30)


def test_two_cameras_in_a_namespace_share_one_network(robot, colour_network):
    robot.start(namespace='/robot7', cameras=['front', 'rear'], diagnostics_period=0.1)
    facts = robot.diagnostics()
    answers = {name: robot.listen(f'/robot7/ood/{name}/segments') for name in ('front', 'rear')}
    masks = robot.listen('/robot7/ood/rear/semantic', Image)
    cameras = {name: robot.camera(f'/robot7/{name}/image') for name in answers}
    robot.connect(
        *cameras.values(),
        outputs=[
            f'robot7/ood/{one}' for one in ('front/segments', 'rear/segments', 'rear/semantic')
        ],
    )
    for turn in range(3):
        for name, camera in cameras.items():
            answer = robot.ask(camera, scene((60, 10, 8, 8)), answers[name], frame_id=name)
            assert answer.camera == answer.header.frame_id == name
        wait_for(lambda n=turn: len(masks) == n + 1)
    assert len(colour_network.backends) == 1
    wait_for(lambda: facts('front').get('processed') == facts('rear').get('processed') == '3')
    names = {status.name for array in facts.arrays for status in array.status}
    assert {'/robot7/ood: front', '/robot7/ood: rear'} <= names


def test_waiting_camera_is_served_before_the_newer_frames_of_another(robot, colour_network):
    robot.start(cameras=['fast', 'slow'], max_age=0.0, diagnostics_period=0.1)
    facts, order = robot.diagnostics(), []
    answers = {name: robot.listen(f'ood/{name}/segments') for name in ('fast', 'slow')}
    cameras = {name: robot.camera(f'{name}/image') for name in answers}
    robot.connect(*cameras.values(), outputs=[f'ood/{name}/segments' for name in answers])
    compute = robot.node._session._worker._compute
    robot.node._session._worker._compute = lambda frames: (
        order.extend(frame.camera for frame in frames) or compute(frames)
    )
    colour_network.gate.clear()
    for number, name in enumerate(['fast', 'slow', 'fast', 'fast'], start=1):
        robot.send(cameras[name], scene())
        wait_for(lambda n=number: n == sum(int(facts(one).get('in', 0)) for one in answers))
        wait_for(lambda: colour_network.frames == 1)
    colour_network.gate.set()
    wait_for(lambda: len(answers['slow']) == 1 and len(answers['fast']) == 2)
    assert order == ['fast', 'slow', 'fast']


def test_max_rate_limits_a_camera(robot, colour_network):
    robot.start(max_rate=0.01, diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    robot.connect(camera)
    robot.ask(camera, scene(), segments)
    for number in (1, 2, 3):
        robot.send(camera, scene())
        wait_for(lambda n=number: facts().get('dropped_rate') == str(n))
    assert robot.set(max_rate=0.0) == ''
    robot.ask(camera, scene(), segments)
    assert len(segments) == 2


def test_clock_that_jumps_back_drops_what_waits(robot, colour_network):
    robot.start(use_sim_time=True, max_age=0.0, diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    camera = robot.camera()
    clock = robot.peer.create_publisher(Clock, '/clock', 10)
    robot.connect(camera, clock)

    def turn_to(seconds):
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)
        wait_for(lambda: robot.node.get_clock().now().nanoseconds == seconds * 10**9)

    turn_to(1000)
    colour_network.gate.clear()
    first = robot.send(camera, scene())
    wait_for(lambda: colour_network.frames == 1)
    robot.send(camera, scene())
    wait_for(lambda: facts().get('in') == '2')
    turn_to(10)  # the bag starts over
    wait_for(lambda: facts().get('dropped_cleared') == '1')
    colour_network.gate.set()
    wait_for(lambda: len(segments) == 1)
    assert segments[0].header == first
    robot.ask(camera, scene(), segments)


def test_compressed_images_come_behind_a_remapped_topic(robot, colour_network):
    robot.start(arguments=['-r', 'image:=/head/camera/image_raw'], image_transport='compressed')
    segments = robot.listen('ood/segments')
    camera = robot.camera('/head/camera/image_raw/compressed', CompressedImage)
    robot.connect(camera)
    message = CompressedImage(header=make_header(5), format='png')
    message.data.frombytes(cv2.imencode('.png', scene((50, 50, 9, 9))[..., ::-1])[1].tobytes())
    camera.publish(message)
    wait_for(lambda: segments)
    assert segments[0].header == message.header
    assert segments[0].segments[0].area_px == 81
