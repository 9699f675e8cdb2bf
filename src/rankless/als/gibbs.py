"""Draws from the posterior of CP factors, and their mean: what is uncertain is averaged, not picked.

    y_e = T_e + noise,   noise ~ N(0, 1 / (tau w_e)),   row of mode n ~ N(mu_n, Lambda_n^-1)

with a normal-Wishart prior on every ``(mu_n, Lambda_n)`` and a gamma prior on ``tau``. Each row given
all else is normal with the very normal equations of a least squares row, so a sweep of Gibbs sampling
is a sweep of alternating least squares that adds noise [salakhutdinov2008, xiong2010]. The mean over
draws errs less than any one fit where entries are few for each unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rankless.als.entries import Entries
from rankless.als.kernels import draw_rows
from rankless.als.rows import over_rows
from rankless.als.solver import State
from rankless.runtime.journal import Arrays, state_of
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor

KEPT = 32  # draws of which a mean is made, evenly spaced: each is as wide as a fit
_BURN = 0.3  # share of the sweeps that lead from the start to the first draw that counts
_STRENGTH = 2.0  # rows' worth of the prior of a mode's mean
_LEAST = 1e-6  # noise variance below which no more is believed, for values of about 1


def means_of_chains(
    entries: Entries, chains: Sequence[tuple[State, np.random.Generator]], workers: Workers, *, noise: float, sweeps: int, kept: int = KEPT
) -> list[CPTensor]:
    """Of each chain, that starts from its state, the mean of `kept` of `sweeps` draws; the states end as the last draws.

    Each mean is one CP tensor, the components of draws side by side; of a chain that overflows it is not finite.
    What the workers' journal holds is not computed again.
    """

    def of(at: int, workers: Workers) -> CPTensor:
        try:
            return _mean_of_draws(entries, *chains[at], workers, noise=noise, sweeps=sweeps, kept=kept)
        except np.linalg.LinAlgError:
            return CPTensor([np.full((own.rows, 1), np.nan) for own in entries.modes])

    def compute() -> Arrays:
        means = workers.each(of, len(chains))
        factors = {f"factor_{at}_{mode}": factor for at, mean in enumerate(means) for mode, factor in enumerate(mean.factors)}
        return factors | {f"stack_{at}": state.stack for at, (state, _) in enumerate(chains)}

    starts = [part for state, rng in chains for part in (state.stack, state_of(rng))]
    found = workers.recall("draws", (noise, sweeps, kept, entries.size, entries.square, *starts), compute)
    for at, (state, _) in enumerate(chains):
        state.stack = found[f"stack_{at}"]
    return [CPTensor([found[f"factor_{at}_{mode}"] for mode in range(len(entries.modes))]) for at in range(len(chains))]


def _mean_of_draws(
    entries: Entries, state: State, rng: np.random.Generator, workers: Workers, *, noise: float, sweeps: int, kept: int
) -> CPTensor:
    counted = np.unique(np.linspace(_BURN * sweeps, sweeps - 1, kept).round().astype(int))
    factors: list[list[np.ndarray]] = [[] for _ in range(state.order)]
    for sweep, drawn in zip(range(sweeps), draws(entries, state, rng, workers, noise), strict=False):
        workers.tracker.beat(sweep / sweeps)
        if sweep in counted:
            for mode, columns in enumerate(drawn.model().factors):
                factors[mode].append(columns if mode else columns / len(counted))
    whole = [np.concatenate(columns, axis=1, dtype=np.float64) for columns in factors]
    for factor, own in zip(whole, entries.modes, strict=True):
        factor[own.counts() == 0] = 0.0  # nothing was seen there, and the prior's mean is no better than none
    return CPTensor(whole)


def draws(entries: Entries, state: State, rng: np.random.Generator, workers: Workers, noise: float) -> Iterator[State]:
    """States drawn one after the other, the first from `state` with noise variance `noise`; `state` changes in place."""
    tau = 1.0 / max(noise, _LEAST)
    while True:
        for own in entries.modes:
            factor, dtype = state.factor(own.mode), entries.dtype
            mean, precision = _prior_of(factor.astype(np.float64), rng)
            losses = np.zeros(len(factor) if own is entries.modes[-1] else 0)
            normals = rng.standard_normal(factor.shape).astype(dtype)
            rest = precision.astype(dtype), (precision @ mean).astype(dtype), dtype.type(tau), normals, losses
            over_rows(draw_rows, own, state.stack, rest, state.rank**2 / 2, workers, long_too=True)
        tau = rng.gamma(0.5 * entries.size + 1) / (0.5 * float(losses.sum()) + 0.5 * entries.size * _LEAST)
        yield state


def _prior_of(factor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A draw of the mean and precision of a mode's rows, given the rows."""
    count, rank = factor.shape
    mean = factor.mean(axis=0)
    centred = factor - mean
    scatter = np.eye(rank) + centred.T @ centred + count * _STRENGTH / (count + _STRENGTH) * np.outer(mean, mean)
    half = np.linalg.cholesky(np.linalg.inv(scatter))
    bartlett = np.tril(rng.standard_normal((rank, rank)), -1)
    bartlett[np.diag_indices(rank)] = np.sqrt(rng.chisquare(rank + count - np.arange(rank)))
    half = half @ bartlett  # of a Wishart matrix, lower triangular
    precision = half @ half.T
    spread = np.linalg.solve(half.T, rng.standard_normal(rank)) / np.sqrt(count + _STRENGTH)
    return count * mean / (count + _STRENGTH) + spread, precision
