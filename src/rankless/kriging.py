"""What close cells add: simple kriging of what the components leave.

    y = offset + share T + mean + z + noise,      z ~ N(0, C),   C(i, j) = prod_m c_m(|i_m - j_m|)

A few components cannot follow a shower that lasts three hours at one airport; the next hour can.
Cells that differ in a few chosen modes only form a group, within which the residuals `z` correlate:
along a mode whose near slices are alike as ``c(d) = phi^d``, along any other as ``c(d) = rho`` for
``d > 0``. Given the residuals seen in its group a cell is filled with their conditional mean
[krige1951, cressie1993]; that components and neighbours complement each other is an idea of
[lei2022]. Each slice of the mode that has its own noise has its own numbers, and a `share` of the
components: where neighbours say it all, components only add their noise. Everything is chosen on
held-out entries, and left out where it doesn't pay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba as nb
import numpy as np

from rankless.cp_tensor import CPTensor
from rankless.observations import Observations

WINDOW = 512  # cells of a group, at most
WORK = 2e9  # multiply-adds of one pass over all groups, at most
SEEN = 0.02  # share of the cells observed, below which neighbours are too rare
ALIKE, SURE = 0.05, 4.0  # correlation of neighbouring residuals from which a mode is tried; and in standard errors
NEARER = 1.5  # ratio of the correlation of next to that of distant slices from which a mode is ordered
ENOUGH = 100  # held-out entries a slice, on average, without which all slices share their numbers
PAYS = 0.98  # squared error over that of the components alone, above which a slice is left to these
NUGGETS = (0.1, 0.3, 1.0, 3.0, 10.0)  # variance of the noise over that of `z`
ORDERED = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)  # phi
LOOSE = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97)  # rho
ROUNDS = 2


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _krige(starts, places, values, noise, wanted_starts, wanted, slices, tables, nuggets, out):
    """Conditional means of every group's `wanted` places, for each row of `values`; groups are runs of entries."""
    for g in range(len(starts) - 1):
        lo, hi, first, last, s = starts[g], starts[g + 1], wanted_starts[g], wanted_starts[g + 1], slices[g]
        n = hi - lo
        if n == 0 or first == last or nuggets[s] == np.inf:
            continue
        factor = np.empty((n, n))
        for i in range(n):  # Cholesky, row by row
            for j in range(i + 1):
                part = nuggets[s] * noise[lo + i] + 1.0 if i == j else 1.0
                if i != j:
                    for m in range(places.shape[0]):
                        part *= tables[s, m, abs(places[m, lo + i] - places[m, lo + j])]
                for k in range(j):
                    part -= factor[i, k] * factor[j, k]
                factor[i, j] = np.sqrt(part) if i == j else part / factor[j, j]
        weights = np.empty((values.shape[0], n))
        for row in range(values.shape[0]):
            for i in range(n):
                part = values[row, lo + i]
                for k in range(i):
                    part -= factor[i, k] * weights[row, k]
                weights[row, i] = part / factor[i, i]
            for i in range(n - 1, -1, -1):
                part = weights[row, i]
                for k in range(i + 1, n):
                    part -= factor[k, i] * weights[row, k]
                weights[row, i] = part / factor[i, i]
        for t in range(first, last):
            for i in range(n):
                alike = 1.0
                for m in range(places.shape[0]):
                    alike *= tables[s, m, abs(wanted[m, t] - places[m, lo + i])]
                for row in range(values.shape[0]):
                    out[row, t] += alike * weights[row, i]


@dataclass(frozen=True, eq=False)
class Correlation:
    """How alike residuals of close cells are, for each slice of `mode`; one number for all where it is None."""

    shape: tuple[int, ...]
    modes: tuple[int, ...]  # along which cells are neighbours
    mode: int | None
    tables: np.ndarray  # (slices, modes, longest mode): correlation at every distance
    nuggets: np.ndarray  # (slices,): variance of the noise over that of `z`; infinite where neighbours are not asked
    shares: np.ndarray  # (slices,): of the components

    def slices_at(self, coords: np.ndarray) -> np.ndarray:
        return np.zeros(coords.shape[1], np.intp) if self.mode is None else coords[self.mode]

    def groups_at(self, coords: np.ndarray) -> np.ndarray:
        """The number of each entry's group."""
        number = np.zeros(coords.shape[1], np.int64)
        for mode, d in enumerate(self.shape):
            if mode not in self.modes:
                number = number * d + coords[mode]
        return number

    def of(self, model: CPTensor) -> CPTensor:
        """The components in their shares."""
        mode = self.mode or 0
        return CPTensor([f * (self.shares[:, None] if m == mode else 1.0) for m, f in enumerate(model.factors)])

    def given(self, obs: Observations, residual: np.ndarray) -> Kriging:
        """What to fill with, given the residuals seen at the entries of `obs`."""
        slices = self.slices_at(obs.coords)
        means = _slice_means(residual, slices, len(self.nuggets)) * np.isfinite(self.nuggets)
        order = np.argsort(self.groups_at(obs.coords), kind="stable")
        groups, starts = np.unique(self.groups_at(obs.coords)[order], return_index=True)
        places = np.ascontiguousarray(obs.coords[list(self.modes)][:, order])
        rest = (residual - means[slices])[order]
        return Kriging(self, groups, np.append(starts, obs.size), places, rest, _noise(obs)[order], means)


@dataclass(frozen=True, eq=False)
class Kriging:
    """Residuals seen, group by group, and what they say of other cells."""

    correlation: Correlation
    groups: np.ndarray  # numbers of the groups, sorted
    starts: np.ndarray
    places: np.ndarray  # (modes, n)
    residuals: np.ndarray  # (n,), the slice's mean taken off
    noise: np.ndarray  # (n,): of each entry, relative
    means: np.ndarray  # (slices,)

    def at(self, indices: np.ndarray) -> np.ndarray:
        """What neighbours add at `indices`, shape ``(n, order)``."""
        coords = np.ascontiguousarray(indices.T)
        out = _passes(self, self.residuals[None], coords, self.correlation)[0]
        return out + self.means[self.correlation.slices_at(coords)]

    def times(self, factor: float) -> Kriging:
        """The same in other units."""
        return replace(self, residuals=self.residuals * factor, means=self.means * factor)


def _passes(seen: Kriging, values: np.ndarray, coords: np.ndarray, how: Correlation) -> np.ndarray:
    """Conditional means at `coords` for each row of `values`, shape ``(rows, n)``; cells without neighbours get 0."""
    own = how.groups_at(coords)
    order = np.argsort(own, kind="stable")
    at = np.searchsorted(seen.groups, own[order])
    known = (at < len(seen.groups)) & (seen.groups[np.minimum(at, len(seen.groups) - 1)] == own[order])
    order, at = order[known], at[known]
    found = np.zeros((len(values), coords.shape[1]))
    here, first = np.unique(at, return_index=True)
    if not len(here):
        return found
    starts = np.append(first, len(at))
    lengths = (seen.starts[1:] - seen.starts[:-1])[here]
    own_starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(seen.starts[:-1][here] - own_starts[:-1], lengths) + np.arange(own_starts[-1])
    wanted = np.ascontiguousarray(coords[list(how.modes)][:, order], dtype=np.int32)
    out = np.zeros((len(values), len(order)))
    places, given = np.ascontiguousarray(seen.places[:, rows]), np.ascontiguousarray(values[:, rows])
    slices = how.slices_at(coords[:, order[starts[:-1]]])
    _krige(own_starts, places, given, seen.noise[rows], starts, wanted, slices, how.tables, how.nuggets, out)
    found[:, order] = out
    return found


def _noise(obs: Observations) -> np.ndarray:
    """Variance of each entry's noise, relative: the inverse of its own weight."""
    return np.ones(obs.size) if obs.weights is None else np.mean(obs.weights, dtype=np.float64) / obs.weights


def _slice_means(values: np.ndarray, slices: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(slices, values, minlength=count) / np.maximum(np.bincount(slices, minlength=count), 1)


# --- the choice -----------------------------------------------------------------------------------


def choose(
    train: Observations, fitted: np.ndarray, held: Observations, fitted_held: np.ndarray, mode: int | None
) -> tuple[Correlation, np.ndarray] | None:
    """The correlation that fills the held-out entries best, and the errors it leaves there; None where neighbours don't pay.

    Values are those of the data without the offset, `fitted` what the components say of them.
    """
    if train.share < SEEN or train.cells >= 2**62:
        return None
    if mode is not None and held.size < ENOUGH * held.shape[mode]:
        mode = None
    modes = _close_modes(train, train.values - fitted, held, held.values - fitted_held, mode)
    if not modes:
        return None
    ordered = list(modes.values())
    how = Correlation(train.shape, tuple(modes), mode, np.empty(0), np.empty(0), np.empty(0))
    slices = how.slices_at(train.coords), how.slices_at(held.coords)
    count = 1 if mode is None else train.shape[mode]
    both = np.stack([train.values, fitted]).astype(np.float64)
    means = np.stack([_slice_means(v, slices[0], count) for v in both])
    seen = replace(how, nuggets=np.full(count, np.inf)).given(train, both[0])  # its layout is what counts
    order = np.argsort(how.groups_at(train.coords), kind="stable")
    both = (both - means[:, slices[0]])[:, order]
    target, said = (np.stack([held.values, fitted_held]) - means[:, slices[1]]).astype(np.float64)
    alone = np.bincount(slices[1], (held.values - fitted_held) ** 2, minlength=count)

    def tried(numbers: np.ndarray) -> tuple[Correlation, np.ndarray, np.ndarray]:
        """The correlation at `numbers`, shape ``(1 + modes, slices)``, its errors, and their squares by slice."""
        point = replace(how, nuggets=numbers[0], tables=_tables(train.shape, how.modes, ordered, numbers[1:]))
        near, near_said = _passes(seen, both, held.coords, point)
        rest, slope = target - near, said - near_said
        squares = np.bincount(slices[1], slope**2, minlength=count)
        shares = np.bincount(slices[1], slope * rest, minlength=count) / np.where(squares > 0, squares, 1.0)
        point = replace(point, shares=np.clip(shares, 0.0, 1.0))
        errors = rest - point.shares[slices[1]] * slope
        return point, errors, np.bincount(slices[1], errors**2, minlength=count)

    grids = [NUGGETS, *(ORDERED if near else LOOSE for near in ordered)]
    best = np.stack([np.full(count, 1.0), *(np.full(count, 0.7 if near else 0.4) for near in ordered)])
    least = tried(best)[2]
    for _ in range(ROUNDS):
        for row, grid in enumerate(grids):
            for value in grid:
                trial = best.copy()
                trial[row] = value
                squares = tried(trial)[2]
                best[row] = np.where(squares < least, value, best[row])
                least = np.minimum(squares, least)
    point, errors, squares = tried(best)
    pays = squares < PAYS * alone
    if not pays.any():
        return None
    point = replace(point, nuggets=np.where(pays, point.nuggets, np.inf), shares=np.where(pays, point.shares, 1.0))
    return point, np.where(pays[slices[1]], errors, held.values - fitted_held)


def _tables(shape: tuple[int, ...], modes: tuple[int, ...], ordered: list[bool], numbers: np.ndarray) -> np.ndarray:
    """Correlations at every distance, shape ``(slices, modes, longest mode)``."""
    distance = np.arange(max(shape[m] for m in modes))
    tables = [number[:, None] ** (distance if near else np.minimum(distance, 1)) for near, number in zip(ordered, numbers, strict=True)]
    return np.ascontiguousarray(np.stack(tables, axis=1))


def _close_modes(train: Observations, residual, held: Observations, residual_held, mode: int | None) -> dict[int, bool]:
    """Modes along which neighbours' residuals are alike, and whether nearer ones are more so."""
    found = []
    for m, d in enumerate(train.shape):
        if m != mode and 1 < d <= WINDOW:
            near, error = _alike(train, residual, held, residual_held, mode, m, 1)
            if near > max(ALIKE, SURE * error):
                far = _alike(train, residual, held, residual_held, mode, m, max(2, d // 3))[0] if d > 4 else near
                found.append((near, m, near > NEARER * far))
    modes: dict[int, bool] = {}
    for _, m, ordered in sorted(found, reverse=True):
        wider = {**modes, m: ordered}
        window = float(np.prod([train.shape[n] for n in wider]))
        if window <= WINDOW and train.size * (window * train.share) ** 2 / 6 <= WORK:
            modes = wider
    return modes


def _alike(train: Observations, residual, held: Observations, residual_held, mode: int | None, m: int, step: int) -> tuple[float, float]:
    """Correlation of held-out residuals with those `step` away along mode `m`, and its standard error."""
    stride = int(np.prod(train.shape[m + 1 :], dtype=np.int64))
    cells, wanted = _cells(train), _cells(held)  # the canonical order is that of the cells' numbers
    size, scale = _sizes(residual, train, mode), _sizes(residual_held, held, mode)
    products, squares, others = 0.0, 0.0, 0.0
    pairs = 0
    for shift in (-step, step):
        inside = (held.coords[m] + shift >= 0) & (held.coords[m] + shift < train.shape[m])
        at = np.minimum(np.searchsorted(cells, wanted + shift * stride), len(cells) - 1)
        both = inside & (cells[at] == wanted + shift * stride)
        a, b = (residual_held / scale)[both], (residual / size)[at[both]]
        products, squares, others, pairs = products + a @ b, squares + a @ a, others + b @ b, pairs + len(a)
    if pairs < ENOUGH or not squares * others:
        return 0.0, np.inf
    return float(products / np.sqrt(squares * others)), 1 / np.sqrt(pairs)


def _cells(obs: Observations) -> np.ndarray:
    number = np.zeros(obs.size, np.int64)
    for mode, d in enumerate(obs.shape):
        number = number * d + obs.coords[mode]
    return number


def _sizes(residual: np.ndarray, obs: Observations, mode: int | None) -> np.ndarray:
    """Root mean square of the residuals in each entry's slice, one number an entry."""
    if mode is None:
        slices, count = np.zeros(obs.size, np.intp), 1
    else:
        slices, count = obs.coords[mode], obs.shape[mode]
    size = np.sqrt(_slice_means(residual**2, slices, count))
    return np.where(size > 0, size, 1.0)[slices]
