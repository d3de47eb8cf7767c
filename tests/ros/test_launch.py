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
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree as ET

from meta_ood_ros.core.settings import NodeSettings
import pytest
import yaml

ARGUMENTS = (
    *('params_file', 'image', 'cameras', 'namespace', 'bundle', 'device', 'use_sim_time'),
    *('autostart', 'rviz', 'log_level'),
)
PARAMETERS = {setting.name: setting.default for setting in fields(NodeSettings)}


class Recorded:
    """Stands for an action or substitution and keeps what it was made of."""

    def __init__(self, *positional, **named):
        self.positional, self.named = positional, named


class LaunchConfiguration(Recorded):
    def perform(self, context):
        return context[self.positional[0]]


@pytest.fixture
def launched(repository, monkeypatch):
    """Return the module of the launch file and a function that starts it with arguments."""
    names = {
        'launch': ('LaunchContext', 'LaunchDescription', 'LaunchDescriptionEntity'),
        'launch.actions': ('DeclareLaunchArgument', 'OpaqueFunction'),
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
        'cameras': ['front', 'rear'],
        'autostart': False,
    }
    for name, value in given.items():
        assert type(PARAMETERS[name]) in (type(value), tuple)
    assert (node['namespace'], node['ros_arguments']) == ('robot', ['--log-level', 'debug'])


@pytest.mark.parametrize('text', ['front,rear', '[front, rear]', "['front','rear']"])
def test_cameras_are_read_with_and_without_brackets(launched, text):
    assert launched.module['camera_names'](text) == ['front', 'rear']


def test_cameras_that_are_no_names_are_refused(launched):
    with pytest.raises(ValueError, match=r"a list of names, got '1,2'. Write cameras:=front,rear"):
        launched.start(cameras='1,2')


def test_image_remaps_the_topic_of_a_single_camera_only(launched):
    (node,) = launched.start(image='/camera/image_raw')
    assert node['remappings'] == [('image', '/camera/image_raw')]
    with pytest.raises(ValueError, match='a single camera, got cameras:=front as well'):
        launched.start(image='/camera/image_raw', cameras='front')


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
    ],
)
def test_rviz_follows_namespace_and_first_camera(launched, arguments, overlay, image):
    ood, rviz = launched.start(rviz='true', namespace='robot', **arguments)
    assert rviz['namespace'] == ood['namespace'] == 'robot'
    remapped = dict(rviz['remappings'])
    # Relative targets: ROS puts them into the namespace of the node.
    assert (remapped['/ood/overlay'], remapped['/image']) == (overlay, image)


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
        f'#!{sys.executable}\nfrom meta_ood_ros.start_node import main\nraise SystemExit(main())\n'
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
    process = launch('namespace:=robot', 'device:=cpu', 'autostart:=false', 'cameras:=front,rear')
    names = ['device', 'autostart', 'cameras', 'overlay_alpha']
    assert parameters_of('/robot/ood', names) == ['cpu', False, ['front', 'rear'], 0.5]
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
def test_real_launch_refuses_an_unknown_choice(launch):
    process = launch('autostart:=maybe')
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert 'provided value "maybe" is not valid' in output
