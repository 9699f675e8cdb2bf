"""`evaluate`: the same hidden entries for all, scored by squares and by the loss that was asked for."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss, mean_poisson_deviance
from statsmodels.robust.norms import HuberT
from typer.testing import CliRunner

from planted import planted
from rankless.als.losses import Huber
from rankless.cli import app
from rankless.evaluation import INSIDE, LEAST, deviance, evaluate
from rankless.tensors.observations import Observations

SHAPE = (16, 14, 12)


def data(loss: str) -> Observations:
    rng, signal = np.random.default_rng(0), planted(SHAPE, 2, 1.0)[0]
    if loss == "poisson":
        values = rng.poisson(np.exp(signal)).astype(float)
    elif loss == "bernoulli":
        values = (rng.random(SHAPE) < expit(3 * signal)).astype(float)
    else:
        values = signal + 0.1 * rng.normal(size=SHAPE) + 10 * rng.normal(size=SHAPE) * (rng.random(SHAPE) < 0.05)
    return Observations.from_array(np.where(rng.random(SHAPE) < 0.5, values, np.nan))


def dense(obs: Observations) -> np.ndarray:
    array = np.full(obs.shape, np.nan)
    array[tuple(obs.coords)] = obs.values
    return array


@pytest.mark.parametrize("loss", ["poisson", "bernoulli", "huber"])
def test_its_own_loss_fills_best_by_its_own_score(loss):
    scores = evaluate(data(loss), loss=loss, ranks=(3,))
    assert [score.name for score in scores] == ["mean", "main effects", "straight line", "CP, rank 3", "rankless", f"rankless, {loss}"]
    deviances = np.array([score.deviance for score in scores], float)
    assert np.isfinite(deviances).all() and deviances.min() > 0
    assert deviances[-1] == deviances.min()
    assert scores[-1].rank == 2


def test_squares_have_no_other_score():
    obs = Observations.from_array(dense(data("poisson"))[:8, :8, :8])
    scores = evaluate(obs, ranks=(), effort="fast")
    assert [(score.name, score.deviance) for score in scores] == [
        ("mean", None),
        ("main effects", None),
        ("straight line", None),
        ("rankless", None),
    ]
    scores = evaluate(obs, nonnegative=True, ranks=(), effort="fast")
    assert [score.name for score in scores][3:] == ["rankless", "rankless, nonnegative"]


def test_deviances_are_those_of_scikit_learn_and_statsmodels():
    rng = np.random.default_rng(1)
    means, counts = rng.gamma(2.0, size=200) + 0.2, rng.poisson(2.0, size=200).astype(float)
    assert deviance("poisson", counts, means) == pytest.approx(mean_poisson_deviance(counts, means))
    chances, ones = rng.uniform(0.02, 0.98, 200), (rng.random(200) < 0.5).astype(float)
    assert deviance("bernoulli", ones, chances) == pytest.approx(2 * log_loss(ones, chances))
    errors = 3 * rng.normal(size=200)
    assert deviance(Huber(1.5), errors, np.zeros(200)) == pytest.approx(2 * np.mean(HuberT(1.5).rho(errors)))


def test_impossible_means_count_as_nearly_so():
    counts, ones = np.array([0.0, 3.0]), np.array([0.0, 1.0])
    assert deviance("poisson", counts, np.array([-5.0, 3.0]), level=2.0) == pytest.approx(2 * LEAST * 2.0 / 2)
    assert deviance("bernoulli", ones, np.array([-1.0, 7.0])) == pytest.approx(-2 * np.log(1 - INSIDE))


def test_the_command_prints_the_deviance_beside_the_rmse(tmp_path):
    np.save(tmp_path / "counts.npy", dense(data("poisson")))
    with contextlib.chdir(tmp_path):
        run = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["evaluate", "counts.npy", "--loss", "poisson", "--effort", "fast", "--quiet"])
        bad = CliRunner().invoke(app, ["evaluate", "counts.npy", "--loss", "bernoulli"])
    assert run.exit_code == 0, run.stderr
    head, *rows = [re.split(r"\s*[┃│]\s*", line)[1:-1] for line in run.stdout.splitlines() if line[:1] in "┃│"]
    assert head == ["method", "NRMSE", "RMSE", "poisson deviance", "time", "rank", "depth", "penalty"]
    assert [row[0] for row in rows][-2:] == ["rankless", "rankless, poisson"]
    assert all(float(row[3]) > 0 for row in rows)
    assert bad.exit_code == 2 and bad.stderr.startswith("error: loss='bernoulli' needs values from 0 to 1")
