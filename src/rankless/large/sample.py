"""Parts of entries that are too many to hold: whole slices to search in, and single entries to score on.

Whole slices of the longest mode, not single entries, so that those that are searched have as many entries as in the
whole: a penalty that is right for a thinned array is too large for the whole one. The other modes are thinned by it: of
their slices those are left out that would be left with a handful of entries, which tell nothing and cost a solve each. So are
slices of the longest mode that this leaves with a handful: in 100 million planted entries a sample with 21 to a row of it led
nowhere, and ones with 190 led to what was planted, in a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rankless.als.entries import Chunks, Entries
from rankless.als.modes import SortedMode
from rankless.tensors.observations import Observations

_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # multipliers of the splitmix64 finaliser [steele2014]


RICH = 60  # entries that a slice must be expected to have in a sample


@dataclass(frozen=True, eq=False)
class Sample:
    """Observations of the sampled slices, numbered anew: slice `i` of mode `n` was ``slices[n][i]``."""

    obs: Observations
    slices: tuple[np.ndarray, ...]


def sampled(entries: Entries, size: int, rng: np.random.Generator) -> Sample:
    """About `size` entries: slices of the longest mode, long and short ones among the full, without what lies in poor slices."""
    mode = int(np.argmax(entries.shape))
    counts = [entries.counts(m) for m in range(entries.order)]
    others = [count for m, count in enumerate(counts) if m != mode]
    share, rich = enriched(others, size)
    keep = stratified(fullest(counts[mode], RICH / _share_in(others, rich), share * entries.size), int(share * entries.size), rng)
    parts = entries.over(mode, _entries_of, keep, *rich)
    coords, values = np.concatenate([c for c, _ in parts], axis=1), np.concatenate([v for _, v in parts])
    slices = tuple(np.unique(c) for c in coords)
    indices = np.stack([np.searchsorted(known, c) for known, c in zip(slices, coords, strict=True)], axis=1)
    return Sample(Observations.from_indices(indices, values, shape=[len(known) for known in slices]), slices)


def enriched(counts: Sequence[np.ndarray], size: int) -> tuple[float, list[np.ndarray]]:
    """The share of the entries to look at so that about `size` of them lie in slices that get `RICH` ones, and the masks of these slices.

    `counts` are those of the modes that are thinned. Where even all entries hold too few such slices, none is left out.

    >>> share, (rich,) = enriched([np.array([5000, 5000, 200, 200, 200])], 400)
    >>> round(share, 3), rich.tolist()
    (0.04, [True, True, False, False, False])
    """
    whole = int(counts[0].sum())

    def masks(share: float) -> list[np.ndarray]:
        return [share * count >= RICH for count in counts]

    def kept(share: float) -> float:
        return share * whole * _share_in(counts, masks(share))

    if kept(1.0) < size:
        return min(1.0, size / whole), [np.ones(len(count), dtype=bool) for count in counts]
    low, high = size / whole, 1.0
    for _ in range(40):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if kept(middle) < size else (low, middle)
    return float(high), masks(high)


def fullest(counts: np.ndarray, least: float, size: float) -> np.ndarray:
    """The counts of slices that have `least` entries; where these hold fewer than `size`, of as many of the fullest as do. Zeros elsewhere.

    >>> fullest(np.array([5, 50, 200, 70]), 60, 100).tolist(), fullest(np.array([5, 50, 200, 70]), 100, 250).tolist()
    ([0, 0, 200, 70], [0, 0, 200, 70])
    """
    ranked = np.sort(counts)[::-1]
    enough = ranked[min(int(np.searchsorted(np.cumsum(ranked), size)), len(ranked) - 1)]
    return np.where(counts >= min(least, enough), counts, 0)


def stratified(counts: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of slices that hold about `size` entries in all: every so manieth of the slices ranked by their counts.

    >>> keep = stratified(np.arange(1, 101), 505, np.random.default_rng(0))
    >>> int(keep.sum()), 450 < int(np.arange(1, 101)[keep].sum()) < 560
    (10, True)
    """
    seen = np.flatnonzero(counts)
    if counts.sum() <= size:
        return counts > 0
    ranked = seen[np.argsort(counts[seen], kind="stable")]
    step = counts.sum() / size
    keep = np.zeros(len(counts), dtype=bool)
    keep[ranked[np.arange(rng.uniform(0, step), len(ranked), step).astype(np.intp)]] = True
    return keep


@dataclass(frozen=True, eq=False)
class Thinned:
    """Chunks without the entries that are held out, or these alone; which they are hangs on their coordinates and the seed."""

    read: Any
    share: float
    seed: int
    held: bool

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for coords, values in self.read():
            picked = drawn(coords, self.share, self.seed) == self.held
            yield coords[:, picked], values[picked]


def drawn(coords: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A mask of about `share` of the entries, the same wherever and in whatever order they are read.

    >>> coords = np.stack(np.unravel_index(np.arange(100_000), (100, 1000)))
    >>> round(float(drawn(coords, 0.1, 0).mean()), 2)
    0.1
    """
    state = np.full(coords.shape[1], seed, np.uint64)
    for coordinate in coords:
        state = (state + coordinate.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in zip((30, 27), _MIX, strict=True):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
    return state >> np.uint64(11) < np.uint64(share * 2**53)


def held_out(chunks: Chunks, share: float, seed: int) -> tuple[Chunks, Observations]:
    """The chunks without `share` of their entries, and these."""
    parts = list(Thinned(chunks.read, share, seed, held=True)())
    coords, values = np.concatenate([c for c, _ in parts], axis=1), np.concatenate([v for _, v in parts])
    counts = tuple(count - np.bincount(c, minlength=len(count)) for count, c in zip(chunks.counts, coords, strict=True))
    rest = replace(chunks, counts=counts, read=Thinned(chunks.read, share, seed, held=False))
    return rest, Observations(coords.astype(np.int32), values, chunks.shape)


def _share_in(counts: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    """The share of the entries expected in slices that `masks` marks in every mode, were the modes independent."""
    return float(np.prod([count[mask].sum() / count.sum() for count, mask in zip(counts, masks, strict=True)]))


# --- on each part of the entries ------------------------------------------------------------------------


def _entries_of(own: SortedMode, part: tuple[int, int], keep: np.ndarray, *rich: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and values of the slices that `keep` marks, those that lie in a `rich` slice of every other mode."""
    rows = np.flatnonzero(keep[part[0] : part[1]]) + part[0]
    spans = [(int(own.starts[row]), int(own.starts[row + 1])) for row in rows]
    others = np.concatenate([np.zeros((len(own.places), 0), np.int32), *(own.others(lo, hi) for lo, hi in spans)], axis=1)
    values = np.concatenate([np.zeros(0, own.values.dtype), *(own.values[lo:hi] for lo, hi in spans)])
    mine = np.repeat(rows, [hi - lo for lo, hi in spans]).astype(np.int32)
    known = np.logical_and.reduce([mask[other] for mask, other in zip(rich, others, strict=True)])
    return np.insert(others, own.mode, mine, axis=0)[:, known], values[known]
