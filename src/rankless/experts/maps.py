"""Maps: cells of two smooth modes, latitude and longitude, stacked into one, so that land costs nothing and a coast is no rectangle.

    y[t, c] = sum_k a[t, k] b[c, k] + noise,      b[c] ~ N(0, 1),      noise of one variance for each slice of `mode`

`t` is a slice of the mode that repeats the map (day), `c` a cell of all others (variable, latitude, longitude): components of the whole
array have to be a product of a profile along latitude and one along longitude, empirical orthogonal functions do not [beckers2003].
They are fitted by EM for probabilistic principal components with what is missing left out [tipping1999]; their number is that of
the least error on held-out entries. Cells of which nothing was seen stay unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts.task import Task
from rankless.tensors.observations import Observations, slice_means, slices_of
from rankless.tensors.observations import along as along_mode

SMOOTH = 0.5  # roughness below which an axis may be one of a map's
COUNTS = (2, 4, 8, 16, 32)  # of functions, for as long as more of them help
SWEEPS = 15
LEAST_NOISE = 1e-6  # over the variance of what is fitted
CELLS, WORK = 8_000_000, 6e10  # of an array, and multiply-adds of all sweeps, at most
AT_ONCE = 4096  # cells of the map that are solved together


@dataclass(frozen=True, eq=False)
class Maps:
    """Empirical orthogonal functions of all modes but `along`, `count` of them; NaN in cells of which nothing was seen."""

    along: int
    count: int
    mode: int | None
    values: np.ndarray

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.values[tuple(indices.T)]

    def again(self, obs: Observations, tools: Tools) -> Maps:
        given = (obs.coords, obs.values, self.along, self.count)
        found = tools.workers.recall("maps", given, lambda: {"values": filled(obs, self.along, self.count, self.mode, tools)})
        return replace(self, values=found["values"])

    def words(self, modes: Sequence[str]) -> str:
        others = " x ".join(name for mode, name in enumerate(modes) if mode != self.along)
        return f"{self.count} functions of {others}"


def offers(task: Task, tools: Tools) -> Iterator[Maps]:
    """A predictor for each mode that repeats a map, where there is one: two modes that are smooth axes by themselves."""
    if task.train.cells > CELLS:
        return
    for along in modes_of(task):
        best, least = None, np.inf
        for count in COUNTS:
            if 2 * count > task.train.shape[along] or work_of(task.train.shape, along, count) > WORK:
                break
            tools.workers.tracker.beat()
            trial = Maps(along, count, task.mode, np.zeros(0)).again(task.train, tools)
            score = task.beside(task.at_held(trial))[0]
            if score >= least:
                break
            best, least = trial, score
        if best is not None:
            yield best


def modes_of(task: Task) -> list[int]:
    """Modes along which a map repeats: those beside which there are two smooth axes; time, where labels tell it, is none of a map's."""
    smooth = {axis.modes[0] for axis in task.axes.axes if len(axis.modes) == 1 and axis.roughness < SMOOTH and axis.origin != "labels"}
    return [mode for mode in range(task.train.order) if len(smooth - {mode}) > 1]


def work_of(shape: tuple[int, ...], along: int, count: int) -> float:
    """Multiply-adds of all sweeps."""
    cells = float(np.prod(shape))
    return SWEEPS * (2 * cells * count**2 + cells / shape[along] * count**3)


def filled(obs: Observations, along: int, count: int, mode: int | None, tools: Tools) -> np.ndarray:
    """What `count` functions say of every cell, shape `obs.shape`."""
    slices, slots = slices_of(obs.coords, obs.shape, mode)
    sizes = np.sqrt(slice_means(obs.values**2, slices, slots))
    sizes = np.where(sizes > 0, sizes, 1.0)
    array = obs.with_values(obs.values / sizes[slices]).to_array()
    matrix = np.moveaxis(array, along, 0).reshape(obs.shape[along], -1).T  # a row a cell of the map
    some = ~np.isnan(matrix).all(axis=1)
    groups = np.zeros(len(matrix), np.intp)  # of each cell of the map, the slice whose noise it has
    if mode is not None and mode != along:
        own = along_mode(np.arange(slots), mode, obs.order)
        groups = np.moveaxis(np.broadcast_to(own, obs.shape), along, 0)[0].ravel()
    said = np.full(matrix.shape, np.nan)
    said[some] = _fitted(matrix[some], count, groups[some], slots, tools)
    folded = said.T.reshape(obs.shape[along], *(d for m, d in enumerate(obs.shape) if m != along))
    folded = np.moveaxis(folded, 0, along)
    return folded * (along_mode(sizes, mode, obs.order) if mode is not None else sizes[0])


def _fitted(matrix: np.ndarray, count: int, groups: np.ndarray, slots: int, tools: Tools) -> np.ndarray:
    """Means of probabilistic principal components of the rows of `matrix`, of which each has an entry."""
    seen = ~np.isnan(matrix)
    values = np.where(seen, matrix, 0.0)
    entries = np.maximum(np.bincount(groups, seen.sum(axis=1), slots), 1)
    squares, vectors = np.linalg.eigh(values.T @ values)  # missing ones as zero
    functions = vectors[:, -count:] * np.sqrt(np.maximum(squares[-count:], 0) / len(values))  # (times, count)
    noise = np.full(slots, 0.5)
    for _ in range(SWEEPS):
        tools.workers.tracker.beat()
        sums, moments = np.zeros(functions.shape), np.zeros((len(functions), count, count))
        errors = np.zeros(slots)
        for start in range(0, len(values), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            weights, spread = _weights(values[part], seen[part], functions, noise[groups[part]])
            second = (spread + weights[:, :, None] * weights[:, None, :]).reshape(len(weights), -1)
            pull = 1 / noise[groups[part]][:, None]  # rows of little noise count more
            sums += (values[part] * pull).T @ weights
            moments += ((seen[part] * pull).T @ second).reshape(-1, count, count)
            fitted = weights @ functions.T
            outer = np.einsum("tk,tl->tkl", functions, functions).reshape(len(functions), -1)
            unsure = (seen[part] * (spread.reshape(len(weights), -1) @ outer.T)).sum(axis=1)
            errors += np.bincount(groups[part], (seen[part] * (values[part] - fitted) ** 2).sum(axis=1) + unsure, slots)
        small = 1e-9 * np.trace(moments, axis1=1, axis2=2)[:, None, None] + np.finfo(float).tiny
        functions = np.linalg.solve(moments + small * np.eye(count), sums[..., None])[..., 0]
        noise = np.maximum(errors / entries, LEAST_NOISE)
    out = np.empty(values.shape)
    for start in range(0, len(values), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        out[part] = _weights(values[part], seen[part], functions, noise[groups[part]])[0] @ functions.T
    return out


def _weights(values: np.ndarray, seen: np.ndarray, functions: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean ``(n, count)`` and covariance ``(n, count, count)`` of the weights of each row."""
    count = functions.shape[1]
    outer = np.einsum("tk,tl->tkl", functions, functions).reshape(len(functions), -1)
    precision = (seen.astype(float) @ outer).reshape(-1, count, count) / noise[:, None, None] + np.eye(count)
    spread = np.linalg.inv(precision)
    return np.einsum("nkl,nl->nk", spread, (values @ functions) / noise[:, None]), spread
