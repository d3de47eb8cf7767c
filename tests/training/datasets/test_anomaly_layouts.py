"""Layouts of OoD tests: redistributed masks, StreetHazards, BDD-Anomaly, and what is refused."""

import json

import cv2
from meta_ood_training.datasets import (
    BddAnomaly,
    Fishyscapes,
    IGNORED,
    IN_DISTRIBUTION,
    OOD,
    open_dataset,
    SegmentMeIfYouCan,
    StreetHazards,
)
import numpy as np
import pytest

SIZE = (4, 6)


def draw(path, values):
    """Write a label whose columns hold the values."""
    label = np.resize(np.array(values, np.uint8), SIZE[1])[None].repeat(SIZE[0], 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), label)


def photograph(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*SIZE, 3), 90, np.uint8))


def write_set(root, labels, ending='', suffixes=('.png', '.jpg', '.webp')):
    for number, values in enumerate(labels):
        photograph(root / f'images/{number}{suffixes[number % len(suffixes)]}')
        draw(root / f'labels_masks/{number}{ending}.png', values)
    return root


def columns(sample):
    return sample.target[0].tolist()


@pytest.mark.parametrize('ending', ['', '_labels_semantic'])
@pytest.mark.parametrize(
    ('labels', 'marker', 'void'),
    [
        ([[0, 0, 1], [0], [0, 1, 255]], 1, True),
        ([[0, 0, 2], [0], [0, 2, 255]], 2, True),
        ([[0, 0, 0, 255], [0], [0, 0, 255]], 255, False),
    ],
)
def test_which_value_marks_anomalies_is_found_and_said(tmp_path, labels, marker, void, ending):
    dataset = SegmentMeIfYouCan(write_set(tmp_path, labels, ending))
    assert dataset.names == ('0', '1', '2')
    assert dataset.anomaly_value == marker
    assert f'in these labels {marker} marks an anomaly' in dataset.region_of_interest
    assert ('255 is void' in dataset.region_of_interest) == void
    targets = {0: IN_DISTRIBUTION, 255: IGNORED, marker: OOD}
    for sample, values in zip(dataset, labels, strict=True):
        assert columns(sample) == [targets[value] for value in np.resize(values, SIZE[1])]


@pytest.mark.parametrize(
    'labels',
    [
        [[0, 1, 2]],
        [[0, 1], [0, 2]],
        [[0, 0, 7]],
        [[0, 255, 255]],  # most of it: as likely all but the road
        [[0, 0, 1], [0, 0, 0, 255]],  # two tools
    ],
)
def test_values_that_could_mean_several_things_are_refused(tmp_path, labels):
    with pytest.raises(ValueError, match=r'got the values \[0, .*\] in \d labels .*cannot be t'):
        SegmentMeIfYouCan(write_set(tmp_path, labels))


def test_a_folder_of_several_sets_is_named(tmp_path):
    write_set(tmp_path / 'fs_static', [[0, 1]])
    write_set(tmp_path / 'RoadAnomaly', [[0, 2]])
    with pytest.raises(FileNotFoundError, match='one of the sets RoadAnomaly, fs_static in it'):
        SegmentMeIfYouCan(tmp_path)


@pytest.mark.parametrize('layout', [SegmentMeIfYouCan, Fishyscapes])
def test_a_damaged_label_does_not_close_the_set(tmp_path, layout):
    parts = {SegmentMeIfYouCan: ('images', 'labels_masks'), Fishyscapes: ('original', 'labels')}
    images, labels = parts[layout]
    for number in range(3):
        photograph(tmp_path / images / f'{number}.png')
        draw(tmp_path / labels / f'{number}.png', [0, 1])
    damaged = tmp_path / labels / '0.png'
    damaged.write_bytes(damaged.read_bytes()[:40])
    dataset = layout(tmp_path)
    assert (dataset[1].target == OOD).any()
    with pytest.raises(ValueError, match=r'0\.png'):
        dataset[0]
    for number in (1, 2):
        (tmp_path / labels / f'{number}.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'0\.png'):
        layout(tmp_path)


def test_street_hazards_gives_train_ids_and_counts_the_sky(tmp_path):
    for town in ('t5', 't6'):
        photograph(tmp_path / f'test/images/test/{town}/300.png')
        draw(tmp_path / f'test/annotations/test/{town}/300.png', [1, 7, 8, 9, 11, 14])
    dataset = open_dataset('street_hazards', tmp_path)
    assert dataset.names == ('t5_300', 't6_300')
    assert dataset.groups == ('t5', 't6')
    assert columns(dataset[0]) == [IN_DISTRIBUTION, 0, 0, 1, 13, OOD]
    draw(tmp_path / 'test/annotations/test/t5/300.png', list(range(2, 8)))
    assert columns(StreetHazards(tmp_path / 'test')[0]) == [2, 4, IN_DISTRIBUTION, 11, 5, 0]
    draw(tmp_path / 'test/annotations/test/t5/300.png', [0, 14])
    with pytest.raises(ValueError, match=r'StreetHazards expects label values \[1, .*got \[0\]'):
        StreetHazards(tmp_path)[0]


def test_street_hazards_of_another_part_is_refused(tmp_path):
    photograph(tmp_path / 'images/training/t1/1.png')
    with pytest.raises(FileNotFoundError, match=r'expects one folder of images a town in .*test'):
        StreetHazards(tmp_path)


@pytest.mark.parametrize('kind', ['train_labels', 'labels'])
def test_bdd_anomaly_holds_the_images_with_unknown_classes(tmp_path, kind):
    more = 2 if kind == 'train_labels' else 0
    other = 1 if kind == 'train_labels' else 255
    known = [other, *(train_id + more for train_id in (0, 13, 11))]
    for name, values in {
        'train/a': [*known, 17 + more],
        'train/b': known,
        'val/c': [*known, 16 + more, 18 + more],
    }.items():
        photograph(tmp_path / f'seg/images/{name}.jpg')
        draw(tmp_path / f'seg/{kind}/{name}_train_id.png', values)
    photograph(tmp_path / 'seg/images/val/unlabelled.jpg')
    dataset = open_dataset('bdd_anomaly', tmp_path)
    assert dataset.names == ('a', 'c')
    assert columns(dataset[1]) == [IGNORED, 0, 13, 11, OOD, OOD]
    listed = [{'fpath_img': 'seg/images/val/c.jpg', 'dbName': 'BDD100k'}]
    for text in (json.dumps(listed), '\n'.join(map(json.dumps, listed))):
        (tmp_path / 'anom.odgt').write_text(text)
        assert BddAnomaly(tmp_path).names == ('c',)
    (tmp_path / 'anom.odgt').write_text('{"images": 1}')
    with pytest.raises(ValueError, match=r'anom.odgt must list records with fpath_img, got some'):
        BddAnomaly(tmp_path)


def test_bdd_anomaly_without_its_images_says_where_they_are(tmp_path):
    draw(tmp_path / 'seg/train_labels/val/a_train_id.png', [2, 19])
    with pytest.raises(FileNotFoundError, match='BDD-Anomaly expects train and val of BDD100K in'):
        BddAnomaly(tmp_path)
    (tmp_path / 'seg/images/val').mkdir(parents=True)
    (tmp_path / 'anom.odgt').write_text('[{"fpath_img": "seg/images/val/a.jpg"}]')
    with pytest.raises(FileNotFoundError, match='BDD-Anomaly expects images in .*, got none'):
        BddAnomaly(tmp_path)
