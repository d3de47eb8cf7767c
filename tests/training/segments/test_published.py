"""`segments --core-threshold`: what is published of each segment, labelled, and read again."""

from dataclasses import replace
import json

import cv2
from meta_ood_ros.core.bundle_files import load_bundle
from meta_ood_ros.core.meta_classifier import MetaClassifier
from meta_ood_ros.core.meta_models.dense_layers import DenseLayers
from meta_ood_ros.core.pipeline import OodPipeline
from meta_ood_ros.core.segment_metrics import metric_names
from meta_ood_ros.core.settings import PipelineSettings
from meta_ood_training import cli
from meta_ood_training.datasets.sample import IGNORED, OOD
from meta_ood_training.segments import extraction, pieces
from meta_ood_training.segments.extraction import SegmentExtractor
from meta_ood_training.segments.labelled_frames import LabelledFrame
from meta_ood_training.segments.loading import load_segment_set
from meta_ood_training.segments.options import ExtractionOptions
from meta_ood_training.segments.schemas import CORE_TABLES, SCHEMAS, TABLES
from meta_ood_training.segments.segment_folder import extract_segments
from meta_ood_training.segments.segment_set import PublishedSegments, SegmentSet
from meta_ood_training.segments.table import part_path, read_sidecar, read_table, SIDECAR
import numpy as np
import pytest
import torch

SIZE = (48, 64)


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    """Write five noisy frames with an object and void each in the plain layout."""
    root = tmp_path_factory.mktemp('frames')
    for kind in ('images', 'labels'):
        (root / kind).mkdir()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), SIZE[::-1])
        label = np.zeros(SIZE, np.uint8)
        label[8 + seed : 24, 8:40] = OOD
        label[-8:] = IGNORED
        cv2.imwrite(str(root / 'images' / f'{seed}.png'), image)
        cv2.imwrite(str(root / 'labels' / f'{seed}.png'), label)
    return root


@pytest.fixture(scope='module')
def levels(frames, small_bundle):
    """Return two entropy thresholds and two core thresholds between which the frames vary."""
    pipeline = OodPipeline(small_bundle)
    maps = [pipeline(path).entropy for path in sorted((frames / 'images').iterdir())]
    return np.round(np.quantile(np.stack(maps), [0.3, 0.5, 0.7, 0.85]), 3).tolist()


def words_for(place, frames, bundle, levels):
    return [
        *('segments', str(place), '--bundle', str(bundle), '--data', f'folder={frames}'),
        *('--threshold', *map(str, levels[:2]), '--device', 'cpu'),
        *('--core-threshold', *map(str, levels[2:])),
    ]


@pytest.fixture(scope='module')
def whole(frames, small_bundle, levels, tmp_path_factory):
    """Extract without an interruption."""
    place = tmp_path_factory.mktemp('whole') / 'rows'
    assert cli.main(words_for(place, frames, small_bundle, levels)) == 0
    return place


def same_tables(one, other):
    for table in TABLES:
        assert read_table([one], table).equals(read_table([other], table)), table


def forget_cores(folder):
    """Make of a folder one that was written before there were cores."""
    for table in CORE_TABLES:
        part_path(folder, table, 0, 1).unlink()
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar.pop('core_thresholds', None)
    (folder / SIDECAR).write_text(json.dumps(sidecar))


def to_logits(entropy):
    """Return logits (3, H, W) of a normalized entropy: (a, 0, 0), found in a table of a."""
    a = np.linspace(0.0, 12.0, 100_001)
    p = np.stack([np.exp(a), np.ones_like(a), np.ones_like(a)])
    p /= p.sum(axis=0)
    table = -(p * np.log(p)).sum(axis=0) / np.log(3.0)
    first = np.interp(entropy, table[::-1], a[::-1])
    return torch.tensor(np.stack([first, np.zeros_like(first), np.zeros_like(first)])).float()


def draw_rows(monkeypatch, bundle, entropy, target):
    """Return the rows of one image whose entropy is drawn; only the network is left out."""
    monkeypatch.setattr(
        extraction, 'run_network', lambda pipeline, image: (to_logits(entropy), entropy.shape)
    )
    frame = LabelledFrame(np.zeros((*SIZE, 3), np.uint8), target, 'drawn', 'group', 'fit')
    extractor = SegmentExtractor(bundle, [0.5], core_thresholds=[0.9], device='cpu')
    return extractor(frame, 0)


def drawing():
    """
    Return entropy and target with three segments above .5.

    The first has two cores of 7 x 9 pixels above .9, one of them on the only object; the second
    has none; the third has one that is void but for 15 of its 50 pixels.
    """
    entropy = np.full(SIZE, 0.2)
    entropy[4:16, 4:46] = 0.7
    entropy[6:13, 6:15] = entropy[6:13, 30:39] = 0.97
    entropy[20:30, 2:20] = 0.7
    entropy[20:36, 28:54] = 0.7
    entropy[24:29, 32:42] = 0.97
    target = np.zeros(SIZE, np.uint8)
    target[5:14, 5:16] = OOD
    target[24:29, 35:42] = IGNORED
    return entropy, target


def test_of_a_true_segment_one_core_may_be_false(monkeypatch, small_bundle):
    rows = draw_rows(monkeypatch, load_bundle(small_bundle), *drawing())
    judged, published = rows.segments, rows.published
    assert judged['is_true_ood'].tolist() == [True, False, False]
    assert judged['left_out'].tolist() == [False, False, False]
    assert published['entropy_threshold'].tolist() == [0.5] * 4
    assert published['core_threshold'].tolist() == [0.9] * 4
    assert published['segment'].tolist() == [1, 1, 2, 3]
    assert published['published'].tolist() == [1, 2, 3, 4]
    assert published['size_px'].tolist() == [63, 63, 180, 50]
    assert published['is_true_ood'].tolist() == [True, False, False, False]
    assert published['adjusted_iou'].tolist() == [63 / 99, 0.0, 0.0, 0.0]
    assert published['ood_px'].tolist() == [63, 0, 0, 0]
    assert published['road_px'].tolist() == [0, 63, 180, 15]
    assert published['in_distribution_px'].tolist() == [0, 63, 180, 15]
    assert published['void_px'].tolist() == [0, 0, 0, 35]
    assert published['left_out'].tolist() == [False, False, False, True]
    overlaps = rows.published_overlaps
    assert [overlaps[one].tolist() for one in ('published', 'object', 'overlap_px')] == [
        [1], [1], [63],
    ]  # fmt: skip


def test_cores_smaller_than_the_smallest_segment_are_none(monkeypatch, small_bundle):
    bundle = replace(load_bundle(small_bundle), min_size_px=64)
    rows = draw_rows(monkeypatch, bundle, *drawing())
    assert rows.published['segment'].tolist() == [1, 2, 3]
    assert rows.published['size_px'].tolist() == rows.segments['size_px'].tolist()
    assert rows.published['is_true_ood'].tolist() == [True, False, False]


@pytest.mark.parametrize('smallest', [0, 12])
def test_offline_is_published_what_the_node_publishes(
    frames, small_bundle, levels, tmp_path, smallest
):
    _, low, high, _ = levels
    names, rng = metric_names(3), np.random.default_rng(0)
    weights = rng.normal(size=(1, len(names)))
    bundle = replace(
        load_bundle(small_bundle),
        entropy_threshold=low,
        core_threshold=high,
        min_size_px=smallest,
        meta_classifiers=(
            MetaClassifier(
                kind='logistic_regression',
                model=DenseLayers(
                    ((weights, np.zeros(1)),), np.zeros(len(names)), np.full(len(names), 100.0)
                ),
                metric_names=names,
                entropy_threshold=low,
            ),
        ),
    )
    paths = sorted((frames / 'images').iterdir())
    judge = PipelineSettings(core_threshold=0.0)
    node = OodPipeline(bundle)
    probability = np.concatenate([node(one, settings=judge).ood_probability for one in paths])
    bundle = replace(bundle, meta_threshold=float(np.median(probability)))
    node = OodPipeline(bundle)
    extract_segments(
        tmp_path, bundle=bundle, data=f'folder={frames}', core_thresholds=high, device='cpu'
    )
    rows = read_table([tmp_path], 'published').to_pylist()
    split, rejected = 0, 0
    for number, path in enumerate(paths):
        target = cv2.imread(str(frames / 'labels' / path.name), cv2.IMREAD_UNCHANGED)
        result = node(path)
        target = extraction.resize_labels(target, result.work_size)
        accepted = node(path, settings=judge).accepted
        rejected += np.count_nonzero(~accepted)
        labels = result.segments.labels
        expected = [
            (np.count_nonzero(labels == one), np.count_nonzero((labels == one) & (target == OOD)))
            for one in np.flatnonzero(result.accepted) + 1
        ]
        found = [
            (row['size_px'], row['ood_px'])
            for row in rows
            if row['frame'] == number and accepted[row['segment'] - 1]
        ]
        assert found == expected
        split += len(found) > np.count_nonzero(accepted)
    assert rejected
    assert split


def test_every_pair_of_thresholds_is_there(whole, levels):
    low, middle, *cores = levels
    sidecar = read_sidecar(whole)
    assert sidecar['core_thresholds'] == cores
    assert sidecar['rows_of_part_0']['published'] == len(read_table([whole], 'published'))
    for threshold in (low, middle):
        judged = read_table([whole], 'segments', entropy_threshold=threshold)
        for core in cores:
            rows = read_table(
                [whole], 'published', entropy_threshold=threshold, core_threshold=core
            )
            # each judged segment is published once at least, within itself
            pairs = list(zip(rows['frame'].to_pylist(), rows['segment'].to_pylist(), strict=True))
            size = dict.fromkeys(pairs, 0)
            for pair, pixels in zip(pairs, rows['size_px'].to_pylist(), strict=True):
                size[pair] += pixels
            whole_size = {
                (frame, segment): pixels
                for frame, segment, pixels in zip(
                    *(judged[name].to_pylist() for name in ('frame', 'segment', 'size_px')),
                    strict=True,
                )
            }
            assert size.keys() == whole_size.keys()
            assert all(size[one] <= whole_size[one] for one in size)


def test_an_interrupted_run_goes_on_with_its_cores(
    frames, small_bundle, levels, tmp_path, whole, monkeypatch, capsys
):
    place = tmp_path / 'rows'
    words = words_for(place, frames, small_bundle, levels)
    extract = SegmentExtractor.__call__

    def stop(self, frame, number):
        if number == 3:
            raise KeyboardInterrupt
        return extract(self, frame, number)

    monkeypatch.setattr(pieces, '_PIECE_SECONDS', -1.0)
    monkeypatch.setattr(SegmentExtractor, '__call__', stop)
    assert cli.main(words) == cli.INTERRUPTED
    kept = tmp_path / '.rows.pieces' / '00000-of-00001' / '00001'
    part_path(kept, 'published', 0, 1).write_bytes(b'PAR1')  # the power was cut, too
    monkeypatch.setattr(SegmentExtractor, '__call__', extract)
    capsys.readouterr()
    assert cli.main([*words[:-1], '--resume']) == cli.WRONG_USE
    said = capsys.readouterr().err
    assert f'begun, with core_thresholds {levels[2:]}, got {levels[2:3]}' in said
    assert cli.main([*words, '--resume']) == 0
    same_tables(place, whole)


def test_several_processes_write_the_cores_of_one(
    frames, small_bundle, levels, tmp_path, whole, monkeypatch
):
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank in ('1', '0'):
        monkeypatch.setenv('RANK', rank)
        assert cli.main(words_for(tmp_path / 'rows', frames, small_bundle, levels)) == 0
    same_tables(tmp_path / 'rows', whole)


@pytest.mark.parametrize(
    ('core', 'said'),
    [
        ('0.05', '--core-threshold must be above an entropy threshold, got 0.05 and'),
        ('80', 'core_threshold must lie in [0, 1], got 80.0'),
    ],
)
def test_core_thresholds_that_cut_nothing_are_refused(
    frames, small_bundle, tmp_path, capsys, core, said
):
    words = words_for(tmp_path / 'rows', frames, small_bundle, [0.4, 0.5, core])
    assert cli.main(words) == cli.WRONG_USE
    assert said in capsys.readouterr().err


def test_cores_of_a_record_are_refused():
    with pytest.raises(ValueError, match='a record holds what was published at one setting'):
        ExtractionOptions(recorded='/ood/segments', core_thresholds=0.9)


def test_parts_point_to_the_segment_that_they_are_of(whole, levels):
    low, _, *cores = levels
    segments = load_segment_set([whole], low, core_thresholds=cores)
    rows = read_table([whole], 'published', entropy_threshold=low).to_pylist()
    for published, core in zip(segments.published, cores, strict=True):
        parts = published.segments
        assert published.core_threshold == core
        assert parts.metrics.shape == (len(parts), 0)
        known = [
            (one['frame'], one['segment'], one['published'], one['is_true_ood'])
            for one in rows
            if one['core_threshold'] == core
            and not one['left_out']
            and one['segment'] in segments.segment_number[segments.segment_frame == one['frame']]
        ]
        assert known == list(
            zip(
                segments.segment_frame[published.parent].tolist(),
                segments.segment_number[published.parent].tolist(),
                parts.segment_number.tolist(),
                parts.is_true_ood.tolist(),
                strict=True,
            )
        )
        np.testing.assert_array_equal(
            parts.segment_frame, segments.segment_frame[published.parent]
        )
        np.testing.assert_array_equal(parts.object_size_px, segments.object_size_px)


def make_set(rng, frames, names, of_object):
    """Return a random set of segments, the frame of each given, on objects of the same frames."""
    pairs = [
        (row, other)
        for row, frame in enumerate(frames)
        for other, where in enumerate(of_object)
        if where == frame and rng.random() < 0.5
    ]
    row, other = np.array(pairs, np.int64).reshape(-1, 2).T
    true = np.zeros(len(frames), bool)
    true[row] = True
    zero, count = np.zeros(len(names), np.int64), len(frames)
    return SegmentSet(
        entropy_threshold=0.5,
        metric_names=(),
        metrics=np.zeros((count, 0)),
        is_true_ood=true,
        adjusted_iou=np.zeros(count),
        segment_frame=np.asarray(frames, np.int64),
        segment_number=np.arange(count),
        size_px=np.full(count, 100),
        valid_px=np.full(count, 100),
        road_px=np.zeros(count, np.int64),
        in_distribution_px=np.zeros(count, np.int64),
        frame_name=np.array(names, object),
        frame_group=np.array(names, object),
        frame_split=np.array(names, object),
        frame_road_px=zero,
        frame_in_distribution_px=zero,
        frame_left_out=zero,
        frame_objects_left_out=zero,
        object_frame=np.asarray(of_object, np.int64),
        object_size_px=np.arange(10, 10 + len(of_object)),
        object_number=np.arange(len(of_object)),
        overlap_segment=row,
        overlap_object=other,
        overlap_px=np.full(len(row), 5),
    )


@pytest.mark.parametrize('seed', range(5))
def test_parts_go_where_their_segments_go(seed):
    rng = np.random.default_rng(seed)
    names = [f'image{one}' for one in range(6)]
    judged = make_set(rng, rng.integers(0, 6, 12), names, rng.integers(0, 6, 8))
    parent = np.sort(rng.integers(0, 12, 20))
    parts = make_set(rng, judged.segment_frame[parent], names, judged.object_frame)
    # a part knows its segment by its size, and the segment itself by its number
    parts = replace(parts, size_px=parent)
    judged = replace(judged, published=(PublishedSegments(0.9, parts, parent),))
    for left in (
        judged.without(rng.random(12) < 0.3),
        judged.without_unknown(rng.random(12) < 0.5),
        judged.with_objects(judged.object_size_px >= 14),
        judged.of_frames(rng.random(6) < 0.5),
        judged.without_unknown(rng.random(12) < 0.3).of_frames(rng.random(6) < 0.7),
    ):
        (published,) = left.published
        kept = published.segments
        np.testing.assert_array_equal(kept.size_px, left.segment_number[published.parent])
        expected = parts.segment_number[np.isin(parent, left.segment_number)]
        np.testing.assert_array_equal(kept.segment_number, expected)
        np.testing.assert_array_equal(kept.segment_frame, left.segment_frame[published.parent])
        for name in ('frame_name', 'object_number', 'object_frame', 'frame_objects_left_out'):
            np.testing.assert_array_equal(getattr(kept, name), getattr(left, name))
        pairs = set(zip(parts.overlap_segment, parts.overlap_object, strict=True))
        assert set(
            zip(
                kept.segment_number[kept.overlap_segment],
                kept.object_number[kept.overlap_object],
                strict=True,
            )
        ) == {
            (segment, one)
            for segment, one in pairs
            if segment in kept.segment_number and one in kept.object_number
        }


def test_folders_of_before_are_read_as_ever(whole, levels, frames, small_bundle, tmp_path):
    old = tmp_path / 'old'
    words = words_for(old, frames, small_bundle, levels)
    assert cli.main(words[: words.index('--core-threshold')]) == 0
    assert [len(read_table([old], table)) for table in CORE_TABLES] == [0, 0]
    forget_cores(old)
    read_sidecar(old)
    both = read_table([old, whole], 'published')
    assert both.schema.equals(SCHEMAS['published'])
    assert len(both) == len(read_table([whole], 'published'))
    assert min(both['frame'].to_pylist()) == 5
    assert len(load_segment_set([old], levels[0])) == len(load_segment_set([whole], levels[0]))
    with pytest.raises(ValueError, match=r'one at which the segments in .*old were cut \(\[\]\)'):
        load_segment_set([whole, old][::-1], levels[0], core_thresholds=levels[2:])
    high = [levels[0], levels[3], levels[2]]  # the core threshold lies between
    words = [*words_for(tmp_path / 'high', frames, small_bundle, high), '--limit', '1']
    assert cli.main(words) == 0
    with pytest.raises(ValueError, match='must be above the entropy threshold'):
        load_segment_set([tmp_path / 'high'], levels[3], core_thresholds=levels[2:3])


def test_a_folder_that_lost_its_cores_is_refused(frames, small_bundle, levels, tmp_path):
    assert cli.main([*words_for(tmp_path, frames, small_bundle, levels), '--limit', '1']) == 0
    part_path(tmp_path, 'published_overlaps', 0, 1).unlink()
    with pytest.raises(ValueError, match='must hold 1 parts of each table, got none of published'):
        read_sidecar(tmp_path)
