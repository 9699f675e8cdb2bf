"""What components say at entries, one pass over these and no array in between: `majorise` asks it after every sweep."""

from __future__ import annotations

import numpy as np

from rankless.als.solver import State
from rankless.als.vectors import jit


def at(state: State, coords: np.ndarray) -> np.ndarray:
    """Values at `coords`, int32 of shape ``(order, n)``, in double precision.

    >>> state = State(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 1, 3]))
    >>> at(state, np.array([[0, 0], [0, 1]], np.int32)).tolist()
    [11.0, 17.0]
    """
    out = np.zeros(coords.shape[1])
    if state.rank:
        stack = np.ascontiguousarray(state.stack, dtype=np.float64)
        _said(np.ascontiguousarray(coords, dtype=np.int32), np.asarray(state.offsets, dtype=np.int64), stack, np.empty(state.rank), out)
    return out


@jit
def _said(coords, offsets, stack, product, out):
    order, rank = coords.shape[0], stack.shape[1]
    for e in range(coords.shape[1]):
        first, second = offsets[0] + coords[0, e], offsets[1] + coords[1, e]
        total = 0.0
        if order == 2:
            for r in range(rank):
                total += stack[first, r] * stack[second, r]
        elif order == 3:
            third = offsets[2] + coords[2, e]
            for r in range(rank):
                total += stack[first, r] * stack[second, r] * stack[third, r]
        else:
            for r in range(rank):
                product[r] = stack[first, r] * stack[second, r]
            for m in range(2, order):
                row = offsets[m] + coords[m, e]
                for r in range(rank):
                    product[r] *= stack[row, r]
            for r in range(rank):
                total += product[r]
        out[e] = total
