"""Who may import whom, what the picture of it shows, how large a room and a wing may get."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
import inspect
from pathlib import Path
import re
import subprocess
import sys

from meta_ood_ros import core
from meta_ood_training.cli import VERBS
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROBOT = sorted((REPOSITORY / 'meta_ood_ros').rglob('*.py'))
CORE = [path for path in ROBOT if 'core' in path.relative_to(REPOSITORY).parts]
TRAINING = sorted((REPOSITORY / 'training').rglob('*.py'))
#: What is run from a checkout, and imported by neither.
BESIDE = [
    path for folder in ('benchmarks', 'soak', 'launch', 'docs')
    for path in sorted((REPOSITORY / folder).rglob('*.py'))
]  # fmt: skip
LONGEST_FILE, MOST_ROOMS = 320, 20
PACKAGES = {'meta_ood_ros': 'meta_ood_ros', 'meta_ood_training': 'training/meta_ood_training'}
PICTURE = REPOSITORY / 'CONTRIBUTING.md'
#: Wing -> the wings on the floors below it that it may import. Whoever is not named here is the
#: ground: it imports nothing of ours, and everyone may import it.
MAY_IMPORT = {
    # the robot: the method without ROS, then ROS
    'core': '',
    'messages': 'core',
    'bags': 'core messages',
    'scenes': '',
    'node': 'core messages',
    'demo': 'core messages node bags scenes',
    # the offline half: data and measures, then one wing a verb
    'provenance': '',
    'datasets': 'core',
    'scores': '',
    'heads': 'core',
    'methods': 'core provenance datasets scores heads',
    'overlays': 'core provenance datasets',
    'finetuning': 'core scenes provenance datasets scores heads',
    'bundles': 'core scenes provenance datasets finetuning heads',
    'segments': 'core bags scenes provenance datasets scores',
    'meta': 'core provenance datasets scores segments',
    'evaluation': 'core provenance datasets scores methods segments meta demo',
    'prediction': 'core bags datasets',
    'adaptation': (
        'core scenes demo provenance datasets scores overlays finetuning bundles segments meta '
        'evaluation prediction'
    ),
    'meta_ood_training': (
        'overlays finetuning bundles segments meta evaluation prediction adaptation'
    ),
    'cli': 'overlays finetuning bundles segments meta methods evaluation prediction adaptation',
}
VAGUE_NAMES = {'utils.py', 'helpers.py', 'common.py', 'misc.py'}
VERSION = {'meta_ood_ros', 'meta_ood_ros.__version__'}
ROS_ROOTS = {
    'rclpy', 'launch', 'launch_ros', 'cv_bridge', 'ament_index_python', 'rosidl_parser', 'tf2_ros',
}  # fmt: skip


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
            names = {f'{node.module}.{alias.name}' for alias in node.names}
            found |= names
            if not names <= MODULES.keys():  # something of the package itself
                found.add(node.module)
    return found


def modules_of(package: str) -> dict[str, Path]:
    """Return the modules of a package, by dotted name."""
    root = REPOSITORY / PACKAGES[package]
    found = {}
    for path in sorted(root.rglob('*.py')):
        parts = path.relative_to(root.parent).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


MODULES = {name: path for package in PACKAGES for name, path in modules_of(package).items()}
#: Imported by name while the program runs.
BY_NAME = {'meta_ood_training.cli': {f'meta_ood_training.{room}' for room, _ in VERBS.values()}}
MODULE_IMPORTS = {
    name: (imported_modules(path) | BY_NAME.get(name, set())) & MODULES.keys() - {name}
    for name, path in MODULES.items()
}


def wing_of(module: str) -> str:
    """Return the folder, or the room, directly below its package."""
    return module.split('.')[:2][-1]


def imports_of_wings() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {wing_of(module): set() for module in MODULES}
    for module, imports in MODULE_IMPORTS.items():
        found[wing_of(module)] |= {wing_of(name) for name in imports} - {wing_of(module)}
    return found


WING_IMPORTS = imports_of_wings()


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """Return the names of a circle of imports, [] where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def without_detours(imports: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the imports that do not follow from others: the arrows that a picture needs."""

    def reach(wing: str) -> set[str]:
        return imports[wing].union(*map(reach, imports[wing]))

    return {
        (wing, below)
        for wing, all_below in imports.items()
        for below in all_below
        if not any(below in reach(other) for other in all_below)
    }


def drawn_in(picture: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the boxes and the solid arrows of a flowchart."""
    boxes = set(re.findall(r'^ *(\w+)\["', picture, re.MULTILINE))
    arrows = re.findall(r'^ *(\w+) --> (\w+(?: & \w+)*)$', picture, re.MULTILINE)
    assert len(arrows) == picture.count('-->'), 'write an arrow a line: wing --> wing & wing'
    return boxes, {(wing, below) for wing, ends in arrows for below in ends.split(' & ')}


def errors_of(picture: str, imports: dict[str, set[str]]) -> list[str]:
    """Return what a picture of the wings lacks, and what it has too much."""
    boxes, arrows = drawn_in(picture)
    needed = without_detours(imports)
    return [
        *(f'no box: {wing}' for wing in sorted(imports.keys() - boxes)),
        *(f'no such wing: {wing}' for wing in sorted(boxes - imports.keys())),
        *(f'missing: {a} --> {b}' for a, b in sorted(needed - arrows)),
        *(f'superfluous: {a} --> {b}' for a, b in sorted(arrows - needed)),
    ]


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


def test_the_floors_name_every_wing():
    folders = {wing_of(name) for name, path in MODULES.items() if path.name == '__init__.py'}
    assert folders - PACKAGES.keys() <= MAY_IMPORT.keys() <= WING_IMPORTS.keys()


@pytest.mark.parametrize('wing', WING_IMPORTS)
def test_a_wing_imports_what_lies_below_it(wing):
    ground = WING_IMPORTS.keys() - MAY_IMPORT.keys()
    allowed = set(MAY_IMPORT.get(wing, '').split())
    assert sorted(WING_IMPORTS[wing] - allowed - (ground if wing in MAY_IMPORT else set())) == []


def test_no_import_runs_in_a_circle():
    assert circle_in(MODULE_IMPORTS) == []
    assert circle_in(WING_IMPORTS) == []
    assert circle_in({wing: set(below.split()) for wing, below in MAY_IMPORT.items()}) == []


def test_a_circle_is_found_through_an_import_within_a_function(tmp_path):
    (tmp_path / 'a.py').write_text('def late():\n    from b import c\n')
    late = imported_modules(tmp_path / 'a.py')
    assert late == {'b', 'b.c'}
    assert set(circle_in({'a': late, 'b': {'d'}, 'd': {'a'}})) == {'a', 'b', 'd'}


def test_the_picture_shows_the_wings_and_their_imports():
    (picture,) = re.findall(r'```mermaid\n(.*?)```', PICTURE.read_text(), re.DOTALL)
    imports = {wing: WING_IMPORTS[wing] & MAY_IMPORT.keys() for wing in MAY_IMPORT}
    assert errors_of(picture, imports) == []


def test_a_wrong_picture_is_told_by_name():
    imports = {'roof': {'floor', 'cellar'}, 'floor': {'cellar'}, 'cellar': set(), 'shed': set()}
    boxes = 'roof["roof"]\n  floor["floor"]\ncellar["cellar"]\n'
    right = boxes + 'shed["shed"]\nsun([sun]) -.-> roof\nroof --> floor\n  floor --> cellar\n'
    assert errors_of(right, imports) == []
    wrong = boxes + 'attic["attic"]\nroof --> floor & cellar\n'
    assert errors_of(wrong, imports) == [
        'no box: shed',
        'no such wing: attic',
        'missing: floor --> cellar',
        'superfluous: roof --> cellar',
    ]


def folders() -> list[Path]:
    """Return every folder of the house below its two roots, and of what stands beside it."""
    doors = [path for path in (*MODULES.values(), *BESIDE) if path.name == '__init__.py']
    return [door.parent for door in doors if door.parent.name not in PACKAGES]


@pytest.mark.parametrize('folder', folders(), ids=name_of)
def test_the_door_of_a_wing_names_its_rooms(folder):
    rooms = {path.stem for path in folder.glob('*.py')} - {'__init__', '__main__'}
    assert len(rooms) <= MOST_ROOMS, 'give some of them a wing'
    rooms |= {path.parent.name for path in folder.glob('*/__init__.py')}
    door = ast.parse((folder / '__init__.py').read_text())
    assert sorted(rooms - set(re.findall(r'\w+', ast.get_docstring(door)))) == []


@pytest.mark.parametrize('path', ROBOT + TRAINING + BESIDE, ids=name_of)
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
