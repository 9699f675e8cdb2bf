"""The race of frames and of ways to start, on single cells held out: who wins is what the rest of the search goes on from.

Both ways to start of `search.walk` are raced over penalties from large to small, in frames without and with
main effects and noise by slice. On large data the race is run on a part of the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np

from rankless.als.annealing import empty
from rankless.als.entries import Entries
from rankless.als.solver import Problem
from rankless.holdout.scoring import Point, better_by_slice, frame_after, noise_mode, score_of
from rankless.search.walk import COARSE, GRID, Search, penalties_of, window
from rankless.tensors.observations import Observations
from rankless.units.error import rmse_of
from rankless.units.frame import Frame

START_RANK = 60  # components a pruned fit starts from: several times what real data keep
PRUNED = 1.5  # a pruned fit also starts from at least so many times the components that were grown
LARGE, LARGE_A_SLICE = 100_000, 20  # entries, in all and a slice, above which choices are made on a part
ADDITIVE = 1e-4  # size left, in a frame's units of about 1, at which data are additive to the last digits
EARNED = 0.99  # a score below this share of the other's, and main effects are worth having
QUICK = replace(COARSE, max_sweeps=8)  # how far points of a walk are driven where little work is wanted
PATIENT = Problem(0.0, 1.0, tol=2e-6, max_sweeps=700, forgiving=True)  # how far points of a walk are driven where nothing was found
LOST, LOST_STEPS = 0.75, 6  # score over that of no model at which nothing was found; penalties then tried below the one that kills all


def winner(hunt: Search) -> Point:
    """The best point over effects, noise, ways to start, depths and penalties."""
    base = [Frame.of(hunt.train, effects=effects) for effects in hunt.limits.effects]
    units = base[-1].to_units(hunt.train)
    if units.rms() < ADDITIVE:  # main effects explain everything, and what they leave is rounding
        return hunt.scored(base[-1], "grow", COARSE, empty(Entries(units, np.float32)), 0, perf_counter())
    quick = hunt.limits.effort.races == 0
    # the simpler frame comes first; main effects have to earn their place
    penalties = penalties_of(base[0].to_units(hunt.train))
    best = hunt.walk("grow", base[0], penalties[:: 2 if quick else 1], how=QUICK if quick else COARSE)
    if quick or hunt.outdone(best) or hunt.late("other frames"):
        return _moved(hunt, best, base[1:])
    others = [hunt.walk("grow", frame, window(hunt.guess(best, frame), 3)) for frame in base[1:]]
    best = min([best, *(other for other in others if other.score < EARNED * best.score)], key=score_of)
    if best.frame.offset is not None and base[0].offset is None:  # a walk without them may have failed by chance
        best = min(hunt.moved(best, base[0], best.depth, best.penalty), best, key=score_of)
    best = reweighed(hunt, best, partial(hunt.walk, "grow"))
    if hunt.late("more starts"):
        return best
    best = pruned(hunt, best)
    best = plainer(hunt, reweighed(hunt, best, partial(race, hunt)))
    for _ in range(1, hunt.limits.effort.races):
        if hunt.late("more starts"):
            break
        best = min(best, race(hunt, best.frame, window(best.penalty, 3)), key=score_of)
    return best if hunt.limits.penalties else patient(hunt, best, base[0])


def _moved(hunt: Search, best: Point, others: Sequence[Frame]) -> Point:
    """`best`, or its components moved into another frame or into one that weighs slices by their noise, where that pays."""
    for frame in others:
        trial = hunt.moved(best, frame, best.depth, hunt.guess(best, frame))
        best = trial if trial.score < EARNED * best.score else best

    def moved(frame: Frame, penalties: Sequence[float]) -> Point:
        return min((hunt.moved(best, frame, best.depth, hunt.guess(best, frame) * ratio) for ratio in (1.0, GRID)), key=score_of)

    return reweighed(hunt, best, moved)


def plainer(hunt: Search, best: Point) -> Point:
    """`best`, or its components in a plainer frame where slices' noise or main effects don't earn their place.

    They may have won because a walk without them had failed by chance.
    """
    if best.frame.mode is not None:
        frame = Frame.of(hunt.train, effects=best.frame.offset is not None)
        plain = hunt.moved(best, frame, best.depth, hunt.guess(best, frame))
        if not better_by_slice(best, plain, hunt.held, best.frame.mode):
            best = plain
    if best.frame.offset is not None and False in hunt.limits.effects:
        bare = replace(best, frame=replace(best.frame, offset=None))
        frame = frame_after(bare, hunt.train, hunt.held, best.frame.mode)
        plain = hunt.moved(best, frame, best.depth, hunt.guess(best, frame))
        if best.score > EARNED * plain.score:
            best = plain
    return best


def race(hunt: Search, frame: Frame, penalties: Sequence[float]) -> Point:
    """Both ways to start."""
    return pruned(hunt, hunt.walk("grow", frame, penalties))


def pruned(hunt: Search, grown: Point) -> Point:
    """`grown`, or the best fit from many components, if that is better: growing shows where to look."""
    count = max(START_RANK, int(PRUNED * grown.state.rank))
    return min(grown, hunt.walk("prune", grown.frame, window(grown.penalty, 3), count), key=score_of)


def reweighed(hunt: Search, best: Point, fit: Callable[[Frame, Sequence[float]], Point]) -> Point:
    """`best`, or a fit whose slices are weighed by the errors that `best` leaves, if that is better."""
    mode = noise_mode(best, hunt.held, hunt.limits.noise)
    if mode is None:
        return best
    frame = frame_after(best, hunt.train, hunt.held, mode)
    trial = fit(frame, window(hunt.guess(best, frame), 6))
    return trial if better_by_slice(trial, best, hunt.held, mode) else best


def patient(hunt: Search, best: Point, frame: Frame) -> Point:
    """`best`, or where it explains next to nothing, what many more sweeps find.

    With few entries for each unknown the right components stand out of many only after hundreds of sweeps.
    """
    nothing = rmse_of(hunt.held.values - frame.offset_at(hunt.held.coords), hunt.held)
    if best.rmse < LOST * nothing:
        return best
    top = penalties_of(frame.to_units(hunt.train))[0]
    fine = [top * GRID ** (j / 2) for j in range(2 * LOST_STEPS)]
    found = hunt.walk("patient", frame, fine, START_RANK, how=PATIENT)
    below = [found.penalty * GRID**j for j in range(24)]
    grown = hunt.walk("grow", frame, below, shallow=found.state)
    return min(best, found, grown, key=lambda point: point.rmse)  # scores of other frames don't compare


def scout(train: Observations, streams: Iterator[np.random.Generator]) -> Observations:
    """The entries to choose on: all, or of large data a random part that still has many a slice."""
    enough = LARGE / 2 + LARGE_A_SLICE * sum(train.shape)
    if train.size <= max(LARGE, enough):
        return train
    return train.subset(next(streams).random(train.size) < enough / train.size)
