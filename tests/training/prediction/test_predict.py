"""What `predict` writes is what the pipeline says, whole, once, and without what is damaged."""

import importlib.util
import json
from pathlib import Path
import shutil
import threading

import cv2
from meta_ood_ros.core.pictures import draw_overlay
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_training import predict
from meta_ood_training.cli import main
from meta_ood_training.datasets.coco.run_lengths import decode_segmentation
from meta_ood_training.prediction import prediction_folder
from meta_ood_training.prediction.overlapping import read_ahead, WriteBehind
from meta_ood_training.prediction.polygons import outline_mask
import numpy as np
import pyarrow.parquet as pq
import pytest


def load_recording():
    path = Path(__file__).parents[1] / 'segments' / 'recording.py'
    spec = importlib.util.spec_from_file_location('recording', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recording = load_recording()
SIZE = (72, 104)


def picture(seed):
    return recording.make_frame(seed, SIZE)[0]


@pytest.fixture
def street(tmp_path):
    """Return a folder with three pictures, one of them in a folder below, and a hidden one."""
    folder = tmp_path / 'street'
    (folder / 'b').mkdir(parents=True)
    for name, seed in {'a9.png': 1, 'a10.png': 2, 'b/c.png': 3, '._a9.png': 4}.items():
        cv2.imwrite(str(folder / name), picture(seed)[..., ::-1])
    return folder


def options(small_bundle, **more):
    plain = {'device': 'cpu', 'backend': 'eager', 'entropy_threshold': 0.9}
    return {'bundle': small_bundle, **plain, **more}


def rows(output):
    return [json.loads(line) for line in (output / 'segments.jsonl').read_text().splitlines()]


def read(path):
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


def test_numbers_and_pictures_are_those_of_the_pipeline(street, small_bundle, tmp_path):
    result = predict(street, tmp_path / 'out', **options(small_bundle, work_short_side=64))
    assert (result.frames, result.skipped, result.loss) == (3, {}, '')
    pipeline = OodPipeline(small_bundle, backend='eager')
    settings = prediction_folder.PipelineSettings(work_short_side=64, entropy_threshold=0.9)
    expected = []
    for name, seed in {'a9': 1, 'a10': 2, 'b/c': 3}.items():
        image = picture(seed)
        said = pipeline(image, settings=settings)
        assert said.work_size != said.image_size
        expected += [{'frame': name, **one} for one in said.to_dict(contours=False)['segments']]
        view, out = said.to_image_size(), tmp_path / 'out'
        assert np.array_equal(read(out / f'semantic/{name}.png'), view.semantic)
        assert np.array_equal(read(out / f'segment_ids/{name}.png'), view.labels)
        entropy = read(out / f'entropy/{name}.png') / 65535
        np.testing.assert_allclose(entropy, view.entropy, atol=0.51 / 65535)
        overlay = read(out / f'overlay/{name}.png')[..., ::-1]
        assert np.array_equal(overlay, draw_overlay(image, said))
    assert rows(tmp_path / 'out') == expected
    assert result.segments == len(expected) > 3
    assert result.accepted == sum(one['accepted'] for one in expected)
    assert repr(result) == (
        f'PredictionResult(3 frames, {len(expected)} segments, {result.accepted} accepted, '
        f'in {tmp_path / "out"})'
    )


def test_parquet_has_the_rows_of_the_lines(street, small_bundle, tmp_path):
    predict(street, tmp_path / 'lines', pictures=(), **options(small_bundle))
    result = predict(
        street, tmp_path / 'columns', pictures=(), table='parquet', **options(small_bundle)
    )
    assert result.table == tmp_path / 'columns' / 'segments.parquet'
    assert pq.read_table(result.table).to_pylist() == rows(tmp_path / 'lines')
    assert not (tmp_path / 'columns' / 'overlay').exists()


def test_polygons_of_coco_cover_the_pixels_of_the_segments(street, small_bundle, tmp_path):
    result = predict(street, tmp_path / 'out', coco=True, **options(small_bundle))
    coco = json.loads(result.coco.read_text())
    assert [one['file_name'] for one in coco['images']] == ['a9', 'a10', 'b/c']
    assert [one['name'] for one in coco['categories']] == ['unknown']
    assert len(coco['annotations']) == result.accepted > 3
    for one in coco['annotations']:
        name = coco['images'][one['image_id'] - 1]['file_name']
        mask = read(tmp_path / f'out/segment_ids/{name}.png') == one['segment_id']
        assert one['area'] == mask.sum()
        holes = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[1]
        filled = decode_segmentation(one['segmentation'], SIZE)
        if (holes[0, :, 3] < 0).all():
            assert np.array_equal(filled, mask)
        else:
            assert (filled & mask).sum() == mask.sum()


@pytest.mark.parametrize(
    ('drawn', 'corners'),
    [
        (['#'], {(0, 0), (1, 0), (1, 1), (0, 1)}),
        (['##', '#.'], {(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)}),
        (['###', '#.#', '###'], {(0, 0), (3, 0), (3, 3), (0, 3)}),
    ],
)
def test_an_outline_runs_along_the_edges_of_pixels(drawn, corners):
    (outline,) = outline_mask(np.array([[one == '#' for one in row] for row in drawn]))
    assert {tuple(one) for one in outline.tolist()} == corners
    assert len(outline) == len(corners)


def test_two_pixels_that_touch_at_a_corner_are_one_polygon_of_area_two():
    (outline,) = outline_mask(np.eye(2, dtype=bool))
    x, y = outline.T
    assert abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2 == 2
    assert outline_mask(np.zeros((2, 2), bool)) == []


def test_what_is_written_whole_is_not_done_again(street, small_bundle, tmp_path, monkeypatch):
    whole = predict(street, tmp_path / 'whole', **options(small_bundle))
    seen = []

    class Interrupted(OodPipeline):
        def __call__(self, image):
            seen.append(image)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return super().__call__(image)

    out, words = tmp_path / 'out', options(small_bundle)
    with monkeypatch.context() as patch:
        patch.setattr(prediction_folder, 'OodPipeline', Interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(street, out, **words)
    assert not (out / 'segments.jsonl').exists()
    before = {path: path.stat().st_mtime_ns for path in out.glob('*/*.png')}
    assert len(before) == 8
    with pytest.raises(ValueError, match='which holds files. Add --resume to go on with it, or'):
        predict(street, out, **words)
    with pytest.raises(ValueError, match=r'with meta_threshold 0\.5, got 0\.25\. Repeat its opt'):
        predict(street, out, resume=True, meta_threshold=0.25, **words)
    (out / 'frames' / 'a9.json').unlink()  # as if killed between the pictures and the record
    result = predict(street, out, resume=True, **words)
    assert (result.frames, result.resumed) == (3, 1)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.stem for path in before if before[path] != after[path]] == ['a9'] * 4
    assert (out / 'segments.jsonl').read_bytes() == whole.table.read_bytes()


def test_one_damaged_input_is_named_skipped_and_counted(street, small_bundle, tmp_path, capsys):
    content = (street / 'a10.png').read_bytes()
    (street / 'a10.png').write_bytes(content[: len(content) // 2])
    out = tmp_path / 'out'
    words = ['predict', str(street), '--output', str(out), '--bundle', str(small_bundle)]
    assert main([*words, '--device', 'cpu', '--backend', 'eager', '--pictures']) == 3
    said = capsys.readouterr()
    assert said.out.startswith('2 frames, ')
    assert said.out.count('\n') == 1
    assert '1 frames were skipped (a10)' in said.err
    skipped = json.loads((out / 'predict.json').read_text())['skipped']
    assert list(skipped) == ['a10']
    assert str(street / 'a10.png') in skipped['a10']
    assert {one['frame'] for one in rows(out)} == {'a9', 'b/c'}
    assert not (out / 'frames' / 'a10.json').exists()
    (street / 'a10.png').write_bytes(content)
    assert main([*words, '--device', 'cpu', '--backend', 'eager', '--pictures', '--resume']) == 0
    assert capsys.readouterr().out.startswith('3 frames (2 of them before), ')


def write_video(path, count=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, SIZE[::-1])
    for seed in range(count):
        writer.write(picture(seed)[..., ::-1])
    writer.release()
    return path


def test_frames_of_a_video_are_numbered_and_one_cut_short_says_so(small_bundle, tmp_path, capsys):
    video = write_video(tmp_path / 'drive.avi')
    words = options(small_bundle, pictures='overlay')
    result = predict(video, tmp_path / 'out', limit=2, **words)
    assert sorted(path.stem for path in (tmp_path / 'out/overlay').iterdir()) == [
        'frame_000000',
        'frame_000001',
    ]
    assert result.loss == ''
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 3 // 5])
    cut = predict(video, tmp_path / 'cut', **words)
    assert 0 < cut.frames < 5
    assert 'states 5 frames' in cut.loss or cut.loss == ''


@pytest.mark.parametrize('content', [b'', b'no film at all' * 100, b'#EXTM3U\n/etc/hostname\n'])
def test_what_is_no_video_is_refused(content, small_bundle, tmp_path):
    (tmp_path / 'film.mp4').write_bytes(content)
    with pytest.raises(ValueError, match='a video must be a file that FFmpeg reads, such as .mp4'):
        predict(tmp_path / 'film.mp4', tmp_path / 'out', **options(small_bundle))
    assert not (tmp_path / 'out').exists()


def test_images_of_a_bag_are_named_by_their_stamps(small_bundle, tmp_path):
    recorder = recording.Recorder(tmp_path / 'bag')
    for seed, stamp in enumerate((5 * 10**9 + 7, 6 * 10**9, 6 * 10**9)):
        recorder.image('/camera/image', stamp, picture(seed), 'rgb8')
    recorder.writer.close()
    result = predict(tmp_path / 'bag', tmp_path / 'out', **options(small_bundle))
    frames = ['5_000000007', '6_000000000', '6_000000000_2']
    assert sorted(path.stem for path in (tmp_path / 'out/frames').iterdir()) == frames
    settings = prediction_folder.PipelineSettings(entropy_threshold=0.9)
    pipeline = OodPipeline(small_bundle, settings, backend='eager')
    said = pipeline(picture(1)).to_dict(contours=False)
    assert [one for one in rows(tmp_path / 'out') if one['frame'] == frames[1]] == [
        {'frame': frames[1], **one} for one in said['segments']
    ]
    assert result.frames == 3
    with pytest.raises(ValueError, match='must hold the topic /other of type'):
        predict(tmp_path / 'bag', tmp_path / 'new', topic='/other', **options(small_bundle))


def test_files_of_one_stem_keep_their_endings(street, small_bundle, tmp_path):
    shutil.copy(street / 'a9.png', street / 'a9.bmp')
    cv2.imwrite(str(street / 'a9.bmp'), picture(7))
    predict([street / 'a9.png', street / 'a9.bmp'], tmp_path / 'out', **options(small_bundle))
    assert sorted(path.name for path in (tmp_path / 'out/overlay').iterdir()) == [
        'a9.bmp.png',
        'a9.png.png',
    ]


def test_wrong_calls_are_refused_before_anything_is_written(street, small_bundle, tmp_path):
    out, words = tmp_path / 'out', options(small_bundle)
    with pytest.raises(ValueError, match="got '.*/none', which is not there. Check the path"):
        predict(street / 'none', out, **words)
    with pytest.raises(ValueError, match='predict needs images, a video or a bag, got none'):
        predict([], out, **words)
    with pytest.raises(ValueError, match='limit must be at least 0, got -1. 0 takes all frames'):
        predict(street, out, limit=-1, **words)
    with pytest.raises(ValueError, match="pictures must be one of overlay, .*, got 'depth'"):
        predict(street, out, pictures='depth', **words)
    with pytest.raises(ValueError, match="table must be one of jsonl, parquet, got 'csv'"):
        predict(street, out, table='csv', **words)
    with pytest.raises(ValueError, match='output must lie outside the input, got'):
        predict(street, street / 'out', **words)
    with pytest.raises(ValueError, match='several inputs must all be image files, got .*street'):
        predict([street, street / 'a9.png'], out, **words)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='a folder must hold images .* which holds none. Name'):
        predict(tmp_path / 'empty', out, **words)
    assert not out.exists()
    out.write_text('mine')
    with pytest.raises(ValueError, match='output must be a folder, got the file'):
        predict(street, out, **words)
    (tmp_path / 'empty' / 'mine.txt').write_text('mine')
    with pytest.raises(ValueError, match='--resume needs .*predict.json, got no such file. It is'):
        predict(street, tmp_path / 'empty', resume=True, **words)
    with pytest.raises(ValueError, match='which holds files. Choose another'):
        predict(street, tmp_path / 'empty', **words)


def test_items_are_read_ahead_in_order_by_one_other_thread():
    threads = set()

    def items():
        for number in range(10):
            threads.add(threading.get_ident())
            yield number
        raise OSError('the end of the tape')

    got = []
    with pytest.raises(OSError, match='the end of the tape'):  # after all that came before
        got.extend(read_ahead(items(), 3))
    assert got == list(range(10))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_in_writing_is_raised():
    def fail():
        raise OSError('no space')

    with pytest.raises(OSError, match='no space'), WriteBehind(2, 2) as write:
        write(fail)
