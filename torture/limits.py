"""Numerical limits: sizes, shapes and structures at which a fit may overflow, stick, run away or have no answer.

Whatever comes in, what comes out is finite, the same each time and on any number of threads, follows the
units, and an ill-posed problem is called one. A few refusals are right answers too: they say why.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankless import Observations, als, complete
from torture import record

SEEDS = 3
ROUNDING = 1e-14  # share by which an objective may seem to rise
UNITS = 2.0**20  # a power of two: in other units every bit is the same
SOURCES = ("src/rankless/**/*.py", "src/rankless/als/*.py")
SHAPE = (10, 9, 8)


@dataclass(frozen=True)
class Limit:
    """How to make the data from a seed, and what has to be `said` of them: in the error, a warning or the summary."""

    make: Callable[[int], np.ndarray]
    said: str = ""
    refused: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def planted(shape, rank: int, share: float, seed: int, noise: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    letters = "abcdefgh"[: len(shape)]
    truth = np.einsum(",".join(c + "r" for c in letters) + "->" + letters, *(rng.normal(size=(d, rank)) for d in shape))
    return holed(truth / truth.std() + noise * rng.normal(size=shape), share, rng)


def holed(array: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(array.shape) > share, np.nan, array)


def usual(seed: int) -> np.ndarray:
    return planted(SHAPE, 2, 0.6, seed)


def constant_slices(seed: int) -> np.ndarray:
    array = usual(seed)
    for where, value in ((np.s_[3], 2.0), (np.s_[:, 4], 0.0)):
        array[where] = np.where(np.isnan(array[where]), np.nan, value)
    return array


def twins(seed: int) -> np.ndarray:
    array = usual(seed)
    array[5], array[:, 3] = array[2], array[:, 7]
    return array


def one_a_row(seed: int) -> np.ndarray:
    array, rng = planted((40, 9, 8), 2, 0.6, seed), np.random.default_rng(seed)
    alone = np.zeros((30, 72), dtype=bool)
    alone[np.arange(30), rng.integers(72, size=30)] = True
    array[10:] = np.where(alone.reshape(30, 9, 8), rng.normal(size=(30, 9, 8)), np.nan)
    return array


def collinear(seed: int) -> np.ndarray:
    """Three components with a congruence of .99 between any two: the swamp in which alternating least squares creeps."""
    rng, factors = np.random.default_rng(seed), []
    for d in SHAPE:
        basis = np.linalg.qr(rng.normal(size=(d, 4)))[0]
        shared = 0.99 ** (1 / len(SHAPE))  # cosine in each mode
        factors.append(np.sqrt(shared) * basis[:, :1] + np.sqrt(1 - shared) * basis[:, 1:])
    return holed(1e2 * np.einsum("ar,br,cr->abc", *factors) + 0.02 * rng.normal(size=SHAPE), 0.6, rng)


def border(seed: int, share: float = 0.6) -> np.ndarray:
    """``a b e + a c d + f b d``: of rank 3, yet two components come as near as one likes, growing as they cancel [desilva2008]."""
    rng = np.random.default_rng(seed)
    (a, f), (b, c), (d, e) = rng.normal(size=(3, 2, 8))
    tensor = sum((np.einsum("i,j,k->ijk", *vectors) for vectors in ((a, b, e), (a, c, d), (f, b, d))), np.zeros((8, 8, 8)))
    return holed(tensor / tensor.std(), share, rng)


def by_slice(decades: float) -> Callable[[int], np.ndarray]:
    return lambda seed: usual(seed) * 10.0 ** np.linspace(-decades / 2, decades / 2, SHAPE[0])[:, None, None]


def with_outlier(value: float) -> Callable[[int], np.ndarray]:
    def make(seed: int) -> np.ndarray:
        array = usual(seed)
        array[tuple(np.random.default_rng(seed).choice(np.argwhere(~np.isnan(array))))] = value
        return array

    return make


OUTLIER = r"it alone decides the fit; set it to NaN where it is a mistake"
CANCEL = r"nearly cancel .*: their sum means something, each alone does not"
LIMITS = {
    **{f"values of {size:g}": Limit(lambda seed, size=size: usual(seed) * size) for size in (1e-310, 1e-150, 1e150, 1e300)},
    **{f"float32 of {size:g}": Limit(lambda seed, size=size: (usual(seed) * size).astype(np.float32)) for size in (1e-35, 1e35)},
    "constant slices": Limit(constant_slices),
    "rank above every size": Limit(lambda seed: planted((6, 5, 4), 12, 0.8, seed)),
    "order 8": Limit(lambda seed: planted((3,) * 8, 2, 0.1, seed)),
    "modes of size 1": Limit(lambda seed: planted((1, 12, 1, 10, 1), 2, 0.9, seed)),
    "99.9 % missing": Limit(lambda seed: planted((60, 60, 60), 1, 0.0012, seed), r"filling them is extrapolation"),
    "one entry in most slices": Limit(one_a_row, r"30 slices of mode_0 have fewer than 3 observed entries; filling them is extrapolation"),
    "one entry in every slice": Limit(
        lambda seed: np.where(np.eye(9) > 0, planted((9, 9), 1, 1.0, seed), np.nan),
        r"9 observed entries are fewer than the 17 numbers",
        True,
    ),
    "twin slices": Limit(twins),
    "collinear components": Limit(collinear),
    "border rank, all but one seen": Limit(
        lambda seed: border(seed, 0.998), CANCEL, options={"max_rank": 2, "depth": 0.0, "penalty": 1e-8}
    ),
    "border rank, 60 % seen": Limit(border, CANCEL, options={"max_rank": 2, "depth": "auto", "penalty": "auto"}),
    "offset 1e8 times the signal": Limit(lambda seed: usual(seed) + 1e8),
    "offset 1e12 times the signal": Limit(lambda seed: usual(seed) + 1e12, r"take the offset off before the fit"),
    "integers": Limit(lambda seed: np.round(10 * planted(SHAPE, 1, 1.0, seed)).astype(np.int16)),
    "booleans": Limit(lambda seed: planted(SHAPE, 1, 1.0, seed) > 0),
    "slices 12 decades apart": Limit(by_slice(12)),
    "slices 200 decades apart": Limit(by_slice(200)),
    "all negative": Limit(lambda seed: -1 - np.abs(usual(seed))),
    "an outlier of 1e30": Limit(with_outlier(1e30), OUTLIER),
    "an outlier of 1e200": Limit(with_outlier(1e200), r"no double holds the squares of both; set it to NaN", True),
}


def examine(limit: Limit, seed: int, **options: Any) -> dict[str, bool]:
    """Every promise that applies to data at a limit, and whether it is kept."""
    array, options = limit.make(seed), {"random_state": 0, **limit.options, **options}
    if limit.refused:
        try:
            complete(array, **options)
        except ValueError as error:
            return {"refused in words": re.search(limit.said, str(error)) is not None}
        return {"refused in words": False}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = complete(array, n_jobs=1, **options)
        again = complete(array, n_jobs=2, **options)
        scaled = complete(array * array.dtype.type(UNITS), n_jobs=1, **options) if _has_units(array) else None
        words = "\n".join([done.summary(), *(str(w.message) for w in caught)])
    kept = {
        "finite": bool(np.isfinite(done.filled).all()),
        "what was seen is kept": bool((done.filled == array)[~np.isnan(array)].all()),
        "same on 2 threads": again.filled.tobytes() == done.filled.tobytes(),
        "no warning but in words": all(issubclass(w.category, UserWarning) for w in caught),
        "objective falls": all(falls(array, depth, penalty) for depth in (0.0, 2.0) for penalty in (1e-6, 1.0)),
    }
    if scaled is not None:
        kept["follows the units"] = scaled.filled.tobytes() == (done.filled * array.dtype.type(UNITS)).tobytes()
    return {**kept, **({"said": re.search(limit.said, words) is not None} if limit.said else {})}


def falls(array: np.ndarray, depth: float, penalty: float) -> bool:
    """Whether the objective never rises beyond rounding in a fit from a random start, which ends in finite numbers."""
    obs, _ = Observations.from_array(array).scaled()
    fit = als.solve(obs, depth=depth, penalty=penalty, max_rank=12, max_sweeps=100, random_state=0, n_jobs=1)
    before, after = np.array(fit.objective[:-1]), np.array(fit.objective[1:])
    return bool(np.all(after <= before * (1 + ROUNDING)) and all(np.isfinite(factor).all() for factor in fit.model.factors))


def _has_units(array: np.ndarray) -> bool:
    """Whether a power of two rounds none of the values: they are neither subnormal nor near the largest number."""
    if array.dtype.kind != "f":
        return False
    numbers, sizes = np.finfo(array.dtype), np.abs(array[np.nonzero(np.nan_to_num(array))])
    return bool(sizes.max() < numbers.max / UNITS / 1e3 and sizes.min() > numbers.tiny / numbers.eps)


def store(**how):
    return record.store("limits", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for name, limit in LIMITS.items():
        print(cells.measure({"fault": f"numbers: {name}"}, lambda limit=limit: measure(limit)), flush=True)


def measure(limit: Limit) -> dict[str, object]:
    """All promises over a few seeds, everything free to be chosen."""
    kept = [(name, good) for seed in range(SEEDS) for name, good in examine(limit, seed).items()]
    broken = sorted({name for name, good in kept if not good})
    kind = "refused in words" if limit.refused else "filled, and said to be ill-posed" if limit.said else "filled"
    return record.fault([good for _, good in kept], kind if not broken else f"broken: {', '.join(broken)}")
