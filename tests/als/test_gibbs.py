"""Draws: rows follow their normal distribution, the mean finds what was planted, threads change nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.gibbs import _Chain, _prior_of, draws, means_of_chains
from rankless.als.kernels import draw_rows, with_room
from rankless.als.rows import read_by_kernels
from rankless.als.solver import State
from rankless.runtime.progress import Ended, Tracker
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations


def observed(seed: int, share: float = 0.3, noise: float = 0.1, weights: bool = False) -> tuple[Observations, np.ndarray]:
    rng = np.random.default_rng([seed, 7])
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 3)) for d in (12, 10, 8)))
    truth /= truth.std()
    indices = np.argwhere(rng.random(truth.shape) < share)
    values = truth[tuple(indices.T)] + noise * rng.normal(size=len(indices))
    each = rng.uniform(0.5, 2.0, len(indices)) if weights else None
    return Observations.from_indices(indices, values, shape=truth.shape, weights=each), truth


def start(entries: Entries, rank: int, seed: int = 0) -> State:
    return with_random(entries, empty(entries), rank, np.random.default_rng(seed))


@pytest.mark.parametrize("weights", [False, True])
def test_a_row_is_drawn_from_its_normal_distribution(weights):
    obs, _ = observed(0, weights=weights)
    entries, rank, tau = Entries(obs), 5, 3.0
    state, rng = start(entries, rank), np.random.default_rng(1)
    own = entries.modes[1]
    square = rng.normal(size=(rank, rank))
    prior, mean = square @ square.T + np.eye(rank), rng.normal(size=rank)
    normals, losses = rng.normal(size=(10, rank)), np.zeros(10)
    others = state.factor(0).copy(), state.factor(2).copy()
    where = 0, 10, own.starts, 12
    draw_rows(*with_room(state.stack), *where, *read_by_kernels(own, state.stack), prior, prior @ mean, tau, normals, losses)
    for row in range(10):
        mine = obs.coords[1] == row
        h = others[0][obs.coords[0][mine]] * others[1][obs.coords[2][mine]]
        w = np.ones(mine.sum()) if obs.weights is None else obs.weights[mine]
        precision = tau * (h * w[:, None]).T @ h + prior
        middle = np.linalg.solve(precision, tau * h.T @ (w * obs.values[mine]) + prior @ mean)
        spread = np.linalg.solve(np.linalg.cholesky(precision).T, normals[row])  # its covariance is the inverse precision
        np.testing.assert_allclose(state.factor(1)[row], middle + spread, rtol=1e-8)
        np.testing.assert_allclose(losses[row], np.sum(w * (obs.values[mine] - h @ state.factor(1)[row]) ** 2), rtol=1e-8)


def test_the_prior_of_a_mode_follows_its_rows():
    rng = np.random.default_rng(2)
    rows = rng.normal([1.0, -2.0], [0.5, 2.0], size=(4000, 2))
    found = [_prior_of(rows, rng) for _ in range(200)]
    np.testing.assert_allclose(np.mean([mean for mean, _ in found], axis=0), [1.0, -2.0], atol=0.1)
    np.testing.assert_allclose(np.mean([np.linalg.inv(precision) for _, precision in found], axis=0), np.cov(rows.T), atol=0.1)


def plain_sweep(obs: Observations, state: State, rng: np.random.Generator, tau: float) -> float:
    """A sweep of draws in NumPy, row by row, its random numbers in the order in which a chain takes them; returns the new tau."""
    weights = np.ones(obs.size) if obs.weights is None else obs.weights
    for mode in range(state.order):
        factor = state.factor(mode)
        count, rank = factor.shape
        mean = factor.mean(axis=0)
        scatter = np.eye(rank) + (factor - mean).T @ (factor - mean) + count * 2.0 / (count + 2.0) * np.outer(mean, mean)
        lower = np.tril(rng.standard_normal((rank, rank)), -1) + np.diag(np.sqrt(rng.chisquare(rank + count - np.arange(rank))))
        half = np.linalg.cholesky(np.linalg.inv(scatter)) @ lower
        middle = count * mean / (count + 2.0) + np.linalg.solve(half.T, rng.standard_normal(rank)) / np.sqrt(count + 2.0)
        normals = rng.standard_normal(factor.shape)
        for row in range(count):
            mine = obs.coords[mode] == row
            others = [state.factor(m)[obs.coords[m][mine]] for m in range(state.order) if m != mode]
            h, w = np.prod(others, axis=0), weights[mine]
            precision = tau * (h * w[:, None]).T @ h + half @ half.T
            best = np.linalg.solve(precision, tau * h.T @ (w * obs.values[mine]) + half @ half.T @ middle)
            factor[row] = best + np.linalg.solve(np.linalg.cholesky(precision).T, normals[row])
    fitted = np.prod([state.factor(m)[obs.coords[m]] for m in range(state.order)], axis=0).sum(axis=1)
    square = np.sum(weights * (obs.values - fitted) ** 2)
    return rng.gamma(0.5 * obs.size + 1) / (0.5 * square + 0.5 * obs.size * 1e-6)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("rank", [1, 5, 19])
def test_a_compiled_chain_makes_the_draws_of_a_plain_one(rank, weights):
    obs, _ = observed(6, weights=weights)
    state, tau, rng = start(Entries(obs), rank), 4.0, np.random.default_rng(1)
    drawn = state.copy()
    chain = _Chain(Entries(obs), drawn, np.random.default_rng(1), Workers(1), 0.25)
    chain.advance(4)
    for _ in range(4):
        tau = plain_sweep(obs, state, rng, tau)
    np.testing.assert_allclose(drawn.stack, state.stack, rtol=1e-7, atol=1e-9)
    assert chain.tau == pytest.approx(tau, rel=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_how_many_sweeps_are_made_in_one_call_changes_nothing(dtype):
    obs, _ = observed(7)
    entries, stacks = Entries(obs, dtype), []
    for parts in ([6], [1] * 6, [4, 2]):
        state, rng = start(entries, 6), np.random.default_rng(2)
        chain = _Chain(entries, state, rng, Workers(1), 0.1)
        for sweeps in parts:
            chain.advance(sweeps)
        stacks.append((state.stack.tobytes(), chain.tau, rng.random()))
    assert stacks[0] == stacks[1] == stacks[2]


def test_numbers_that_overflow_end_a_chain():
    obs, _ = observed(8)
    entries = Entries(obs)
    bad, good = start(entries, 4), start(entries, 4)
    bad.stack[0, 0] = np.inf
    chains = [(bad, np.random.default_rng(0)), (good, np.random.default_rng(1))]
    with Workers(1) as workers:
        first, second = means_of_chains(entries, chains, workers, noise=0.1, sweeps=10, kept=2)
    assert np.isnan(first.full()).all()
    assert np.isfinite(second.full()).all()


def test_the_mean_of_draws_finds_what_was_planted():
    obs, truth = observed(3)
    entries = Entries(obs)
    with Workers(1) as workers:
        (found,) = means_of_chains(entries, [(start(entries, 8), np.random.default_rng(0))], workers, noise=0.1, sweeps=150)
    assert found.rank % 8 == 0
    assert np.sqrt(np.mean((found.full() - truth) ** 2)) < 0.12


def test_the_noise_is_found():
    obs, _ = observed(4, share=0.8, noise=0.3)
    entries = Entries(obs)
    state = start(entries, 3)
    with Workers(1) as workers:
        chain = draws(entries, state, np.random.default_rng(0), workers, 1.0)
        for _ in range(60):
            next(chain)
    residual = obs.values - state.model().at(obs.indices)
    assert np.std(residual) == pytest.approx(0.3, rel=0.15)


def many_rows() -> Entries:
    rng = np.random.default_rng(5)
    indices = np.unique(rng.integers(0, 300, (60_000, 2)), axis=0)
    return Entries(Observations.from_indices(indices, rng.normal(size=len(indices)), shape=(300, 300)))


@pytest.mark.parametrize("count", [1, 3])
def test_threads_change_nothing(count):
    entries, found = many_rows(), []
    for n_jobs in (1, 2, 8):
        chains = [(start(entries, 20), np.random.default_rng(6 + at)) for at in range(count)]
        with Workers(n_jobs) as workers:
            means = means_of_chains(entries, chains, workers, noise=1.0, sweeps=4, kept=2)
        found.append([*(factor for mean in means for factor in mean.factors), *(state.stack for state, _ in chains)])
    assert len(found[0]) == 3 * count
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_chains_that_are_interrupted_end_at_once():
    """The first chain's callback wants no more: those beside it don't go on behind the back of whoever looks at their states."""
    entries = many_rows()
    chains = [(start(entries, 20), np.random.default_rng(at)) for at in range(4)]

    class Ending(Tracker):
        def beat(self, fraction=None):
            raise Ended

    with Workers(4, tracker=Ending()) as workers, pytest.raises(Ended):
        means_of_chains(entries, chains, workers, noise=1.0, sweeps=10**6)
    left = [state.stack.copy() for state, _ in chains]
    time.sleep(0.2)
    assert all(np.array_equal(stack, state.stack) for stack, (state, _) in zip(left, chains, strict=True))


def test_slices_without_entries_get_nothing_and_exact_data_no_overflow():
    array = np.outer(np.arange(1.0, 9.0), np.arange(2.0, 9.0))
    array[3] = np.nan
    entries = Entries(Observations.from_array(array))
    with Workers(1) as workers:
        (mean,) = means_of_chains(entries, [(start(entries, 30), np.random.default_rng(0))], workers, noise=0.0, sweeps=60)
    found = mean.full()
    np.testing.assert_array_equal(found[3], 0.0)
    np.testing.assert_allclose(np.delete(found, 3, 0), np.delete(array, 3, 0), rtol=0.02)
