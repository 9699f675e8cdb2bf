"""Entries sorted by one mode, their other coordinates packed into words of 32 bits.

A mode's entries are sorted by its own coordinate once, which `starts` then holds for all of them; the
others are packed next to each other, in the order of the modes, into as few words as hold them. At order
3 that is one word or two, 8 or 12 bytes an entry with a float32 value. Rows are cut into blocks of
even work; a row too long for one thread is cut into segments whose sums are added in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from rankless.als import sorting

_LONG_ROW = 16_384  # entries from which a row is shared between threads
_BLOCKS = 32  # blocks a mode is cut into: enough to even out the threads, few enough to cost nothing
_SOLVE = 64  # entries that cost as much as a row's solve, at any rank
_WORD = 32  # bits
_FEW = 2**16  # entries that NumPy sorts: to compile what sorts more of them faster takes longer

Range = tuple[int, int]


def packing(shape: Sequence[int], mode: int) -> tuple[np.ndarray, int]:
    """Where the coordinates of all modes but `mode` lie in an entry's words, and how many words that takes.

    A line a mode: word, shift, mask, and the mode's first row in the stack of all factors. Earlier modes
    stand in earlier words and higher bits, so words in order compare like coordinates in order.

    >>> packing((1_000_000, 100_000, 1000), 0)[0].tolist()  # 17 and 10 bits in one word
    [[0, 10, 131071, 1000000], [0, 0, 1023, 1100000]]
    """
    others = [m for m in range(len(shape)) if m != mode]
    bits = [max(int(shape[m]) - 1, 1).bit_length() for m in others]
    word, used, words = 0, 0, []
    for b in bits:
        if used + b > _WORD:
            word, used = word + 1, 0
        words.append(word)
        used += b
    offsets = np.concatenate([[0], np.cumsum(shape)])
    places = []
    for at, m in enumerate(others):
        shift = sum(b for b, w in zip(bits[at + 1 :], words[at + 1 :], strict=True) if w == words[at])
        places.append((words[at], shift, (1 << bits[at]) - 1, int(offsets[m])))
    return np.array(places, np.int64), word + 1


@dataclass(frozen=True)
class SortedMode:
    """Entries sorted by one mode: row `i` owns entries ``starts[i]`` to ``starts[i + 1]``.

    A part of a mode, for one of several machines, has no entries in the rows that belong to others.
    """

    mode: int
    base: int  # first row of the mode in the stack of all factors
    starts: np.ndarray  # (d + 1,)
    places: np.ndarray  # (N - 1, 4), see `packing`
    keys: np.ndarray  # (words, n) uint32, packed coordinates in the other modes
    values: np.ndarray  # (n,)
    weights: np.ndarray  # (n,), or (0,) where every weight is one
    runs: tuple[Range, ...]  # ranges of rows, long rows left out
    blocks: tuple[Range, ...]  # the same, cut for threads into ranges of even work
    long_rows: tuple[int, ...]

    @classmethod
    def over(
        cls, shape: Sequence[int], mode: int, counts: np.ndarray, keys: np.ndarray, values: np.ndarray, weights: np.ndarray
    ) -> SortedMode:
        """A mode whose slices hold `counts` entries, these already sorted and packed."""
        starts = np.concatenate([[0], np.cumsum(counts)])
        runs, blocks = _even_blocks(counts, 1), _even_blocks(counts, _BLOCKS)
        long = tuple(np.flatnonzero(counts > _LONG_ROW).tolist())
        return cls(mode, int(np.sum(shape[:mode])), starts, packing(shape, mode)[0], keys, values, weights, runs, blocks, long)

    @classmethod
    def of(cls, coords: np.ndarray, shape: Sequence[int], mode: int, values: np.ndarray, weights: np.ndarray) -> SortedMode:
        """Sort entries that stand in canonical order, `coords` of shape ``(N, n)``."""
        places, words = packing(shape, mode)
        counts = np.bincount(coords[mode], minlength=shape[mode])
        keys = np.zeros((words, len(values)), np.uint32)
        if len(values) <= _FEW:
            order = slice(None) if mode == 0 else np.argsort(coords[mode], kind="stable")
            for (word, shift, _, _), other in zip(places.tolist(), np.delete(coords, mode, axis=0), strict=True):
                keys[word] |= other[order].astype(np.uint32) << np.uint32(shift)
            values, weights = values[order], weights[order] if len(weights) else weights
        elif mode == 0:  # the canonical order is already sorted by the first mode: share its values
            sorting.pack(coords[1:], places, keys)
        else:
            target = keys, np.empty_like(values), np.empty_like(weights)
            sorting.by_row(coords, mode, values, weights, _free(counts), places, *target)
            _, values, weights = target
        return cls.over(shape, mode, counts, keys, values, weights)

    def resorted(self, shape: Sequence[int], mode: int, counts: np.ndarray) -> SortedMode:
        """The same entries sorted by another mode; those of one row keep their order."""
        places, words = packing(shape, mode)
        keys, values, weights = np.zeros((words, self.size), np.uint32), np.empty_like(self.values), np.empty_like(self.weights)
        sorting.move(*self._data(), self.mode, mode, _free(counts), places, keys, values, weights)
        return SortedMode.over(shape, mode, counts, keys, values, weights)

    def _data(self) -> tuple[np.ndarray, ...]:
        return self.starts, self.places, self.keys, self.values, self.weights

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def rows(self) -> int:
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of all that grows with entries or rows."""
        return sum(array.nbytes for array in (self.starts, self.keys, self.values, self.weights))

    def counts(self) -> np.ndarray:
        """Entries of each slice."""
        return np.diff(self.starts)

    def others(self, lo: int = 0, hi: int | None = None) -> np.ndarray:
        """Coordinates of entries lo..hi in the other modes, int32 of shape ``(N - 1, hi - lo)``."""
        words = self.keys[:, lo : self.size if hi is None else hi]
        return np.stack([((words[w] >> np.uint32(shift)) & np.uint32(mask)).astype(np.int32) for w, shift, mask, _ in self.places.tolist()])

    def shifted(self, mean: float, effects: np.ndarray, factor: float) -> SortedMode:
        """The same entries with ``(value - mean - effects) * factor`` for values, over these; `effects` of all modes are stacked."""
        sorting.shift(self.starts, self.places, self.keys, self.values, self.base, mean, effects, factor, self.values)
        return self

    def part(self, first: int, last: int) -> SortedMode:
        """Rows first..last alone."""
        lo, hi = int(self.starts[first]), int(self.starts[last])
        counts = np.diff(self.starts[first : last + 1])
        return replace(
            self,
            starts=np.clip(self.starts, lo, hi) - lo,
            keys=np.ascontiguousarray(self.keys[:, lo:hi]),  # kernels are compiled for whole rows of words
            values=self.values[lo:hi],
            weights=self.weights[lo:hi],
            runs=_even_blocks(counts, 1, first),
            blocks=_even_blocks(counts, _BLOCKS, first),
            long_rows=tuple(row for row in self.long_rows if first <= row < last),
        )


def even_parts(counts: np.ndarray, shares: Sequence[float]) -> list[Range]:
    """A range of consecutive rows for each of `shares`, holding about that share of the work, long rows included; some may be empty.

    >>> even_parts(np.full(6, 1000), [1, 1, 1]), even_parts(np.full(6, 1000), [2, 1])
    ([(0, 2), (2, 4), (4, 6)], [(0, 4), (4, 6)])
    """
    work, wanted = np.cumsum(counts + _SOLVE), np.cumsum(shares) / np.sum(shares)
    inner = np.searchsorted(work, wanted[:-1] * work[-1] * (1 - 1e-12), side="left") + 1
    cuts = [0, *np.minimum(inner, len(counts)).tolist(), len(counts)]
    return list(pairwise(cuts))


def _free(counts: np.ndarray) -> np.ndarray:
    """The next free place of each row."""
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


def _even_blocks(lengths: np.ndarray, count: int, first: int = 0) -> tuple[Range, ...]:
    """About `count` ranges of consecutive rows, counted from `first`, holding about the same work; long rows lie in none."""
    work = np.where(lengths > _LONG_ROW, 0, lengths + _SOLVE)
    edges = np.searchsorted(np.cumsum(work), np.linspace(0, work.sum(), min(count, len(lengths)) + 1)[1:-1])
    cuts = np.unique(np.concatenate([[0], edges + 1, [len(lengths)]]))
    blocks = []
    for lo, hi in pairwise(cuts):
        rows = np.flatnonzero(lengths[lo:hi] <= _LONG_ROW) + lo
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            if len(run):
                blocks.append((first + int(run[0]), first + int(run[-1]) + 1))
    return tuple(blocks)


def segments(lo: int, hi: int) -> list[Range]:
    """Pieces of a long row, at most `_LONG_ROW` entries each."""
    return [(start, min(start + _LONG_ROW, hi)) for start in range(lo, hi, _LONG_ROW)]
