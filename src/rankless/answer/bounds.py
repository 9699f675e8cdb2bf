"""`Within`: an answer kept within bounds at which values pile up, such as no rain, full capacity, or the most an instrument can read.

    low_s  =  the least value seen in slice `s`, if a share `PILED` of the slice's entries and more than have the next value have just it

and `high_s` likewise. The tails of a distribution thin out, those of rounded values too; where the last value is taken more often than the
one before it, it is a bound, and nothing that is filled in lies beyond it. Where truth lies within, no error grows.
Of a value that came later than the bound, nobody could know; so no held-out entry may lie beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.answer.tree import Branch, Fit, Predictor
from rankless.tensors.observations import Observations, slices_at, slices_of

Ends = tuple[np.ndarray, np.ndarray]  # the least and the greatest values of slices

PILED, FEWEST = 0.05, 10  # share of a slice's entries that lie at a bound, and how many they are, at least


@dataclass(frozen=True, eq=False)
class Within(Branch):
    """A predictor, kept within the bounds of each slice of `mode`, shape ``(d_mode,)``, or ``(1,)`` where that is None; infinite: none."""

    tree: Predictor
    mode: int | None
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, tree: Predictor, obs: Observations, mode: int | None) -> Within:
        """With the bounds of `obs`; a slice that has none of its own has those of the whole."""
        whole = bounds_of(obs, None)
        return cls(tree, mode, *(whole if mode is None else _or_whole(bounds_of(obs, mode), whole)))

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return (self.tree,)

    def refitted(self, obs: Observations, fit: Fit) -> Within:
        return Within.of(fit(self.tree, obs), obs, self.mode)

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.kept(self.tree.at(indices), indices)

    def kept(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """`values` at `indices` that lie beyond a bound, moved to it; NaN stays NaN."""
        slices = slices_at(indices, self.mode)
        return np.clip(values, self.low[slices], self.high[slices])

    def words(self, modes: Sequence[str]) -> str:
        where = "" if self.mode is None else f" of {modes[self.mode]}"
        return f"{self.tree.words(modes)}, within the bounds{where}"


def within(tree: Predictor, train: Observations, held: Observations) -> Predictor:
    """`tree` within the bounds of `train`, where there are some and all entries `held` out keep to them.

    The mode whose slices have bounds is that at whose bounds most entries lie; none, where all bounds are those of the whole.
    """
    whole, each = bounds_of(train, None), [bounds_of(train, mode) for mode in range(train.order)]
    mode = int(np.argmax([_share(train, *ends, mode) for mode, ends in enumerate(each)]))
    ends = _or_whole(each[mode], whole)
    if not np.isfinite(ends).any():
        return tree
    alike = all((own == end).all() for own, end in zip(ends, whole, strict=True))
    found = Within(tree, None, *whole) if alike else Within(tree, mode, *ends)
    return found if np.array_equal(found.kept(held.values, held.indices), held.values) else tree


def bounds_of(obs: Observations, mode: int | None) -> Ends:
    """The least and the greatest value of each slice of `mode` where values pile up there; infinite elsewhere."""
    slices, count = slices_of(obs.coords, obs.shape, mode)
    order = np.lexsort((obs.values, slices))
    values, at = obs.values[order], np.searchsorted(slices[order], np.arange(count + 1))
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    for s in range(count):
        own = values[at[s] : at[s + 1]]
        if len(own) < FEWEST or own[0] == own[-1]:
            continue
        if _piled(own):
            low[s] = own[0]
        if _piled(-own[::-1]):
            high[s] = own[-1]
    return low, high


def _or_whole(own: Ends, whole: Ends) -> Ends:
    """The bounds of slices, those of the whole where they have none."""
    low, high = (np.where(np.isfinite(each), each, end) for each, end in zip(own, whole, strict=True))
    return low, high


def _piled(values: np.ndarray) -> bool:
    """Whether the first of sorted `values`, of which there are two at least, is taken by many, and by more than the next one."""
    first = int(np.searchsorted(values, values[0], side="right"))
    second = int(np.searchsorted(values, values[first], side="right")) - first
    return first >= max(FEWEST, PILED * len(values)) and first > second


def _share(obs: Observations, low: np.ndarray, high: np.ndarray, mode: int | None) -> float:
    """The share of entries that lie at a bound, among those of slices that have one."""
    slices, _ = slices_of(obs.coords, obs.shape, mode)
    bounded = np.isfinite(low) | np.isfinite(high)
    at = (obs.values == low[slices]) | (obs.values == high[slices])
    return float(at.sum() / max(bounded[slices].sum(), 1))
