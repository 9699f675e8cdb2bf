"""Fewer components beside close cells: where these say the rest, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from planted import hidden_error, planted
from rankless.completer import TensorCompleter
from rankless.experts import close_cells

SHAPE, ALONG = (100, 12, 6), 0.95


def slow(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three components, and in each fibre of the first mode something slow of its own; all of it, and 30 % of it."""
    rng = np.random.default_rng(seed)
    full = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 3)) for d in SHAPE))
    full /= full.std()
    own = rng.normal(size=SHAPE)
    for at in range(1, SHAPE[0]):
        own[at] = ALONG * own[at - 1] + np.sqrt(1 - ALONG**2) * own[at]
    full += own
    return full, np.where(rng.random(SHAPE) < 0.3, full, np.nan)


def error(est: TensorCompleter, full: np.ndarray, seen: np.ndarray) -> float:
    return hidden_error(est.predict(np.argwhere(np.ones(SHAPE, bool))).reshape(SHAPE), full, seen)


def single(**options) -> TensorCompleter:
    return TensorCompleter(**{"depth": 1, "experts": ["components", "neighbours"], "value_transform": None, "random_state": 0} | options)


def test_components_that_close_cells_stand_for_are_left_out(monkeypatch):
    full, seen = slow(1)
    few = single().fit(seen)
    monkeypatch.setattr(close_cells, "MOST", 0)
    many = single().fit(seen)
    assert few.rank_ <= 4 < many.rank_
    assert error(few, full, seen) < 0.85 * error(many, full, seen)
    assert few.holdout_rmse_ < many.holdout_rmse_
    assert "thin" in set(few.path_.start)


@pytest.mark.parametrize("options", [{"experts": ["components"]}, {"penalty": 0.3}])
def test_nothing_is_left_out_where_that_was_not_asked_for(options):
    """Without close cells nothing stands for it; at a penalty fixed by hand the minimum is what was asked for."""
    path = single(**options).fit(slow(1)[1]).path_
    assert len(path) and "thin" not in set(path.start)


def test_what_was_planted_is_left_whole():
    assert single().fit(planted((20, 18, 16), rank=4, share=0.3)[1]).rank_ == 4
