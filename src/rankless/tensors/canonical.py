"""Coordinates checked, and put into the one canonical order: lexicographic, the first mode slowest.

Sorting is done on 64-bit keys, an entry's coordinates above its position: keys are distinct, so any
sort of them is stable, NumPy has a fast one, and the order is read off the lowest bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Duplicates = Literal["error", "mean", "last"]
COUNTABLE = 2**62  # cells of an array beyond which they are not numbered


class Twice(ValueError):
    """Two entries, in these `rows`, have the same coordinates, `where`."""

    def __init__(self, where: tuple[int, ...], rows: Sequence[int]):
        self.where, self.rows = where, rows
        super().__init__(where, rows)  # what it is made from again after a way between processes

    def __str__(self) -> str:
        one, other = self.rows
        return f"coordinates {self.where} are given twice (rows {one} and {other}); pass duplicates='mean' or 'last', or drop one"


def check_indices(indices, shape: Sequence[int] | None) -> np.ndarray:
    """`indices` as integers of shape ``(n, order)``; raises ValueError naming the first bad row."""
    coords = np.asarray(indices)
    if coords.ndim == 1 and shape is not None and coords.shape[0] == len(shape):
        coords = coords[None, :]
    if coords.ndim != 2 or (shape is not None and coords.shape[1] != len(shape)):
        wanted = "(n, order)" if shape is None else f"(n, {len(shape)})"
        raise ValueError(f"indices have shape {coords.shape}; pass integers of shape {wanted}, a row for each entry")
    if coords.dtype.kind not in "iu":
        if coords.dtype.kind != "f":
            raise ValueError(f"indices have dtype {coords.dtype}; pass integers of shape (n, order), counted from 0")
        if not all(np.isfinite(c).all() and (c == np.floor(c)).all() for c in coords.T):
            bad = np.flatnonzero((coords != np.floor(coords)).any(axis=1) | ~np.isfinite(coords).all(axis=1))
            raise ValueError(
                f"indices[{bad[0]}] = {tuple(coords[bad[0]].tolist())} is not made of whole numbers; pass integers counted from 0"
            )
        coords = coords.astype(np.int64)
    countable = np.iinfo(np.int32).max
    if shape is not None and max(shape, default=0) > countable:
        raise ValueError(
            f"shape {tuple(map(int, shape))} has a mode longer than {countable}, all that 32 bits can count; "
            "number its slices from 0 without gaps, as pandas.factorize does"
        )
    upper = [int(d) for d in shape] if shape is not None else [countable] * coords.shape[1]
    # the ends of every column first: looking for a row takes ten times as long
    if len(coords) and not all(c.min() >= 0 and c.max() < d for c, d in zip(coords.T, upper, strict=True)):
        bad = np.flatnonzero((coords < 0).any(axis=1) | (coords >= np.asarray(upper)).any(axis=1))
        row = tuple(coords[bad[0]].tolist())
        bounds = f"shape {tuple(upper)}" if shape is not None else "what 32 bits can count"
        raise ValueError(f"indices[{bad[0]}] = {row} lies outside {bounds}; pass shape=... or check that coordinates start at 0")
    return coords


def numbers_of(coords: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The number of each cell, a column of `coords`, in the canonical order; the array must have fewer than ``COUNTABLE`` cells."""
    return np.asarray(np.ravel_multi_index(tuple(coords), tuple(shape)))


def beside(numbers: np.ndarray, coords: np.ndarray, own: np.ndarray, shape: Sequence[int], mode: int, step: int) -> tuple[np.ndarray, ...]:
    """Where the cells `step` slices on along `mode` stand in the sorted `numbers`, and whether they are there.

    `own` are the numbers of the cells to start from, the columns of `coords`.

    >>> seen, cells = np.array([[0, 1, 1], [2, 0, 1]]), np.array([[1, 1], [0, 1]])
    >>> at, there = beside(numbers_of(seen, (2, 3)), cells, numbers_of(cells, (2, 3)), (2, 3), 1, 1)
    >>> at[there].tolist(), there.tolist()
    ([2], [True, False])
    """
    wanted = own + step * int(np.prod(shape[mode + 1 :], dtype=np.int64))
    inside = (coords[mode] + step >= 0) & (coords[mode] + step < shape[mode])
    at = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return at, inside & (numbers[at] == wanted)


def lexicographic(coords: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The columns of `coords` in stable lexicographic order, and the positions they came from.

    >>> columns, order = lexicographic(np.array([[1, 0, 1], [0, 2, 0]], np.int32), (2, 3))
    >>> columns.tolist(), order.tolist()
    ([[0, 1, 1], [2, 0, 0]], [1, 0, 2])
    """
    modes, count = coords.shape
    bits = [max(int(d) - 1, 1).bit_length() for d in shape]
    low = max(count - 1, 1).bit_length()  # of a key: the position
    order, first = None, modes
    while True:  # the last modes that one key holds, then those before them
        last, shift, key = first, low, np.arange(count, dtype=np.uint64)
        while first and shift + bits[first - 1] <= 64:
            first -= 1
            column = (coords[first] if order is None else coords[first][order]).astype(np.uint64)
            column <<= np.uint64(shift)
            key |= column
            shift += bits[first]
        key.sort()
        passed = (key & np.uint64((1 << low) - 1)).view(np.int64)
        order = passed if order is None else order[passed]
        if not first:
            break
    columns = np.empty_like(coords)
    key >>= np.uint64(low)
    for mode in reversed(range(modes)):
        if mode < last:  # still in the key, and read off it faster than fetched from all over `coords`
            columns[mode] = key
            columns[mode] &= (1 << bits[mode]) - 1
            key >>= np.uint64(bits[mode])
        else:
            np.take(coords[mode], order, out=columns[mode], mode="clip")
    return columns, order


def canonical(coords, values, weights, shape, duplicates: Duplicates):
    """Lexicographic order, duplicates settled: ``(coords, values, weights)``."""
    if duplicates not in ("error", "mean", "last"):
        raise ValueError(f"duplicates={duplicates!r} is not known; pass 'error', 'mean' or 'last'")
    arrival = None  # position at which each entry arrived; None while nothing has moved
    if not _is_sorted(coords):
        coords, arrival = lexicographic(coords, shape)
        values = np.take(values, arrival)
        weights = None if weights is None else np.take(weights, arrival)
    same = np.ones(max(len(values) - 1, 0), dtype=bool)
    for c in coords:
        same &= c[1:] == c[:-1]
    if same.any():
        if duplicates == "error":
            at = int(np.flatnonzero(same)[0])
            where, rows = tuple(coords[:, at].tolist()), [at, at + 1] if arrival is None else sorted(map(int, arrival[at : at + 2]))
            raise Twice(where, rows)
        starts = np.flatnonzero(np.concatenate([[True], ~same]))
        if duplicates == "last":  # the sort is stable, so the last of a run arrived last
            pick = np.concatenate([starts[1:], [len(values)]]) - 1
            values, weights = values[pick], None if weights is None else weights[pick]
        else:
            w = np.ones_like(values) if weights is None else weights
            total = np.add.reduceat(w, starts)
            values = (np.add.reduceat(values * w, starts) / total).astype(values.dtype)
            weights = None if weights is None else total
        coords = coords[:, starts]
    return coords, values, weights


def _is_sorted(coords: np.ndarray) -> bool:
    undecided = np.ones(max(len(coords[0]) - 1, 0), dtype=bool)
    for c in coords:
        if (undecided & (c[1:] < c[:-1])).any():
            return False
        undecided &= c[1:] == c[:-1]
    return True
