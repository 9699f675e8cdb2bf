"""Components that run away or cancel, and slices hardly seen: found, and said in words."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from planted import planted
from rankless import dynamics as dyn
from rankless.completion import Completion, complete
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.trust.diagnostics import components, congruences, in_words, seen_energy, slices, spread

FAST: dict[str, Any] = {
    "depth": 0.0,
    "penalty": 0.3,
    "effects": False,
    "noise": None,
    "experts": ["components", "draws"],
    "random_state": 0,
}
BLOCK = np.s_[4, 2:5, 1:4]  # a sub-block of a slice in which nothing is seen


def holed() -> np.ndarray:
    seen = planted((10, 9, 8), rank=2, share=0.5)[1]
    seen[BLOCK] = np.nan
    return seen


def with_component(done: Completion, vectors: list[np.ndarray]) -> Completion:
    """`done` with a component more in its first fit."""
    done = copy.deepcopy(done)
    est = done.estimator
    est.best_fit_ = CPTensor([np.column_stack([f, v]) for f, v in zip(est.best_fit_.factors, vectors, strict=True)])
    return done


@pytest.fixture(scope="module")
def done() -> Completion:
    obs = Observations.from_array(holed(), modes=["station", "day", "hour"], labels=[list("abcdefghij"), None, None])
    return complete(obs, **FAST)


def test_seen_energy_is_the_share_of_squares_on_seen_cells():
    rng = np.random.default_rng(0)
    model = CPTensor([rng.normal(size=(d, 3)) for d in (5, 4, 6)])
    seen = rng.random((5, 4, 6)) < 0.3
    alone = [np.einsum("i,j,k->ijk", *(f[:, r] for f in model.factors)) for r in range(3)]
    expected = [(c[seen] ** 2).sum() / (c**2).sum() for c in alone]
    obs = Observations.from_array(np.where(seen, 1.0, np.nan))
    np.testing.assert_allclose(seen_energy(model, obs), expected)
    problem, flow = dyn.Problem(obs), dyn.CP.from_cp_tensor(model, depth=1.0)
    np.testing.assert_allclose(dyn.probes.observed_energy(problem, flow), expected, rtol=1e-5)
    tiny, huge = (CPTensor([f * size for f in model.factors]) for size in (1e-100, 1e100))
    np.testing.assert_allclose([seen_energy(tiny, obs), seen_energy(huge, obs)], [expected, expected])


def test_congruence_is_the_cosine_of_components_as_tensors():
    rng = np.random.default_rng(1)
    model = CPTensor([rng.normal(size=(d, 4)) for d in (5, 4, 6)])
    flat = np.stack([np.einsum("i,j,k->ijk", *(f[:, r] for f in model.factors)).ravel() for r in range(4)])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(congruences(model), flat @ flat.T, atol=1e-12)


def test_components_of_a_good_fit_are_trusted(done):
    found = done.components()
    assert len(found) == done.rank == 2
    assert ((found.ratio > 0.7) & (found.ratio < 1.5)).all()
    assert not found.runaway.any()
    assert (found.cancels == -1).all()
    cells = np.indices(done.observations.shape).reshape(3, -1).T
    shares = done.fits[0].contributions(cells)
    np.testing.assert_allclose(found["size"], np.sqrt((shares**2).mean(axis=0)))
    np.testing.assert_allclose(found.peak, np.abs(shares).max(axis=0))
    assert "run away" not in done.summary()
    assert "cancel" not in done.summary()


def test_a_runaway_is_named_with_the_place_where_it_lives(done):
    vectors = [np.zeros(d) for d in (10, 9, 8)]
    for vector, where in zip(vectors, BLOCK, strict=True):
        vector[where] = 7.0
    away = with_component(done, vectors)
    found = away.components()
    assert found.runaway.tolist() == [False, False, True]
    assert found.seen.iloc[2] == 0.0
    assert "component 2 has run away in station e: 0 of its energy lies on observed cells" in away.summary()
    assert "don't trust what it fills (up to 343)" in away.summary()
    small = with_component(done, [1e-3 * vector for vector in vectors])
    assert not small.components().runaway.any(), "what is smaller than the data does no harm"


def test_components_that_cancel_are_named(done):
    rng = np.random.default_rng(0)
    vectors = [5 * rng.normal(size=d) for d in (10, 9, 8)]
    opposite = [-vectors[0], *(v * 1.01 for v in vectors[1:])]
    both = with_component(with_component(done, vectors), opposite)
    assert both.components().cancels.tolist() == [-1, -1, 3, 2]
    assert "components 2 and 3 nearly cancel (congruence -1.000" in both.summary()
    halves = with_component(with_component(done, vectors), [0.4 * opposite[0], *opposite[1:]])
    assert (halves.components().cancels == -1).all(), "what is left is more than half of the larger one"


def test_slices_hardly_seen_are_extrapolated_by_name():
    seen = holed()
    seen[3] = seen[:, :, 6] = np.nan
    seen[3, 0, 0], seen[3, 5, 2] = 1.0, -1.0
    obs = Observations.from_array(seen, modes=["station", "day", "hour"], labels=[list("abcdefghij"), None, None])
    table = slices(obs)
    assert len(table) == 27
    few = table.loc[table.extrapolated, ["mode", "slice", "observed"]]
    assert few.to_dict("split")["data"] == [["station", "d", 2], ["hour", 6, 0]]
    np.testing.assert_allclose(table[table["mode"] == "day"].share, (~np.isnan(seen)).mean(axis=(0, 2)))
    with pytest.warns(UserWarning, match="hour has no observed entry and is filled from main effects"):
        done = complete(obs, **FAST)
    assert done.slices().equals(table)
    assert "1 slice of station has fewer than 3 observed entries; filling it is extrapolation: d" in done.summary()
    assert "1 slice of hour has no observed entry and is filled from main effects: 6 (extrapolation)" in done.summary()


def test_a_model_without_components_has_none_to_speak_of():
    obs = Observations.from_array(np.eye(4))
    nothing = CPTensor([np.zeros((4, 0))] * 2)
    assert components([nothing], obs).empty
    zero = components([CPTensor([np.zeros((4, 2))] * 2)], obs)
    assert not zero.runaway.any()
    assert (zero.cancels == -1).all()
    assert in_words([nothing], obs) == []
    assert math.isclose(spread(np.array([1e-200, 3e-200])), 1e-200)
