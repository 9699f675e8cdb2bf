"""What the slices of an unfolding say of each other: regression by a normal with full covariance, fitted by EM.

    row of the unfolding:   x = s + e,   s ~ N(m, S),   e ~ N(0, NOISE) at the places seen,
    filled with             E[s | what is seen of x]

An unfolding has a column for each combination of slices of a few modes, such as airport and variable,
and a row for each cell of the others, day and hour; columns may come again from a few `lags` earlier
or later, such as the day before. Where whole fibres are missing, this is what is left to hold on to:
the other variables at the same hour, other airports, the days around. `m` and `S` have no rank to
choose and no few components to obey. They come from expectation maximisation [dempster1977,
schneider2001], and stop early, at the sweep that held-out entries like best: until then what is ill
determined has hardly moved from no correlation at all. Lagged copies are those of singular spectrum
analysis [kondrashov2006].

It is used where cells are missing as gaps, chosen on entries held out as gaps, and added to all else in
the shares that these give; where it does not pay, it is left out. Gaps are weighed by `judge`. Where gaps
run on, arrays whose unfoldings are all of low rank (`nuclear`) may take a share besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts import nuclear
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.runtime.journal import Arrays
from rankless.tensors.observations import Observations

NOISE = 1e-3  # variance of what is no signal in a column, over its own
WIDEST = 128  # columns, lagged ones counted
ROWS = 2  # rows a column, without which covariances are not tried
STOPS = (10, 20, 40)  # sweeps after which held-out entries are looked at
WORK = 3e10  # multiply-adds of all sweeps of one unfolding, at most
CALL = 2e5  # multiply-adds that cost as much as the calls for one pattern
CELLS = 4_000_000  # of an array, and of an unfolding with its copies, at most
LAGGED = 0.995  # score over that without a lag, or without an array of low rank, above which this is not used
NEAR = 1.01  # score over the best one's, both without lags, above which lags are not tried
PAYS = 0.985  # score over that without the unfolding, above which it is left out
SURE = 3.0  # standard errors by which errors of gaps have to fall besides


@dataclass(frozen=True)
class Unfolding:
    """Columns are the slices of `modes`, and again those `step` slices on along `mode` for every ``(mode, step)`` in `lags`."""

    shape: tuple[int, ...]
    modes: tuple[int, ...]
    lags: tuple[tuple[int, int], ...] = ()

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(mode for mode in range(len(self.shape)) if mode not in self.modes)

    @property
    def columns(self) -> int:
        return prod(self.shape[mode] for mode in self.modes)

    @property
    def rows(self) -> int:
        return prod(self.shape[mode] for mode in self.others)

    @property
    def width(self) -> int:
        return self.columns * (1 + len(self.lags))

    def matrix(self, array: np.ndarray) -> np.ndarray:
        """The unfolding of `array`, NaN where nothing was seen, shape ``(rows, width)``."""
        copies = [array, *(_moved(array, *lag) for lag in self.lags)]
        return np.concatenate([np.moveaxis(a, self.others, range(len(self.others))).reshape(self.rows, -1) for a in copies], axis=1)

    def folded(self, matrix: np.ndarray) -> np.ndarray:
        """The array whose unfolding `matrix` is, its lagged copies left out."""
        axes = (*self.others, *self.modes)
        array = matrix[:, : self.columns].reshape([self.shape[mode] for mode in axes])
        return np.transpose(array, np.argsort(axes))


def _moved(array: np.ndarray, mode: int, step: int) -> np.ndarray:
    """What lies `step` slices on along a mode, NaN beyond the end."""
    moved = np.full_like(array, np.nan)
    here, there = [slice(None)] * array.ndim, [slice(None)] * array.ndim
    here[mode], there[mode] = (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(None, step))
    moved[tuple(here)] = array[tuple(there)]
    return moved


class Normal:
    """A normal with mean `m` and covariance `S` for the rows of `matrix`, NaN where nothing was seen; a sweep is one step of EM.

    With ``B = (S + NOISE)^-1`` among the places seen of a row and zero elsewhere, and ``z = B (x - m)``:

        E[s] = m + S z,      m' = m + S mean(z),      S' = S + S mean(z z' - B) S
    """

    def __init__(self, matrix: np.ndarray):
        seen = ~np.isnan(matrix)
        counts = np.maximum(seen.sum(axis=0), 1)
        self._centre = np.where(seen, matrix, 0.0).sum(axis=0) / counts
        apart = np.where(seen, matrix - self._centre, 0.0)
        size = np.sqrt(np.einsum("ij,ij->j", apart, apart) / counts)
        self._scale = np.where(size > 0, size, 1.0)
        self._values, self._seen = apart / self._scale, seen
        self.mean, self.covariance = np.zeros(len(counts)), np.eye(len(counts))
        _, pattern = np.unique(np.packbits(seen, axis=1), axis=0, return_inverse=True)
        order = np.argsort(pattern.ravel(), kind="stable")
        rows = np.split(order, np.cumsum(np.bincount(pattern.ravel()))[:-1])  # those alike in what is seen of them
        alike = [(own, np.flatnonzero(seen[own[0]])) for own in rows if seen[own[0]].any()]
        self._patterns = [(own[:, None], at, self._values[own[:, None], at]) for own, at in alike]
        self._rest = self._solved()

    @property
    def work(self) -> float:
        """Multiply-adds of a sweep."""
        width = len(self.mean)
        return sum(2.0 * len(at) ** 3 + len(own) * len(at) ** 2 + CALL for own, at, _ in self._patterns) + 2.0 * self._values.size * width

    def sweep(self) -> None:
        z, inverse = self._rest
        covariance = self.covariance
        self.mean = self.mean + covariance @ z.mean(axis=0)
        covariance = covariance + covariance @ ((z.T @ z - inverse) / len(z)) @ covariance
        self.covariance = (covariance + covariance.T) / 2
        self._rest = self._solved()

    def filled(self) -> np.ndarray:
        """``E[s]`` of every row, in the units of the matrix."""
        return (self.mean + self._rest[0] @ self.covariance) * self._scale + self._centre

    def silent(self) -> np.ndarray:
        """Where nothing is known: nothing was seen of the row or of the column."""
        return ~np.logical_and.outer(self._seen.any(axis=1), self._seen.any(axis=0))

    def _solved(self) -> tuple[np.ndarray, np.ndarray]:
        """`z` of every row, and the sum over rows of `B`."""
        z, inverse = np.zeros_like(self._values), np.zeros_like(self.covariance)
        for rows, at, values in self._patterns:
            own = self.covariance[at][:, at]
            own.flat[:: len(at) + 1] += NOISE
            own = np.linalg.inv(own)
            inverse[at[:, None], at] += len(rows) * own
            z[rows, at] = (values - self.mean[at]) @ own
        return z, inverse


@dataclass(frozen=True, eq=False)
class Slices:
    """What slices of an unfolding say of each other after some sweeps, in every cell; NaN where it knows nothing."""

    unfolding: Unfolding
    sweeps: int
    values: np.ndarray

    @classmethod
    def of(cls, unfolding: Unfolding, sweeps: int, normal: Normal, obs: Observations) -> Slices:
        """What `normal` says after its `sweeps`, given the entries of `obs`."""
        silent = unfolding.folded(normal.silent())
        for mode in range(obs.order):  # lagged copies do not stand for a slice of its own
            silent |= (obs.counts(mode) == 0).reshape([-1 if m == mode else 1 for m in range(obs.order)])
        return cls(unfolding, sweeps, np.where(silent, np.nan, unfolding.folded(normal.filled())))

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.values[tuple(indices.T)]

    def again(self, obs: Observations, tools: Tools) -> Slices:
        def compute() -> Arrays:
            normal = Normal(self.unfolding.matrix(dense(obs)))
            for _ in range(self.sweeps):
                normal.sweep()
            return {"values": Slices.of(self.unfolding, self.sweeps, normal, obs).values}

        return replace(self, values=tools.workers.recall("slices", (obs.coords, obs.values), compute)["values"])

    def words(self, modes: Sequence[str]) -> str:
        return f"slices of {' x '.join(modes[mode] for mode in self.unfolding.modes)}"


KINDS = (Slices, Unfolding)  # that a journal may hold


def dense(obs: Observations) -> np.ndarray:
    """The array, NaN where nothing was observed."""
    array = np.full(obs.shape, np.nan)
    array[tuple(obs.coords)] = obs.values
    return array


# --- the choice -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trial:
    predictor: Slices
    score: float  # of unfolding and all else in their shares
    shares: np.ndarray  # (2, slices): of all else, of the unfolding
    errors: np.ndarray
    fitted: np.ndarray  # on the held-out entries
    known: np.ndarray  # ... of which the unfolding knows something of these


Chosen = tuple[tuple[Slices | nuclear.LowRank, ...], np.ndarray, np.ndarray]  # predictors, shares of all else and theirs, errors left


def choose(train: Observations, held: Observations, residual: np.ndarray, gaps: Gaps, mode: int | None) -> Chosen | None:
    """The unfolding that helps most to fill the entries held out as `gaps`, the shares and the errors then left; None where none does.

    `residual` is what all else leaves at `held`; both parts are less the main effects. Slices of `mode` have noise of their own.
    Slices along which gaps run are rows, never columns.
    """
    if train.order < 3 or train.cells > CELLS:
        return None
    array, target = dense(train), held.values
    said = target - residual
    judge = Judge(residual, held, gaps, mode)

    def tried(unfolding: Unfolding) -> list[_Trial]:
        """After the sweeps of `STOPS`, until more of them do not help; none where they take too much work."""
        normal, trials, done = Normal(unfolding.matrix(array)), [], 0
        for stop in STOPS:
            if stop * normal.work > WORK:
                break
            for _ in range(stop - done):
                normal.sweep()
            done, predictor = stop, Slices.of(unfolding, stop, normal, train)
            values = predictor.at(held.indices)
            known = ~np.isnan(values)
            fitted = np.where(known, values, said)
            score, shares, errors = judge.joint(target, np.stack([said, fitted], axis=1))
            trials.append(_Trial(predictor, score, shares, errors, fitted, known))
            if len(trials) > 1 and score >= trials[-2].score:
                break
        return trials

    bare = [min(trials, key=_score_of) for unfolding in _plain(train.shape, gaps) if (trials := tried(unfolding))]
    if not bare:
        return None
    roomy = [trial for trial in bare if 3 * trial.predictor.unfolding.width <= WIDEST]  # a wide one may be the best by a hair, and the end
    least = min((trial.score for trial in roomy), default=np.inf)
    starts = [trial for trial in roomy if trial.score <= NEAR * least]  # one that is just behind may lead once it has lags
    top = min([*bare, *(_lagged(start, tried) for start in starts)], key=_score_of)
    chosen: Chosen = (top.predictor,), top.shares, top.errors
    score = top.score
    if gaps.run is not None and nuclear.affordable(train.shape):
        low = nuclear.LowRank(mode, nuclear.filled(array, mode))
        third = np.where(top.known, low.at(held.indices), said)
        with_low, shares, errors = judge.joint(target, np.stack([said, top.fitted, third], axis=1))
        if with_low < LAGGED * score:
            chosen, score = ((top.predictor, low), shares, errors), with_low
    pays = score < PAYS * judge.score(residual) and judge.gain(residual, chosen[2]) > SURE
    return chosen if pays else None


def _score_of(trial: _Trial) -> float:
    return trial.score


def _plain(shape: tuple[int, ...], gaps: Gaps) -> Iterator[Unfolding]:
    candidates = [mode for mode in range(len(shape)) if mode != gaps.run]
    for count in range(1, len(shape)):
        for modes in combinations(candidates, count):
            unfolding = Unfolding(shape, modes)
            if _fits(unfolding):
                yield unfolding


def _fits(unfolding: Unfolding) -> bool:
    large = unfolding.width > WIDEST or unfolding.rows * unfolding.width > CELLS
    return unfolding.columns > 1 and unfolding.rows >= ROWS * unfolding.width and not large


def _lagged(top: _Trial, tried: Callable[[Unfolding], list[_Trial]]) -> _Trial:
    """`top`, or its unfolding with more and more lagged copies: along the mode where that helps most, for as long as it does."""
    steps = dict.fromkeys(top.predictor.unfolding.others, 1)
    while True:
        found: list[tuple[float, int, _Trial]] = []
        for mode, step in steps.items():
            unfolding = top.predictor.unfolding
            unfolding = replace(unfolding, lags=(*unfolding.lags, (mode, step), (mode, -step)))
            if unfolding.shape[mode] > 2 * step and _fits(unfolding):
                found += [(trial.score, mode, trial) for trial in tried(unfolding)]
        score, mode, trial = min(found, default=(np.inf, 0, top), key=lambda each: each[:2])
        if score > LAGGED * top.score:
            return top
        top, steps[mode] = trial, steps[mode] + 1
