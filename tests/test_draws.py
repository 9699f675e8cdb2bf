"""Draws: how long and of how many components the posterior is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rankless.als.gibbs import means_of_chains
from rankless.answer.tree import Tools
from rankless.completer import TensorCompleter
from rankless.engine.found import leaf_of
from rankless.experts import draws
from rankless.experts.draws import DRAWN_MOST
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations


def ratings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Taste of six kinds under noise twice as large; all of the taste, and a fifth of the noisy cells."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(600, 6)) @ rng.normal(size=(6, 400)) / np.sqrt(6)
    return taste, np.where(rng.random(taste.shape) < 0.2, taste + 2.0 * rng.normal(size=taste.shape), np.nan)


DRAWN: dict[str, Any] = {"experts": ["components", "draws"], "random_state": 0}


@pytest.fixture(scope="module")
def rated() -> tuple[np.ndarray, np.ndarray, TensorCompleter]:
    """The taste, what is seen of it, and what was made of that."""
    taste, seen = ratings(0)
    return taste, seen, TensorCompleter(**DRAWN, effort="fast").fit(seen)


def test_of_a_matrix_few_components_are_drawn_too_and_err_less(monkeypatch):
    taste, seen = ratings(0)
    found = TensorCompleter(**DRAWN).fit(seen)
    everywhere = np.argwhere(np.ones(taste.shape, bool))

    def error(est: TensorCompleter) -> float:
        return float(np.sqrt(np.mean((est.predict(everywhere) - taste.ravel()) ** 2)))

    path = found.path_[found.path_.start == "draw"]
    (many, few), (worse, better) = path["rank"].tolist()[:2], path["score"].tolist()[:2]
    assert many == DRAWN_MOST[0] and few < 10
    assert better < worse
    assert found.drawn_ is not None
    monkeypatch.setattr(draws, "FEW", 0.0)
    many = TensorCompleter(**DRAWN).fit(seen)
    assert set(many.path_[many.path_.start == "draw"]["rank"]) == {DRAWN_MOST[0]}
    assert error(found) < error(many)


def test_draws_that_cannot_pay_are_left_after_two_chains(monkeypatch):
    rng = np.random.default_rng(0)
    array = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in (12, 11, 10)))
    seen = np.where(rng.random(array.shape) < 0.5, array + 0.05 * rng.normal(size=array.shape), np.nan)
    made = []

    def count(entries, chains, workers, **how):
        made.append(len(chains))
        return means_of_chains(entries, chains, workers, **how)

    monkeypatch.setattr(draws, "means_of_chains", count)
    found = TensorCompleter(**DRAWN).fit(seen)
    assert found.drawn_ is None and max(made) <= draws.PILOT


def test_chains_go_on_from_where_they_stand_and_start_anew_where_they_must_not_remember(rated, monkeypatch):
    _, seen, found = rated
    answer = found._answer
    assert answer is not None
    leaf = leaf_of(answer.found.tree, draws.Draws)
    assert isinstance(leaf, draws.Draws)
    starts = []

    def note(entries, chains, workers, **how):
        starts.append([state.stack.copy() for state, _ in chains])
        return means_of_chains(entries, chains, workers, **how)

    monkeypatch.setattr(draws, "means_of_chains", note)
    obs = Observations.from_array(seen)
    with Workers(1) as workers:
        for afresh in (False, True):
            leaf.again(obs, Tools(workers, iter(np.random.default_rng(0).spawn(32)), afresh=afresh))
    went_on, anew = starts
    assert len(went_on) == len(anew) == len(leaf.chains)
    for state, before, new in zip(leaf.chains, went_on, anew, strict=True):
        assert np.array_equal(state.stack, before) and not np.array_equal(state.stack, new)
