"""The last steps of the search: from its winner to what is refitted on all entries.

The winner sheds spare components, its penalty is refined, faint components are thinned, noiseless data
are fitted to the last digits; a mean of draws from the posterior is offered beside it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from time import perf_counter

import numpy as np

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.gibbs import KEPT, means_of_chains
from rankless.als.settle import settle
from rankless.als.solver import Problem, State, largest
from rankless.answer.stack import lone, total
from rankless.holdout.scoring import Point, score_of, unit_noise
from rankless.search.walk import COARSE, HOPELESS, OFFERED, Search, grow, guard_at, problem_at
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.error import rmse_of
from rankless.units.frame import ROUNDING

SIMPLER, SIMPLER_STEPS = 4.0, 3  # ratio and number of the penalties at which spare components are shed
FINE, FINE_STEPS = 2**0.25, 4  # ratio and number of the last, fine steps on either side of the winner
FEWEST, THINNER, THIN_STEPS = 2, 0.7, 8  # components at which thinning ends; share kept at each step; penalties tried at each
EXACT = 1e-4  # error as a share of what is to be explained, below which data are noiseless
EXACT_STEP, EXACT_STEPS = 1e-2, 6  # ratio and number of the penalties then tried in double precision
DRAWN_RANK, DRAWN_MOST = 1.4, (50, 100)  # components of draws, as many times the best fit's; at least, at most
FEW = 0.5  # ... and share of the least, up to which draws of fewer are tried too
DRAWS, FEWEST_DRAWS = (100, 200), 30  # sweeps of drawing, at most: the second number where `CHAINS_WORK` allows; the fewest worth a try
DRAWN_WORK = 1e11  # multiply-adds that drawing may take
CHAINS_WORK = 6e10  # ... that several chains, or long ones, may take together
NOISY = 1e-2  # noise, as a variance of values of about 1, above which draws are made in single precision
HEAVY, LIGHT = 1e3, 1e-6  # ... where all entries' weights, of mean 1, lie between
OF_CHAIN = 8  # draws kept of each at least, where there are several
COLUMNS = 1600  # ... and as many as are so many components in all
FINAL = Problem(0.0, 1.0, tol=1e-5, max_sweeps=60, forgiving=True)  # how far the refit is
UTMOST = Problem(0.0, 1.0, tol=1e-6, max_sweeps=200, forgiving=True)  # ... where data are noiseless


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
    units, rng = best.frame.to_units(hunt.train), next(hunt.streams)
    entries = Entries(units, np.float32)
    for direction in (1 / FINE, FINE):
        for _ in range(FINE_STEPS if best.state.rank else 0):
            clock, penalty = perf_counter(), best.penalty * direction
            problem = problem_at(COARSE, best.depth, penalty, units, best.frame.noise, best.smooth)
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


def averaged(hunt: Search, best: Point) -> list[Point]:
    """The mean of draws from the posterior, where it is cheap enough; its start knows nothing of `best`.

    Draws of many components leave those idle that data do not ask for. Where `best` has few, draws of few more are
    tried too: of a matrix they err less, and cost next to nothing.
    """
    least, most = DRAWN_MOST
    few = int(DRAWN_RANK * best.state.rank)
    ranks = [min(max(least, few), most), *([few] if 0 < few <= FEW * least else [])]
    return sorted((point for rank in ranks if (point := _averaged(hunt, best, rank))), key=score_of)[:1]


def _averaged(hunt: Search, best: Point, rank: int) -> Point | None:
    """The mean of draws of `rank` components, None where it costs too much or they overflow."""
    sweeps = _sweeps_of(hunt, hunt.train, rank)
    if sweeps < FEWEST_DRAWS:
        return None
    units, rng, clock = best.frame.to_units(hunt.train), next(hunt.streams), perf_counter()
    hunt.tracker.stage(f"drawing {rank} components from the posterior")
    noise = unit_noise(best.frame, best, hunt.held)
    entries = _entries_of(units, noise)
    state = with_random(entries, empty(entries), rank, rng)
    drawn = _mean_of_chains(hunt, hunt.train, entries, state, rng, noise, sweeps)
    if drawn is None:
        return None
    return hunt.scored(best.frame, "draw", problem_at(COARSE, 0.0, noise, units, noise), state, sweeps, clock, drawn)


def is_exact(hunt: Search, best: Point) -> bool:
    """Whether data are noiseless: next to nothing of what there was to explain is left, or main effects leave nothing but rounding."""
    apart = rmse_of(hunt.held.values - best.frame.offset_at(hunt.held.coords), hunt.held)
    return best.rmse < EXACT * apart or apart < ROUNDING * hunt.held.rms()


def refit(hunt: Search, best: Point, offset: MainEffects | None, obs: Observations, *, exact: bool) -> CPTensor:
    """The components of `best`, settled on all entries `obs`; of a mean of draws, drawn again given all."""
    frame, state = replace(best.frame, offset=offset), best.state.copy()
    units = frame.to_units(obs)
    if best.drawn is not None:
        return frame.to_data(_drawn_again(hunt, best, _entries_of(units, best.penalty), state, obs))
    entries, state.stack = Entries(units), state.stack.astype(np.float64)
    # held-out entries need not lie where a component runs away: the guard has to know the noise it leaves; errors over gaps are no noise
    guard = best.guard if any(best.smooth) else max(best.guard, guard_at(best.penalty, hunt.train, unit_noise(best.frame, best, hunt.held)))
    how = UTMOST if exact else FINAL
    settle(entries, state, replace(how, depth=best.depth, penalty=best.penalty, guard=guard, smooth=best.smooth), hunt.workers)
    return frame.to_data(state.model())


def _drawn_again(hunt: Search, best: Point, entries: Entries, state: State, obs: Observations) -> CPTensor:
    """The mean of draws given all entries `obs`, its first chain the one that `best` ended."""
    sweeps = max(FEWEST_DRAWS, _sweeps_of(hunt, obs, state.rank))
    noise = best.penalty  # where the chain starts; it soon forgets
    return _mean_of_chains(hunt, obs, entries, state, next(hunt.streams), noise, sweeps) or best.drawn or state.model()


def _mean_of_chains(
    hunt: Search, obs: Observations, entries: Entries, state: State, rng: np.random.Generator, noise: float, sweeps: int
) -> CPTensor | None:
    """The mean of draws of the chain that starts from `state`, and of others where they are cheap; None where all overflow.

    One chain stays near where it started; a mean over several, each with fewer draws, errs 3 to 6 % less where little is seen.
    Several run side by side.
    """
    rank = state.rank
    chains = int(np.clip(CHAINS_WORK / (sweeps * _work_of(obs, rank)), 1, hunt.chains))
    how = {"noise": noise, "sweeps": sweeps, "kept": max(KEPT // chains, OF_CHAIN, COLUMNS // (chains * rank))}
    others = [next(hunt.streams) for _ in range(chains - 1)]
    starts = [(with_random(entries, empty(entries), rank, other), other) for other in others]
    return _mean_of(means_of_chains(entries, [(state, rng), *starts], hunt.workers, **how))


def _mean_of(means: list[CPTensor]) -> CPTensor | None:
    """The mean of the means that are finite; None, with a warning, where there is none."""
    finite = [mean for mean in means if all(np.isfinite(factor).all() for factor in mean.factors)]
    if len(finite) < len(means):
        warnings.warn("draws from the posterior overflowed and were left out", RuntimeWarning, stacklevel=2)
    if not finite:
        return None
    return total([CPTensor([factor if mode else factor / len(finite) for mode, factor in enumerate(mean.factors)]) for mean in finite])


def _entries_of(units: Observations, noise: float) -> Entries:
    """In the precision that draws take: with little noise single precision cannot tell the equations from singular ones."""
    weights = units.weights
    plain = weights is None or (weights.max() < HEAVY and weights.min() > LIGHT)
    return Entries(units, np.float32 if noise > NOISY and plain else np.float64)


def _sweeps_of(hunt: Search, obs: Observations, rank: int) -> int:
    """Sweeps of drawing that the work allows: long chains only of many components, and where there may be all of them."""
    work, (least, most) = _work_of(obs, rank), DRAWS
    sweeps = np.clip(CHAINS_WORK / (hunt.chains * work), least, most if rank >= DRAWN_MOST[0] else least)
    return int(min(sweeps, DRAWN_WORK / work))


def _work_of(obs: Observations, rank: int) -> float:
    """Multiply-adds of one sweep of drawing."""
    return obs.order * obs.size * rank**2 / 2 + sum(obs.shape) * rank**3 / 3
