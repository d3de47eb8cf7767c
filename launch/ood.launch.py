"""
Start the OoD node, and RViz on demand.

    ros2 launch meta_ood ood.launch.py image:=/camera/image_raw rviz:=true

No argument repeats a default: what is not given is left to params_file, and what that does not
set is left to the node. `ros2 launch meta_ood ood.launch.py --show-args` lists the arguments.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
import yaml

SHARE = FindPackageShare('meta_ood')
NOT_GIVEN = ''
#: What config/ood.rviz shows, named as it stands there; remapped below into the namespace.
SHOWN_TOPICS = ('overlay', 'semantic_color', 'entropy_color', 'entropy')


def argument(name: str, description: str, choices: tuple[str, ...] = ()) -> DeclareLaunchArgument:
    """
    Return an argument that changes nothing unless it is given.

    Parameters
    ----------
    name, description : str
        As `--show-args` prints them.
    choices : tuple of str
        The only values allowed; empty allows any.

    """
    allowed = {'choices': (NOT_GIVEN, *choices)} if choices else {}
    return DeclareLaunchArgument(name, default_value=NOT_GIVEN, description=description, **allowed)


def camera_names(text: str) -> list[str]:
    """
    Return the cameras that an argument such as 'front,rear' or '[front, rear]' names.

    Raises
    ------
    ValueError
        The text is neither a list of names nor empty.

    """
    names = yaml.safe_load(text if text.startswith('[') else f'[{text}]')
    if not all(isinstance(name, str) for name in names):
        raise ValueError(
            f'cameras must be a list of names, got {text!r}. Write cameras:=front,rear.'
        )
    return names


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """
    Return the processes to start.

    Parameters
    ----------
    context : LaunchContext
        Holds the values of the arguments.

    Raises
    ------
    ValueError
        Arguments contradict each other.

    """

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    # A ParameterValue of type str keeps 'bundle:=123' a string.
    overrides = {
        name: ParameterValue(given(name), value_type=str)
        for name in ('bundle', 'device')
        if given(name)
    }
    sim_time = {'use_sim_time': given('use_sim_time') == 'true'} if given('use_sim_time') else {}
    overrides.update(sim_time)
    if given('autostart'):
        overrides['autostart'] = given('autostart') == 'true'
    cameras = camera_names(given('cameras'))
    if cameras:
        overrides['cameras'] = cameras
    image = given('image')
    if image and cameras:
        raise ValueError(
            f'image is the topic of a single camera, got cameras:={given("cameras")} as well. '
            'Let each camera publish <camera>/image, or drop one of the two arguments.'
        )
    log_level = ['--log-level', given('log_level')] if given('log_level') else []

    ood = Node(
        package='meta_ood',
        executable='ood_node',
        name='ood',
        namespace=given('namespace'),
        parameters=[LaunchConfiguration('params_file'), *([overrides] if overrides else [])],
        remappings=[('image', image)] if image else [],
        ros_arguments=log_level,
        output='screen',
        emulate_tty=True,
    )
    if given('rviz') != 'true':
        return [ood]

    # The file has absolute names; this moves them into the namespace and to the first camera.
    outputs = f'ood/{cameras[0]}' if cameras else 'ood'
    shown = [(f'/ood/{topic}', f'{outputs}/{topic}') for topic in SHOWN_TOPICS]
    shown.append(('/image', image or (f'{cameras[0]}/image' if cameras else 'image')))
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
            argument('image', "Topic of a single camera's images (remaps 'image')."),
            argument(
                'cameras',
                'Several cameras on one network, as in front,rear: each is read from '
                '<camera>/image (sets the parameter cameras).',
            ),
            argument('namespace', 'Namespace of the node and of its relative topics.'),
            argument(
                'bundle',
                'Model bundle: absolute path, ~/..., package://<package>/... or the name of an '
                'installed one (sets the parameter bundle).',
            ),
            argument(
                'device',
                'Where the network runs: auto, cpu, cuda or cuda:N (sets the parameter device).',
            ),
            argument('use_sim_time', 'Follow /clock, as when a bag is played.', booleans),
            argument(
                'autostart',
                'Configure and activate at start; false leaves that to a lifecycle manager.',
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
