"""
Start the OoD node, and RViz on demand.

    ros2 launch meta_ood ood.launch.py image:=/camera/image_raw rviz:=true
    ros2 launch meta_ood ood.launch.py cameras:=front=/front_camera/image_raw,rear

No argument repeats a default: what is not given is left to params_file, and what that does not
set is left to the node. `ros2 launch meta_ood ood.launch.py --show-args` lists the arguments.
"""

from collections.abc import Callable
import os
from pathlib import Path
import re

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
import yaml

SHARE = FindPackageShare('meta_ood')
NOT_GIVEN = ''
#: A camera with its topic, without, or ''. What a name may be like the node knows better.
CAMERA = re.compile(r'(?:([\w/]+)(?: *= *([\w/~]+))?)?', re.ASCII)
#: What config/ood.rviz shows, named as it stands there; remapped below into the namespace.
SHOWN_TOPICS = ('overlay', 'semantic_color', 'entropy_color', 'entropy')


def argument(name: str, description: str, choices: tuple[str, ...] = ()) -> DeclareLaunchArgument:
    """Return an argument that changes nothing unless it is given; no choices allow any value."""
    allowed = {'choices': (NOT_GIVEN, *choices)} if choices else {}
    return DeclareLaunchArgument(name, default_value=NOT_GIVEN, description=description, **allowed)


def read_cameras(text: str) -> list[tuple[str, str]]:
    """
    Return the cameras that an argument names, each with its topic, '' where none is given.

    Parameters
    ----------
    text : str
        As in 'front,rear', '[front, rear]' or 'front=/front_camera/image_raw,rear'.

    Raises
    ------
    ValueError
        The text is neither a list of these nor empty.

    """
    try:
        entries = yaml.safe_load(text if text.startswith('[') else f'[{text}]')
    except yaml.YAMLError:
        entries = [None]
    found = [CAMERA.fullmatch(entry) if isinstance(entry, str) else None for entry in entries]
    if not all(found):
        raise ValueError(
            'cameras must be a list of names (letters, digits, _), each alone or as name=topic, '
            f'got {text!r}. Write cameras:=front,rear or '
            'cameras:=front=/front_camera/image_raw,rear=/rear_camera/image_raw.'
        )
    return [(one[1] or '', one[2] or '') for one in found]


def cameras_in(path: str, node: str) -> list[str]:
    """
    Return the parameter `cameras` of a parameter file, or [] where it cannot be found.

    Parameters
    ----------
    path : str
        Of the file. What is wrong with it the node says itself.
    node : str
        Fully qualified name of the node. Besides its section only that of all nodes, /**, is
        read. Where both have it and /** comes last, versions of ROS differ in which one wins:
        then it is [], too.

    """
    try:
        sections = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
        found = [
            (name, section['ros__parameters']['cameras'])
            for name, section in sections.items()
            if name in ('/**', node, node.lstrip('/')) and 'cameras' in section['ros__parameters']
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return []  # the file cannot be read, or looks otherwise: the node says so itself
    if not found or (found[-1][0] == '/**' and found[0][1] != found[-1][1]):
        return []
    cameras = found[-1][1]
    is_list = isinstance(cameras, list) and all(isinstance(name, str) for name in cameras)
    return cameras if is_list else []


def refuse_transport(
    argument: str, topic: str, chooser: str = 'image_transport', transport: str = 'compressed'
) -> None:
    """Raise ValueError where a topic ends in its transport: the node itself appends that."""
    if topic.endswith(f'/{transport}'):
        raise ValueError(
            f'{argument} must be given the topic without its transport, got {topic!r}. Write '
            f'{topic[: -len(transport) - 1]} and {chooser}:={transport}.'
        )


def find_inputs(
    given: Callable[[str], str], cameras: list[tuple[str, str]]
) -> tuple[list[str], dict[str, str]]:
    """
    Return the names of the cameras, none for a single one, and what their topics become.

    Parameters
    ----------
    given : callable
        Returns the value of an argument by its name.
    cameras : list of (str, str)
        Name and topic of those that the argument names.

    Returns
    -------
    list of str
        Those of the argument, otherwise those of params_file.
    dict of str to str
        Topic in the node -> topic that was given, which ROS expands in the namespace.

    Raises
    ------
    ValueError
        `image` is given for several cameras, or a topic ends in its transport.

    """
    node = '/'.join(['', *filter(None, given('namespace').split('/')), 'ood'])
    names = [name for name, _ in cameras] or cameras_in(given('params_file'), node)
    names = [name for name in names if name]  # [''] is a single camera
    remappings = {f'{name}/image': topic for name, topic in cameras if topic}
    whole = given('append_transport') == 'false'
    if not whole:
        for topic in remappings.values():
            refuse_transport('cameras', topic)
    if given('image'):
        if names:
            got = given('cameras') or f'[{", ".join(names)}] in {given("params_file")}'
            raise ValueError(
                f'image is the topic of a single camera, got cameras:={got} as well. Give each '
                f'camera its own, as in cameras:={names[0]}={given("image")}, or drop one of the '
                'two.'
            )
        if not whole:
            refuse_transport('image', given('image'))
        remappings['image'] = given('image')
    if whole:
        remappings.update({f'{name}/compressed': topic for name, topic in remappings.items()})
    return names, remappings


def refuse_absent(params_file: str) -> None:
    """Raise ValueError where there is no such file: launch would go on with the defaults."""
    path = Path(params_file)
    if params_file and not path.is_file():
        raise ValueError(
            f'params_file must be a file, got {params_file!r}, which '
            f'{"is none" if path.exists() else "does not exist"}. Correct the path, or leave '
            'params_file out.'
        )


def find_depth(
    given: Callable[[str], str], names: list[str]
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the parameters and remappings of depth; ValueError as of `find_inputs`."""
    topics = {'depth': given('depth_topic'), 'camera_info': given('camera_info')}
    topics = {name: topic for name, topic in topics.items() if topic}
    if topics and names:
        raise ValueError(
            'depth_topic and camera_info are topics of a single camera, got cameras '
            f'{", ".join(names)} as well. Have the cameras publish {names[0]}/depth, '
            f'{names[0]}/camera_info and so on.'
        )
    refuse_transport('depth_topic', topics.get('depth', ''), 'depth_transport', 'compressedDepth')
    parameters: dict[str, object] = {'depth': [given('depth')]} if given('depth') else {}
    if given('depth_transport'):
        parameters['depth_transport'] = given('depth_transport')
    return parameters, topics


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes to start; raise ValueError where an argument cannot be used."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    refuse_absent(given('params_file'))
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
    cameras = read_cameras(given('cameras'))
    if cameras:
        overrides['cameras'] = [name for name, _ in cameras]
    names, remappings = find_inputs(given, cameras)
    # Else the node would stay behind where launch ends without ending it: without RViz, say.
    environment = {'META_OOD_END_WITH': str(os.getpid())}
    if given('fastdds_profile') == 'false':
        # Unless its user has chosen, the node takes the profile of this package.
        chosen = os.environ.get('FASTDDS_BUILTIN_TRANSPORTS', 'DEFAULT')
        environment['FASTDDS_BUILTIN_TRANSPORTS'] = chosen
    depth_parameters, depth_remappings = find_depth(given, names)
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
