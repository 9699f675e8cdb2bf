"""The page on losses: its scores are those of SciPy, planted parts match themselves, and finished cells are enough to write it."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import losses
from benchmarks.measures import losses as measures
from campaign import page, store
from scipy.special import xlogy

from rankless.tensors.cp_tensor import CPTensor


def test_scores_are_those_written_out_anew():
    rng = np.random.default_rng(0)
    values, means = rng.poisson(2.0, size=100).astype(float), rng.gamma(2.0, size=100)
    kept = np.maximum(means, measures.LEAST)
    assert measures.deviance(values, means) == pytest.approx(2 * np.mean(xlogy(values, values / kept) - values + kept))
    assert measures.deviance(values, np.zeros(100)) < np.inf
    chances = rng.random(100)
    assert measures.log_loss(np.ones(100), chances) == pytest.approx(-np.mean(np.log(np.clip(chances, 0.01, 0.99))))


def test_planted_parts_match_themselves_in_any_order_and_no_others():
    factors = measures.spectra(np.random.default_rng(0)).factors
    assert factors is not None
    shuffled = CPTensor([2.0 * factor[:, [2, 0, 1]] for factor in factors])
    assert measures.factor_match(shuffled, factors) == pytest.approx(1.0)
    assert measures.factor_match(CPTensor([factor[:, :2] for factor in factors]), factors) == 0.0
    assert measures.factor_match(CPTensor([factor[:, [0, 0, 1]] for factor in factors]), factors) < 0.99


@pytest.mark.parametrize("setting", measures.SETTINGS, ids=lambda setting: setting.name)
def test_values_are_drawn_around_the_means(setting):
    case = setting.make(np.random.default_rng(0))
    assert case.values.shape == case.means.shape == measures.SHAPE
    error = np.abs(case.values - case.means)
    assert 0 < np.median(error) < 2 * np.sqrt(np.median(np.abs(case.means))) + 0.5


def test_finished_cells_are_enough_to_write_the_page(tmp_path, monkeypatch):
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "folder", tmp_path)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    cells = losses.store()
    for seed in losses.SEEDS:
        for setting in losses.SETTINGS:
            ours = 0.999 if setting.score == "match" else 0.5
            row = {"ours": ours, "ours_rank": 3, "squares": 0.6, "squares_rank": 4, "seconds": 1.0, "truth": 0.4}
            cells.measure({"setting": setting.name, "seed": seed}, lambda row=row: row)
    losses.write(cells)
    text = (tmp_path / "losses.md").read_text()
    assert "| zeros and ones | `loss='bernoulli'` | log-loss | **0.5** | 0.5 | 0.6 | 0.4 | 5 of 5 | 3 3 3 3 3 |" in text
    assert "| spectra | `nonnegative=True` | least factor match | **0.999** | 0.999 | 0.6 | 0.4 | 5 of 5 |" in text
