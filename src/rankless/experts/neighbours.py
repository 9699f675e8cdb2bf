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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba as nb
import numpy as np

from rankless.answer.tree import Tools
from rankless.tensors.canonical import COUNTABLE, beside, numbers_of
from rankless.tensors.observations import Observations, slice_means, slices_of

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


# nothing is allocated, so there is less to compile
@nb.njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, _nrt=False)  # pyright: ignore[reportCallIssue]
def _krige(starts, places, values, noise, wanted_starts, wanted, slices, tables, nuggets, factor, weights, out):
    """Conditional means of every group's `wanted` places, for each row of `values`; groups are runs of entries.

    `factor`, square, and `weights`, one row for each of `values`, are room for the entries of the largest group.
    """
    for g in range(len(starts) - 1):
        lo, hi, first, last, s = starts[g], starts[g + 1], wanted_starts[g], wanted_starts[g + 1], slices[g]
        n = hi - lo
        if n == 0 or first == last or nuggets[s] == np.inf:
            continue
        for i in range(n):  # Cholesky, row by row
            for j in range(i + 1):
                part = nuggets[s] * noise[lo + i] + 1.0 if i == j else 1.0
                if i != j:
                    for m in range(places.shape[0]):
                        part *= tables[s, m, abs(places[m, lo + i] - places[m, lo + j])]
                for k in range(j):
                    part -= factor[i, k] * factor[j, k]
                factor[i, j] = np.sqrt(part) if i == j else part / factor[j, j]
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
class Groups:
    """Cells that are neighbours: those of a group differ along `modes` only.

    Each slice of `mode`, which is none of them, has numbers of its own; all share them where it is None.
    """

    shape: tuple[int, ...]
    modes: tuple[int, ...]
    mode: int | None

    def slices_at(self, coords: np.ndarray) -> np.ndarray:
        return slices_of(coords, self.shape, self.mode)[0]

    def places_at(self, coords: np.ndarray) -> np.ndarray:
        """Where in its group each cell lies, shape ``(modes, n)``."""
        return np.ascontiguousarray(coords[list(self.modes)])

    def numbers_at(self, coords: np.ndarray) -> np.ndarray:
        """The number of each cell's group."""
        fixed = (np.zeros_like(c) if m in self.modes else c for m, c in enumerate(coords))
        return np.asarray(np.ravel_multi_index(tuple(fixed), self.shape))


@dataclass(frozen=True, eq=False)
class Seen:
    """Entries group by group."""

    groups: Groups
    order: np.ndarray  # (n,): which entry stands at each place
    numbers: np.ndarray  # of the groups that have entries, sorted
    starts: np.ndarray
    places: np.ndarray  # (modes, n)
    noise: np.ndarray  # (n,): of each entry, relative

    @classmethod
    def of(cls, groups: Groups, obs: Observations) -> Seen:
        numbers = groups.numbers_at(obs.coords)
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        return cls(groups, order, found, np.append(starts, obs.size), groups.places_at(obs.coords[:, order]), _noise(obs)[order])


@dataclass(frozen=True, eq=False)
class Asked:
    """Cells to be filled, each beside the entries of its group."""

    count: int
    order: np.ndarray  # cells whose group has entries, group by group
    wanted: tuple[np.ndarray, np.ndarray]  # where each group's cells start, and their places
    rows: np.ndarray  # of the entries seen, those of these groups
    given: tuple[np.ndarray, np.ndarray, np.ndarray]  # where each group's entries start, their places, their noise
    slices: np.ndarray  # of each group

    @classmethod
    def of(cls, seen: Seen, coords: np.ndarray) -> Asked:
        groups, numbers = seen.groups, seen.groups.numbers_at(coords)
        order = np.argsort(numbers, kind="stable")
        at = np.searchsorted(seen.numbers, numbers[order])
        known = seen.numbers[np.minimum(at, len(seen.numbers) - 1)] == numbers[order]
        order, at = order[known], at[known]
        here, first = np.unique(at, return_index=True)
        lengths = np.diff(seen.starts)[here]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(seen.starts[here] - starts[:-1], lengths) + np.arange(starts[-1])
        return cls(
            coords.shape[1],
            order,
            (np.append(first, len(at)), groups.places_at(coords[:, order])),
            rows,
            (starts, np.ascontiguousarray(seen.places[:, rows]), seen.noise[rows]),
            groups.slices_at(coords[:, order[first]]),
        )

    def means(self, values: np.ndarray, how: Correlation) -> np.ndarray:
        """Conditional means given each row of `values`, which stand as the entries seen do; 0 for cells without neighbours."""
        found, out = np.zeros((len(values), self.count)), np.zeros((len(values), len(self.order)))
        starts, places, noise = self.given
        given = np.ascontiguousarray(values[:, self.rows])
        most = int(np.diff(starts).max(initial=0))
        room = np.empty((most, most)), np.empty((len(values), most))
        _krige(starts, places, given, noise, *self.wanted, self.slices, how.tables, how.nuggets, *room, out)
        found[:, self.order] = out
        return found


@dataclass(frozen=True, eq=False)
class Correlation:
    """How alike residuals of the cells of a group are, slice by slice, and which share of the components goes with it."""

    tables: np.ndarray  # (slices, modes, longest mode): correlation at every distance
    nuggets: np.ndarray  # (slices,): variance of the noise over that of `z`; infinite where neighbours are not asked
    shares: np.ndarray  # (slices,): of the components


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The choices: which cells form groups, and how residuals correlate within them. `given` makes a predictor of it."""

    groups: Groups
    correlation: Correlation

    @property
    def shares(self) -> np.ndarray:
        """The share of the answer below that goes with them, for each slice of `groups.mode`."""
        return self.correlation.shares

    def given(self, obs: Observations, residual: np.ndarray) -> Kriging:
        """What to fill with, given the residuals seen at the entries of `obs`."""
        seen, slices, nuggets = Seen.of(self.groups, obs), self.groups.slices_at(obs.coords), self.correlation.nuggets
        means = slice_means(residual, slices, len(nuggets)) * np.isfinite(nuggets)
        return Kriging(self, seen, (residual - means[slices])[seen.order], means)


@dataclass(frozen=True, eq=False)
class Kriging:
    """Residuals seen, group by group, and what they say of other cells."""

    neighbours: Neighbours
    seen: Seen
    residuals: np.ndarray  # (n,), the slice's mean taken off
    means: np.ndarray  # (slices,)

    def at(self, indices: np.ndarray) -> np.ndarray:
        """What neighbours add at `indices`, shape ``(n, order)``."""
        coords = np.ascontiguousarray(indices.T)
        out = Asked.of(self.seen, coords).means(self.residuals[None], self.neighbours.correlation)[0]
        return out + self.means[self.seen.groups.slices_at(coords)]

    def again(self, obs: Observations, tools: Tools) -> Kriging:
        """The same correlation, given what is left at other entries."""
        return self.neighbours.given(obs, obs.values)

    def words(self, modes: Sequence[str]) -> str:
        return f"neighbours along {' and '.join(modes[mode] for mode in sorted(self.seen.groups.modes))}"


def _noise(obs: Observations) -> np.ndarray:
    """Variance of each entry's noise, relative: the inverse of its own weight."""
    return np.ones(obs.size) if obs.weights is None else np.mean(obs.weights, dtype=np.float64) / obs.weights


KINDS = (Neighbours, Groups, Correlation)  # what a journal may hold


# --- the choice -----------------------------------------------------------------------------------


def possible(train: Observations) -> bool:
    """Whether enough of the cells are observed for entries to have neighbours, and cells can be numbered."""
    return train.share >= SEEN and train.cells < COUNTABLE


def choose(
    train: Observations, fitted: np.ndarray, held: Observations, fitted_held: np.ndarray, mode: int | None
) -> tuple[Neighbours, np.ndarray] | None:
    """The neighbours that fill the held-out entries best, and the errors they leave there; None where they don't pay.

    Values are those of the data without the offset, `fitted` what the components say of them.
    """
    if not possible(train):
        return None
    if mode is not None and held.size < ENOUGH * held.shape[mode]:
        mode = None
    modes = _close_modes(train, train.values - fitted, held, held.values - fitted_held, mode)
    if not modes:
        return None
    groups, ordered = Groups(train.shape, tuple(modes), mode), list(modes.values())
    seen = Seen.of(groups, train)
    asked = Asked.of(seen, held.coords)
    (slices, count), slices_held = slices_of(train.coords, train.shape, mode), groups.slices_at(held.coords)
    both = np.stack([train.values, fitted]).astype(np.float64)
    means = np.stack([slice_means(v, slices, count) for v in both])
    both = (both - means[:, slices])[:, seen.order]
    target, said = (np.stack([held.values, fitted_held]) - means[:, slices_held]).astype(np.float64)
    alone = held.values - fitted_held

    def by_slice(values: np.ndarray) -> np.ndarray:
        return np.bincount(slices_held, values, minlength=count)

    def tried(numbers: np.ndarray) -> tuple[Correlation, np.ndarray, np.ndarray]:
        """The correlation at `numbers`, shape ``(1 + modes, slices)``, its errors, and their squares by slice."""
        how = Correlation(_tables(train.shape, groups.modes, ordered, numbers[1:]), numbers[0], np.ones(count))
        near, near_said = asked.means(both, how)
        rest, slope = target - near, said - near_said
        squares = by_slice(slope**2)
        how = replace(how, shares=np.clip(by_slice(slope * rest) / np.where(squares > 0, squares, 1.0), 0.0, 1.0))
        errors = rest - how.shares[slices_held] * slope
        return how, errors, by_slice(errors**2)

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
    how, errors, squares = tried(best)
    pays = squares < PAYS * by_slice(alone**2)
    if not pays.any():
        return None
    how = replace(how, nuggets=np.where(pays, how.nuggets, np.inf), shares=np.where(pays, how.shares, 1.0))
    return Neighbours(groups, how), np.where(pays[slices_held], errors, alone)


def _tables(shape: tuple[int, ...], modes: tuple[int, ...], ordered: list[bool], numbers: np.ndarray) -> np.ndarray:
    """Correlations at every distance, shape ``(slices, modes, longest mode)``."""
    distance = np.arange(max(shape[m] for m in modes))
    tables = [number[:, None] ** (distance if near else np.minimum(distance, 1)) for near, number in zip(ordered, numbers, strict=True)]
    return np.ascontiguousarray(np.stack(tables, axis=1))


def _close_modes(train: Observations, residual, held: Observations, residual_held, mode: int | None) -> dict[int, bool]:
    """Modes along which neighbours' residuals are alike, and whether nearer ones are more so."""
    numbers, wanted = (numbers_of(part.coords, part.shape) for part in (train, held))  # in canonical order: sorted
    theirs, own = residual / _sizes(residual, train, mode), residual_held / _sizes(residual_held, held, mode)

    def alike(m: int, step: int) -> tuple[float, float]:
        """Correlation of held-out residuals with those `step` away along mode `m`, and its standard error."""
        products, squares, others, pairs = 0.0, 0.0, 0.0, 0
        for shift in (-step, step):
            at, both = beside(numbers, held.coords, wanted, train.shape, m, shift)
            a, b = own[both], theirs[at[both]]
            products, squares, others, pairs = products + a @ b, squares + a @ a, others + b @ b, pairs + len(a)
        if pairs < ENOUGH or not squares * others:
            return 0.0, np.inf
        return float(products / np.sqrt(squares * others)), 1 / np.sqrt(pairs)

    found = []
    for m, d in enumerate(train.shape):
        if m != mode and 1 < d <= WINDOW:
            near, error = alike(m, 1)
            if near > max(ALIKE, SURE * error):
                far = alike(m, max(2, d // 3))[0] if d > 4 else near
                found.append((near, m, near > NEARER * far))
    modes: dict[int, bool] = {}
    for _, m, ordered in sorted(found, reverse=True):
        wider = {**modes, m: ordered}
        window = float(np.prod([train.shape[n] for n in wider]))
        if window <= WINDOW and train.size * (window * train.share) ** 2 / 6 <= WORK:
            modes = wider
    return modes


def _sizes(residual: np.ndarray, obs: Observations, mode: int | None) -> np.ndarray:
    """Root mean square of the residuals in each entry's slice, one number an entry."""
    slices, count = slices_of(obs.coords, obs.shape, mode)
    size = np.sqrt(slice_means(residual**2, slices, count))
    return np.where(size > 0, size, 1.0)[slices]
