"""`meta-ood-train segments`: data sets and bags in; tables as the pipeline finds them out."""

import importlib.util
import json
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace

import cv2
from meta_ood_ros.bags.bag import Bag, SEGMENTS_TYPE
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training.cli import main
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.scores import measure_adjusted_iou
from meta_ood_training.segments.command import TRUNCATED
from meta_ood_training.segments.labelled_frames import parse_seeds, scene_target
from meta_ood_training.segments.loading import load_segment_set
from meta_ood_training.segments.table import read_sidecar, read_table
import numpy as np
import pytest

# loaded by path: with --import-mode=importlib a test cannot import the file beside it
_SPEC = importlib.util.spec_from_file_location(
    'recording', Path(__file__).with_name('recording.py')
)
recording = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recording)
extract, make_frame, stamp_of = recording.extract, recording.make_frame, recording.stamp_of
record, Recorder, same_segments = recording.record, recording.Recorder, recording.same_segments
record_segments, RECORDED = recording.record_segments, recording.RECORDED
SIZE, THRESHOLDS, FIRST = recording.SIZE, recording.THRESHOLDS, recording.FIRST


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Write five frames in the plain layout."""
    root = tmp_path_factory.mktemp('frames')
    for kind in ('images', 'labels'):
        (root / kind).mkdir()
    for seed in range(5):
        image, target = make_frame(seed)
        cv2.imwrite(str(root / 'images' / f'{seed}.png'), image[:, :, ::-1])
        cv2.imwrite(str(root / 'labels' / f'{seed}.png'), target)
    return root


@pytest.mark.parametrize('rule', ['deployed', 'published'])
def test_rows_are_what_the_pipeline_finds_and_the_definitions_say(
    folder, small_bundle, tmp_path, rule
):
    assert extract(tmp_path, small_bundle, '--data', f'folder={folder}', '--label-rule', rule) == 0
    table = read_table([tmp_path], 'segments').to_pylist()
    pipeline = OodPipeline(load_bundle(small_bundle))
    expected = 0
    for seed in range(5):
        image, target = make_frame(seed)
        erased = target == IGNORED if rule == 'published' else None
        for threshold in (0.5, 0.8):
            result = pipeline(
                image, settings=PipelineSettings(entropy_threshold=threshold), ignore_mask=erased
            )
            labels = result.segments.labels
            iou = measure_adjusted_iou(labels, target == OOD)
            rows = [
                one
                for one in table
                if one['image'] == f'folder/{seed}' and one['entropy_threshold'] == threshold
            ]
            assert len(rows) == result.segments.count
            expected += len(rows)
            for at, row in enumerate(rows):
                inside = labels == at + 1
                assert row['segment'] == at + 1
                assert row['size_px'] == inside.sum()
                assert row['is_true_ood'] == bool((inside & (target == OOD)).any())
                assert row['adjusted_iou'] == pytest.approx(iou[at])
                assert (row['adjusted_iou'] > 0) == row['is_true_ood']
                assert row['road_px'] == (inside & (target == 0)).sum()
                assert row['left_out'] == (2 * (inside & (target == IGNORED)).sum() > inside.sum())
                values = [row[name] for name in result.metrics.names]
                np.testing.assert_allclose(values, result.metrics.values[at], rtol=1e-9)
    assert len(table) == expected > 20
    sidecar = read_sidecar(tmp_path)
    assert sidecar['label_rule'] == rule
    assert sidecar['model_id'] == load_bundle(small_bundle).model_id
    assert sidecar['entropy_thresholds'] == [0.5, 0.8]
    assert sidecar['connectivity'] == 8
    (source,) = sidecar['sources']
    assert source['region_of_interest'] == 'all pixels but those that the labels leave void'
    if rule == 'published':
        assert not any(row['void_px'] for row in table)


def test_frames_and_objects_are_counted(folder, small_bundle, tmp_path):
    extract(tmp_path, small_bundle, '--data', f'select:folder={folder}')
    frames = read_table([tmp_path], 'frames').to_pylist()
    objects = read_table([tmp_path], 'objects').to_pylist()
    for seed, frame in enumerate(frames):
        _, target = make_frame(seed)
        assert (frame['image'], frame['split']) == (f'folder/{seed}', 'select')
        assert frame['road_px'] == (target == 0).sum()
        assert frame['in_distribution_px'] == (target < 3).sum()
        assert frame['void_px'] == (target == IGNORED).sum()
        sizes = [one['size_px'] for one in objects if one['frame'] == seed]
        assert sum(sizes) == (target == OOD).sum() == frame['ood_px']
        assert len(sizes) == cv2.connectedComponents((target == OOD).astype(np.uint8))[0] - 1


def test_two_processes_write_what_one_does(folder, small_bundle, tmp_path, monkeypatch):
    small = ['--data', f'folder={folder}']
    assert extract(tmp_path / 'one', small_bundle, *small) == 0
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank in ('1', '0'):
        monkeypatch.setenv('RANK', rank)
        assert extract(tmp_path / 'two', small_bundle, *small) == 0
    for table in ('segments', 'frames', 'objects', 'overlaps'):
        one = read_table([tmp_path / 'one'], table)
        assert read_table([tmp_path / 'two'], table).equals(one)


def test_output_is_not_overwritten_unasked(folder, small_bundle, tmp_path, capsys):
    words = ['--data', f'folder={folder}', '--limit', '2']
    assert extract(tmp_path, small_bundle, *words) == 0
    assert len(read_table([tmp_path], 'frames')) == 2
    assert extract(tmp_path, small_bundle, *words) == 2
    assert 'folder without segments, got' in capsys.readouterr().err
    assert extract(tmp_path, small_bundle, *words, '--overwrite') == 0


def test_no_source_is_refused(small_bundle, tmp_path, capsys):
    assert extract(tmp_path, small_bundle) == 2
    assert 'needs frames with ground truth, got none' in capsys.readouterr().err


def test_threshold_in_percent_is_refused(folder, small_bundle, tmp_path, capsys):
    words = ['segments', tmp_path, '--bundle', small_bundle, '--data', f'folder={folder}']
    assert main([*map(str, words), '--threshold', '70']) == 2
    assert 'share of log C' in capsys.readouterr().err


@pytest.mark.parametrize('text', ['5', '5:5', '9:2', 'a:b'])
def test_seeds_are_a_range(text):
    with pytest.raises(ValueError, match=r'FIRST:END with FIRST < END, got .*Example: 0:300'):
        parse_seeds(text)


def test_scene_target_marks_objects():
    target = scene_target(np.array([[3, 255]], np.uint8), np.array([[0, 7]], np.uint16))
    assert target.tolist() == [[3, OOD]]


@pytest.fixture(scope='module')
def from_files(folder, small_bundle, tmp_path_factory):
    output = tmp_path_factory.mktemp('from_files')
    assert extract(output, small_bundle, '--data', f'folder={folder}') == 0
    return output


@pytest.mark.parametrize('compressed', [False, True])
def test_bag_with_label_topic_equals_files(from_files, small_bundle, tmp_path, compressed):
    bag = record(tmp_path / 'bag', 5, compressed=compressed)
    words = ['--bag', bag, '--label-topic', '/camera/labels', '--block-seconds', '4']
    assert extract(tmp_path / 'out', small_bundle, *words) == 0
    same_segments(tmp_path / 'out', from_files)
    frames = read_table([tmp_path / 'out'], 'frames')
    assert frames['stamp_ns'].to_pylist() == [stamp_of(index) for index in range(5)]
    # 1.7e9 s are 425,000,000 blocks of 4 s
    blocks = [f'drive@{FIRST}/block{425_000_000 + one}' for one in (0, 0, 1, 1, 2)]
    assert frames['group'].to_pylist() == blocks


def test_bag_with_label_folder_equals_files(folder, from_files, small_bundle, tmp_path):
    bag = record(tmp_path / 'bag', 5, labels=False)
    (tmp_path / 'labels').mkdir()
    for index in range(5):
        seconds, nanoseconds = divmod(stamp_of(index), 10**9)
        target = cv2.imread(str(folder / 'labels' / f'{index}.png'), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(tmp_path / 'labels' / f'{seconds}_{nanoseconds:09d}.png'), target)
    words = ['--bag', bag, '--label-folder', tmp_path / 'labels']
    assert extract(tmp_path / 'out', small_bundle, *words) == 0
    same_segments(tmp_path / 'out', from_files)


def test_processes_share_a_bag(from_files, small_bundle, tmp_path, monkeypatch):
    bag = record(tmp_path / 'bag', 5)
    monkeypatch.setenv('WORLD_SIZE', '3')
    for rank in range(3):
        monkeypatch.setenv('RANK', str(rank))
        words = ['--bag', bag, '--label-topic', '/camera/labels']
        assert extract(tmp_path / 'out', small_bundle, *words) == 0
    same_segments(tmp_path / 'out', from_files)


def test_truncated_bag_gives_what_is_readable_and_its_own_exit_status(
    small_bundle, tmp_path, capsys
):
    recorder = Recorder(tmp_path / 'bag')
    rng = np.random.default_rng(0)
    for index in range(60):  # noise does not compress: several chunks
        image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        recorder.image('/camera/image', stamp_of(index), image, 'rgb8')
        recorder.image('/camera/labels', stamp_of(index), make_frame(index)[1], 'mono8')
    bag = recorder.writer.close()
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(bag.read_bytes()[: bag.stat().st_size * 3 // 4])
    words = ['--bag', cut, '--label-topic', '/camera/labels']
    assert extract(tmp_path / 'out', small_bundle, *words) == TRUNCATED == 3
    frames = len(read_table([tmp_path / 'out'], 'frames'))
    assert 0 < frames < 60
    lost = read_sidecar(tmp_path / 'out')['lost']
    assert len(lost) == 1
    assert 'ends early: its last ' in lost[0]
    assert f'{frames} labelled frames were readable' in lost[0]
    assert lost[0] in capsys.readouterr().err


def test_under_torchrun_a_truncated_bag_loses_no_part(folder, small_bundle, tmp_path):
    bag = record(tmp_path / 'bag', 6, broken=(1,))  # of the second rank alone
    done = subprocess.run(
        [
            sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2',
            '--standalone', '-m', 'meta_ood_training.cli', 'segments',
            str(tmp_path / 'out'), '--bundle', str(small_bundle), '--threshold', *THRESHOLDS,
            '--device', 'cpu', '--bag', str(bag), '--label-topic', '/camera/labels',
        ],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    frames = read_table([tmp_path / 'out'], 'frames')
    assert frames['stamp_ns'].to_pylist() == [stamp_of(index) for index in (0, 2, 3, 4, 5)]
    assert '1 images not readable' in ' '.join(read_sidecar(tmp_path / 'out')['lost'])


def test_broken_images_are_counted_and_the_others_used(small_bundle, tmp_path):
    bag = record(tmp_path / 'bag', 5, broken=(1, 3))
    words = ['--bag', bag, '--label-topic', '/camera/labels']
    assert extract(tmp_path / 'out', small_bundle, *words) == TRUNCATED
    frames = read_table([tmp_path / 'out'], 'frames')
    assert frames['stamp_ns'].to_pylist() == [stamp_of(index) for index in (0, 2, 4)]
    sidecar = read_sidecar(tmp_path / 'out')
    assert '2 images not readable' in sidecar['lost'][0]
    assert [one['frames'] for one in sidecar['sources']] == [3]


def test_malformed_bags_of_another_writer_are_refused_with_a_reason(
    shared_data, small_bundle, tmp_path, capsys
):
    for name in ('test_bag_mcap', 'test_bag_sqlite3'):
        words = ['--bag', shared_data / 'bags' / name, '--label-topic', '/nothing']
        assert extract(tmp_path / name, small_bundle, *words) == 2
        error = capsys.readouterr().err
        assert 'got ' in error
        assert 'Traceback' not in error
        assert not list((tmp_path / name).glob('*.parquet'))


def test_labels_of_other_stamps_are_refused(small_bundle, tmp_path, capsys):
    recorder = Recorder(tmp_path / 'bag')
    image, target = make_frame(0)
    recorder.image('/camera/image', stamp_of(0), image, 'rgb8')
    recorder.image('/camera/labels', stamp_of(0) + 1, target, 'mono8')
    words = ['--bag', recorder.writer.close(), '--label-topic', '/camera/labels']
    assert extract(tmp_path / 'out', small_bundle, *words) == 2
    assert 'equal stamp, got 1 frames on /camera/image and 1 labels' in capsys.readouterr().err


def test_foreign_label_values_are_refused(small_bundle, tmp_path, capsys):
    recorder = Recorder(tmp_path / 'bag')
    image, target = make_frame(0)
    target[0, 0] = 77
    recorder.image('/camera/image', stamp_of(0), image, 'rgb8')
    recorder.image('/camera/labels', stamp_of(0), target, 'mono8')
    words = ['--bag', recorder.writer.close(), '--label-topic', '/camera/labels']
    assert extract(tmp_path / 'out', small_bundle, *words) == 2
    assert 'class ids below 3, 253 in-distribution' in capsys.readouterr().err
    assert not list((tmp_path / 'out').glob('*.parquet'))


def test_ground_truth_must_come_from_one_place(small_bundle, tmp_path, capsys):
    bag = record(tmp_path / 'bag', 1)
    assert extract(tmp_path / 'out', small_bundle, '--bag', bag) == 2
    assert 'must come from one place, got none' in capsys.readouterr().err


def test_empty_label_folder_is_refused(small_bundle, tmp_path, capsys):
    bag = record(tmp_path / 'bag', 1, labels=False)
    words = ['--bag', bag, '--label-folder', tmp_path]
    assert extract(tmp_path / 'out', small_bundle, *words) == 2
    assert '<seconds>_<nanoseconds>.png, got none' in capsys.readouterr().err


def test_recorded_segments_equal_a_run_of_the_network(from_files, small_bundle, tmp_path):
    bag = record_segments(tmp_path / 'bag', small_bundle)
    words = ['--bag', bag, *RECORDED, '--recorded-ids', '/ood/segment_ids']
    assert extract(tmp_path / 'out', small_bundle, *words) == 0
    recorded = load_segment_set([tmp_path / 'out'], 0.8)
    run = load_segment_set([from_files], 0.8)
    np.testing.assert_allclose(recorded.metrics, run.metrics, rtol=1e-6)  # float32 in the message
    for name in ('is_true_ood', 'size_px', 'road_px', 'overlap_px', 'object_size_px'):
        np.testing.assert_array_equal(getattr(recorded, name), getattr(run, name))
    sidecar = read_sidecar(tmp_path / 'out')
    assert sidecar['network_sha256'] is None
    assert sidecar['model_id'] == load_bundle(small_bundle).model_id
    assert sidecar['entropy_thresholds'] == [0.8]


def test_a_frame_without_its_ids_is_said_to_be_lost(small_bundle, tmp_path, capsys):
    bag = record_segments(tmp_path / 'bag', small_bundle, lose_ids_of=1)
    words = ['--bag', bag, *RECORDED, '--recorded-ids', '/ood/segment_ids']
    assert extract(tmp_path / 'out', small_bundle, *words) == 3
    assert '1 labelled frames lack a message on /ood/segment_ids' in capsys.readouterr().err


def test_only_the_first_process_may_find_a_data_set(folder, small_bundle, tmp_path, monkeypatch):
    words = ['--data', f'folder={folder}', '--limit', '2']
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank in '10':
        monkeypatch.setenv('RANK', rank)
        assert extract(tmp_path / 'out', small_bundle, *words) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    for rank in '01':
        monkeypatch.setenv('RANK', rank)
        assert extract(tmp_path / 'out', small_bundle, *words) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before


def test_contours_stand_in_for_recorded_ids(from_files, small_bundle, tmp_path):
    bag = record_segments(tmp_path / 'bag', small_bundle, ids=False)
    assert extract(tmp_path / 'out', small_bundle, '--bag', bag, *RECORDED) == 0
    drawn = load_segment_set([tmp_path / 'out'], 0.8)
    run = load_segment_set([from_files], 0.8)
    assert len(drawn) == len(run)
    # outlines are simplified by 1 px and fill holes: large segments agree
    large = run.size_px > 200
    assert large.any()
    assert np.mean(drawn.is_true_ood[large] == run.is_true_ood[large]) > 0.9


def test_incomplete_records_are_refused(small_bundle, tmp_path, capsys):
    bag = record_segments(tmp_path / 'some', small_bundle, drop=1)
    words = [*RECORDED, '--recorded-ids', '/ood/segment_ids']
    assert extract(tmp_path / 'out', small_bundle, '--bag', bag, *words) == 2
    assert 'recorded segments must be complete, got ' in capsys.readouterr().err
    bag = record_segments(tmp_path / 'none', small_bundle, metrics=False)
    assert extract(tmp_path / 'out', small_bundle, '--bag', bag, *words) == 2
    assert 'got 0 of 43 metrics at stamp' in capsys.readouterr().err


def test_recorded_cores_are_refused(small_bundle, tmp_path, capsys):
    bag = record_segments(tmp_path / 'bag', small_bundle, threshold=0.5, core_threshold=0.9)
    words = [*RECORDED, '--recorded-ids', '/ood/segment_ids']
    assert extract(tmp_path / 'out', small_bundle, '--bag', bag, *words) == 2
    told = capsys.readouterr().err
    assert 'must be published as they were judged, got cores at stamp' in told
    assert 'Record with core_threshold 0.' in told


def test_recorded_segments_are_not_mixed_with_images(folder, small_bundle, tmp_path, capsys):
    bag = record_segments(tmp_path / 'bag', small_bundle)
    words = ['--bag', bag, *RECORDED, '--data', f'folder={folder}']
    assert extract(tmp_path / 'out', small_bundle, *words) == 2
    assert 'cannot be mixed with images' in capsys.readouterr().err


def test_damaged_labels_are_refused():
    from meta_ood_training.segments.labelled_bags import to_labels

    message = SimpleNamespace(
        encoding='mono8', height=2, width=3, step=3, is_bigendian=0, data=b'12345'
    )
    with pytest.raises(ValueError, match=r'must have 6 bytes, got 5\. The message is damaged'):
        to_labels(message)
    message.encoding = 'rgb8'
    with pytest.raises(ValueError, match=r"mono8 or mono16, got 'rgb8'\. .*never compress"):
        to_labels(message)


def test_labels_with_padding_and_big_endian_ids():
    from meta_ood_training.segments.labelled_bags import to_labels

    padded = SimpleNamespace(
        encoding='mono8', height=2, width=2, step=3, is_bigendian=0, data=bytes([1, 2, 9, 3, 4, 9])
    )
    assert to_labels(padded).tolist() == [[1, 2], [3, 4]]
    wide = SimpleNamespace(
        encoding='mono16', height=1, width=2, step=4, is_bigendian=1, data=bytes([1, 0, 0, 2])
    )
    assert to_labels(wide).tolist() == [[256, 2]]


def test_sidecar_is_json_with_the_command(from_files):
    content = json.loads((from_files / 'segments.json').read_text())
    assert content['format'] == 'meta_ood.segments/2'
    assert content['command'].startswith('meta-ood-train')


def test_bag_in_better_bundle_out_node_restarted_with_it(small_bundle, tmp_path):
    """Walk the way that docs/meta_classification.md describes, with the real node at its end."""
    pytest.importorskip('rclpy')
    bag = record(tmp_path / 'bag', 14)
    words = ['--bag', bag, '--label-topic', '/camera/labels', '--block-seconds', '4']
    assert extract(tmp_path / 'segments', small_bundle, *words) == 0
    fit = ['fit-meta', tmp_path / 'segments', '--bundle', small_bundle, '--only']
    output = ['--output', tmp_path / 'better', '--report', tmp_path / 'report']
    assert main([str(word) for word in [*fit, *output]]) == 0
    better = load_bundle(tmp_path / 'better')
    assert better.entropy_threshold in [one.entropy_threshold for one in better.meta_classifiers]
    assert not load_bundle(small_bundle).meta_classifiers

    demo = [
        sys.executable,
        '-m',
        'meta_ood_ros.demo.__main__',
        '--bag',
        bag,
        '--topic',
        '/camera/image',
    ]
    demo += ['--bundle', tmp_path / 'better', '--frames', '2', '--output', tmp_path / 'demo']
    done = subprocess.run(
        [str(word) for word in demo], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    recording = Bag(next((tmp_path / 'demo').rglob('*.mcap')))
    topic = recording.choose_topic([SEGMENTS_TYPE])
    answers = [one.message for one in recording.read(topic)]
    assert len(answers) == 2
    pipeline = OodPipeline(better)
    for index, answer in enumerate(answers):
        assert answer.model_id == better.model_id
        assert answer.meta_threshold == np.float32(better.meta_threshold)
        result = pipeline(make_frame(index)[0])
        assert answer.segments_found == result.segments.count
        assert answer.segments_rejected == np.count_nonzero(~result.accepted)
    assert sum(answer.segments_rejected for answer in answers) > 0
