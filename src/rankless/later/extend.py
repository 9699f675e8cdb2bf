"""New slices along one mode without a new fit: an estimator that knows them, and intervals as wide as folding in errs.

What old slices are filled with does not change. A new slice is folded in from its own entries (`fold`), and its intervals come from
whole slices that were there, left out and folded in from as many entries as the new one has: the choices are fitted again without
them, so that nothing the rows are solved against has seen them.

    half width at a cell  =  q(coverage, entries of its slice) s(cell)

with `s` the usual error of the cell's slice of the mode that has its own noise, if there is one. A slice with fewer entries never
has narrower intervals than one with more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rankless.answer.difficulty import ByMean
from rankless.answer.intervals import ByKind, Calibration
from rankless.answer.tree import Grown, Placed, Predictor, Tools
from rankless.completer import TensorCompleter
from rankless.engine.fit import Fit
from rankless.engine.found import Found, bare_of
from rankless.holdout.scoring import Errors
from rankless.holdout.split import STREAMS, streams_of
from rankless.kinds.joining import Joined
from rankless.later.fold import fold, folded_effects
from rankless.later.leaving import ENOUGH, ByCount, given_of, left_out, scored, stations
from rankless.runtime.progress import Callback, Tracker, shown
from rankless.runtime.workers import Workers
from rankless.tensors.canonical import lexicographic
from rankless.tensors.observations import Observations, slice_means, slices_of
from rankless.units.effects import MainEffects


class Extended(TensorCompleter):
    """An estimator with new slices folded in: `before` is the one that was fitted, `place` says where its slices now lie.

    Fitting it anew makes it a `TensorCompleter` as any other.
    """

    before: TensorCompleter | None = None
    before_fitted: Observations  # what that was fitted to
    place: Placed

    def fit(self, X, y=None, sample_weight=None, **options) -> TensorCompleter:
        """As `TensorCompleter.fit`; what was folded in is forgotten."""
        self.before = None
        return super().fit(X, y, sample_weight, **options)

    def calibration(self, callback: Callback | None = None) -> Any:
        """Errors that calibrate intervals: those of the fit for slices that it knew, those of folding in for the new ones."""
        if self.before is None:
            return super().calibration(callback)
        if self._calibration is None and self._answer is not None:
            before = self.before
            old = before.calibration(callback)
            with shown(self.verbose) as bar, Workers(self.n_jobs, tracker=Tracker(bar, callback)) as workers:
                folded = Folded.of(before._answer, self._answer, self.place, streams_of(self._seed)[2], workers)
            vars(self)["_calibration"] = Both(old, folded, self.place, before.unseen_)
        return self._calibration

    def calibration_errors(self) -> tuple[Observations, np.ndarray]:
        """Entries of the slices that were there, where they now lie, and the errors of the fit there."""
        if self.before is None:
            return super().calibration_errors()
        return moved_entries(*self.before.calibration_errors(), self.place, self.shape_)

    def calibration_kinds(self) -> ByKind | None:
        """The kinds of the calibration entries; None where slices were folded in, whose errors are told by how much was seen of them."""
        return super().calibration_kinds() if self.before is None else None

    @property
    def calibrated(self) -> bool:
        """Whether errors at entries that no choice has seen are known already."""
        return super().calibrated if self.before is None else self.before.calibrated


def extended(before: TensorCompleter, joined: Joined, n_jobs: int | None = None) -> Extended:
    """`before` with the new slices of `joined` folded in, which lie along one mode."""
    place = placed(joined)
    fitted = joined.given.fitted
    est = Extended.__new__(Extended)
    vars(est).update(vars(before))
    est.before, est.before_fitted, est.place = before, joined.before.fitted, place
    est.shape_, est._calibration = fitted.shape, None
    est.unseen_ = [fitted.counts(mode) == 0 for mode in range(fitted.order)]
    if before._answer is None:
        raise ValueError("the data were constant, and what came later has nothing to lie on; fit all of it: rankless.complete(...)")
    with Workers(before.n_jobs if n_jobs is None else n_jobs) as workers:
        fit = grown(before._answer, fitted, place, Tools(workers, iter(np.random.default_rng(0).spawn(STREAMS))))
    est._keep(fit, [fit], fitted)
    est.path_, est.came_later_ = before.path_, before.came_later_ + int(joined.fresh.sum())
    return est


def placed(joined: Joined) -> Placed:
    """Where the new slices lie; raises ValueError unless they lie along one mode."""
    obs, modes = joined.given.observations, joined.grown
    if not modes:
        raise ValueError(
            f"what came later has no new slice of {', '.join(obs.modes)}; entries of slices that are there are taken in by done.update(...)"
        )
    if len(modes) > 1:
        new = [f"{obs.label(m, int(np.flatnonzero(joined.was[m] < 0)[0]))!r} of {obs.modes[m]}" for m in modes]
        meant = "".join(f". {text[0].upper()}{text[1:]}" for text in joined.doubts())
        raise ValueError(
            f"there are new slices of several modes, such as {' and '.join(new)}; extend along one, then along the other, "
            f"or take all in by done.update(...){meant}"
        )
    return Placed(modes[0], joined.was[modes[0]])


def grown(fit: Fit, fitted: Observations, place: Placed, tools: Tools) -> Fit:
    """`fit` of the larger data: old slices are filled as they were, new ones as folding in says."""
    old = ~place.new[fitted.coords[place.mode]]
    obs = fit.in_its_units(fitted, old)
    found = fit.found
    new = fold(found.tree, obs, place, tools)
    moved = replace(relabelled(found, place, fitted.shape), tree=Grown(found.tree, new, place), bare=folded_bare(found, new, obs, place))
    return replace(fit, near_one=obs, found=moved)


def folded_bare(found: Found, tree: Predictor, obs: Observations, place: Placed) -> MainEffects:
    """What fills cells of which the folded `tree` knows nothing."""
    return bare_of(tree, obs) if found.loss is not None else folded_effects(found.bare, obs, place)


def relabelled(found: Found, place: Placed, shape: tuple[int, ...]) -> Found:
    """`found` with the entries that were held out where they now lie."""

    def moved(errors: Errors) -> Errors:
        return Errors(*moved_entries(errors.entries, errors.residual, place, shape))

    alone_held, residual = moved_entries(found.alone_held, found.alone.residual, place, shape)
    alone = replace(found.alone, residual=residual)
    return replace(found, errors=moved(found.errors), cells=moved(found.cells), alone=alone, alone_held=alone_held)


def moved_entries(entries: Observations, each: np.ndarray, place: Placed, shape: tuple[int, ...]) -> tuple[Observations, np.ndarray]:
    """Entries of the smaller array with their new coordinates, in canonical order, and a number for each of them."""
    now = np.zeros(int(place.was.max()) + 1, np.int32)
    now[place.was[~place.new]] = np.flatnonzero(~place.new)
    coords = np.array(entries.coords)
    coords[place.mode] = now[coords[place.mode]]
    coords, order = lexicographic(coords, shape)
    weights = None if entries.weights is None else entries.weights[order]
    moved = replace(entries, coords=coords, values=entries.values[order], weights=weights, shape=shape, labels=(), where=None)
    return moved, each[order]


# --- intervals ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Folded:
    """What calibrates intervals in new slices."""

    by_count: ByCount
    sizes: np.ndarray  # (slices,), or (1,): the usual error of each slice of `noisy`
    noisy: int | None
    by_mean: ByMean | None  # sizes of errors around a mean, where the loss says them
    entries: np.ndarray  # (d_mode,): entries of each slice of the larger array

    @classmethod
    def of(cls, before: Fit | None, after: Fit, place: Placed, stream: np.random.Generator, workers: Workers) -> Folded:
        assert before is not None
        found, obs = before.found, before.near_one
        noisy = None if found.best.frame.mode == place.mode else found.best.frame.mode
        sizes = usual_errors(found, noisy)
        by_mean = ByMean.of(found.loss)
        entries = after.near_one.counts(place.mode)
        wanted = stations(entries[place.new])
        errors: list[list[np.ndarray]] = [[] for _ in wanted]
        for hidden in left_out(obs, place.mode, stream):
            workers.tracker.stage(f"folding in {int(hidden.sum())} slices that were left out")
            own = hidden[obs.coords[place.mode]]
            rest = obs.subset(~own)
            again = found.again(rest, stream, workers)
            gone = Placed(place.mode, np.where(hidden, -1, np.arange(len(hidden))))
            for number, count in enumerate(wanted):
                given = given_of(obs, place.mode, hidden, int(count), stream)
                tools = Tools(workers, iter(stream.spawn(STREAMS)))
                shown_ = obs.subset(~own | given)
                tree = fold(again.tree, shown_, gone, tools)
                folded = replace(again, tree=tree, bare=folded_bare(again, tree, shown_, gone))
                asked = scored(obs, place.mode, own & ~given, stream)
                cells = obs.subset(asked)
                slices, _ = slices_of(cells.coords, obs.shape, noisy)
                said = folded.expected(cells.indices)
                expected = sizes[slices] if by_mean is None else by_mean.around(said)
                errors[number].append((cells.values - said) / expected)
            if min(sum(map(len, part)) for part in errors) >= ENOUGH:
                break
        together = [np.concatenate(part) if part else np.zeros(0) for part in errors]
        return cls(ByCount(wanted, tuple(together)), sizes, noisy, by_mean, entries)

    def half_widths(self, indices: np.ndarray, said: np.ndarray, place: Placed, coverage: float) -> np.ndarray:
        widths = self.by_count.width(self.entries[indices[:, place.mode]], coverage)
        if self.by_mean is not None:
            return widths * self.by_mean.around(said)
        slices, _ = slices_of(indices.T, tuple(np.max(indices, axis=0, initial=0) + 1), self.noisy)
        return widths * self.sizes[slices]


@dataclass(frozen=True, eq=False)
class Both:
    """Half widths in slices that were there, from `old`, and in new ones, from `folded`."""

    old: Calibration | Both | None
    folded: Folded
    place: Placed
    unseen: Sequence[np.ndarray]  # of the slices that were there

    def half_widths(self, indices: np.ndarray, said: np.ndarray, unseen: Sequence[np.ndarray], coverage: float) -> np.ndarray:
        """Half widths at `indices`, in the units of the fit."""
        later = self.place.new[indices[:, self.place.mode]]
        widths = np.empty(len(indices))
        if later.any():
            widths[later] = self.folded.half_widths(indices[later], said[later], self.place, coverage)
        if not later.all():
            assert self.old is not None
            widths[~later] = self.old.half_widths(self.place.before(indices[~later]), said[~later], self.unseen, coverage)
        return widths


def usual_errors(found: Found, mode: int | None) -> np.ndarray:
    """Root mean square error of each slice of `mode` on held-out entries; one number, 1, where it is None."""
    if mode is None:
        return np.ones(1)
    held, residual = found.errors.entries, found.errors.residual
    whole = float(np.mean(residual**2))
    slices, count = slices_of(held.coords, held.shape, mode)
    seen = np.bincount(slices, minlength=count)
    squares = (slice_means(residual**2, slices, count) * seen + 2 * whole) / (seen + 2)
    return np.sqrt(np.maximum(squares, np.finfo(float).tiny))
