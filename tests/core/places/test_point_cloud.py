"""Points: one for each pixel that has a depth, none that was invented."""

from meta_ood_ros.core.places import CameraModel, segment_points
import numpy as np
import pytest

from .conftest import boxes_of, rectangle

SIZE = (120, 160)
CAMERA = CameraModel.from_calibration(SIZE, (100, 0, 79.5, 0, 100, 59.5, 0, 0, 1))


def points(labels, depth, *, probability=None, **options):
    ids, boxes = boxes_of(labels)
    probability = np.full(len(ids), 0.5, np.float32) if probability is None else probability
    return segment_points(labels, ids, boxes, probability, depth, CAMERA, **options)


def definition(labels, depth, stride, max_range):
    """Return the points by the book, one mask of the image at a time."""
    x, y = (CAMERA.rays[..., axis] * depth for axis in (0, 1))
    grid = np.zeros(SIZE, bool)
    grid[::stride, ::stride] = True
    good = grid & (depth > 0) & np.isfinite(depth)
    with np.errstate(invalid='ignore'):
        good &= x * x + y * y + depth * depth <= max_range**2
    found = []
    for label in np.unique(labels[labels > 0]):
        mask = good & (labels == label)
        found.append(np.column_stack([x[mask], y[mask], depth[mask], np.full(mask.sum(), label)]))
    return np.concatenate(found)


@pytest.mark.parametrize('stride', [1, 2, 3, 7])
@pytest.mark.parametrize('max_range', [np.inf, 6.0])
def test_points_are_those_of_the_definition(stride, max_range):
    rng = np.random.default_rng(4)
    labels = rectangle(SIZE, (10, 20, 33, 41), (50, 100, 21, 19), (119, 0, 1, 5))
    depth = rng.uniform(2, 9, SIZE).astype(np.float32)
    for hole in (0.0, np.nan, np.inf, -3.0):
        depth[rng.random(SIZE) < 0.1] = hole
    found = points(labels, depth, stride=stride, max_range=max_range)
    table = np.column_stack([found[name] for name in ('x', 'y', 'z', 'id')])
    np.testing.assert_allclose(table, definition(labels, depth, stride, max_range), rtol=1e-5)


def test_the_layout_is_that_of_a_point_cloud():
    labels = rectangle(SIZE, (10, 20, 3, 3), (50, 100, 2, 2))
    found = points(
        labels, np.full(SIZE, 1500, np.uint16), probability=np.array([0.25, 0.75], np.float32)
    )
    assert found.dtype.itemsize == 20
    assert found.tobytes()[12:16] == b'\x01\x00\x00\x00'
    np.testing.assert_array_equal(found['id'], [1] * 9 + [2] * 4)
    np.testing.assert_array_equal(found['ood_probability'], [0.25] * 9 + [0.75] * 4)
    np.testing.assert_allclose(found['z'], 1.5)


def test_where_depth_is_missing_is_no_point():
    labels = rectangle(SIZE, (10, 20, 30, 30))
    assert len(points(labels, np.full(SIZE, np.nan, np.float32))) == 0
    assert len(points(np.zeros(SIZE, np.int32), np.ones(SIZE, np.float32))) == 0


def test_wrong_options_are_refused():
    labels = rectangle(SIZE, (10, 20, 3, 3))
    for options in ({'stride': 0}, {'max_range': 0.0}, {'max_range': np.nan}):
        with pytest.raises(ValueError, match='stride must be at least 1 and max_range greater'):
            points(labels, np.ones(SIZE, np.float32), **options)
    with pytest.raises(ValueError, match='ood_probability must have one value for each of 1 ids'):
        points(labels, np.ones(SIZE, np.float32), probability=np.ones(2, np.float32))
