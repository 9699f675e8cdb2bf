"""Tucker and train by reweighted least squares: the objective never rises, the ranks are found, and the flow with decay rests there."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.als.networks import solve_train, solve_tucker
from rankless.tensors.observations import Observations

SHAPE, MULTIRANK = (12, 11, 10), (2, 3, 2)
SOLVERS = {"tucker": solve_tucker, "train": solve_train}


def planted(shape=SHAPE, ranks=MULTIRANK, share=0.35, noise=0.1, seed=0) -> tuple[np.ndarray, Observations]:
    """A tensor of known multilinear rank and unit root mean square, and what is seen of it with noise."""
    rng = np.random.default_rng(seed)
    truth = np.einsum("abc,ia,jb,kc->ijk", rng.normal(size=ranks), *(rng.normal(size=(d, r)) for d, r in zip(shape, ranks, strict=True)))
    truth /= np.sqrt(np.mean(truth**2))
    noisy = truth + noise * rng.normal(size=shape)
    return truth, Observations.from_array(np.where(rng.random(shape) < share, noisy, np.nan))


def whole(fit, shape) -> np.ndarray:
    return fit.at(np.indices(shape).reshape(len(shape), -1).T).reshape(shape)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("layers", [1.0, 2.5, 4.0])
def test_the_objective_never_rises(solver, layers):
    _, obs = planted((7, 6, 5), share=0.6)
    fit = SOLVERS[solver](obs, layers=layers, penalty=0.3, max_sweeps=40, tol=1e-12)
    assert np.all(np.diff(fit.objective) <= 1e-12 * fit.objective[0])
    assert fit.objective[-1] < fit.objective[0]


def test_layers_find_the_multilinear_rank_and_lower_the_error():
    """The case of which it is known: one layer keeps about (5, 4, 5) columns at an error of .057, four find (2, 3, 2) at .039."""
    truth, obs = planted()
    shallow, deep = (solve_tucker(obs, layers=count, penalty=0.3, ranks=(6, 6, 6), tol=1e-5) for count in (1.0, 4.0))
    errors = [np.linalg.norm(whole(fit, SHAPE) - truth) / np.linalg.norm(truth) for fit in (shallow, deep)]
    assert deep.ranks == MULTIRANK and sum(shallow.ranks) >= 12
    assert errors[0] == pytest.approx(0.057, abs=0.005) and errors[1] == pytest.approx(0.039, abs=0.003)


def test_a_train_finds_the_ranks_of_its_matricizations():
    """Of a tensor of multilinear rank (2, 3, 2) those are 2 and 2."""
    truth, obs = planted(share=0.6, noise=0.02)
    fit = solve_train(obs, layers=4.0, penalty=0.1, ranks=(6, 6), tol=1e-5)
    assert fit.ranks == (2, 2)
    assert np.linalg.norm(whole(fit, SHAPE) - truth) < 0.03 * np.linalg.norm(truth)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_objective_is_that_of_the_flow_and_the_flow_rests_there(solver):
    """An independent code for both: the science engine's collapsed networks under weight decay."""
    import jax

    from rankless import dynamics as dyn

    _, obs = planted((6, 5, 4), (2, 2, 2), share=0.8)
    fit = SOLVERS[solver](obs, layers=2.0, penalty=0.3, tol=1e-13, max_sweeps=2000)
    here = (dyn.Tucker if solver == "tucker" else dyn.Train)(*fit.arrays, layers=2.0)  # pyright: ignore[reportArgumentType]
    decayed, bare = dyn.Problem(obs, decay=0.3), dyn.Problem(obs)
    np.testing.assert_allclose(decayed.objective(here), fit.objective[-1], rtol=1e-10)
    speeds = [np.sqrt(sum(np.sum(np.asarray(v) ** 2) for v in jax.tree.leaves(p.velocity(here)))) for p in (decayed, bare)]
    assert speeds[0] < 1e-4 * speeds[1]


def test_weights_count_as_repeated_entries():
    _, obs = planted((6, 5, 4), share=0.7)
    twice = Observations.from_indices(obs.indices, obs.values, shape=obs.shape, weights=np.full(obs.size, 2.0))
    one, other = solve_tucker(obs, penalty=0.2, max_sweeps=30), solve_tucker(twice, penalty=0.4, max_sweeps=30)
    np.testing.assert_allclose(whole(one, obs.shape), whole(other, obs.shape), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ranks": (2, 2)}, "ranks=.* do not fit shape"),
        ({"ranks": (2, 0, 2)}, "whole numbers >= 1"),
        ({"penalty": 0.0}, "penalty=0.0 is not a finite number > 0"),
        ({"layers": 0.5}, "layers=0.5 is not a number >= 1"),
    ],
)
def test_settings_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        solve_tucker(planted((4, 4, 4))[1], **options)


def test_as_an_expert_it_offers_what_fills_held_out_entries_and_names_its_ranks():
    from rankless import engine
    from rankless.experts.multilinear import MultilinearExpert
    from rankless.holdout.split import held_out
    from rankless.runtime.workers import Workers
    from rankless.search.walk import Limits, Search
    from rankless.tensors.axes import Axes
    from rankless.units.effects import MainEffects

    truth, obs = planted((7, 6, 5), (2, 2, 2), share=0.6, noise=0.01)
    train, held = held_out(obs, 0.2, np.random.default_rng(0))
    bare = MainEffects.fit(train)
    with Workers(1) as workers:
        search = Search(train, held, Limits(), iter(np.random.default_rng(0).spawn(1)), workers)
        side = engine.Side(search, train, held, bare, held.values - bare.at(held.indices))
        answer, _, _ = engine.beside(bare, side, None, None, Axes.of(obs), experts=[MultilinearExpert()])
    hidden = np.argwhere(obs.to_array() != obs.to_array())
    errors = [np.linalg.norm(each.at(hidden) - truth[tuple(hidden.T)]) for each in (answer, bare)]
    assert errors[0] < 0.3 * errors[1]
    assert "a tucker of ranks" in answer.words(obs.modes) or "a train of ranks" in answer.words(obs.modes)
