"""Own classes from labels to the bundle's names: a run of five classes in small."""

from dataclasses import replace
from pathlib import Path

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.classes import CITYSCAPES_NAMES
from meta_ood_ros.core.image import to_network_input
from meta_ood_ros.core.networks import build_network
from meta_ood_training.datasets import (
    exported_classes,
    find_folder_objects,
    Folder,
    IGNORED,
    IN_DISTRIBUTION,
    OOD,
    open_dataset,
    read_classes,
)
from meta_ood_training.datasets.object_folder import open_object_folder
from meta_ood_training.finetuning.config import (
    FinetuneConfig,
    NetworkConfig,
    ObjectiveConfig,
    ProxyConfig,
    StreetConfig,
    ValidationConfig,
)
from meta_ood_training.finetuning.data.mixing import MixingSettings
from meta_ood_training.finetuning.data.street import open_objects, open_proxies, open_samples
from meta_ood_training.finetuning.loop.starting_network import open_network
from meta_ood_training.finetuning.loop.validation import ScoreSums, ValidationFrames
from meta_ood_training.finetuning.run_classes import find_run_classes
from meta_ood_training.finetuning.training_run import finetune, open_config
import numpy as np
import pytest
import torch

CONFIG = Path(__file__).parents[3] / 'config' / 'finetune_own_classes.yaml'
DEFAULT = CONFIG.parents[1] / 'meta_ood_ros' / 'bundles' / 'default'
TUTORIAL = CONFIG.parents[1] / 'docs' / 'own_classes.md'
NAMES = ('floor', 'wall', 'shelf', 'person', 'forklift')
COLORS = np.array([[110, 110, 115], [210, 205, 190], [30, 60, 160], [220, 60, 40], [240, 180, 0]])
IDS = (3, 7, 12, 24, 33)
CLASSES = """
classes:
  - {name: floor, color: [128, 64, 128], ids: [3, 4]}
  - {name: wall, color: [70, 70, 70], ids: [7]}
  - {name: shelf, color: [0, 0, 142], ids: [12]}
  - {name: person, color: [220, 20, 60], ids: [24]}
  - {name: forklift, ids: [33]}
ignore_ids: [0]
unknown_ids: [99]
"""


def write_warehouse(root, frames=20, seed=0):
    """Draw halls of five classes; label files hold ids of their own, as COCO or ADE do."""
    for kind in ('images', 'labels'):
        (root / kind).mkdir(parents=True)
    (root / 'classes.yaml').write_text(CLASSES)
    for number in range(frames):
        rng = np.random.default_rng((seed, number))
        label = np.zeros((64, 96), np.uint8)
        label[:26] = 1
        label[10:34, : int(rng.integers(15, 40))] = 2
        left = int(rng.integers(45, 85))
        label[20:44, left : left + 8] = 3
        label[36:58, 10 : int(rng.integers(25, 42))] = 4
        image = COLORS[label] + rng.normal(0, 8, (64, 96, 3))
        ids = np.array(IDS, np.uint8)[label]
        ids[:, -2:] = 0
        pixels = np.clip(image, 0, 255).astype(np.uint8)[..., ::-1]
        cv2.imwrite(str(root / 'images' / f'{number:03d}.png'), pixels)
        cv2.imwrite(str(root / 'labels' / f'{number:03d}.png'), ids)
    return root


def write_cut_outs(root, count=20):
    """Draw discs of loud colours on a transparent ground, cropped to their box."""
    root.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng((3, number))
        radius = int(rng.integers(20, 34))
        pixels = np.zeros((2 * radius + 1, 2 * radius + 1, 4), np.uint8)
        cv2.circle(pixels, (radius, radius), radius, (*rng.integers(0, 256, 3).tolist(), 255), -1)
        cv2.imwrite(str(root / f'{number:03d}.png'), pixels)
    return root


@pytest.fixture
def hall(tmp_path):
    """Return names of data: labelled halls and cut-outs."""
    return {
        'hall': str(write_warehouse(tmp_path / 'hall')),
        'things': str(write_cut_outs(tmp_path / 'things')),
    }


# --------------------------------------------------------------------------------- classes.yaml


def test_a_folder_is_read_through_its_table_of_ids(hall):
    dataset = Folder(hall['hall'])
    assert dataset.classes.names == NAMES
    assert np.unique(dataset[0].target).tolist() == [0, 1, 2, 3, 4, IGNORED]
    table = read_classes(Path(hall['hall']) / 'classes.yaml').complete()
    assert table == {
        3: 0,
        4: 0,
        7: 1,
        12: 2,
        24: 3,
        33: 4,
        0: IGNORED,
        99: OOD,
        IN_DISTRIBUTION: IN_DISTRIBUTION,
    }
    with pytest.raises(ValueError, match=r'must have the classes of the network, got 5 \(floor,'):
        open_dataset('folder', hall['hall'], num_classes=19)


def test_another_network_takes_the_classes_that_it_has_by_name(hall):
    target = open_dataset('folder', hall['hall'], class_names=CITYSCAPES_NAMES)[0].target
    wall, person = CITYSCAPES_NAMES.index('wall'), CITYSCAPES_NAMES.index('person')
    assert np.unique(target).tolist() == [wall, person, IN_DISTRIBUTION, IGNORED]


def test_values_that_are_not_listed_are_refused_or_ignored(hall):
    path = Path(hall['hall']) / 'classes.yaml'
    path.write_text(CLASSES.replace('[33]', '[34]'))
    with pytest.raises(ValueError, match=r'folder expects label values .*, got \[33\] in'):
        Folder(hall['hall'])[0]
    path.write_text(CLASSES.replace('[33]', '[34]') + 'other_ids: ignore\n')
    assert np.unique(Folder(hall['hall'])[0].target).tolist() == [0, 1, 2, 3, IGNORED]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('classes: [', 'must be a YAML file with classes, got'),
        ('[floor]', r'the whole file: .* It must hold classes: \[\{name: floor'),
        ('classes: [{name: a}]', 'classes must be 2 to 253, got 1. List all'),
        ('classes: [{name: a}, {name: a}]', "different names, got 'a' more than once"),
        ('classes: [{name: a}, {name: 3}]', r'classes.1.name: .* got 3'),
        ('classes: [{name: a}, {nmae: b}]', r'classes.1.nmae|classes.1.name'),
        ('classes: [{name: a, ids: [300]}, {name: b}]', r'lie in \[0, 255\].*, got 300'),
        ('classes: [{name: a, ids: [1]}, {name: b}]', 'mean one thing, got 1 for a and b'),
        ('classes: [{name: a}, {name: b}]\nignore_ids: [0]', 'got 0 for a and ignore_ids'),
        ('classes: [{name: a, color: [1, 2]}, {name: b}]', r'\[red, green, blue\] .* for a'),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, message):
    (tmp_path / 'classes.yaml').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_classes(tmp_path / 'classes.yaml')


def test_colours_are_chosen_where_none_are_given(tmp_path):
    names = [f'{{name: c{number}}}' for number in range(30)]
    (tmp_path / 'classes.yaml').write_text(f'classes: [{", ".join(names)}]')
    colors = read_classes(tmp_path / 'classes.yaml').colors
    assert len(set(colors)) == 30
    assert all(0 <= value <= 255 for color in colors for value in color)


def test_parts_of_a_folder_share_no_group_and_say_when_they_are_empty(hall, tmp_path):
    parts = [Folder(hall['hall'], part=part) for part in ('fit', 'select')]
    assert sorted([*parts[0].names, *parts[1].names]) == sorted(Folder(hall['hall']).names)
    assert 0 < len(parts[1]) < len(parts[0])
    write_warehouse(tmp_path / 'two', frames=1)
    with pytest.raises(ValueError, match=r'fit of .*two must hold images, got none of 1: too'):
        open_dataset('folder_fit', tmp_path / 'two')
    with pytest.raises(ValueError, match="part of folder must be one of all, fit, select, got 'x"):
        Folder(hall['hall'], part='x')


# ----------------------------------------------------------------------------------- own objects


def test_cut_outs_are_objects_and_proxies(hall):
    found = find_folder_objects(hall['things'])
    assert len(found) == 20
    cut_out = found[0].load()
    assert cut_out.mask.shape == found[0].box == found[0].size
    assert cut_out.mask.sum() == found[0].area
    assert len(np.unique(cut_out.image[cut_out.mask], axis=0)) == 1
    sample = open_object_folder(hall['things'])[0]
    assert (sample.target == OOD).sum() == found[0].area
    assert (sample.image == sample.image[cut_out.mask][0]).all()  # its ground is its mean colour
    parts = [find_folder_objects(hall['things'], split=one) for one in ('train', 'select')]
    assert sum(map(len, parts)) == 20
    assert parts[1]


def test_images_and_masks_are_objects_too(tmp_path):
    for kind in ('images', 'masks'):
        (tmp_path / kind).mkdir()
    for name, left in (('whole', 30), ('cut', 0)):
        mask = np.zeros((60, 100), np.uint8)
        mask[10:50, left : left + 40] = 255
        cv2.imwrite(str(tmp_path / f'masks/{name}.png'), mask)
        cv2.imwrite(str(tmp_path / f'images/{name}.jpg'), np.full((60, 100, 3), 9, np.uint8))
    (found,) = find_folder_objects(tmp_path)
    assert (found.name, found.area) == ('objects/whole', 1600)
    assert len(open_object_folder(tmp_path)) == 2


def test_pictures_without_a_cut_out_are_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match='expects .png with an alpha channel in .* neither'
    ):
        find_folder_objects(tmp_path)
    picture = np.full((40, 40, 4), 255, np.uint8)
    for pixels, message in (
        (picture, 'got no transparent pixel. Cut it out'),
        (picture * 0, 'got transparent pixels alone'),
        (picture[..., :3], r'must be a picture with an alpha channel .* got \(40, 40, 3\) uint8'),
    ):
        cv2.imwrite(str(tmp_path / 'a.png'), pixels)
        with pytest.raises(ValueError, match=message):
            find_folder_objects(tmp_path)


def test_coco_objects_that_are_named_like_a_class_are_known(cases_dir):
    data = {'coco': str(cases_dir / 'coco' / 'good')}
    config = ProxyConfig('coco', 'coco', split='all')
    for names, count in ((NAMES, 4), (('floor', 'Dog'), 0)):
        assert len(open_objects(config, data, names)) == len(open_proxies(config, data, names))
        assert len(open_objects(config, data, names)) == count
    known = replace(config, known_categories=('dog',))
    assert len(open_objects(known, data, NAMES)) == len(open_proxies(known, data, NAMES)) == 0
    misspelt = replace(config, known_categories=('dgo',))
    with pytest.raises(ValueError, match=r"excluded_categories must be COCO .* got \['dgo'\]"):
        open_proxies(misspelt, data, NAMES)


# ------------------------------------------------------------------------------------------ a run


def make_config(data, **changes):
    return FinetuneConfig(
        **{
            'network': NetworkConfig('espnet_v2', {'scale': 0.5}, 5),
            'street': (StreetConfig('folder_fit', 'hall'),),
            'objective': ObjectiveConfig(0.3),
            'objects': (ProxyConfig('folder', 'things'),),
            'mixing': MixingSettings(paste_probability=1.0),
            'validation': ValidationConfig(folder='hall', folder_part='select', objects='things'),
            'data': data,
            **changes,
        }
    )


def mean_iou(network, frames):
    """Count again, from the definition: |prediction and label| / |prediction or label|."""
    hits, union = np.zeros(5), np.zeros(5)
    labelled = np.zeros(5, bool)
    for frame in frames:
        x = to_network_input(frame.image, mean=network.input_mean, std=network.input_std)
        with torch.inference_mode():
            logits = torch.nn.functional.interpolate(
                network(x),
                frame.classes.shape,
                mode='bilinear',
                align_corners=network.align_corners,
            )
        predicted = logits[0].argmax(0).numpy()
        counts = frame.classes < 5
        for one in range(5):
            is_labelled, is_predicted = frame.classes == one, (predicted == one) & counts
            hits[one] += (is_labelled & is_predicted).sum()
            union[one] += (is_labelled | is_predicted).sum()
            labelled[one] |= is_labelled.any()
    return (hits[labelled] / union[labelled]).mean()


def test_the_tutorials_configuration_trains_validates_and_names_its_classes(
    hall, tmp_path, quiet, monkeypatch
):
    """docs/own_classes.md in small: config, best.pth by AP and mIoU, names for the bundle."""
    config = open_config(
        CONFIG,
        {**hall, 'start': str(DEFAULT)},
        [
            'training.max_steps=4',
            'training.batch_size=2',
            'training.workers=0',
            'augmentation.crop=48',
            'validation.short_side=64',
            'validation.frames=2',
            'validation.every_steps=2',
            'validation.mean_iou_loss=1.0',
        ],
    )
    output = tmp_path / 'runs' / 'own'
    finetune(config, output, **quiet)
    record = torch.load(output / 'best.pth', weights_only=True)
    network = build_network(config.network.architecture, num_classes=5, **config.network.arguments)
    network.load_state_dict(record['state_dict'])
    scores = record['scores']
    frames = ValidationFrames(config.validation, config.data, network.stride).frames
    assert scores['mean_iou'] == pytest.approx(mean_iou(network.eval(), frames), abs=0.01)
    assert 0 < scores['prevalence'] < 0.2
    assert 0 < scores['average_precision'] <= 1
    assert 0 <= scores['fpr95'] <= 1
    names, colors = exported_classes(record, 5)
    assert names == NAMES
    assert colors[:2] == ((128, 64, 128), (70, 70, 70))
    final = torch.load(output / 'final.pth', weights_only=True)
    assert final['classes'] == record['classes']
    monkeypatch.chdir(tmp_path)
    exec(_block('python'), {})
    bundle = load_bundle(tmp_path / 'bundles' / 'own')
    assert (bundle.class_names, bundle.class_colors) == (names, colors)
    assert bundle.build_network().num_classes == 5


def _block(language):
    return TUTORIAL.read_text().split(f'```{language}\n')[1].split('```')[0]


def test_the_tutorials_table_is_read(tmp_path):
    (tmp_path / 'classes.yaml').write_text(_block('yaml'))
    classes = read_classes(tmp_path / 'classes.yaml')
    assert classes.names == NAMES
    assert (classes.targets[4], classes.targets[254], classes.targets[0]) == (0, OOD, IGNORED)


def test_a_run_refuses_classes_that_do_not_fit(hall, tmp_path):
    config = make_config(hall)
    assert find_run_classes(config).names == NAMES
    with pytest.raises(
        ValueError, match=r'num_classes must be the 5 of classes.yaml in hall, got'
    ):
        open_samples(replace(config, network=NetworkConfig('espnet_v2', {}, 19)))
    other = write_warehouse(tmp_path / 'other', frames=1)
    (other / 'classes.yaml').write_text(CLASSES.replace('shelf', 'rack'))
    streets = (*config.street, StreetConfig('folder', 'other'))
    with pytest.raises(ValueError, match=r'same classes in the same order everywhere, got .*rack'):
        open_samples(replace(config, street=streets, data={**hall, 'other': str(other)}))
    rows = ''.join(f'  - {{name: c{number}}}\n' for number in range(19))
    (Path(hall['hall']) / 'classes.yaml').write_text(f'classes:\n{rows}other_ids: ignore\n')
    nineteen = replace(config, network=NetworkConfig('espnet_v2', {}, 19))
    scenes = (*config.street, StreetConfig('scenes'))
    with pytest.raises(ValueError, match=r'street of layout scenes has .* got one of 19 \(c0, c1'):
        open_samples(replace(nineteen, street=scenes))


@pytest.mark.parametrize(
    ('street', 'validation'),
    [
        (StreetConfig('folder', 'hall'), {'folder_part': 'select'}),
        (StreetConfig('folder_fit', 'hall'), {'folder_part': 'all'}),
        (StreetConfig('folder', 'same'), {'folder_part': 'all'}),
    ],
)
def test_what_trains_does_not_choose(hall, street, validation):
    data = {**hall, 'same': hall['hall']}
    selected = ValidationConfig(folder='hall', objects='things', **validation)
    with pytest.raises(ValueError, match='must not share images, got street of layout folder'):
        make_config(data, street=(street,), validation=selected)
    whole = (ProxyConfig('folder', 'things', split='all'),)
    with pytest.raises(ValueError, match='got objects of layout folder with split: all'):
        make_config(data, objects=whole)


def test_validation_frames_hold_class_ids_and_pasted_objects(hall):
    frames = ValidationFrames(make_config(hall).validation, hall, 16).frames
    assert [bool((frame.target == OOD).any()) for frame in frames[:2]] == [True, False]
    assert set(np.unique(frames[1].classes)) <= {0, 1, 2, 3, 4, IGNORED}
    with pytest.raises(ValueError, match=r'Name ecssd, coco or objects .* or folder, or leave'):
        ValidationFrames(ValidationConfig(folder='hall'), hall, 16)
    strange = replace(frames[1], classes=np.full_like(frames[1].classes, 7))
    network = build_network('espnet_v2', num_classes=5, scale=0.5)
    with pytest.raises(ValueError, match=r'classes of the network, 0 to 4, got 7 in \d+'):
        ScoreSums(5).add(strange, network, lambda images: images)


def test_a_new_head_keeps_all_other_weights(tmp_path):
    trained = build_network('espnet_v2', num_classes=19, scale=0.5)
    torch.save(trained.state_dict(), tmp_path / 'start.pth')
    data = {'start': str(tmp_path / 'start.pth')}
    config = NetworkConfig('espnet_v2', {'scale': 0.5}, 5, 'start', new_head=True)
    weights, before = open_network(config, data).state_dict(), trained.state_dict()
    kept = [name for name in weights if weights[name].shape == before[name].shape]
    assert 0 < len(weights) - len(kept) < len(weights) / 10
    assert all(torch.equal(weights[name], before[name]) for name in kept)
    with pytest.raises(ValueError, match='must have the shape'):
        open_network(replace(config, new_head=False), data)


@pytest.mark.parametrize('width', [0, 64])
def test_a_start_with_a_decoder_for_outliers_fits_networks_with_and_without(width):
    """As the bundle `default` has one."""
    name, arguments = 'deeplabv3plus_mobilenet_edgetpu', {'decoder_channels': 64}
    arguments |= {'is_centred': True, 'outlier_channels': width, 'outlier_strides': [16, 8, 4]}
    start = load_bundle(DEFAULT)
    config = NetworkConfig(name, arguments, 19, weights='start')
    network = open_network(config, {'start': str(DEFAULT)})
    expected = {
        key: value
        for key, value in start.weights.items()
        if width or not key.startswith('outlier.')
    }
    found = network.state_dict()
    assert set(expected) <= set(found)
    for key, value in expected.items():
        assert torch.equal(found[key], value.to(found[key].dtype)), key


@pytest.mark.parametrize(
    'other', [{'outlier_strides': [16]}, {'outlier_channels': 8}], ids=['maps', 'width']
)
def test_a_start_with_another_decoder_for_outliers_says_which_arguments(other):
    arguments = {**load_bundle(DEFAULT).arguments, **other}
    config = NetworkConfig('deeplabv3plus_mobilenet_edgetpu', arguments, 19, weights='start')
    with pytest.raises(ValueError, match=r'Copy the arguments of its bundle.yaml \(outlier_chan'):
        open_network(config, {'start': str(DEFAULT)})


def test_names_of_a_bundle_come_from_the_run_or_a_file(hall):
    given = Path(hall['hall']) / 'classes.yaml'
    assert exported_classes({}, 5, given)[0] == NAMES
    assert exported_classes({}, 19)[0] == tuple(CITYSCAPES_NAMES)
    for count, got in ((5, 'none'), (7, 'none')):
        with pytest.raises(
            ValueError, match=rf'name the {count} classes .* got {got}. Give class'
        ):
            exported_classes({}, count)
    with pytest.raises(ValueError, match='name the 19 classes of its network, got 5: floor'):
        exported_classes({}, 19, given)
