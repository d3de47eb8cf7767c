"""The shipped parameter files for consumers, against what the real node publishes and how."""

from __future__ import annotations

import runpy

from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.vision_messages import find_vision_msgs, OOD_NAME
from meta_ood_ros.node.qos import output_qos
import pytest
from rclpy.qos import (
    DurabilityPolicy,
    qos_check_compatible,
    qos_profile_sensor_data,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import PointField
import yaml

RELIABLE = ReliabilityPolicy.RELIABLE
#: What each key of a consumer subscribes to, as its source has it.
CLOUD, IMAGE, LABELS = (
    'sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/Image', 'vision_msgs/msg/LabelInfo',
)  # fmt: skip
READ = {
    'nav2_voxel_layer': {'topic': CLOUD},
    'nav2_collision_monitor': {'topic': CLOUD},
    'nav2_semantic_layer': {
        'segmentation_topic': IMAGE, 'confidence_topic': IMAGE, 'labels_topic': LABELS,
    },
    'elevation_mapping': {'topic_name_camera': IMAGE},
}  # fmt: skip


def recipe(repository, name):
    return yaml.safe_load((repository / 'config' / f'{name}.yaml').read_text(encoding='utf-8'))


def leaves(tree, key=''):
    """Yield the last key and the value of everything in a parameter file."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from leaves(value, name)
    else:
        yield key, tree


@pytest.fixture
def published(robot, colour_network):
    """Return the topics of a node with depth, with their types."""
    robot.start(depth=['image'])
    return dict(robot.node.get_topic_names_and_types())


def test_every_recipe_reads_topics_that_the_node_has_in_their_type(repository, published):
    for name, kinds in READ.items():
        ours = [
            (key, value)
            for key, value in leaves(recipe(repository, name))
            if isinstance(value, str) and value.startswith('/ood/')
        ]
        assert {key for key, _ in ours} == set(kinds), name
        for key, topic in ours:
            if topic == '/ood/label_info' and find_vision_msgs() is None:
                continue  # left out by the node where vision_msgs is not installed
            assert published[topic] == [kinds[key]], f'{name}: {key}'


def test_commands_in_recipes_and_documents_name_topics_that_exist(repository, published):
    texts = [path.read_text() for path in (repository / 'config').glob('*.yaml')]
    assert published['/ood/points'] == [CLOUD]
    assert any('cloud_in:=/ood/points' in text for text in texts)


def test_our_qos_is_taken_by_sensor_data_and_by_latched_subscriptions():
    def fits(ours, wanted):
        return qos_check_compatible(ours, wanted)[0].name != 'ERROR'

    # nav2::qos::SensorDataQoS, rmw_qos_profile_sensor_data of octomap_server, reliable depth 10
    assert fits(output_qos(), qos_profile_sensor_data)
    assert fits(output_qos(), QoSProfile(depth=10, reliability=RELIABLE))
    latched = QoSProfile(
        depth=5, reliability=RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )
    assert fits(output_qos(latched=True), latched)
    assert not fits(output_qos(), latched)


def test_nav2_gets_clouds_of_the_heights_and_kind_that_it_must_be_told(repository):
    layer = recipe(repository, 'nav2_voxel_layer')['local_costmap']['local_costmap']
    voxels = layer['ros__parameters']['voxel_layer']
    for source in voxels['observation_sources'].split():
        # the defaults LaserScan and 0.0 would leave every point out
        assert voxels[source]['data_type'] == 'PointCloud2'
        assert 0 < voxels[source]['max_obstacle_height'] <= voxels['max_obstacle_height']
    assert not voxels['ood']['clearing']
    assert voxels['depth']['clearing']
    assert voxels['depth']['raytrace_max_range'] >= voxels['ood']['obstacle_max_range']
    monitor = recipe(repository, 'nav2_collision_monitor')['collision_monitor']['ros__parameters']
    (source,) = monitor['observation_sources']
    assert monitor[source] == {
        'type': 'pointcloud', 'topic': '/ood/points', 'min_height': 0.05, 'max_height': 0.5,
    }  # fmt: skip
    assert set(monitor['polygons']) <= set(monitor)
    # an answer older than this is dropped by our node: the monitor must bear it
    assert monitor['source_timeout'] > NodeSettings().max_age


def test_points_begin_with_the_floats_that_consumers_read(repository):
    from meta_ood_ros.messages.obstacle_messages import _POINT_FIELDS

    xyz = [(name, PointField.FLOAT32) for name in 'xyz']
    assert list(_POINT_FIELDS[:3]) == xyz


def test_the_semantic_layer_knows_every_class_once(repository):
    layer = recipe(repository, 'nav2_semantic_layer')['local_costmap']['local_costmap']
    front = layer['ros__parameters']['semantic_layer']['front']
    named = [one for kind in front['class_types'] for one in front[kind]['classes']]
    assert sorted(named) == sorted([*load_bundle(None).class_names, OOD_NAME])
    assert front['unknown']['mark_confidence'] == 0


def test_the_rgbd_file_has_parameters_of_the_node(repository):
    parameters = recipe(repository, 'rgbd')['/**']['ros__parameters']
    assert NodeSettings(**parameters).for_camera('depth', 0) == 'image'


def test_each_rgbd_camera_has_three_topics(repository, monkeypatch):
    from .test_launch import Recorded, stand_ins

    stand_ins(monkeypatch)
    module = runpy.run_path(str(repository / 'launch' / 'rgbd.launch.py'))
    declared = [
        one.positional[0] for one in module['generate_launch_description']().positional[0][:2]
    ]
    assert declared == ['camera', 'params_file']
    for camera, topics in module['TOPICS'].items():
        (included,) = module['start']({'camera': camera})
        arguments = dict(included.named['launch_arguments'])
        assert isinstance(arguments.pop('params_file'), Recorded)
        names = ('image', 'depth_topic', 'camera_info')
        assert arguments == {'depth': 'image', **dict(zip(names, topics, strict=True))}
