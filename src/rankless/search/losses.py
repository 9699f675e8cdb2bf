"""The search under losses other than squares, and for nonnegative components: which offset the components lie on, and Huber's bound.

    minimise  sum_e w_e loss(offset_e + T_e, y_e)  +  penalty (k+1)/2 sum_{n,r} |u_r^n|^(2/(k+1))

Everything is chosen by the mean deviance of held-out entries, with the walks of `search.walk`. The bound of Huber's loss follows the
errors that the last walk left on held-out entries, and each walk starts from nothing, because a fit by squares hides
the gross errors that it follows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from rankless.als.losses import Bernoulli, Huber, Poisson, PoissonParts
from rankless.holdout.scoring import Point, score_of
from rankless.search import refine
from rankless.search.race import EARNED
from rankless.search.walk import COARSE, GRID, Search, penalties_of
from rankless.tensors.observations import Observations
from rankless.units.error import spread_of
from rankless.units.frame import Frame
from rankless.units.link import Units

TUNING = 1.345  # bound in standard deviations: 95 % as sharp as squares where the noise is Gaussian [huber1964]
BOUNDS = 2  # times the bound is taken from held-out errors
GAINED = 0.9999  # of the deviance, which a smaller penalty has to bring
STRICTER = 5  # times the winner's penalty is doubled, for spare components to die
HOW = replace(COARSE, tol=1e-4, max_sweeps=40)  # how far points of a walk are driven: quadratics above a loss take more sweeps


def best_fit(search: Search) -> Point:
    """The best fit under the loss of the limits."""
    limits, train = search.limits, search.train
    if not limits.effort.races:  # one depth
        search = replace(search, limits=replace(limits, depths=limits.depths[:1]))
    loss, positive = limits.loss, limits.nonnegative
    scale = _scale_of(train, loss)
    effects = (False,) if any(positive) else limits.effects
    if isinstance(loss, Huber):
        loss = Huber(TUNING)
        for _ in range(BOUNDS):
            rough = _walked(search, Units.of(train, loss, positive, effects=effects[-1], scale=scale))
            loss = Huber(min(TUNING * spread_of(rough.residual / scale), TUNING) or TUNING)
    best: Point | None = None
    for with_effects in effects:
        frames = [
            Units.of(train, loss, positive, effects=with_effects, scale=scale, typical=typical)
            for typical in ((True, False) if isinstance(loss, Poisson) else (False,))
        ]
        found = min((_walked(search, frame) for frame in frames), key=score_of)
        if best is None or found.score < EARNED * best.score:  # the simpler comes first, and main effects have to earn their place
            best = found
    assert best is not None
    if limits.penalties is None and limits.effort.races and not search.late("refining"):
        search.tracker.stage("refining the best")
        best = refine.refined(search, _shed(search, best))
    return best


def _shed(search: Search, winner: Point) -> Point:
    """`winner` or fewer components: at larger penalties spare ones die, and those which stay are tried at smaller ones again."""
    best, point = _relaxed(search, winner), winner
    for _ in range(STRICTER):
        rank = point.state.rank
        if rank < 2:
            break
        point = search.moved(point, point.frame, max(search.limits.depths), point.penalty / GRID)
        if 0 < point.state.rank < rank:
            best = min(best, _relaxed(search, point), key=score_of)
    return best


def _relaxed(search: Search, best: Point) -> Point:
    """The components of `best` at smaller penalties, none offered, for as long as that lowers the deviance.

    A deep penalty keeps spare components away by itself, and takes from the large ones what counts by the dozen tell against.
    """
    while best.state.rank:
        point = search.moved(best, best.frame, best.depth, best.penalty * GRID)
        if point.score > GAINED * best.score:
            break
        best = point
    return best


def _walked(search: Search, frame: Units) -> Point:
    """One walk; of a frame it needs entries, offset and noise, which these units have too."""
    return search.walk("grow", cast(Frame, frame), _penalties(search.train, frame), how=HOW)


def _scale_of(train: Observations, loss: object) -> float:
    """What values are divided by, so that they are of size 1; 1 where the loss takes logarithms or log odds."""
    if isinstance(loss, PoissonParts):
        return float(np.average(train.values, weights=train.weights))
    if isinstance(loss, (Poisson, Bernoulli)):
        return 1.0
    return (spread_of(train.values - np.median(train.values)) if isinstance(loss, Huber) else 0.0) or train.rms()


def _penalties(train: Observations, frame: Units) -> list[float]:
    """From the penalty at which one component that explains everything does not pay, downwards."""
    target = frame.entries(train)
    target.turn(np.full(target.size, 1.0 if isinstance(frame.loss, PoissonParts) else 0.0), 1.0)
    bend = float(np.mean(target.modes[0].weights))
    return [bend * penalty for penalty in penalties_of(target.obs)]
