"""Normal equations of one row: summed from a panel of entries, solved by a root-free Cholesky.

Both are the same loop. With ``P`` a panel of entries, and with ``P`` the rows of the triangular
factor above a block of rows,

    G[i, j] += sign * sum_e P[e, i] P[e, j],        right[j] += sign * sum_e target[e] P[e, j],

upper triangle only, tile by tile, each tile in registers over all of the sum. Widths are padded
to whole vectors; what stands in the padding and below the diagonal is never read.
"""

from __future__ import annotations

import numpy as np

from rankless.als.vectors import (
    TALL,
    add_double_tile,
    add_double_tile_and_right,
    add_tile,
    add_tile_and_right,
    jit,
    lanes,
    load,
    splat,
    store,
    times,
    times_plus,
    total,
)

LINE = 64  # bytes of a cache line, on which arrays start: a vector across two costs two reads


@jit
def empty(rows, columns, like):
    """Room for ``(rows, columns)`` numbers that starts on a cache line, dtype as `like`."""
    spare = LINE // like.itemsize
    whole = np.empty(rows * columns + spare, like.dtype)
    start = (-whole.ctypes.data % LINE) // like.itemsize
    return whole[start : start + rows * columns].reshape(rows, columns)


@jit
def padded(rank, like):
    """`rank` rounded up to whole vectors."""
    step = lanes(like)
    return (rank + step - 1) // step * step


@jit
def add_gram(panel, targets, count, rank, gram, right):
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


@jit
def solve(gram, rank, right, unit, half, x):
    """``gram x = right``; False where `gram` is not positive definite to rounding. What is used up is what `factored` uses up."""
    if not factored(gram, rank, right, unit, half):
        return False
    back(gram, rank, unit, half, x)
    return True


@jit
def factored(gram, rank, right, unit, half):
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


@jit
def back(gram, rank, unit, half, x):
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
