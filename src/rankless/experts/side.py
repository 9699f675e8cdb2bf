"""What is known of slices, asked: regression on features and kriging in space, of averages first and of single cells then.

    y(s, c) = sum_g f_g(s, c_g) + noise,      f_g(., c_g) ~ N(0, K_g)
    K_g(s, t) = 1 + ridge <x_s, x_t> / p + space M(|place_s - place_t| / length)

`s` and `t` are slices of the mode of which something is known: `p` features `x`, and places; `M` is Matern's correlation of smoothness
3/2. A term `g` looks at means over all modes but its own: over everything (how warm is a station), by month (how warm are its
summers), by month and year (this cell). Each is the conditional mean given what the terms before it leave, kriging [krige1951] with
an unknown level; ``ridge`` alone is ridge regression on features, whose coefficients hold for a slice without an entry, too. Which
terms, and the numbers of each, are those of the least error on entries held out, for each slice of the mode that has noise of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts.task import Task
from rankless.kinds.side import Known
from rankless.tensors.observations import Observations, slice_means, slices_of
from rankless.tensors.observations import along as along_mode

LENGTHS = (0.3, 1.0, 3.0)  # of the correlation in space, over the median distance of two slices
FORMS = ((1.0, 0.0, 1.0), *((ridge, 1.0, length) for length in LENGTHS for ridge in (0.0, 1.0)))  # ridge, space, length
FIRST, NOISES = 0.3, (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # variance of the noise over that of the prior: first, and what is tried
PAYS = 0.99  # squared error over that without a term, above which a slice does without it
CELLS, WORK = 8_000_000, 2e10  # of the array, and multiply-adds of the choice, at most
ROOM = 4_000_000  # numbers of the systems that are solved together
MOST_TERMS = 16  # sets of modes that are tried


@dataclass(frozen=True, eq=False)
class Term:
    """Kriging of means over all modes but `modes`; numbers for each slice of the mode with its own noise, or one for all.

    Attributes
    ----------
    ridge, space : variance of what is linear in the features, and of what goes on in space, over that of the level.
    lengths : of the correlation in space, over the median distance.
    noises : variance of the noise of one entry over that of the level; infinite where the term says nothing.
    """

    modes: tuple[int, ...]
    ridge: np.ndarray
    space: np.ndarray
    lengths: np.ndarray
    noises: np.ndarray


@dataclass(frozen=True, eq=False)
class Kriged:
    """Terms, and what they come to in every cell."""

    known: Known
    mode: int | None  # slices of it have numbers of their own, and count alike, whatever their units
    terms: tuple[Term, ...]
    values: np.ndarray

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.values[tuple(indices.T)]

    def again(self, obs: Observations, tools: Tools) -> Kriged:
        return replace(self, values=Means.of(self.known, self.mode, obs).filled(self.terms))

    def words(self, modes: Sequence[str]) -> str:
        return f"what is known of {modes[self.known.mode]} ({', '.join(self.known.names)})"


class SideExpert:
    """Kriging and ridge regression along each mode of which something is known."""

    name = "side"

    def __init__(self, side: Sequence[Known]):
        self.side = tuple(side)

    def cost(self, task: Task) -> float:
        work = sum(work_of(task.train, known.mode) for known in self.side)
        return work if work <= WORK else np.inf

    def offers(self, task: Task, tools: Tools) -> Iterator[Kriged]:
        for known in self.side:
            terms = chosen(known, task.mode, [(task.train, task.held)], tools)
            if terms:
                yield Kriged(known, own_mode(known, task.mode), terms, np.zeros(0)).again(task.train, tools)


def own_mode(known: Known, mode: int | None) -> int | None:
    """The mode whose slices have numbers of their own: none where it is the mode along which is kriged."""
    return None if mode == known.mode else mode


def work_of(obs: Observations, mode: int) -> float:
    """Multiply-adds of the choice, about; infinite for an array that is too large to be filled whole."""
    if obs.cells > CELLS:
        return np.inf
    fibres = np.bincount(_groups(obs.coords, obs.shape, tuple(m for m in range(obs.order) if m != mode))[0]).astype(float)
    return (len(FORMS) + len(NOISES)) * float(np.sum(fibres**3 / 3 + fibres**2 + fibres * obs.shape[mode]))


def chosen(known: Known, mode: int | None, folds: Sequence[tuple[Observations, Observations]], tools: Tools) -> tuple[Term, ...]:
    """The terms that fill what is held out best; `folds` are pairs of entries to fit and entries held out."""
    mode = own_mode(known, mode)
    sides = [Means.of(known, mode, train) for train, _ in folds]
    held = [(part.coords, part.values / side.sizes_at(part.coords)) for (_, part), side in zip(folds, sides, strict=True)]
    left = [values.copy() for _, values in held]
    shape = folds[0][0].shape
    terms: list[Term] = []
    for modes in _subsets(shape, known.mode):
        count = shape[mode] if mode is not None and mode in modes else 1
        slots = [slices_of(coords, shape, mode if count > 1 else None)[0] for coords, _ in held]

        def squares(term: Term, modes=modes, count=count, slots=slots) -> np.ndarray:
            """Squared errors of each slice with this term added."""
            tools.workers.tracker.beat()
            total = np.zeros(count)
            for side, (coords, _), rest, slot in zip(sides, held, left, slots, strict=True):
                said = side.table(term)[_groups(coords, shape, modes)[0], coords[known.mode]]
                total += np.bincount(slot, (rest - said) ** 2, minlength=count)
            return total

        def same(form: tuple[float, float, float], noise: float, modes=modes, count=count) -> Term:
            return Term(modes, *(np.full(count, number) for number in (*form, noise)))

        before = sum(np.bincount(slot, rest**2, minlength=count) for rest, slot in zip(left, slots, strict=True))
        best, least = same(FORMS[0], np.inf), np.asarray(before) * PAYS
        for trial in (same(form, FIRST) for form in FORMS):
            best, least = _better(best, least, trial, squares(trial))
        shaped = replace(best, noises=np.full(count, FIRST))
        if not np.isfinite(best.noises).any():  # a weaker pull may still pay
            shaped = same(FORMS[2], FIRST)
        for noise in NOISES:
            trial = replace(shaped, noises=np.full(count, noise))
            best, least = _better(best, least, trial, squares(trial))
        if not np.isfinite(best.noises).any():
            continue
        terms.append(best)
        for number, (side, (coords, _)) in enumerate(zip(sides, held, strict=True)):
            left[number] = left[number] - side.take(best)[_groups(coords, shape, modes)[0], coords[known.mode]]
    return tuple(terms)


def _better(best: Term, least: np.ndarray, trial: Term, squares: np.ndarray) -> tuple[Term, np.ndarray]:
    """`best` with the numbers of `trial` in the slices where that errs less."""
    less = squares < least
    numbers = (np.where(less, *pair) for pair in zip(_numbers(trial), _numbers(best), strict=True))
    return Term(best.modes, *numbers), np.where(less, squares, least)


def _numbers(term: Term) -> tuple[np.ndarray, ...]:
    return term.ridge, term.space, term.lengths, term.noises


def _subsets(shape: Sequence[int], mode: int) -> list[tuple[int, ...]]:
    """Sets of the other modes, those of few cells first; all of them is the last."""
    others = [m for m in range(len(shape)) if m != mode]
    sets = [part for size in range(len(others) + 1) for part in combinations(others, size)]
    sets.sort(key=lambda part: (len(part), float(np.prod([shape[m] for m in part]))))
    return sets if len(sets) <= MOST_TERMS else [*sets[: MOST_TERMS - 1], sets[-1]]


@dataclass(eq=False)
class Means:
    """Entries in units in which slices of `mode` count alike, less the terms that were taken."""

    known: Known
    mode: int | None
    obs: Observations
    features: np.ndarray
    distances: np.ndarray  # (d, d), over their median; infinite from a slice of which no place is known
    sizes: np.ndarray
    left: np.ndarray  # (n,)
    weights: np.ndarray  # (n,), of mean 1

    @classmethod
    def of(cls, known: Known, mode: int | None, obs: Observations) -> Means:
        features, places = known.rows(obs)
        slices, count = slices_of(obs.coords, obs.shape, mode)
        sizes = np.sqrt(slice_means(obs.values.astype(np.float64) ** 2, slices, count))
        sizes = np.where(sizes > 0, sizes, 1.0)
        weights = np.ones(obs.size) if obs.weights is None else obs.weights / np.mean(obs.weights, dtype=np.float64)
        return cls(known, mode, obs, features, distances_of(places), sizes, obs.values / sizes[slices], weights)

    def sizes_at(self, coords: np.ndarray) -> np.ndarray:
        return self.sizes[slices_of(coords, self.obs.shape, self.mode)[0]]

    def kernel(self, ridge: float, space: float, length: float) -> np.ndarray:
        """Prior covariance of the slices, ``(d, d)``."""
        return kernel_of(self.features, self.distances, ridge, space, length)

    def table(self, term: Term) -> np.ndarray:
        """What a term says in every slice, given the entries that are left, shape ``(groups, d)``."""
        obs, along = self.obs, self.known.mode
        group, count = _groups(obs.coords, obs.shape, term.modes)
        cell = group * obs.shape[along] + obs.coords[along]
        cells, inverse = np.unique(cell, return_inverse=True)
        worth = np.bincount(inverse, self.weights)
        means = np.bincount(inverse, self.weights * self.left) / worth
        groups, slices = np.divmod(cells, obs.shape[along])
        out = np.zeros((count, obs.shape[along]))
        slot = np.zeros(count, np.intp)
        if len(term.noises) > 1 and self.mode is not None:
            places = np.unravel_index(np.arange(count), tuple(obs.shape[m] for m in term.modes))
            slot = places[term.modes.index(self.mode)]
        for numbers in {tuple(each) for each in np.stack(_numbers(term), axis=1).tolist()}:
            if not np.isfinite(numbers[3]):
                continue
            own = (np.stack(_numbers(term), axis=1) == numbers).all(axis=1)[slot]
            mine = own[groups]
            _conditional(self.kernel(*numbers[:3]), groups[mine], slices[mine], means[mine], numbers[3] / worth[mine], out)
        return out

    def take(self, term: Term) -> np.ndarray:
        """Leave what a term does not say; returns its table."""
        obs, table = self.obs, self.table(term)
        self.left = self.left - table[_groups(obs.coords, obs.shape, term.modes)[0], obs.coords[self.known.mode]]
        return table

    def filled(self, terms: Sequence[Term]) -> np.ndarray:
        """All cells, in the units of the data."""
        shape, along = self.obs.shape, self.known.mode
        total = np.zeros(shape)
        for term in terms:
            said = self.take(term).reshape(*(shape[m] for m in term.modes), shape[along])
            order = [*term.modes, along]
            said = np.transpose(said, np.argsort(order))
            total += said.reshape([shape[m] if m in order else 1 for m in range(len(shape))])
        return total * (self.sizes[0] if self.mode is None else along_mode(self.sizes, self.mode, len(shape)))


def kernel_of(features: np.ndarray, distances: np.ndarray, ridge: float, space: float, length: float) -> np.ndarray:
    """``1 + ridge x'x / p + space M(distance / length)``, ``(d, d)``."""
    kernel = 1.0 + ridge * (features @ features.T) / max(features.shape[1], 1)
    if space:
        far = np.sqrt(3.0) * distances / length
        with np.errstate(invalid="ignore"):
            kernel = kernel + space * np.where(np.isfinite(far), (1.0 + far) * np.exp(-far), 0.0)
    return kernel


def distances_of(places: np.ndarray) -> np.ndarray:
    """Distances of the slices over their median, ``(d, d)``; infinite where a place is not known, 0 from a slice to itself."""
    squares = np.einsum("ij,ij->i", places, places)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * places @ places.T, 0.0))
    np.fill_diagonal(apart, 0.0)
    known = apart[np.isfinite(apart) & (apart > 0)]
    return np.where(np.isfinite(apart), apart / (float(np.median(known)) if len(known) else 1.0), np.inf)


def _groups(coords: np.ndarray, shape: Sequence[int], modes: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The number of the group in which each column of `coords` lies, cells alike in `modes`; and how many groups there are."""
    if not modes:
        return np.zeros(coords.shape[1], np.intp), 1
    sizes = tuple(shape[m] for m in modes)
    return np.asarray(np.ravel_multi_index(tuple(coords[list(modes)]), sizes)), int(np.prod(sizes))


def _conditional(
    kernel: np.ndarray, groups: np.ndarray, slices: np.ndarray, values: np.ndarray, noise: np.ndarray, out: np.ndarray
) -> None:
    """``K_sS (K_SS + diag(noise))^-1 values`` of each group, put into its row of `out`; entries stand group by group."""
    found, starts, counts = np.unique(groups, return_index=True, return_counts=True)
    order = np.argsort(counts, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * max(int(counts[order[stop]]), 1) ** 2 <= ROOM:
            stop += 1
        part = order[start:stop]
        most = int(counts[part].max())
        there = np.arange(most) < counts[part][:, None]
        at = np.where(there, starts[part][:, None] + np.arange(most), 0)
        own = slices[at]
        systems = kernel[own[:, :, None], own[:, None, :]] * (there[:, :, None] & there[:, None, :])
        systems[:, np.arange(most), np.arange(most)] += np.where(there, noise[at], 1.0)
        pull = np.linalg.solve(systems, np.where(there, values[at], 0.0)[..., None])[..., 0] * there
        spread = np.zeros((len(part), len(kernel)))
        np.add.at(spread, (np.repeat(np.arange(len(part)), most), own.ravel()), pull.ravel())
        out[found[part]] = spread @ kernel
        start = stop
