"""Factors that go on in time: what all series share moves along the axis, so that gaps in all of them at once are bridged.

    y(t, s) = level_s + l_s' f(t) + noise_s,        f(t + 1) = A f(t) + q

a dynamic factor model [geweke1977], fitted by expectation maximisation [shumway1982] that is stopped early. Each series counts in its
standard deviations. Where the others are seen a series follows them; where nothing at all is seen the factors go on by `A`, forwards and
backwards, and return to their level. How many factors, and after how many sweeps to stop, is chosen on the entries held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts.kalman import loaded, smoothed
from rankless.experts.task import Task
from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axis
from rankless.tensors.canonical import COUNTABLE
from rankless.tensors.folding import HOLES, steps_of
from rankless.tensors.observations import Observations

COUNTS = (1, 2, 4, 8, 16, 32)  # numbers of factors tried, as far as there are series, and work and room allow
STOPS = (5, 10, 20, 40, 80)  # sweeps after which one is looked at
WORK = 2e10  # multiply-adds of the sweeps of one number of factors, at most
ROOM = 30_000_000  # numbers in the covariances of all times, at most
LEAST_NOISE = 1e-6  # variance of the noise over that of the series


@dataclass(frozen=True, eq=False)
class Table:
    """Entries of all series time by time, each series less its mean and in its standard deviations."""

    axis: Axis
    shape: tuple[int, ...]
    numbers: np.ndarray  # which series they are, sorted
    steps: np.ndarray  # the step on which each cell of the axis lies
    starts: np.ndarray  # where each step's entries start
    series: np.ndarray
    values: np.ndarray
    centres: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, obs: Observations, axis: Axis) -> Table | None:
        """None where the positions of the axis are too uneven to lie on steps."""
        steps = _steps(axis)
        if steps is None:
            return None
        numbers, own = np.unique(axis.series(obs.coords, obs.shape), return_inverse=True)
        own, at = own.ravel(), steps[axis.cells(obs.coords)]
        seen = np.bincount(own, minlength=len(numbers))
        top = float(np.abs(obs.values).max(initial=0.0)) or 1.0
        values = obs.values.astype(float) / top
        centres = np.bincount(own, values, len(numbers)) / np.maximum(seen, 1)
        apart = values - centres[own]
        scales = np.sqrt(np.bincount(own, apart**2, len(numbers)) / np.maximum(seen, 1))
        scales = np.where(scales > 0, scales, 1.0)
        order = np.lexsort((own, at))
        starts = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=int(steps.max(initial=0)) + 1))])
        return cls(axis, obs.shape, numbers, steps, starts, own[order], (apart / scales[own])[order], centres * top, scales * top)

    @property
    def length(self) -> int:
        return len(self.starts) - 1

    def places(self, coords: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step and series of each cell, and whether anything was seen of its series."""
        series = self.axis.series(coords, self.shape)
        at = np.minimum(np.searchsorted(self.numbers, series), len(self.numbers) - 1)
        return self.steps[self.axis.cells(coords)], at, self.numbers[at] == series


def _steps(axis: Axis) -> np.ndarray | None:
    """The step on which each cell of an axis lies; of uneven positions the nearest one, which several may share."""
    steps = steps_of(axis.positions)
    if steps is None:
        apart = np.asarray(axis.positions - axis.positions.min(), dtype=float)
        whole = np.round(apart / float(np.median(np.diff(np.unique(apart)))))
        steps = whole.astype(np.int64) if whole.max() < HOLES * axis.length else None
    return steps


@dataclass(frozen=True, eq=False)
class Settled:
    """Factors ``(T, r)`` of a table, and of each series its loadings ``(S, r)`` and level: what a file can hold."""

    table: Table
    factors: np.ndarray
    loadings: np.ndarray
    levels: np.ndarray

    def at(self, coords: np.ndarray) -> np.ndarray:
        """Values of cells in the units of the data; NaN in series of which nothing was seen."""
        table = self.table
        at, series, known = table.places(coords)
        said = self.levels[series] + np.einsum("nr,nr->n", self.factors[at], self.loadings[series])
        return np.where(known, table.centres[series] + table.scales[series] * said, np.nan)


class Model:
    """Factors, loadings and how the factors go on; a sweep is one step of expectation maximisation."""

    def __init__(self, table: Table, count: int):
        self.table, series = table, len(table.numbers)
        lines = _lines(table)
        vectors = np.linalg.svd(lines, full_matrices=False)[2][:count].T
        factors = lines @ vectors
        size = np.sqrt(np.mean(factors**2, axis=0))
        size = np.where(size > 1e-9, size, 1.0)
        factors, self.loadings = factors / size, np.ascontiguousarray(vectors * size)
        self.levels = np.zeros(series)
        left = table.values - np.einsum("nr,nr->n", factors[_times(table)], self.loadings[table.series])
        seen = np.maximum(np.bincount(table.series, minlength=series), 1)
        self.noises = np.maximum(np.bincount(table.series, left**2, series) / seen, 0.01)
        self.first = np.eye(count)
        self._move(factors[:-1].T @ factors[:-1], factors[1:].T @ factors[:-1], factors[1:].T @ factors[1:])

    def sweep(self) -> None:
        """Means of the factors given loadings and movement, then these given the factors."""
        table = self.table
        means, covs, ties = self._smoothed()
        total = means.T @ means + covs.sum(axis=0)
        first, last = (np.outer(means[t], means[t]) + covs[t] for t in (0, -1))
        self._move(total - last, means[1:].T @ means[:-1] + ties.sum(axis=0), total - first)
        squares = self.noises.copy()
        loaded(table.starts, table.series, table.values, means, covs, self.noises, self.loadings, self.levels, squares)
        self.noises = np.maximum(squares, LEAST_NOISE)
        # factors of unit covariance, so that a standard normal is a prior of loadings
        root = np.linalg.cholesky(total / table.length + 1e-9 * np.eye(len(total)))
        self.loadings = np.ascontiguousarray(self.loadings @ root)
        back = np.linalg.inv(root)
        self.step, self.drive = back @ self.step @ root, _symmetric(back @ self.drive @ back.T)
        self.first = np.eye(len(root))

    def settle(self) -> Settled:
        """The factors given all else."""
        return Settled(self.table, self._smoothed()[0], self.loadings, self.levels)

    def _smoothed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = self.table
        values = table.values - self.levels[table.series]
        return smoothed(table.starts, table.series, values, self.loadings, self.noises, self.step, self.drive, self.first)

    def _move(self, before: np.ndarray, across: np.ndarray, after: np.ndarray) -> None:
        """`A` and `Q` from sums of products of the factors at a time and the time before; slower than for ever none becomes."""
        eye = np.eye(len(before))
        step = np.linalg.solve(before.T + 1e-6 * np.trace(before) / len(before) * eye, across.T).T
        size = np.abs(np.linalg.eigvals(step)).max()
        self.step = np.ascontiguousarray(step if size < 1 else step * (1 - 1e-6) / size)
        left = after - self.step @ across.T - across @ self.step.T + self.step @ before @ self.step.T
        self.drive = _symmetric(left / (self.table.length - 1)) + 1e-9 * eye


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(0.5 * (matrix + matrix.T))


def _times(table: Table) -> np.ndarray:
    return np.repeat(np.arange(table.length), np.diff(table.starts))


def _lines(table: Table) -> np.ndarray:
    """All series straight from entry to entry, shape ``(T, S)``: where the search for factors begins."""
    order = np.argsort(table.series, kind="stable")
    times, values = _times(table)[order], table.values[order]
    ends = np.concatenate([[0], np.cumsum(np.bincount(table.series, minlength=len(table.numbers)))])
    filled = np.zeros((table.length, len(table.numbers)))
    for s in range(len(table.numbers)):
        own = slice(ends[s], ends[s + 1])
        filled[:, s] = np.interp(np.arange(table.length), times[own], values[own])
    return filled


@dataclass(frozen=True, eq=False)
class Factors:
    """A predictor: `count` factors that go on along an axis, after so many sweeps."""

    axis: Axis
    count: int
    sweeps: int
    model: Settled | None = None

    def at(self, indices: np.ndarray) -> np.ndarray:
        if self.model is None:
            return np.full(len(indices), np.nan)
        return self.model.at(np.ascontiguousarray(indices.T))

    def again(self, obs: Observations, tools: Tools | None = None) -> Factors:
        axis = self.axis.again(obs)
        table = Table.of(obs, axis)
        if table is None or table.length < 2:
            return replace(self, axis=axis, model=None)
        model = Model(table, min(self.count, len(table.numbers)))
        for _ in range(self.sweeps):
            if tools is not None:
                tools.workers.tracker.beat()
            model.sweep()
        return replace(self, axis=axis, model=model.settle())

    def words(self, modes: Sequence[str]) -> str:
        return f"{self.count} factors that go on along {self.axis.name}"


class FactorsExpert:
    """The number of factors, and of sweeps, that help most beside the answer so far."""

    name = "factors"

    def cost(self, task: Task) -> float:
        if not task.axes.axes:
            return 0.0
        work = work_of(task.train, task.axes.axes[0], COUNTS[0])
        return work if work <= WORK and task.train.cells < COUNTABLE else np.inf

    def offers(self, task: Task, tools: Tools) -> Iterator[Factors]:
        for axis in task.axes.axes[:1]:
            if len(axis.modes) < task.train.order and (found := chosen(task, axis, tools.workers)) is not None:
                yield found


def work_of(obs: Observations, axis: Axis, count: int) -> float:
    """Multiply-adds of the sweeps of `count` factors, about; inf where their covariances take too much room."""
    if axis.length * count**2 > ROOM:
        return np.inf
    return STOPS[-1] * (3.0 * obs.size * (count + 1) ** 2 + 12.0 * axis.length * count**3)


def counts_of(obs: Observations, axis: Axis, series: int) -> list[int]:
    """Numbers of factors that are tried of so many series."""
    return [count for count in dict.fromkeys(min(count, series) for count in COUNTS) if work_of(obs, axis, count) <= WORK]


def chosen(task: Task, axis: Axis, workers: Workers) -> Factors | None:
    """The number of factors and of sweeps that help most beside the answer so far; None where the axis is too uneven."""
    table = Table.of(task.train, axis)
    if table is None or table.length < 3 or len(table.numbers) < 2:
        return None
    best, least = None, np.inf
    for count in counts_of(task.train, axis, len(table.numbers)):
        trial, here, done = Model(table, count), np.inf, 0
        for stop in STOPS:
            for _ in range(stop - done):
                workers.tracker.beat()
                trial.sweep()
            done = stop
            said = trial.settle().at(task.held.coords)
            score = task.beside(np.where(np.isnan(said), task.said, said))[0]
            if score < least:
                best, least = Factors(axis, count, stop), score
            if score >= here:
                break
            here = score
    return None if best is None else best.again(task.train)
