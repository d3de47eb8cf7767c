"""What the launch file declares and starts: with stand-ins for launch, and with the real one."""

from __future__ import annotations

from dataclasses import fields
from importlib import metadata, util
import os
from pathlib import Path
import re
import runpy
import signal
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree as ET

from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.node.session import compressed_topic
from meta_ood_ros.node.shared_memory import use_profile
from meta_ood_ros.node.stopping import END_WITH
import pytest
import rclpy
from rclpy.context import Context
import yaml

ARGUMENTS = (
    *('params_file', 'image', 'image_transport', 'cameras', 'append_transport'),
    *('depth', 'depth_topic', 'depth_transport', 'camera_info', 'namespace', 'bundle', 'device'),
    *('use_sim_time', 'autostart', 'fastdds_profile', 'rviz', 'log_level'),
)
PARAMETERS = {setting.name: setting.default for setting in fields(NodeSettings)}


class Recorded:
    """Stands for an action or substitution and keeps what it was made of."""

    def __init__(self, *positional, **named):
        self.positional, self.named = positional, named


class LaunchConfiguration(Recorded):
    def perform(self, context):
        return context[self.positional[0]]


def stand_ins(monkeypatch):
    """Put stand-ins where launch and launch_ros would be."""
    names = {
        'launch': ('LaunchContext', 'LaunchDescription', 'LaunchDescriptionEntity'),
        'launch.actions': ('DeclareLaunchArgument', 'IncludeLaunchDescription', 'OpaqueFunction'),
        'launch.launch_description_sources': ('PythonLaunchDescriptionSource',),
        'launch.substitutions': ('PathJoinSubstitution',),
        'launch_ros': (),
        'launch_ros.actions': ('Node',),
        'launch_ros.parameter_descriptions': ('ParameterValue',),
        'launch_ros.substitutions': ('FindPackageShare',),
    }
    for module, classes in names.items():
        stand_in = ModuleType(module)
        for name in classes:
            setattr(stand_in, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, stand_in)
    sys.modules['launch.substitutions'].LaunchConfiguration = LaunchConfiguration


@pytest.fixture
def launched(repository, monkeypatch):
    """Return the module of the launch file and a function that starts it with arguments."""
    stand_ins(monkeypatch)
    module = runpy.run_path(str(repository / 'launch' / 'ood.launch.py'))
    (description,) = module['generate_launch_description']().positional
    declared = {entity.positional[0]: entity.named for entity in description[:-1]}
    function = description[-1].named['function']

    def start(**arguments):
        return [node.named for node in function({**dict.fromkeys(ARGUMENTS, ''), **arguments})]

    return SimpleNamespace(declared=declared, start=start, module=module)


def values(node):
    """Return the parameters that override the file, with the stand-ins taken off."""
    overrides = node['parameters'][1] if len(node['parameters']) > 1 else {}
    return {
        name: value.positional[0] if isinstance(value, Recorded) else value
        for name, value in overrides.items()
    }


def test_arguments_are_those_of_the_interface_and_described(launched):
    assert tuple(launched.declared) == ARGUMENTS
    for named in launched.declared.values():
        assert named['description'].endswith('.')


def test_no_argument_repeats_a_default(repository, launched):
    declared = dict(launched.declared)
    parts = declared.pop('params_file')['default_value'].positional[0]
    assert parts[0].positional == ('meta_ood',)
    assert repository.joinpath(*parts[1:]).is_file()
    assert {named['default_value'] for named in declared.values()} == {''}


def test_nothing_given_changes_nothing(launched):
    (node,) = launched.start()
    assert values(node) == {}
    assert node['parameters'][0].positional == ('params_file',)
    assert (node['remappings'], node['ros_arguments'], node['namespace']) == ([], [], '')


def test_what_is_given_overrides_the_parameter_of_that_name_and_type(launched):
    (node,) = launched.start(
        bundle='/some/bundle',
        device='cpu',
        image_transport='compressed',
        cameras='front,rear',
        autostart='false',
        use_sim_time='true',
        namespace='robot',
        log_level='debug',
    )
    given = values(node)
    assert given.pop('use_sim_time') is True
    assert given == {
        'bundle': '/some/bundle',
        'device': 'cpu',
        'image_transport': 'compressed',
        'cameras': ['front', 'rear'],
        'autostart': False,
    }
    for name, value in given.items():
        assert type(PARAMETERS[name]) in (type(value), tuple)
    assert (node['namespace'], node['ros_arguments']) == ('robot', ['--log-level', 'debug'])


def test_choices_of_an_argument_are_those_of_its_parameter(launched):
    (setting,) = (one for one in fields(NodeSettings) if one.name == 'image_transport')
    choices = launched.declared['image_transport']['choices']
    assert choices == ('', *setting.metadata['choices'])


@pytest.mark.parametrize(
    ('text', 'cameras'),
    [
        ('front,rear', [('front', ''), ('rear', '')]),
        ('[front, rear]', [('front', ''), ('rear', '')]),
        ("['front','rear']", [('front', ''), ('rear', '')]),
        ('front=/a/b,rear=c', [('front', '/a/b'), ('rear', 'c')]),
        ('[front = /a/b, rear]', [('front', '/a/b'), ('rear', '')]),
        ('left/front=~/a', [('left/front', '~/a')]),
        ("['']", [('', '')]),
        ('', []),
    ],
)
def test_cameras_are_read_with_and_without_brackets_and_topics(launched, text, cameras):
    assert launched.module['inputs'].read_cameras(text) == cameras


@pytest.mark.parametrize('text', ['1,2', 'front=', '=/a', 'front:=/a', 'a=/b=/c', 'f: /a', '[a]b'])
def test_cameras_that_are_no_names_are_refused(launched, text):
    sentence = f'a list of names .* got {re.escape(repr(text))}. Write cameras:=front,rear or '
    with pytest.raises(ValueError, match=sentence):
        launched.start(cameras=text)


def test_topics_of_cameras_set_the_names_and_remap_the_inputs(launched):
    (node,) = launched.start(cameras='front=/front_camera/image_raw,rear,left=left_camera/image')
    assert values(node) == {'cameras': ['front', 'rear', 'left']}
    assert node['remappings'] == [
        ('front/image', '/front_camera/image_raw'),
        ('left/image', 'left_camera/image'),
    ]


@pytest.mark.parametrize(
    ('namespace', 'resolved'),
    [
        ('', ['/front_camera/image_raw', '/rear/image', '/left_camera/image']),
        ('robot', ['/front_camera/image_raw', '/robot/rear/image', '/robot/left_camera/image']),
    ],
)
def test_ros_takes_the_remappings_absolute_and_relative(launched, namespace, resolved):
    (ood,) = launched.start(cameras='front=/front_camera/image_raw,rear,left=left_camera/image')
    rules = [word for rule in ood['remappings'] for word in ('-r', ':='.join(rule))]
    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node(
            'ood', namespace=namespace, context=context, cli_args=['--ros-args', *rules]
        )
        cameras = values(ood)['cameras']
        assert [node.resolve_topic_name(f'{one}/image') for one in cameras] == resolved
        node.destroy_node()
    finally:
        context.try_shutdown()


def test_image_remaps_the_topic_of_a_single_camera_only(launched):
    (node,) = launched.start(image='/camera/image_raw')
    assert node['remappings'] == [('image', '/camera/image_raw')]
    sentence = 'got cameras:=front as well. Give .* cameras:=front=/camera/image_raw, or drop'
    with pytest.raises(ValueError, match=sentence):
        launched.start(image='/camera/image_raw', cameras='front')


@pytest.mark.parametrize('transport', ['', 'raw', 'compressed'])
@pytest.mark.parametrize(
    ('argument', 'text'),
    [('image', '/cam/image/compressed'), ('cameras', 'rear,front=/cam/image/compressed')],
)
def test_topic_that_ends_in_its_transport_is_refused(launched, argument, text, transport):
    sentence = (
        f"^{argument} must be given the topic without its transport, got '/cam/image/compressed'. "
        'Write /cam/image and image_transport:=compressed.$'
    )
    with pytest.raises(ValueError, match=sentence):
        launched.start(image_transport=transport, **{argument: text})


def section(name, cameras):
    return f'{name}:\n  ros__parameters:\n    cameras: {cameras}\n'


@pytest.mark.parametrize(
    ('text', 'cameras'),
    [
        (section('/**', '[front, rear]'), ['front', 'rear']),
        (section('/robot/ood', '[front]'), ['front']),
        (section('robot/ood', '[front]'), ['front']),
        (section('/**', '[front]') + section('/robot/ood', '[rear]'), ['rear']),
        (section('/robot/ood', '[rear]') + section('/**', '[front]'), []),
        (section('/robot/ood', '[rear]') + section('/**', '[rear]'), ['rear']),
        (section('/**', "['']"), ['']),
        (section('/**', 'front'), []),
        (section('/**', '[1, 2]'), []),
        (section('/ood', '[front]'), []),
        (section('/camera', '[front]'), []),
        ('/**:\n  ros__parameters:\n    device: cpu\n', []),
        ('/**:\n', []),
        ('- front\n', []),
        ('{', []),
        ('', []),
    ],
)
def test_cameras_of_the_parameter_file_are_found(launched, tmp_path, text, cameras):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    assert launched.module['inputs'].cameras_in(str(path), '/robot/ood') == cameras


def test_parameter_file_that_cannot_be_read_is_left_to_the_node(launched, tmp_path):
    (tmp_path / 'binary.yaml').write_bytes(b'\xff\xfe')
    for name in ('binary.yaml', 'absent.yaml', ''):
        assert launched.module['inputs'].cameras_in(str(tmp_path / name), '/ood') == []


def test_installed_parameter_file_names_a_single_camera(repository, launched):
    path = str(repository / 'config' / 'ood.yaml')
    _, rviz = launched.start(params_file=path, image='/cam/raw', rviz='true')
    assert dict(rviz['remappings'])['/image'] == '/cam/raw'


@pytest.mark.parametrize('namespace', ['robot', '/robot', 'robot/'])
def test_image_is_refused_where_the_parameter_file_has_cameras(launched, tmp_path, namespace):
    path = tmp_path / 'mine.yaml'
    path.write_text(section('/robot/ood', '[front, rear]'))
    given = {'params_file': str(path), 'namespace': namespace, 'image': '/cam/raw'}
    sentence = f'got cameras:=.front, rear. in {path} as well. Give .* cameras:=front=/cam/raw'
    with pytest.raises(ValueError, match=sentence):
        launched.start(**given)
    (node,) = launched.start(cameras="['']", **given)  # which makes it a single one again
    assert values(node) == {'cameras': ['']}
    assert node['remappings'] == [('image', '/cam/raw')]


@pytest.mark.parametrize(
    ('arguments', 'cameras', 'topics'),
    [
        ({'image': '/cam/jpeg'}, [''], ['/cam/jpeg']),
        ({'image': '/cam/image/compressed'}, [''], ['/cam/image/compressed']),
        ({'image': 'cam/jpeg'}, [''], ['/robot/cam/jpeg']),
        (
            {'cameras': 'front=/front/jpeg,rear'},
            ['front', 'rear'],
            ['/front/jpeg', '/robot/rear/image/compressed'],
        ),
    ],
)
def test_compressed_topic_of_any_name_is_reached(launched, arguments, cameras, topics):
    (ood,) = launched.start(
        append_transport='false', image_transport='compressed', namespace='robot', **arguments
    )
    assert subscribed(ood, cameras) == topics


def test_transport_is_appended_unless_that_is_switched_off(launched):
    (ood,) = launched.start(image='/cam/image', image_transport='compressed')
    assert subscribed(ood, ['']) == ['/cam/image/compressed']


def subscribed(ood, cameras):
    """Return the topics that a node in the namespace /robot reads compressed images from."""
    rules = [word for rule in ood['remappings'] for word in ('-r', ':='.join(rule))]
    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node(
            'ood', namespace='robot', context=context, cli_args=['--ros-args', *rules]
        )
        inputs = [f'{one}/image' if one else 'image' for one in cameras]
        found = [node.resolve_topic_name(compressed_topic(node, one)) for one in inputs]
        node.destroy_node()
    finally:
        context.try_shutdown()
    return found


@pytest.mark.parametrize('exists', [False, True])
def test_parameter_file_that_is_none_is_refused_instead_of_left_out(launched, tmp_path, exists):
    path = tmp_path / 'mine.yaml'
    if exists:
        path.mkdir()
    said = 'is none' if exists else 'does not exist'
    sentence = f'^params_file must be a file, got {str(path)!r}, which {said}. Correct the path'
    with pytest.raises(ValueError, match=sentence):
        launched.start(params_file=str(path))


def test_node_ends_with_launch_and_keeps_the_profile_unless_that_is_switched_off(
    launched, monkeypatch
):
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS', raising=False)
    ends = {END_WITH: str(os.getpid())}
    (node,) = launched.start()
    assert node['additional_env'] == ends
    (node,) = launched.start(fastdds_profile='false')
    assert node['additional_env'] == {**ends, 'FASTDDS_BUILTIN_TRANSPORTS': 'DEFAULT'}
    # Which the node takes for a choice of its user.
    chosen = dict(node['additional_env'])
    use_profile(chosen)
    assert chosen == node['additional_env']
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    (node,) = launched.start(fastdds_profile='false')
    assert node['additional_env']['FASTDDS_BUILTIN_TRANSPORTS'] == 'UDPv4'


def test_package_and_executable_exist(repository, launched):
    (node,) = launched.start()
    assert node['package'] == ET.parse(repository / 'package.xml').findtext('name')
    scripts = {script.name: script for script in metadata.entry_points(group='console_scripts')}
    assert callable(scripts[node['executable']].load())


def test_rviz_opens_the_installed_file_only_on_demand(repository, launched):
    assert len(launched.start(rviz='false')) == 1
    _, rviz = launched.start(rviz='true', use_sim_time='true')
    assert rviz['package'] == rviz['executable'] == 'rviz2'
    assert rviz['parameters'] == [{'use_sim_time': True}]
    flag, path = rviz['arguments']
    assert flag == '-d'
    assert repository.joinpath(*path.positional[0][1:]).is_file()


@pytest.mark.parametrize(
    ('arguments', 'overlay', 'image'),
    [
        ({}, 'ood/overlay', 'image'),
        ({'image': '/cam/raw'}, 'ood/overlay', '/cam/raw'),
        ({'cameras': 'front,rear'}, 'ood/front/overlay', 'front/image'),
        ({'cameras': 'front=/cam/raw,rear'}, 'ood/front/overlay', '/cam/raw'),
        ({'cameras': 'front=cam/raw,rear'}, 'ood/front/overlay', 'cam/raw'),
        ({'cameras': 'front,rear=/cam/raw'}, 'ood/front/overlay', 'front/image'),
        ({'image': '/cam/raw', 'image_transport': 'compressed'}, 'ood/overlay', '/cam/raw'),
    ],
)
def test_rviz_follows_namespace_and_first_camera(launched, arguments, overlay, image):
    ood, rviz = launched.start(rviz='true', namespace='robot', **arguments)
    assert rviz['namespace'] == ood['namespace'] == 'robot'
    remapped = dict(rviz['remappings'])
    # Relative targets: ROS puts them into the namespace of the node.
    assert (remapped['/ood/overlay'], remapped['/image']) == (overlay, image)


def test_rviz_follows_the_first_camera_of_the_parameter_file(launched, tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(section('/**', '[front, rear]'))
    ood, rviz = launched.start(rviz='true', params_file=str(path))
    assert (values(ood), ood['remappings']) == ({}, [])
    remapped = dict(rviz['remappings'])
    assert (remapped['/ood/overlay'], remapped['/image']) == ('ood/front/overlay', 'front/image')
    _, rviz = launched.start(rviz='true', params_file=str(path), cameras='left=/cam/raw')
    remapped = dict(rviz['remappings'])
    assert (remapped['/ood/overlay'], remapped['/image']) == ('ood/left/overlay', '/cam/raw')


def test_every_topic_that_rviz_shows_is_remapped(repository, launched):
    _, rviz = launched.start(rviz='true')
    view = yaml.safe_load((repository / 'config' / 'ood.rviz').read_text())
    displays = view['Visualization Manager']['Displays']
    assert {shown['Topic']['Value'] for shown in displays} == {
        topic for topic, _ in rviz['remappings']
    }


def test_rviz_shows_entropy_on_the_scale_0_to_1(repository):
    view = yaml.safe_load((repository / 'config' / 'ood.rviz').read_text())
    displays = view['Visualization Manager']['Displays']
    (entropy,) = (shown for shown in displays if shown['Topic']['Value'] == '/ood/entropy')
    # RViz casts a normalized range to integers: [0, 1] would become [0, 0].
    assert (entropy['Normalize Range'], entropy['Min Value'], entropy['Max Value']) == (
        False,
        0,
        1,
    )


# ---- with the real launch and launch_ros, where a ROS installation has them ----
# `import launch` alone proves nothing: the folder launch/ of this repository answers to it.
real = pytest.mark.skipif(
    util.find_spec('launch_ros') is None, reason='launch_ros is not installed: it comes with ROS'
)

PROGRAM = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
given = [argument.split(':=', 1) for argument in sys.argv[2:]]
service = LaunchService(noninteractive=True)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)])
)
sys.exit(service.run())
"""


@pytest.fixture
def launch(repository, tmp_path):
    """Return a function that launches the file from a prefix as colcon lays it out."""
    share, lib = tmp_path / 'share' / 'meta_ood', tmp_path / 'lib' / 'meta_ood'
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    for folder in (share, lib, index):
        folder.mkdir(parents=True)
    (index / 'meta_ood').touch()
    for name in ('launch', 'config'):
        (share / name).symlink_to(repository / name)
    executable = lib / 'ood_node'
    executable.write_text(
        f'#!{sys.executable}\n'
        'from meta_ood_ros.node.start_node import main\nraise SystemExit(main())\n'
    )
    executable.chmod(0o755)
    prefixes = os.environ.get('AMENT_PREFIX_PATH', sys.prefix)
    environment = {
        **os.environ,
        'AMENT_PREFIX_PATH': f'{tmp_path}:{prefixes}',
        'ROS_LOG_DIR': str(tmp_path / 'log'),
    }
    started = []

    def start(*arguments):
        file = share / 'launch' / 'ood.launch.py'
        process = subprocess.Popen(
            [sys.executable, '-c', PROGRAM, str(file), *arguments],
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def parameters_of(node_name, names, timeout=180.0):
    """Ask a node in another process for parameters; None where it has not declared one."""
    program = f"""
import rclpy
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
rclpy.init()
node = rclpy.create_node('asking')
client = AsyncParameterClient(node, {node_name!r})
assert client.wait_for_services({timeout})
future = client.get_parameters({names!r})
rclpy.spin_until_future_complete(node, future, timeout_sec={timeout})
print([parameter_value_to_python(value) for value in future.result().values])
"""
    done = subprocess.run([sys.executable, '-c', program], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@real
def test_real_launch_starts_the_node_with_the_arguments_given(launch):
    process = launch(
        *('namespace:=robot', 'device:=cpu', 'autostart:=false', 'image_transport:=compressed'),
        'cameras:=front=/front_camera/image_raw,rear',
        'sigterm_timeout:=60',  # of launch itself, which would kill a node that ends slowly
    )
    names = ['device', 'autostart', 'image_transport', 'cameras', 'overlay_alpha']
    expected = ['cpu', False, 'compressed', ['front', 'rear'], 0.5]
    assert parameters_of('/robot/ood', names) == expected
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert re.search(r'process has finished cleanly', output), output


@real
def test_real_launch_ends_with_the_sentence_of_a_wrong_parameter(launch, tmp_path):
    wrong = Path(tmp_path / 'wrong.yaml')
    wrong.write_text('/**:\n  ros__parameters:\n    entropy_threshold: 70.0\n')
    process = launch(f'params_file:={wrong}', 'device:=cpu')
    output, _ = process.communicate(timeout=180)
    assert 'got 70.0' in output
    assert 'exit code 1' in output


@real
@pytest.mark.parametrize(
    ('argument', 'sentence'),
    [
        ('autostart:=maybe', 'provided value "maybe" is not valid'),
        ('image:=/cam/image/compressed', 'Write /cam/image and image_transport:=compressed.'),
    ],
)
def test_real_launch_refuses_a_wrong_argument_with_a_sentence(launch, argument, sentence):
    process = launch(argument)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert sentence in output


@real
def test_real_launch_without_rviz_leaves_no_node_behind(launch):
    process = launch('rviz:=true', 'device:=cpu')
    output, _ = process.communicate(timeout=120)
    assert "package 'rviz2' not found" in output
    assert process.returncode == 1
    (started,) = re.findall(r'ood_node-1.*pid \[(\d+)\]', output)
    end = time.monotonic() + 20
    while (
        Path(f'/proc/{started}/cmdline').exists()
        and b'ood_node' in Path(f'/proc/{started}/cmdline').read_bytes()
    ):
        assert time.monotonic() < end
        time.sleep(0.1)


@real
def test_real_launch_says_which_parameter_file_is_not_there(launch):
    process = launch('params_file:=/nowhere/mine.yaml')
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "params_file must be a file, got '/nowhere/mine.yaml', which does not exist" in output


# ---- depth ----


def test_depth_sets_its_parameters_and_remaps_its_topics(launched):
    (node,) = launched.start(
        image='/c/image', depth='image', depth_topic='/c/depth', camera_info='/c/info',
        depth_transport='compressedDepth',
    )  # fmt: skip
    given = values(node)
    assert given == {'depth': ['image'], 'depth_transport': 'compressedDepth'}
    assert NodeSettings(**given).for_camera('depth', 0) == 'image'
    assert dict(node['remappings']) == {
        'image': '/c/image', 'depth': '/c/depth', 'camera_info': '/c/info',
    }  # fmt: skip


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (
            {'cameras': 'front,rear', 'camera_info': '/c/info'},
            r'are topics of a single camera, got cameras front, rear as well.*front/camera_info',
        ),
        (
            {'cameras': 'front', 'depth_topic': '/d'},
            'are topics of a single camera, got cameras front',
        ),
        (
            {'depth_topic': '/d/compressedDepth'},
            r"without its transport, got '/d/compressedDepth'. Write /d and depth_transport:=",
        ),
    ],
)
def test_depth_topics_that_cannot_be_are_refused(launched, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        launched.start(**arguments)
