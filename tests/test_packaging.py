"""What a wheel carries, what colcon finds, what make says on a machine that lacks something."""

from __future__ import annotations

import ast
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import zipfile

from catkin_pkg.package import parse_package
import pytest
import yaml

NOT_FOR_A_WHEEL = shutil.ignore_patterns('__pycache__', '*.egg-info', 'build')
SOURCES = ('LICENSE', 'NOTICE', 'package.xml', 'pyproject.toml', 'setup.cfg', 'setup.py')
FOLDERS = ('config', 'launch', 'meta_ood_ros', 'resource')


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], text=True, capture_output=True, timeout=300, **options
    )


@pytest.fixture(scope='module')
def wheel(repository, tmp_path_factory):
    # Built from a copy: setuptools leaves build/ behind and would install from it again later.
    source = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        shutil.copy(repository / name, source)
    for name in FOLDERS:
        shutil.copytree(repository / name, source / name, ignore=NOT_FOR_A_WHEEL)
    made = run(
        *(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-index'),
        *('--disable-pip-version-check', '--wheel-dir', source / 'dist', source),
    )
    assert made.returncode == 0, made.stderr
    (path,) = (source / 'dist').glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """Return a folder into which the wheel is installed and in which nothing else lies."""
    target = tmp_path_factory.mktemp('installed')
    made = run(
        *(sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index'),
        *('--disable-pip-version-check', '--target', target, wheel),
    )
    assert made.returncode == 0, made.stderr
    return target


@pytest.fixture(scope='module')
def colcon_list(repository):
    workspace = repository / 'ros2_ws'
    environment = {**os.environ, 'COLCON_DEFAULTS_FILE': str(workspace / 'colcon_defaults.yaml')}
    listed = run(
        *(sys.executable, '-m', 'colcon', '--log-base', os.devnull, 'list'),
        cwd=workspace,
        env=environment,
    )
    assert listed.returncode == 0, listed.stderr
    return {tuple(line.split()[::2]) for line in listed.stdout.splitlines()}


def test_colcon_finds_exactly_the_two_packages_with_their_build_types(colcon_list):
    # An invalid package.xml does not fail: it turns ros.ament_python into plain python.
    assert colcon_list == {
        ('meta_ood', '(ros.ament_python)'),
        ('meta_ood_msgs', '(ros.ament_cmake)'),
    }


def test_every_colcon_verb_has_the_same_base_paths(repository):
    defaults = yaml.safe_load((repository / 'ros2_ws' / 'colcon_defaults.yaml').read_text())
    assert {'list', 'build', 'test'} <= set(defaults)
    assert all(verb == {'base-paths': ['..', 'src']} for verb in defaults.values())


def test_wheel_carries_every_file_of_the_package(repository, wheel):
    package = repository / 'meta_ood_ros'
    expected = {
        f'meta_ood_ros/{path.relative_to(package)}'
        for path in package.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


def test_both_packages_carry_the_mark_of_types(wheel, repository, tmp_path):
    source = tmp_path / 'training'
    shutil.copytree(repository / 'training', source, ignore=NOT_FOR_A_WHEEL)
    made = run(
        *(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-index'),
        *('--disable-pip-version-check', '--wheel-dir', tmp_path, source),
    )
    assert made.returncode == 0, made.stderr
    (training,) = tmp_path.glob('*.whl')
    for path, package in ((wheel, 'meta_ood_ros'), (training, 'meta_ood_training')):
        assert f'{package}/py.typed' in zipfile.ZipFile(path).namelist()


def test_wheel_carries_nothing_but_the_package_and_its_share_files(wheel):
    top = {name.split('/')[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {'meta_ood_ros', 'meta_ood-0.1.0.data', 'meta_ood-0.1.0.dist-info'}


def test_share_holds_what_ros2_launch_needs(repository, installed):
    share = installed / 'share' / 'meta_ood'
    for folder in ('launch', 'config'):
        for path in (repository / folder).iterdir():
            if path.is_file():
                assert (share / folder / path.name).read_bytes() == path.read_bytes()
    assert (share / 'package.xml').is_file()
    marker = installed / 'share/ament_index/resource_index/packages/meta_ood'
    assert marker.read_bytes() == b''


def test_installed_wheel_runs_the_default_bundle_from_an_empty_folder(installed, tmp_path):
    program = """
import meta_ood_ros, numpy, sys
from meta_ood_ros.core import OodPipeline, load_bundle
assert meta_ood_ros.__file__.startswith(sys.argv[1]), meta_ood_ros.__file__
result = OodPipeline(load_bundle())(numpy.zeros((96, 128, 3), numpy.uint8))
assert 0 <= result.entropy.min() <= result.entropy.max() <= 1
print(*result.image_size)
"""
    environment = {**os.environ, 'PYTHONPATH': str(installed)}
    done = run(sys.executable, '-c', program, installed, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['96', '128']
    assert not any(tmp_path.iterdir())


def test_installed_wheel_has_the_shared_memory_profile(installed):
    profile = (installed / 'meta_ood_ros' / 'fastdds_profile.xml').read_text()
    assert '<segment_size>134217728</segment_size>' in profile


def test_executable_of_ros2_run_stands_where_setup_cfg_puts_it(repository):
    configuration = (repository / 'setup.cfg').read_text()
    assert 'script_dir=$base/lib/meta_ood' in configuration
    assert 'install_scripts=$base/lib/meta_ood' in configuration


def test_executable_of_the_wheel_starts_where_missing_modules_are_explained(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith('/entry_points.txt'))
        assert 'ood_node = meta_ood_ros.node.start_node:main' in archive.read(name).decode()


@pytest.mark.parametrize('name', ['torch', 'diagnostic_msgs'])
def test_executable_says_which_module_its_python_lacks(name):
    program = (
        'import sys; sys.modules[sys.argv[1]] = None; import meta_ood_ros.node.start_node as node'
    )
    done = run(sys.executable, '-c', f'{program}; node.main([])', name)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert re.match(
        rf'ood_node needs the Python module {name}[\w.]*, which /.* not have', sentence
    )
    assert 'Activate the virtual environment' in sentence


@pytest.mark.parametrize('has_environment', [True, False])
def test_bundles_are_made_by_the_python_of_the_repository(repository, tmp_path, has_environment):
    (tmp_path / 'clone' / 'training').mkdir(parents=True)
    script = shutil.copy(repository / 'training/make_bundle.sh', tmp_path / 'clone' / 'training')
    pythons = [tmp_path / 'python3']
    if has_environment:
        pythons.append(tmp_path / 'clone' / '.venv' / 'bin' / 'python')
    for python in pythons:
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text('#!/bin/sh\necho "ran $0"\nexit 7\n')
        python.chmod(0o755)
    environment = {'PATH': f'{tmp_path}:/usr/bin:/bin'}
    done = run('bash', script, 'default', tmp_path, tmp_path / 'runs', env=environment)
    assert done.returncode == 7
    ran = '.venv/bin/python' if has_environment else str(pythons[0])
    assert done.stdout == f'ran {ran}\n'


def test_share_folders_are_no_python_packages(repository):
    # With an __init__.py, `import launch` would find this folder instead of ROS's module.
    for folder in ('launch', 'config', 'training'):
        assert not (repository / folder / '__init__.py').exists()


def test_robot_requirements_leave_numpy_and_ros_to_the_machine(repository):
    lines = (repository / 'requirements-robot.txt').read_text().splitlines()
    names = [line for line in lines if line.strip() and not line.startswith('#')]
    assert any(name.startswith('torch') for name in names)
    assert not [name for name in names if name.startswith(('numpy', 'ros-', 'opencv'))]
    assert not [name for name in names if '==' in name]


@pytest.fixture
def machine(repository, tmp_path):
    """Return a function that runs make's first step with some programs replaced."""
    (tmp_path / 'clone').mkdir()
    shutil.copy(repository / 'Makefile', tmp_path / 'clone')
    tools = tmp_path / 'tools'
    tools.mkdir()

    # The make that runs the tests would have its say in the one that is tested.
    environment = {name: text for name, text in os.environ.items() if not name.startswith('MAKE')}
    environment['PATH'] = f'{tools}:{environment["PATH"]}'

    def start(*arguments, **programs):
        for name, text in programs.items():
            path = tools / name
            path.write_text(f'#!/bin/sh\n{text}\n')
            path.chmod(0o755)
        # `make test` hands its own level and flags down, and make would call itself make[1].
        own = {key: value for key, value in os.environ.items() if not key.startswith('MAKE')}
        return run(
            *('make', '.venv/.created', f'PYTHON={tools / "python3"}', *arguments),
            cwd=tmp_path / 'clone',
            env={**own, 'PATH': f'{tools}:{os.environ["PATH"]}'},
        )

    return start


def python_failing_at(word: str) -> str:
    return f'case "$*" in *{word}*) exit 1;; esac; exec {sys.executable} "$@"'


@pytest.mark.parametrize(
    ('programs', 'message'),
    [
        ({'uname': 'case $1 in -s) echo Linux;; *) echo aarch64;; esac'}, 'on aarch64'),
        ({'python3': 'case "$*" in *version_info*) exit 1;; esac; echo Python 3.9.2'}, '3.9.2'),
        ({'python3': python_failing_at('ensurepip')}, 'sudo apt install python3-venv'),
        ({'python3': python_failing_at('Python.h')}, 'sudo apt install python3-dev'),
    ],
    ids=['not x86-64', 'old Python', 'no venv', 'no headers'],
)
def test_make_says_in_one_sentence_what_a_machine_lacks(machine, programs, message):
    python = f'exec {sys.executable} "$@"'
    done = machine(**{'python3': python, **programs})
    assert done.returncode != 0
    sentence, verdict = done.stderr.splitlines()
    assert message in sentence
    assert verdict.startswith('make: ***')


def test_make_says_that_the_compiler_is_missing(machine):
    done = machine('CC=no-such-compiler', python3=f'exec {sys.executable} "$@"')
    assert done.returncode != 0
    assert 'sudo apt install build-essential' in done.stderr


def test_make_says_that_python_is_missing(machine):
    done = machine('PYTHON=python3.99')
    assert 'sudo apt install python3.99 python3.99-venv python3.99-dev' in done.stderr


def test_make_starts_again_where_an_installation_was_interrupted(repository, machine, tmp_path):
    # The interpreter dies while it makes the environment; the next call makes it whole.
    broken = machine(python3=python_failing_at('-m venv'))
    assert broken.returncode != 0
    assert not (tmp_path / 'clone' / '.venv' / '.created').exists()
    whole = machine(python3=f'exec {sys.executable} "$@"')
    assert whole.returncode == 0, whole.stderr
    assert (tmp_path / 'clone' / '.venv' / 'bin' / 'python').exists()


# ---- declared dependencies ----

IMPORT_NAMES = {
    'PIL': 'pillow',
    'backports': 'backports.zstd',
    'cv2': 'opencv-python-headless',
    'faiss': 'faiss-cpu',
    'jinja2': 'Jinja2',
    'skimage': 'scikit-image',
    'sklearn': 'scikit-learn',
    'yaml': 'PyYAML',
}
#: Imported only where they are installed, and named by the error where they are not; the first
#: comes with Python 3.14.
OPTIONAL = {
    'compression',
    'onnx',
    'onnxruntime',
    'tensorrt',
    'torch2trt',
    'onnxscript',
    'openvino',
}
PART_OF = {'llvmlite': 'numba', 'triton': 'torch'}


def third_party(folder: Path) -> set[str]:
    """Return the top modules that the files of a folder import, less Python's own."""
    found: set[str] = set()
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split('.')[0])
    own = {'meta_ood_ros', 'meta_ood_training'}
    found = {PART_OF.get(name, name) for name in found}
    return found - own - OPTIONAL - set(sys.stdlib_module_names)


def is_ros(module: str) -> bool:
    return module.endswith('_msgs') or module in {
        *('rclpy', 'rcl_interfaces', 'cv_bridge', 'ament_index_python', 'lifecycle_msgs'),
        'tf2_ros',
    }


def test_package_xml_is_valid_and_names_every_ros_package_that_is_imported(repository):
    warnings: list[str] = []
    package = parse_package(str(repository / 'package.xml'), warnings=warnings)
    assert warnings == []
    assert package.get_build_type() == 'ament_python'
    declared = {dependency.name for dependency in package.exec_depends}
    imported = {name for name in third_party(repository / 'meta_ood_ros') if is_ros(name)}
    assert imported >= {'rclpy', 'sensor_msgs', 'meta_ood_msgs'}
    names = {'tf2_ros': 'tf2_ros_py'}  # the package that holds the module
    assert {names.get(name, name) for name in imported} <= declared


def test_package_xml_of_the_messages_is_valid(repository):
    warnings: list[str] = []
    path = repository / 'ros2_ws' / 'src' / 'meta_ood_msgs' / 'package.xml'
    package = parse_package(str(path), warnings=warnings)
    assert warnings == []
    assert 'rosidl_interface_packages' in {group.name for group in package.member_of_groups}


def test_wheel_requires_every_module_that_is_imported(repository, wheel):
    (name,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith('/METADATA'))
    text = zipfile.ZipFile(wheel).read(name).decode()
    required = set(re.findall(r'^Requires-Dist: ([\w.-]+)(?!.*test)', text, re.MULTILINE))
    imported = {m for m in third_party(repository / 'meta_ood_ros') if not is_ros(m)}
    assert {IMPORT_NAMES.get(m, m) for m in imported} <= required
    assert not [name for name in required if name.startswith(('rclpy', 'ros-'))]


def test_the_robot_does_not_need_what_only_the_demo_imports(repository, wheel):
    (name,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith('/METADATA'))
    text = zipfile.ZipFile(wheel).read(name).decode()
    for_the_demo = set(re.findall(r'^Requires-Dist: ([\w.-]+);.*demo', text, re.MULTILINE))
    assert for_the_demo == {'rosbags', 'tqdm', 'lz4', 'backports.zstd'}
    program = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
import meta_ood_ros.node.ood_node
"""
    done = run(sys.executable, '-c', program, *for_the_demo)
    assert done.returncode == 0, done.stderr


def test_the_extra_for_tests_brings_what_the_tests_of_the_robot_import(repository, wheel):
    (name,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith('/METADATA'))
    text = zipfile.ZipFile(wheel).read(name).decode()
    always = set(re.findall(r'^Requires-Dist: ([\w-]+)[^;\n]*$', text, re.MULTILINE))
    for_tests = set(re.findall(r'^Requires-Dist: ([\w.-]+);.*test', text, re.MULTILINE))
    folders = (repository / 'tests' / 'core', repository / 'tests' / 'ros')
    imported = {m for folder in folders for m in third_party(folder) if not is_ros(m)}
    imported = {m for m in imported if not m.startswith(('test_', 'conftest', 'launch'))}
    assert {IMPORT_NAMES.get(m, m) for m in imported} <= always | for_tests


def test_training_requires_every_module_that_it_imports(repository):
    text = (repository / 'training' / 'pyproject.toml').read_text()
    required = set(re.findall(r"^  '([\w-]+)", text, re.MULTILINE))
    brought_by_meta_ood = {'torch', 'numpy', 'opencv-python-headless', 'safetensors', 'PyYAML'}
    brought_by_meta_ood |= {'numba'}
    imported = third_party(repository / 'training')
    assert {IMPORT_NAMES.get(m, m) for m in imported} <= required | brought_by_meta_ood
    assert 'meta-ood' not in required  # pip would look for it elsewhere


def test_wheel_of_training_carries_every_module_and_template(repository, tmp_path):
    source = repository / 'training'
    copy = shutil.copytree(source, tmp_path / 'training', ignore=NOT_FOR_A_WHEEL)
    made = run(
        *(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-index'),
        *('--disable-pip-version-check', '--wheel-dir', tmp_path / 'dist', copy),
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = (tmp_path / 'dist').glob('*.whl')
    expected = {
        str(path.relative_to(source))
        for path in (source / 'meta_ood_training').rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert sum(name.endswith('.jinja') for name in expected) >= 5
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


def test_every_required_module_is_pinned_for_a_bare_machine(repository, wheel):
    pins = (repository / 'requirements.txt').read_text()
    pinned = {line.split('==')[0].lower() for line in pins.splitlines() if '==' in line}
    names = third_party(repository / 'meta_ood_ros') | third_party(repository / 'training')
    names = {IMPORT_NAMES.get(m, m).lower() for m in names if not is_ros(m)}
    assert names <= pinned


def test_every_bundle_says_under_which_terms_its_weights_stand(repository):
    notice = (repository / 'NOTICE').read_text()
    for path in sorted((repository / 'meta_ood_ros' / 'bundles').glob('*/bundle.yaml')):
        bundle = yaml.safe_load(path.read_text())
        assert bundle['licence_of_weights'], path
        assert 'not for safety use' in bundle['data_terms'], path
        holder = re.search(r'\(c\) \d+ ([\w ]+)', bundle['licence_of_weights'])
        assert holder is None or holder[1] in notice
