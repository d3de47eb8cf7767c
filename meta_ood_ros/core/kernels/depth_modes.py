"""
The depths of a segment's pixels -> its modes: one surface, or an object and what is behind it.

A bump is a rise of the histogram of log depth (64 bins an octave, smoothed over 5 of them, about
7 % of the depth) after a fall to half. Bumps are one mode where the nearer quartile of the farther
one lies within 10 % of the farther quartile of the nearer one, as the rows of a floor that runs
away do. Modes of less than 5 % of the pixels are strays. In doubt two modes are seen: to take the
nearer is safer than to take a place in between.
"""

from meta_ood_ros.core.kernels.jit import bits_to_float, float_to_bits, part
import numpy as np

BINS = 1024  # 16 octaves from 1/32 m to 2 km
_SHIFT = 17  # of a float32's 23 bits of mantissa 6 remain: 64 bins an octave
_FIRST = (127 - 5) << 6  # the bin of 1/32 m
_STRAY = 0.05
_SEPARATION = 0.1
_NEAREST_SHARE = 0.2


@part
def depth_bin(z):  # type: ignore[no-untyped-def]
    """Return the bin of a positive depth."""
    index = np.intp(float_to_bits(z) >> _SHIFT) - _FIRST
    return min(max(index, 0), BINS - 1)


@part
def _middle(index):  # type: ignore[no-untyped-def]
    """Return the depth in the middle of a bin."""
    bits = np.int32(((index + _FIRST) << _SHIFT) + (1 << (_SHIFT - 1)))
    return np.float64(bits_to_float(bits))


@part
def _quartile(histogram, first, last, mass, quarters):  # type: ignore[no-untyped-def]
    """Return the depth below which one (or three) quarters of bins first..last-1 lie."""
    below, index = 0, first
    while index < last - 1 and 4 * (below + histogram[index]) < quarters * mass:
        below += histogram[index]
        index += 1
    return _middle(index)


@part
def _smoothed(histogram, index):  # type: ignore[no-untyped-def]
    """Return the mean of five bins, times five."""
    total = 0
    for i in range(max(index - 2, 0), min(index + 3, BINS)):
        total += histogram[i]
    return total


@part
def nearest_mode(histogram, total):  # type: ignore[no-untyped-def]
    """
    Return first and last + 1 bin of the mode to believe; (0, 0) where none can be.

    Believed is the only mode, or the nearest of several if it holds a fifth of the pixels.
    """
    needed = max(3, total // 50)
    believed, believed_end, believed_mass, modes = 0, 0, 0, 0
    group, group_mass, far = 0, 0, 0.0  # bumps that are one surface; far side of the last one
    begin, peak, low, low_at = 0, 0, 0, 0
    for index in range(BINS + 1):
        height = _smoothed(histogram, index) if index < BINS else 0
        rises = 2 * low <= peak and height >= max(2 * low, needed)
        if rises or index == BINS:
            stop = low_at if rises else BINS
            mass = 0
            for i in range(begin, stop):
                mass += histogram[i]
            near = _quartile(histogram, begin, stop, mass, 1)
            if group_mass > 0 and mass > 0 and near - far > _SEPARATION * far:
                if group_mass >= _STRAY * total:
                    modes += 1
                    if modes == 1:
                        believed, believed_end, believed_mass = group, begin, group_mass
                group, group_mass = begin, 0
            group_mass += mass
            far = _quartile(histogram, begin, stop, mass, 3) if mass > 0 else far
            begin, peak, low, low_at = stop, height, height, index
        elif height > peak:
            peak, low, low_at = height, height, index
        elif height < low:
            low, low_at = height, index
    if group_mass >= _STRAY * total:
        modes += 1
        if modes == 1:
            believed, believed_end, believed_mass = group, BINS, group_mass
    if modes == 0 or (modes > 1 and believed_mass < _NEAREST_SHARE * total):
        return 0, 0
    return believed, believed_end
