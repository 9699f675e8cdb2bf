"""A study in one call equals its runs one by one, is resumed from its file, and refuses another's; runs go to a file and back."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rankless import dynamics as dyn

from .conftest import CUBE, planted, relative

FLOW = dyn.GradientFlow(rtol=1e-5, stop_loss=1e-2)
UNTIL = 1e3
TRUTH = np.ones(CUBE)


def start(depth, seed):
    return dyn.CP.balanced(CUBE, components=4, depth=depth, scale=0.3, key=seed)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.csv"
    problem, said = dyn.Problem(planted(CUBE)), []
    measures = {"error": dyn.probes.TensorError(TRUTH)}
    table = dyn.sweep(problem, start, FLOW, until=UNTIL, measures=measures, path=path, callback=said.append, depth=[0, 1.5], seed=range(3))
    return problem, measures, path, table, said


def test_a_sweep_is_its_runs_one_by_one(study):
    problem, measures, _, table, said = study
    assert table[["depth", "seed"]].values.tolist() == [[k, s] for k in (0, 1.5) for s in range(3)]
    assert [now.stage for now in said if now.stage] and {now.stage for now in said} >= {"depth = 0", "depth = 1.5"}
    row = table.iloc[4]
    probes = {"loss": dyn.probes.loss, "rank": dyn.probes.effective_rank, **measures}
    run = dyn.solve(problem, start(1.5, 1), FLOW, ts=[UNTIL], probes=probes)
    assert row["status"] == run.status == "reached stop_loss"
    for name, other in (("loss", "loss"), ("effective_rank", "rank"), ("error", "error")):
        np.testing.assert_allclose(row[name], run.probes[other][-1], rtol=1e-6)
    np.testing.assert_allclose([row["t"], row["train_rmse"]], [run.ts[-1], np.sqrt(2 * row["loss"] / problem.size)], rtol=1e-6)


def test_a_sweep_goes_on_where_its_file_ends_and_refuses_another_study(study):
    problem, measures, path, table, _ = study
    calls = []

    def counted(depth, seed):
        calls.append((depth, seed))
        return start(depth, seed)

    again = dyn.sweep(problem, counted, FLOW, until=UNTIL, measures=measures, path=path, depth=[0, 1.5], seed=range(3))
    assert not calls
    np.testing.assert_allclose(again["error"], table["error"], rtol=1e-12)
    with pytest.raises(ValueError, match="of another study"):
        dyn.sweep(dyn.Problem(planted(CUBE, seed=1)), start, FLOW, until=UNTIL, measures=measures, path=path, depth=[0], seed=[0])
    with pytest.raises(ValueError, match="no settings"):
        dyn.sweep(problem, start, FLOW, until=UNTIL)


def test_the_end_of_a_flow_goes_through_grad_and_vmap_and_solve_says_why_not():
    problem, flow = dyn.Problem(planted(CUBE)), dyn.GradientFlow(rtol=1e-8)

    def loss_at_end(scale):
        here = jax.tree.map(lambda x: x * scale, dyn.CP(start(0, 0).factors))
        return problem.data_loss(flow.end(problem, here, 0.3))  # pyright: ignore[reportArgumentType]

    slope = dyn.double(jax.grad(loss_at_end))(1.0)
    ahead, behind = (dyn.double(loss_at_end)(1.0 + h) for h in (1e-4, -1e-4))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-4, rtol=1e-4)
    many = dyn.double(jax.vmap(loss_at_end))(np.array([1.0, 1.0 + 1e-4]))
    np.testing.assert_allclose(many[1], ahead, rtol=1e-6)
    with pytest.raises(ValueError, match=r"call flow.end\(problem, start, t\)"):
        jax.vmap(lambda s: dyn.solve(problem, jax.tree.map(lambda x: x * s, start(0, 0)), flow, ts=[1.0]).ts)(np.ones(2))


def test_a_run_is_saved_and_read_without_pickle(tmp_path):
    problem = dyn.Problem(planted(CUBE))
    for begun in (start(1.5, 0), dyn.DeepTucker.balanced(CUBE, ranks=(2, 3, 2), layers=2, scale=0.3, key=0)):
        looks = {"s": dyn.probes.component_norms, "pair": lambda p, f: (p.data_loss(f), {"n": f.penalty()})}
        run = dyn.solve(problem, begun, dyn.GradientDescent(1e-2), ts=[0.1, 0.2], probes=looks)
        run.save(tmp_path / "run.npz")
        again = dyn.Run.load(tmp_path / "run.npz")
        assert (again.status, again.steps, type(again.final)) == (run.status, run.steps, type(run.final))
        assert relative(again.final, run.final) == 0 and relative(again.probes["pair"], run.probes["pair"]) == 0
        assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(again.final))
        further = dyn.solve(problem, again.final, dyn.GradientDescent(1e-2), ts=[0.1])
        assert problem.data_loss(further.final) < problem.data_loss(run.final)
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="is not a run saved by"):
        dyn.Run.load(tmp_path / "other.npz")
