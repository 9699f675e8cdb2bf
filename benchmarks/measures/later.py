"""What comes later and what is known beside: days fed one by one, places and people of whom nothing was seen, components to stand on.

Every function measures with every default, on one thread, from a seed; seconds are those of the processor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
from campaign import cases, data
from threadpoolctl import threadpool_limits

# --- a feed, day by day -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """A table of which `first` days (years) are fitted, then days up to `last` are fed one by one; a `share` of the cells is hidden."""

    data: str
    first: int
    last: int
    share: float = 0.8


FEEDS = {
    "New York, 300 days, then 30": Feed("nyc_airport_weather", 300, 330),
    "car parks, 57 days, then 20": Feed("birmingham_parking", 57, 77),
    "New York, 60 days, then 10": Feed("nyc_airport_weather", 60, 70),
}


SEARCHES = 3  # fits from scratch of one feed, each with another hold-out


def feed(name: str, seed: int) -> dict[str, float]:
    """Errors at the end on hidden cells of the days that were fed, and of all, over the deviation of all that are hidden.

    `updated` went through ``update(effort="fast")`` each day, `folded` through one `extend` of all days; `scratch` is the mean over
    `SEARCHES` fits of all entries, which hold out others and err 3 to 5 % apart. Seconds are medians over days, and over fits.
    """
    import rankless

    case = FEEDS[name]
    truth = data.load(case.data)[:, : case.last]
    seen, hidden = data.hide(truth, case.share, seed)
    with _quietly():
        clock = process_time()
        done = rankless.complete(seen[:, : case.first], random_state=0, n_jobs=1)
        fit = process_time() - clock
        folded, updated, times = done.extend(seen[:, case.first :], along=1), done, []
        for day in range(case.first, case.last):
            clock = process_time()
            updated = updated.update(seen[:, day : day + 1], along=1)
            times.append(process_time() - clock)
        scratch, wholes = [], []
        for search in range(SEARCHES):
            clock = process_time()
            scratch.append(rankless.complete(seen, random_state=search, n_jobs=1))
            wholes.append(process_time() - clock)
    new = np.zeros(truth.shape, bool)
    new[:, case.first :] = True
    unit = float(truth[hidden].std())
    found: dict[str, float] = {"fit": fit, "update": float(np.median(times)), "whole": float(np.median(wholes))}
    found["days"] = case.last - case.first
    for what, fits in (("folded", [folded]), ("updated", [updated]), ("scratch", scratch)):
        for cells, mask in (("fed", hidden & new), ("all", hidden)):
            found[f"{what}_{cells}"] = float(np.mean([_rms((each.array() - truth)[mask]) for each in fits])) / unit
    return found


# --- of whom nothing was seen -------------------------------------------------------------------------

STATIONS_OUT, SEEN = 7, 0.2
LENGTHS, NOISES = (0.25, 0.5, 1.0, 2.0), (0.03, 0.1, 0.3, 1.0)  # of kriging: in median distances; nugget over sill


def stations(seed: int) -> dict[str, float]:
    """Met Office, a fifth of the cells seen at 28 stations and nothing at 7: errors at these 7, values at unit deviation.

    ``side`` knows latitude, longitude and height of all stations, ``plain`` does not. ``kriging`` is ordinary kriging in space of every
    variable, month and year by itself, the better of with height as a drift and without, at the setting of `LENGTHS` and `NOISES` that is
    best by the very error.
    """
    import rankless

    values = data.load("metoffice_2001_2020")
    with np.load(data.path("metoffice_2001_2020"), allow_pickle=False) as stored:
        lat, lon, high = stored["lat_lon_alt"].astype(float).T
    rng = np.random.default_rng(seed)
    gone = np.sort(rng.permutation(len(values))[:STATIONS_OUT])
    seen = np.where(rng.random(values.shape) < SEEN, values, np.nan)
    seen[gone] = np.nan
    found: dict[str, float] = {}
    known: dict[str, Any] = {"side": {"mode_0": {"lat": lat, "lon": lon, "height": high}}}
    ways: dict[str, dict[str, Any]] = {"side": known, "plain": {}}
    for what, side in ways.items():
        with _quietly():
            clock = process_time()
            done = rankless.complete(seen, random_state=0, n_jobs=1, **side)
            found[f"{what}_seconds"] = process_time() - clock
            if side:
                lower, upper = done.interval(0.9)
                there = values[gone]
                inside = (lower[gone] <= there) & (there <= upper[gone])
                found["inside"] = float(inside[~np.isnan(there)].mean())
        found[what] = _rms((done.array() - values)[gone])
    errors = [
        _rms(_kriged(seen, gone, _globe(lat, lon), drift, length, noise) - values[gone])
        for drift in (np.ones((len(lat), 1)), np.column_stack([np.ones(len(lat)), high / 100]))
        for length in LENGTHS
        for noise in NOISES
    ]
    return found | {"kriging": min(errors)}


def _globe(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Distances on the globe, in radians."""
    phi, lam = np.radians(lat), np.radians(lon)
    half = np.sin((phi[:, None] - phi) / 2) ** 2 + np.cos(phi[:, None]) * np.cos(phi) * np.sin((lam[:, None] - lam) / 2) ** 2
    return 2 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))


def _kriged(seen: np.ndarray, gone: np.ndarray, apart: np.ndarray, drift: np.ndarray, length: float, noise: float) -> np.ndarray:
    """Kriging with a drift of each map of `seen` (places first) at the places `gone`: exponential covariance, textbook equations.

    A map with fewer places than twice the columns of the drift gets the mean of what it has, and one with none 0.
    """
    sill = np.exp(-apart / (length * np.median(apart[np.triu_indices(len(apart), 1)])))
    flat = seen.reshape(len(seen), -1)
    said = np.zeros((len(gone), flat.shape[1]))
    for column in range(flat.shape[1]):
        there = np.flatnonzero(~np.isnan(flat[:, column]))
        if len(there) < 2 * drift.shape[1]:
            said[:, column] = flat[there, column].mean() if len(there) else 0.0
            continue
        count = len(there) + drift.shape[1]
        system, right = np.zeros((count, count)), np.zeros((count, len(gone)))
        system[: len(there), : len(there)] = sill[np.ix_(there, there)] + noise * np.eye(len(there))
        system[: len(there), len(there) :] = drift[there]
        system[len(there) :, : len(there)] = drift[there].T
        right[: len(there)], right[len(there) :] = sill[np.ix_(there, gone)], drift[gone].T
        said[:, column] = flat[there, column] @ np.linalg.lstsq(system, right, rcond=None)[0][: len(there)]
    return said.reshape(len(gone), *seen.shape[1:])


USERS, ITEMS, NEW_USERS, NEW_ITEMS, RATED = 300, 120, 40, 15, 0.15
GROUPS, KNOWN, OWN, NOISE = 5, 0.7, 0.5, 0.5  # of taste that features tell, that they do not, and noise; deviations
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def ratings(seed: int) -> dict[str, float]:
    """Made ratings whose tastes hang on age and job, genre and year in part: errors on pairs with a user or an item never rated.

    ``ridge`` is scikit-learn's on the features of both, and their products, at the best of `ALPHAS` by the very error.
    """
    import pandas as pd
    from sklearn.linear_model import Ridge

    import rankless

    rng = np.random.default_rng(seed)
    age, job = rng.normal(size=USERS), rng.integers(GROUPS, size=USERS)
    year, genre = rng.normal(size=ITEMS), rng.integers(GROUPS, size=ITEMS)
    user = KNOWN * (rng.normal(size=(GROUPS, 3))[job] + np.outer(age, rng.normal(size=3))) / 2**0.5 + OWN * rng.normal(size=(USERS, 3))
    item = KNOWN * (rng.normal(size=(GROUPS, 3))[genre] + np.outer(year, rng.normal(size=3))) / 2**0.5 + OWN * rng.normal(size=(ITEMS, 3))
    bias = 0.3 * rng.normal(size=(USERS, 1)) + 0.2 * age[:, None] + 0.3 * rng.normal(size=ITEMS) + 0.3 * rng.normal(size=GROUPS)[genre]
    truth = 3.5 + bias + user @ item.T
    noisy = truth + NOISE * rng.normal(size=truth.shape)
    cold = np.zeros(truth.shape, bool)
    cold[rng.permutation(USERS)[:NEW_USERS]] = True
    cold[:, rng.permutation(ITEMS)[:NEW_ITEMS]] = True
    seen = np.where((rng.random(truth.shape) < RATED) & ~cold, noisy, np.nan)
    side = {
        "mode_0": pd.DataFrame({"age": age, "job": [f"job {n}" for n in job]}),
        "mode_1": pd.DataFrame({"year": year, "genre": [f"genre {n}" for n in genre]}),
    }
    found: dict[str, float] = {"mean": _rms((np.nanmean(seen) - truth)[cold])}
    ways: dict[str, dict[str, Any]] = {"side": {"side": side}, "plain": {}}
    for what, options in ways.items():
        with _quietly():
            clock = process_time()
            done = rankless.complete(seen, random_state=0, n_jobs=1, **options)
            found[f"{what}_seconds"] = process_time() - clock
        found[what], found[f"{what}_seen"] = (_rms((done.array() - truth)[mask]) for mask in (cold, ~cold & np.isnan(seen)))
    of_user, of_item = (np.column_stack([np.ones(len(x)), x, np.eye(GROUPS)[group]]) for x, group in ((age, job), (year, genre)))
    design = np.einsum("ua,ib->uiab", of_user, of_item).reshape(*truth.shape, -1)
    there = ~np.isnan(seen)
    fits = (Ridge(alpha=alpha).fit(design[there], seen[there]).predict(design[cold]) for alpha in ALPHAS)
    return found | {"ridge": min(_rms(fit - truth[cold]) for fit in fits)}


# --- components to stand on -----------------------------------------------------------------------------

NEURONS = {"60 x 100 x 60": (60, 100, 60), "24 x 40 x 20": (24, 40, 20)}
ASSEMBLIES, RATE = 4, 0.8  # and spikes in a cell, in the mean


def neurons(size: str, seed: int) -> dict[str, float]:
    """Counts of four assemblies over neurons x moments x trials, a tenth missing: components found again, and seconds beside squares."""
    import rankless

    shape, rng = NEURONS[size], np.random.default_rng(seed)
    time = np.linspace(0, 1, shape[1])[:, None]
    centres = (np.arange(ASSEMBLIES) + 0.5 + rng.uniform(-0.2, 0.2, ASSEMBLIES)) / ASSEMBLIES
    factors = [rng.gamma(0.5, size=(shape[0], ASSEMBLIES)), np.exp(-(((time - centres) / 0.08) ** 2) / 2)]
    factors.append(0.2 + rng.gamma(1.0, size=(shape[2], ASSEMBLIES)))
    rates = np.einsum("nr,tr,kr->ntk", *factors)
    rates *= RATE / rates.mean()
    seen = np.where(rng.random(shape) < 0.9, rng.poisson(rates).astype(float), np.nan)
    found: dict[str, float] = {}
    ways: dict[str, dict[str, Any]] = {"poisson": {"loss": "poisson"}, "squares": {}}
    for what, options in ways.items():
        with _quietly():
            clock = process_time()
            done = rankless.complete(seen, nonnegative=True, random_state=0, n_jobs=1, **options)
            found[f"{what}_seconds"] = process_time() - clock
        scores = rankless.match(rankless.CPTensor(factors), done.best, sizes=False).scores
        found[f"{what}_matched"], found[f"{what}_rank"] = int((scores > 0.95).sum()), done.rank
        found[f"{what}_error"] = _rms((done.array() - rates)[np.isnan(seen)])
    return found


def _eem(seed: int) -> tuple[np.ndarray, list[np.ndarray] | None]:
    return cases.eem(seed=seed).observed, None


def _planted(rank: int) -> Callable[[int], tuple[np.ndarray, list[np.ndarray] | None]]:
    def make(seed: int) -> tuple[np.ndarray, list[np.ndarray] | None]:
        rng = np.random.default_rng(seed)
        factors = [rng.normal(size=(size, rank)) for size in (24, 20, 16)]
        truth = np.einsum("ir,jr,kr->ijk", *factors)
        noisy = truth + 0.3 * truth.std() * rng.normal(size=truth.shape)
        return np.where(rng.random(truth.shape) < 0.6, noisy, np.nan), factors

    return make


def _noise(seed: int) -> tuple[np.ndarray, list[np.ndarray] | None]:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((24, 20, 16)) < 0.6, rng.normal(size=(24, 20, 16)), np.nan), None


@dataclass(frozen=True)
class Assured:
    """Data, how many components are in it, whether these may be negative, and what is halved."""

    make: Callable[[int], tuple[np.ndarray, list[np.ndarray] | None]]
    count: int
    nonnegative: bool = False
    half: str | int = "cells"


ASSURED = {
    "fluorescence": Assured(_eem, 3, half=0),
    "fluorescence, nonnegative": Assured(_eem, 3, True, half=0),
    "planted, two": Assured(_planted(2), 2),
    "planted, five": Assured(_planted(5), 5),
    "noise": Assured(_noise, 0),
}


def assured(name: str, seed: int) -> dict[str, float]:
    """How many components `rankless.factorize` says are real, and how well these match over ten starts and over halves, at the least."""
    import rankless

    case = ASSURED[name]
    array, factors = case.make(seed)
    with _quietly():
        clock = process_time()
        found = rankless.factorize(array, nonnegative=case.nonnegative, half=case.half, n_jobs=1)
        seconds = process_time() - clock
    figures: dict[str, float] = {"count": found.assurance.count, "true": case.count, "seconds": seconds}
    if found.assurance.count:
        rank = found.assurance.ranks[found.assurance.count]
        figures |= {"starts": float(rank.seeds.min()), "halves": float(rank.halves.min()), "core": float(rank.core)}
    if factors is not None and found.rank:
        figures["truth"] = float(rankless.match(rankless.CPTensor(factors), found.model, sizes=False).scores.min())
    return figures


# --- helpers --------------------------------------------------------------------------------------------


def _rms(off: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(np.square(off))))


@contextmanager
def _quietly() -> Iterator[Any]:
    """One thread, and no warnings: of slices never seen, which is what is measured here."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield
