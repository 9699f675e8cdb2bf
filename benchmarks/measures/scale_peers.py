"""Time to the same error beside other libraries, on arrays as large as each holds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from campaign.machine import cores

from benchmarks.measures.scale import NOISE, RANK, Ratings, made, truth
from rankless.als.annealing import empty, with_random
from rankless.als.entries import Chunks, Entries
from rankless.als.solver import Problem, sweep
from rankless.io.chunks import ROWS
from rankless.large import complete
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

CASES = {
    "matrix, 10 M": (10_000_000, (200_000, 50_000, 1)),
    "order 3, 10 M": (10_000_000, (100_000, 10_000, 1000)),
}
PENALTIES = (2.0, 4.0, 8.0, 16.0)  # of each library that takes one; the best counts
SWEEPS = 30
WITHIN = 1.02  # times the error of ours, at which time is taken


@cache
def case(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]]:
    """Coordinates ``(n, order)`` and values given, cells asked for and their planted values, and the shape."""
    count, shape = CASES[name]
    ratings = Ratings(count, shape)
    parts = list(ratings())
    coords, values = np.concatenate([c for c, _ in parts], axis=1), np.concatenate([v for _, v in parts])
    asked = ratings.asked()
    wanted = truth(ratings.factors(), asked)
    order = 3 if shape[2] > 1 else 2
    return coords[:order].T.copy(), values.astype(np.float64), asked[:order].T.copy(), wanted, shape[:order]


Step = tuple[float, float]  # seconds so far, without those that scoring took; error


def ours(name: str) -> Iterator[Step]:
    """Nothing chosen: depth, penalty, effects and rank are searched, then all is fitted."""
    indices, values, asked, wanted, shape = case(name)
    start = time.perf_counter()
    counts = tuple(np.bincount(column, minlength=d) for column, d in zip(indices.T, shape, strict=True))

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for first in range(0, len(values), ROWS):
            yield indices[first : first + ROWS].T, values[first : first + ROWS]

    done = complete(made(Chunks(shape, counts, read)))
    seconds = time.perf_counter() - start
    yield seconds, _error(done.predict(asked), wanted)


def plain(name: str, penalty: float) -> Iterator[Step]:
    """The engine's sweeps alone, from a random start at depth 0, as the others have it."""
    indices, values, asked, wanted, shape = case(name)
    start = time.perf_counter()
    entries = Entries(Observations.from_indices(indices, values, shape=shape))
    state = with_random(entries, empty(entries), RANK, np.random.default_rng(0))
    seconds = time.perf_counter() - start
    with Workers() as workers:
        for _ in range(SWEEPS):
            start = time.perf_counter()
            sweep(entries, state, Problem(0.0, penalty), workers)
            seconds += time.perf_counter() - start
            yield seconds, _error(state.model().at(asked), wanted)


def cmfrec(name: str, penalty: float, *, cg: bool) -> Iterator[Step]:
    import pandas as pd
    from cmfrec import CMF

    indices, values, asked, wanted, _ = case(name)
    table = pd.DataFrame({"UserId": indices[:, 0], "ItemId": indices[:, 1], "Rating": values})
    known = np.isin(asked[:, 0], indices[:, 0]) & np.isin(asked[:, 1], indices[:, 1])
    for sweeps in (4, 8, 15, SWEEPS):
        start = time.perf_counter()
        plain: dict[str, Any] = {
            "nthreads": cores(),
            "random_state": 0,
            "verbose": False,
            "user_bias": False,
            "item_bias": False,
            "center": False,
            "precompute_for_predictions": False,
        }
        model = CMF(k=RANK, lambda_=penalty, method="als", use_cg=cg, niter=sweeps, **plain)
        model.fit(table)
        seconds = time.perf_counter() - start
        said = np.zeros(len(asked))
        said[known] = model.predict(asked[known, 0], asked[known, 1])
        yield seconds, _error(said, wanted)


def smurff(name: str) -> Iterator[Step]:
    """Gibbs sampling, which draws its penalty; the error is that of the mean of its draws so far."""
    import scipy.sparse
    from smurff import FixedNoise, SparseTensor, TrainSession

    indices, values, asked, wanted, shape = case(name)

    def sparse(cells: np.ndarray, numbers: np.ndarray) -> Any:
        columns = tuple(np.ascontiguousarray(c, dtype=np.uint32) for c in cells.T)
        return scipy.sparse.coo_matrix((numbers, columns), shape=shape) if len(shape) == 2 else SparseTensor((numbers, columns), shape)

    given, test = sparse(indices, values), sparse(asked, wanted)
    with tempfile.TemporaryDirectory() as folder:
        save = {"save_name": os.path.join(folder, "out.hdf5"), "save_freq": 0}
        start = time.perf_counter()
        session = TrainSession(
            priors=["normal"] * len(shape), num_latent=RANK, burnin=4, nsamples=SWEEPS, num_threads=cores(), seed=0, verbose=0, **save
        )
        session.addTrainAndTest(given, test, FixedNoise(1 / NOISE**2))
        session.init()
        while session.step():
            status = session.getStatus()
            error = status.rmse_avg if status.phase == "Sample" else status.rmse_1sample
            yield time.perf_counter() - start, float(error)


METHODS: dict[str, tuple[tuple[str, ...], Callable[[str], Iterator[Iterator[Step]]]]] = {
    "rankless": (tuple(CASES), lambda name: iter([ours(name)])),
    "rankless' sweeps": (tuple(CASES), lambda name: (plain(name, p) for p in PENALTIES)),
    "cmfrec exact": (("matrix, 10 M",), lambda name: (cmfrec(name, p, cg=False) for p in PENALTIES)),
    "cmfrec CG": (("matrix, 10 M",), lambda name: (cmfrec(name, p, cg=True) for p in PENALTIES)),
    "SMURFF": (tuple(CASES), lambda name: iter([smurff(name)])),
}


def traced(name: str, method: str) -> dict[str, Any]:
    """Of the run whose least error is least, at the best of the penalties: seconds and errors, step by step."""
    runs = [list(run) for run in METHODS[method][1](name)]
    best = min(runs, key=lambda run: min(error for _, error in run))
    return {"seconds": " ".join(f"{s:.2f}" for s, _ in best), "rmse": " ".join(f"{e:.5f}" for _, e in best)}


def time_to(cell: dict[str, str], target: float) -> float:
    """Seconds to the first step whose error is `target` or less; infinite where there is none."""
    steps = zip(map(float, cell["seconds"].split()), map(float, cell["rmse"].split()), strict=True)
    return min((seconds for seconds, error in steps if error <= target), default=float("inf"))


def _error(said: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((said - wanted) ** 2)))
