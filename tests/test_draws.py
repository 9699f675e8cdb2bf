"""Draws: how long and of how many components the posterior is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.completer import TensorCompleter
from rankless.experts import draws
from rankless.experts.draws import DRAWN_MOST, DRAWS, _sweeps_of
from rankless.search.walk import CHAINS
from rankless.tensors.observations import Observations


def ratings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Taste of six kinds under noise twice as large; all of the taste, and a fifth of the noisy cells."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(600, 6)) @ rng.normal(size=(6, 400)) / np.sqrt(6)
    return taste, np.where(rng.random(taste.shape) < 0.2, taste + 2.0 * rng.normal(size=taste.shape), np.nan)


def test_of_a_matrix_few_components_are_drawn_too_and_err_less(monkeypatch):
    taste, seen = ratings(0)
    everywhere = np.argwhere(np.ones(taste.shape, bool))

    def error(est: TensorCompleter) -> float:
        return float(np.sqrt(np.mean((est.predict(everywhere) - taste.ravel()) ** 2)))

    found = TensorCompleter(random_state=0).fit(seen)
    path = found.path_[found.path_.start == "draw"]
    assert len(path) == 2 and path["rank"].iloc[0] == DRAWN_MOST[0] and path["rank"].iloc[1] < 10
    assert path.score.iloc[1] < path.score.iloc[0]
    assert found.drawn_ is not None
    monkeypatch.setattr(draws, "FEW", 0.0)
    many = TensorCompleter(random_state=0).fit(seen)
    assert len(many.path_[many.path_.start == "draw"]) == 1
    assert error(found) < error(many)


@pytest.mark.parametrize(
    ("entries", "rank", "sweeps"),
    [
        (2000, DRAWN_MOST[0], DRAWS[1]),  # little work: every chain is a long one
        (2000, 5, DRAWS[0]),  # ... but of few components, which need no more
        (40_000, DRAWN_MOST[1], DRAWS[0]),
    ],
)
def test_chains_are_long_where_the_work_allows(entries, rank, sweeps):
    rng = np.random.default_rng(0)
    cells = rng.choice(60**3, entries, replace=False)
    obs = Observations.from_indices(np.stack(np.unravel_index(cells, (60, 60, 60)), axis=1), rng.normal(size=entries), shape=(60, 60, 60))
    assert _sweeps_of(CHAINS, obs, rank) == sweeps
    assert _sweeps_of(1, obs, rank) >= sweeps, "one chain alone is no shorter"
