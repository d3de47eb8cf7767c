"""Quality of service: decided, decided anew, overridden, explained."""

import os
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

from meta_ood_ros.node.qos import decide_reliability
from meta_ood_ros.node.shared_memory import explain_shared_memory
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from ..conftest import scene, wait_for

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(
    ('offered', 'current', 'decided'),
    [
        ([], None, RELIABLE),
        ([], BEST_EFFORT, BEST_EFFORT),
        ([RELIABLE], BEST_EFFORT, RELIABLE),
        ([RELIABLE, RELIABLE], None, RELIABLE),
        ([RELIABLE, BEST_EFFORT], RELIABLE, BEST_EFFORT),
        ([BEST_EFFORT], RELIABLE, BEST_EFFORT),
        ([ReliabilityPolicy.UNKNOWN], RELIABLE, BEST_EFFORT),
    ],
)
def test_reliable_only_if_every_publisher_offers_it(offered, current, decided):
    assert decide_reliability(offered, current) == decided


@pytest.mark.parametrize('best_effort', [False, True])
def test_driver_that_comes_after_the_node_is_received(robot, colour_network, best_effort):
    robot.start(diagnostics_period=0.1)
    segments, facts = robot.listen('ood/segments'), robot.diagnostics()
    wait_for(lambda: facts().get('reliability') == 'reliable')  # nobody publishes yet
    camera = robot.camera(best_effort=best_effort)
    expected = 'best_effort' if best_effort else 'reliable'
    wait_for(lambda: facts().get('reliability') == expected)
    robot.connect(camera)
    robot.ask(camera, scene(), segments)
    assert 'QoS' not in facts().message


def send_until_answered(robot, camera, segments):
    """Send frames: one that leaves before both ends have found each other anew is lost."""
    before, headers = len(segments), []
    end = time.monotonic() + 30
    while len(segments) == before:
        assert time.monotonic() < end
        headers.append(robot.send(camera, scene()))
        time.sleep(0.3)
    assert segments[before].header in headers


def test_driver_that_is_replaced_by_one_of_another_reliability(robot, colour_network):
    robot.start()
    segments = robot.listen('ood/segments')
    for best_effort in (True, False, True):
        camera = robot.camera(best_effort=best_effort)
        robot.connect(camera)
        wanted = BEST_EFFORT if best_effort else RELIABLE
        subscription = robot.node._session._cameras[''].subscription
        wait_for(lambda s=subscription, w=wanted: s.reliability == w)
        robot.connect(camera)
        send_until_answered(robot, camera, segments)
        robot.peer.destroy_publisher(camera)
        wait_for(lambda: robot.node.count_publishers('/image') == 0)


def test_large_reliable_images_of_a_driver_that_comes_second_are_all_received(
    robot, colour_network
):
    robot.start(max_age=0.0, work_short_side=64)
    segments = robot.listen('ood/segments')
    driver = """
        import time
        import numpy as np
        import rclpy
        from meta_ood_msgs.msg import OodSegmentArray
        from meta_ood_ros.messages.conversions import to_image
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import Image
        from std_msgs.msg import Header

        rclpy.init()
        node = rclpy.create_node('driver')
        camera = node.create_publisher(Image, 'image', QoSProfile(depth=1))
        answers = []
        node.create_subscription(OodSegmentArray, 'ood/segments', answers.append, 10)
        while not (camera.get_subscription_count() and node.count_publishers('/ood/segments')):
            time.sleep(0.01)
        time.sleep(0.5)  # the node has to find the driver, too
        picture = np.zeros((1024, 2048, 3), np.uint8)
        for number in range(6):
            header = Header(frame_id=str(number))
            header.stamp.sec = int(time.time())
            camera.publish(to_image(header, picture, 'rgb8'))
            while len(answers) <= number:
                rclpy.spin_once(node, timeout_sec=0.1)
    """
    process = subprocess.Popen([sys.executable, '-c', textwrap.dedent(driver)])
    try:
        wait_for(lambda: len(segments) == 6, 40)
        assert process.wait(10) == 0
    finally:
        process.kill()
    assert [one.header.frame_id for one in segments] == [str(number) for number in range(6)]
    assert {(one.height, one.width) for one in segments} == {(1024, 2048)}


def test_publisher_that_does_not_fit_is_explained(robot, colour_network):
    robot.start(image_reliability='reliable', diagnostics_period=0.1)
    facts = robot.diagnostics()
    robot.camera(best_effort=True)
    wait_for(lambda: 'A publisher of /image offers another RELIABILITY' in facts().message)
    assert 'Set image_reliability to auto or best_effort' in facts().message
    assert facts().level == b'\x01'


def test_subscriber_that_does_not_fit_is_explained(robot, colour_network):
    robot.start(diagnostics_period=0.1)
    facts = robot.diagnostics()
    robot.listen('ood/segments', durability=DurabilityPolicy.TRANSIENT_LOCAL)
    wait_for(lambda: 'A subscriber of /ood/segments asks for another DURAB' in facts().message)
    assert facts().message.endswith('gets nothing. Relax its durability.')


def test_what_does_not_fit_is_said_as_long_as_it_is_there(robot, colour_network, monkeypatch):
    monkeypatch.setattr('meta_ood_ros.node.qos.MISFIT_PERIOD', 0.5)
    robot.start(diagnostics_period=0.1, image_reliability='reliable')
    facts = robot.diagnostics()
    robot.listen('ood/segments', durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscription = list(robot.peer.subscriptions)[-1]
    camera = robot.camera(best_effort=True)
    sentences = 'A subscriber of /ood/segments asks', 'A publisher of /image offers'
    wait_for(lambda: all(one in facts().message for one in sentences))
    time.sleep(1.5)  # they are looked at several times
    assert all(one in facts().message for one in sentences)
    robot.peer.destroy_subscription(subscription)
    wait_for(lambda: sentences[0] not in facts().message)
    assert sentences[1] in facts().message
    robot.peer.destroy_publisher(camera)
    wait_for(lambda: sentences[1] not in facts().message)


def test_overrides_win(robot, colour_network):
    robot.start(
        diagnostics_period=0.1,
        **{
            'qos_overrides./image.subscription.reliability': 'best_effort',
            'qos_overrides./image.subscription.depth': 3,
            'qos_overrides./ood/segments.publisher.reliability': 'best_effort',
        },
    )
    facts = robot.diagnostics()
    camera = robot.camera()  # a reliable one, which auto would follow
    wait_for(lambda: camera.get_subscription_count() == 1)
    wait_for(lambda: facts().get('reliability') == 'best_effort')
    robot.listen('ood/segments', reliability=RELIABLE)
    wait_for(lambda: 'A subscriber of /ood/segments asks for another RELIAB' in facts().message)
    assert 'or set qos_overrides./ood/segments.publisher.reliability.' in facts().message
    # One output's override is not another's.
    entropy = robot.node.get_publishers_info_by_topic('/ood/entropy')[0].qos_profile
    assert entropy.reliability == RELIABLE
    image = robot.node.get_subscriptions_info_by_topic('/image')[0].qos_profile
    assert image.reliability == BEST_EFFORT
    # rclpy declares what it overrides, so that a user sees it.
    assert robot.node.get_parameter('qos_overrides./image.subscription.depth').value == 3


def test_wrong_override_is_a_failure(robot, colour_network):
    robot.start(active=False, **{'qos_overrides./image.subscription.reliability': 'maybe'})
    assert robot.do('configure') == 'success'
    assert robot.do('activate') == 'failure'
    facts = robot.diagnostics()
    wait_for(lambda: "must be reliable, best_effort or auto, got 'maybe'" in facts().message)


def test_outputs_are_reliable_and_keep_the_last(robot, colour_network):
    robot.start()
    for name in ('segments', 'semantic', 'entropy', 'overlay'):
        offered = robot.node.get_publishers_info_by_topic(f'/ood/{name}')[0].qos_profile
        assert offered.reliability == RELIABLE
        assert offered.durability == DurabilityPolicy.VOLATILE


def test_best_effort_subscriber_gets_outputs_too(robot, colour_network):
    robot.start()
    received = robot.listen('ood/semantic', Image, reliability=BEST_EFFORT)
    camera = robot.camera()
    robot.connect(camera, outputs=['ood/semantic'])
    robot.send(camera, scene())
    wait_for(lambda: received)


def test_silence_is_explained(robot, colour_network, monkeypatch):
    monkeypatch.setattr('meta_ood_ros.node.session.SILENCE', 0.2)
    robot.start(diagnostics_period=0.1)
    facts = robot.diagnostics()
    wait_for(lambda: 'No image arrives on /image: nobody publishes it' in facts().message)
    camera = robot.camera()
    wait_for(lambda: 'No image arrives on /image although 1 publish it' in facts().message)
    # Answers are awaited from the subscription that is made now, not from the one before.
    monkeypatch.setattr('meta_ood_ros.node.session.SILENCE', 5.0)
    subscription = robot.node._session._cameras[''].subscription
    robot.node._session._cameras[''].record.last_arrival = time.monotonic() - 60.0
    late = robot.camera(best_effort=True)
    wait_for(lambda: subscription.reliability == BEST_EFFORT)
    seen = len(facts.arrays)
    wait_for(lambda: len(facts.arrays) > seen + 3)
    assert 'No image' not in facts().message
    robot.peer.destroy_publisher(late)
    robot.connect(camera, outputs=())
    robot.send(camera, scene())
    wait_for(lambda: 'No image' not in facts().message)


def test_silence_of_a_topic_of_another_type_names_the_type(robot, colour_network, monkeypatch):
    monkeypatch.setattr('meta_ood_ros.node.session.SILENCE', 0.2)
    robot.start(diagnostics_period=0.1, cameras=['front'])
    facts = robot.diagnostics()
    wait_for(lambda: 'or remap front/image.' in facts('front').message)
    # Of one process FastDDS refuses two types on a topic: a process elsewhere is pretended.
    offered = SimpleNamespace(
        topic_type='sensor_msgs/msg/CompressedImage',
        qos_profile=SimpleNamespace(reliability=RELIABLE),
    )
    monkeypatch.setattr(robot.node, 'get_publishers_info_by_topic', lambda topic: [offered])
    expected = 'on /front/image: it carries sensor_msgs/msg/CompressedImage. Check the topic'
    wait_for(lambda: expected in facts('front').message)


def test_silence_of_a_compressed_topic_of_another_name_is_explained(
    robot, colour_network, monkeypatch
):
    monkeypatch.setattr('meta_ood_ros.node.session.SILENCE', 0.2)
    robot.start(diagnostics_period=0.1, image_transport='compressed')
    facts = robot.diagnostics()
    wait_for(lambda: 'on /image/compressed: nobody publishes it. Start' in facts().message)
    robot.camera(message_type=CompressedImage)
    expected = 'nobody publishes it, but /image is compressed. Remap image/compressed to it'
    wait_for(lambda: expected in facts().message)


def test_remapped_compressed_topic_is_taken_as_it_is(robot, colour_network):
    robot.start(
        arguments=['-r', 'image/compressed:=/camera/jpeg', '-r', 'image:=/elsewhere'],
        image_transport='compressed',
        diagnostics_period=0.1,
    )
    facts = robot.diagnostics()
    wait_for(lambda: facts().get('topic') == '/camera/jpeg')


def test_little_shared_memory_is_explained(monkeypatch, tmp_path):
    assert 'is not there' in explain_shared_memory(tmp_path / 'nowhere')
    for megabytes, enough in ((64, False), (255, False), (256, True), (4000, True)):
        found = SimpleNamespace(f_bavail=megabytes * 256, f_frsize=4096)
        monkeypatch.setattr(os, 'statvfs', lambda _, found=found: found)
        sentence = explain_shared_memory()
        assert (sentence == '') == enough
        if not enough:
            assert f'has {megabytes * 1.048576:.0f} MB free, 268 MB are wanted' in sentence
            assert '--shm-size=1g' in sentence


def test_profile_of_one_topic_is_not_shared():
    from meta_ood_ros.node.qos import output_qos

    first, second = output_qos(), output_qos()
    first.depth = 7  # as rclpy does when it applies an override
    assert second.depth == 1
    assert output_qos(latched=True).durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert first.durability == DurabilityPolicy.VOLATILE
