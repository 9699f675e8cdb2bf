"""The answer may be a blend: a few fits of the search, in the shares that held-out entries give them.

Fits from different starts and penalties err in different directions, so their weighted sum errs
less than the best of them. Shares are non-negative least squares on the held-out entries
[wolpert1992, breiman1996]; where slices of a mode differ in noise each slice has its own, drawn
towards those of the whole: what still sharpens a smooth temperature already follows the spikes of
rain. A sum of CP tensors is a CP tensor, whose rank is the sum of the ranks, so a fit is added only
where it clearly pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from rankless.holdout.scoring import Point, score_of, score_residual
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations, slice_means, slices_of
from rankless.units.error import rmse_of, root_weights

MOST_FITS = 3  # fits blended, unless the user says otherwise
KEPT = 2  # best fits of each walk that may be blended: neighbours of one walk are alike
NEAR = 1.15  # score of a fit over the best, beyond which it isn't tried
PAYS = 0.01  # fall of the score, relative, for which one fit more is worth its components
SURE = 3.0  # standard errors by which the score has to fall for a mean of draws, whose fall may be smaller: most of the error may be noise
FELT = 3e-4  # fall of the score, as a share of what was to be explained, that every addition has to reach: nearly exact fits are left alone
SHRUNK = 0.001  # fall of the score for which a fit alone is shrunk
SPREAD = 0.1  # how far a slice's shares are believed to lie from those of the whole: a standard deviation


@dataclass(eq=False)
class Part:
    """A fit and its share in each slice of the mode that has its own noise, shape ``(d_mode,)``, or ``(1,)``."""

    point: Point
    shares: np.ndarray


class Pool:
    """The best fits of every walk."""

    def __init__(self) -> None:
        self._walks: dict[tuple[int, str], list[Point]] = {}

    def offer(self, point: Point) -> None:
        walk = self._walks.setdefault((id(point.frame), point.start), [])
        walk.append(point)
        walk.sort(key=score_of)
        del walk[KEPT:]

    def beside(self, best: Point) -> list[Point]:
        """Fits that may stand beside `best`: not much worse, and with main effects, noise by slice and smoothness where it has them."""
        points = [p for walk in self._walks.values() for p in walk if p is not best and p.state.rank]
        return [p for p in points if p.score <= NEAR * best.score and p.rmse <= NEAR * best.rmse and _alike(p, best)]


def _alike(point: Point, best: Point) -> bool:
    smooth = [[tau > 0 for tau in p.smooth] for p in (point, best)]  # a fit that is not smooth is zero in slices never seen
    return point.frame.mode == best.frame.mode and (point.frame.offset is None) == (best.frame.offset is None) and smooth[0] == smooth[1]


def blend(best: Point, others: Sequence[Point], held: Observations, *, most: int = MOST_FITS, max_rank: int | None = None) -> list[Part]:
    """`best`, and those of `others` that pay, the one that helps most first."""
    others, chosen = list(others), [best]
    shares = _shares(chosen, held)
    score = score_residual(best.frame, _residual(chosen, shares, held), held)
    felt = FELT * score_residual(best.frame, _target(best, held), held)
    while others and len(chosen) < most:
        trials = []
        for point in others:
            both = [*chosen, point]
            if max_rank is None or sum(p.state.rank for p in both) <= max_rank:
                trial = _shares(both, held)
                trials.append((score_residual(best.frame, _residual(both, trial, held), held), len(trials), point, trial))
        least, _, point, trial = min(trials, default=(np.inf, 0, best, shares))
        surely = point.drawn is not None and _sure(_residual(chosen, shares, held), _residual([*chosen, point], trial, held), best, held)
        if least > score - max((SHRUNK if surely else PAYS) * score, felt):
            break
        score, shares = least, trial
        chosen.append(point)
        others.remove(point)
    if len(chosen) == 1 and best.frame.mode is None:
        shares = np.full((1, 1), lone(best, held)[0])
    return [Part(point, share) for point, share in zip(chosen, shares, strict=True)]


def _sure(before: np.ndarray, after: np.ndarray, best: Point, held: Observations) -> bool:
    """Whether squared errors fall by `SURE` standard errors; where slices have their own noise, each counts in its own units."""
    slices, count = slices_of(held.coords, held.shape, best.frame.mode)
    squares = before**2 * root_weights(held) ** 2
    means = slice_means(squares, slices, count)
    falls = (squares - after**2 * root_weights(held) ** 2) / np.where(means > 0, means, 1.0)[slices]
    return float(falls.mean()) * np.sqrt(len(falls)) > SURE * float(falls.std())


def lone(point: Point, held: Observations) -> tuple[float, float]:
    """How much to shrink a single fit (1: not at all), and its score then; shrunk only where that is clearly better."""
    if point.frame.mode is not None or not point.state.rank:
        return 1.0, point.score
    target = _target(point, held)
    share = float(_shares([point], held)[0, 0])
    score = score_residual(point.frame, target - share * (target - point.residual), held)
    return (share, score) if share < 1 and score < (1 - SHRUNK) * point.score else (1.0, point.score)


def whole(parts: Sequence[Part], held: Observations) -> Point:
    """The first part's point with the held-out errors of the blend."""
    residual = _residual([part.point for part in parts], np.stack([part.shares for part in parts]), held)
    return replace(parts[0].point, residual=residual, rmse=rmse_of(residual, held))


def fitted(parts: Sequence[Part], obs: Observations) -> np.ndarray:
    """What the blend says of the entries of `obs`, in the units of the data, the offset left out."""
    models = [part.point.frame.to_data(part.point.model()) for part in parts]
    return total(in_shares(parts, models)).at(obs.indices)


def in_shares(parts: Sequence[Part], models: Sequence[CPTensor]) -> list[CPTensor]:
    """The parts' refitted `models`, each times its shares; components whose share is 0 in every slice are dropped."""
    mode = parts[0].point.frame.mode
    return [shared(model, mode, part.shares) for part, model in zip(parts, models, strict=True)]


def shared(model: CPTensor, mode: int | None, share: np.ndarray) -> CPTensor:
    """`model` times its share of each slice of `mode`, without components whose share is 0 in every slice."""
    factors = model.times(mode or 0, share).factors
    alive = np.any(factors[mode or 0] != 0, axis=0)
    return CPTensor([factor[:, alive] for factor in factors]).balanced()


def total(models: Sequence[CPTensor]) -> CPTensor:
    """The sum of CP tensors, their components side by side."""
    return CPTensor([np.concatenate([model.factors[m] for model in models], axis=1) for m in range(models[0].order)])


def _target(best: Point, held: Observations) -> np.ndarray:
    return held.values - best.frame.offset_at(held.coords)


def _residual(points: Sequence[Point], shares: np.ndarray, held: Observations) -> np.ndarray:
    """Errors of the blend on the held-out entries, in the units of the data."""
    target, (slices, _) = _target(points[0], held), slices_of(held.coords, held.shape, points[0].frame.mode)
    return target - sum(share[slices] * (target - point.residual) for share, point in zip(shares, points, strict=True))


def _shares(points: Sequence[Point], held: Observations) -> np.ndarray:
    """Shares of `points`, shape ``(n_points, n_slices)``: least squares, >= 0, with every slice's least error as its unit."""
    target, (slices, count) = _target(points[0], held), slices_of(held.coords, held.shape, points[0].frame.mode)
    seen = np.bincount(slices, minlength=count)
    size = np.sqrt(np.min([np.bincount(slices, point.residual**2, count) for point in points], axis=0) / np.maximum(seen, 1))
    unit = np.where(size > 0, size, 1.0)[slices] / root_weights(held)
    fitted = np.stack([(target - point.residual) / unit for point in points], axis=1)
    of_all = nnls(fitted, target / unit)[0]
    if count == 1:
        return of_all[:, None]
    drawn, shares = np.eye(len(points)) / SPREAD, np.empty((len(points), count))
    order = np.split(np.argsort(slices, kind="stable"), np.cumsum(seen)[:-1])
    for j, own in enumerate(order):
        rows = np.concatenate([fitted[own], drawn])
        shares[:, j] = nnls(rows, np.concatenate([target[own] / unit[own], of_all / SPREAD]))[0]
    return shares
