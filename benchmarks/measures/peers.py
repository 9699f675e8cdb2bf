"""Other ways to fill a tensor, given the same cells, each at every setting of a grid.

A way takes an array with NaN and a seed and returns the array filled. Settings are the libraries' own
defaults but for what the grid says, the mask and, in tensorly, a random start (its SVD start reads the
missing cells as zeros); SMURFF's chain is shorter than its default.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from campaign import data
from threadpoolctl import threadpool_limits

from benchmarks.measures import admm, unfolded
from benchmarks.measures.accuracy import STAGES, Profile, automatic, nrmse
from rankless import Observations

RANKS = (3, 10, 30)
LIMIT = 60.0  # processor seconds for one fit of pyttb
BURN_IN, SAMPLES = 100, 100  # of SMURFF

Fill = Callable[[np.ndarray, int], np.ndarray]


def mean(array: np.ndarray, seed: int) -> np.ndarray:
    return np.where(np.isnan(array), np.nanmean(array), array)


def main_effects(array: np.ndarray, seed: int) -> np.ndarray:
    from rankless.units.effects import MainEffects

    fitted = MainEffects.fit(Observations.from_array(array)).at(np.argwhere(np.isnan(array)))
    filled = array.copy()
    filled[np.isnan(array)] = fitted
    return filled


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
    found = ttb.gcp_opt(tensor, rank, objective=Objectives.GAUSSIAN, optimizer=optimizer, init=start, mask=mask, printitn=0)[0]  # pyright: ignore[reportArgumentType]
    return found.full().data


def smurff(array: np.ndarray, seed: int, *, rank: int, noise: tuple[str, tuple[float, ...]] = ("FixedNoise", ())) -> np.ndarray:
    """Bayesian CP by Gibbs sampling, the mean of `SAMPLES` draws; `noise` is the class and its arguments."""
    import smurff as library

    def sparse(cells: np.ndarray):
        coordinates = [np.ascontiguousarray(c, dtype=np.int32) for c in np.nonzero(cells)]
        return library.SparseTensor((np.nan_to_num(array[cells]), coordinates), shape=list(array.shape))

    asked = np.isnan(array)
    chain = library.TrainSession(
        priors=["normal"] * array.ndim, num_latent=rank, burnin=BURN_IN, nsamples=SAMPLES, num_threads=1, seed=seed, verbose=0
    )
    chain.addTrainAndTest(sparse(~asked), sparse(asked), getattr(library, noise[0])(*noise[1]))
    filled = array.copy()
    for cell in chain.run():
        filled[tuple(cell.coords)] = cell.pred_avg
    return filled


@dataclass(frozen=True)
class Peer:
    """A way to fill with a grid of settings, ``{method: filler}``; `untuned` is the method of one who tunes nothing.

    `maker` is the library that decides the numbers, by its name on PyPI, or files of this repository.
    """

    name: str
    maker: str | tuple[str, ...]
    grid: Mapping[str, Fill]
    untuned: str


def made(name: str, maker: str | tuple[str, ...], fill: Callable[..., np.ndarray], grid: Mapping[str, Mapping], untuned: str = "") -> Peer:
    methods = {f"{name} {setting}".strip(): partial(fill, **options) for setting, options in grid.items()}
    return Peer(name, maker, methods, f"{name} {untuned}".strip())


_BY_RANK = {f"R={rank}": {"rank": rank} for rank in RANKS}
_NOISES = {  # SMURFF's default; its other one, as it is, and free to fall where the data have next to none
    "": ("FixedNoise", ()),
    " adaptive": ("AdaptiveNoise", ()),
    " adaptive to 1000": ("AdaptiveNoise", (1.0, 1000.0)),
}
_ADMM = ("benchmarks/measures/admm.py",)
PEERS = (  # the cheap ones first
    made("mean", "numpy", mean, {"": {}}),
    made("main effects", ("src/rankless/units/effects.py",), main_effects, {"": {}}),
    made("straight line", ("benchmarks/measures/along.py",), unfolded.line, {"": {}}),
    made("tensorly", "tensorly", tensorly, _BY_RANK, "R=10"),
    made(
        "cmfrec",
        "cmfrec",
        unfolded.cmfrec,
        {f"R={rank} penalty={penalty:g}": {"rank": rank, "penalty": penalty} for penalty in (10.0, 1.0) for rank in RANKS},
        "R=10 penalty=10",
    ),
    made("HaLRTC", _ADMM, admm.halrtc, {"": {}}),
    made("pyttb", "pyttb", pyttb, _BY_RANK, "R=10"),
    made("IterativeImputer", "scikit-learn", unfolded.iterative, {"": {}, "nearest=10": {"nearest": 10}}),
    made("LRTC-TNN", _ADMM, admm.lrtc_tnn, {f"theta={theta}": {"theta": theta} for theta in (0.05, 0.1, 0.2, 0.3)}, "theta=0.1"),
    made(
        "SMURFF",
        "smurff",
        smurff,
        {f"R={rank}{label}": {"rank": rank, "noise": noise} for label, noise in _NOISES.items() for rank in RANKS},
        "R=10",
    ),
    made("KNNImputer", "scikit-learn", unfolded.neighbours, {f"k={count}": {"count": count} for count in (3, 5, 10)}, "k=5"),
)
METHODS: dict[str, Fill] = {method: fill for peer in PEERS for method, fill in peer.grid.items()}


def timed(fill: Callable[..., np.ndarray], seen: np.ndarray, seed: int, **options) -> tuple[np.ndarray, dict[str, float]]:
    """What a peer fills in, its warnings unheard, and its seconds by the wall clock and of processor time."""
    start, worked = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the peers' own
        filled = fill(seen, seed, **options)
    return filled, {"seconds": time.perf_counter() - start, "processor": time.process_time() - worked}


def fixed(method: str, array: np.ndarray, hidden: np.ndarray, seed: int) -> dict[str, float]:
    """NRMSE of one way to fill on the hidden cells, and what it took."""
    filled, took = timed(METHODS[method], np.where(hidden, np.nan, array), seed)
    return {"nrmse": nrmse(array[hidden], filled[hidden]), **took}


def real(method: str, name: str, share: float, seed: int, *, pattern: str = "cells") -> dict[str, float]:
    """`fixed` on a real data set with `share` of it hidden, on one thread, so that processor time compares."""
    with threadpool_limits(1):
        return fixed(method, *data.case(name, pattern, share, seed), seed)


EFFORTS = {f'effort="{effort}"': effort for effort in ("fast", "best")}  # raced besides the default


def race(name: str, share: float, seed: int, against: Sequence[str] = ("pyttb R=10", "tensorly R=10")) -> dict[str, float | str]:
    """The whole automatic fit, then one fit of each peer at a given rank, on the same cells: ``METHOD seconds`` and ``METHOD nrmse``.

    And the seconds of the automatic fit's stages, ``STAGE``, how many ``fits`` it makes, and both for the other `EFFORTS`. Seconds are of
    processor time on one thread, BLAS included: on arrays of this size pyttb takes ten times as long with two.
    """
    array, hidden = data.case(name, "cells", share, seed)
    profile = Profile()
    with threadpool_limits(1):
        found = {"rankless": automatic(array, hidden, seed, callback=profile, n_jobs=1)}
        found |= {called: automatic(array, hidden, seed, effort=effort, n_jobs=1) for called, effort in EFFORTS.items()}
        found |= {method: fixed(method, array, hidden, seed) for method in against}
    seconds = {f"{method} seconds": result["processor"] for method, result in found.items()}
    scores = {f"{method} nrmse": result["nrmse"] for method, result in found.items()}
    return seconds | scores | {"fits": found["rankless"]["fits"]} | {stage: profile.seconds[stage] for stage in STAGES}
