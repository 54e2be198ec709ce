"""Vectors of float32 numbers as values of compiled code.

Numba compiles loops over numbers and leaves it to the compiler to make vector instructions of them,
which it often does not. Here a variable is a vector, so a kernel says which numbers stay in
registers. LLVM makes of a vector what the processor has: 16 lanes are one register with AVX-512,
two with AVX2, four with NEON.

``x`` is a pointer to float32 numbers everywhere, and ``at`` an index of it.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

FLOAT, INT = ir.FloatType(), ir.IntType(32)
BYTES = ir.IntType(8).as_pointer()
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
# Only called by compiled code, which is kept with it.
INNER = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
f32 = np.float32


def widest() -> int:
    """Lanes of the processor's vector registers: 16, 8 or 4."""
    has = binding.get_host_cpu_features()
    return 16 if has.get("avx512f") else 8 if has.get("avx2") else 4


class Vector(types.Type):
    """So many float32 numbers."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(FLOAT, kind.lanes))


def _same(builder: Any, lanes: int, value: Any) -> Any:
    """A vector of one value, float or integer."""
    whole = ir.VectorType(value.type, lanes)
    if isinstance(value, ir.Constant):
        return ir.Constant(whole, [value.constant] * lanes)
    first = builder.insert_element(ir.Constant(whole, ir.Undefined), value, INT(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(INT, lanes), [0] * lanes))


def _as_vectors(builder: Any, of: Any, arguments: Any) -> Any:
    """The arguments of a signature that returns a vector, numbers among them as vectors."""
    return (
        value if isinstance(kind, Vector) else _same(builder, of.return_type.lanes, value)
        for kind, value in zip(of.args, arguments, strict=True)
    )


@intrinsic
def pointers(typing_context: Any, addresses: Any) -> Any:
    """Arrays at some addresses."""
    kind = types.UniTuple(types.CPointer(types.float32), len(addresses))

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        found = [
            builder.inttoptr(address, FLOAT.as_pointer())
            for address in cgutils.unpack_tuple(builder, arguments[0])
        ]
        return context.make_tuple(builder, kind, found)

    return kind(addresses), generate


def _call(builder: Any, name: str, *values: Any) -> Any:
    """LLVM's function for a vector or number of this type."""
    kind = values[0].type
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    of_kind = ir.FunctionType(kind, [kind] * len(values))
    return builder.call(
        cgutils.get_or_insert_function(builder.module, of_kind, f"llvm.{name}.{suffix}"), values
    )


def _define(symbol: Any, make: Callable[..., Any]) -> None:
    """Let an operator take vectors, or a vector and a float32 number."""

    @infer_global(symbol)
    class Arithmetic(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
            vectors = [of for of in arguments if isinstance(of, Vector)]
            if vectors and all(of in (vectors[0], types.float32) for of in arguments):
                return signature(vectors[0], *arguments)
            return None

    def lower(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return make(builder, *_as_vectors(builder, of, arguments))

    if symbol is operator.neg:
        lower_builtin(symbol, Vector)(lower)
        return
    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(symbol, *kinds)(lower)


_define(operator.add, lambda builder, a, b: builder.fadd(a, b))
_define(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_define(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_define(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
_define(operator.neg, lambda builder, a: builder.fneg(a))


@intrinsic(prefer_literal=True)
def fill(typing_context: Any, lanes: Any, value: Any) -> Any:
    """A vector of one number."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return _same(builder, lanes.literal_value, arguments[1])

    return Vector(lanes.literal_value)(lanes, value), generate


@intrinsic
def ramp(typing_context: Any, like: Any) -> Any:
    """0, 1, 2, ..."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return ir.Constant(ir.VectorType(FLOAT, like.lanes), [float(n) for n in range(like.lanes)])

    return like(like), generate


@intrinsic
def load(typing_context: Any, like: Any, x: Any, at: Any) -> Any:
    """As many numbers as the vector ``like`` has."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        pointer = builder.gep(arguments[1], [arguments[2]])
        kind = ir.VectorType(FLOAT, like.lanes)
        return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)

    return like(like, x, types.intp), generate


@intrinsic
def store(typing_context: Any, vector: Any, x: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        pointer = builder.gep(arguments[1], [arguments[2]])
        builder.store(
            arguments[0], builder.bitcast(pointer, arguments[0].type.as_pointer()), align=4
        )
        return context.get_dummy_value()

    return types.none(vector, x, types.intp), generate


@intrinsic
def fetch(typing_context: Any, x: Any, at: Any) -> Any:
    """Begin to bring a number and what lies around it to the second cache."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        pointer = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), BYTES)
        kind = ir.FunctionType(ir.VoidType(), [BYTES, INT, INT, INT])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(prefetch, [pointer, INT(0), INT(2), INT(1)])
        return context.get_dummy_value()

    return types.none(x, types.intp), generate


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once; at least one is a vector, the others may be numbers."""
    kind = next(kind for kind in (a, b, c) if isinstance(kind, Vector))

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return _call(builder, "fma", *_as_vectors(builder, of, arguments))

    return kind(a, b, c), generate


def _function(name: str) -> Any:
    """One of LLVM's functions of a vector."""

    def function(typing_context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
            return _call(builder, name, *arguments)

        return x(x), generate

    return intrinsic(function)


magnitude, floor = _function("fabs"), _function("floor")


@intrinsic
def where_less(typing_context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Lane by lane ``yes`` where ``a < b``, else ``no``, which is also NaN's."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        first, second, taken, other = _as_vectors(builder, of, arguments)
        return builder.select(builder.fcmp_ordered("<", first, second), taken, other)

    kind = next(kind for kind in (yes, no, a, b) if isinstance(kind, Vector))
    return kind(a, b, yes, no), generate


@intrinsic(prefer_literal=True)
def turn(typing_context: Any, x: Any, by: Any) -> Any:
    """The four numbers of every group of four moved by so many places, the first to the end."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        places = [n // 4 * 4 + (n + by.literal_value) % 4 for n in range(x.lanes)]
        order = ir.Constant(ir.VectorType(INT, x.lanes), places)
        return builder.shuffle_vector(arguments[0], arguments[0], order)

    return x(x, by), generate


def _halves(builder: Any, vector: Any) -> tuple[Any, Any]:
    lanes = vector.type.count // 2
    return tuple(
        builder.shuffle_vector(
            vector,
            vector,
            ir.Constant(ir.VectorType(INT, lanes), [start + n for n in range(lanes)]),
        )
        for start in (0, lanes)
    )


@intrinsic
def total(typing_context: Any, x: Any) -> Any:
    """The sum of all lanes."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        (vector,) = arguments
        while vector.type.count > 1:
            vector = builder.fadd(*_halves(builder, vector))
        return builder.extract_element(vector, INT(0))

    return types.float32(x), generate


@intrinsic
def totals(typing_context: Any, x: Any, y: Any) -> Any:
    """The sums of all lanes of two vectors, in less time than one by one."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        lanes = x.lanes

        def picked(a: Any, b: Any, places: Any) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT, lanes), places))

        half = lanes // 2
        low = [*range(half), *range(lanes, lanes + half)]
        one, other = arguments
        sums = builder.fadd(picked(one, other, low), picked(one, other, [n + half for n in low]))
        distance = half // 2
        while distance:
            swapped = picked(sums, sums, [n ^ distance for n in range(lanes)])
            sums, distance = builder.fadd(sums, swapped), distance // 2
        both = [builder.extract_element(sums, INT(place)) for place in (0, half)]
        return context.make_tuple(builder, of.return_type, both)

    return types.UniTuple(types.float32, 2)(x, y), generate


@intrinsic
def _power_of_two(typing_context: Any, n: Any) -> Any:
    """2^n of whole numbers from -126 to 127."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        whole = ir.VectorType(INT, n.lanes)
        bits = builder.fptosi(arguments[0], whole)
        bits = builder.add(bits, ir.Constant(whole, [127] * n.lanes))
        bits = builder.shl(bits, ir.Constant(whole, [23] * n.lanes))
        return builder.bitcast(bits, arguments[0].type)

    return n(n), generate


@intrinsic
def uniform(typing_context: Any, like: Any, counter: Any, key: Any) -> Any:
    """Random numbers from 0 to 1 (excluded), each of its counter, ``counter + lane``, and the key.

    The finaliser of MurmurHash3 (Appleby) of a Weyl sequence; both are taken modulo 2^32.
    """

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        lanes = like.lanes
        whole = ir.VectorType(INT, lanes)
        _, first, seed = arguments

        def constant(value: int) -> Any:
            return ir.Constant(whole, [value] * lanes)

        def mixed(bits: Any, shift: int) -> Any:
            return builder.xor(bits, builder.lshr(bits, constant(shift)))

        first, seed = (_same(builder, lanes, builder.trunc(of, INT)) for of in (first, seed))
        bits = builder.add(first, ir.Constant(whole, list(range(lanes))))
        bits = builder.add(builder.mul(bits, constant(0x9E3779B9)), seed)
        bits = builder.mul(mixed(bits, 16), constant(0x85EBCA6B))
        bits = builder.mul(mixed(bits, 13), constant(0xC2B2AE35))
        bits = builder.lshr(mixed(bits, 16), constant(8))
        scale = ir.Constant(ir.VectorType(FLOAT, lanes), [2.0**-24] * lanes)
        return builder.fmul(builder.sitofp(bits, scale.type), scale)

    return like(like, types.int64, types.int64), generate


LOWEST, HIGHEST = f32(-87), f32(88)
ONE, TWO, HALF = f32(1), f32(2), f32(0.5)
LOG2_E = f32(1.4426950408889634)
# -ln 2 in two parts, the first short enough that its multiples are exact.
LN2_HIGH, LN2_LOW = f32(-0.693359375), f32(2.12194440e-4)
# exp(r) = 1 + r + r² (...), |r| <= ln(2)/2: the minimax polynomial of Cephes' expf.
E0, E1, E2 = f32(1.9875691500e-4), f32(1.3981999507e-3), f32(8.3334519073e-3)
E3, E4, E5 = f32(4.1665795894e-2), f32(1.6666665459e-1), f32(5.0000001201e-1)
T0, T1, T2 = f32(-5.70498872745e-3), f32(2.06390887954e-2), f32(-5.37397155531e-2)
T3, T4 = f32(1.33314422036e-1), f32(-3.33332819422e-1)
L3, L5, L7, L9, L11, L13, L15 = (f32(1 / n) for n in range(3, 16, 2))


@njit(inline="always", **INNER)
def exp(x):
    """exp, to 2e-7 relative; beyond exp(-87) and exp(88) it stays there. NaN stays NaN."""
    x = where_less(x, LOWEST, LOWEST, x)
    x = where_less(HIGHEST, x, HIGHEST, x)
    n = floor(fma(x, LOG2_E, HALF))
    r = fma(n, LN2_LOW, fma(n, LN2_HIGH, x))
    y = fma(fma(fma(fma(fma(r, E0, E1), r, E2), r, E3), r, E4), r, E5)
    return fma(y, r * r, r + ONE) * _power_of_two(n)


@njit(inline="always", **INNER)
def sigmoid(x):
    return ONE / (exp(-x) + ONE)


@njit(inline="always", **INNER)
def tanh(x):
    """tanh, to 2e-7 relative; the polynomial, for small x, is that of Cephes' tanhf."""
    square = x * x
    small = fma(fma(fma(fma(square, T0, T1), square, T2), square, T3), square, T4)
    small = fma(x * square, small, x)
    large = ONE - TWO / (exp(x + x) + ONE)
    return where_less(magnitude(x), f32(0.625), small, large)


@njit(inline="always", **INNER)
def log1p(x):
    """log(1 + x) for 0 <= x <= 1, to 1e-7 relative: 2 artanh(x / (2 + x)) as a series."""
    ratio = x / (x + TWO)
    square = ratio * ratio
    series = fma(fma(fma(square, L15, L13), square, L11), square, L9)
    series = fma(fma(fma(fma(series, square, L7), square, L5), square, L3), square, ONE)
    return (ratio + ratio) * series
