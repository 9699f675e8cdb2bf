"""Every factorization x storage x flow: the axes are free of each other.

Storage reaches a flow through the gradient alone, which is compared for every factorization; so each factorization
is moved by each flow in one storage, and not by every flow in both.
"""

from __future__ import annotations

import numpy as np
import pytest

from rankless import dynamics as dyn

from .conftest import compiled, moved, relative

END = 0.5


def decay(start, amount: float) -> float:
    """Weight decay for a case: none where the factorization refuses it."""
    return 0.0 if isinstance(start, dyn.AlignedCP) else amount


@pytest.fixture(scope="module")
def exact(case):
    """Where the trajectory of the case is at the end, to ten digits."""
    obs, start = case
    return moved(dyn.Problem(obs), start, END)


@pytest.mark.parametrize(
    "flow, storage",
    [
        pytest.param(dyn.GradientFlow(), "coordinates", id="explicit"),
        # compiles for seconds; of these steps all starts but those below need dozens
        pytest.param(dyn.GradientFlow(method="kvaerno5", max_steps=2000), "dense", id="implicit", marks=pytest.mark.slow),
        pytest.param(dyn.GradientDescent(1e-3), "dense", id="descent"),
    ],
)
def test_every_combination_descends_to_the_exact_trajectory(case, exact, flow, storage):
    obs, start = case
    problem = dyn.Problem(obs, storage=storage)
    run = dyn.solve(problem, start, flow, ts=[END / 2, END], probes={"loss": dyn.probes.loss})
    assert run.status == "reached the last time"
    assert run.probes["loss"][1] < run.probes["loss"][0] < float(problem.data_loss(start))
    assert relative(run.final, exact) < (2e-2 if isinstance(flow, dyn.GradientDescent) else 1e-4)


def test_coordinates_are_the_dense_mask(case):
    obs, start = case
    dense, listed = (dyn.Problem(obs, storage=storage, decay=decay(start, 0.1)) for storage in ("dense", "coordinates"))
    objective, gradient = compiled(dyn.Problem.objective), compiled(dyn.Problem.gradient)
    assert relative(objective(dense, start), objective(listed, start)) < 1e-13
    assert relative(gradient(dense, start), gradient(listed, start)) < 1e-12


def test_small_steps_approach_the_flow_at_first_order(case, exact):
    obs, start = case
    problem = dyn.Problem(obs)
    gaps = [relative(dyn.solve(problem, start, dyn.GradientDescent(h), ts=[END]).final, exact) for h in (4e-3, 2e-3, 1e-3)]
    orders = np.log2([gaps[0] / gaps[1], gaps[1] / gaps[2]])
    np.testing.assert_allclose(orders, 1.0, atol=0.1)


def test_velocity_leads_downhill(case):
    obs, start = case
    problem = dyn.Problem(obs, decay=decay(start, 0.05))
    objective = compiled(dyn.Problem.objective)
    fall = compiled(dyn.laws.growth)(problem, start, problem.objective)
    assert fall < 0
    step = 1e-6
    ahead = dyn.solve(problem, start, dyn.GradientDescent(step), ts=[step]).final
    measured = (float(objective(problem, ahead)) - float(objective(problem, start))) / step
    np.testing.assert_allclose(measured, fall, rtol=1e-3)


def test_values_at_indices_are_those_of_the_full_tensor(case):
    obs, start = case
    np.testing.assert_allclose(start.at(obs.indices), start.full()[tuple(obs.coords)], rtol=1e-12)


def test_the_start_has_its_scale(case):
    _, start = case
    np.testing.assert_allclose(np.max(start.spectrum()), 0.3, rtol=1e-12)
