"""Segments drawn by hand, and the depth of a plane and of a ball as a pinhole camera sees them."""

import numpy as np


def boxes_of(labels):
    """Return ids and tight boxes of a label image."""
    ids = np.unique(labels)[np.unique(labels) > 0].astype(np.int32)
    boxes = np.zeros((len(ids), 4), np.int32)
    for k, label in enumerate(ids):
        rows, columns = np.nonzero(labels == label)
        boxes[k] = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    return ids, boxes


def rectangle(size, *places):
    """Return labels with rectangles (row, column, height, width), numbered from 1."""
    labels = np.zeros(size, np.int32)
    for label, (row, column, height, width) in enumerate(places, 1):
        labels[row : row + height, column : column + width] = label
    return labels


def plane_depth(camera, normal, offset):
    """Return the depth of the plane normal . p = offset at each pixel."""
    rays = np.concatenate([camera.rays, np.ones((*camera.size, 1))], axis=2)
    return (offset / (rays @ np.asarray(normal, float))).astype(np.float32)


def ball_depth(camera, centre, radius):
    """Return the depth of a ball, NaN beside it: the nearer root of |z r - c| = radius."""
    rays = np.concatenate([camera.rays, np.ones((*camera.size, 1))], axis=2).astype(float)
    a, b = (rays**2).sum(axis=2), rays @ np.asarray(centre, float)
    c = np.sum(np.square(centre)) - radius**2
    with np.errstate(invalid='ignore'):
        return ((b - np.sqrt(b * b - a * c)) / a).astype(np.float32)
