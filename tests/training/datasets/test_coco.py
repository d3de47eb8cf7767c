"""COCO annotations -> masks and proxies: hand-made cases, rules and counts."""

import itertools
import json

import cv2
from meta_ood_training.datasets import (
    CocoOod,
    CocoRules,
    find_coco_objects,
    find_ecssd_objects,
    find_street_objects,
    Folder,
    IGNORED,
    informative_rules,
    OOD,
    PUBLISHED_RULES,
    source_split,
)
from meta_ood_training.datasets.coco.run_lengths import decode_segmentation, encode_mask
import numpy as np
import pytest
from skimage.draw import polygon2mask


def compress(counts):
    """Write counts as COCO does, from the description of the format alone."""
    text = ''
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            digit, value = value & 31, value >> 5
            is_last = (value == 0 and not digit & 16) or (value == -1 and digit & 16)
            text += chr(48 + digit + (0 if is_last else 32))
            if is_last:
                break
    return text


def decode_counts(counts, size):
    return decode_segmentation({'size': list(size), 'counts': counts}, size)


def test_run_lengths_go_down_the_columns():
    mask = decode_counts([1, 2, 3], (2, 3))
    np.testing.assert_array_equal(mask, [[0, 1, 0], [1, 0, 0]])
    assert encode_mask(mask) == {'size': [2, 3], 'counts': b'123'}
    starts_set = np.array([[True, False]])
    assert encode_mask(starts_set)['counts'] == b'011'
    np.testing.assert_array_equal(decode_counts([0, 1, 1], (1, 2)), starts_set)
    with pytest.raises(ValueError, match='add up to 2 x 3 = 6 pixels, got a sum of 5'):
        decode_counts([1, 4], (2, 3))


def test_compressed_counts_by_hand():
    # 6 = one digit; 100 = 0b00011_00100: digit 4 and more -> 48 + 36 = 'T', then 3 -> '3'.
    assert not decode_counts('6', (2, 3)).any()
    assert not decode_counts('T3', (10, 10)).any()
    # 16 needs a second digit, because bit 16 of the last is the sign: 48 + 48 = '`', '0'.
    assert not decode_counts('`0', (16, 1)).any()
    # The fourth number is a difference from the second: 5 + (-1), -1 = digit 31 -> 'O'.
    np.testing.assert_array_equal(
        decode_counts('651O', (16, 1))[:, 0], np.repeat([0, 1, 0, 1], [6, 5, 1, 4])
    )


@pytest.mark.parametrize('seed', range(5))
def test_compressed_counts_invert_the_format(seed):
    rng = np.random.default_rng(seed)
    mask = cv2.GaussianBlur(rng.random((40, 50)), (0, 0), 3) > 0.5
    column = mask.ravel(order='F')
    changes = np.flatnonzero(np.diff(column, prepend=False))
    counts = np.diff(np.concatenate([[0], changes, [column.size]])).tolist()
    assert encode_mask(mask) == {'size': [40, 50], 'counts': compress(counts).encode()}
    for written in (counts, compress(counts), compress(counts).encode()):
        np.testing.assert_array_equal(decode_counts(written, (40, 50)), mask)


@pytest.mark.parametrize(
    ('counts', 'message'),
    [
        ('6!', r"characters '0' to 'o', got '!'"),
        ('\xff', "characters '0' to 'o', got"),
        (b'\xff', "characters '0' to 'o', got"),
        ('T', "must end with a last digit, got 'T'"),
        ('', "must end with a last digit, got ''"),
        ('oooooooo0', 'numbers of at most 6 digits'),
        ('123', "add up to 4 x 4 = 16 pixels, got '123', which do not"),
        ('`01', "add up to 4 x 4 = 16 pixels, got '`01', which do not"),
        ('O`0', 'non-negative and add up'),
        ([3, 2], 'got a sum of 5'),
        ([3, 2**33], 'got a sum of 8.58993e'),
        ([-3, 19], 'non-negative and add up to 4 x 4 = 16 pixels, got a sum of 16'),
        ([3.5, 12.5], 'got a sum of 16'),
        ([10**400], 'got a sum of nan'),
        ([], 'got a sum of 0'),
        ([[4, 12]], 'got a sum of 16'),
        (['a'], 'got a sum of nan'),
        (None, 'got a sum of nan'),
        ({}, 'got a sum of nan'),
        (16, 'got a sum of 16'),
    ],
)
def test_damaged_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        decode_counts(counts, (4, 4))


@pytest.mark.parametrize('size', [[2, 2], None, 4, '44', [4], [4, None]])
def test_run_lengths_of_another_size_are_refused(size):
    with pytest.raises(ValueError, match=r'size of the run lengths must be \[4, 4\]'):
        decode_segmentation({'size': size, 'counts': [16]}, (4, 4))


# What C code would wait for, read beyond or draw wrongly comes no further than the check.
@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ([[0, 0, 1, 1]], 'at least 3 corners, got 2'),
        ([[]], 'at least 3 corners, got 0'),
        ([0, 0, 4, 0, 4, 4], r'must be a list \[x0, y0, .* of polygons, got 0. Write \[\[x0, y0'),
        ([[0, 0, 4, 0, 4, 4, 1]], r'must be a list \[x0, y0, x1'),
        ([[[0, 0], [4, 0], [4, 4]]], r'must be a list \[x0, y0, x1'),
        ([['a', 0, 4, 0, 4, 4]], r'must be a list \[x0, y0, x1'),
        ([None], r'must be a list \[x0, y0, x1'),
        ([[0, 0, float('nan'), 0, 4, 4]], 'within 100000 px of the image, got nan'),
        ([[0, 0, float('inf'), 0, 4, 4]], 'within 100000 px of the image, got inf'),
        ([[0, 0, 1e9, 0, 4, 4]], r'within 100000 px of the image, got 1e\+09'),
        (None, 'must be a list of polygons or a mapping with run lengths, got None'),
        ('6', "must be a list of polygons or a mapping with run lengths, got '6'"),
        (7, 'must be a list of polygons or a mapping with run lengths, got 7'),
    ],
)
def test_damaged_polygons_are_refused(segmentation, message):
    with pytest.raises(ValueError, match=message):
        decode_segmentation(segmentation, (4, 4))


@pytest.mark.parametrize('size', [(0, 4), (4, -4), (2**20, 2**20)])
def test_images_of_no_or_of_too_many_pixels_are_refused(size):
    with pytest.raises(ValueError, match=r'must have 1 to 268435456 pixels, got .* x '):
        decode_segmentation([[0, 0, 4, 0, 4, 4]], size)


def test_polygons_by_hand():
    rectangle = decode_segmentation([[1, 1, 4, 1, 4, 3, 1, 3]], (5, 6))
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(rectangle, expected)
    # A right triangle with legs of 4: COCO gives the centres on the diagonal to the lower left.
    triangle = decode_segmentation([[0, 0, 4, 4, 0, 4]], (4, 4))
    np.testing.assert_array_equal(triangle, np.tril(np.ones((4, 4))))
    # Two that share the diagonal share no pixel and leave none.
    other = decode_segmentation([[0, 0, 4, 0, 4, 4]], (4, 4))
    np.testing.assert_array_equal(triangle ^ other, np.ones((4, 4)))
    outside = decode_segmentation([[-5, -5, 9, -5, 9, 2, -5, 2]], (4, 4))
    np.testing.assert_array_equal(outside.any(axis=1), [1, 1, 0, 0])
    both = decode_segmentation([[0, 0, 4, 4, 0, 4], [0, 0, 4, 0, 4, 4]], (4, 4))
    assert both.all()
    assert not decode_segmentation([], (4, 4)).any()
    assert not decode_segmentation([[0, 0, 1, 1, 3, 3]], (4, 4)).any()  # without an area


@pytest.mark.parametrize('seed', range(4))
def test_polygon_agrees_with_scikit_image(seed):
    corners = np.random.default_rng(seed).uniform(-30, 330, (7, 2))
    mask = decode_segmentation([corners.ravel().tolist()], (300, 300))
    # scikit-image asks for (row, column) and puts pixel centres on whole numbers
    expected = polygon2mask((300, 300), corners[:, ::-1] - 0.5)
    assert (mask != expected).mean() < 0.001  # centres close to an edge


SUPERCATEGORIES = {
    1: ('person', 'person'),
    7: ('train', 'vehicle'),
    16: ('bird', 'animal'),
    52: ('banana', 'food'),
    **{n: (name, 'known') for n, name in ((2, 'bicycle'), (3, 'car'), (4, 'motorcycle'))},
    **{n: (name, 'known') for n, name in ((6, 'bus'), (8, 'truck'), (10, 'traffic light'))},
    13: ('stop sign', 'known'),
    64: ('potted plant', 'furniture'),
}


@pytest.fixture
def coco(tmp_path):
    """Ten images of 100 x 100 with strips of the stated categories and widths."""
    strips = {
        1: [(16, 50, 0)],
        2: [(16, 10, 0), (52, 30, 50)],
        3: [(1, 10, 0), (16, 50, 50)],
        4: [(7, 60, 0)],
        5: [],
        6: [(52, 90, 0)],
        7: [(52, 20, 0)],
        8: [(52, 80, 0)],
        9: [(16, 40, 30)],
    }
    (tmp_path / 'train2017').mkdir()
    images, annotations = [], []
    for number, content in strips.items():
        height = 50 if number == 7 else 100
        name = f'{number:012d}.jpg'
        pixels = np.full((height, 100, 3), number, np.uint8)
        cv2.imwrite(str(tmp_path / 'train2017' / name), pixels)
        images.append({'id': number, 'file_name': name, 'height': height, 'width': 100})
        for category, width, left in content:
            right = left + width
            polygon = [[left, 0, right, 0, right, height, left, height]]
            if number == 9:  # away from the border
                polygon = [[left, 20, right, 20, right, 80, left, 80]]
            entry = {'image_id': number, 'category_id': category, 'segmentation': polygon}
            if number == 2:  # one written with ids as text and run lengths
                runs = {
                    'size': [100, 100],
                    'counts': [100 * left, 100 * width, 100 * (100 - right)],
                }
                entry = {'image_id': '2', 'category_id': str(category), 'segmentation': runs}
                entry['iscrowd'] = '1'
            annotations.append(entry)
    content = {
        'images': images,
        'annotations': annotations,
        'categories': [
            {'id': number, 'name': name, 'supercategory': group}
            for number, (name, group) in SUPERCATEGORIES.items()
        ],
    }
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))
    return tmp_path


def numbers(dataset):
    return [int(name) for name in dataset.names]


def test_rules_say_what_each_removed_and_what_pixels_show(coco):
    dataset = CocoOod(coco, rules=CocoRules(min_height=60))
    assert numbers(dataset) == [1, 2, 6, 8, 9]
    report = dataset.report()
    assert (report.total, report.kept) == (9, 5)
    assert report.removed == {'known category': 2, 'size': 1, 'no instance': 1}
    animal, food = 5000 + 1000 + 2400, 3000 + 9000 + 8000
    assert report.pixel_share == pytest.approx(
        {'animal': animal / (animal + food), 'food': food / (animal + food)}
    )
    assert report.ood_share == pytest.approx((animal + food) / 50000)
    text = str(report)
    assert '5 of 9 images kept' in text
    assert 'removed by size: 1' in text
    assert 'food: 70.4%' in text


def test_the_authors_eight_forget_trains(coco):
    assert 4 not in numbers(CocoOod(coco))
    assert 4 in numbers(CocoOod(coco, rules=CocoRules(PUBLISHED_RULES.excluded_categories)))
    assert len(CocoOod(coco, rules=PUBLISHED_RULES)) == 0  # nothing reaches 480 px


def test_background_is_ignored_or_a_class(coco):
    sample = CocoOod(coco)[0]
    assert np.unique(sample.target).tolist() == [OOD, IGNORED]
    assert sample.target[0].tolist() == [OOD] * 50 + [IGNORED] * 50
    assert sample.image.mean() == pytest.approx(1, abs=0.5)
    road = CocoOod(coco, rules=CocoRules(background='class:road'))[0]
    assert road.target[0, 50:].tolist() == [0] * 50


def test_annotations_that_were_cut_off_are_named(coco):
    path = coco / 'annotations' / 'instances_train2017.json'
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match=r'instances_train2017.json must hold .* unpack it again'):
        CocoOod(coco)


def test_informative_subsets_are_cut_at_their_share(coco):
    low = CocoOod(coco, rules=informative_rules('L-20%'))
    high = CocoOod(coco, rules=informative_rules('M-80%'))
    assert numbers(low) == [5, 7]  # 0 and exactly 0.2
    assert numbers(high) == [6, 8]  # 0.9 and exactly 0.8
    np.testing.assert_allclose(high.shares(), [0.9, 0.8])
    kept = CocoRules(excluded_categories=('person',), background='class:road')
    assert informative_rules('M-80%', kept).excluded_categories == ('person',)
    with pytest.raises(ValueError, match="must be 'L-20%' or 'M-80%', got 'L-30%'"):
        informative_rules('L-30%')


def test_objects_to_paste_are_whole_and_unknown(coco):
    (found,) = find_coco_objects(coco)  # all other strips touch the border
    assert (found.category, found.area, found.box) == ('bird', 2400, (60, 40))
    assert found.group == 'coco/000000000009'
    cut_out = found.load()
    assert cut_out.mask.all()
    assert cut_out.corner == (20, 30)
    assert cut_out.image.shape == (60, 40, 3)
    assert find_coco_objects(coco, min_area=2401) == ()
    assert find_coco_objects(coco, known_categories=('bird',)) == ()


def test_what_does_not_fit_is_refused(coco):
    with pytest.raises(ValueError, match=r"must be COCO categories, got \['cow'\]"):
        CocoOod(coco, rules=CocoRules(('cow',)))
    with pytest.raises(ValueError, match=r'0 <= min <= max <= 1, got 80 and 1.0'):
        CocoRules(min_share=80)
    with pytest.raises(ValueError, match="background must be 'ignore' or"):
        CocoRules(background='road')
    (coco / 'train2017' / '000000000001.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'the 9 images .* got 1 less: 000000000001'):
        CocoOod(coco)
    annotations = coco / 'annotations' / 'instances_train2017.json'
    annotations.write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"got KeyError\('categories'\). Captions"):
        CocoOod(coco)
    annotations.unlink()
    with pytest.raises(FileNotFoundError, match='Unpack annotations_trainval2017.zip there'):
        CocoOod(coco)
    with pytest.raises(FileNotFoundError, match='COCO expects images in .*val2017'):
        CocoOod(coco, 'val2017')


def test_splits_by_source_are_fixed_disjoint_and_of_the_stated_size(coco):
    names = [f'{number:04d}' for number in range(4000)]
    share = {split: 0 for split in ('train', 'select', 'test')}
    for name in names:
        share[source_split('ecssd', name)] += 1 / len(names)
    assert share == pytest.approx({'train': 0.65, 'select': 0.10, 'test': 0.25}, abs=0.02)
    # Frozen: a change of the rule would paste in test what older models have trained on.
    ecssd = [source_split('ecssd', name) for name in names[4:12]]
    assert ecssd == ['train', 'test', 'test', 'train', 'train', 'train', 'train', 'train']
    parts = [numbers(CocoOod(coco, split=split)) for split in ('train', 'select', 'test')]
    assert sorted(itertools.chain(*parts)) == numbers(CocoOod(coco))


def test_real_annotations_build_proxies(shared_data):
    dataset = CocoOod(shared_data / 'coco_subset')
    report = dataset.report()
    assert report.total == 100
    assert report.kept == len(dataset) == 39
    assert sum(report.pixel_share.values()) == pytest.approx(1)
    ecssd = {
        split: find_ecssd_objects(shared_data / 'ood_proxy_ecssd', split=split)
        for split in ('train', 'select', 'test')
    }
    groups = [{source.group for source in sources} for sources in ecssd.values()]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert min(map(len, groups)) > 10


def test_street_objects_in_full_view_only(tmp_path):
    target = np.zeros((60, 90), np.uint8)
    target[10:30, 10:30] = 13  # a car in full view
    target[35:55, 10:30] = 13  # a car behind a person
    target[40:55, 30:35] = 11
    target[35:55, 70:90] = 13  # a car cut by the border
    target[5:25, 50:70] = 13  # two cars that make an L
    target[5:18, 57:70] = 0
    for part, image in (('images', np.zeros((60, 90, 3), np.uint8)), ('labels', target)):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / 'a.png'), image)
    ((source, train_id),) = find_street_objects(Folder(tmp_path))
    assert (source.category, train_id, source.area) == ('car', 13, 400)
    assert source.load().corner == (10, 10)
