"""Ten sweeps on a 20,000 x 5,000 matrix with 4 M entries at rank 32: rankless, cmfrec exact and CG, SMURFF.

Same entries, same penalty, same number of sweeps, centred data, no biases. Times run from
coordinates to factors: each library's own sorting is counted. Errors are on entries not given.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from campaign.machine import cores

from benchmarks.measures.kernel import MATRIX, scattered
from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

RANK, SWEEPS, PENALTY = 32, 10, 12.0  # the penalty is near the best for these data, for all
TRUE_RANK, NOISE = 10, 0.5  # of a matrix of unit deviation


@dataclass(frozen=True, eq=False)
class Case:
    """Entries to fit and entries to predict."""

    shape: tuple[int, int]
    indices: np.ndarray
    values: np.ndarray
    asked: np.ndarray
    truth: np.ndarray

    def rmse(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """Error of ``rows @ columns.T`` on the entries asked for."""
        fitted = np.einsum("er,er->e", rows[self.asked[:, 0]], columns[self.asked[:, 1]])
        return float(np.sqrt(np.mean((fitted - self.truth) ** 2)))


@cache
def case(shape: tuple[int, int] = MATRIX[0], count: int = MATRIX[1]) -> Case:
    """`count` noisy entries of a matrix of rank 10, and a tenth as many to predict."""
    rng = np.random.default_rng(0)
    indices = scattered(shape, count + count // 10)
    rows, columns = rng.normal(size=(shape[0], TRUE_RANK)), rng.normal(size=(shape[1], TRUE_RANK)) / np.sqrt(TRUE_RANK)
    values = np.einsum("er,er->e", rows[indices[:, 0]], columns[indices[:, 1]]) + NOISE * rng.normal(size=len(indices))
    return Case(shape, indices[:count], values[:count], indices[count:], values[count:])


Result = dict[str, float]


def rankless(case: Case, dtype: type = np.float64) -> Result:
    start = time.perf_counter()
    obs = Observations.from_indices(case.indices, case.values, shape=case.shape)
    entries = Entries(obs, dtype)
    sorted_at = time.perf_counter()
    state = with_random(entries, empty(entries), RANK, np.random.default_rng(0))
    with Workers() as workers:
        settle(entries, state, Problem(0.0, PENALTY, tol=-np.inf, max_sweeps=SWEEPS), workers, pruning=False)
    end = time.perf_counter()
    return {"seconds": end - start, "sort_seconds": sorted_at - start, "rmse": case.rmse(state.factor(0), state.factor(1))}


def cmfrec(case: Case, *, cg: bool, dtype: type = np.float64) -> Result:
    import pandas as pd
    from cmfrec import CMF

    table = pd.DataFrame({"UserId": case.indices[:, 0], "ItemId": case.indices[:, 1], "Rating": case.values})
    start = time.perf_counter()
    model = CMF(
        k=RANK,
        lambda_=PENALTY,
        method="als",
        use_cg=cg,
        user_bias=False,
        item_bias=False,
        center=False,
        niter=SWEEPS,
        use_float=dtype == np.float32,
        precompute_for_predictions=False,
        nthreads=cores(),
        random_state=0,
        verbose=False,
    ).fit(table)
    seconds = time.perf_counter() - start
    prediction = model.predict(case.asked[:, 0], case.asked[:, 1])
    return {"seconds": seconds, "rmse": float(np.sqrt(np.mean((prediction - case.truth) ** 2)))}


def smurff(case: Case) -> Result:
    """Gibbs sampling with normal priors: it draws its penalty, and averages the second half of its sweeps."""
    import scipy.sparse
    from smurff import FixedNoise, TrainSession, calc_rmse

    def sparse(indices, values):
        return scipy.sparse.coo_matrix((values, (indices[:, 0], indices[:, 1])), shape=case.shape)

    given, asked = sparse(case.indices, case.values), sparse(case.asked, case.truth)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        session = TrainSession(
            priors=["normal", "normal"],
            num_latent=RANK,
            burnin=SWEEPS // 2,
            nsamples=SWEEPS - SWEEPS // 2,
            num_threads=cores(),
            seed=0,
            verbose=0,
            save_name=os.path.join(folder, "out.hdf5"),
            save_freq=0,
        )
        session.addTrainAndTest(given, asked, FixedNoise(1 / NOISE**2))
        predictions = session.run()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "rmse": float(calc_rmse(predictions))}


METHODS: dict[str, Callable[[Case], Result]] = {
    "rankless float64": rankless,
    "rankless float32": lambda case: rankless(case, np.float32),
    "cmfrec exact float64": lambda case: cmfrec(case, cg=False),
    "cmfrec exact float32": lambda case: cmfrec(case, cg=False, dtype=np.float32),
    "cmfrec CG float64": lambda case: cmfrec(case, cg=True),
    "cmfrec CG float32": lambda case: cmfrec(case, cg=True, dtype=np.float32),
    "SMURFF float64": smurff,
}
