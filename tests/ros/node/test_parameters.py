"""Parameters: what they declare, what is live, and why a change is refused."""

from dataclasses import fields

from diagnostic_msgs.msg import DiagnosticArray
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.node.ood_node import OodNode
import pytest

from ..conftest import scene, wait_for

FIELDS = {owner.name: owner for owner in fields(NodeSettings)}
LIVE = (
    'entropy_threshold meta_threshold core_threshold min_size_px max_segments contour_tolerance '
    'max_age max_rate max_failures publish_rejected publish_metrics publish_contours '
    'overlay_alpha diagnostics_period max_image_pixels max_work_pixels mono16_bits '
    'depth_tolerance max_range points_stride'
).split()
#: A value other than the default for each setting that needs an unconfigured node.
OTHER = {
    'autostart': False,
    'bundle': '/other',
    'cameras': ['front'],
    'image_transport': 'compressed',
    'image_reliability': 'reliable',
    'ignore_mask': ['/mask.png'],
    'work_short_side': 128,
    'device': 'cuda:3',
    'backend': 'eager',
    'precision': 'fp32',
    'engine_cache': '/tmp/engines',
    'build_only': True,
    'self_check': False,
    'cpu_threads': 3,
    'depth': ['image'],
    'depth_transport': 'compressedDepth',
    'camera_height': [1.5],
    'camera_pitch': [0.1],
    'camera_roll': [0.1],
    'ground_coefficients': [0.0, 1.0, 0.0, -1.0],
    'ground_frame': ['base_footprint'],
}


def test_every_setting_is_declared_with_its_default_description_and_range(robot):
    node = robot.start(active=False)
    for name, owner in FIELDS.items():
        descriptor = node.describe_parameter(name)
        rule = owner.metadata
        assert descriptor.description.startswith(rule['description'])
        assert descriptor.description.endswith('Live.') == rule['live']
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert len(ranges) == (rule['minimum'] is not None)
        for one in ranges:
            assert (one.from_value, one.to_value) == (rule['minimum'], rule['maximum'])
        if rule['choices']:
            assert all(choice in descriptor.additional_constraints for choice in rule['choices'])
        if name not in ('bundle', 'device'):  # which the fixture gives
            value = node.get_parameter(name).value
            listed = isinstance(owner.default, tuple)  # a list, or array('d')
            assert (tuple(value) if listed else value) == owner.default


def test_the_interface_says_which_are_live():
    assert sorted(name for name, owner in FIELDS.items() if owner.metadata['live']) == sorted(LIVE)
    assert set(FIELDS) - set(LIVE) == {*OTHER, 'score'}


def test_only_live_settings_change_while_configured(robot, colour_network):
    robot.start()
    for name, value in OTHER.items():
        assert robot.set(**{name: value}) == (
            f'{name} can be set only while the node is unconfigured. Deactivate and clean up, '
            'set it, then configure and activate again.'
        )
        assert robot.set(**{name: robot.node.get_parameter(name).value}) == ''  # no change
    for transition in ('deactivate', 'cleanup'):
        assert robot.do(transition) == 'success'
    for name, value in OTHER.items():
        assert robot.set(**{name: value}) == ''


def test_threshold_applies_to_the_next_frame(robot, colour_network):
    robot.start(publish_metrics=False)
    segments = robot.listen('ood/segments')
    camera = robot.camera()
    robot.connect(camera)
    picture = scene((60, 40, 10, 20), (60, 100, 3, 3))
    assert robot.ask(camera, picture, segments).score_threshold == pytest.approx(0.5)
    assert robot.set(entropy_threshold=0.8, min_size_px=20, publish_metrics=True) == ''
    answer = robot.ask(camera, picture, segments)
    assert answer.score_threshold == pytest.approx(0.8)
    assert [one.area_px for one in answer.segments] == [200]
    assert answer.segments_found == 1
    assert len(answer.metric_names) == len(answer.segments[0].metrics) == 75
    assert robot.set(entropy_threshold=-1.0, min_size_px=0, publish_contours=False) == ''
    answer = robot.ask(camera, picture, segments)
    assert answer.score_threshold == pytest.approx(0.5)  # that of the bundle
    assert len(answer.segments) == 2
    assert all(len(one.contour_x) == len(one.contour_y) == 0 for one in answer.segments)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'entropy_threshold': 70.0}, 'out of range'),  # the words of rcl
        ({'entropy_threshold': 0.0}, r'must lie in (0, 1], got 0.0. It is a share of log C'),
        ({'meta_threshold': -0.5}, r'must lie in [0, 1], got -0.5'),
        ({'overlay_alpha': 1}, 'Wrong parameter type'),
        ({'max_segments': 0}, 'out of range'),
    ],
)
def test_live_change_out_of_range_is_refused_with_the_reason(
    robot, colour_network, change, reason
):
    robot.start()
    before = robot.node.parameters.live
    assert reason in robot.set(**change)
    assert robot.node.parameters.live is before


def test_settings_that_contradict_each_other_are_set_right_one_by_one(robot, colour_network):
    robot.start(active=False, cameras=['front', 'rear'], ignore_mask=['/one.png'])
    assert robot.do('configure') == 'failure'
    assert robot.set(max_rate=5.0) == ''  # the change is not to blame
    assert robot.set(ignore_mask=['']) == ''
    assert robot.do('configure') == 'success'
    assert robot.node.parameters.live.max_rate == 5.0


def test_misspelled_parameter_is_named_with_the_nearest(robot):
    robot.start(active=False, entropy_treshold=0.3, camera=['front'], unrelated_thing=1)
    assert robot.node.parameters.misspelled() == [
        'Parameter camera is unknown and has no effect. Did you mean cameras?',
        'Parameter entropy_treshold is unknown and has no effect. Did you mean entropy_threshold?',
    ]


def test_shipped_parameter_file_is_the_default_of_every_parameter(robot, repository):
    path = repository / 'config' / 'ood.yaml'
    node = OodNode(context=robot.context, cli_args=['--ros-args', '--params-file', str(path)])
    try:
        assert node.parameters.settings() == NodeSettings()
    finally:
        node.destroy_node()


@pytest.mark.parametrize('name', ['cameras', 'ignore_mask'])
def test_empty_list_of_a_file_is_named_and_can_be_set_right(robot, colour_network, name):
    # ROS takes it for no value at all.
    robot.start(active=False, arguments=['-p', f'{name}:=[]'])
    facts = robot.listen('/diagnostics', DiagnosticArray)
    assert robot.do('configure') == 'failure'
    sentence = f"Cannot configure: {name} must be of type string[], got []. Write it as in ['']."
    wait_for(lambda: facts and facts[-1].status[0].message == sentence)
    assert robot.set(**{name: ['']}) == ''
    assert robot.do('configure') == 'success'
