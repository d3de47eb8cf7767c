"""
Several numbers at once: a vector register as a value inside numba kernels.

LLVM vectorises a plain loop only where it can prove that the arrays in it do not overlap, and the
kernels' innermost loops are too short (16) for the checks that it would make otherwise: with
explicit vectors the dense pass is three times faster. LLVM splits a vector into what the
processor has: 16 float32 are one register of AVX-512, two of AVX2, four of SSE or NEON.
"""

from collections.abc import Callable
import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model


class Lanes(types.Type):
    """Numba type of a vector of count numbers of one floating point type."""

    def __init__(self, element: types.Float, count: int) -> None:
        self.element = element
        self.count = count
        super().__init__(name=f'Lanes({element}, {count})')


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        element = manager.lookup(lanes.element).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(element, lanes.count))


FLOAT32_LANES = Lanes(types.float32, 16)
FLOAT64_LANES = Lanes(types.float64, 8)
_OF_ELEMENT = {types.float32: FLOAT32_LANES, types.float64: FLOAT64_LANES}


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """Return the lanes array[index], array[index + 1], ... of a flat array."""
    lanes = _OF_ELEMENT[array.dtype]

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        pointer = _pointer(context, builder, signature, arguments, lanes)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return lanes(array, types.intp), build


@intrinsic
def store(context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Write the lanes to array[index], array[index + 1], ... of a flat array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        pointer = _pointer(context, builder, signature, arguments, lanes)
        builder.store(arguments[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), build


@intrinsic
def spread(context: Any, value: Any) -> Any:
    """Return lanes that all hold the value, a float32 or float64."""
    lanes = _OF_ELEMENT[value]

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        return _spread(builder, arguments[0], lanes)

    return lanes(value), build


@intrinsic
def spread_from(context: Any, array: Any, index: Any) -> Any:
    """Return lanes that all hold array[index] of a flat array."""
    lanes = _OF_ELEMENT[array.dtype]

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        values = context.make_array(signature.args[0])(context, builder, arguments[0])
        value = builder.load(builder.gep(values.data, [arguments[1]]))
        return _spread(builder, value, lanes)

    return lanes(array, types.intp), build


@intrinsic
def spread_wider(context: Any, array: Any, index: Any) -> Any:
    """Return float64 lanes that all hold array[index] of a flat float32 array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        values = context.make_array(signature.args[0])(context, builder, arguments[0])
        value = builder.load(builder.gep(values.data, [arguments[1]]))
        return _spread(builder, builder.fpext(value, ir.DoubleType()), FLOAT64_LANES)

    return FLOAT64_LANES(array, types.intp), build


@intrinsic
def where_greater(context: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """Return x in the lanes where a > b, else y; a NaN is not greater."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        greater = builder.fcmp_ordered('>', arguments[0], arguments[1])
        return builder.select(greater, arguments[2], arguments[3])

    return a(a, b, x, y), build


@intrinsic
def sum_of(context: Any, lanes: Any) -> Any:
    """Return the sum of the lanes, added pairwise."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        index = ir.IntType(32)
        terms = [builder.extract_element(arguments[0], index(i)) for i in range(lanes.count)]
        while len(terms) > 1:
            half = len(terms) // 2
            terms = [builder.fadd(terms[i], terms[i + half]) for i in range(half)]
        return terms[0]

    return lanes.element(lanes), build


@intrinsic
def power_of_two(context: Any, shifted: Any) -> Any:
    """
    Return 2**n, where the integer n stands in the lowest bits of the lanes.

    n = -127 (float32) or -1023 (float64) gives 0.
    """
    bits, mantissa, bias = (32, 23, 127) if shifted.element.bitwidth == 32 else (64, 52, 1023)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        element = ir.IntType(bits)
        integers = ir.VectorType(element, shifted.count)

        def constant(value: int) -> ir.Constant:
            return ir.Constant(integers, [element(value)] * shifted.count)

        n = builder.bitcast(arguments[0], integers)
        exponent = builder.add(builder.shl(n, constant(mantissa)), constant(bias << mantissa))
        return builder.bitcast(exponent, arguments[0].type)

    return shifted(shifted), build


@intrinsic
def store_transposed(
    context: Any, tile: Any, index: Any, image: Any, start: Any, step: Any
) -> Any:
    """
    Write a square of numbers, transposed, from a flat array into a flat image.

    Lane r of the c-th of the lanes that begin at tile[index] becomes image[start + r * step + c];
    an image of bytes gets the numbers' integer part.
    """
    lanes = _OF_ELEMENT[tile.dtype]
    count = lanes.count

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
        array, i, _, j, distance = arguments
        intp = i.type
        square = []
        for c in range(count):
            offset = builder.add(i, intp(c * count))
            pointer = _pointer(context, builder, signature, (array, offset), lanes)
            square.append(builder.load(pointer, align=tile.dtype.bitwidth // 8))
        values = context.make_array(signature.args[2])(context, builder, arguments[2])
        for r, row in enumerate(_transpose(builder, square)):
            if image.dtype == types.uint8:
                row = builder.fptoui(row, ir.VectorType(ir.IntType(8), count))
            offset = builder.add(j, builder.mul(distance, intp(r)))
            pointer = builder.bitcast(builder.gep(values.data, [offset]), row.type.as_pointer())
            builder.store(row, pointer, align=image.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(tile, types.intp, image, types.intp, types.intp), build


def _transpose(builder: Any, rows: list[ir.Value]) -> list[ir.Value]:
    """Return the columns of a square of lanes: halves, quarters, ... change places."""
    count = len(rows)
    index = ir.IntType(32)
    step = count // 2
    while step:
        low, high = [], []
        for lane in range(count):
            block = lane // step % 2  # 0: keep, 1: comes from the partner
            low.append(index(lane if block == 0 else lane - step + count))
            high.append(index(lane + step if block == 0 else lane + count))
        masks = [ir.Constant(ir.VectorType(index, count), mask) for mask in (low, high)]
        for r in range(count):
            if r // step % 2 == 0:
                a, b = rows[r], rows[r + step]
                rows[r] = builder.shuffle_vector(a, b, masks[0])
                rows[r + step] = builder.shuffle_vector(a, b, masks[1])
        step //= 2
    return rows


def _spread(builder: Any, value: ir.Value, lanes: Lanes) -> ir.Value:
    index, vector = ir.IntType(32), ir.VectorType(value.type, lanes.count)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, index(0))
    zeros = ir.Constant(ir.VectorType(index, lanes.count), [index(0)] * lanes.count)
    return builder.shuffle_vector(first, undefined, zeros)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, lanes: Lanes) -> ir.Value:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    element = builder.gep(array.data, [arguments[1]])
    return builder.bitcast(element, context.get_value_type(lanes).as_pointer())


def _define(symbol: Callable[..., Any], instruction: str) -> None:
    """Make a Python operator on two lanes mean an LLVM instruction."""

    @intrinsic
    def operation(context: Any, a: Any, b: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> ir.Value:
            # a product and the sum it goes into may be fused
            return getattr(builder, instruction)(*arguments, flags=('contract', 'nsz'))

        return a(a, b), build

    @overload(symbol)
    def resolve(a, b):  # type: ignore[no-untyped-def]
        if isinstance(a, Lanes) and a == b:
            return lambda a, b: operation(a, b)
        return None


_define(operator.add, 'fadd')
_define(operator.sub, 'fsub')
_define(operator.mul, 'fmul')
