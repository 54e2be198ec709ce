"""Products of small matrices that lie in the processor's first caches.

A tile of the result stays in registers while the depth is walked through. Matrices are rows in
arrays of float32 numbers: a matrix ``x`` begins at ``x_at``, its rows are ``x_row`` apart.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from vd_forecasting.models.fused_xlstm.compiled.vectors import (
    FLOAT,
    INNER,
    INT,
    _call,
    _halves,
    _same,
)

# Numba would compile a product anew for every Python constant that it is called with.
NEW, ADDED = np.bool_(False), np.bool_(True)
START, NEXT = np.intp(0), np.intp(1)


@intrinsic
def lanes_of(typing_context: Any, like: Any) -> Any:
    """How many lanes a vector has."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, like.lanes)

    return types.intp(like), generate


@intrinsic(prefer_literal=True)
def _tile(
    typing_context: Any, like: Any, rows: Any, vectors: Any, a: Any, a_at: Any, a_row: Any,
    a_step: Any, b: Any, b_at: Any, b_step: Any, depth: Any, c: Any, c_at: Any, c_row: Any,
    add: Any,
) -> Any:  # fmt: skip
    """So many vectors of so many rows of c are a b, or are increased by it."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        (_, _, _, a_, a_at, a_row, a_step, b_, b_at, b_step, depth, c_, c_at, c_row, add) = (
            arguments
        )
        kind = ir.VectorType(FLOAT, like.lanes)
        high, wide = rows.literal_value, vectors.literal_value
        first_a = builder.gep(a_, [a_at])
        first_b = builder.gep(b_, [b_at])
        first_c = builder.gep(c_, [c_at])
        rows_of_a = [builder.gep(first_a, [builder.mul(a_row, a_row.type(r))]) for r in range(high)]
        targets = [
            builder.bitcast(
                builder.gep(first_c, [builder.add(builder.mul(c_row, c_row.type(r)),
                                                  c_row.type(v * like.lanes))]),
                kind.as_pointer(),
            )
            for r in range(high) for v in range(wide)
        ]  # fmt: skip
        sums = [cgutils.alloca_once(builder, kind) for _ in targets]
        with builder.if_else(add) as (increase, begin):
            with increase:
                for place, target in zip(sums, targets, strict=True):
                    builder.store(builder.load(target, align=4), place)
            with begin:
                for place in sums:
                    builder.store(ir.Constant(kind, [0.0] * like.lanes), place)
        with cgutils.for_range(builder, depth, intp=depth.type) as loop:
            row_of_b = builder.gep(first_b, [builder.mul(loop.index, b_step)])
            of_b = [
                builder.load(
                    builder.bitcast(
                        builder.gep(row_of_b, [depth.type(v * like.lanes)]), kind.as_pointer()
                    ),
                    align=4,
                )
                for v in range(wide)
            ]
            along_a = builder.mul(loop.index, a_step)
            for r, row in enumerate(rows_of_a):
                of_a = _same(builder, like.lanes, builder.load(builder.gep(row, [along_a])))
                for v, vector in enumerate(of_b):
                    place = sums[r * wide + v]
                    builder.store(_call(builder, "fma", of_a, vector, builder.load(place)), place)
        for place, target in zip(sums, targets, strict=True):
            builder.store(builder.load(place), target, align=4)
        return context.get_dummy_value()

    integers = (types.intp,) * 3
    given = (like, rows, vectors, a, *integers, b, *integers, c, *integers[:2], types.boolean)
    return types.none(*given), generate


@njit(**INNER)
def multiply(
    like, rows, width, depth, a, a_at, a_row, a_step, b, b_at, b_step, c, c_at, c_row, add
):
    """C = A B, or C += A B where ``add`` is true.

    A is ``[rows, depth]``, its columns ``a_step`` apart; B ``[depth, width]``, its rows ``b_step``
    apart; the width a multiple of the lanes of ``like``.
    """
    lanes, v = lanes_of(like), 0
    while v < width:  # a few columns of B stay in the first cache
        b_here, c_here = b_at + v, c_at + v
        if width - v >= 4 * lanes:
            r = 0
            while rows - r >= 4:
                _tile(like, 4, 4, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 4
            while r < rows:
                _tile(like, 1, 4, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 1
            v += 4 * lanes
        elif width - v >= 2 * lanes:
            r = 0
            while rows - r >= 4:
                _tile(like, 4, 2, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 4
            while r < rows:
                _tile(like, 1, 2, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 1
            v += 2 * lanes
        else:
            r = 0
            while rows - r >= 8:
                _tile(like, 8, 1, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 8
            while rows - r >= 4:
                _tile(like, 4, 1, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 4
            while r < rows:
                _tile(like, 1, 1, a, a_at + r * a_row, a_row, a_step, b, b_here, b_step, depth,
                      c, c_here + r * c_row, c_row, add)  # fmt: skip
                r += 1
            v += lanes


def _sums_of_four(builder: Any, vectors: Any) -> Any:
    """One vector of the sums of four."""
    four = ir.VectorType(INT, 4)

    def picked(a: Any, b: Any, *places: int) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(four, places))

    small = list(vectors)
    while small[0].type.count > 4:
        small = [builder.fadd(*_halves(builder, vector)) for vector in small]
    pairs = [
        builder.fadd(picked(a, b, 0, 2, 4, 6), picked(a, b, 1, 3, 5, 7))
        for a, b in (small[:2], small[2:])
    ]
    return builder.fadd(picked(*pairs, 0, 2, 4, 6), picked(*pairs, 1, 3, 5, 7))


@intrinsic
def _dots(
    typing_context: Any, like: Any, a: Any, a_at: Any, a_row: Any, b: Any, b_at: Any, b_row: Any,
    depth: Any, c: Any, c_at: Any, c_row: Any,
) -> Any:  # fmt: skip
    """Four times four products of rows of a and rows of b, to four rows of c."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        _, a_, a_at, a_row, b_, b_at, b_row, depth, c_, c_at, c_row = arguments
        kind = ir.VectorType(FLOAT, like.lanes)
        starts = [
            [builder.gep(first, [builder.mul(row, row.type(n))]) for n in range(4)]
            for first, row in (
                (builder.gep(a_, [a_at]), a_row),
                (builder.gep(b_, [b_at]), b_row),
            )
        ]
        sums = [cgutils.alloca_once(builder, kind) for _ in range(16)]
        for place in sums:
            builder.store(ir.Constant(kind, [0.0] * like.lanes), place)
        with cgutils.for_range_slice(
            builder, depth.type(0), depth, depth.type(like.lanes), intp=depth.type
        ) as (index, _):
            rows, columns = (
                [
                    builder.load(
                        builder.bitcast(builder.gep(start, [index]), kind.as_pointer()), align=4
                    )
                    for start in of
                ]
                for of in starts
            )
            for r, row in enumerate(rows):
                for n, column in enumerate(columns):
                    place = sums[4 * r + n]
                    builder.store(_call(builder, "fma", row, column, builder.load(place)), place)
        first_c = builder.gep(c_, [c_at])
        for r in range(4):
            of_row = _sums_of_four(
                builder, [builder.load(place) for place in sums[4 * r : 4 * r + 4]]
            )
            target = builder.gep(first_c, [builder.mul(c_row, c_row.type(r))])
            builder.store(of_row, builder.bitcast(target, of_row.type.as_pointer()), align=4)
        return context.get_dummy_value()

    two, three = (types.intp,) * 2, (types.intp,) * 3
    return types.none(like, a, *two, b, *three, c, *two), generate


@njit(**INNER)
def multiply_rows(like, rows, columns, depth, a, a_at, a_row, b, b_at, b_row, c, c_at, c_row, late):
    """C = A Bᵀ where row r of C needs its first ``late + r + 1`` columns only.

    A is ``[rows, depth]``, B ``[columns, depth]``, the depth a multiple of the lanes of ``like``.
    It is done by four rows and columns, for which all three have room.
    """
    for r in range(0, rows, 4):
        for n in range(0, min(columns, late + r + 4), 4):
            _dots(like, a, a_at + r * a_row, a_row, b, b_at + n * b_row, b_row, depth,
                  c, c_at + r * c_row + n, c_row)  # fmt: skip


@intrinsic
def _transpose_square(
    typing_context: Any, like: Any, x: Any, x_at: Any, x_row: Any, y: Any, y_at: Any, y_row: Any
) -> Any:
    """As many rows as a vector has lanes, one vector of each."""

    def generate(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        _, x_, x_at, x_row, y_, y_at, y_row = arguments
        lanes = like.lanes
        kind = ir.VectorType(FLOAT, lanes)

        def places(pointer: Any, at: Any, row: Any) -> Any:
            first = builder.gep(pointer, [at])
            for n in range(lanes):
                start = builder.gep(first, [builder.mul(row, row.type(n))])
                yield builder.bitcast(start, kind.as_pointer())

        rows = [builder.load(place, align=4) for place in places(x_, x_at, x_row)]
        distance = 1
        while distance < lanes:
            for n in range(lanes):
                if n & distance:
                    continue
                pair = rows[n], rows[n + distance]
                upper = [j if not j & distance else lanes + j - distance for j in range(lanes)]
                lower = [j + distance if not j & distance else lanes + j for j in range(lanes)]
                rows[n], rows[n + distance] = (
                    builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(INT, lanes), order))
                    for order in (upper, lower)
                )
            distance *= 2
        for row, place in zip(rows, places(y_, y_at, y_row), strict=True):
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    two = (types.intp,) * 2
    return types.none(like, x, *two, y, *two), generate


@njit(**INNER)
def transpose(like, rows, columns, x, x_at, y, y_at, y_row):
    """A matrix ``[rows, columns]`` as ``[columns, rows]``, whose rows are ``y_row`` apart; both are
    multiples of the lanes of ``like``."""
    step = lanes_of(like)
    for r in range(0, rows, step):
        for c in range(0, columns, step):
            _transpose_square(like, x, x_at + r * columns + c, columns,
                              y, y_at + c * y_row + r, y_row)  # fmt: skip
