"""COCO segmentations <-> masks: pycocotools draws, after what its C code trusts was checked."""

from collections.abc import Mapping
import re
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

# Within these bounds nothing in C overflows, and no damaged number costs gigabytes or hours.
_MOST_PIXELS = 1 << 28
_FARTHEST_CORNER = 1e5
# A number is 5-bit digits from '0' to 'o'; from 'P' on, another digit follows.
_NUMBERS = re.compile(r'(?:[P-o]{0,5}[0-O])+')


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """
    Return the mask of one COCO annotation.

    Parameters
    ----------
    segmentation : list or dict
        A list of polygons [x0, y0, x1, y1, ...] in px, or {'size': [H, W], 'counts': ...} with
        run lengths as a list of int or as COCO's compressed string.

    Returns
    -------
    ndarray of shape (H, W), bool

    Notes
    -----
    Polygons cover the pixels that COCO's own masks do: where an edge is close to a centre, this
    differs from the even-odd rule on centres, by 0.1 % of the pixels of a large smooth shape.

    """
    height, width = size
    if not (height > 0 and width > 0 and height * width <= _MOST_PIXELS):
        raise ValueError(
            f'an image must have 1 to {_MOST_PIXELS} pixels, got {height} x {width}. '
            f'The annotation is damaged.'
        )
    if isinstance(segmentation, Mapping):
        return _decode_runs(segmentation, size)
    polygons = _check_polygons(segmentation)
    if not polygons:
        return np.zeros(size, bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *size))).astype(bool)


def tidy_segmentation(segmentation: Any) -> tuple[str, Any]:
    """
    Return a segmentation as COCO writes it, of those that other tools write.

    Returns
    -------
    reason : str
        Why there is no mask, '' where there is one.
    segmentation : list or dict
        One polygon without its list and corners as pairs become COCO's; polygons without area,
        of fewer than 3 corners, are left out.

    """
    if segmentation is None or segmentation in ([], {}, ''):
        return 'no segmentation', None
    if not isinstance(segmentation, list):
        return '', segmentation
    if all(isinstance(one, (int, float)) for one in segmentation):
        segmentation = [segmentation]
    elif len(segmentation) > 2 and all(_is_pair(one) for one in segmentation):
        segmentation = [segmentation]
    polygons = [
        [number for pair in one for number in pair] if _is_pairs(one) else one
        for one in segmentation
    ]
    with_area = [one for one in polygons if not isinstance(one, list) or len(one) >= 6]
    return ('', with_area) if with_area else ('polygons of fewer than 3 corners', None)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(one, (int, float)) for one in value)
    )


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_pair(one) for one in value)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask of shape (H, W), bool, as COCO's compressed run lengths."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def _decode_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    said = segmentation.get('size')
    if not isinstance(said, (list, tuple)) or tuple(said) != tuple(size):
        raise ValueError(
            f'size of the run lengths must be {list(size)} like the image, got {said}. '
            f'The annotation belongs to another image.'
        )
    counts = segmentation.get('counts')
    if isinstance(counts, bytes):
        counts = counts.decode('latin-1')
    if isinstance(counts, str):
        _check_compressed(counts)
        runs = {'size': size, 'counts': counts.encode()}
        # What falls short is left as the memory was: one pixel less must be too few.
        fits = _fit_into(counts, size[0] * size[1]) and not _fit_into(
            counts, size[0] * size[1] - 1
        )
        got = f'{counts[:16]!r}, which do not'
    else:
        try:
            lengths = np.array(counts, np.float64)
        except (TypeError, ValueError, OverflowError):
            lengths = np.array(np.nan)
        fits = (
            lengths.ndim == 1
            and bool((lengths >= 0).all() and (lengths == np.floor(lengths)).all())
            and lengths.sum() == size[0] * size[1]
        )
        got = f'a sum of {lengths.sum():g}'
        if fits:
            runs = coco_mask.frPyObjects(
                {'size': size, 'counts': lengths.astype(np.int64).tolist()}, *size
            )
    if not fits:
        raise ValueError(
            f'run lengths must be non-negative and add up to {size[0]} x {size[1]} = '
            f'{size[0] * size[1]} pixels, got {got}. The annotation is damaged.'
        )
    return coco_mask.decode(runs).astype(bool)


def _fit_into(counts: str, pixels: int) -> bool:
    try:
        coco_mask.decode({'size': (pixels, 1), 'counts': counts.encode()})
    except ValueError:
        return False
    return True


def _check_compressed(text: str) -> None:
    strange = re.search(r'[^0-o]', text)
    if strange:
        raise ValueError(
            f"compressed run lengths must hold characters '0' to 'o', got {strange[0]!r}. "
            f'The annotation is damaged.'
        )
    if not _NUMBERS.fullmatch(text):
        raise ValueError(
            f'compressed run lengths must be numbers of at most 6 digits and must end with a '
            f'last digit, got {text[-8:]!r} at the end. The annotation is cut off.'
        )


def _check_polygons(segmentation: Any) -> list[list[float]]:
    if not isinstance(segmentation, (list, tuple)):
        raise ValueError(
            f'a segmentation must be a list of polygons or a mapping with run lengths, got '
            f'{segmentation!r}. The annotation is damaged.'
        )
    checked = []
    for polygon in segmentation:
        try:
            corners = np.array(polygon, np.float64)
        except (TypeError, ValueError, OverflowError):
            corners = np.array(np.nan)
        if corners.ndim != 1 or corners.size % 2:
            raise ValueError(
                f'a polygon must be a list [x0, y0, x1, y1, ...] of numbers in a list of '
                f'polygons, got {str(polygon)[:40]}. Write [[x0, y0, ...]].'
            )
        if corners.size < 6:
            raise ValueError(
                f'a polygon must have at least 3 corners, got {corners.size // 2}. '
                f'The annotation is damaged.'
            )
        if not (np.abs(corners) <= _FARTHEST_CORNER).all():
            raise ValueError(
                f'corners of a polygon must lie within {_FARTHEST_CORNER:.0f} px of the image, '
                f'got {np.abs(corners).max():g}. The annotation is damaged.'
            )
        checked.append(corners.tolist())
    return checked
