"""Tables on disk: what is written is read, in order, in parts, filtered; foreign ones refused."""

import json

from meta_ood_training.segments.folders import check_folders, list_used_sources
from meta_ood_training.segments.loading import load_segment_set
from meta_ood_training.segments.table import (
    FrameRows,
    part_path,
    read_sidecar,
    read_table,
    segment_schema,
    SegmentTableWriter,
    SIDECAR,
    write_sidecar,
)
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def write_part(folder, part, parts, frames):
    writer = SegmentTableWriter(folder, ('size',), part=part, parts=parts)
    for frame in frames:
        writer.write(make_rows(frame))
    writer.close()


def make_rows(frame, count=2):
    return FrameRows(
        frame={
            'frame': frame,
            'image': f'image{frame}',
            'group': 'g',
            'split': 'fit',
            'stamp_ns': 7 * frame,
            'height': 4,
            'width': 5,
            'road_px': 6,
            'in_distribution_px': 10,
            'ood_px': 2,
            'void_px': 1,
        },
        segments={
            'entropy_threshold': np.full(count, 0.3),
            'segment': np.arange(1, count + 1),
            'is_true_ood': np.arange(count) == 0,
            'adjusted_iou': np.zeros(count),
            'size_px': np.full(count, 3),
            'void_px': np.array([0, 2][:count]),
            'ood_px': np.zeros(count, int),
            'road_px': np.zeros(count, int),
            'in_distribution_px': np.zeros(count, int),
            'left_out': np.array([False, True][:count]),
            'size': 100.0 * frame + np.arange(count),
        },
        objects={'object': [1], 'size_px': [2]},
        overlaps={
            'entropy_threshold': [0.3],
            'segment': [1],
            'object': [1],
            'overlap_px': [2],
        },
    )


def describe(parts=1):
    return {
        'parts': parts,
        'metric_names': ['size'],
        'entropy_thresholds': [0.3],
        'connectivity': 8,
        'label_rule': 'deployed',
        'min_size_px': 0,
        'work_short_side': 0,
        'network_sha256': 'abc',
        'score': 'entropy',
    }


def test_parts_of_two_processes_read_as_one_in_the_order_of_the_frames(tmp_path):
    write_part(tmp_path, 0, 2, [0, 2, 4])
    write_part(tmp_path, 1, 2, [1, 3])
    write_sidecar(tmp_path, describe(2))
    table = read_table([tmp_path], 'segments')
    assert table['frame'].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert table['size'].to_pylist() == [100.0 * f + s for f in range(5) for s in range(2)]
    assert table['stamp_ns'].to_pylist() == [7 * f for f in range(5) for _ in range(2)]
    assert table.schema.equals(segment_schema(['size']))


def test_frames_of_a_second_folder_are_numbered_on(tmp_path):
    for name in ('a', 'b'):
        write_part(tmp_path / name, 0, 1, [0, 1])
        write_sidecar(tmp_path / name, describe())
    both = [tmp_path / 'a', tmp_path / 'b']
    assert read_table(both, 'frames')['frame'].to_pylist() == [0, 1, 2, 3]
    assert read_table(both, 'overlaps', frames=np.array([2]))['frame'].to_pylist() == [2]
    segments = load_segment_set(both, 0.3)
    assert segments.segment_frame.tolist() == [0, 1, 2, 3]
    assert segments.overlap_segment.tolist() == [0, 1, 2, 3]
    assert segments.left_out == 4


def test_left_out_segments_do_not_reach_the_fit_but_are_counted(tmp_path):
    write_part(tmp_path, 0, 1, [0])
    write_sidecar(tmp_path, describe())
    segments = load_segment_set([tmp_path], 0.3)
    assert (len(segments), segments.left_out) == (1, 1)
    assert segments.metrics.tolist() == [[0.0]]
    assert segments.valid_px.tolist() == [3]


def test_a_part_that_is_missing_is_named(tmp_path):
    write_part(tmp_path, 0, 2, [0])
    write_sidecar(tmp_path, describe(2))
    with pytest.raises(ValueError, match=r'2 parts of each table, got none of segments-00001-of-'):
        read_sidecar(tmp_path)


def test_a_folder_without_sidecar_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'written by meta-ood-train segments, got: FileNotFound'):
        read_sidecar(tmp_path)
    (tmp_path / SIDECAR).write_text(json.dumps({'format': 'other/1', 'parts': 1}))
    with pytest.raises(ValueError, match=r"'meta_ood.segments/2', got 'other/1'\. Extract"):
        read_sidecar(tmp_path)


def test_nothing_appears_before_the_writer_is_closed_or_when_it_is_given_up(tmp_path):
    writer = SegmentTableWriter(tmp_path, ('size',))
    writer.write(make_rows(0))
    assert not list(tmp_path.glob('*.parquet'))
    writer.close(keep=False)
    assert not list(tmp_path.iterdir())


def test_images_without_segments_are_there(tmp_path):
    writer = SegmentTableWriter(tmp_path, ('size',))
    writer.write(make_rows(0, count=0))
    writer.close()
    write_sidecar(tmp_path, describe())
    table = pq.read_table(part_path(tmp_path, 'segments', 0, 1))
    assert len(table) == 0
    assert table.schema.field('size').type == pa.float64()


def test_folders_of_different_networks_are_not_mixed(make_segments):
    one, other = make_segments(4), make_segments(4, network_sha256='another')
    with pytest.raises(ValueError, match=r'must share network_sha256, got .* Extract both alike'):
        load_segment_set([one, other], 0.5)


def test_unknown_threshold_is_refused(make_segments):
    with pytest.raises(ValueError, match=r'found at \(\[0.5, 0.7\]\), got 0.6: .*--threshold 0.6'):
        load_segment_set([make_segments(4)], 0.6)


def test_no_folder_is_refused():
    with pytest.raises(ValueError, match='at least one folder of segments is needed, got none'):
        load_segment_set([], 0.5)


def test_split_chooses_images(make_segments):
    folder = make_segments(10)
    chosen = load_segment_set([folder], 0.5, split='select')
    assert chosen.frame_name.tolist() == [f'made/{one}' for one in range(0, 10, 2)]
    assert set(chosen.segment_frame) <= set(range(5))


def test_only_frames_of_the_split_are_counted_as_used(make_segments):
    folder = make_segments(11)
    whole = check_folders([folder])['sources']
    assert list_used_sources(whole, [folder], None) == whole
    used = list_used_sources(whole, [folder], 'select')
    assert [(one['title'], one['frames']) for one in used] == [('made', 6)]
    assert list_used_sources(whole, [folder], 'other') == []


def test_all_thresholds_draw_the_same_images_and_know_their_folders(make_segments):
    folder = make_segments(60, thresholds=(0.3, 0.9), false_rate=12.0)
    many, few = (load_segment_set([folder], one) for one in (0.3, 0.9))
    assert len(many) > 2 * len(few)
    drawn = [load_segment_set([folder], one, max_segments=len(many) // 2) for one in (0.3, 0.9)]
    assert drawn[0].frame_name.tolist() == drawn[1].frame_name.tolist()
    assert 20 <= len(drawn[0].frame_name) <= 40
    other = make_segments(10, thresholds=(0.9,))
    assert len(load_segment_set([folder, other], 0.9).frame_name) == 70
    with pytest.raises(ValueError, match=r'found at \(\[0.9\]\), got 0.3: their objects would'):
        load_segment_set([folder, other], 0.3)


def test_too_many_segments_draw_whole_images_and_keep_their_objects(make_segments):
    folder = make_segments(60, true_share=1.0)
    everything = load_segment_set([folder], 0.5)
    part = load_segment_set([folder], 0.5, max_segments=len(everything) // 3, seed=1)
    assert len(part) <= len(everything) // 3
    assert part.frames_available == 60
    assert 15 <= len(part.frame_name) <= 25
    assert len(part.object_frame) == len(part.frame_name)
    assert len(part.overlap_segment) == len(part.object_frame)
    assert part.is_true_ood[part.overlap_segment].all()
    names = part.frame_name.tolist()
    for name in names[:3]:
        rows = part.metrics[part.segment_frame == names.index(name)]
        all_rows = everything.metrics[
            everything.segment_frame == everything.frame_name.tolist().index(name)
        ]
        np.testing.assert_array_equal(rows, all_rows)
    again = load_segment_set([folder], 0.5, max_segments=len(everything) // 3, seed=1)
    np.testing.assert_array_equal(again.metrics, part.metrics)


def test_small_objects_need_not_be_found_but_their_segments_stay_true(make_segments):
    folder = make_segments(20)
    everything = load_segment_set([folder], 0.5)
    without = load_segment_set([folder], 0.5, min_object_px=1501)
    assert len(everything.object_frame) > 0
    assert len(without.object_frame) == len(without.overlap_segment) == 0
    np.testing.assert_array_equal(without.is_true_ood, everything.is_true_ood)


def test_a_million_segments_are_read_in_bounded_memory(tmp_path):
    # one row group of a million rows would take 8 MB a column; only the drawn images are kept
    frames, each = 20_000, 50
    names = [f'm{one}' for one in range(4)]
    number = np.repeat(np.arange(frames), each)
    rng = np.random.default_rng(0)
    columns = {
        'frame': number,
        'image': pa.array(np.full(len(number), 'x')),
        'group': pa.array(np.full(len(number), 'g')),
        'split': pa.array(np.full(len(number), 'fit')),
        'stamp_ns': number,
        'entropy_threshold': np.full(len(number), 0.3),
        'segment': np.tile(np.arange(1, each + 1), frames),
        'is_true_ood': rng.random(len(number)) < 0.1,
        'adjusted_iou': np.zeros(len(number)),
        **{
            name: np.ones(len(number), int)
            for name in ('size_px', 'void_px', 'ood_px', 'road_px', 'in_distribution_px')
        },
        'left_out': np.zeros(len(number), bool),
        **{name: rng.standard_normal(len(number)) for name in names},
    }
    schema = segment_schema(names)
    table = pa.table({field.name: columns[field.name] for field in schema}, schema=schema)
    writer = SegmentTableWriter(tmp_path, names, part=0, parts=1)
    frame_rows = {
        **{name: np.arange(frames) for name in ('frame', 'stamp_ns')},
        **{name: np.full(frames, 'x') for name in ('image', 'group', 'split')},
        **{
            name: np.ones(frames, int)
            for name in (
                'height',
                'width',
                'road_px',
                'in_distribution_px',
                'ood_px',
                'void_px',
            )
        },
    }
    frame_schema = writer.schemas['frames']
    writer.close(keep=False)
    pq.write_table(table, part_path(tmp_path, 'segments', 0, 1), row_group_size=50_000)
    pq.write_table(
        pa.table({one.name: frame_rows[one.name] for one in frame_schema}, schema=frame_schema),
        part_path(tmp_path, 'frames', 0, 1),
    )
    for name in ('objects', 'overlaps'):
        pq.write_table(writer.schemas[name].empty_table(), part_path(tmp_path, name, 0, 1))
    write_sidecar(tmp_path, {**describe(), 'metric_names': names})

    segments = load_segment_set([tmp_path], 0.3, max_segments=20_000)

    assert len(segments) == 20_000
    assert len(segments.frame_name) == 400
    assert segments.frames_available == 20_000
    source = segments.segment_frame[0]
    assert np.count_nonzero(segments.segment_frame == source) == each
