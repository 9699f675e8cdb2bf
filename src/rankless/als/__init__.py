"""The work engine: deep CP with weight decay, minimised by reweighted alternating least squares.

    minimise  1/2 sum_e w_e (y_e - T_e)^2  +  penalty * (k+1)/2 * sum_{n,r} |u_r^n|^(2/(k+1))

over the end-to-end vectors ``u_r^n`` of `R` components. The penalty is the least weight decay with
which `k` extra layers a vector build ``u`` [arora2018, hariz2022], so the layers themselves are
never stored: depth is one number. ``k = 0`` at order 2 is the nuclear norm; every extra layer
counts components more and shrinks them less.

`solve` runs one problem to rest:

>>> import numpy as np
>>> from rankless import als
>>> from rankless.tensors.observations import Observations
>>> u, v = np.arange(1.0, 5.0), np.array([1.0, -1.0, 2.0])
>>> array = np.outer(u, v)
>>> array[0, 0] = np.nan
>>> fit = als.solve(Observations.from_array(array), depth=1.0, penalty=1e-3, random_state=0)
>>> fit.model.rank, round(float(fit.model.at([[0, 0]])[0]), 2)
(1, 1.0)

Inside, a few rooms: `kernels` updates rows (by the arithmetic of `normal`, in `vectors`), `solver`
sweeps and prunes, `settle` sweeps to rest, `annealing` brings components in, `gibbs` draws from the
posterior. `entries` holds what was observed, sorted in `modes` by `sorting`; `rows` has a mode's rows updated,
by `workers` that hand blocks of them to threads, or by a `cluster`. `losses`, `nonnegative` and `majorise` make the same
sweeps serve counts, shares, gross errors and parts that only add. `networks` does the same for Tucker and train (`solve_tucker`,
`solve_train`): the twins of `dynamics.Tucker` and `dynamics.Train`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rankless.als import majorise
from rankless.als.annealing import anneal, deepen, empty, with_random
from rankless.als.entries import Chunks, Entries
from rankless.als.losses import Bernoulli, Gaussian, Huber, Loss, Poisson, loss_of
from rankless.als.networks import NetworkFit, solve_train, solve_tucker
from rankless.als.settle import settle as to_rest  # under its own name it would hide the module
from rankless.als.solver import Problem, State, objective
from rankless.depth import check_depth
from rankless.runtime.progress import Callback, Ended, Tracker, shown
from rankless.runtime.seeds import check_seed
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "Bernoulli",
    "Chunks",
    "Entries",
    "Fit",
    "Gaussian",
    "Huber",
    "NetworkFit",
    "Poisson",
    "solve",
    "solve_train",
    "solve_tucker",
]


@dataclass(frozen=True, eq=False)
class Fit:
    """A solution: the model, the objective after every sweep, whether it came to rest."""

    model: CPTensor
    objective: list[float]
    converged: bool

    @property
    def rank(self) -> int:
        return self.model.rank


def solve(
    obs: Observations | Entries,
    *,
    depth: float = 2.0,
    penalty: float = 1.0,
    max_rank: int = 40,
    start: CPTensor | None = None,
    guard: float = 0.0,
    smooth: Mapping[int | str, float] | None = None,
    loss: str | Loss = "gaussian",
    nonnegative: bool | Sequence[bool] = False,
    anneal_rounds: int = 10,
    tol: float = 1e-7,
    max_sweeps: int = 500,
    dtype: type[np.floating] = np.float64,
    random_state: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    client: Client | None = None,
    verbose: bool = False,
    callback: Callback | None = None,
) -> Fit:
    """Minimise the objective of this module's page from a random start of `max_rank` components; of a matrix they are its singular vectors.

    Parameters
    ----------
    obs : Observations, or `Entries` sorted already, whose dtype counts then.
    depth : `k` >= 0, any real number of extra layers.
    penalty : weight decay > 0, in squared units of the values (scale them to unit RMS first).
    max_rank : components to start from; how many stay is the answer's.
    start : a model to go on from instead, such as that of yesterday's entries: sweeps begin where it stands, at the depth asked for.
        Annealing then offers random components up to `max_rank` as ever; ``anneal_rounds=0`` leaves them out.
    guard : charge on the squared values of all cells, seen or not; see `rankless.als.solver`.
    smooth : of each mode whose slices have an order, by name or number, tau > 0: what a step between
        neighbouring slices costs more than their size; see `rankless.als.solver`.
    loss : "gaussian", "huber", "poisson" (components make up logarithms of means, or where they are nonnegative the means), "bernoulli"
        (log odds), or an object such as ``als.Huber(bound)``; see `rankless.als.losses`. Others than squares are made in float64.
    nonnegative : True, or one bool a mode: whether factors may hold no negative number.
    anneal_rounds : times random components are offered again; a round that does not lower the
        objective ends the rounds.
    client : a Dask client: rows are updated by its workers, to the same numbers; see `rankless.als.cluster`.
    tol, max_sweeps : a run of sweeps ends when the objective falls by less than `tol`, relatively.
    verbose : whether to show on stderr what is done.
    callback : called with a `rankless.runtime.progress.Progress` at every stage and each second in between. If it raises
        StopIteration, what has been fitted so far is returned, `converged` False; before the first run of
        sweeps has come to rest, `objective` has its last value alone.

    Raises ValueError for parameters out of range or a `start` that does not fit, FloatingPointError if the objective overflows.
    The objective recorded never rises; sweeps that annealing tried and dropped are not in it.
    """
    taus = [0.0] * obs.order
    for mode, tau in (smooth or {}).items():
        taus[mode_of(obs, mode)] = _not_negative(f"smooth[{mode!r}]", tau)
    order = tuple(taus) if any(taus) else ()
    problem = Problem(check_depth(depth), _positive("penalty", penalty), _not_negative("guard", guard), tol, max_sweeps, smooth=order)
    if not (isinstance(max_rank, (int, np.integer)) and max_rank >= 1):
        raise ValueError(f"max_rank={max_rank!r} is not a number of components; pass max_rank=40 or another integer >= 1")
    check_seed(random_state)
    rng = np.random.default_rng(random_state)
    positive = signs_of(nonnegative, obs.order)
    chosen = loss_of(loss, positive)
    if order and any(positive):
        raise ValueError(f"smooth={smooth!r} and nonnegative={nonnegative!r} don't go together; leave one of them out")
    if isinstance(chosen, Gaussian) and not any(positive):
        entries = obs if isinstance(obs, Entries) else Entries(obs, dtype)
        if client is not None:
            from rankless.als.cluster import ClusterEntries

            entries = ClusterEntries.of(entries, client)
    elif client is not None or isinstance(obs, Entries):
        raise ValueError(f"loss={loss!r} and nonnegative={nonnegative!r} need Observations on one machine; pass these, without client=")
    else:
        entries = majorise.Target(obs, chosen, positive)
    with shown(verbose) as bar, Workers(n_jobs, tracker=Tracker(bar, callback)) as workers:
        tell = workers.tracker
        begun = None if start is None or start.rank == 0 else _begun(start, entries, positive)
        state = with_random(entries, empty(entries), int(max_rank), rng) if begun is None else begun
        tell.stage(f"sweeping {state.rank} components to rest")
        tell.endable()
        history, converged = [], False
        try:
            trace = deepen(entries, state, problem, workers) if begun is None else to_rest(entries, state, problem, workers)
            history, converged = trace.objective, trace.converged
            for _ in range(anneal_rounds):
                offered = min(max(5, state.rank // 2), max_rank - state.rank)
                if offered < 1:
                    break
                tell.stage(f"offering {offered} more components than {state.rank}")
                state, trace = anneal(entries, state, problem, workers, rng, offered)
                if trace is None:
                    break
                # the shallow sweeps climb before the deep ones fall below: only what was kept is a history
                history += [value for value in trace.objective if value < history[-1]]
                converged = trace.converged
        except Ended:
            history, converged = history or [objective(state, problem)], False
    return Fit(state.model(), history, converged)


def _begun(start: CPTensor, entries: Entries, positive: Sequence[bool]) -> State:
    """A model as a state to go on from; raises ValueError where it does not fit the entries."""
    if start.shape != tuple(entries.shape):
        raise ValueError(f"start has shape {start.shape} and the entries {tuple(entries.shape)}; pass a model with a row for each slice")
    model = start.balanced()
    if any(sign and (factor < 0).any() for sign, factor in zip(positive, model.factors, strict=True)):
        raise ValueError("start has negative numbers in a mode that is nonnegative; pass another, or np.maximum(factor, 0) of each")
    return State(np.concatenate(model.factors).astype(entries.dtype), entries.offsets)


def mode_of(obs: Observations | Entries, mode: int | str) -> int:
    """Number of a mode; entries sorted already have numbers only."""
    if isinstance(obs, Observations):
        return obs.mode_index(mode)
    if not (isinstance(mode, (int, np.integer)) and 0 <= mode < obs.order):
        raise ValueError(f"no mode {mode!r}; entries have modes 0 to {obs.order - 1}")
    return int(mode)


def signs_of(nonnegative: bool | Sequence[bool], order: int) -> tuple[bool, ...]:
    """For each mode whether its factor may hold no negative number."""
    given = (nonnegative,) * order if isinstance(nonnegative, (bool, np.bool_)) else nonnegative
    if not isinstance(given, (tuple, list)) or len(given) != order or not all(isinstance(one, (bool, np.bool_)) for one in given):
        raise ValueError(f"nonnegative={nonnegative!r} is neither a bool nor one a mode; pass nonnegative=True, or {order} bools")
    return tuple(map(bool, given))


def _positive(name: str, value: float) -> float:
    if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r} is not a positive number; pass {name}=1.0, smaller to fit more closely")
    return float(value)


def _not_negative(name: str, value: float) -> float:
    if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}={value!r} is not a number >= 0; pass {name}=0.0 to leave it out")
    return float(value)
