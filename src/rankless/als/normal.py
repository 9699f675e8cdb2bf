"""Normal equations of one row: summed from a panel of entries, solved by a root-free Cholesky.

Both are the same loop. With ``P`` a panel of entries, and with ``P`` the rows of the triangular
factor above a block of rows,

    G[i, j] += sign * sum_e P[e, i] P[e, j],        right[j] += sign * sum_e target[e] P[e, j],

upper triangle only, tile by tile, each tile in registers over all of the sum. Widths are padded
to whole vectors; what stands in the padding and below the diagonal is never read.
"""

from __future__ import annotations

import numpy as np
from numba import types

from rankless.als.vectors import (
    BYTES,
    TALL,
    Apart,
    add_double_tile,
    add_double_tile_and_right,
    add_tile,
    add_tile_and_right,
    lanes,
    load,
    matrix,
    splat,
    store,
    times,
    times_plus,
    total,
    vector,
)

LINE = 64  # bytes of a cache line, on which arrays start: a vector across two costs two reads


def padded(rank: int, like: np.ndarray) -> int:
    """`rank` rounded up to whole vectors of the dtype of `like`."""
    step = BYTES // like.itemsize
    return -(-rank // step) * step


def _add_gram(panel, targets, count, rank, gram, right):
    """``gram += panel' panel`` and ``right += panel' targets`` over `count` rows of the panel."""
    step, width, one = lanes(panel), panel.shape[1], panel.dtype.type(1)
    for j in range(0, width, 2 * step):
        if j + step < width:
            add_double_tile_and_right(panel, panel, targets, count, 0, j, gram, right, one)
            for i in range(TALL, j + step, TALL):
                add_double_tile(panel, panel, targets, count, i, j, gram, right, one)
            for i in range(j + step, min(j + 2 * step, rank), TALL):
                add_tile(panel, panel, targets, count, i, j + step, gram, right, one)
        else:
            add_tile_and_right(panel, panel, targets, count, 0, j, gram, right, one)
            for i in range(TALL, min(j + step, rank), TALL):
                add_tile(panel, panel, targets, count, i, j, gram, right, one)


def _factored(gram, rank, right, unit, half):
    """``gram = U' D U``; False where `gram` is not positive definite to rounding.

    `gram` ends as ``D U``, `unit` as ``U``, `half` as ``D^-1 U^-T right``; `right` is used up.
    """
    step, width, one, minus = lanes(gram), gram.shape[1], gram.dtype.type(1), gram.dtype.type(-1)
    for i in range(0, rank, TALL):
        last, first = min(i + TALL, rank), i - i % step
        if i == first:
            add_tile_and_right(unit, gram, half, i, i, first, gram, right, minus)
        else:
            add_tile(unit, gram, half, i, i, first, gram, right, minus)
        for j in range(first + step, width - step, 2 * step):
            add_double_tile(unit, gram, half, i, i, j, gram, right, minus)
        if (width - first) // step % 2 == 0:
            add_tile(unit, gram, half, i, i, width - step, gram, right, minus)
        for r in range(i, last):
            pivot = gram[r, r]
            if not pivot > 0:
                return False
            inverse = one / pivot
            half[r] = right[r] * inverse
            store(right, first, times_plus(splat(-half[r]), load(gram, r * width + first), load(right, first)))
            for s in range(r + 1, last):
                factor = splat(-gram[r, s] * inverse)
                for j in range(first, width, step):
                    store(gram, s * width + j, times_plus(factor, load(gram, r * width + j), load(gram, s * width + j)))
            for j in range(first, width, step):
                store(unit, r * width + j, times(splat(inverse), load(gram, r * width + j)))
    return True


def _back(gram, rank, unit, half, x):
    """``U x = half``, a vector's worth of rows at a time; `gram` as `factored` left it, `half` is used up."""
    step, width = lanes(gram), gram.shape[1]
    for first in range(width - step, -1, -step):
        last = min(first + step, rank)
        for r in range(first, last):
            part = splat(gram.dtype.type(0))
            for j in range(first + step, width, step):
                part = times_plus(load(unit, r * width + j), load(x, j), part)
            half[r] -= total(part)
        for s in range(last - 1, first - 1, -1):
            x[s] = half[s]
            for r in range(first, s):
                half[r] -= unit[r, s] * half[s]


def _types_of_gram(number):
    return matrix(number), vector(number), types.intp, types.intp, matrix(number), vector(number)


def _types_of_factored(number):
    return matrix(number), types.intp, vector(number), matrix(number), vector(number)


def _types_of_back(number):
    return matrix(number), types.intp, matrix(number), vector(number), vector(number)


add_gram = Apart(_add_gram, _types_of_gram, like=0)
factored = Apart(_factored, _types_of_factored, types.boolean, like=0)
back = Apart(_back, _types_of_back, like=0)
