"""Timeline: every series by itself, along an ordered axis; straight lines, and Gaussian processes.

A series is all entries that share their coordinates off the axis. Its simplest fill is a straight
line from each entry to the next. The others are the conditional means of

    y = level + f(place) + noise,      f a Matern process of smoothness 1/2, 3/2 or 5/2,

which pass smoothly through entries that have little noise, average those that have much, and beyond both ends
of a series return to its level: the line is the limit of smoothness 1/2 without noise whose length scale has no end.
Length scale and noise are shared by all series, or by those of each slice of the mode that has its own noise, and are chosen by
the error on held-out entries; positions may be irregular; time is linear in the number of entries (`recursions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts.recursions import smooth, straight
from rankless.experts.task import Task
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.canonical import COUNTABLE
from rankless.tensors.observations import Observations, slices_of

LEAST_NOISE, MOST_NOISE = 1e-14, 1e8  # variance of the noise over that of the process
WIDE = 100.0  # prior variance of a level over that of a series, where too few series tell how levels differ
SEVERAL = 5  # series from which they do

# the search for length and noise: a coarse grid, and steps from its best point that shrink
COARSE = 16.0  # ratio of the grid's neighbours; what lies between is found by the steps
STEPS = (4.0, 2.0, 2**0.5, 2**0.25)  # ratios; the error is flat at its least, where a fifth more or less says nothing
MOVES = 4  # with each ratio, at most
OWN_STEPS = (4.0, 2.0, 2**0.5)  # of a slice by itself, from what all share

ENOUGH = 50  # held-out gaps of a slice from which it has numbers of its own; a gap, between two entries, is one observation
SURE = 2.0  # standard errors by which a slice must err less for numbers of its own: the best of many trials is one or two off by chance
GAPS = 2000  # held-out gaps that are wanted: where there are fewer, the pattern is held out again elsewhere along the axis
AGAIN = 10  # times, at most
LIMIT = 25_000  # entries that one trial of the search looks at: thousands held out decide on two numbers
STRETCH, OVERLAP = 2000, 50  # long series are looked at in stretches of so many entries, and as many more on both sides as overlap
STEP_COST = (30.0, 120.0, 260.0)  # multiply-adds a step, by smoothness
TRIALS = 50.0  # of a search, about, of each smoothness


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
                (0.0,) * (int(p) + 1),
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


@dataclass(frozen=True, eq=False)
class Timeline:
    """A predictor: every series from its own entries along the axis.

    Attributes
    ----------
    axis, mode, shape : the axis, the mode whose slices have their own numbers (None: all share them), and the array's shape.
    how : the numbers of the processes; None for straight lines.
    seen : the entries.
    centres : mean of each slice, to which the levels of its series are drawn.
    """

    name: ClassVar[str] = "timeline"

    axis: Axis
    mode: int | None
    shape: tuple[int, ...]
    how: Matern | None
    seen: Series
    centres: np.ndarray

    @classmethod
    def of(cls, obs: Observations, axis: Axis, mode: int | None, how: Matern | None) -> Timeline:
        """Fitted to `obs`, with numbers that are known."""
        seen = Series.of(obs, axis, mode)
        return cls(axis, mode, obs.shape, how, seen, seen.levels()[0])

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``; NaN in series of which nothing was seen.

        Every call runs through all entries of the series it asks for.
        """
        coords = np.ascontiguousarray(indices.T)
        asked = self.seen.asked(coords, self.axis, self.shape)
        return asked.back(_said(self.how, self.seen, self.centres, asked))

    def again(self, obs: Observations, tools: object = None) -> Timeline:
        """The same choices, fitted to other entries."""
        return Timeline.of(obs, self.axis.again(obs), self.mode, self.how)

    def words(self, modes: Sequence[str]) -> str:
        """What it is, in a few words."""
        return str(self)

    def __str__(self) -> str:
        if self.how is None:
            return f"straight lines along {self.axis.name}"
        kinds = ", ".join(f"{2 * p + 1}/2" for p in np.unique(self.how.smoothness))
        return f"Matern {kinds} along {self.axis.name}"


def _said(how: Matern | None, seen: Series, centres: np.ndarray, asked: Asked) -> np.ndarray:
    if how is not None:
        return how.given(seen, centres, asked)
    out = np.full(len(asked.places), np.nan)
    straight(seen.starts, seen.places, seen.values, seen.noise, asked.starts, asked.places, out)
    return out


def cost(obs: Observations, axis: Axis) -> float:
    """Multiply-adds of all offers along `axis`, about; inf where series can't be numbered."""
    if obs.cells >= COUNTABLE:
        return np.inf
    return sum(STEP_COST) * (TRIALS * min(obs.size, LIMIT) + 2.0 * obs.size)


def offers(train: Observations, held: Observations, axes: Axes | Axis, mode: int | None = None) -> Iterator[Timeline]:
    """Predictors fitted to `train`, axis by axis, better and better: straight lines, then Matern processes.

    The first Matern process shares its numbers among all series; where slices of `mode` have enough held-out
    entries, a second one has their own. Numbers are those that err least on `held`, which should be held out as the missing cells
    are missing. Values may be what another predictor leaves. Nothing is fitted before it is asked for.
    """
    for axis in axes.candidates if isinstance(axes, Axes) else (axes,):
        if axis.length < 2 or cost(train, axis) == np.inf:
            continue
        own = None if mode in axis.modes else mode
        line = Timeline.of(train, axis, own, None)
        yield line
        search = Search.of(train, held, axis, own)
        if search is None:
            continue
        shared = search.shared()
        yield replace(line, how=shared)
        if (how := search.own(shared)) is not None:
            yield replace(line, how=how)


class TimelineExpert:
    """Series by themselves, along each axis."""

    name = "timeline"

    def cost(self, task: Task) -> float:
        return sum(cost(task.train, axis) for axis in task.axes.candidates)

    def offers(self, task: Task, tools: Tools) -> Iterator[Timeline]:
        for timeline in offers(task.train, task.held, task.axes, task.mode):
            tools.workers.tracker.beat()
            yield timeline


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
        weights = None if train.weights is None or held.weights is None else np.concatenate([train.weights, held.weights])
        every = replace(
            train,
            coords=np.concatenate([train.coords, held.coords], axis=1),
            values=np.concatenate([train.values, held.values]),
            weights=weights,
        )
        whole = Series.of(every, axis, mode)
        hidden = Series.of(every.with_values(np.arange(every.size) >= train.size, None), axis, mode).values > 0
        hidden &= np.repeat(
            np.add.reduceat(~hidden, whole.starts[:-1]) > 0, whole.lengths
        )  # of a series of which nothing is left nothing is said
        seen, asked, _ = _parted(whole, hidden)
        inside = np.diff(seen.places) > 0
        inside[seen.starts[1:-1] - 1] = False
        if not inside.any() or not hidden.any():
            return None
        gap = float(np.exp(np.mean(np.log(np.diff(seen.places)[inside]))))
        centres, spread = seen.levels()
        own = np.repeat(seen.slices, seen.lengths)
        scale = np.bincount(own, (seen.values - centres[own]) ** 2, seen.count) / np.maximum(np.bincount(own, minlength=seen.count), 1)
        between, ends = _gaps(seen, asked)
        times = 1  # a gap that has no end is not held out elsewhere, where it would have one
        if ends.mean() < 0.5:
            times = max(1, min(AGAIN, -(-GAPS // len(np.unique(between))), LIMIT // train.size))
        parts = [_parted(whole, moved) for moved in _elsewhere(whole, hidden, times)]
        seen, asked, entries = _together(parts)
        number = np.bincount(np.repeat(seen.slices, np.diff(asked.starts))[_firsts(_gaps(seen, asked)[0])], minlength=seen.count)
        seen, asked = _stretches(seen, asked)
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
    def _gap(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each held-out entry, the number of its gap; of each gap, how many entries it has."""
        gaps = np.unique(_gaps(self.seen, self.asked)[0], return_inverse=True)[1].ravel()
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
        gaps, sizes = self._gap
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


def _firsts(sorted_: np.ndarray) -> np.ndarray:
    """Whether each differs from the one before."""
    return np.concatenate([[True], np.diff(sorted_) != 0])[: len(sorted_)]


def _gaps(seen: Series, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """A number for the gap between two entries in which each asked cell lies, in order; and whether it has no end."""
    gap, ends = np.empty(len(asked.places), np.int64), np.empty(len(asked.places), bool)
    for s in np.flatnonzero(np.diff(asked.starts)):
        own, lo, hi = slice(asked.starts[s], asked.starts[s + 1]), seen.starts[s], seen.starts[s + 1]
        after = np.searchsorted(seen.places[lo:hi], asked.places[own])
        gap[own], ends[own] = lo + s + after, (after == 0) | (after == hi - lo)
    return gap, ends


def _elsewhere(whole: Series, hidden: np.ndarray, times: int) -> Iterator[np.ndarray]:
    """Which entries to hold out: those that are hidden, and the same pattern moved on in every series, round its end."""
    lengths = np.repeat(whole.lengths, whole.lengths)
    first = np.repeat(whole.starts[:-1], whole.lengths)
    place = np.arange(len(hidden)) - first
    for n in range(times):
        step = np.round(lengths * (n * 0.6180339887498949 % 1)).astype(np.int64)  # the golden ratio spreads any number of them evenly
        yield hidden[first + (place - step) % lengths]


def _parted(whole: Series, hidden: np.ndarray) -> tuple[Series, Asked, np.ndarray]:
    """The entries that are not hidden, those that are as cells asked for, and which these are."""
    shown = np.concatenate([[0], np.cumsum(~hidden)])[whole.starts]
    entries = np.flatnonzero(hidden)
    noise = whole.noise[~hidden] if len(whole.noise) else whole.noise
    seen = replace(whole, starts=shown, places=whole.places[~hidden], values=whole.values[~hidden], noise=noise)
    return seen, Asked(len(entries), np.arange(len(entries)), whole.starts - shown, whole.places[entries]), entries


def _together(parts: Sequence[tuple[Series, Asked, np.ndarray]]) -> tuple[Series, Asked, np.ndarray]:
    """Several hold-outs as one, each with series of its own, and the entries that are asked for."""
    series, asked = [p[0] for p in parts], [p[1] for p in parts]
    entries = np.cumsum([0] + [len(s.values) for s in series])
    cells = np.cumsum([0] + [a.count for a in asked])
    together = Series(
        np.arange(sum(len(s.numbers) for s in series)),
        np.concatenate([s.starts[:-1] + n for s, n in zip(series, entries[:-1], strict=True)] + [entries[-1:]]),
        np.concatenate([s.places for s in series]),
        np.concatenate([s.values for s in series]),
        np.concatenate([s.noise for s in series]),
        np.concatenate([s.slices for s in series]),
        series[0].count,
    )
    starts = np.concatenate([a.starts[:-1] + n for a, n in zip(asked, cells[:-1], strict=True)] + [cells[-1:]])
    whole = Asked(int(cells[-1]), np.arange(cells[-1]), starts, np.concatenate([a.places for a in asked]))
    return together, whole, np.concatenate([p[2] for p in parts])


def _stretches(seen: Series, asked: Asked) -> tuple[Series, Asked]:
    """Entries cut into stretches, of which as many are taken as `LIMIT` allows, as many entries of every slice; and what is asked in them.

    A cell that lies in a gap between two stretches belongs to the one before, which goes on for `OVERLAP` entries.
    """
    if len(seen.values) <= LIMIT:
        return seen, asked
    pieces = -(-seen.lengths // STRETCH)
    series = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(series)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    lo = seen.starts[series] + number * STRETCH
    hi = np.minimum(lo + STRETCH, seen.starts[series + 1])
    # what is asked from the stretch's first entry on, up to the next one's; before the first entry of a series too
    position = np.arange(len(lo))
    first = np.array(
        [
            asked.starts[s] + (0 if n == 0 else np.searchsorted(asked.places[asked.starts[s] : asked.starts[s + 1]], seen.places[a]))
            for s, n, a in zip(series, number, lo, strict=True)
        ]
    )
    last = np.where(np.append(series[1:], -1) == series, np.append(first[1:], 0), asked.starts[series + 1])
    # as many entries of every slice, drawn without favour
    draw = np.random.default_rng(0).permutation(len(lo))
    own = seen.slices[series]
    share = LIMIT / len(np.unique(own))
    order = draw[np.argsort(own[draw], kind="stable")]
    sizes = (hi - lo)[order]
    before = np.cumsum(sizes) - sizes
    starts_of = np.searchsorted(own[order], np.arange(seen.count))
    within = before - before[np.minimum(starts_of[own[order]], len(before) - 1)]
    pick = np.sort(order[(within < share) & (last[order] > first[order])])
    lo = np.maximum(lo[pick] - OVERLAP, seen.starts[series[pick]])
    hi = np.minimum(hi[pick] + OVERLAP, seen.starts[series[pick] + 1])
    entries, cells = _runs(lo, hi), _runs(first[pick], last[pick])
    starts = np.concatenate([[0], np.cumsum(hi - lo)])
    part = Series(
        position[pick],
        starts,
        seen.places[entries],
        seen.values[entries],
        seen.noise[entries] if len(seen.noise) else seen.noise,
        own[pick],
        seen.count,
    )
    asked_starts = np.concatenate([[0], np.cumsum(last[pick] - first[pick])])
    return part, Asked(asked.count, asked.order[cells], asked_starts, asked.places[cells])


def _runs(lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """The numbers from each `lo` up to its `hi`, one run after another."""
    lengths = hi - lo
    return np.repeat(lo - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
