"""Other ways to fill a tensor, given the same cells: main effects, HaLRTC, tensorly and pyttb at fixed ranks.

Each takes an array with NaN and returns it filled. Settings are the libraries' own defaults but for
the mask and, in tensorly, a random start (its SVD start reads the missing cells as zeros).
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.measures import data
from benchmarks.measures.accuracy import automatic, nrmse
from rankless.effects import MainEffects
from rankless.observations import Observations

RANKS = (3, 10, 30)
LIMIT = 200.0  # processor seconds for one fit of pyttb

Fill = Callable[[np.ndarray, int], np.ndarray]


def main_effects(array: np.ndarray, seed: int) -> np.ndarray:
    fitted = MainEffects.fit(Observations.from_array(array)).at(np.argwhere(np.isnan(array)))
    filled = array.copy()
    filled[np.isnan(array)] = fitted
    return filled


def halrtc(array: np.ndarray, seed: int, *, rho: float = 1e-5, tol: float = 1e-4, sweeps: int = 300) -> np.ndarray:
    """High-accuracy low-rank tensor completion [liu2013]: sum of the unfoldings' nuclear norms, by ADMM, `rho` growing."""
    seen = ~np.isnan(array)
    filled = np.where(seen, array, 0.0)
    duals = [np.zeros_like(filled) for _ in range(array.ndim)]
    for _ in range(sweeps):
        rho = min(rho * 1.05, 1e5)
        parts = [_shrink(filled + dual / rho, mode, 1 / (array.ndim * rho)) for mode, dual in enumerate(duals)]
        before = filled
        filled = np.where(seen, array, np.mean([p - d / rho for p, d in zip(parts, duals, strict=True)], axis=0))
        duals = [d - rho * (p - filled) for p, d in zip(parts, duals, strict=True)]
        if any(p.any() for p in parts) and np.linalg.norm(filled - before) < tol * np.linalg.norm(before):  # at first all is shrunk away
            break
    return filled


def _shrink(tensor: np.ndarray, mode: int, threshold: float) -> np.ndarray:
    """Singular values of an unfolding lowered by `threshold`, through the small Gram matrix."""
    moved = np.moveaxis(tensor, mode, 0)
    flat = moved.reshape(len(moved), -1)
    squares, vectors = np.linalg.eigh(flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat)
    values = np.sqrt(np.maximum(squares, 0.0))
    keep = values > threshold
    projector = (vectors[:, keep] * ((values[keep] - threshold) / values[keep])) @ vectors[:, keep].T
    shrunk = projector @ flat if flat.shape[0] <= flat.shape[1] else flat @ projector
    return np.moveaxis(shrunk.reshape(moved.shape), 0, mode)


def tensorly(array: np.ndarray, seed: int, *, rank: int) -> np.ndarray:
    from tensorly import cp_to_tensor
    from tensorly.decomposition import parafac

    seen = ~np.isnan(array)
    return cp_to_tensor(parafac(np.where(seen, array, 0.0), rank, init="random", mask=seen.astype(float), random_state=seed))


def pyttb(array: np.ndarray, seed: int, *, rank: int) -> np.ndarray:
    """`gcp_opt` by L-BFGS-B, stopped where it has not ended after `LIMIT` processor seconds."""
    import pyttb as ttb
    from pyttb.gcp.handles import Objectives
    from pyttb.gcp.optimizers import LBFGSB

    logging.getLogger().setLevel(logging.ERROR)  # a warning on every step
    end = time.process_time() + LIMIT

    def stop_late(x) -> None:
        if time.process_time() > end:
            raise StopIteration

    seen = ~np.isnan(array)
    rng = np.random.default_rng(seed)
    start = ttb.ktensor([rng.uniform(size=(d, rank)) for d in array.shape])  # its own random start, from a seed of ours
    tensor = ttb.tensor(np.where(seen, array, 0.0))
    start *= tensor.norm() / start.norm()
    mask = ttb.tensor(seen.astype(float))
    optimizer = LBFGSB(callback=stop_late)
    found = ttb.gcp_opt(tensor, rank, objective=Objectives.GAUSSIAN, optimizer=optimizer, init=start, mask=mask, printitn=0)[0]
    return found.full().data


def _at_rank(function, rank: int) -> Fill:
    return lambda array, seed: function(array, seed, rank=rank)


METHODS: dict[str, Fill] = {"main effects": main_effects, "HaLRTC": halrtc}
METHODS |= {f"tensorly R={rank}": _at_rank(tensorly, rank) for rank in RANKS}
METHODS |= {f"pyttb R={rank}": _at_rank(pyttb, rank) for rank in RANKS}


def fixed(method: str, array: np.ndarray, hidden: np.ndarray, seed: int) -> dict[str, float]:
    """NRMSE of one way to fill on the hidden cells, and its seconds."""
    seen = np.where(hidden, np.nan, array)
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the peers' own
        filled = METHODS[method](seen, seed)
    seconds = time.perf_counter() - start
    return {"nrmse": nrmse(array[hidden], filled[hidden]), "seconds": seconds}


def real(method: str, name: str, share: float, seed: int) -> dict[str, float]:
    """`fixed` on a real data set with `share` of its cells hidden."""
    array = data.load(name)
    return fixed(method, array, data.hide(array, share, seed)[1], seed)


def race(name: str, share: float, seed: int, against: Sequence[str] = ("pyttb R=10", "tensorly R=10")) -> dict[str, float | str]:
    """The whole automatic fit, then one fit of each peer at a given rank, on the same cells: ``METHOD seconds`` and ``METHOD nrmse``."""
    array = data.load(name)
    hidden = data.hide(array, share, seed)[1]
    found = {"rankless": automatic(array, hidden, seed)} | {method: fixed(method, array, hidden, seed) for method in against}
    return {f"{method} {what}": result[what] for method, result in found.items() for what in ("seconds", "nrmse")}
