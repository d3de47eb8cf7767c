"""Who may import whom, how long a file may get, and what a public docstring must hold."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
import re
import subprocess
import sys

from meta_ood_ros import core
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROBOT = sorted((REPOSITORY / 'meta_ood_ros').rglob('*.py'))
CORE = [path for path in ROBOT if 'core' in path.relative_to(REPOSITORY).parts]
TRAINING = sorted((REPOSITORY / 'training').rglob('*.py'))
SOAK = sorted((REPOSITORY / 'soak').rglob('*.py'))
LONGEST_FILE = 320
VAGUE_NAMES = {'utils.py', 'helpers.py', 'common.py', 'misc.py'}
VERSION = {'meta_ood_ros', 'meta_ood_ros.__version__'}
ROS_ROOTS = {'rclpy', 'launch', 'launch_ros', 'cv_bridge', 'ament_index_python', 'rosidl_parser'}


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def is_ros(module: str) -> bool:
    root = module.split('.')[0]
    return root in ROS_ROOTS or root.endswith('_msgs')


def imported_modules(path: Path) -> set[str]:
    """Return what a file imports anywhere, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{name_of(path)}:{node.lineno} imports relatively'
            found.add(node.module)
            found.update(f'{node.module}.{alias.name}' for alias in node.names)
    return found


def test_importing_all_of_core_loads_no_ros_and_no_training():
    program = """
import importlib, pkgutil, sys
import meta_ood_ros.core as core
names = [module.name for module in pkgutil.walk_packages(core.__path__, core.__name__ + '.')]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # of what only some machines have
        assert error.name in ('triton', 'tensorrt', 'torch2trt', 'onnx', 'onnxruntime'), error
print(len(names), *sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', program], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    count, *loaded = done.stdout.split()
    assert int(count) >= 15
    assert not [name for name in loaded if is_ros(name) or name.startswith('meta_ood_training')]


@pytest.mark.parametrize('path', CORE, ids=name_of)
def test_core_imports_nothing_of_ros_and_of_the_package_around_it(path):
    for module in imported_modules(path):
        assert not is_ros(module), module
        if module.startswith('meta_ood_ros') and module not in VERSION:
            assert module.startswith('meta_ood_ros.core'), module


def test_the_robot_never_imports_training():
    assert len(ROBOT) > 20
    for path in ROBOT:
        modules = imported_modules(path)
        assert not [name for name in modules if name.startswith('meta_ood_training')], path


def test_training_needs_no_ros():
    assert len(TRAINING) > 20
    for path in TRAINING:
        assert not [name for name in imported_modules(path) if is_ros(name)], path


@pytest.mark.parametrize('path', ROBOT + TRAINING + SOAK, ids=name_of)
def test_a_file_holds_one_idea(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, 'split it: one idea a file'
    assert path.name not in VAGUE_NAMES


def public_callables():
    """Return the functions and classes that core exports, by name."""
    return {
        name: thing
        for name, thing in vars(core).items()
        if inspect.isfunction(thing)
        or (inspect.isclass(thing) and not issubclass(thing, Exception))
    }


@pytest.mark.parametrize('name', public_callables())
def test_public_docstring_has_sections(name):
    thing = public_callables()[name]
    text = inspect.getdoc(thing)
    if inspect.isclass(thing):
        assert re.search(r'^(Attributes|Parameters|Raises)\n---', text, re.MULTILINE)
    else:
        assert 'Parameters\n---' in text
        described = text.split('Parameters\n---')[1]
        assert [p for p in inspect.signature(thing).parameters if p not in described] == []


@pytest.mark.parametrize('path', CORE, ids=name_of)
def test_every_public_function_of_core_has_a_docstring_with_its_summary_in_place(path):
    tree = ast.parse(path.read_text())
    bodies = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for node in body.body:
            # A network's forward is described by its class: what goes in, what comes out.
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name == 'forward':
                continue
            if node.name.startswith('_'):
                continue
            raw = ast.get_docstring(node, clean=False)
            assert raw, f'{name_of(path)}: {node.name} has no docstring'
            # One line, or the summary on line two.
            assert '\n' not in raw or raw.startswith('\n'), f'{name_of(path)}: {node.name}'
