"""`Entries`: what was observed, sorted by every mode; from `Observations`, or a chunk at a time from what is too large for them.

Chunks are sorted as they come, by the last mode. From there entries move to the mode before it, and on, to
the first: each sort keeps the order of the one before, so they end in the canonical order. Each mode
is then sorted from the first. At no time is there more than the sorted modes take, and two of these:

    a mode:  4 bytes a word of packed coordinates (see `modes`), and the value
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.als import rows, sorting
from rankless.als.modes import SortedMode, packing
from rankless.als.rows import Terms
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

MEND = "scale the values to about 1 (Observations.scaled), use float64, or raise the penalty"


@dataclass(frozen=True, eq=False)
class Chunks:
    """Entries that come a chunk at a time, in any order, as often as `read` is called.

    `read` yields coordinates, integers of shape ``(N, n)``, and values ``(n,)``, no coordinate twice in all;
    `counts` holds the entries of each slice of each mode.
    """

    shape: tuple[int, ...]
    counts: tuple[np.ndarray, ...]
    read: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]

    @classmethod
    def of(cls, obs: Observations, size: int = 2**20) -> Chunks:
        """Observations, `size` entries at a time.

        >>> chunks = Chunks.of(Observations.from_array(np.eye(3)), 4)
        >>> [values.tolist() for _, values in chunks.read()]
        [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0]]
        """

        def read():
            for start in range(0, obs.size, size):
                yield obs.coords[:, start : start + size], obs.values[start : start + size]

        return cls(obs.shape, tuple(obs.counts(mode) for mode in range(obs.order)), read)


class Entries:
    """Observed entries, sorted once by every mode and kept for any number of fits."""

    def __init__(self, obs: Observations, dtype: type[np.floating] = np.float64):
        with np.errstate(over="ignore"):  # said below, in words
            values = obs.values.astype(dtype, copy=False)
        weights = np.empty(0, dtype) if obs.weights is None else obs.weights.astype(dtype, copy=False)
        modes = [SortedMode.of(obs.coords, obs.shape, mode, values, weights) for mode in range(obs.order)]
        # einsum, not dot: a double's range for float32, and bits that do not hang on how many threads BLAS has
        each = [values, values, weights] if len(weights) else [values, values]
        with np.errstate(over="ignore"):
            square = float(np.einsum("e,e,e->" if len(weights) else "e,e->", *each, dtype=np.float64))
        self._set(obs.shape, modes, square, float(weights.sum(dtype=np.float64)) if len(weights) else obs.size)

    @classmethod
    def collected(cls, chunks: Chunks, dtype: type[np.floating] = np.float64) -> Entries:
        """Entries that come a chunk at a time; their weights are one.

        Raises ValueError for a coordinate that comes twice, and where the chunks are not those that were counted.
        """
        first = canonical_mode(chunks, dtype)
        modes = [first, *(first.resorted(chunks.shape, mode, chunks.counts[mode]) for mode in range(1, len(chunks.shape)))]
        entries = cls.__new__(cls)
        entries._set(chunks.shape, modes, float(square_of_rows(first).sum()), first.size)
        return entries

    def _set(self, shape: tuple[int, ...], modes: list[SortedMode], square: float, weight: float) -> None:
        if not np.isfinite(square):
            raise FloatingPointError(f"the squares of the values overflow; {MEND}")
        self.shape, self.order, self.size, self.modes, self.square = shape, len(shape), modes[0].size, modes, square
        self.dtype = modes[0].values.dtype
        self.unit = np.sqrt(square / weight)  # root mean square
        self.offsets = np.concatenate([[0], np.cumsum(shape)])

    @property
    def identity(self) -> tuple[Hashable, ...]:
        """What tells these entries from others, for a journal."""
        return self.size, self.square

    @property
    def nbytes(self) -> int:
        """Bytes of all that grows with the entries."""
        return sum(own.nbytes for own in self.modes)

    def counts(self, mode: int) -> np.ndarray:
        """Observed entries of each slice of `mode`."""
        return self.modes[mode].counts()

    def over(self, mode: int, function: Callable, *args) -> list[Any]:
        """``function(own, (first, last), *args)`` of each part of a mode and its rows first..last: here there is one part."""
        own = self.modes[mode]
        return [function(own, (0, own.rows), *args)]

    def shifted(self, mean: float, effects: np.ndarray, factor: float) -> Entries:
        """The same entries with ``(value - mean - effects) * factor`` for values, in place of these; `effects` of all modes are stacked."""
        self.modes = [own.shifted(mean, effects, factor) for own in self.modes]
        self._set(self.shape, self.modes, float(square_of_rows(self.modes[0]).sum()), self.size)
        return self

    def update_rows(self, own: SortedMode, stack, terms: Terms, start: int, losses, energies, workers: Workers) -> None:
        """Update all rows of one of the `modes`, see `rows.update`."""
        rows.update(own, stack, terms, start, losses, energies, workers)

    def measure_rows(self, own: SortedMode, stack, losses, workers: Workers) -> None:
        """Measure all rows of one of the `modes`, see `rows.measure`."""
        rows.measure(own, stack, losses, workers)


def canonical_mode(chunks: Chunks, dtype: type[np.floating]) -> SortedMode:
    """The first mode of entries that come a chunk at a time: in canonical order."""
    own = _placed(chunks, dtype)
    for mode in reversed(range(len(chunks.shape) - 1)):
        own = own.resorted(chunks.shape, mode, chunks.counts[mode])
    twin, row = sorting.first_twin(own.starts, own.keys)
    if twin >= 0:
        where = (row, *own.others(twin, twin + 1)[:, 0].tolist())
        raise ValueError(f"coordinates {where} are given twice; drop one of them, or average them, before they are read in chunks")
    return own


def _placed(chunks: Chunks, dtype: type[np.floating]) -> SortedMode:
    """Entries sorted by the last mode as they come."""
    last = len(chunks.shape) - 1
    places, words = packing(chunks.shape, last)
    ends = np.cumsum(chunks.counts[last])
    free, none = np.concatenate([[0], ends[:-1]]).astype(np.int64), np.empty(0, dtype)
    keys, values = np.zeros((words, int(ends[-1])), np.uint32), np.empty(int(ends[-1]), dtype)
    for coords, some in chunks.read():
        if (free + np.bincount(coords[last], minlength=len(free)) > ends).any():
            raise ValueError(CHANGED)
        coords = np.ascontiguousarray(coords, np.int32)
        sorting.by_row(coords, last, np.ascontiguousarray(some, dtype), none, free, places, keys, values, none)
    if (free != ends).any():
        raise ValueError(CHANGED)
    return SortedMode.over(chunks.shape, last, chunks.counts[last], keys, values, none)


CHANGED = "the entries are not those that were counted at first; did the file change while it was read? Run again"


def square_of_rows(own: SortedMode) -> np.ndarray:
    """Sum of squares of the values in each row, in double precision."""
    squares = np.zeros(own.rows)
    sorting.squares(own.starts, own.values, squares)
    return squares
