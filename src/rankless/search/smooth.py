"""Smooth modes: which are seen to have an order in which neighbours are alike, and how smooth they are."""

from __future__ import annotations

import numpy as np

from rankless.als.solver import State, gram_of_others
from rankless.holdout.scoring import Point, score_of
from rankless.search.walk import GRID, Search

TAUS = (3.0, 30.0, 300.0, 3000.0)  # smoothness tried along a mode
ROUGH = 0.8  # a mode has an order where the mean square step between neighbouring slices is below this share of that between any two
EARNED = 0.99  # smoothness that nobody asked for is taken where it brings the score below this share
FOLLOWERS = 3  # other fits that are made as smooth, to be blended with the best one


def smoothed(hunt: Search, best: Point) -> Point:
    """`best`, or its components smoother along modes whose order is seen to matter; named modes are smooth in any case."""
    named, order = hunt.limits.smooth, hunt.train.order
    modes = [mode for mode in range(order) if roughness(best.state, mode) < ROUGH] if named == "auto" else named
    others = hunt.pool.beside(best)
    for mode in modes if best.state.rank else ():
        hunt.tracker.stage(f"trying to be smooth along {hunt.train.modes[int(mode)]}")
        taus, point, trials = list(best.smooth or (0.0,) * order), best, []
        for tau in TAUS:
            taus[int(mode)] = tau
            point = hunt.moved(point, best.frame, best.depth, best.penalty, tuple(taus))
            trials.append(point)
            if len(trials) > 1 and point.score >= trials[-2].score:
                break
        smoother = min(trials, key=score_of)
        if named != "auto" or smoother.score < EARNED * best.score:
            best = smoother
    if any(best.smooth):
        best = slid(hunt, best)
        for point in sorted(others, key=score_of)[:FOLLOWERS]:
            hunt.moved(point, point.frame, best.depth, best.penalty, best.smooth)
    return best


def slid(hunt: Search, best: Point) -> Point:
    """Other penalties, from the components of `best`, for as long as that helps."""
    for ratio in (GRID, 1 / GRID):
        while best.state.rank and hunt.limits.penalties is None:
            trial = hunt.moved(best, best.frame, best.depth, best.penalty * ratio)
            if trial.score >= best.score:
                break
            best = trial
    return best


def roughness(state: State, mode: int) -> float:
    """Mean square of the steps between neighbouring slices over that between any two; 1 without order."""
    gram, factor = gram_of_others(state, mode).astype(np.float64), state.factor(mode).astype(np.float64)
    factor = factor[np.any(factor != 0, axis=1)]
    if len(factor) < 5 or not state.rank:
        return 1.0
    steps, apart = np.diff(factor, axis=0), factor - factor.mean(axis=0)
    between = 2 * np.einsum("ir,rs,is->", apart, gram, apart) / (len(factor) - 1)
    return float(np.einsum("ir,rs,is->", steps, gram, steps) / (len(factor) - 1) / between) if between > 0 else 1.0
