"""Length scale and noise of Matern processes, by their error on entries held out as the missing cells are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rankless.experts.series import Asked, Matern, Series
from rankless.experts.series_held import LIMIT, elsewhere, firsts, gaps_of, parted, stretches, together
from rankless.tensors.axes import Axis
from rankless.tensors.observations import Observations, joined

LEAST_NOISE, MOST_NOISE = 1e-14, 1e8  # variance of the noise over that of the process

# the search for length and noise: a coarse grid, and steps from its best point that shrink
COARSE = 16.0  # ratio of the grid's neighbours; what lies between is found by the steps
STEPS = (4.0, 2.0, 2**0.5, 2**0.25)  # ratios; the error is flat at its least, where a fifth more or less says nothing
MOVES = 4  # with each ratio, at most
OWN_STEPS = (4.0, 2.0, 2**0.5)  # of a slice by itself, from what all share

ENOUGH = 50  # held-out gaps of a slice from which it has numbers of its own; a gap, between two entries, is one observation
SURE = 2.0  # standard errors by which a slice must err less for numbers of its own: the best of many trials is one or two off by chance
GAPS = 2000  # held-out gaps that are wanted: where there are fewer, the pattern is held out again elsewhere along the axis
AGAIN = 10  # times, at most


@dataclass(frozen=True, eq=False)
class Search:
    """Length and noise by the error on held-out entries.

    Attributes
    ----------
    seen : entries looked at: every hold-out's as series of their own, and stretches of long series too.
    asked, target, weights : held-out cells beside them, their values and weights.
    slices : of the held-out entries.
    gap : the typical distance from one entry of a series to the next, a geometric mean.
    extent : of the axis.
    centres, spread : of each slice, the mean, and the variance of levels over that within a series.
    scale : of each slice, the variance of its entries.
    gaps : of each slice, how many were held out.
    """

    seen: Series
    asked: Asked
    target: np.ndarray
    weights: np.ndarray
    slices: np.ndarray
    gap: float
    extent: float
    centres: np.ndarray
    spread: np.ndarray
    scale: np.ndarray
    gaps: np.ndarray

    @classmethod
    def of(cls, train: Observations, held: Observations, axis: Axis, mode: int | None) -> Search | None:
        """None where no held-out entry lies in a series that has an entry, or no series has two."""
        every = joined([train, held])
        whole = Series.of(every, axis, mode)
        hidden = Series.of(every.with_values(np.arange(every.size) >= train.size, None), axis, mode).values > 0
        hidden &= np.repeat(
            np.add.reduceat(~hidden, whole.starts[:-1]) > 0, whole.lengths
        )  # of a series of which nothing is left nothing is said
        seen, asked, _ = parted(whole, hidden)
        inside = np.diff(seen.places) > 0
        inside[seen.starts[1:-1] - 1] = False
        if not inside.any() or not hidden.any():
            return None
        gap = float(np.exp(np.mean(np.log(np.diff(seen.places)[inside]))))
        centres, spread = seen.levels()
        own = np.repeat(seen.slices, seen.lengths)
        scale = np.bincount(own, (seen.values - centres[own]) ** 2, seen.count) / np.maximum(np.bincount(own, minlength=seen.count), 1)
        between, ends = gaps_of(seen, asked)
        times = 1  # a gap that has no end is not held out elsewhere, where it would have one
        if ends.mean() < 0.5:
            times = max(1, min(AGAIN, -(-GAPS // len(np.unique(between))), LIMIT // train.size))
        parts = [parted(whole, moved) for moved in elsewhere(whole, hidden, times)]
        seen, asked, entries = together(parts)
        number = np.bincount(np.repeat(seen.slices, np.diff(asked.starts))[firsts(gaps_of(seen, asked)[0])], minlength=seen.count)
        seen, asked = stretches(seen, asked)
        slices = np.repeat(seen.slices, np.diff(asked.starts))
        entries = entries[asked.order]
        weighs = 1.0 / whole.noise[entries] if len(whole.noise) else np.ones(len(entries))
        return cls(seen, asked, whole.values[entries], weighs, slices, gap, float(np.ptp(axis.positions)), centres, spread, scale, number)

    def matern(self, smoothness: np.ndarray, length: np.ndarray, window: np.ndarray) -> Matern:
        """Numbers from a length scale and a window, both in typical gaps.

        The window is the number of gaps over which noise is averaged: so long, the process moves by as much as the
        mean of the noise still errs. Fills between entries hang on it alone where the length scale is long, and
        then the length scale says how fast a series returns to its level.
        """
        with np.errstate(over="ignore", under="ignore"):
            noises = np.clip(window * (window / length) ** (2.0 * smoothness + 1.0), LEAST_NOISE, MOST_NOISE)
        return Matern(smoothness, length * self.gap, noises, self.spread * (1.0 + noises))

    @cached_property
    def _numbered(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each held-out entry, the number of its gap; of each gap, how many entries it has."""
        gaps = np.unique(gaps_of(self.seen, self.asked)[0], return_inverse=True)[1].ravel()
        return gaps, np.bincount(gaps)

    def losses(self, how: Matern) -> np.ndarray:
        """What each held-out entry counts: its squared error, in variances of its slice's entries."""
        scale = np.where(self.scale > 0, self.scale, 1.0)[self.slices]
        return self.weights * (how.given(self.seen, self.centres, self.asked) - self.target) ** 2 / scale

    def errors(self, how: Matern) -> np.ndarray:
        """Mean loss of each slice; NaN where nothing was held out of it."""
        with np.errstate(invalid="ignore"):
            return np.bincount(self.slices, self.losses(how), self.seen.count) / np.bincount(self.slices, minlength=self.seen.count)

    def score(self, how: Matern) -> float:
        """Mean loss of all held-out entries."""
        return float(np.mean(self.losses(how)))

    def shared(self) -> Matern:
        """The best numbers that all slices share: of the roughest process that is within one standard error of the best.

        Smoother ones are tried for as long as they help.
        """
        tried = [self._least(0)]
        for p in (1, 2):
            tried.append(self._least(p))
            if tried[-1][0] >= tried[-2][0]:
                break
        best = min(tried, key=lambda found: found[0])[1]
        return next(how for _, how in tried if how is best or self._surely(how, best)[1] <= 1.0)

    def _least(self, p: int) -> tuple[float, Matern]:
        ones = np.ones(self.seen.count)
        smoothness = np.full(self.seen.count, p, np.int64)

        def trial(point: tuple[float, float]) -> tuple[float, Matern]:
            how = self.matern(smoothness, point[0] * ones, point[1] * ones)
            return self.score(how), how

        most = 4.0 * max(self.extent / self.gap, 1.0)  # four times the axis: a length scale without end
        lengths = [1.0]
        while lengths[-1] < most:
            lengths.append(lengths[-1] * COARSE)
        grid = [(length, window) for length in lengths for window in (0.25, 4.0, 64.0) if window <= 4.0 * length]
        return _descend(grid, trial, STEPS, lambda point: point[0] <= COARSE * most)

    def own(self, shared: Matern) -> Matern | None:
        """Each slice's own numbers, where it has enough held-out entries; None where no slice has, or there is but one."""
        enough = self.gaps >= ENOUGH
        if self.seen.count < 2 or not enough.any():
            return None
        best = replace(shared, smoothness=shared.smoothness.copy())
        lowest = self.errors(shared)
        start = shared.lengths / self.gap
        p = shared.smoothness
        window = (shared.noises * start ** (2.0 * p + 1.0)) ** (1.0 / (2.0 * p + 2.0))
        for smoothness in (0, 1, 2):
            p = np.full(self.seen.count, smoothness, np.int64)
            at = np.stack([start, window])
            here = self.matern(p, *at)
            least = self.errors(here)
            best, lowest = _better(best, lowest, here, least, enough)
            for ratio in OWN_STEPS:
                for _ in range(2):
                    before, centre = least.copy(), at.copy()
                    for factors in ((ratio, 1.0), (1 / ratio, 1.0), (1.0, ratio), (1.0, 1 / ratio)):
                        moved = centre * np.array(factors)[:, None]
                        here = self.matern(p, *moved)
                        errors = self.errors(here)
                        at = np.where(errors < least, moved, at)
                        best, lowest = _better(best, lowest, here, errors, enough)
                        least = np.fmin(least, errors)
                    if not (least[enough] < before[enough]).any():
                        break
        sure = self._surely(shared, best)[0] > SURE
        return _better(shared, np.ones(len(sure)), best, np.zeros(len(sure)), sure)[0] if sure.any() else None

    def _surely(self, before: Matern, after: Matern) -> tuple[np.ndarray, float]:
        """By how many standard errors each slice's error falls, and that of all; errors of a gap count as one."""
        gaps, sizes = self._numbered
        falls = np.bincount(gaps, self.losses(before) - self.losses(after)) / sizes
        own = np.zeros(len(falls), np.int64)
        own[gaps] = self.slices

        def over(slices: np.ndarray, count: int) -> np.ndarray:
            number = np.maximum(np.bincount(slices, minlength=count), 1)
            mean = np.bincount(slices, falls, count) / number
            spread = np.sqrt(np.bincount(slices, (falls - mean[slices]) ** 2, count) / number)
            return mean * np.sqrt(number) / np.maximum(spread, 1e-300)

        return over(own, self.seen.count), float(over(np.zeros_like(own), 1)[0])


def _better(best: Matern, lowest: np.ndarray, other: Matern, errors: np.ndarray, enough: np.ndarray) -> tuple[Matern, np.ndarray]:
    """Slice by slice the better of two."""
    take = enough & (errors < lowest)
    mixed = Matern(
        np.where(take, other.smoothness, best.smoothness),
        np.where(take, other.lengths, best.lengths),
        np.where(take, other.noises, best.noises),
        np.where(take, other.levels, best.levels),
    )
    return mixed, np.where(take, errors, lowest)


def _descend(
    grid: Sequence[tuple[float, float]],
    trial: Callable[[tuple[float, float]], tuple[float, Matern]],
    steps: Sequence[float],
    inside: Callable[[tuple[float, float]], bool],
) -> tuple[float, Matern]:
    """The least of a grid, then the least of its neighbours for as long as that falls, nearer and nearer ones."""
    tried: dict[tuple[float, float], tuple[float, Matern]] = {}

    def of(point: tuple[float, float]) -> float:
        key = (round(point[0], 9), round(point[1], 9))
        if key not in tried:
            tried[key] = trial(point)
        return tried[key][0]

    best = min(grid, key=of)
    for ratio in steps:
        for _ in range(MOVES):
            near = [(best[0] * a, best[1] * b) for a, b in ((ratio, 1), (1 / ratio, 1), (1, ratio), (1, 1 / ratio))]
            point = min(filter(inside, near), key=of)
            if not of(point) < of(best):
                break
            best = point
    return min(tried.values(), key=lambda found: found[0])
