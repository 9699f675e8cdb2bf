"""Weight decay ties the engines: what alternating least squares finds, the flow leaves where it is."""

from __future__ import annotations

import numpy as np
import pytest

from rankless import als
from rankless import dynamics as dyn
from rankless.depth import component_penalty

from .conftest import compiled, planted

SHAPE = (8, 7, 6)


def speed(problem, here) -> float:
    return float(np.sqrt(sum(np.sum(np.asarray(v) ** 2) for v in compiled(dyn.Problem.velocity)(problem, here).factors)))


@pytest.mark.parametrize("depth", [0.0, 1.0, 2.5])
def test_the_flow_rests_at_the_solution_of_als(depth):
    obs = planted(SHAPE)
    fit = als.solve(obs, depth=depth, penalty=0.5, max_rank=8, random_state=0, tol=1e-15, max_sweeps=5000)
    here = dyn.CP.from_cp_tensor(fit.model.balanced(), depth=depth)
    decayed, bare = dyn.Problem(obs, decay=0.5), dyn.Problem(obs)
    assert fit.rank > 0
    assert speed(decayed, here) < 1e-6 * speed(bare, here)
    np.testing.assert_allclose(decayed.objective(here), fit.objective[-1], rtol=1e-9)


def test_the_penalty_of_balanced_modes_is_that_of_components():
    start = dyn.CP.balanced(SHAPE, components=3, depth=1.5, scale=0.4, key=0)
    np.testing.assert_allclose(start.penalty(), np.sum(component_penalty(np.asarray(start.spectrum()), 1.5, 3)), rtol=1e-12)


def test_the_flow_with_decay_ends_at_the_same_objective():
    obs = planted(SHAPE)
    fit = als.solve(obs, depth=1.0, penalty=0.5, max_rank=8, random_state=0)
    start = dyn.CP.balanced(SHAPE, components=8, depth=1.0, scale=1.0, key=0)
    problem = dyn.Problem(obs, decay=0.5)
    run = dyn.solve(problem, start, dyn.GradientFlow(stop_progress=1e-3), ts=[1e3])
    np.testing.assert_allclose(problem.objective(run.final), fit.objective[-1], rtol=1e-3)
