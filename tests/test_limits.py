"""Numerical limits with little to search for; `python -m torture limits` searches for everything, over several seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torture.limits import LIMITS, ROUNDING, border, examine, falls, usual

from rankless import als, complete
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.trust.diagnostics import of_values, wild

QUICK: dict[str, Any] = {"depth": 0.0, "penalty": 0.3, "experts": ["components"], "noise": None, "value_transform": None}


@pytest.mark.parametrize("name", LIMITS)
def test_every_promise_is_kept(name):
    limit = LIMITS[name]
    kept = examine(limit, 0, **{**QUICK, **limit.options})
    assert kept
    assert [promise for promise, good in kept.items() if not good] == []


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_the_engine_takes_sizes_whose_squares_are_numbers(size):
    assert falls(usual(0) * size, 0.0, 1e-3)
    obs = Observations.from_array(usual(0) * size)
    fit = als.solve(obs, depth=0.0, penalty=1e-3 * size ** (4 / 3), max_rank=4, random_state=0)
    assert (np.diff(fit.objective) <= ROUNDING * fit.objective[0]).all()
    assert np.sqrt(np.mean((fit.model.at(obs.indices) / size - obs.values / size) ** 2)) < 0.15


def test_the_engine_says_where_squares_overflow():
    with pytest.raises(FloatingPointError, match="the squares of the values overflow; scale the values to about 1"):
        als.solve(Observations.from_array(usual(0) * 1e160), penalty=1e-3)


def test_two_components_of_border_rank_three_grow_as_the_penalty_falls_and_the_objective_never_rises():
    """No best approximation of rank 2 exists; the penalty makes one, the larger the smaller it is."""
    array = border(0, 1.0)
    obs, norms, errors = Observations.from_array(array), [], []
    for penalty in (1e-3, 1e-5, 1e-7):
        fit = als.solve(obs, depth=0.0, penalty=penalty, max_rank=2, tol=1e-9, max_sweeps=1500, random_state=0)
        assert (np.diff(fit.objective) <= ROUNDING * np.array(fit.objective[:-1])).all()
        norms.append(fit.model.component_norms().min() / np.linalg.norm(array))
        errors.append(np.linalg.norm(fit.model.full() - array) / np.linalg.norm(array))
    assert norms[0] > 1.5
    assert norms[1] > 1.5 * norms[0]
    assert norms[2] > 1.5 * norms[1]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_exact_twins_have_the_same_rows():
    array = LIMITS["twin slices"].make(0)
    obs, _ = Observations.from_array(array).scaled()
    model: CPTensor = als.solve(obs, depth=1.0, penalty=0.3, random_state=0).model
    np.testing.assert_allclose(model.factors[0][5], model.factors[0][2], rtol=1e-9)


def test_a_wild_value_is_told_from_values_of_many_sizes():
    assert wild(Observations.from_array(usual(0))) is None
    assert wild(Observations.from_array(LIMITS["slices 12 decades apart"].make(0))) is None
    heavy = np.exp(2 * np.random.default_rng(0).normal(size=(50, 40)))  # amounts: the largest is a thousand times the middle
    assert wild(Observations.from_array(heavy)) is None
    heavy[3, 4] = -1e12
    assert "value -1e+12 at (3, 4) is" in (wild(Observations.from_array(heavy)) or "")
    heavy[7, 7] = 1e11
    assert "(and 1 more)" in (wild(Observations.from_array(heavy)) or "")
    assert wild(Observations.from_array(np.eye(4))) is None, "most values equal: the others are the usual ones"
    assert wild(Observations.from_array(np.ones((3, 3)))) is None
    largest = np.finfo(float).max
    assert wild(Observations.from_array(np.array([[largest, -largest], [largest / 3, -largest / 2]]))) is None


def test_an_offset_that_leaves_few_digits_is_said():
    assert of_values(Observations.from_array(usual(0) + 1e6)) == []
    assert "differ by 1e-10 of their size" in of_values(Observations.from_array(usual(0) + 1e10))[0]


def test_an_offset_does_not_hide_the_components():
    """Without main effects a fit sees rounding only; what it says of the noise must not rule out every penalty that finds something."""
    array = usual(0)
    plain, offset = (complete(array + level, random_state=0, experts=["components"]) for level in (0.0, 1e8))
    assert offset.estimator.effects_
    assert offset.rank >= plain.rank == 2
    assert offset.estimator.holdout_rmse_ < 1.2 * plain.estimator.holdout_rmse_
