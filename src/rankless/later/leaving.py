"""Whole slices left out and folded in again: how far folding in errs, by the number of entries of a slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rankless.answer.intervals import TooFew, quantile
from rankless.tensors.observations import Observations

TURNS, SHARE = 4, 0.2  # times that the choices are fitted without some slices, and the largest share of the slices left out at a time
ALONE = 8  # slices of a mode below which each is left out by itself, all in turn
ENOUGH = 1000  # errors of a number of entries that are aimed at
EACH = 200  # errors that one slice counts with, at most: those of a slice are alike
MOST_GIVEN = 0.8  # share of a slice's entries that it is folded in from, at most


@dataclass(frozen=True, eq=False)
class ByCount:
    """Errors of slices folded in from so many entries, each over the error expected there: for each of `counts`, in growing order."""

    counts: np.ndarray
    errors: tuple[np.ndarray, ...]

    def width(self, counts: np.ndarray, coverage: float) -> np.ndarray:
        """Half widths at cells of slices with so many entries: those of the next smaller number, and no wider with more entries."""
        each = np.array([quantile(errors, coverage) for errors in self.errors])
        each = np.maximum.accumulate(each[::-1])[::-1]
        return each[np.maximum(np.searchsorted(self.counts, counts, side="right") - 1, 0)]


def stations(counts: np.ndarray) -> np.ndarray:
    """Numbers of entries to calibrate at: those that there are, or where they are many, powers of two below them."""
    found = np.unique(counts)
    if len(found) <= 3:
        return found
    return np.unique(np.where(found > 0, 2 ** np.floor(np.log2(np.maximum(found, 1))), 0).astype(np.int64))


def left_out(obs: Observations, mode: int, stream: np.random.Generator) -> Iterator[np.ndarray]:
    """Masks of slices of `mode`, none twice; raises TooFew where no slice can be spared."""
    counts = obs.counts(mode)
    usable = np.flatnonzero(counts > 1)
    if (counts > 0).sum() < 3 or not len(usable):
        raise TooFew(f"of {int((counts > 0).sum())} slices none can be spared to calibrate intervals of new ones; observe more")
    order = stream.permutation(usable)
    if len(order) <= ALONE:
        parts = [order[i : i + 1] for i in range(len(order))]
    else:
        size = max(1, int(SHARE * len(order)))
        parts = [order[i * size : (i + 1) * size] for i in range(TURNS)]
    for part in parts:
        hidden = np.zeros(len(counts), bool)
        hidden[part] = True
        yield hidden


def given_of(obs: Observations, mode: int, hidden: np.ndarray, count: int, stream: np.random.Generator) -> np.ndarray:
    """A mask of `count` random entries of each hidden slice, fewer where it has not many more."""
    mask = np.zeros(obs.size, bool)
    for slice_ in np.flatnonzero(hidden):
        own = np.flatnonzero(obs.coords[mode] == slice_)
        some = min(count, int(MOST_GIVEN * len(own)), len(own) - 1)
        mask[stream.permutation(own)[:some]] = True
    return mask


def scored(obs: Observations, mode: int, mask: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """`mask` with at most `EACH` entries of each slice."""
    kept = np.zeros(obs.size, bool)
    own = np.flatnonzero(mask)
    own = stream.permutation(own)
    order = own[np.argsort(obs.coords[mode][own], kind="stable")]
    slices = obs.coords[mode][order]
    first = np.searchsorted(slices, slices)
    kept[order[np.arange(len(order)) - first < EACH]] = True
    return kept
