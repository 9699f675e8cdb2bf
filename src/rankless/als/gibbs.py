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
from numba import types

from rankless.als.entries import Entries
from rankless.als.kernels import draw_rows, with_room
from rankless.als.rows import over_rows, work_of
from rankless.als.solver import State
from rankless.als.vectors import Apart, jit, matrix, vector
from rankless.runtime.journal import Arrays, state_of
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor

KEPT = 32  # draws of which a mean is made, evenly spaced: each is as wide as a fit
_BURN = 0.3  # share of the sweeps that lead from the start to the first draw that counts
_STRENGTH = 2.0  # rows' worth of the prior of a mode's mean
_LEAST = 1e-6  # noise variance below which no more is believed, for values of about 1
_WORK, _NUMBERS = 5e8, 2**21  # multiply-adds and random numbers of the sweeps made in one call, at most: a fraction of a second, 16 MiB


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
    chain, done = _Chain(entries, state, rng, workers, noise), 0
    for kept_at in counted:
        while done <= kept_at:
            workers.tracker.beat(done / sweeps)
            some = min(kept_at + 1 - done, chain.at_once)
            chain.advance(some)
            done += some
        for mode, columns in enumerate(state.model().factors):
            factors[mode].append(columns if mode else columns / len(counted))
    whole = [np.concatenate(columns, axis=1, dtype=np.float64) for columns in factors]
    for factor, own in zip(whole, entries.modes, strict=True):
        factor[own.counts() == 0] = 0.0  # nothing was seen there, and the prior's mean is no better than none
    return CPTensor(whole)


def draws(entries: Entries, state: State, rng: np.random.Generator, workers: Workers, noise: float) -> Iterator[State]:
    """States drawn one after the other, the first from `state` with noise variance `noise`; `state` changes in place."""
    chain = _Chain(entries, state, rng, workers, noise)
    while True:
        chain.advance(1)
        yield state


class _Chain:
    """A chain of draws that goes on from where it stands: `state`, which changes in place, and the noise."""

    def __init__(self, entries: Entries, state: State, rng: np.random.Generator, workers: Workers, noise: float):
        self._entries, self._state, self._rng, self._workers = entries, state, rng, workers
        self._tau = np.array([1.0 / max(noise, _LEAST)])
        rank, rows = state.rank, len(state.stack)
        self._each = rank**2 / 2  # multiply-adds of an entry
        work = entries.order * entries.size * (self._each + rank) + rows * rank**3 / 3
        self.at_once = max(1, int(min(_WORK / work, _NUMBERS / (rank * (rows + entries.order * (rank + 2))))))  # sweeps
        self._room = _room_for(max(entries.shape), entries.shape[-1], rank)

    @property
    def tau(self) -> float:
        """One over the noise's variance."""
        return float(self._tau[0])

    def advance(self, sweeps: int) -> None:
        """Draw so many times. Raises LinAlgError where numbers overflowed."""
        entries, stack, numbers = self._entries, self._state.stack, self._numbers(sweeps)
        if any(self._workers.pay(work_of(own, self._each)) for own in entries.modes):
            whole = all(self._by_threads(*(one[sweep] for one in numbers)) for sweep in range(sweeps))
        else:
            modes = tuple(
                (own.base, *map(_unwritten, (own.starts, own.keys, own.places, own.values, own.weights))) for own in entries.modes
            )
            addresses = draw_rows.address(stack.dtype), draw_prior.address(np.float64)
            few = np.empty((stack.shape[1], stack.shape[1]), stack.dtype), np.empty(stack.shape[1], stack.dtype)
            whole = draw_sweeps(*with_room(stack), addresses, self._room, few, modes, stack, self._tau, float(entries.size), *numbers)
        if not whole:
            raise np.linalg.LinAlgError("the draws overflowed")

    def _numbers(self, sweeps: int) -> tuple[np.ndarray, ...]:
        """The random numbers of some sweeps, sweep by sweep and mode by mode in the order in which they are used.

        For each mode what `draw_prior` takes: normal numbers ``(R, R)``, roots of chi-square ones ``(R,)``, normal ones ``(R,)``;
        and a normal number for each one drawn. A gamma number for the noise comes last.
        """
        rng, order, (rows, rank) = self._rng, self._entries.order, self._state.stack.shape
        squares, roots, spreads = np.empty((sweeps, order, rank, rank)), np.empty((sweeps, order, rank)), np.empty((sweeps, order, rank))
        normals, gammas = np.empty((sweeps, rows, rank)), np.empty(sweeps)
        freedom = [rank + own.rows - np.arange(rank) for own in self._entries.modes]
        for sweep in range(sweeps):
            for m, own in enumerate(self._entries.modes):
                rng.standard_normal(out=squares[sweep, m])
                np.sqrt(rng.chisquare(freedom[m]), out=roots[sweep, m])
                rng.standard_normal(out=spreads[sweep, m])
                rng.standard_normal(out=normals[sweep, own.base : own.base + own.rows])
            gammas[sweep] = rng.gamma(0.5 * self._entries.size + 1)
        return squares, roots, spreads, normals, gammas

    def _by_threads(self, squares, roots, spreads, normals, gamma) -> bool:
        """What `draw_sweeps` does in one sweep, the rows of each mode shared between threads."""
        entries, state, (rows, *rest, pull, precision, losses) = self._entries, self._state, self._room
        for m, own in enumerate(entries.modes):
            mine, last = rows[: own.rows], own is entries.modes[-1]
            mine[:] = state.factor(own.mode)
            if not draw_prior(mine, squares[m], roots[m], spreads[m], *rest, pull, precision):
                return False
            drawn = normals[own.base : own.base + own.rows]
            prior = precision.astype(entries.dtype), pull.astype(entries.dtype)
            given = *prior, self.tau, drawn, losses if last else losses[:0]
            over_rows(draw_rows, own, state.stack, given, self._each, self._workers, long_too=True)
        self._tau[0] = gamma / (0.5 * float(np.cumsum(losses)[-1]) + 0.5 * entries.size * _LEAST)
        return True


def _unwritten(array: np.ndarray) -> np.ndarray:
    """The same array as one that must not be written: to compiled code all modes' arrays are then of one type."""
    view = array.view()
    view.flags.writeable = False
    return view


def _room_for(rows: int, last: int, rank: int) -> tuple[np.ndarray, ...]:
    """What `draw_sweeps` works in: a factor, two matrices for `draw_prior`, what that draws, and squared residuals of the last mode."""
    square, line = (rank, rank), rank
    return tuple(map(np.empty, ((rows, rank), square, square, line, line, square, last)))


def _prior_of(factor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A draw of the mean and precision of a mode's rows, given the rows."""
    count, rank = factor.shape
    _, *rest, mean, pull, precision, _ = _room_for(0, 0, rank)
    numbers = rng.standard_normal((rank, rank)), np.sqrt(rng.chisquare(rank + count - np.arange(rank))), rng.standard_normal(rank)
    if not draw_prior(factor.astype(np.float64), *numbers, *rest, mean, pull, precision):
        raise np.linalg.LinAlgError("the draws overflowed")
    return mean, precision


def _draw_prior(rows, squares, roots, spread, scatter, half, mean, pull, precision):
    """Draw mean and precision of a mode's rows, whose numbers are used up, and precision times mean; False where numbers overflow.

    With ``S`` the scatter matrix of rows and prior, the precision is ``H H'``, where ``H = L B``, ``L L' = S^-1`` and `B` is lower
    triangular: normal numbers of `squares`, and `roots` on its diagonal (Bartlett's decomposition of a Wishart matrix).
    ``S = V' V`` with a lower triangular `V` has ``L = V^-1``, so nothing is inverted.
    """
    count, rank = rows.shape
    for r in range(rank):
        mean[r] = 0.0
    for i in range(count):
        for r in range(rank):
            mean[r] += rows[i, r]
    for r in range(rank):
        mean[r] /= count
    weight = count * _STRENGTH / (count + _STRENGTH)
    for r in range(rank):
        for s in range(r + 1):
            scatter[r, s] = weight * mean[r] * mean[s]
        scatter[r, r] += 1.0
    for i in range(count):
        for r in range(rank):
            rows[i, r] -= mean[r]
        for r in range(rank):
            for s in range(r + 1):
                scatter[r, s] += rows[i, r] * rows[i, s]
    for j in range(rank - 1, -1, -1):  # from S to V
        pivot = scatter[j, j]
        if not (pivot > 0.0 and pivot < np.inf):
            return False
        inverse = 1.0 / np.sqrt(pivot)
        for s in range(j + 1):
            scatter[j, s] *= inverse
        for i in range(j):
            for s in range(i + 1):
                scatter[i, s] -= scatter[j, i] * scatter[j, s]
    for i in range(rank):  # V H = B
        for s in range(i):
            half[i, s] = squares[i, s]
        half[i, i] = roots[i]
        for k in range(i):
            for s in range(k + 1):
                half[i, s] -= scatter[i, k] * half[k, s]
        inverse = 1.0 / scatter[i, i]
        for s in range(i + 1):
            half[i, s] *= inverse
    for i in range(rank):
        for j in range(i + 1):
            inside = 0.0
            for k in range(j + 1):
                inside += half[i, k] * half[j, k]
            precision[i, j] = precision[j, i] = inside
    scale = 1.0 / np.sqrt(count + _STRENGTH)
    for i in range(rank):
        mean[i] *= count / (count + _STRENGTH)
        scatter[0, i] = spread[i]  # V is no longer needed
    for i in range(rank - 1, -1, -1):  # H' x = spread
        step = scatter[0, i] / half[i, i]
        mean[i] += scale * step
        for s in range(i):
            scatter[0, s] -= half[i, s] * step
    for i in range(rank):
        pull[i] = 0.0
        for j in range(rank):
            pull[i] += precision[i, j] * mean[j]
    return True


def _types_of_prior(number):
    m, v = matrix(number), vector(number)
    return m, m, v, v, m, m, v, v, m


draw_prior = Apart(_draw_prior, _types_of_prior, types.boolean, like=0, from_python=True)
_prior, _rows = draw_prior.call, draw_rows.call


def _draw_sweeps(calls, room, addresses, wide, few, modes, stack, tau, size, squares, roots, spreads, normals, gammas):
    """Draw all modes' rows, and the noise, as many times as there are `gammas`; False where numbers overflow.

    `addresses` of what draws rows and priors; `wide`, see `_room_for`, in double precision, and `few` in that of `stack`, to work in;
    `tau`, of length 1, one over the noise's variance.
    """
    rank, (rows, scatter, half, mean, pulled, precision, losses), (prior, pull) = stack.shape[1], wide, few
    for sweep in range(len(gammas)):
        for m in range(len(modes)):
            base, starts, keys, places, values, weights = modes[m]
            count = len(starts) - 1
            mine = rows[:count]
            for i in range(count):
                for r in range(rank):
                    mine[i, r] = stack[base + i, r]
            if not _prior(
                addresses[1], mine, squares[sweep, m], roots[sweep, m], spreads[sweep, m], scatter, half, mean, pulled, precision
            ):
                return False
            for r in range(rank):
                pull[r] = pulled[r]
                for s in range(rank):
                    prior[r, s] = precision[r, s]
            drawn, measured = normals[sweep, base : base + count], losses if m == len(modes) - 1 else losses[:0]
            entries = keys, places, stack, values, weights
            _rows(addresses[0], calls, room, 0, count, starts, base, *entries, prior, pull, tau[0], drawn, measured)
        square = 0.0
        for row in range(len(losses)):
            square += losses[row]
        tau[0] = gammas[sweep] / (0.5 * square + 0.5 * size * _LEAST)
    return True


draw_sweeps = jit(_draw_sweeps, fastmath=False)  # the squares are summed in their order, as `_Chain._by_threads` sums them
