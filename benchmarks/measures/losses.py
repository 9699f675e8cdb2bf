"""Counts, zeros and ones, shares, gross errors and spectra: fits by their own loss, by squares, and the truth itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.completion import complete
from rankless.tensors.cp_tensor import CPTensor

SHAPE, RANK, HIDDEN = (30, 25, 20), 3, 0.6
LEVEL, STEEP, TRIALS = 0.5, 3.0, 10  # of log means; of log odds; of a share
COUNT, PHOTONS = 2.0, 200.0  # mean count of sums of parts; counts at a spectrum's height of 1
NOISE, GROSS, SPOILED = 0.1, 10.0, 0.05  # standard deviations over the signal's; share of the entries that are grossly wrong
SPECTRA_NOISE, BUMP = 0.02, 0.1  # noise over the signal's deviation; width of a bump on the unit interval
LEAST, INSIDE = 0.05, 0.01  # every method's means are kept at least this large, and its chances this far from 0 and 1


@dataclass(frozen=True, eq=False)
class Case:
    """True means, values drawn around them, and the planted factors where they are to be found again."""

    means: np.ndarray
    values: np.ndarray
    factors: list[np.ndarray] | None = None


def _cp(factors: list[np.ndarray]) -> np.ndarray:
    return CPTensor(factors).full()


def _signal(rng: np.random.Generator) -> np.ndarray:
    signal = _cp([rng.normal(size=(d, RANK)) for d in SHAPE])
    return signal / signal.std()


def counts(rng: np.random.Generator) -> Case:
    means = np.exp(_signal(rng) + LEVEL)
    return Case(means, rng.poisson(means).astype(float))


def parts(rng: np.random.Generator) -> Case:
    means = _cp([rng.gamma(1.0, size=(d, RANK)) for d in SHAPE])
    means *= COUNT / means.mean()
    return Case(means, rng.poisson(means).astype(float))


def zeros_and_ones(rng: np.random.Generator) -> Case:
    means = 1.0 / (1.0 + np.exp(-STEEP * _signal(rng)))
    return Case(means, (rng.random(SHAPE) < means).astype(float))


def shares(rng: np.random.Generator) -> Case:
    means = 1.0 / (1.0 + np.exp(-STEEP * _signal(rng)))
    return Case(means, rng.binomial(TRIALS, means) / TRIALS)


def gross_errors(rng: np.random.Generator) -> Case:
    means = _signal(rng)
    wild = (rng.random(SHAPE) < SPOILED) * GROSS * rng.normal(size=SHAPE)
    return Case(means, means + NOISE * rng.normal(size=SHAPE) + wild)


def spectra(rng: np.random.Generator) -> Case:
    """Concentrations times emission times excitation; both spectra are bumps that overlap."""
    bumps = []
    for d in SHAPE[1:]:
        centres = (np.arange(RANK) + 0.5 + rng.uniform(-0.2, 0.2, RANK)) / RANK
        bumps.append(np.exp(-((np.linspace(0.0, 1.0, d)[:, None] - centres) ** 2) / (2 * BUMP**2)))
    factors = [rng.gamma(1.0, size=(SHAPE[0], RANK)), *bumps]
    means = _cp(factors)
    return Case(means, means + SPECTRA_NOISE * means.std() * rng.normal(size=SHAPE), factors)


def spectra_in_counts(rng: np.random.Generator) -> Case:
    case = spectra(rng)
    return Case(PHOTONS * case.means, rng.poisson(PHOTONS * case.means).astype(float), case.factors)


def deviance(values: np.ndarray, means: np.ndarray) -> float:
    """Mean Poisson deviance."""
    means = np.maximum(means, LEAST)
    return float(2.0 * np.mean(values * np.log(np.where(values > 0, values, 1.0) / means) * (values > 0) - values + means))


def log_loss(values: np.ndarray, means: np.ndarray) -> float:
    means = np.clip(means, INSIDE, 1.0 - INSIDE)
    return float(-np.mean(values * np.log(means) + (1.0 - values) * np.log(1.0 - means)))


def factor_match(found: CPTensor, factors: list[np.ndarray]) -> float:
    """The least congruence of a planted component with the found one that is most like it; 0 where components are missing."""
    if found.rank < factors[0].shape[1]:
        return 0.0
    cosines = 1.0
    for ours, theirs in zip(found.factors, factors, strict=True):
        cosines = cosines * np.abs((ours / np.linalg.norm(ours, axis=0)).T @ (theirs / np.linalg.norm(theirs, axis=0)))
    best = np.argmax(cosines, axis=0)
    return float(np.min(np.max(cosines, axis=0))) if len(set(best.tolist())) == len(best) else 0.0


@dataclass(frozen=True)
class Setting:
    """What is planted, how it is fitted, and by what it is scored; `match` is higher for the better."""

    name: str
    make: Callable[[np.random.Generator], Case]
    options: dict[str, Any]
    score: str  # "deviance", "log_loss", "error" or "match"


SETTINGS = (
    Setting("counts, logarithms of low rank", counts, {"loss": "poisson"}, "deviance"),
    Setting("counts, sums of parts", parts, {"loss": "poisson", "nonnegative": True}, "deviance"),
    Setting("zeros and ones", zeros_and_ones, {"loss": "bernoulli"}, "log_loss"),
    Setting(f"shares of {TRIALS}", shares, {"loss": "bernoulli"}, "log_loss"),
    Setting("gross errors", gross_errors, {"loss": "huber"}, "error"),
    Setting("spectra", spectra, {"nonnegative": True}, "match"),
    Setting("spectra in counts", spectra_in_counts, {"loss": "poisson", "nonnegative": True}, "match"),
)


def measure(setting: Setting, seed: int) -> dict[str, float]:
    """`rankless.complete` by the setting's own loss, by squares with every default, and the score of the true means."""
    rng = np.random.default_rng(seed)
    case = setting.make(rng)
    hidden = rng.random(SHAPE) < HIDDEN
    seen, row = np.where(hidden, np.nan, case.values), {}
    for who, options in (("ours", setting.options), ("squares", {})):
        start = time.perf_counter()
        done = complete(seen, random_state=seed, **options)
        seconds = time.perf_counter() - start
        row |= {who: _score(setting, case, hidden, done.array()), f"{who}_rank": done.rank}
        if setting.score == "match" and case.factors is not None:
            row[who] = factor_match(done.fits[0], case.factors)
        if who == "ours":
            row["seconds"] = seconds
    truth = 1.0 if setting.score == "match" else _score(setting, case, hidden, case.means)
    return row | {"truth": truth}


def _score(setting: Setting, case: Case, hidden: np.ndarray, means: np.ndarray) -> float:
    if setting.score == "deviance":
        return deviance(case.values[hidden], means[hidden])
    if setting.score == "log_loss":
        return log_loss(case.values[hidden], means[hidden])
    return float(np.sqrt(np.mean((means - case.means)[hidden] ** 2)))
