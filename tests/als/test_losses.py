"""Losses by majorisation: quadratics lie above them, objectives never rise, and independent minimisers agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize, nnls

from planted import planted
from rankless import als
from rankless.als import majorise
from rankless.als.annealing import empty, with_random
from rankless.als.losses import Bernoulli, Gaussian, Huber, Poisson, PoissonParts
from rankless.als.nonnegative import descend
from rankless.als.settle import settle
from rankless.als.solver import Problem, State, update_mode
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

RNG = np.random.default_rng(0)
SHAPE = (7, 6, 5)
SIGNAL = np.einsum("ir,jr,kr->ijk", *(RNG.normal(size=(d, 2)) for d in SHAPE))
PARTS = np.einsum("ir,jr,kr->ijk", *(RNG.gamma(1.0, size=(d, 2)) for d in SHAPE))
VALUES = {
    "gaussian": SIGNAL,
    "huber": SIGNAL + 0.1 * RNG.standard_t(1.2, size=SHAPE),
    "poisson": RNG.poisson(np.exp(SIGNAL)).astype(float),
    "bernoulli": (RNG.random(SHAPE) < 1 / (1 + np.exp(-3 * SIGNAL))).astype(float),
    "parts": RNG.poisson(3 * PARTS).astype(float),
}
LOSSES = {"gaussian": Gaussian(), "huber": Huber(0.2), "poisson": Poisson(), "bernoulli": Bernoulli(), "parts": PoissonParts()}
HOLES = RNG.random(SHAPE) < 0.3


def observed(name: str) -> Observations:
    return Observations.from_array(np.where(HOLES, np.nan, VALUES[name]))


# --- each loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_quadratic_touches_the_loss_with_its_slope(name):
    loss, rng = LOSSES[name], np.random.default_rng(1)
    t = rng.gamma(2.0, size=200) if name == "parts" else 2.0 * rng.normal(size=200)
    y = rng.random(200) if name == "bernoulli" else rng.poisson(3.0, size=200).astype(float)
    z, w = loss.working(t, y)
    slope = (loss.value(t + 1e-6, y) - loss.value(t - 1e-6, y)) / 2e-6
    np.testing.assert_allclose(w * (t - z), slope, atol=1e-6 * np.abs(slope).max())
    assert (loss.value(t, y) >= -1e-12).all()


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.sure])
def test_the_quadratic_lies_above_the_loss(name):
    loss, rng = LOSSES[name], np.random.default_rng(2)
    t, y = 3.0 * rng.normal(size=(2, 500))
    y = rng.random(500) if name == "bernoulli" else y
    z, w = loss.working(t, y)
    for _ in range(50):
        there = t + rng.normal(size=500) * 10.0 ** rng.uniform(-3, 1)
        assert (loss.value(there, y) <= loss.value(t, y) + 0.5 * w * ((z - there) ** 2 - (z - t) ** 2) + 1e-9).all()


def test_half_deviances_are_those_of_statsmodels():
    from statsmodels.genmod import families

    rng = np.random.default_rng(3)
    mean, counts, zeros_and_ones = rng.gamma(2.0, size=50), rng.poisson(2.0, size=50).astype(float), (rng.random(50) < 0.4).astype(float)
    theirs = families.Poisson().deviance(counts, mean) / 2
    assert Poisson().value(np.log(mean), counts).sum() == pytest.approx(theirs)
    assert PoissonParts().value(mean, counts).sum() == pytest.approx(theirs, rel=1e-5)
    share = mean / (1 + mean)
    assert Bernoulli().value(np.log(mean), zeros_and_ones).sum() == pytest.approx(families.Binomial().deviance(zeros_and_ones, share) / 2)


# --- fits -----------------------------------------------------------------------------------------


SIGNS = [False, True, (True, False, False)]
CASES = [(name, sign) for name in ("gaussian", "huber", "bernoulli") for sign in SIGNS] + [("poisson", False), ("parts", True)]


@pytest.mark.parametrize(("name", "nonnegative"), CASES)
@pytest.mark.parametrize("depth", [0.0, 1.5])
def test_the_objective_never_rises(name, nonnegative, depth):
    fit = als.solve(observed(name), loss=LOSSES[name], nonnegative=nonnegative, depth=depth, penalty=0.1, max_rank=5, random_state=0)
    trace = np.array(fit.objective)
    assert len(trace) > 3
    assert (np.diff(trace) <= 1e-12 * np.abs(trace[:-1])).all()
    assert trace[-1] < trace[0]
    positive = (nonnegative,) * 3 if isinstance(nonnegative, bool) else nonnegative
    for factor, signed in zip(fit.model.factors, positive, strict=True):
        assert not signed or (factor >= 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_an_independent_minimiser_finds_nothing_lower_nearby(name):
    """BFGS on the whole objective, written out anew, from where we ended."""
    obs, loss, penalty = observed(name), LOSSES[name], 0.5
    fit = als.solve(
        obs, loss=loss, nonnegative=name == "parts", depth=0.0, penalty=penalty, max_rank=2, tol=1e-13, max_sweeps=5000, random_state=0
    )
    shapes, weights = np.cumsum([d * fit.rank for d in SHAPE])[:-1], np.ones(obs.size)

    def written_out(x: np.ndarray) -> float:
        a, b, c = (part.reshape(d, -1) for part, d in zip(np.split(x, shapes), SHAPE, strict=True))
        t = np.einsum("er,er,er->e", a[obs.coords[0]], b[obs.coords[1]], c[obs.coords[2]])
        y, size = obs.values, np.abs(obs.values - t)
        with np.errstate(invalid="ignore", divide="ignore"):
            each = {
                "gaussian": lambda: size**2 / 2,
                "huber": lambda: np.where(size < 0.2, size**2 / 2, 0.2 * size - 0.02),
                "poisson": lambda: np.exp(t) - y * t + np.where(y > 0, y * np.log(np.where(y > 0, y, 1)) - y, 0),
                "bernoulli": lambda: np.log1p(np.exp(-np.where(y > 0, t, -t))),
                "parts": lambda: t + 1e-6 - y * np.log(t + 1e-6) + np.where(y > 0, y * np.log(np.where(y > 0, y, 1)) - y, 0),
            }[name]()
        return float(weights @ each) + penalty / 2 * float(x @ x)

    ours = np.concatenate([f.reshape(-1) for f in fit.model.factors])
    value = written_out(ours)
    assert value == pytest.approx(fit.objective[-1], rel=1e-9)
    bounds = [(0.0 if name == "parts" else None, None)] * len(ours)
    moved = np.maximum(ours + 0.02 * np.random.default_rng(1).normal(size=len(ours)), 0.0 if name == "parts" else -np.inf)
    theirs = minimize(written_out, moved, method="L-BFGS-B", bounds=bounds, options={"maxiter": 5000, "maxfun": 10**6, "ftol": 1e-14})
    assert value <= theirs.fun * (1 + 1e-6)
    if name != "parts":
        np.testing.assert_allclose(approx_fprime(ours, written_out, 1e-7), 0.0, atol=2e-3)


@pytest.mark.parametrize("name", ["poisson", "bernoulli"])
def test_rows_are_generalised_linear_models(name):
    """With the other mode held fast, each row is a regression on its factors, as statsmodels fits it."""
    import statsmodels.api as api

    rng = np.random.default_rng(4)
    given, rows = rng.normal(size=(60, 2)), rng.normal(size=(3, 2))
    t = rows @ given.T
    y = rng.poisson(np.exp(t)).astype(float) if name == "poisson" else (rng.random(t.shape) < 1 / (1 + np.exp(-t))).astype(float)
    target = majorise.Target(Observations.from_array(y), LOSSES[name], (False, False))
    state, problem = State(np.concatenate([np.zeros((3, 2)), given]), target.offsets), Problem(0.0, 1e-10)
    with Workers(1) as workers:
        for _ in range(300):
            target.turn(target.measure(state, problem), 1.0)
            update_mode(target, state, target.modes[0], problem, workers, measure=False)
    family = {"poisson": api.families.Poisson(), "bernoulli": api.families.Binomial()}[name]
    theirs = np.stack([api.GLM(row, given, family=family).fit(tol=1e-12).params for row in y])
    np.testing.assert_allclose(state.factor(0), theirs, atol=1e-6)


def test_weights_count_as_repeated_entries():
    obs = observed("poisson")
    weights = np.random.default_rng(0).integers(1, 4, obs.size).astype(float)
    target = majorise.Target(obs.with_values(obs.values, weights), Poisson(), (False,) * 3)
    fitted = np.random.default_rng(1).normal(size=obs.size)
    many = np.repeat(Poisson().value(fitted, obs.values), weights.astype(int)).sum()
    assert target.value(fitted) == pytest.approx(many)


def test_same_bits_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    obs = Observations.from_array(rng.poisson(np.exp(rng.normal(size=(60, 50, 40)))).astype(float))
    fits = [
        als.solve(obs, loss="poisson", penalty=30.0, max_rank=8, max_sweeps=4, anneal_rounds=1, random_state=0, n_jobs=n) for n in (1, 3)
    ]
    assert fits[0].objective == fits[1].objective
    for one, other in zip(*(fit.model.factors for fit in fits), strict=True):
        assert one.tobytes() == other.tobytes()


def test_squares_as_a_loss_are_the_fit_by_squares():
    _, seen = planted((9, 8, 7), rank=2, share=0.7)
    obs, problem = Observations.from_array(seen), Problem(1.0, 0.1, tol=1e-12)
    with Workers(1) as workers:
        target = majorise.Target(obs, Gaussian(), (False,) * 3)
        state = with_random(target, empty(target), 2, np.random.default_rng(0))
        trace = settle(target, state, problem, workers)
    plain = als.solve(obs, depth=1.0, penalty=0.1, max_rank=2, tol=1e-12, random_state=0)
    assert trace.objective[-1] == pytest.approx(plain.objective[-1], rel=1e-6)


# --- nonnegative rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_nonnegative_rows_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    a, b, penalty = rng.normal(size=(12, 6)), rng.normal(size=12), 0.1
    row = np.abs(rng.normal(size=6))
    gram = a.T @ a
    descend(gram, a.T @ b - gram @ row, np.full(6, penalty), row, 10_000, 1e-14)
    theirs, _ = nnls(np.vstack([a, np.sqrt(penalty) * np.eye(6)]), np.concatenate([b, np.zeros(6)]))
    np.testing.assert_allclose(row, theirs, atol=1e-9)
    assert (row == 0).any()


def test_each_round_of_coordinate_descent_lowers_the_row():
    rng = np.random.default_rng(0)
    a, b, row = rng.normal(size=(8, 5)), rng.normal(size=8), np.ones(5)
    gram, values = a.T @ a, []
    for _ in range(10):
        descend(gram, a.T @ b - gram @ row, np.full(5, 0.3), row, 1, 0.0)
        values.append(0.5 * np.sum((b - a @ row) ** 2) + 0.15 * row @ row)
    assert (np.diff(values) <= 1e-12).all()
    assert values[-1] < values[0]


def test_planted_spectra_are_found_again_with_most_cells_gone():
    """Emission and excitation spectra are bumps, concentrations are not: 60 % of the cells gone, noise 1 % of the signal."""
    rng = np.random.default_rng(0)
    grid = np.linspace(0.0, 1.0, 40)
    factors = [rng.gamma(1.0, size=(20, 3)), *(np.exp(-((grid[:, None] - c) ** 2) / 0.02) for c in ([0.2, 0.45, 0.7], [0.3, 0.5, 0.8]))]
    truth = np.einsum("ir,jr,kr->ijk", *factors)
    seen = truth + 0.01 * truth.std() * rng.normal(size=truth.shape)
    seen[rng.random(truth.shape) < 0.6] = np.nan
    obs, _ = Observations.from_array(seen).scaled()
    fit = als.solve(obs, nonnegative=True, depth=2.0, penalty=0.1, max_rank=12, random_state=0)
    assert fit.rank == 3
    cosines = np.ones((3, 3))
    for ours, theirs in zip(fit.model.factors, factors, strict=True):
        cosines *= (ours / np.linalg.norm(ours, axis=0)).T @ (theirs / np.linalg.norm(theirs, axis=0))
    assert cosines.max(axis=0).min() > 0.99


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cauchy"}, r"loss='cauchy' is not known; pass loss='gaussian', loss='huber', loss='poisson', loss='bernoulli'"),
        ({"loss": "poisson"}, r"loss='poisson' needs counts >= 0, but \d+ are not, the first -.* at \(0, .*; set them to NaN"),
        ({"loss": "bernoulli"}, r"loss='bernoulli' needs values from 0 to 1, but \d+ are not, the first .*; divide them by their largest"),
        ({"loss": "poisson", "nonnegative": (True, False, True)}, r"neither a sum of nonnegative parts nor a logarithm; pass nonnegative"),
        ({"loss": Huber(0.0)}, r"Huber\(bound=0\.0\) needs a positive number"),
        (
            {"nonnegative": (True, False)},
            r"nonnegative=\(True, False\) is neither a bool nor one a mode; pass nonnegative=True, or 3 bools",
        ),
        ({"nonnegative": "yes"}, r"nonnegative='yes' is neither a bool"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said_with_its_mend(options, message):
    with pytest.raises(ValueError, match=message):
        als.solve(observed("gaussian"), **options)


def test_values_that_overflow_are_named():
    with pytest.raises(FloatingPointError, match=r"the loss of the values overflows; scale the values"):
        als.solve(Observations.from_array(np.array([[1e200, 1.0], [2.0, 3.0]])), nonnegative=True)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_what_components_say_at_entries_is_the_model_there(order):
    from rankless.als import said

    rng = np.random.default_rng(order)
    shape = (7, 5, 4, 3)[:order]
    state = State(rng.normal(size=(sum(shape), 6)), np.concatenate([[0], np.cumsum(shape)]))
    coords = np.stack([rng.integers(0, d, 50) for d in shape]).astype(np.int32)
    np.testing.assert_allclose(said.at(state, coords), state.model().full()[tuple(coords)], rtol=1e-12, atol=1e-13)
    empty = State(np.zeros((sum(shape), 0)), state.offsets)
    assert not said.at(empty, coords).any()
