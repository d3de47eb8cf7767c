"""Vectors inside kernels against numpy."""

from meta_ood_ros.core.kernels.jit import array, kernel
from meta_ood_ros.core.kernels.lanes import (
    load,
    power_of_two,
    spread,
    spread_from,
    spread_wider,
    store,
    store_transposed,
    sum_of,
    where_greater,
)
from numba import types
import numpy as np

FLOATS, BYTES = array(types.float32, 1, readonly=False), array(types.uint8, 1, readonly=False)
DOUBLES = array(types.float64, 1, readonly=False)
RNG = np.random.default_rng(0)


@kernel(FLOATS, FLOATS, FLOATS)
def calculate(a, b, out):
    x, y = load(a, 1), load(b, 0)
    store(out, 0, x + y)
    store(out, 16, x - y)
    store(out, 32, x * y)
    store(out, 48, where_greater(x, y, x, spread(np.float32(7))))
    store(out, 64, spread_from(a, 3))


def test_arithmetic_and_choice_lane_by_lane():
    # one number more: an address that is not aligned to the whole vector must do
    a, b = RNG.normal(size=17).astype(np.float32), RNG.normal(size=16).astype(np.float32)
    b[5] = np.nan
    out = np.empty(80, np.float32)
    calculate(a, b, out)
    x = a[1:]
    np.testing.assert_array_equal(out[:16], x + b)
    np.testing.assert_array_equal(out[16:32], x - b)
    np.testing.assert_array_equal(out[32:48], x * b)
    np.testing.assert_array_equal(out[48:64], np.where(x > b, x, 7))
    np.testing.assert_array_equal(out[64:], np.full(16, a[3]))


@kernel(FLOATS, DOUBLES, DOUBLES)
def calculate_doubles(a, b, out):
    store(out, 0, spread_wider(a, 2) * load(b, 0))
    out[8] = sum_of(load(b, 0))


def test_doubles():
    a, b = RNG.normal(size=4).astype(np.float32), RNG.normal(size=8)
    out = np.empty(9)
    calculate_doubles(a, b, out)
    np.testing.assert_array_equal(out[:8], np.float64(a[2]) * b)
    np.testing.assert_allclose(out[8], b.sum(), rtol=1e-15)


@kernel(FLOATS, DOUBLES)
def take_powers(a, b):
    store(a, 0, power_of_two(load(a, 0) + spread(np.float32(1.5 * 2**23))))
    store(b, 0, power_of_two(load(b, 0) + spread(1.5 * 2**52)))


def test_powers_of_two_end_at_zero():
    exponents = np.array([0, 1, -1, 5, -20, -125, -126, -127, 10, 2, 3, 4, 6, 7, 8, 9], np.float32)
    doubles = np.array([0, 1, -1, 30, -500, -1021, -1022, -1023.0])
    a, b = exponents.copy(), doubles.copy()
    take_powers(a, b)
    np.testing.assert_array_equal(a, np.where(exponents > -127, np.exp2(exponents), 0))
    np.testing.assert_array_equal(b, np.where(doubles > -1023, np.exp2(doubles), 0))


@kernel(FLOATS, FLOATS, BYTES)
def turn(tile, floats, integers):
    store_transposed(tile, 2, floats, 3, 20)
    store_transposed(tile, 2, integers, 3, 20)


def test_a_square_is_written_transposed():
    tile = RNG.permutation(256).astype(np.float32)
    padded = np.concatenate([[0, 0], tile]).astype(np.float32)
    floats, integers = np.zeros(20 * 16 + 3, np.float32), np.zeros(20 * 16 + 3, np.uint8)
    turn(padded, floats, integers)
    expected = np.zeros((16, 20))
    expected[:, :16] = tile.reshape(16, 16).T
    np.testing.assert_array_equal(floats[3:], expected.reshape(-1))
    np.testing.assert_array_equal(integers[3:], expected.reshape(-1))
    assert not floats[:3].any()
