"""Documents against the code: versions, defaults, commands, links, and what must not be said."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec
import re
import runpy
import subprocess
from xml.etree import ElementTree as ET

from catkin_pkg.changelog import get_changelog_from_path
import meta_ood_ros
from meta_ood_ros.core.settings import NodeSettings
from meta_ood_ros.messages.pictures import PICTURES
import pytest
import yaml

MESSAGES = 'ros2_ws/src/meta_ood_msgs'
SETTINGS = {setting.name: setting.default for setting in fields(NodeSettings)}
LAUNCH_ARGUMENT = re.compile(r"(?:argument|DeclareLaunchArgument)\(\s*'(\w+)'")


@pytest.fixture(scope='module')
def tracked(repository):
    """Return the text files of the project, by their path."""
    listed = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=repository,
        text=True,
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip('not a git checkout')
    files = {}
    for name in listed.stdout.split('\0')[:-1]:
        try:
            files[name] = (repository / name).read_text(encoding='utf-8')
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture or a model; deleted and not yet committed
    return files


@pytest.fixture(scope='module')
def documents(tracked):
    found = {name: text for name, text in tracked.items() if name.endswith('.md')}
    assert {'README.md', 'CONTRIBUTING.md', 'docs/interfaces.md'} <= set(found)
    return found


@pytest.fixture(scope='module')
def generate(repository):
    return runpy.run_path(str(repository / 'docs' / 'generate.py'))


# ---- versions ----


def first_match(repository, path, pattern):
    return re.search(pattern, (repository / path).read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize(
    ('path', 'pattern'),
    [
        ('setup.py', r"^    version='(.*)',"),
        ('package.xml', r'<version>(.*)</version>'),
        ('training/pyproject.toml', r"^version = '(.*)'"),
        (f'{MESSAGES}/package.xml', r'<version>(.*)</version>'),
        (f'{MESSAGES}/pyproject.toml', r"^version = '(.*)'"),
    ],
)
def test_version_is_the_same_everywhere(repository, path, pattern):
    assert first_match(repository, path, pattern) == meta_ood_ros.__version__


@pytest.mark.parametrize('folder', ['.', MESSAGES])
def test_changelog_is_readable_for_the_release_tools_and_ends_with_this_version(
    repository, folder
):
    path = repository / folder / 'CHANGELOG.rst'
    released = [version for version, _, _ in get_changelog_from_path(str(path)).foreach_version()]
    newest = max(released, key=lambda version: [int(part) for part in version.split('.')])
    assert newest == meta_ood_ros.__version__
    name = ET.parse(repository / folder / 'package.xml').findtext('name')
    assert path.read_text().splitlines()[1] == f'Changelog for package {name}'


# ---- defaults ----


@pytest.fixture(scope='module')
def generate_training(repository):
    return runpy.run_path(str(repository / 'docs' / 'generate_training.py'))


def test_every_key_of_a_training_run_has_a_meaning_and_a_user(generate_training):
    sections = generate_training['find_sections']()
    assert len(sections) >= 13
    for section in sections:
        meanings = generate_training['read_meanings'](section.kind)
        users = generate_training['find_users'](section)
        names = {field.name for field in fields(section.kind)}
        assert names - meanings.keys() == set(), section.kind
        assert {name for name in names if not users[name]} == set(), section.kind


def test_generated_documents_are_up_to_date(generate, generate_training):
    generated = generate['GENERATED'] | generate_training['GENERATED']
    assert len(generated) == 3
    for path, make in generated.items():
        assert path.read_text(encoding='utf-8') == make(), f'{path.name}: run make docs'


def test_parameter_file_holds_every_parameter_at_its_default(repository):
    file = yaml.safe_load((repository / 'config' / 'ood.yaml').read_text())
    parameters = file['/**']['ros__parameters']
    assert set(parameters) == set(SETTINGS)
    assert NodeSettings(**parameters) == NodeSettings()
    # ROS takes the type from the text: 1 for a double would be refused.
    kinds = {name: type(default) for name, default in SETTINGS.items()}
    assert {
        name: tuple if type(value) is list else type(value) for name, value in parameters.items()
    } == kinds


def table_rows(text):
    """Yield the rows of the tables of a document as {heading: cell}."""
    heading = None
    for line in text.splitlines():
        if not line.startswith('|'):
            heading = None
            continue
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if heading is None:
            heading = cells
        elif not set(line) <= set('|-: '):
            yield dict(zip(heading, cells, strict=False))


def test_every_default_in_a_table_is_the_one_in_the_code(documents, generate):
    compared = 0
    for name, text in documents.items():
        for row in table_rows(text):
            parameter = row.get('parameter', '').strip('`')
            if 'default' in row and parameter in SETTINGS:
                default = generate['to_yaml_value'](SETTINGS[parameter])
                assert row['default'] == f'`{default}`', f'{name}: {parameter}'
                compared += 1
    assert compared >= len(SETTINGS)


def test_documents_name_only_arguments_and_parameters_that_exist(repository, documents):
    launch = ''.join(path.read_text() for path in (repository / 'launch').glob('*.launch.py'))
    known = set(LAUNCH_ARGUMENT.findall(launch)) | set(SETTINGS)
    assert len(known) > len(SETTINGS)
    ros_own = {'__ns', '__node', 'image', 'camera_info'}
    ros_own |= {'enable_sync', 'cloud_in'}  # of the RealSense driver and of octomap_server
    for name, text in documents.items():
        for block in code_blocks(text):
            for argument in re.findall(r'\s(?:-p )?([a-z_]+):=', block):
                assert argument in known | ros_own, f'{name}: {argument}:='
            for argument in re.findall(r'ros2 param (?:set|get) \S+ (\w+)', block):
                assert argument in SETTINGS, f'{name}: {argument}'


def test_documents_name_every_topic_and_no_other(repository, documents, generate):
    created = set(PICTURES)
    for room in ('publishers', 'places/obstacles'):
        text = (repository / f'meta_ood_ros/node/{room}.py').read_text()
        created |= set(re.findall(r"create\(\s*'(\w+)'", text))
    assert {'segments', 'entropy', 'label_info'} <= created
    assert set(generate['TYPES']) == set(generate['MEANING']) == created | {'/diagnostics'}
    for name, text in documents.items():
        for topic in re.findall(r'`~/(\w+)`', text):
            assert topic in created, f'{name}: ~/{topic}'


# ---- commands and links ----


def code_blocks(text):
    return re.findall(r'^```\w*\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def test_fences_are_closed(documents):
    for name, text in documents.items():
        assert len(re.findall(r'^```', text, re.MULTILINE)) % 2 == 0, name


def test_make_targets_that_documents_name_exist(repository, documents):
    targets = set(re.findall(r'^([a-z]+):', (repository / 'Makefile').read_text(), re.MULTILINE))
    assert {'demo', 'test', 'lint', 'bench', 'docs', 'clean'} <= targets
    named = set()
    for text in documents.values():
        for block in [*code_blocks(text), *re.findall(r'`([^`\n]+)`', text)]:
            named.update(re.findall(r'(?:^|\s)make ([a-z]+)', block))
    assert {'demo', 'test'} <= named <= targets


def test_readme_shows_what_continuous_integration_runs(repository):
    commands = re.findall(r'^make .+$', (repository / '.ci' / 'run').read_text(), re.MULTILINE)
    assert commands == ['make test', 'make lint', 'make test ROS=jazzy']
    readme = (repository / 'README.md').read_text()
    assert all(command in readme for command in commands)


def anchors(text):
    titles = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_links_lead_somewhere(repository, documents):
    for name, text in documents.items():
        for target in re.findall(r'\]\(([^)\s]+)\)', text):
            if re.match(r'https?://|mailto:', target):
                continue
            file, _, anchor = target.partition('#')
            path = (repository / name).parent / file if file else repository / name
            assert path.exists(), f'{name}: {target}'
            if anchor:
                assert anchor in anchors(path.read_text()), f'{name}: {target}'


def test_files_that_documents_name_exist(repository, documents, tracked):
    pattern = re.compile(
        r'`((?:meta_ood_ros|config|launch|tests|docs|training|benchmarks|ros2_ws|soak)/[\w./-]+\.\w+)`'
    )
    for name, text in documents.items():
        for path in pattern.findall(text):
            assert (repository / path).exists(), f'{name}: {path}'


def test_modules_that_documents_run_exist(documents):
    ours = r'-m\s+((?:meta_ood_ros|meta_ood_training|benchmarks|soak)[\w.]*\w)'
    # a bundle's commands are those of the revision that it states, and its sums hold them
    named = {module: name for name, text in documents.items() for module in re.findall(ours, text)}
    assert len(named) > 5
    for module, name in named.items():
        found = find_spec(module)
        assert found, f'{name}: {module}'
        if found.submodule_search_locations:
            assert find_spec(f'{module}.__main__'), f'{name}: {module}'


def test_python_in_documents_compiles(documents):
    for name, text in documents.items():
        for block in re.findall(r'^```python\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
            compile(block, name, 'exec')


# ---- what must not be said ----


def test_no_file_names_a_path_of_the_machine_it_was_written_on(tracked):
    # Put together here so that this file does not find itself.
    places = [
        '/' + place + '/' for place in ('work', 'root', 'home/' + 'runner', 'tmp/' + 'brief')
    ]
    for name, text in tracked.items():
        for place in places:
            assert not re.search(rf'(?<![\w.>}}]){place}', text), f'{name}: {place}'


def test_no_file_pins_a_package_registry(tracked):
    hosts = ['pypi' + '.org', 'python' + 'hosted.org', '--extra-' + 'index-url']
    for name, text in tracked.items():
        assert not [host for host in hosts if host in text], name


def test_a_committed_bundle_is_small(repository):
    bundles = [
        path for path in (repository / 'meta_ood_ros' / 'bundles').iterdir() if path.is_dir()
    ]
    assert bundles
    for bundle in bundles:
        assert sum(file.stat().st_size for file in bundle.iterdir()) <= 16 * 2**20, bundle.name
