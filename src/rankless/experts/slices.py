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

It is asked where cells are missing one by one and where they are missing as gaps, and stands beside the rest of the answer
in the share that pays on held-out entries. Lagged copies may go along an axis of several modes: over midnight, from the last
hour of a day to the next day's first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import prod

import numba as nb
import numpy as np

from rankless.answer.tree import Tools
from rankless.experts import maps
from rankless.experts.task import Task
from rankless.holdout.gaps import Gaps
from rankless.runtime.journal import Arrays
from rankless.runtime.pack import pack, unpack
from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axis
from rankless.tensors.observations import Observations, along

NOISE = 1e-3  # variance of what is no signal in a column, over its own
WIDEST = 128  # columns, lagged ones counted
ROWS = 2  # rows a column, without which covariances are not tried
STOPS = (10, 20, 40)  # sweeps after which held-out entries are looked at
WORK = 3e10  # multiply-adds of all sweeps of one unfolding, at most
CELLS = 4_000_000  # of an array, and of an unfolding with its copies, at most
LAGGED = 0.995  # score over that without a lag, above which it is not used
NEAR = 1.01  # score over the best one's, both without lags, above which lags are not tried
PAIRS = 1000  # rows in which both of two columns are seen, on average, from which more rows tell a covariance no better
BLOCK = 256  # patterns that are solved at a time
ALONG = -1  # number of the axis among the modes of lags


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _pulls(values, seen, starts, mean, covariance, noise, out, total):
    """``z = (S + noise)^-1 (x - m)`` among the places seen of each row, into `out`; the inverses are summed into `total`.

    Rows from ``starts[g]`` to ``starts[g + 1]`` are alike in what is seen of them. The inverse is found in place by the sweep operator on
    the lower triangle, whose inner loop runs along rows; of `total` the lower triangle is summed.
    """
    width = values.shape[1]
    at, inverse, apart, column = np.empty(width, np.int64), np.empty((width, width)), np.empty(width), np.empty(width)
    for g in range(len(starts) - 1):
        first, last, size = starts[g], starts[g + 1], 0
        for j in range(width):
            if seen[first, j]:
                at[size] = j
                size += 1
        for i in range(size):
            for j in range(i + 1):
                inverse[i, j] = covariance[at[i], at[j]]
            inverse[i, i] += noise
        for k in range(size):  # leaves minus the inverse
            pivot = 1.0 / inverse[k, k]
            for j in range(k):
                column[j] = inverse[k, j]
            for j in range(k, size):
                column[j] = inverse[j, k]
            for i in range(size):
                factor = pivot * column[i]
                for j in range(i + 1):
                    inverse[i, j] -= factor * column[j]
            for j in range(k):
                inverse[k, j] = pivot * column[j]
            for j in range(k + 1, size):
                inverse[j, k] = pivot * column[j]
            inverse[k, k] = -pivot
        for i in range(size):
            for j in range(i + 1):
                total[at[i], at[j]] -= (last - first) * inverse[i, j]
        for row in range(first, last):
            for j in range(size):
                apart[j], column[j] = values[row, at[j]] - mean[at[j]], 0.0
            for i in range(size):
                part = 0.0
                for j in range(i):
                    part += inverse[i, j] * apart[j]
                    column[j] -= inverse[i, j] * apart[i]
                column[i] -= part + inverse[i, i] * apart[i]
            for j in range(size):
                out[row, at[j]] = column[j]


@dataclass(frozen=True)
class Unfolding:
    """Columns are the slices of `modes`, and again those `step` slices on along `mode` for every ``(mode, step)`` in `lags`.

    Mode ``ALONG`` is the `axis`, whose modes are among the others: over midnight, from the last hour of a day to the first of the next.
    """

    shape: tuple[int, ...]
    modes: tuple[int, ...]
    lags: tuple[tuple[int, int], ...] = ()
    axis: Axis | None = None

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

    @property
    def ways(self) -> dict[int, int]:
        """Modes along which copies may be lagged, and their lengths."""
        found = {mode: self.shape[mode] for mode in self.others}
        if self.axis is not None and not set(self.axis.modes) & set(self.modes):
            del found[self.axis.modes[-1]]  # its steps are those of the axis, but for its ends
            found[ALONG] = self.axis.length
        return found

    @property
    def lagged(self) -> set[int]:
        """Modes along which copies are lagged."""
        ways = {mode for mode, _ in self.lags}
        return (ways - {ALONG}) | set(self.axis.modes if self.axis is not None and ALONG in ways else ())

    def matrix(self, array: np.ndarray) -> np.ndarray:
        """The unfolding of `array`, NaN where nothing was seen, shape ``(rows, width)``."""
        copies = [array, *(self._moved(array, *lag) for lag in self.lags)]
        return np.concatenate([np.moveaxis(a, self.others, range(len(self.others))).reshape(self.rows, -1) for a in copies], axis=1)

    def folded(self, matrix: np.ndarray) -> np.ndarray:
        """The array whose unfolding `matrix` is, its lagged copies left out."""
        axes = (*self.others, *self.modes)
        array = matrix[:, : self.columns].reshape([self.shape[mode] for mode in axes])
        return np.transpose(array, np.argsort(axes))

    def rows_of(self, coords: np.ndarray) -> np.ndarray:
        """The row in which each column of `coords` lies."""
        return np.asarray(np.ravel_multi_index(tuple(coords[list(self.others)]), tuple(self.shape[mode] for mode in self.others)))

    def columns_of(self, coords: np.ndarray) -> np.ndarray:
        """The first column in which each column of `coords` lies: that without a lag."""
        return np.asarray(np.ravel_multi_index(tuple(coords[list(self.modes)]), tuple(self.shape[mode] for mode in self.modes)))

    def _moved(self, array: np.ndarray, mode: int, step: int) -> np.ndarray:
        """What lies `step` slices on along a mode or the axis, NaN beyond the end."""
        if mode != ALONG or self.axis is None:
            return _moved(array, mode, step)
        order = np.argsort(self.axis.positions, kind="stable")
        front = np.moveaxis(array, self.axis.modes, range(len(self.axis.modes)))
        flat = front.reshape(len(order), -1)
        moved = np.empty_like(flat)
        moved[order] = _moved(flat[order], 0, step)
        return np.moveaxis(moved.reshape(front.shape), range(len(self.axis.modes)), self.axis.modes)


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

    Of many rows a random part tells `m` and `S`: as many as show each pair of columns `PAIRS` times.
    """

    def __init__(self, matrix: np.ndarray, workers: Workers | None = None):
        seen = ~np.isnan(matrix)
        counts = np.maximum(seen.sum(axis=0), 1)
        self._centre = np.where(seen, matrix, 0.0).sum(axis=0) / counts
        apart = np.where(seen, matrix - self._centre, 0.0)
        size = np.sqrt(np.einsum("ij,ij->j", apart, apart) / counts)
        self._scale = np.where(size > 0, size, 1.0)
        self._values, self._seen, self._workers = apart / self._scale, seen, workers
        self.mean, self.covariance = np.zeros(len(counts)), np.eye(len(counts))
        some = np.flatnonzero(seen.any(axis=1))
        enough = int(PAIRS / max(float(seen.mean()) ** 2, 1e-12))
        if len(some) > enough:
            some = np.sort(np.random.default_rng(0).permutation(some)[:enough])
        self._own = self._alike(some)

    @property
    def work(self) -> float:
        """Multiply-adds of a sweep."""
        order, starts = self._own
        sizes = self._seen[order[starts[:-1]]].sum(axis=1).astype(float)
        return float(np.sum(sizes**3 / 2 + np.diff(starts) * sizes**2) + 2.0 * len(order) * len(self.mean) ** 2)

    def sweep(self) -> None:
        z, inverse = self._solved(*self._own)
        covariance = self.covariance
        self.mean = self.mean + covariance @ z.mean(axis=0)
        covariance = covariance + covariance @ ((z.T @ z - inverse) / len(z)) @ covariance
        self.covariance = (covariance + covariance.T) / 2

    def filled(self, rows: np.ndarray | None = None) -> np.ndarray:
        """``E[s]`` of every row, or of `rows` alone, in the units of the matrix."""
        rows = np.arange(len(self._seen)) if rows is None else rows
        order, starts = self._alike(rows[self._seen[rows].any(axis=1)])
        z = np.zeros((len(self._seen), len(self.mean)))
        z[order] = self._solved(order, starts)[0]
        return (self.mean + z[rows] @ self.covariance) * self._scale + self._centre

    def silent(self) -> np.ndarray:
        """Where nothing is known: nothing was seen of the row or of the column."""
        return ~np.logical_and.outer(self._seen.any(axis=1), self._seen.any(axis=0))

    def _alike(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows in an order in which those alike in what is seen of them follow each other, and where each kind starts."""
        _, kind = np.unique(np.packbits(self._seen[rows], axis=1), axis=0, return_inverse=True)
        order = np.argsort(kind.ravel(), kind="stable")
        return rows[order], np.concatenate([[0], np.cumsum(np.bincount(kind.ravel()))]).astype(np.int64)

    def _solved(self, order: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`z` of the rows in `order`, and the sum over them of `B`."""
        values, seen, z = self._values[order], self._seen[order], np.zeros((len(order), len(self.mean)))
        blocks = [starts[at : at + BLOCK + 1] for at in range(0, len(starts) - 1, BLOCK)]
        totals = np.zeros((len(blocks), *self.covariance.shape))
        calls = [(values, seen, own, self.mean, self.covariance, NOISE, z, total) for own, total in zip(blocks, totals, strict=True)]
        if self._workers is None:
            for call in calls:
                _pulls(*call)
        else:
            self._workers.run(_pulls, calls, float(np.sum(seen.sum(axis=1, dtype=float) ** 2)))
        lower = totals.sum(axis=0)
        return z, lower + np.tril(lower, -1).T


@dataclass(frozen=True, eq=False)
class Slices:
    """What slices of an unfolding say of each other after some sweeps, in every cell; NaN where it knows nothing."""

    unfolding: Unfolding
    sweeps: int
    values: np.ndarray

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.values[tuple(indices.T)]

    def again(self, obs: Observations, tools: Tools) -> Slices:
        def compute() -> Arrays:
            normal = Normal(self.unfolding.matrix(obs.to_array()), tools.workers)
            for _ in range(self.sweeps):
                tools.workers.tracker.beat()
                normal.sweep()
            return {"values": _everywhere(self.unfolding, normal, obs)}

        return replace(self, values=tools.workers.recall("slices", (obs.coords, obs.values), compute)["values"])

    def words(self, modes: Sequence[str]) -> str:
        lags = f" with {len(self.unfolding.lags)} lagged copies" if self.unfolding.lags else ""
        return f"slices of {' x '.join(modes[mode] for mode in self.unfolding.modes)}{lags}"


def _everywhere(unfolding: Unfolding, normal: Normal, obs: Observations) -> np.ndarray:
    """What `normal` says of every cell, NaN where it knows nothing."""
    silent = unfolding.folded(normal.silent())
    for mode in set(range(obs.order)) - unfolding.lagged:  # slices never seen, but of a mode in which they lie between what was
        silent |= along(obs.counts(mode) == 0, mode, obs.order)
    return np.where(silent, np.nan, unfolding.folded(normal.filled()))


KINDS = (Slices, Unfolding, Axis)  # what a journal may hold


# --- the expert -----------------------------------------------------------------------------------


class SlicesExpert:
    """The unfolding that helps most beside the answer so far, with the lags that help; and of maps those that are too wide for it."""

    name = "slices"

    def cost(self, task: Task) -> float:
        return WORK if task.train.cells <= CELLS else np.inf

    def offers(self, task: Task, tools: Tools) -> Iterator[Slices | maps.Maps]:
        given = task.train.values, task.held.values, task.residual, task.mode
        found = unpack(tools.workers.recall("unfolding", given, lambda: pack(choose(task, tools.workers))), KINDS)
        if found is not None:
            yield found
        yield from maps.offers(task, tools)


@dataclass(frozen=True, eq=False)
class _Trial:
    unfolding: Unfolding
    sweeps: int
    normal: Normal  # as it was after these; it may have gone on since
    moments: tuple[np.ndarray, np.ndarray]  # mean and covariance after these
    score: float  # of unfolding and all else in their shares


def choose(task: Task, workers: Workers) -> Slices | None:
    """The unfolding that helps most; None where none fits. Slices along which gaps run are rows, never columns."""
    train, held = task.train, task.held
    array = train.to_array()

    def tried(unfolding: Unfolding) -> _Trial | None:
        """After the first sweeps; None where they take too much work."""
        normal = Normal(unfolding.matrix(array), workers)
        return gone_on(unfolding, normal, 0, STOPS[0]) if STOPS[0] * normal.work <= WORK else None

    def gone_on(unfolding: Unfolding, normal: Normal, done: int, stop: int) -> _Trial:
        at, columns = unfolding.rows_of(held.coords), unfolding.columns_of(held.coords)
        rows, place = np.unique(at, return_inverse=True)
        for _ in range(stop - done):
            workers.tracker.beat()
            normal.sweep()
        fitted = np.where(normal.silent()[at, columns], task.said, normal.filled(rows)[place.ravel(), columns])
        return _Trial(unfolding, stop, normal, (normal.mean, normal.covariance), task.beside(fitted)[0])

    def settled(trial: _Trial) -> _Trial:
        """More sweeps, for as long as they help."""
        best = trial
        for before, stop in pairwise(STOPS):
            if stop * trial.normal.work > WORK:
                break
            further = gone_on(trial.unfolding, trial.normal, before, stop)
            if further.score >= best.score:
                break
            best = further
        return best

    axis = next((axis for axis in task.axes.axes), None)
    first = [trial for unfolding in _plain(train.shape, task.gaps, axis) if (trial := tried(unfolding)) is not None]
    if not first:
        return None
    bare = [settled(trial) for trial in first]
    roomy = [trial for trial in bare if 3 * trial.unfolding.width <= WIDEST]  # a wide one may be the best by a hair, and the end
    least = min((trial.score for trial in roomy), default=np.inf)
    starts = [trial for trial in roomy if trial.score <= NEAR * least]  # one that is just behind may lead once it has lags
    best = min([*bare, *(_lagged(start, tried, settled) for start in starts)], key=_score_of)
    best.normal.mean, best.normal.covariance = best.moments
    return Slices(best.unfolding, best.sweeps, _everywhere(best.unfolding, best.normal, train))


def _score_of(trial: _Trial) -> float:
    return trial.score


def _plain(shape: tuple[int, ...], gaps: Gaps | None, axis: Axis | None) -> Iterator[Unfolding]:
    candidates = [mode for mode in range(len(shape)) if gaps is None or mode != gaps.run]
    for count in range(1, len(shape)):
        for modes in combinations(candidates, count):
            unfolding = Unfolding(shape, modes, axis=axis)
            if _fits(unfolding):
                yield unfolding


def _fits(unfolding: Unfolding) -> bool:
    large = unfolding.width > WIDEST or unfolding.rows * unfolding.width > CELLS
    return unfolding.columns > 1 and unfolding.rows >= ROWS * unfolding.width and not large


def _lagged(top: _Trial, tried: Callable[[Unfolding], _Trial | None], settled: Callable[[_Trial], _Trial]) -> _Trial:
    """`top`, or its unfolding with more and more lagged copies: along the mode where that helps most, for as long as it does."""
    steps = dict.fromkeys(top.unfolding.ways, 1)
    while True:
        found: list[tuple[float, int, _Trial]] = []
        for number, (mode, step) in enumerate(steps.items()):
            unfolding = top.unfolding
            length = unfolding.ways[mode]
            unfolding = replace(unfolding, lags=(*unfolding.lags, (mode, step), (mode, -step)))
            if length > 2 * step and _fits(unfolding) and (trial := tried(unfolding)) is not None:
                found.append((trial.score, number, trial))
        if not found:
            return top
        _, number, first = min(found, key=lambda each: each[:2])
        trial = settled(first)
        if trial.score > LAGGED * top.score:
            return top
        top = trial
        steps[list(steps)[number]] += 1
