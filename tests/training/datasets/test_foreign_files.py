"""Data as other tools write them: read, or refused by name; never taken for something else."""

import json
from pathlib import Path
import shutil

import cv2
from meta_ood_training.datasets import (
    Cityscapes,
    CocoOod,
    CocoRules,
    find_coco_objects,
    Fishyscapes,
    Folder,
    LostAndFound,
    OOD,
    RoadAnomaly,
    SegmentMeIfYouCan,
)
from meta_ood_training.datasets.coco.run_lengths import tidy_segmentation
from meta_ood_training.datasets.label_image import read_label
import numpy as np
from PIL import Image
import pytest

SQUARE = [10, 10, 60, 10, 60, 60, 10, 60]
VALUES = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)


@pytest.fixture
def case(cases_dir):
    """Return a function that finds a folder of inputs as they were met."""
    return cases_dir.joinpath


def write_coco(root, annotations, categories=None, size=(80, 100), images=2, **changes):
    """Write images of 80 x 100 px with an annotation file beside them."""
    root.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(1, images + 1):
        name = f'{number}.png'
        cv2.imwrite(str(root / name), np.full((*size, 3), number, np.uint8))
        entry = {'id': number, 'file_name': name, 'height': 80, 'width': 100}
        entries.append({**entry, **changes})
    content = {
        'images': entries,
        'annotations': annotations,
        'categories': categories or [{'id': 7, 'name': 'pallet'}],
    }
    (root / 'labels.json').write_text(json.dumps(content))
    return root


def square(number, image=1, **changes):
    entry = {'id': number, 'image_id': image, 'category_id': 7, 'segmentation': [SQUARE]}
    return {**entry, **changes}


# -------------------------------------------------------------------------- COCO of other tools


@pytest.mark.parametrize('size', [(40, 50), (160, 200), (100, 80)])
def test_coco_images_of_another_size_are_refused(tmp_path, size):
    write_coco(tmp_path, [square(1)], size=size)
    message = (
        rf'1.png must have the 80 x 100 px that its annotations state, got {size[0]} x {size[1]}'
    )
    for read in (CocoOod, find_coco_objects):
        with pytest.raises(ValueError, match=message):
            read(tmp_path)


def test_a_single_resized_image_is_refused_when_it_is_read(tmp_path):
    write_coco(tmp_path, [square(number, number) for number in range(1, 71)], images=70)
    dataset, found = CocoOod(tmp_path), find_coco_objects(tmp_path)
    cv2.imwrite(str(tmp_path / '2.png'), np.zeros((40, 50, 3), np.uint8))
    with pytest.raises(ValueError, match=r'2.png must have the 80 x 100 px'):
        dataset[dataset.names.index('2')]
    with pytest.raises(ValueError, match=r'2.png must have the 80 x 100 px'):
        next(one for one in found if one.image.name == '2.png').load()


@pytest.mark.parametrize('name', ['images_half_size', 'images_double_size'])
def test_case_of_resized_coco_images(case, name):
    with pytest.raises(ValueError, match=r'must have the 360 x 480 px that its annotations state'):
        find_coco_objects(case(f'coco/{name}'))


@pytest.mark.parametrize(
    'name', ['good', 'supercategory_null', 'supercategory_missing', 'polygon_flat']
)
def test_case_of_coco_that_can_be_read(case, name):
    root = case(f'coco/{name}')
    found = find_coco_objects(root)
    assert [(one.category, one.box) for one in found] == [('dog', (120, 120))] * 4
    assert [(image.target == OOD).sum() for image in CocoOod(root)] == [14400] * 4
    assert sum(CocoOod(root).report().pixel_share.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('category_unknown', r'a category that is not listed \(category 99\)'),
        ('segmentation_null', r'no segmentation \(image 1\)'),
        ('polygon_two_points', r'polygons of fewer than 3 corners \(image 1\)'),
    ],
)
def test_case_of_coco_that_holds_no_mask(case, name, reason):
    message = (
        rf'instances_train2017.json must .* got 4 that cannot be used: annotation 1 has {reason}'
    )
    for read in (CocoOod, find_coco_objects):
        with pytest.raises(ValueError, match=message):
            read(case(f'coco/{name}'))


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'category_id': 99}, 'a category that is not listed'),
        ({'image_id': 99}, 'an image that is not listed'),
        ({'segmentation': None}, 'no segmentation'),
        ({'segmentation': []}, 'no segmentation'),
        ({'segmentation': [[1, 2, 3, 4]]}, 'polygons of fewer than 3 corners'),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(tmp_path, changes, reason):
    write_coco(tmp_path, [square(1, 1), square(2, 2), {**square(3, 2), **changes}])
    with pytest.warns(
        UserWarning,
        match=rf'1 annotations cannot .*1 with {reason}\); the first: '
        'annotation 3 has',
    ):
        found = find_coco_objects(tmp_path)
    assert [one.group for one in found] == ['coco/1', 'coco/2']
    with pytest.warns(UserWarning, match='labels.json: 1 annotations cannot be used'):
        dataset = CocoOod(tmp_path)
    # The rest of image 2 may show what the network knows: it is no proxy.
    assert dataset.names == (('1', '2') if 'image_id' in changes else ('1',))
    report = dataset.report()
    assert report.skipped == {reason: 1}
    assert f'annotations with {reason}: 1' in str(report)


def test_polygons_without_area_cost_themselves_alone(tmp_path):
    write_coco(tmp_path, [square(1, segmentation=[[0, 0, 5, 5], SQUARE])])
    assert find_coco_objects(tmp_path)[0].area == 2500


@pytest.mark.parametrize(
    'written',
    [
        SQUARE,
        [SQUARE],
        [SQUARE[i : i + 2] for i in range(0, 8, 2)],
        [[SQUARE[i : i + 2] for i in range(0, 8, 2)]],
    ],
)
def test_polygons_are_read_as_tools_nest_them(written):
    assert tidy_segmentation(written) == ('', [SQUARE])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'category_id': None}, r'labels.json: annotation 5 must have image_id, category_id'),
        ({'segmentation': [[1, 2, 3, 4, 5, 6, 7]]}, r'annotation 5 of 1.png: a polygon must be'),
        ({'segmentation': {'size': [1, 1], 'counts': [1]}}, r'annotation 5 of 1.png: size of the'),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path, changes, message):
    write_coco(tmp_path, [square(4, 2), square(5, **changes)])
    with pytest.raises(ValueError, match=message):
        find_coco_objects(tmp_path)


def test_categories_that_mean_two_things_are_refused(tmp_path):
    twice = [{'id': 7, 'name': 'pallet'}, {'id': '7', 'name': 'person'}]
    write_coco(tmp_path, [square(1)], twice)
    with pytest.raises(ValueError, match=r"category 7 must be one, got 'pallet' and 'person'"):
        find_coco_objects(tmp_path)
    write_coco(tmp_path, [square(1)], [{'id': 7, 'name': None}])
    with pytest.raises(ValueError, match='category 7 must have a name, got None'):
        find_coco_objects(tmp_path)
    write_coco(tmp_path, [square(1)], id=1)
    with pytest.raises(ValueError, match='image 1 must be one, got several of this id'):
        find_coco_objects(tmp_path)


def test_more_supercategories_than_a_byte_holds(tmp_path):
    categories = [{'id': number, 'name': f'thing {number:04d}'} for number in range(400)]
    write_coco(tmp_path, [square(1, category_id=300)], categories, images=1)
    dataset = CocoOod(tmp_path)
    assert (dataset[0].target == OOD).sum() == 2500
    assert dataset.report().pixel_share == {'thing 0300': 1.0}


def test_any_coco_file_is_found_with_its_images(tmp_path):
    root = write_coco(tmp_path / 'export', [square(1)], images=1, height=None)
    assert len(find_coco_objects(root / 'labels.json')) == len(find_coco_objects(root)) == 1
    (root / 'images').mkdir()
    (root / 'annotations').mkdir()
    (root / '1.png').rename(root / 'images' / '1.png')
    (root / 'labels.json').rename(root / 'annotations' / 'labels.json')
    (root / 'annotations' / '._labels.json').write_bytes(b'\0')
    assert find_coco_objects(root)[0].image == root / 'images' / '1.png'
    (root / 'images' / '1.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'1 images of labels.json in one of .* got 1 less'
    ):
        find_coco_objects(root)
    (root / 'other.json').write_text('{}')
    with pytest.raises(FileNotFoundError, match=r'expects one .json in .* got labels.json, other'):
        find_coco_objects(root)


def test_known_categories_are_known_however_they_are_written(tmp_path):
    categories = [{'id': 7, 'name': 'Traffic_Light'}]
    write_coco(tmp_path, [square(1)], categories)
    assert len(CocoOod(tmp_path)) == 0
    assert find_coco_objects(tmp_path) == ()
    assert len(CocoOod(tmp_path, rules=CocoRules(('person',)))) == 1


# --------------------------------------------------------------------------------- label images


def save(path, image, **options):
    image.save(path, **options)
    return read_label(path)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_labels_of_few_bits_and_of_a_palette_are_what_the_file_says(tmp_path, bits):
    values = VALUES & 2**bits - 1
    palette = Image.fromarray(values, 'P')
    palette.putpalette([200, 10, 10, 0, 0, 0, 9, 9, 9, 255, 255, 255])
    np.testing.assert_array_equal(save(tmp_path / 'p.png', palette, bits=bits), values)
    (tmp_path / 'g.png').write_bytes(grey_png(values, bits))
    np.testing.assert_array_equal(read_label(tmp_path / 'g.png'), values)


def grey_png(values, bits):
    """Write a grey PNG of few bits, from the description of the format alone."""
    import struct
    import zlib

    def chunk(kind, content):
        check = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + check

    height, width = values.shape
    rows = b''
    for row in values:
        text = ''.join(f'{value:0{bits}b}' for value in row)
        text += '0' * (-len(text) % 8)
        rows += b'\0' + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    header = struct.pack('>IIBBBBB', width, height, bits, 0, 0, 0, 0)
    parts = (b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


def test_alpha_channels_equal_channels_and_sixteen_bits(tmp_path):
    grey = Image.fromarray(VALUES)
    for mode in ('LA', 'RGB', 'RGBA'):
        np.testing.assert_array_equal(save(tmp_path / 'a.png', grey.convert(mode)), VALUES)
    wide = Image.fromarray(VALUES.astype(np.uint16))
    np.testing.assert_array_equal(save(tmp_path / 'w.png', wide), VALUES)
    with pytest.raises(ValueError, match=r'one 8-bit channel, got \(2, 4\) uint16 up to 768'):
        save(tmp_path / 'w.png', Image.fromarray(VALUES.astype(np.uint16) * 256))
    see_through = grey.convert('LA')
    see_through.putalpha(Image.fromarray(VALUES))
    with pytest.raises(ValueError, match='label image without transparent pixels, got some'):
        save(tmp_path / 'a.png', see_through)
    with pytest.raises(ValueError, match=r'A coloured picture is not a label'):
        save(tmp_path / 'a.png', Image.fromarray(np.eye(3, dtype=np.uint8)[VALUES % 3]))
    np.testing.assert_array_equal(
        save(tmp_path / 'a.webp', grey.convert('RGB'), lossless=True), VALUES
    )
    save(tmp_path / 'p.png', Image.fromarray(VALUES, 'P'))
    content = bytearray((tmp_path / 'p.png').read_bytes())
    content[-30:-14] = bytes(16)
    (tmp_path / 'p.png').write_bytes(content)
    with pytest.raises(ValueError, match='p.png must be a whole PNG, got'):
        read_label(tmp_path / 'p.png')


def write_folder(root, image='a.png', label='a.png'):
    for part, name in (('images', image), ('labels', label)):
        (root / part).mkdir(parents=True, exist_ok=True)
        shape = (16, 16, 3) if part == 'images' else (16, 16)
        pixels = Image.fromarray(np.zeros(shape, np.uint8))
        pixels.save(root / part / name)
    return root


@pytest.mark.parametrize('name', ['a.jpg', 'a.JPEG', 'a.webp'])
def test_lossy_labels_are_refused_before_anything_is_read(tmp_path, name):
    write_folder(tmp_path, label=name)
    with pytest.raises(ValueError, match=r'must be a lossless label image, got (JPEG|lossy WebP)'):
        Folder(tmp_path)


def test_jpeg_under_another_name_is_refused(tmp_path):
    write_folder(tmp_path, label='a.jpg')
    (tmp_path / 'labels/a.jpg').rename(tmp_path / 'labels/a.png')
    with pytest.raises(ValueError, match=r'a.png must be a lossless label image, got JPEG'):
        Folder(tmp_path)


def test_case_of_jpeg_labels(case):
    assert len(Folder(case('labels_png'))) == 4
    with pytest.raises(ValueError, match=r'f0.jpg must be a lossless label image, got JPEG'):
        Folder(case('labels_jpeg'))


def test_two_files_for_one_name_are_refused(tmp_path):
    write_folder(tmp_path / 'a')
    shutil.copy(tmp_path / 'a/images/a.png', tmp_path / 'a/images/a.bmp')
    with pytest.raises(
        ValueError, match=r'one file must have the name a, got .*a.bmp and .*a.png'
    ):
        Folder(tmp_path / 'a')
    write_folder(tmp_path / 'b')
    shutil.copy(tmp_path / 'b/labels/a.png', tmp_path / 'b/labels/a.bmp')
    with pytest.raises(ValueError, match=r'one file must have the name a, got .*labels/a.bmp and'):
        Folder(tmp_path / 'b')


def test_hidden_files_are_no_images(tmp_path):
    write_folder(tmp_path)
    for part in ('images', 'labels'):
        (tmp_path / part / '._a.png').write_bytes(b'\0\5\x16\7Mac OS X')
        (tmp_path / part / '.DS_Store').write_bytes(b'\0')
    assert Folder(tmp_path).names == ('a',)


def test_case_of_hidden_files(case):
    assert Folder(case('macos_dotfiles')).names == ('a',)


# --------------------------------------------------------------------------------- anomaly masks


def write_masks(root, values):
    write_folder(root, label='x.png')
    (root / 'labels_masks').mkdir()
    for folder, name in (('labels', 'a.png'), ('labels_masks', 'a_labels_semantic.png')):
        Image.fromarray(np.resize(np.array(values, np.uint8), (16, 16))).save(root / folder / name)
    (root / 'labels/x.png').unlink()
    return root


def test_masks_of_0_and_255_are_no_labels_of_road_anomaly(tmp_path):
    with pytest.raises(ValueError, match=r'values \[0, 255\]. Here 255 is void and 1 an anomaly'):
        RoadAnomaly(write_masks(tmp_path, [0, 255]))


@pytest.mark.parametrize('layout', [RoadAnomaly, SegmentMeIfYouCan])
def test_masks_that_mark_no_anomaly_are_refused(tmp_path, layout):
    assert (layout(write_masks(tmp_path / 'good', [0, 1, 255]))[0].target == OOD).any()
    with pytest.raises(ValueError, match=r'OoD pixels, got none in 1 labels, .* \[0\]. Check'):
        layout(write_masks(tmp_path / 'empty', [0]))


def test_masks_of_one_bit_mark_anomalies(tmp_path):
    root = write_masks(tmp_path, [0, 1])
    mask = Image.fromarray(np.resize([False, True], (16, 16)))
    mask.save(root / 'labels_masks/a_labels_semantic.png')
    assert (SegmentMeIfYouCan(root)[0].target == OOD).sum() == 128


def test_case_of_masks(case):
    expected = [(one.target == OOD).sum() for one in SegmentMeIfYouCan(case('smiyc_0_1'))]
    assert expected == [61817, 7365, 8521]
    bright = SegmentMeIfYouCan(case('smiyc_0_255'))
    assert bright.anomaly_value == 255
    assert [(one.target == OOD).sum() for one in bright] == expected


# ------------------------------------------------------- Cityscapes, LostAndFound, Fishyscapes


def draw(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)


def test_half_converted_labels_are_read_frame_by_frame(tmp_path):
    for name in 'ab':
        draw(tmp_path / f'leftImg8bit/train/x/{name}_leftImg8bit.png', 9)
        draw(tmp_path / f'gtFine/train/x/{name}_gtFine_labelIds.png', 26)
    draw(tmp_path / 'gtFine/train/x/a_gtFine_labelTrainIds.png', 13)
    draw(tmp_path / 'gtFine/train/x/._b_gtFine_labelTrainIds.png', 13)
    assert [sample.target[0, 0] for sample in Cityscapes(tmp_path)] == [13, 13]
    with pytest.raises(FileNotFoundError, match='1 without: b. Run createTrainIdLabelImgs'):
        Cityscapes(tmp_path, labels='labelTrainIds')
    draw(tmp_path / 'leftImg8bit/train/y/a_leftImg8bit.png', 9)
    with pytest.raises(ValueError, match=r'one file must have the name a, got'):
        Cityscapes(tmp_path)


def test_half_converted_obstacles_are_read_frame_by_frame(tmp_path):
    for name in 'ab':
        draw(tmp_path / f'leftImg8bit/test/x/{name}_leftImg8bit.png', 9)
        draw(tmp_path / f'gtCoarse/test/x/{name}_gtCoarse_labelIds.png', 5)
    draw(tmp_path / 'gtCoarse/test/x/a_gtCoarse_labelTrainIds.png', 2)
    assert [sample.target[0, 0] for sample in LostAndFound(tmp_path)] == [OOD, OOD]


def test_case_of_half_converted_labels(case):
    dataset = Cityscapes(case('cityscapes_half_converted'))
    assert [np.unique(sample.target).tolist() for sample in dataset] == [[0], [0]]


@pytest.mark.parametrize('frames', ['set', 'set/labels', 'beside'])
def test_fishyscapes_as_released_finds_its_frames(tmp_path, frames):
    labels = tmp_path / 'set' / ('labels' if frames == 'set/labels' else '')
    draw(labels / '0000_04_Weg_8_000000_000030_labels.png', 1)
    draw(labels / '0001_05_Weg_8_000001_000040_labels.png', 0)
    with pytest.raises(FileNotFoundError, match=r'got none, .* copy or link leftImg8bit of Lost'):
        Fishyscapes(tmp_path / 'set')
    root = tmp_path / ('' if frames == 'beside' else 'set') / 'leftImg8bit'
    draw(root / 'train/04_Weg/04_Weg_8_000000_000030_leftImg8bit.png', 9)
    with pytest.raises(FileNotFoundError, match=r'got 1 without: 05_.* copy or link leftImg8bit'):
        Fishyscapes(tmp_path / 'set')
    draw(root / 'test/05_Weg/05_Weg_8_000001_000040_leftImg8bit.png', 9)
    draw(root / 'test/05_Weg/05_Weg_8_000001_000050_leftImg8bit.png', 9)
    dataset = Fishyscapes(tmp_path / 'set')
    assert dataset.names == ('04_Weg_8_000000_000030', '05_Weg_8_000001_000040')
    assert (dataset[0].target == OOD).all()


def test_case_of_fishyscapes_as_downloaded(case):
    dataset = Fishyscapes(case('fishyscapes_as_downloaded'))
    assert dataset.names == ('04_Maurener_Weg_8_000000_000030',)
    assert isinstance(dataset.pairs[0].image, Path)
    assert (dataset[0].target == OOD).any()


def test_lossy_labels_in_other_clothes_are_refused(tmp_path):
    grey = Image.fromarray(VALUES)
    for compression, is_lossy in (('jpeg', True), ('tiff_lzw', False), (None, False)):
        path = tmp_path / f'{compression}.tif'
        grey.save(path, compression=compression)
        if is_lossy:
            with pytest.raises(
                ValueError, match='lossless label image, got a TIFF that holds JPEG'
            ):
                read_label(path)
        else:
            np.testing.assert_array_equal(read_label(path), VALUES)
    frames = [Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (3, 90)]
    frames[0].save(tmp_path / 'm.webp', save_all=True, append_images=frames[1:], quality=40)
    with pytest.raises(ValueError, match='lossless label image, got lossy WebP'):
        read_label(tmp_path / 'm.webp')


@pytest.mark.parametrize('orientation', [2, 3, 4])
def test_annotated_images_that_a_tag_turns_within_their_size_are_refused(tmp_path, orientation):
    write_coco(tmp_path, [square(1)])
    (source,) = find_coco_objects(tmp_path)
    content = np.zeros((80, 100, 3), np.uint8)
    content[:20, :20] = 255
    path, exif = tmp_path / '1.png', Image.Exif()  # JPEG inside: content counts, not the name
    for value in (orientation, 1):
        exif[0x0112] = value
        with path.open('wb') as stream:
            Image.fromarray(content).save(stream, 'JPEG', exif=exif)
        if value == 1:
            assert source.load().image[:5, :5].min() > 200
            assert len(CocoOod(tmp_path)) > 0
            continue
        for read in (source.load, lambda: CocoOod(tmp_path)):
            with pytest.raises(ValueError, match='orientation tag .EXIF. that turns or mirrors'):
                read()


def test_annotations_with_a_byte_order_mark_are_read(tmp_path):
    write_coco(tmp_path, [square(1)])
    path = next(tmp_path.rglob('*.json'))
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert len(find_coco_objects(tmp_path)) == 1
