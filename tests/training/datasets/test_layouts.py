"""Every layout on a tiny generated tree: what comes out, and what is said when it does not fit."""

import json
import os

import cv2
from meta_ood_training.datasets import (
    CamVid,
    Cityscapes,
    Ecssd,
    Fishyscapes,
    Folder,
    IddLite,
    IGNORED,
    IN_DISTRIBUTION,
    LostAndFound,
    OOD,
    open_dataset,
    parse_dataset,
    RoadAnomaly,
    Sample,
    SegmentMeIfYouCan,
)
from meta_ood_training.datasets.idd_lite import allowed_table
from meta_ood_training.datasets.sources import source_split
import numpy as np
import pytest

SIZE = (4, 6)


def draw(path, values):
    """Write a label image whose left to right columns hold the values, and return its array."""
    label = np.resize(np.array(values, np.uint8), SIZE[1])[None].repeat(SIZE[0], 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), label)
    return label


def photograph(path, color=(10, 20, 30)):
    """Write an image of one colour, given as RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*SIZE, 3), color[::-1], np.uint8))


def columns(sample):
    return sample.target[0].tolist()


def test_camvid_gives_train_ids_groups_and_parts(tmp_path):
    for split in ('train', 'test'):
        for sequence, count in (('0006R0', 101), ('Seq05VD', 12)):
            for number in range(count):
                name = f'{sequence}_f{930 + 30 * number:05d}'
                photograph(tmp_path / split / 'images' / f'{name}.png')
                draw(tmp_path / split / 'labels' / f'{name}.png', [0, 1, 3, 8, 10, 255])
    dataset = CamVid(tmp_path, 'train')
    sample = dataset[0]
    assert columns(sample) == [10, 2, 0, 13, 18, IGNORED]
    assert sample.image[0, 0].tolist() == [10, 20, 30]
    assert dataset.groups[9:11] == ('0006R0_00', '0006R0_01')
    fit, select = CamVid(tmp_path, 'fit'), CamVid(tmp_path, 'select')
    assert (len(fit), len(select)) == (113 - 30, 26)  # 4 frames between belong to neither
    assert not set(fit.names) & set(select.names)
    assert select.names[0] == '0006R0_f03180'
    (tmp_path / 'train/images/0006R0_f00930.png').unlink()
    (tmp_path / 'train/labels/0006R0_f00930.png').unlink()
    assert CamVid(tmp_path, 'select').names == select.names  # a lacking frame moves no border
    assert len(CamVid(tmp_path, 'test_unseen')) == 12
    assert dataset.equivalent_predictions == {12: 18}
    assert len(dataset.select(lambda pair: pair.group == 'Seq05VD_00')) == 10


def test_cityscapes_reads_either_kind_of_label(tmp_path):
    photograph(tmp_path / 'leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png')
    label = tmp_path / 'gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png'
    draw(label, [7, 26, 33, 0, 29, 30])
    dataset = Cityscapes(tmp_path, 'val')
    assert columns(dataset[0]) == [0, 13, 18, IGNORED, IGNORED, IGNORED]
    assert dataset[0].name == 'ulm_000001_000019'
    assert dataset.groups == ('ulm',)
    draw(label.with_name(label.name.replace('labelIds', 'labelTrainIds')), [0, 13, 18, 255])
    assert columns(Cityscapes(tmp_path, 'val')[0])[:4] == [0, 13, 18, IGNORED]
    assert columns(Cityscapes(tmp_path, 'val', labels='labelIds')[0])[:2] == [0, 13]


@pytest.mark.parametrize('kind', ['labelTrainIds', 'labelIds'])
def test_lost_and_found_has_three_rules_for_non_hazards(tmp_path, kind):
    stem = '02_Hanns_000000_000080'
    photograph(tmp_path / f'leftImg8bit/test/02_Hanns/{stem}_leftImg8bit.png')
    values = [1, 2, 0, 255] if kind == 'labelTrainIds' else [1, 5, 33, 0]
    draw(tmp_path / f'gtCoarse/test/02_Hanns/{stem}_gtCoarse_{kind}.png', values)
    for rule, value in (('ignore', IGNORED), ('in_distribution', IN_DISTRIBUTION), ('ood', OOD)):
        sample = LostAndFound(tmp_path, non_hazards=rule)[0]
        assert columns(sample)[:4] == [0, OOD, value, IGNORED]
        assert sample.group == '02_Hanns'


def test_fishyscapes_reads_both_layouts(tmp_path):
    photograph(tmp_path / 'Static/0001.jpg')
    draw(tmp_path / 'Static/0001.png', [0, 1, 255])
    photograph(tmp_path / 'LostAndFound/original/04_Maurener_leftImg8bit.png')
    draw(tmp_path / 'LostAndFound/labels/04_Maurener_labels.png', [0, 1, 255])
    for part, name in (('Static', '0001'), ('LostAndFound', '04_Maurener')):
        sample = Fishyscapes(tmp_path, part)[0]
        assert columns(sample)[:3] == [IN_DISTRIBUTION, OOD, IGNORED]
        assert sample.name == name


def test_road_anomaly_reads_both_layouts(tmp_path):
    photograph(tmp_path / 'repacked/images/7.jpg')
    draw(tmp_path / 'repacked/labels/7.png', [0, 1])
    photograph(tmp_path / 'released/frames/animals01.jpg')
    draw(tmp_path / 'released/frames/animals01.labels/labels_semantic.png', [0, 2])
    for part in ('repacked', 'released'):
        assert columns(RoadAnomaly(tmp_path / part)[0])[:2] == [IN_DISTRIBUTION, OOD]


def test_segment_me_if_you_can_leaves_unlabelled_frames_out(tmp_path):
    for name in ('validation0000', 'anomaly0001'):
        photograph(tmp_path / f'images/{name}.webp')
    draw(tmp_path / 'labels_masks/validation0000_labels_semantic.png', [0, 1, 255])
    photograph(tmp_path / 'labels_masks/validation0000_labels_semantic_color.png')
    dataset = SegmentMeIfYouCan(tmp_path)
    assert dataset.names == ('validation0000',)
    assert columns(dataset[0])[:3] == [IN_DISTRIBUTION, OOD, IGNORED]


@pytest.mark.parametrize('masks', ['masks', 'ground_truth_mask'])
@pytest.mark.parametrize('object_value', [1, 255])
def test_ecssd_objects_are_ood_and_the_rest_as_asked(tmp_path, masks, object_value):
    photograph(tmp_path / 'images/0004.jpg')
    draw(tmp_path / f'{masks}/0004.png', [0, object_value])
    assert columns(Ecssd(tmp_path)[0])[:2] == [IGNORED, OOD]
    assert columns(Ecssd(tmp_path, background='class:road')[0])[:2] == [0, OOD]
    assert Ecssd(tmp_path).groups == ('ecssd/0004',)
    with pytest.raises(ValueError, match=r"background must be 'ignore' or 'class:<name>'.*'road'"):
        Ecssd(tmp_path, background='road')


def test_idd_lite_trusts_only_road_and_sky(tmp_path):
    photograph(tmp_path / 'images/377_0001.jpg')
    draw(tmp_path / 'labels/377_0001.png', [0, 1, 2, 3, 6, 255])
    dataset = IddLite(tmp_path)
    assert columns(dataset[0]) == [0, IGNORED, IGNORED, IGNORED, 10, IGNORED]
    assert columns(dataset.with_coarse_targets()[0]) == [0, 1, 2, 3, 6, 255]
    assert dataset.groups == ('377',)
    table = allowed_table()
    assert np.flatnonzero(table[3]).tolist() == [12, 13, 14, 15, 16, 17, 18]
    assert table[255].all()
    assert np.flatnonzero(table[:7].sum(axis=0) == 0).size == 0  # every train id has a place


def test_idd_lite_to_judge_by_knows_all_but_living_things_and_void(tmp_path):
    for sequence in range(60):
        photograph(tmp_path / f'images/{sequence}_0001.jpg')
        draw(tmp_path / f'labels/{sequence}_0001.png', [0, 1, 2, 3, 6, 255])
    dataset = open_dataset('idd_lite_select', tmp_path)
    known = IN_DISTRIBUTION
    assert columns(dataset[0]) == [0, known, IGNORED, known, 10, IGNORED]
    assert set(dataset.groups) == {
        str(one) for one in range(60) if source_split('idd_lite', str(one)) == 'select'
    }
    assert 1 < len(dataset) < 20  # a tenth


def test_folder_takes_groups_tags_and_controls_from_its_manifest(tmp_path):
    for name in 'ab':
        photograph(tmp_path / f'images/{name}.jpg')
        draw(tmp_path / f'labels/{name}.png', [0, 18, IN_DISTRIBUTION, OOD, IGNORED])
    assert Folder(tmp_path).groups == ('a', 'b')
    assert Folder(tmp_path).control(0) is None
    frames = [{'name': 'a', 'group': 7, 'tags': ['coco']}, {'name': 'b', 'group': 'x'}]
    manifest = {'frames': frames, 'equivalent_predictions': {'12': 18}}
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    draw(tmp_path / 'controls/b.png', [0, 1])
    dataset = Folder(tmp_path)
    assert dataset.groups == ('7', 'x')
    assert dataset.tags == {'a': ('coco',), 'b': ()}
    assert dataset.equivalent_predictions == {12: 18}
    assert columns(dataset[0])[:5] == [0, 18, IN_DISTRIBUTION, OOD, IGNORED]
    assert not dataset.control(0).any()
    assert dataset.control(1)[0, :2].tolist() == [False, True]
    (tmp_path / 'manifest.json').write_text('{"frames": [{"name": "a"}]}')
    with pytest.raises(ValueError, match=r"got KeyError\('group'\). Delete it"):
        Folder(tmp_path)


def test_part_of_a_folder_with_a_manifest_is_refused(tmp_path):
    for name in 'ab':
        photograph(tmp_path / f'images/{name}.jpg')
        draw(tmp_path / f'labels/{name}.png', [0, OOD])
    frames = [{'name': name, 'group': 0, 'control': {'train_id': 13}} for name in 'abc']

    def write(count):
        (tmp_path / 'manifest.json').write_text(json.dumps({'frames': frames[:count]}))

    for name in 'ab':
        draw(tmp_path / f'controls/{name}.png', [1])
    with pytest.raises(FileNotFoundError, match=r'expects manifest.json beside .*controls, got'):
        Folder(tmp_path)
    for count, odd in ((3, 'c'), (1, 'b')):
        write(count)
        match = rf'expects the {count} images and labels that .* got 2; {odd} is one of 1 on one'
        with pytest.raises(FileNotFoundError, match=match):
            Folder(tmp_path)
    write(2)
    assert Folder(tmp_path).control(1).any()
    (tmp_path / 'controls/b.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'the 2 masks in controls that .* got 1; b is'):
        Folder(tmp_path)


def test_folder_holds_the_ids_of_the_networks_own_classes(tmp_path):
    photograph(tmp_path / 'images/a.jpg')
    draw(tmp_path / 'labels/a.png', [0, 24])
    assert columns(open_dataset('folder', tmp_path, num_classes=25)[0])[:2] == [0, 24]
    with pytest.raises(ValueError, match=r'folder expects label values .* got \[24\] in'):
        open_dataset('folder', tmp_path)[0]


@pytest.mark.parametrize('share', [0.3, 0.6, 0.9, 0.999])
def test_image_that_was_cut_off_is_refused(tmp_path, share):
    rng = np.random.default_rng(0)
    draw(tmp_path / 'labels/1.png', [0, 1])
    for suffix in ('jpg', 'png'):
        path = tmp_path / f'images/1.{suffix}'
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r'must reach its end marker, got \d+ bytes'):
            RoadAnomaly(tmp_path)[0]
        path.unlink()


def with_orientation(path, value):
    """Give a JPEG an EXIF tag."""
    jpeg = path.read_bytes()
    # TIFF header, one directory entry: tag 0x0112 (orientation), SHORT, one value.
    tag = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0' % value
    segment = b'\xff\xe1' + (len(tag) + 2).to_bytes(2, 'big') + tag
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])


@pytest.mark.parametrize('value', [1, 3, 6, 8])
def test_photograph_is_turned_as_its_orientation_tag_demands(tmp_path, value):
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = 200, 40, 90  # the object lies at the top left
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[value]  # from what the viewer shows back to what is stored
    path = tmp_path / 'images/1.jpg'
    path.parent.mkdir()
    cv2.imwrite(str(path), np.ascontiguousarray(np.rot90(upright, turns)[..., ::-1]))
    with_orientation(path, value)
    (tmp_path / 'labels').mkdir()
    cv2.imwrite(str(tmp_path / 'labels/1.png'), (upright[..., 0] > 0).astype(np.uint8))
    sample = RoadAnomaly(tmp_path)[0]
    inside = sample.target == OOD
    assert inside.sum() == 24 * 32
    assert np.abs(sample.image.astype(int) - upright).mean() < 2
    assert np.abs(sample.image[inside].mean(0) - (200, 40, 90)).max() < 4


def test_label_drawn_on_the_stored_pixels_of_a_turned_photograph_is_refused(tmp_path):
    photograph(tmp_path / 'images/1.jpg')
    with_orientation(tmp_path / 'images/1.jpg', 6)
    draw(tmp_path / 'labels/1.png', [0, 1])
    with pytest.raises(
        ValueError, match=r'size of its image \(6, 4\), got \(4, 6\).*tag \(EXIF\)'
    ):
        RoadAnomaly(tmp_path)[0]


def test_file_names_may_be_made_of_any_bytes(tmp_path):
    stem = os.fsdecode(b'stra\xdfe')
    photograph(tmp_path / 'images/1.png')
    (tmp_path / 'images/1.png').rename(tmp_path / f'images/{stem}.png')
    draw(tmp_path / 'labels/1.png', [0, 1])
    (tmp_path / 'labels/1.png').rename(tmp_path / f'labels/{stem}.png')
    dataset = RoadAnomaly(tmp_path)
    assert dataset[0].image.shape == (*SIZE, 3)
    assert [name.encode() for name in dataset.names] == [rb'stra\udcdfe']
    (tmp_path / f'labels/{stem}.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'stra\\udcdfe.png must be JPEG, PNG'):
        dataset[0]


def test_missing_folder_says_what_was_expected_where(tmp_path):
    cases = [
        (lambda: CamVid(tmp_path, 'val'), r'CamVid expects street frames in .*val/images'),
        (lambda: Cityscapes(tmp_path), r'Cityscapes expects one folder of frames per city in'),
        (lambda: Ecssd(tmp_path), r'ECSSD expects photographs in .*images'),
        (lambda: Fishyscapes(tmp_path, 'Static'), r'Fishyscapes expects images and labels in'),
        (lambda: Folder(tmp_path), r'folder expects images in'),
        (lambda: IddLite(tmp_path), r'IDD-Lite expects street frames in'),
        (lambda: LostAndFound(tmp_path), r'LostAndFound expects one folder of frames per seq'),
        (lambda: RoadAnomaly(tmp_path / 'no'), r'RoadAnomaly expects images and labels in'),
        (lambda: SegmentMeIfYouCan(tmp_path), r'SegmentMeIfYouCan expects images in'),
    ]
    for make, message in cases:
        with pytest.raises(FileNotFoundError, match=message + '.*got no such folder. Give'):
            make()


def test_half_a_data_set_is_refused(tmp_path):
    for name in '12345':
        photograph(tmp_path / f'images/{name}.jpg')
    draw(tmp_path / 'labels/1.png', [0])
    with pytest.raises(FileNotFoundError, match=r'one label per image .* got 4 without: 2, 3, 4,'):
        RoadAnomaly(tmp_path)
    for name in '2345':
        draw(tmp_path / f'labels/{name}.png', [0])
    (tmp_path / 'images/3.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'one image per label .* got 1 without: 3'):
        RoadAnomaly(tmp_path)
    for path in (tmp_path / 'images').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'RoadAnomaly expects images in .*, got none'):
        RoadAnomaly(tmp_path)
    (tmp_path / 'labels_masks').mkdir()
    with pytest.raises(FileNotFoundError, match='Labels of the test frames are not public'):
        SegmentMeIfYouCan(tmp_path)
    city = tmp_path / 'gtFine/train/ulm'
    city.mkdir(parents=True)
    photograph(tmp_path / 'leftImg8bit/train/ulm/a_leftImg8bit.png')
    with pytest.raises(FileNotFoundError, match=r'Cityscapes expects \*_gtFine_labelIds.png in'):
        Cityscapes(tmp_path)


def test_mislabelled_data_is_refused(tmp_path):
    photograph(tmp_path / 'images/1.jpg')
    label = tmp_path / 'labels/1.png'
    draw(label, [0, 1, 7])
    with pytest.raises(ValueError, match=r'expects label values \[0, 1, 255\], got \[7\] in'):
        RoadAnomaly(tmp_path)[0]
    photograph(label)
    with pytest.raises(ValueError, match=r'must be a label image with one 8-bit channel, got'):
        RoadAnomaly(tmp_path)[0]
    cv2.imwrite(str(label), np.ones((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r'must have the size of its image \(4, 6\), got \(2, 2'):
        RoadAnomaly(tmp_path)[0]
    label.write_bytes(b'nothing')
    with pytest.raises(
        ValueError, match=r'1\.png must be JPEG, PNG, .* got 7 bytes of something else'
    ):
        RoadAnomaly(tmp_path)[0]
    draw(label, [0, 1])
    (tmp_path / 'images/1.jpg').write_bytes(b'nothing')
    with pytest.raises(
        ValueError, match=r'1\.jpg must be JPEG, PNG, .* got 7 bytes of something else'
    ):
        RoadAnomaly(tmp_path)[0]
    photograph(tmp_path / 'images/1.jpg')
    draw(tmp_path / 'masks/1.png', [0, 100, 255])
    with pytest.raises(ValueError, match=r'ECSSD expects masks of 0 and 1 or of 0 and 255, got'):
        Ecssd(tmp_path)[0]


def test_unknown_options_name_what_there_is(tmp_path):
    with pytest.raises(ValueError, match='split of CamVid must be train, val, test, fit'):
        CamVid(tmp_path, 'training')
    with pytest.raises(ValueError, match='labels of Cityscapes must be auto, labelTrainIds or'):
        Cityscapes(tmp_path, labels='ids')
    with pytest.raises(ValueError, match='non_hazards must be one of ignore, in_distribution, oo'):
        LostAndFound(tmp_path, non_hazards='maybe')
    with pytest.raises(ValueError, match=r"got 'road_anomly'. Did you mean 'road_anomaly'\?"):
        open_dataset('road_anomly', tmp_path)
    with pytest.raises(ValueError, match=r'must be given as \[title:\]name=path, got .road'):
        parse_dataset('road_anomaly')
    (tmp_path / 'images').mkdir()
    (tmp_path / 'masks').mkdir()
    photograph(tmp_path / 'images/1.jpg')
    draw(tmp_path / 'masks/1.png', [0, 1])
    with pytest.raises(ValueError, match="part of idd_lite .* all, fit, select, got 'train'"):
        IddLite(tmp_path, part='train')
    with pytest.raises(ValueError, match='split of ecssd must be all, train, select or test, got'):
        Ecssd(tmp_path, split='val')


def test_command_line_names_a_data_set():
    title, name, path = parse_dataset('overlay:folder=runs/overlay')
    assert (title, name, str(path)) == ('overlay', 'folder', 'runs/overlay')
    assert parse_dataset('ecssd=x')[:2] == ('ecssd', 'ecssd')


def test_sample_refuses_arrays_of_another_kind():
    image, target = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)
    Sample(image, target, 'a', 'a')
    with pytest.raises(ValueError, match=r'image of a must be \(H, W, 3\) uint8 RGB, got'):
        Sample(image.astype(np.float32), target, 'a', 'a')
    with pytest.raises(ValueError, match=r'target of a must be \(2, 3\) uint8 like its image'):
        Sample(image, target.T, 'a', 'a')


def test_real_data_reads_whole(shared_data):
    unseen = CamVid(shared_data / 'camvid', 'test_unseen')
    assert len(unseen) == 171
    assert set(unseen.names) < set(CamVid(shared_data / 'camvid', 'test').names)
    anomalies = RoadAnomaly(shared_data / 'road_anomaly')
    assert len(anomalies) == 60
    assert OOD in anomalies[0].target
    assert len(IddLite(shared_data / 'idd_lite')) == 1403
    # 280 of the first 400 photographs; there may be later ones beside them
    names = Ecssd(shared_data / 'ood_proxy_ecssd').names
    assert sum(int(name) < 400 for name in names) == 280
