"""Places, areas and contours against the label image that they describe."""

import cv2
from meta_ood_ros.core.received_grid import (
    locate_segments,
    nearest_index,
    to_received_labels,
    to_received_values,
    trace_contours,
)
import numpy as np
import pytest
from skimage import measure

# Bigger, smaller, mixed, odd ratios, equal.
SIZES = [(24, 40), (48, 80), (72, 120), (61, 97), (23, 39), (25, 39), (17, 33), (12, 20)]


def random_labels(seed, shape=(24, 40)):
    """Return 8-connected components of blobs, numbered from 1."""
    noise = np.random.default_rng(seed).random(shape).astype(np.float32)
    labels = measure.label(cv2.GaussianBlur(noise, (0, 0), 1.2) > 0.53, connectivity=2)
    return labels.astype(np.int32), labels.max()


def test_nearest_index_by_hand():
    assert nearest_index(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest_index(3, 6).tolist() == [1, 3, 5]
    assert nearest_index(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert nearest_index(5, 3).tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize('size', SIZES)
def test_labels_are_those_of_the_nearest_pixel_centre(size, dtype):
    labels = random_labels(0)[0].astype(dtype)
    y = (np.arange(size[0]) + 0.5) * 24 / size[0]
    x = (np.arange(size[1]) + 0.5) * 40 / size[1]
    expected = labels[np.floor(y).astype(int)[:, None], np.floor(x).astype(int)]
    out = np.empty(size, dtype)
    assert to_received_labels(labels, size, out=out) is out
    assert np.array_equal(out, expected)
    assert np.array_equal(to_received_labels(labels, size), expected)


def test_same_size_is_not_copied():
    labels = random_labels(0)[0]
    assert to_received_labels(labels, labels.shape) is labels
    values = labels.astype(np.float32)
    assert to_received_values(values, values.shape) is values


def test_pictures_with_channels_are_scaled_too():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(
        to_received_labels(picture, (4, 8)), picture.repeat(2, axis=0).repeat(2, axis=1)
    )


def test_values_are_bilinear_between_pixel_centres():
    # A plane stays a plane away from the border, where the outermost value is held.
    plane = np.add.outer(3.0 * np.arange(6), 0.5 * np.arange(8)).astype(np.float32)
    y, x = (np.arange(12) + 0.5) / 2 - 0.5, (np.arange(16) + 0.5) / 2 - 0.5
    expected = np.add.outer(3.0 * np.clip(y, 0, 5), 0.5 * np.clip(x, 0, 7))
    out = np.empty((12, 16), np.float32)
    assert to_received_values(plane, (12, 16), out=out) is out
    assert np.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('size', SIZES)
def test_places_are_those_of_the_received_label_image(size, seed):
    labels, count = random_labels(seed)
    places = locate_segments(labels, count, size)
    received = to_received_labels(labels, size)
    for k in range(count):
        rows, columns = np.nonzero(received == k + 1)
        assert places.area[k] == rows.size
        if rows.size == 0:
            continue
        assert (places.top[k], places.bottom[k]) == (rows.min(), rows.max())
        assert (places.left[k], places.right[k]) == (columns.min(), columns.max())
        assert places.centroid_y[k] == pytest.approx(rows.mean())
        assert places.centroid_x[k] == pytest.approx(columns.mean())


def test_no_segment_has_empty_places_of_the_right_type():
    places = locate_segments(np.zeros((4, 6), np.int32), 0, (8, 12))
    for field in ('area', 'top', 'left', 'bottom', 'right'):
        assert getattr(places, field).shape == (0,)
        assert getattr(places, field).dtype == np.int64
    assert places.centroid_x.shape == places.centroid_y.shape == (0,)


def filled(contour, size):
    """Return the mask of the pixels within a contour, its border included."""
    mask = np.zeros(size, np.uint8)
    cv2.drawContours(mask, [contour[:, None]], 0, 1, cv2.FILLED)
    return mask.astype(bool)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('size', [(24, 40), (48, 80), (61, 97)])
def test_filled_contour_is_the_segment_without_its_holes(size, seed):
    labels, count = random_labels(seed)
    received = to_received_labels(labels, size)
    contours = trace_contours(labels, np.arange(count + 1) > 0, size, tolerance=0.0)
    assert sorted(contours) == list(range(1, count + 1))
    for k, contour in contours.items():
        segment = received == k
        # What an outer border encloses: all that the background cannot reach (4-connected).
        padded = np.pad(~segment, 1, constant_values=True)
        outside = measure.label(padded, connectivity=1)
        without_holes = (outside != outside[0, 0])[1:-1, 1:-1]
        assert np.array_equal(filled(contour, size), without_holes)
        assert segment[contour[:, 1], contour[:, 0]].all()


def test_contours_run_clockwise_as_seen_and_are_not_closed():
    labels = np.zeros((10, 12), np.int32)
    labels[2:6, 3:9] = 1
    contour = trace_contours(labels, np.array([False, True]), (10, 12), tolerance=0.0)[1]
    assert {tuple(point) for point in contour.tolist()} == {(3, 2), (8, 2), (8, 5), (3, 5)}
    x, y = contour.T.astype(float)
    # Shoelace formula; y points down, so clockwise as seen is positive.
    assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2 == 5 * 3
    assert not np.array_equal(contour[0], contour[-1])


def test_only_chosen_segments_have_contours():
    labels = np.zeros((10, 12), np.int32)
    labels[1, 1], labels[5, 5:8], labels[8, 2] = 1, 2, 3
    contours = trace_contours(
        labels, np.array([False, True, False, True]), (10, 12), tolerance=1.0
    )
    assert {k: contour.tolist() for k, contour in contours.items()} == {1: [[1, 1]], 3: [[2, 8]]}
    assert trace_contours(labels, np.zeros(4, bool), (10, 12), tolerance=1.0) == {}


def test_segment_inside_the_hole_of_another_has_its_own_contour():
    labels = np.ones((9, 9), np.int32)
    labels[1:8, 1:8], labels[4, 4] = 0, 2
    contours = trace_contours(labels, np.array([False, True, True]), (9, 9), tolerance=0.0)
    assert contours[2].tolist() == [[4, 4]]
    assert contours[1].max() == 8
    assert contours[1].min() == 0


def test_tolerance_bounds_the_distance_to_the_border():
    disc = np.zeros((80, 80), np.int32)
    cv2.circle(disc, (40, 40), 30, 1, cv2.FILLED)
    chosen = np.array([False, True])
    exact = trace_contours(disc, chosen, (80, 80), tolerance=0.0)[1]
    coarse = trace_contours(disc, chosen, (80, 80), tolerance=2.0)[1]
    assert len(coarse) < len(exact) / 2
    distance = [
        -cv2.pointPolygonTest(coarse[:, None].astype(np.float32), point.tolist(), True)
        for point in exact
    ]
    assert np.abs(distance).max() <= 2.0


# A VGA camera is smaller than the work grid of the default bundle.
@pytest.mark.parametrize('size', [(23, 39), (25, 39), (21, 36), (11, 20)])
def test_contours_lie_on_their_segment_in_a_smaller_image(size):
    labels, count = random_labels(1)
    received = to_received_labels(labels, size)
    places = locate_segments(labels, count, size)
    contours = trace_contours(labels, np.arange(count + 1) > 0, size, tolerance=0.0)
    assert sorted(contours) == [k + 1 for k in range(count) if places.area[k]]
    for k, contour in contours.items():
        assert (received[contour[:, 1], contour[:, 0]] == k).all()
    one = max(contours)
    some = trace_contours(labels, np.arange(count + 1) == one, size, tolerance=0.0)
    assert list(some) == [one]
    assert np.array_equal(some[one], contours[one])
