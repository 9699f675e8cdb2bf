"""The last steps of the search: from its winner to the fit that is refitted on all entries.

The winner sheds spare components, its penalty is refined, faint components are thinned, noiseless data
are fitted to the last digits.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem, largest
from rankless.answer.stack import lone
from rankless.holdout.scoring import Point, score_of
from rankless.search.walk import COARSE, HOPELESS, OFFERED, Search, grow, problem_at
from rankless.units.error import rmse_of
from rankless.units.frame import ROUNDING

SIMPLER, SIMPLER_STEPS = 4.0, 3  # ratio and number of the penalties at which spare components are shed
FINE, FINE_STEPS = 2**0.25, 4  # ratio and number of the last, fine steps on either side of the winner
FEWEST, THINNER, THIN_STEPS = 2, 0.7, 8  # components at which thinning ends; share kept at each step; penalties tried at each
EXACT = 1e-4  # error as a share of what is to be explained, below which data are noiseless
EXACT_STEP, EXACT_STEPS = 1e-2, 6  # ratio and number of the penalties then tried in double precision
UTMOST = Problem(0.0, 1.0, tol=1e-6, max_sweeps=200, forgiving=True)  # how far fits are driven where data are noiseless


def simpler(hunt: Search, best: Point) -> Point:
    """Deeper, at larger penalties, from the winner's components: spare ones die and the others stay.

    A fit that found the right components among many spare ones gets rid of them here only:
    walks start afresh at each penalty, or come from above it.
    """
    depth, point = max(hunt.limits.depths), best
    for _ in range(SIMPLER_STEPS if best.state.rank else 0):
        point = hunt.moved(point, point.frame, depth, point.penalty * SIMPLER)
        if point.score > HOPELESS * best.score or not point.state.rank:
            break
        if point.state.rank < best.state.rank:
            best = min(point, best, key=score_of)
    return best


def refined(hunt: Search, best: Point) -> Point:
    """Smaller steps of the penalty around the winner, each from the winner's own components, more offered."""
    entries, rng = best.frame.entries(hunt.train), next(hunt.streams)
    for direction in (1 / FINE, FINE):
        for _ in range(FINE_STEPS if best.state.rank else 0):
            clock, penalty = perf_counter(), best.penalty * direction
            problem = problem_at(COARSE, best.depth, penalty, hunt.train, best.frame.noise, best.smooth)
            state, sweeps = grow(entries, best.state, problem, OFFERED, hunt.limits.max_rank, rng, hunt.workers)
            trial = hunt.scored(best.frame, best.start, problem, state, sweeps, clock)
            if trial.score >= best.score:
                break
            best = trial
    return best


def thinner(hunt: Search, best: Point) -> Point:
    """The winner's largest components alone, at smaller penalties.

    A shallow penalty takes as much from faint components as from noise; few of them, fitted closely and
    then shrunk by one share, may err less.
    """
    last, choice = best, (lone(best, hunt.held)[1], best)
    while last.state.rank > FEWEST:
        point, trials = replace(last, start="thin", state=largest(last.state, THINNER)), []
        for step in range(THIN_STEPS):
            point = hunt.moved(point, point.frame, point.depth, best.penalty * FINE**-step)
            trials.append((lone(point, hunt.held)[1], point))
            if step and trials[-1][0] >= trials[-2][0]:
                break
        last = trials[0][1]
        choice = min(choice, *trials, key=lambda trial: trial[0])
        if trials[0][0] > HOPELESS * choice[0]:
            break
    return choice[1]


def sharpened(hunt: Search, best: Point) -> Point:
    """Data without noise: smaller penalties in double precision, in which the last of them can be told apart.

    One may move nothing, the penalty being most of the objective, and the next one much.
    """
    units, state = best.frame.to_units(hunt.train), best.state.copy()
    entries, state.stack = Entries(units), state.stack.astype(np.float64)
    problem = problem_at(UTMOST, best.depth, best.penalty, units, 0.0, best.smooth)
    for _ in range(EXACT_STEPS if best.state.rank else 0):
        clock, state = perf_counter(), state.copy()
        problem = replace(problem, penalty=problem.penalty * EXACT_STEP, guard=problem.guard * EXACT_STEP)
        sweeps = len(settle(entries, state, problem, hunt.workers).objective)
        best = min(best, hunt.scored(best.frame, best.start, problem, state, sweeps, clock), key=score_of)
    return best


def is_exact(hunt: Search, best: Point) -> bool:
    """Whether data are noiseless: next to nothing of what there was to explain is left, or main effects leave nothing but rounding."""
    apart = rmse_of(hunt.held.values - best.frame.offset_at(hunt.held.coords), hunt.held)
    return best.rmse < EXACT * apart or apart < ROUNDING * hunt.held.rms()
