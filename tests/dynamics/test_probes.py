"""Probes against what they are by definition."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.depth import switch_on_time
from rankless.dynamics import probes
from rankless.tensors.observations import Observations

from .conftest import CUBE, compiled, planted, relative

PROBLEM = dyn.Problem(planted(CUBE))
START = dyn.CP.gaussian(CUBE, components=4, scale=0.5, key=0)


def test_ranks_count_equal_components_exactly():
    equal = dyn.CP.identity((4, 4), scale=0.3)
    assert relative([probes.effective_rank(PROBLEM, equal), probes.stable_rank(PROBLEM, equal)], [4.0, 4.0]) < 1e-12


def test_ranks_are_between_one_and_the_number_of_components():
    for probe in (probes.effective_rank, probes.stable_rank):
        assert 1 <= probe(PROBLEM, START) <= 4


def test_singular_values_are_those_of_the_unfolding():
    expected = np.linalg.svd(np.asarray(START.full()).reshape(CUBE[0], -1), compute_uv=False)
    np.testing.assert_allclose(probes.singular_values(PROBLEM, START), expected, rtol=1e-12)


def test_component_norms_are_frobenius_norms_of_the_components():
    model = START.to_cp_tensor()
    np.testing.assert_allclose(probes.component_norms(PROBLEM, START), model.component_norms(), rtol=1e-12)


def test_observed_energy_is_one_where_all_is_seen_and_zero_where_nothing_is():
    seen = np.full((4, 4), np.nan)
    seen[:2] = 1.0
    problem = dyn.Problem(Observations.from_array(seen))
    split = dyn.CP([np.eye(4)[:, [0, 3]], np.ones((4, 2))])
    np.testing.assert_allclose(probes.observed_energy(problem, split), [1.0, 0.0], atol=1e-15)


def test_errors_on_held_out_entries_and_the_whole():
    truth = np.asarray(START.full()) + 1.0
    held = Observations.from_array(truth)
    np.testing.assert_allclose(probes.HeldOut(held)(PROBLEM, START), 1.0, rtol=1e-12)
    np.testing.assert_allclose(probes.TensorError(truth)(PROBLEM, START), np.sqrt(truth.size) / np.linalg.norm(truth), rtol=1e-12)


def test_any_plain_function_is_a_probe_and_a_tree_its_record():
    def corner(problem, factorization):
        full = factorization.full()
        return {"corner": full[0, 0, 0], "mean": jnp.mean(full)}

    run = dyn.solve(PROBLEM, START, dyn.GradientFlow(), ts=[0.0, 0.5, 1.0], probes={"look": corner})
    assert run.probes["look"]["corner"].shape == (3,)
    np.testing.assert_allclose(run.probes["look"]["mean"][-1], np.mean(run.final.full()), rtol=1e-6)


def test_imbalance_is_nothing_for_balanced_layers():
    balanced = dyn.DeepCP.balanced(CUBE, components=4, depth=2, scale=0.1, key=0)
    assert probes.imbalance(PROBLEM, balanced) < 1e-15 < probes.imbalance(PROBLEM, balanced.equalised()) + 1
    assert probes.imbalance(PROBLEM, dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.1, key=0)) > 1e-3


def test_float64_leaves_as_numpy_and_the_global_switch_stays():
    assert not jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    full = START.full()
    assert isinstance(full, np.ndarray) and full.dtype == np.float64
    assert not jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]


def test_ranks_of_matricizations_are_those_of_the_unfoldings():
    ranks = np.asarray(probes.matricization_ranks(PROBLEM, START))
    full = np.asarray(START.full())
    for n, rank in enumerate(ranks):
        s = np.linalg.svd(np.moveaxis(full, n, 0).reshape(full.shape[n], -1), compute_uv=False)
        p = s / s.sum()
        np.testing.assert_allclose(rank, np.exp(-np.sum(p * np.log(p))), rtol=1e-10)


def test_the_quasi_norm_is_the_penalty_of_balanced_components():
    start = dyn.CP.balanced(CUBE, components=4, depth=1.5, scale=0.4, key=0)
    factors = 3 * 2.5
    np.testing.assert_allclose(factors / 2 * probes.QuasiNorm(factors)(PROBLEM, start), start.penalty(), rtol=1e-12)


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian_and_bounds_the_rate():
    problem = dyn.Problem(planted(CUBE))
    start = dyn.DeepCP.balanced(CUBE, components=1, depth=1, scale=2.0, key=0)

    @compiled
    def hessian():
        flat, whole = jax.flatten_util.ravel_pytree(start)
        return jnp.linalg.eigvalsh(jax.hessian(lambda x: problem.objective(whole(x)))(flat))[-1]

    np.testing.assert_allclose(probes.Sharpness()(problem, start), hessian(), rtol=1e-8)
    rest = dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-8), ts=[200.0]).final
    top = float(probes.Sharpness()(problem, rest))
    pushed = jax.tree.map(lambda x: x * 1.001, rest)
    ends = [dyn.solve(problem, pushed, dyn.GradientDescent(c / top), ts=[c / top * 15]).final for c in (1.7, 2.3)]
    low, begun, high = (float(problem.data_loss(here)) for here in (ends[0], pushed, ends[1]))
    assert low < begun < high


def test_cp_rank_and_core_consistency_tell_too_many_components():
    rng = np.random.default_rng(3)
    factors = [rng.normal(size=(d, 2)) for d in (5, 4, 6)]
    tensor = np.einsum("ir,jr,kr->ijk", *factors)
    noisy = tensor + 0.05 * rng.normal(size=tensor.shape)
    assert probes.cp_rank(tensor) == 2 and probes.cp_rank(rng.normal(size=(3, 3, 3)), highest=2) == 3
    np.testing.assert_allclose(probes.core_consistency(factors, tensor), 100, rtol=1e-9)
    assert probes.core_consistency(factors, noisy) > 90
    more = [np.c_[f, f[:, 0] + 0.3 * rng.normal(size=len(f))] for f in factors]
    assert probes.core_consistency(more, noisy) < 80, "two components share what is one"


@pytest.mark.parametrize("factors", [3.0, 4.0, 7.5])
def test_the_time_left_runs_out_at_the_speed_of_the_law(factors):
    """T(s) is the time left under ``s' = M g s^(2 - 2/M)``: along the solution it falls by as much as the clock goes on."""
    norm, pull, step = 1e-2, 0.7, 1e-6
    speed = factors * pull * norm ** (2 - 2 / factors)
    ahead, behind = (switch_on_time(norm + side * step * norm, pull, factors) for side in (1, -1))
    np.testing.assert_allclose((ahead - behind) / (2 * step * norm) * speed, -1.0, rtol=1e-6)
    assert switch_on_time(1e9, pull, factors) < 1e-2 * switch_on_time(norm, pull, factors)
