"""Series along an axis: entries that share their coordinates off it, sorted by place, and Matern processes given them.

y = level + f(place) + noise,      f a Matern process of smoothness 1/2, 3/2 or 5/2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.experts.recursions import smooth
from rankless.tensors.axes import Axis
from rankless.tensors.observations import Observations, slices_of

WIDE = 100.0  # prior variance of a level over that of a series, where too few series tell how levels differ
SEVERAL = 5  # series from which they do


@dataclass(frozen=True, eq=False)
class Series:
    """Entries series by series, each sorted by place.

    Attributes
    ----------
    numbers : int64, shape ``(s,)``, sorted: which series they are.
    starts : int64, shape ``(s + 1,)``: where each one's entries start.
    places, values : float64, shape ``(n,)``.
    noise : float64, shape ``(n,)``: variance of each entry's noise, relative; empty where all are alike.
    slices : int64, shape ``(s,)``: the slice of the mode with its own noise in which each series lies.
    count : number of such slices.
    """

    numbers: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    values: np.ndarray
    noise: np.ndarray
    slices: np.ndarray
    count: int

    @classmethod
    def of(cls, obs: Observations, axis: Axis, mode: int | None) -> Series:
        series = axis.series(obs.coords, obs.shape)
        order = _sorted(series, axis.ranks(obs.coords), axis.length)
        numbers, first = np.unique(series[order], return_index=True)
        slices, count = slices_of(obs.coords, obs.shape, mode)
        noise = np.empty(0)
        if obs.weights is not None:
            weights = obs.weights.astype(float)
            noise = (weights.mean() / weights)[order]
        return cls(
            numbers,
            np.append(first, obs.size).astype(np.int64),
            axis.at(obs.coords)[order],
            obs.values[order].astype(float),
            noise,
            slices[order[first]].astype(np.int64),
            count,
        )

    @property
    def lengths(self) -> np.ndarray:
        """Entries of each series."""
        return np.diff(self.starts)

    def asked(self, coords: np.ndarray, axis: Axis, shape: Sequence[int]) -> Asked:
        """The cells at `coords`, each beside the entries of its series."""
        series = axis.series(coords, shape)
        at = np.minimum(np.searchsorted(self.numbers, series), max(len(self.numbers) - 1, 0))
        known = np.flatnonzero(self.numbers[at] == series) if len(self.numbers) else np.zeros(0, np.int64)
        order = known[_sorted(at[known], axis.ranks(coords[:, known]), axis.length)]
        starts = np.concatenate([[0], np.cumsum(np.bincount(at[order], minlength=len(self.numbers)))])
        return Asked(coords.shape[1], order, starts, axis.at(coords[:, order]))

    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each slice: the mean of its entries, and the variance of its series' levels over that within a series.

        The latter by moments, between means and within series, where there are `SEVERAL` series with two entries or more.
        """
        counts, of_entry = self.lengths, np.repeat(np.arange(len(self.numbers)), self.lengths)
        top = max(float(np.abs(self.values).max(initial=0.0)), np.finfo(float).tiny)
        values = self.values / top
        own = self.slices[of_entry]
        centre = np.bincount(own, values, self.count) / np.maximum(np.bincount(own, minlength=self.count), 1)
        means = np.bincount(of_entry, values, len(counts)) / np.maximum(counts, 1)
        left = np.bincount(of_entry, (values - means[of_entry]) ** 2, len(counts))
        several = counts > 1

        def over(each: np.ndarray) -> np.ndarray:
            return np.bincount(self.slices[several], each[several], self.count)

        number, free = over(np.ones(len(counts))), over(counts - 1.0)
        within = over(left) / np.maximum(free, 1)
        middle = over(means) / np.maximum(number, 1)
        by_chance = within * over(1 / np.maximum(counts, 1)) / np.maximum(number, 1)
        between = over((means - middle[self.slices]) ** 2) / np.maximum(number - 1, 1) - by_chance
        told = (number >= SEVERAL) & (within > 0)
        return top * centre, np.where(told, np.clip(between / np.where(told, within, 1.0), 0.0, 1e4), WIDE)


@dataclass(frozen=True, eq=False)
class Asked:
    """Cells to be filled, series by series."""

    count: int
    order: np.ndarray  # cells whose series has entries, series by series, sorted by place
    starts: np.ndarray  # where each series' cells start
    places: np.ndarray

    def back(self, found: np.ndarray) -> np.ndarray:
        """Values in the order of the cells, NaN where the series has no entry."""
        out = np.full(self.count, np.nan)
        out[self.order] = found
        return out


def _sorted(series: np.ndarray, ranks: np.ndarray, length: int) -> np.ndarray:
    """The order of cells by series, then by rank."""
    return np.argsort(series.astype(np.int64) * length + ranks, kind="stable")


@dataclass(frozen=True, eq=False)
class Matern:
    """Numbers of the processes, one for each slice of the mode that has its own noise.

    Attributes
    ----------
    smoothness : int64: 0, 1 or 2, for a Matern process of smoothness 1/2, 3/2 or 5/2.
    lengths : length scales, in the axis' own unit.
    noises : variance of the noise over that of the process.
    levels : prior variance of a series' level about its slice's mean, over that of the process.
    """

    smoothness: np.ndarray
    lengths: np.ndarray
    noises: np.ndarray
    levels: np.ndarray

    def given(self, series: Series, centres: np.ndarray, asked: Asked) -> np.ndarray:
        """Conditional means of what is asked, in the order of `asked`, about the `centres` of the slices."""
        own, out = series.slices, np.full(len(asked.places), np.nan)
        values = series.values - np.repeat(centres[own], series.lengths)
        for p in np.unique(self.smoothness):
            pick = self.smoothness[own] == p
            rates, ratios = np.sqrt(2.0 * p + 1.0) / self.lengths[own], self.noises[own]
            smooth(
                int(p) + 1,
                series.starts,
                series.places,
                values,
                series.noise,
                pick,
                rates,
                ratios,
                self.levels[own],
                asked.starts,
                asked.places,
                out,
            )
        return out + np.repeat(centres[own], np.diff(asked.starts))
