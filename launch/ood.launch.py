"""
Start the OoD node, and RViz on demand.

    ros2 launch meta_ood ood.launch.py image:=/camera/image_raw rviz:=true
    ros2 launch meta_ood ood.launch.py cameras:=front=/front_camera/image_raw,rear

No argument repeats a default: what is not given is left to params_file, and what that does not
set is left to the node. `ros2 launch meta_ood ood.launch.py --show-args` lists the arguments.
"""

import os
from pathlib import Path
import runpy
from types import SimpleNamespace

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare('meta_ood')
NOT_GIVEN = ''
#: What the arguments mean. Found by its path: a launch file belongs to no package, and importing
#: the node's would set its environment for everything else that is launched.
inputs = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('inputs.py'))))
#: What config/ood.rviz shows, named as it stands there; remapped below into the namespace.
SHOWN_TOPICS = ('overlay', 'semantic_color', 'entropy_color', 'entropy')


def argument(name: str, description: str, choices: tuple[str, ...] = ()) -> DeclareLaunchArgument:
    """Return an argument that changes nothing unless it is given; no choices allow any value."""
    allowed = {'choices': (NOT_GIVEN, *choices)} if choices else {}
    return DeclareLaunchArgument(name, default_value=NOT_GIVEN, description=description, **allowed)


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes to start; raise ValueError where an argument cannot be used."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    inputs.refuse_absent(given('params_file'))
    # A ParameterValue of type str keeps 'bundle:=123' a string.
    overrides = {
        name: ParameterValue(given(name), value_type=str)
        for name in ('bundle', 'device', 'image_transport')
        if given(name)
    }
    sim_time = {'use_sim_time': given('use_sim_time') == 'true'} if given('use_sim_time') else {}
    overrides.update(sim_time)
    if given('autostart'):
        overrides['autostart'] = given('autostart') == 'true'
    cameras = inputs.read_cameras(given('cameras'))
    if cameras:
        overrides['cameras'] = [name for name, _ in cameras]
    names, remappings = inputs.find_inputs(given, cameras)
    # Else the node would stay behind where launch ends without ending it: without RViz, say.
    environment = {'META_OOD_END_WITH': str(os.getpid())}
    if given('fastdds_profile') == 'false':
        # Unless its user has chosen, the node takes the profile of this package.
        chosen = os.environ.get('FASTDDS_BUILTIN_TRANSPORTS', 'DEFAULT')
        environment['FASTDDS_BUILTIN_TRANSPORTS'] = chosen
    depth_parameters, depth_remappings = inputs.find_depth(given, names)
    overrides.update(depth_parameters)
    remappings.update(depth_remappings)
    log_level = ['--log-level', given('log_level')] if given('log_level') else []

    ood = Node(
        package='meta_ood',
        executable='ood_node',
        name='ood',
        namespace=given('namespace'),
        parameters=[LaunchConfiguration('params_file'), *([overrides] if overrides else [])],
        remappings=list(remappings.items()),
        ros_arguments=log_level,
        additional_env=environment,
        output='screen',
        emulate_tty=True,
    )
    if given('rviz') != 'true':
        return [ood]

    # The file has absolute names; this moves them into the namespace and to the first camera.
    outputs, image = (f'ood/{names[0]}', f'{names[0]}/image') if names else ('ood', 'image')
    shown = [(f'/ood/{topic}', f'{outputs}/{topic}') for topic in SHOWN_TOPICS]
    shown.append(('/image', remappings.get(image, image)))
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        name='rviz',
        namespace=given('namespace'),
        arguments=['-d', PathJoinSubstitution([SHARE, 'config', 'ood.rviz'])],
        parameters=[sim_time] if sim_time else [],
        remappings=shown,
        output='screen',
    )
    return [ood, rviz]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what they start."""
    booleans = ('true', 'false')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution([SHARE, 'config', 'ood.yaml']),
                description='Parameter file of the node; the installed one lists every parameter.',
            ),
            argument(
                'image',
                "Topic of a single camera's images, without /compressed (remaps 'image').",
            ),
            argument(
                'image_transport',
                'raw reads sensor_msgs/Image; compressed reads sensor_msgs/CompressedImage, from '
                'the topic with /compressed at its end (sets the parameter image_transport).',
                ('raw', 'compressed'),
            ),
            argument(
                'cameras',
                'Several cameras on one network, as in front,rear: each is read from '
                '<camera>/image, or from the topic that is given, without /compressed, as in '
                'front=/front_camera/image_raw,rear (sets the parameter cameras, remaps '
                "'<camera>/image').",
            ),
            argument(
                'append_transport',
                'false takes the topics as they are: compressed ones that do not end in '
                "/compressed (remaps 'image/compressed', too).",
                booleans,
            ),
            argument(
                'depth',
                'Where the place of segments comes from, for all cameras: image reads depth_topic '
                'and camera_info, ground_plane camera_info (sets the parameter depth).',
                ('none', 'image', 'ground_plane'),
            ),
            argument('depth_topic', "Depth registered to the image, of one camera ('depth')."),
            argument(
                'depth_transport', 'Sets the parameter of that name.', ('raw', 'compressedDepth')
            ),
            argument('camera_info', "Calibration of the image, of one camera ('camera_info')."),
            argument('namespace', 'Namespace of the node and of its relative topics.'),
            argument(
                'bundle',
                'Model bundle: absolute path, ~/..., package://<package>/... or the name of an '
                'installed one (sets the parameter bundle).',
            ),
            argument(
                'device',
                'Where the network runs: auto, cpu, cuda:N or xpu:N (sets the parameter device).',
            ),
            argument('use_sim_time', 'Follow /clock, as when a bag is played.', booleans),
            argument(
                'autostart',
                'Configure and activate at start; false leaves that to a lifecycle manager.',
                booleans,
            ),
            argument(
                'fastdds_profile',
                'false leaves FastDDS its own shared memory, which loses pictures; otherwise '
                'the node takes 134 MB of /dev/shm, unless the environment names a profile.',
                booleans,
            ),
            argument('rviz', 'true opens RViz with config/ood.rviz.', booleans),
            argument(
                'log_level',
                'Least severity that is logged.',
                ('debug', 'info', 'warn', 'error', 'fatal'),
            ),
            OpaqueFunction(function=start),
        ]
    )
