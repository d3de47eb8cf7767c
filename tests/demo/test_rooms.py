"""The rooms of the demo that need no node: sources, truth, pictures, table, command line."""

import os
from pathlib import Path
from types import SimpleNamespace

import cv2
from meta_ood_ros.demo.__main__ import main, parse_arguments
from meta_ood_ros.demo.contact_sheet import ContactSheet
from meta_ood_ros.demo.frames import FIRST_SEED, FolderSource, SceneSource
from meta_ood_ros.demo.truth import compare_with_truth
from meta_ood_ros.scenes import render_scene, render_sequence
import numpy as np
import pytest


def write_picture(path, value=100, size=(20, 30)):
    _, code = cv2.imencode(path.suffix, np.full((*size, 3), value, np.uint8))
    path.write_bytes(code.tobytes())


# ---- sources ----


def test_a_folder_is_played_in_natural_order_and_bad_files_are_named(tmp_path):
    for number in (10, 9, 1):
        write_picture(tmp_path / f'frame{number}.png', number, size=(10 + number, 20))
    whole = (tmp_path / 'frame9.png').read_bytes()
    (tmp_path / 'frame5.png').write_bytes(whole[:-20])
    (tmp_path / 'notes.txt').write_text('no picture')
    source = FolderSource(tmp_path, None)
    frames = list(source)
    assert len(source) == 4
    assert [frame.name for frame in frames] == ['frame1', 'frame5.png', 'frame9', 'frame10']
    assert [frame.image is None for frame in frames] == [False, True, False, False]
    assert 'must reach its end marker' in frames[1].complaint
    assert frames[3].image.shape == (20, 20, 3)
    assert (frames[3].image == 10).all()
    assert [frame.name for frame in FolderSource(tmp_path, 1)] == ['frame1']


def test_labels_are_what_their_files_say_and_masks_of_255_are_refused(tmp_path):
    pictures, labels = tmp_path / 'pictures', tmp_path / 'labels'
    for folder in (pictures, labels):
        folder.mkdir()
    for number in range(3):
        write_picture(pictures / f'{number}.png', size=(20, 30))
    write_picture(pictures / '._0.png', size=(20, 30))
    truth = np.zeros((20, 30), np.uint8)
    truth[5:9] = 255
    for number in range(3):
        cv2.imwrite(str(labels / f'{number}.png'), truth)
    with pytest.raises(ValueError, match='--labels must hold class ids, 254 .*got only 0 and 255'):
        FolderSource(pictures, None, labels)
    truth[5:9] = 254
    cv2.imwrite(str(labels / '0.png'), truth)
    cv2.imwrite(str(labels / '1.png'), np.repeat(truth[..., None], 3, 2))  # equal channels
    _, code = cv2.imencode('.jpg', truth)
    (labels / '2.png').write_bytes(code.tobytes())
    first, second, third = FolderSource(pictures, None, labels)
    for frame in (first, second):
        np.testing.assert_array_equal(frame.labels, truth)
    assert third.image is None
    assert 'must be a lossless label image, got JPEG' in third.complaint
    write_picture(pictures / '1.jpg', size=(20, 30))
    with pytest.raises(ValueError, match=r'name of a label, got .*1\.jpg and .*1\.png'):
        FolderSource(pictures, None, labels)
    assert len(FolderSource(pictures, None)) == 4


def test_a_folder_may_hold_names_of_any_bytes_and_turned_photographs(tmp_path):
    pictures, labels = tmp_path / 'pictures', tmp_path / 'labels'
    for folder in (pictures, labels):
        folder.mkdir()
    stem = os.fsdecode(b'stra\xdfe')
    write_picture(pictures / f'{stem}.jpg', size=(20, 30))
    jpeg = (pictures / f'{stem}.jpg').read_bytes()
    # APP1 with a TIFF header and one directory entry: orientation 6, turn right.
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    (pictures / f'{stem}.jpg').write_bytes(jpeg[:2] + segment + jpeg[2:])
    _, code = cv2.imencode('.png', np.full((30, 20), 7, np.uint8))
    (labels / f'{stem}.png').write_bytes(code.tobytes())
    (pictures / f'{stem}2.jpg').write_bytes(jpeg[:-40])
    whole, broken = FolderSource(pictures, None, labels)
    assert whole.image.shape == (30, 20, 3)
    assert (whole.labels == 7).all()
    assert (whole.name, broken.name) == (r'stra\udcdfe', r'stra\udcdfe2.jpg')
    assert 'truncated' in broken.complaint
    (whole.name + broken.complaint).encode()


@pytest.mark.parametrize('folder', ['.', 'missing'])
def test_a_folder_without_pictures_is_refused(tmp_path, folder, capsys):
    with pytest.raises(ValueError, match='must be a folder with pictures .*Name the folder'):
        FolderSource(tmp_path / folder, None)
    assert main(['--images', str(tmp_path / folder)]) == 2
    assert 'Nothing to play: --images must be a folder' in capsys.readouterr().err


def test_a_bag_that_is_none_is_refused(tmp_path, capsys):
    assert main(['--bag', str(tmp_path)]) == 2
    assert 'Nothing to play: bag must be a .mcap or .db3 file' in capsys.readouterr().err


def test_bundled_streets_are_test_scenes_of_unseen_seeds():
    source = SceneSource(4)
    frames = list(source)
    assert len(source) == len(frames) == 4
    names = ['street01_1', 'street01_2', 'street02_1', 'street02_2']
    assert [frame.name for frame in frames] == names
    second = next(render_sequence(FIRST_SEED + 1, 2, split='test'))
    np.testing.assert_array_equal(frames[2].image, second.image)
    np.testing.assert_array_equal(frames[2].scene.ood_ids, second.ood_ids)


# ---- truth ----


def test_truth_of_a_picture_drawn_by_hand():
    ood = np.zeros((12, 20), np.uint16)
    ood[2:6, 2:6] = 1  # 16 px, covered to the half by segment 7
    ood[2:6, 10:14] = 2  # 16 px, missed: segment 9 is rejected
    ood[8:10, 2:4] = 3  # 4 px, in one segment with 4
    ood[8:10, 6:8] = 4
    segments = np.zeros((12, 20), np.uint16)
    segments[4:8, 2:6] = 7  # 16 px: 8 on the object, 8 beside it
    segments[2:6, 10:14] = 9
    segments[8:10, 2:8] = 11  # 12 px over objects 3 and 4 and 4 px between them
    segments[10:12, 16:20] = 13  # nothing is there
    truth = compare_with_truth(segments, np.array([7, 11, 13]), ood, ood > 0)
    assert [one.area_px for one in truth.objects] == [16, 16, 4, 4]
    expected = [8 / 24, 0.0, 4 / 8, 4 / 8]
    np.testing.assert_allclose([one.siou for one in truth.objects], expected)
    assert [one.is_found for one in truth.objects] == [True, False, True, True]
    assert not any(one.is_large for one in truth.objects)
    assert truth.false_segments == 1


def test_perfect_segments_find_everything():
    scene = render_scene(3, ood_objects=3, split='test')
    unknown = scene.classes == 255
    ids = np.unique(scene.ood_ids[scene.ood_ids > 0])
    truth = compare_with_truth(scene.ood_ids, ids, scene.ood_ids, unknown)
    assert len(truth.objects) == len(ids) > 0
    assert all(one.siou == 1 for one in truth.objects)
    assert truth.false_segments == 0
    nothing = compare_with_truth(scene.ood_ids, ids[:0], scene.ood_ids, unknown)
    assert not any(one.siou for one in nothing.objects)


# ---- pictures ----


def make_view(size=(90, 160), **changes):
    pictures = pytest.importorskip('meta_ood_ros.demo.pictures')
    segment = SimpleNamespace(
        contour_x=[20, 59, 59, 20], contour_y=[30, 30, 69, 69], accepted=True, area_px=1600,
        ood_probability=0.75, roi=SimpleNamespace(x_offset=20, y_offset=30, width=40, height=40),
    )  # fmt: skip
    segments = SimpleNamespace(
        segments=[segment], score_threshold=0.5, segments_rejected=0, class_names=['road', 'sky']
    )
    semantic = np.zeros(size, np.uint8)
    semantic[: size[0] // 3] = 1
    colours = np.array([(128, 64, 128), (70, 130, 180)], np.uint8)
    grey = np.full((*size, 3), 90, np.uint8)
    view = {
        'title': 'frame', 'note': 'note', 'image': grey, 'overlay': grey, 'entropy_color': grey,
        'semantic_color': colours[semantic], 'semantic': semantic, 'segments': segments,
    }  # fmt: skip
    return pictures, pictures.FrameView(**(view | changes))


def count(picture, colour):
    return np.count_nonzero((picture == colour).all(axis=2))


def test_accepted_segments_are_outlined_in_their_place():
    pictures, view = make_view()
    picture = pictures.draw_view(view)
    assert picture.shape == (540, 960, 3)
    cyan = (picture == pictures.OOD_COLOR).all(axis=2)
    rows, columns = np.nonzero(cyan[200:])  # below the label
    # The contour runs through pixel centres: columns 20..59 at six times the size.
    assert 118 <= columns.min() <= 124
    assert 355 <= columns.max() <= 360
    assert 415 <= 200 + rows.max() <= 420
    assert (picture[300, 240] == 90).all()  # inside nothing is painted over
    assert cyan[150:180, 120:240].mean() > 0.3  # the label lies above the segment


def test_rejected_segments_are_grey():
    pictures, view = make_view()
    view.segments.segments[0].accepted = False
    picture = pictures.draw_view(view)
    assert count(picture, pictures.OOD_COLOR) == 0
    assert count(picture, (210, 210, 210)) > 100


@pytest.mark.parametrize('size', [(90, 160), (360, 480), (100, 40), (720, 1280)])
def test_page_holds_all_panels_and_names_the_classes_that_occur(size):
    pictures, view = make_view(size)
    page = pictures.draw_frame(view)
    large = pictures.draw_view(view)
    np.testing.assert_array_equal(page[40 : 40 + large.shape[0], :960], large)
    assert page.shape[1] == 960 + 4 + 480
    footer = page[-64:]
    assert count(footer, (128, 64, 128)) > 150
    assert count(footer, (70, 130, 180)) > 150
    assert count(footer, pictures.OOD_COLOR) > 150


def test_a_segment_without_probability_or_contour_is_drawn_too():
    pictures, view = make_view()
    (segment,) = view.segments.segments
    segment.ood_probability, segment.contour_x, segment.contour_y = float('nan'), [], []
    picture = pictures.draw_view(view)
    assert count(picture, pictures.OOD_COLOR) > 100  # its label


@pytest.mark.parametrize(('expected', 'shown'), [(1, 1), (5, 5), (24, 24), (233, 24)])
def test_contact_sheet_shows_frames_evenly_spaced(expected, shown):
    sheet = ContactSheet(expected)
    numbers = [number for number in range(expected) if sheet.wants(number)]
    assert len(numbers) == shown
    gaps = np.diff(numbers)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    for number in numbers:
        sheet.add(np.full((36, 64, 3), 200, np.uint8), f'frame {number}')
    page = sheet.draw('title')
    columns = min(4, int(np.ceil(np.sqrt(shown))))
    assert page.shape[1] == columns * 486 + 6
    assert count(page, (200, 200, 200)) >= shown * 480 * 270


def test_contact_sheet_of_mixed_sizes_and_of_nothing():
    sheet = ContactSheet(2)
    assert sheet.draw('nothing') is None
    sheet.add(np.full((100, 100, 3), 200, np.uint8), 'square')
    sheet.add(np.full((720, 1280, 3), 100, np.uint8), 'wide')
    page = sheet.draw('mixed')
    assert count(page, (200, 200, 200)) >= 480 * 480
    assert count(page, (100, 100, 100)) >= 480 * 270


# ---- command line ----


def test_options():
    options = parse_arguments(['--namespace', 'fleet/robot1/', '--cameras', 'front', 'rear'])
    assert options.namespace == '/fleet/robot1'
    assert options.cameras == ['front', 'rear']
    assert parse_arguments([]).namespace == ''
    assert parse_arguments([]).cameras == ['']


def test_paths_may_begin_with_the_home_folder(monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    options = parse_arguments(
        ['--images=~/in', '--labels=~/truth', '--output=~/out', '--bundle=~/mine']
    )
    paths = [options.images, options.labels, options.output, options.bundle]
    assert paths == [Path('/home/me') / name for name in ('in', 'truth', 'out', 'mine')]
    assert parse_arguments(['--bag=~/drive']).bag == Path('/home/me/drive')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--frames', '0'], "must be a number from 1 on, got '0'"),
        (['--domain', '300'], "must be a number from 0 to 101, got '300'"),
        (['--cameras', 'front', 'front'], 'must differ, got front front'),
        (['--cameras', '3d'], "must be letters, digits and _, got '3d'"),
        (['--namespace', 'a b'], "must be letters, digits and _, got 'a b'"),
        (['--images', 'a', '--bag', 'b'], 'not allowed with argument'),
    ],
)
def test_wrong_options_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert message in capsys.readouterr().err
