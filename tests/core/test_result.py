"""A result in pixels of its image, as plain values, as a picture and on disk."""

from dataclasses import replace
import json

import cv2
from meta_ood_ros.core import draw_overlay, load_result, OodPipeline, save_result
from meta_ood_ros.core.bundle_files import save_bundle
from meta_ood_ros.core.pictures import OOD_COLOR, REJECTED_COLOR
from meta_ood_ros.core.segments import find_segments, summarize_segments
from meta_ood_ros.core.settings import PipelineSettings
import numpy as np
import pytest

#: Two segments on a work grid of 96 x 128: a square, and a diagonal of two pixels.
MASK = np.zeros((96, 128), bool)
MASK[10:40, 20:60] = True
MASK[80, 100] = MASK[81, 101] = True


@pytest.fixture(scope='module')
def pipeline(tiny_bundle):
    return OodPipeline(tiny_bundle)


@pytest.fixture(scope='module')
def drawn(pipeline):
    """Return a function: image size -> a result whose segments are those of MASK."""
    image = np.full((96, 128, 3), 90, np.uint8)
    plain = pipeline(image, settings=PipelineSettings(entropy_threshold=1.0))
    segments = find_segments(MASK)
    summary = summarize_segments(segments, plain.semantic, plain.entropy)
    rows, columns = np.nonzero(segments.labels)
    ids = segments.labels[rows, columns] - 1
    values = np.zeros((2, len(plain.metrics.names)))
    for name, at in (('centroid_row', rows), ('centroid_column', columns)):
        values[:, plain.metrics.names.index(name)] = np.bincount(ids, at) / np.bincount(ids)

    def draw(size=(96, 128), **changes):
        return replace(
            plain,
            segments=segments,
            summary=summary,
            metrics=replace(plain.metrics, values=values),
            ood_probability=np.array([0.75, 0.25], np.float32),
            accepted=np.array([True, False]),
            image_size=size,
            **changes,
        )

    return draw


@pytest.mark.parametrize('size', [(96, 128), (192, 256), (360, 480), (70, 90)])
def test_boxes_centroids_and_contours_are_those_of_the_masks(drawn, size):
    view = drawn(size).to_image_size()
    rows = (np.arange(size[0]) + 0.5) * 96 / size[0]
    columns = (np.arange(size[1]) + 0.5) * 128 / size[1]
    labels = find_segments(MASK).labels[rows.astype(int)[:, None], columns.astype(int)]
    np.testing.assert_array_equal(view.labels, labels)
    for row in range(2):
        mask = view.mask(row)
        np.testing.assert_array_equal(mask, labels == row + 1)
        y, x = np.nonzero(mask)
        assert view.area_px[row] == mask.sum() > 0
        assert view.boxes[row].tolist() == list(cv2.boundingRect(mask.view(np.uint8)))
        np.testing.assert_allclose(view.centroids[row], [x.mean(), y.mean()])
        outline = np.zeros(size, np.uint8)
        cv2.fillPoly(outline, [view.contours[row]], 1)
        np.testing.assert_array_equal(outline > 0, mask)
    assert view.semantic.shape == view.entropy.shape == size
    assert 0 <= view.entropy.min() <= view.entropy.max() <= 1


def test_a_segment_that_no_pixel_falls_on_keeps_its_row(drawn):
    result = drawn((6, 8))  # pixel centres at 8, 24, ...: none falls on the two pixels
    view = result.to_image_size()
    assert view.area_px.tolist() == [3, 0]
    assert view.boxes.tolist() == [[1, 1, 3, 1], [0, 0, 0, 0]]
    assert np.isnan(view.centroids[1]).all()
    assert view.contours[1].shape == (0, 2)
    assert [one['id'] for one in result.to_dict()['segments']] == [1]


def test_ignored_pixels_have_no_class_and_no_entropy(drawn):
    ignored = np.zeros((96, 128), bool)
    ignored[:48] = True
    view = drawn((192, 256), ignored=ignored).to_image_size()
    assert (view.semantic[:96] == 255).all()
    assert (view.semantic[96:] < 19).all()
    assert (view.entropy[:96] == 0).all()


def test_masks_beyond_the_last_are_refused(drawn):
    with pytest.raises(IndexError, match=r'row must lie in 0..1, got 2. There are 2 segments'):
        drawn().to_image_size().mask(2)


def test_plain_values_are_ready_for_json(drawn):
    result = drawn((192, 256))
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    first, second = told['segments']
    assert first['box'] == [40, 20, 80, 60]
    assert first['centroid'] == [79.5, 49.5]
    assert first['contour'] == [[119, 20], [119, 79], [40, 79], [40, 20]]
    assert (first['area_px'], first['accepted'], second['accepted']) == (4800, True, False)
    assert first['ood_probability'] == 0.75
    assert first['class_name'] == result.class_names[first['class_id']]
    assert told['image_size'] == [192, 256]
    unjudged = replace(result, ood_probability=np.full(2, np.nan, np.float32))
    segments = unjudged.to_dict(contours=False)['segments']
    assert segments[0]['ood_probability'] is None
    assert 'contour' not in segments[0]


def test_overlay_outlines_what_is_accepted_in_cyan_and_the_rest_in_grey(drawn):
    image = np.full((384, 512, 3), 90, np.uint8)
    result = drawn((384, 512))
    picture = draw_overlay(image, result)
    assert (picture.shape, picture.dtype) == (image.shape, np.uint8)
    cyan = (picture == OOD_COLOR).all(axis=2)
    assert cyan[40, 90:230].all()  # the upper border of the box 80..239 x 40..159
    rejected = draw_overlay(image, replace(result, accepted=np.array([False, True])))
    assert (rejected[20:40, 80:240] == REJECTED_COLOR).all(axis=2).sum() > 100  # its label
    border = rejected[40, 90:230].astype(int)  # smoothed over two rows, as grey as it is
    assert np.ptp(border, axis=1).max() < 30 < border.min()
    assert not (rejected[30:170, 70:250] == OOD_COLOR).all(axis=2).any()
    # inside nothing is drawn: half the cyan of an accepted segment, half the image
    assert picture[140, 160].tolist() == [45, 172, 172]
    outside = np.array(result.class_colors[result.semantic[90, 10]])
    np.testing.assert_allclose(picture[360, 40], (90 + outside) / 2, atol=1)
    assert (image == 90).all()


def test_overlay_refuses_what_does_not_fit(drawn):
    image = np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(ValueError, match=r'of the size \(192, 256\) of the result, got \(96, 128'):
        draw_overlay(image, drawn((192, 256)))
    with pytest.raises(ValueError, match='a colour for each of its classes, got 0 colours. Take'):
        draw_overlay(image, drawn(class_colors=()))
    with pytest.raises(ValueError, match='overlay_alpha must'):
        draw_overlay(image, drawn(), overlay_alpha=2.0)


@pytest.mark.parametrize('masked', [False, True])
def test_a_result_survives_the_disk(drawn, tmp_path, masked):
    result = drawn((192, 256), ignored=~MASK if masked else None)
    save_result(result, tmp_path / 'made' / 'frame.npz')
    read = load_result(tmp_path / 'made' / 'frame.npz')
    for name in ('semantic', 'entropy', 'max_probability', 'ood_probability', 'accepted'):
        mine, yours = getattr(result, name), getattr(read, name)
        assert mine.dtype == yours.dtype
        np.testing.assert_array_equal(mine, yours)
    np.testing.assert_array_equal(read.segments.labels, result.segments.labels)
    np.testing.assert_array_equal(read.metrics.values, result.metrics.values)
    assert read.metrics.names == result.metrics.names
    assert (read.ignored is None) is not masked
    assert read.to_dict() == result.to_dict()
    assert (read.class_names, read.class_colors) == (result.class_names, result.class_colors)
    assert read.classifier_threshold == result.classifier_threshold
    image = np.zeros((192, 256, 3), np.uint8)
    np.testing.assert_array_equal(draw_overlay(image, read), draw_overlay(image, result))


def test_a_result_is_whole_or_absent(drawn, tmp_path, monkeypatch):
    path = tmp_path / 'frame.npz'
    save_result(drawn(), path)
    before = path.read_bytes()

    def write_half(stream, **_):
        stream.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(np, 'savez_compressed', write_half)
    with pytest.raises(OSError, match='disk full'):
        save_result(drawn((192, 256)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_files_are_no_results(drawn, tmp_path):
    path = tmp_path / 'frame.npz'
    with pytest.raises(ValueError, match="must end in .npz, got 'frame'. Append it"):
        save_result(drawn(), 'frame')
    with pytest.raises(FileNotFoundError):
        load_result(path)
    save_result(drawn(), path)
    whole = path.read_bytes()
    refused = 'must be a whole file written by save_result, got: .* compute the result again'
    for content in (b'', b'PK', whole[: len(whole) // 2], bytes(whole[:2000]) + bytes(2000)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=refused):
            load_result(path)
    np.savez(path, semantic=np.zeros(3), plain=np.array('{"format": 1}'))
    with pytest.raises(ValueError, match=refused):
        load_result(path)
    np.savez(path, plain=np.array([{}], dtype=object))  # a pickle, which is never opened
    with pytest.raises(ValueError, match=refused):
        load_result(path)
    np.savez(path, plain=np.array('{"format": 2}'))
    with pytest.raises(ValueError, match='must be a result of format 1, got another'):
        load_result(path)


def test_everything_says_what_it_is_in_a_line(drawn, pipeline, tmp_path):
    result = drawn((192, 256))
    shown = [repr(one) for one in (result, result.to_image_size(), result.segments,
                                   result.metrics, pipeline, pipeline.bundle)]  # fmt: skip
    assert shown == [
        'OodResult(192 x 256 px, work grid 96 x 128, 2 segments, 1 accepted)',
        'ImageSizeResult(192 x 256 px, work grid 96 x 128, 2 segments, 1 accepted)',
        'Segments(2 on 96 x 128 px)',
        'SegmentMetrics(2 segments x 75 metrics)',
        'OodPipeline(tiny@unsaved, eager on cpu)',
        'Bundle(tiny@unsaved, espnet_v2, 19 classes, 1 meta classifiers)',
    ]


def test_a_pipeline_takes_the_name_or_the_path_of_a_bundle(tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / 'mine')
    for given in (tmp_path / 'mine', str(tmp_path / 'mine')):
        assert OodPipeline(given).bundle.name == 'tiny'
    assert OodPipeline('default').bundle.model_id == OodPipeline('').bundle.model_id
    with pytest.raises(ValueError, match="got 'nowhere', which does not exist. Give a directory"):
        OodPipeline('nowhere')
    with pytest.raises(ValueError, match='or the name of an installed one, got a int. Give its'):
        OodPipeline(3)
