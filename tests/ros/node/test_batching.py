"""Frames of several cameras in one pass of the network."""

import time
from types import SimpleNamespace

from meta_ood_ros.core.backends import EagerBackend
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.conversions import to_image
from meta_ood_ros.node.batching import batch_sizes, group
from meta_ood_ros.node.diagnostics import CameraRecord, Conditions
from meta_ood_ros.node.processing import FrameProcessor
from meta_ood_ros.node.scheduling import Frame, LatestFrames
import numpy as np
import pytest
import torch

from ..conftest import make_header, NOT_A_NUMBER, scene, wait_for


@pytest.mark.parametrize(
    ('name', 'device', 'cameras', 'expected'),
    [
        ('eager', 'cuda', 3, (1, 2, 3)),
        ('eager', 'cuda', 1, (1,)),
        ('eager', 'cpu', 3, (1,)),
        ('compile', 'cuda', 3, (1, 3)),
        ('tensorrt', 'cuda', 2, (1, 2)),
        ('onnx', 'cuda', 2, (1,)),
    ],
)
def test_sizes_by_backend(name, device, cameras, expected):
    backend = SimpleNamespace(name=name, device=torch.device(device))
    assert batch_sizes(backend, cameras) == expected
    assert batch_sizes(backend, cameras, has_fixed_batch=True) == (1,)


def test_groups_keep_order_and_lose_nothing():
    frames = [('a', 1), ('b', 2), ('c', 1), ('d', 1), ('e', 2)]

    def names(sizes):
        groups = group(frames, key=lambda frame: frame[1], sizes=sizes)
        return [''.join(name for name, _ in one) for one in groups]

    assert names((1, 2, 3)) == ['acd', 'be']
    assert names((1, 2)) == ['ac', 'd', 'be']
    assert names((1, 3)) == ['acd', 'b', 'e']
    assert names((1,)) == ['a', 'c', 'd', 'b', 'e']
    assert group([], key=id, sizes=(1,)) == []


@pytest.fixture
def three_cameras(robot, colour_network, monkeypatch):
    """Return the robot, its cameras and its listeners; the network takes what is ready."""
    monkeypatch.setattr('meta_ood_ros.node.loading.batch_sizes', lambda *_, **__: (1, 2, 3))
    names = ('front', 'rear', 'left')
    robot.start(cameras=list(names), max_age=0.0, diagnostics_period=0.1)
    answers = {name: robot.listen(f'ood/{name}/segments') for name in names}
    cameras = {name: robot.camera(f'{name}/image') for name in names}
    robot.connect(*cameras.values(), outputs=[f'ood/{name}/segments' for name in names])
    return robot, cameras, answers, robot.diagnostics()


def send_together(robot, network, cameras, pictures, facts):
    """Send one picture a camera while the network is busy with a first one of `front`."""
    network.gate.clear()
    robot.send(cameras['front'], scene(), frame_id='first')
    wait_for(lambda: network.frames == 1)
    for name, picture in pictures.items():
        robot.send(cameras[name], picture, frame_id=name)
        arrived = 1 + (name == 'front')
        wait_for(lambda name=name, n=arrived: int(facts(name).get('in', 0)) == n)
    network.gate.set()


def test_frames_ready_together_share_one_pass_and_get_their_own_answers(
    three_cameras, colour_network
):
    robot, cameras, answers, facts = three_cameras
    pictures = {
        'front': scene((50, 10, 8, 8)),
        'rear': scene((50, 10, 8, 8), (70, 60, 8, 8)),
        'left': scene(size=(192, 256)),  # another size, the same work size
    }
    send_together(robot, colour_network, cameras, pictures, facts)
    wait_for(lambda: [len(answers[name]) for name in pictures] == [2, 1, 1])
    assert colour_network.backends[0].batches[1:] == [1, 3]
    last = {name: answers[name][-1] for name in pictures}
    assert {name: one.header.frame_id for name, one in last.items()} == {n: n for n in pictures}
    assert {name: len(one.segments) for name, one in last.items()} == {
        'front': 1,
        'rear': 2,
        'left': 0,
    }
    wait_for(lambda: facts('rear').get('batch') == '3')


def test_a_bad_frame_of_a_batch_costs_no_other_camera_its_answer(three_cameras, colour_network):
    robot, cameras, answers, facts = three_cameras
    broken = scene()
    broken[40:60, 40:60] = NOT_A_NUMBER
    pictures = {'front': scene((50, 10, 8, 8)), 'rear': broken}
    send_together(robot, colour_network, cameras, pictures, facts)
    wait_for(lambda: len(answers['front']) == 2)
    wait_for(lambda: facts('rear').get('dropped_failed') == '1')
    assert colour_network.backends[0].batches[1:] == [1, 2, 1, 1]
    assert len(answers['front'][-1].segments) == 1
    assert not answers['rear']


def test_a_backend_prepares_the_batch_that_it_will_meet(tiny_bundle, monkeypatch):
    from meta_ood_ros.node import loading

    prepared = []
    monkeypatch.setattr(
        EagerBackend, 'prepare', lambda _, size, batch=1: prepared.append((size, batch))
    )
    monkeypatch.setattr(loading, 'batch_sizes', lambda _, cameras, **__: (1, cameras))
    monkeypatch.setattr(loading, 'load_bundle', lambda _: tiny_bundle)
    loading.load_pipeline(NodeSettings(cameras=('a', 'b'), device='cpu', backend='eager'))
    assert prepared == [((96, 128), 2)]


def test_batches_that_fail_without_a_bad_frame_are_given_up():
    tried, said = [], []

    def run(images, **_):
        tried.append(len(images))
        if len(images) > 1:
            raise RuntimeError('CUDA out of memory')
        return [
            SimpleNamespace(
                image_size=(4, 6),
                work_size=(4, 6),
                segments=SimpleNamespace(count=0),
                accepted=np.zeros(0, bool),
                entropy_threshold=0.5,
                classifier_threshold=None,
                milliseconds={},
            )
        ]

    processor = FrameProcessor(
        SimpleNamespace(
            batch=run,
            bundle=None,
            work_size=lambda *_: (4, 6),
            backend=SimpleNamespace(name='eager'),
        ),
        LatestFrames(('a', 'b')),
        outputs={},
        masks={},
        records={name: CameraRecord() for name in 'ab'},
        conditions=Conditions(said.append),
        settings=lambda: NodeSettings(max_age=0.0),
        is_alive=lambda: True,
        ros_seconds=time.time,
        log=said.append,
        batch_sizes=(1, 2),
    )
    for number in range(2):
        frames = [
            Frame(name, to_image(make_header(number), scene(size=(4, 6)), 'rgb8'), 0.0)
            for name in 'ab'
        ]
        assert [one.frame.camera for one in processor.compute(frames)] == ['a', 'b']
    assert tried == [2, 1, 1, 1, 1]
    (sentence,) = said
    assert sentence.startswith('2 frames could not be processed together, but each by itself')
    assert 'CUDA out of memory' in sentence
