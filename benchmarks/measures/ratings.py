"""Ratings like MovieLens 100K: 943 users, 1,682 items, 100,000 ratings of 1 to 5, a tenth of them to predict.

    rating = round(mean + user bias + item bias + taste + noise), kept within 1 and 5

Users' counts and items' popularity follow power laws. The sizes of biases, taste and noise are
chosen to give about the spread (1.1) and the errors (.94 with biases, .91 with taste) known of MovieLens.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from rankless import Observations, TensorCompleter

USERS, ITEMS, RATINGS, TESTED = 943, 1682, 100_000, 0.1
LEAST, MOST = 1.0, 5.0
MEAN, USER_BIAS, ITEM_BIAS, TASTE, TASTES, NOISE = 3.6, 0.45, 0.58, 0.44, 8, 0.88
FALL = 2.5  # popularity of the j-th item is (j + OFFSET)^-FALL
OFFSET = 250
FEWEST, TAIL, HEAVIEST = 20, 1.2, 300  # ratings of a user: a Pareto tail from the fewest to the heaviest, then scaled to `RATINGS`


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings to learn from and ratings to predict."""

    indices: np.ndarray
    values: np.ndarray
    asked: np.ndarray
    truth: np.ndarray

    def rmse(self, prediction: np.ndarray) -> float:
        """Error of predictions, kept within 1 and 5 for everyone."""
        return float(np.sqrt(np.mean((np.clip(prediction, LEAST, MOST) - self.truth) ** 2)))

    @property
    def training(self) -> Observations:
        return Observations.from_indices(self.indices, self.values, shape=(USERS, ITEMS))


@cache
def make(seed: int) -> Ratings:
    rng = np.random.default_rng(seed)
    popularity = (np.arange(ITEMS) + OFFSET) ** -FALL
    popularity = np.round(popularity / popularity.sum(), 12)  # the last bit of a power differs between processors
    users = np.repeat(np.arange(USERS), _counts(rng))
    items = np.concatenate([rng.choice(ITEMS, count, replace=False, p=popularity) for count in np.bincount(users, minlength=USERS)])
    taste = np.einsum("er,er->e", rng.normal(size=(USERS, TASTES))[users], rng.normal(size=(ITEMS, TASTES))[items]) / np.sqrt(TASTES)
    bias = USER_BIAS * rng.normal(size=USERS)[users] + ITEM_BIAS * rng.normal(size=ITEMS)[items]
    ratings = np.clip(np.round(MEAN + bias + TASTE * taste + NOISE * rng.normal(size=len(users))), LEAST, MOST)
    order, count = rng.permutation(len(users)), int(TESTED * len(users))
    indices = np.stack([users, items], axis=1)[order]
    return Ratings(indices[count:], ratings[order][count:], indices[:count], ratings[order][:count])


def _counts(rng: np.random.Generator) -> np.ndarray:
    """How many items each user rates: `RATINGS` in all."""
    drawn = np.round(np.minimum(FEWEST * (1 + rng.pareto(TAIL, USERS)), HEAVIEST), 9)
    spare = RATINGS - FEWEST * USERS
    counts = FEWEST + np.floor((drawn - FEWEST) * spare / np.sum(drawn - FEWEST)).astype(int)
    counts = np.minimum(counts, ITEMS - 1)
    order = np.argsort(-counts, kind="stable")
    for at in range(RATINGS - int(counts.sum())):  # what rounding and the limit left over
        counts[order[USERS // 2 + at % (USERS // 2)]] += 1
    return counts


def ours(seed: int, **options) -> dict[str, float]:
    """`TensorCompleter` with every default but `options`."""
    case, start = make(seed), time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no observed entry", UserWarning)  # an item or two that nobody rated
        fitted = TensorCompleter(random_state=seed, **options).fit(case.training)
    seconds = time.perf_counter() - start
    return {
        "rmse": case.rmse(fitted.predict(case.asked)),
        "seconds": seconds,
        "rank": fitted.rank_,
        "depth": fitted.depth_,
        "penalty": float(fitted.penalty_),
        "effects": int(fitted.effects_),
    }


def mean(seed: int) -> dict[str, float]:
    case = make(seed)
    return {"rmse": case.rmse(np.full(len(case.truth), case.values.mean())), "seconds": 0.0}


def main_effects(seed: int) -> dict[str, float]:
    from rankless.units.effects import MainEffects

    case, start = make(seed), time.perf_counter()
    return {"rmse": case.rmse(MainEffects.fit(case.training).at(case.asked)), "seconds": time.perf_counter() - start}


def cmfrec(seed: int, *, k: int, penalty: float) -> dict[str, float]:
    """CMF with user and item biases, its other settings as they come."""
    import pandas as pd
    from cmfrec import CMF

    case = make(seed)
    table = pd.DataFrame({"UserId": case.indices[:, 0], "ItemId": case.indices[:, 1], "Rating": case.values})
    start = time.perf_counter()
    model = CMF(k=k, lambda_=penalty, random_state=seed, verbose=False).fit(table)
    prediction = model.predict(case.asked[:, 0], case.asked[:, 1])
    seconds = time.perf_counter() - start
    return {"rmse": case.rmse(np.where(np.isnan(prediction), case.values.mean(), prediction)), "seconds": seconds}


def smurff(seed: int, *, k: int) -> dict[str, float]:
    """Bayesian factorisation of what main effects leave (it has no biases), noise and penalties drawn."""
    import scipy.sparse
    from smurff import AdaptiveNoise, TrainSession

    from rankless.units.effects import MainEffects

    case = make(seed)
    effects = MainEffects.fit(case.training)
    left = scipy.sparse.coo_matrix((case.values - effects.at(case.indices), case.indices.T), shape=(USERS, ITEMS))
    asked = scipy.sparse.coo_matrix((np.ones(len(case.truth)), case.asked.T), shape=(USERS, ITEMS))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = TrainSession(
            priors=["normal", "normal"],
            num_latent=k,
            burnin=100,
            nsamples=200,
            seed=seed,
            num_threads=1,
            verbose=0,
            save_name=os.path.join(folder, "out.hdf5"),
            save_freq=0,
        )
        session.addTrainAndTest(left, asked, AdaptiveNoise(1.0, 10.0))
        found = {tuple(p.coords): p.pred_avg for p in session.run()}
    seconds = time.perf_counter() - start
    residual = np.array([found[tuple(cell)] for cell in case.asked])
    return {"rmse": case.rmse(effects.at(case.asked) + residual), "seconds": seconds}


OURS: dict[str, Callable[[int], dict[str, float]]] = {"rankless": ours, "main effects": main_effects, "mean": mean}
CMFREC = {
    f"cmfrec k={k} lambda={penalty:g}": partial(cmfrec, k=k, penalty=penalty) for k in (4, 8, 16, 32) for penalty in (5.0, 10.0, 20.0)
}
SMURFF = {f"SMURFF k={k}": partial(smurff, k=k) for k in (4, 8, 16, 32)}
PEERS = CMFREC | SMURFF
