"""What the guard compares, measured with whatever checkout's rankless is imported: through its public names only.

Every function returns plain numbers and runs on one thread.
"""

from __future__ import annotations

import warnings

import numpy as np
from campaign import data
from threadpoolctl import threadpool_limits
from torture import coverage as intervals

from benchmarks.measures import accuracy, growth, planted, ratings
from benchmarks.measures.growth import ALLOWED
from benchmarks.measures.planted import SETTINGS
from rankless import TensorCompleter

PLANTED = {setting.name.split()[0]: setting for setting in SETTINGS}
COVERAGES = intervals.COVERAGES
KINDS = (*intervals.KINDS, "few", *data.NAMES)
FILES = (
    *(f"benchmarks/measures/{name}.py" for name in ("guarded", "accuracy", "growth", "planted", "ratings")),
    "campaign/data.py",
    "torture/coverage.py",
)  # what makes the figures, but for the code that is compared
NOT_COMPARED = ("oracle", "recovery", "peer", "race", "main_effects", "mean", "cmfrec", "smurff")  # functions of theirs


def completion(name: str, pattern: str, share: float, seed: int) -> dict[str, float]:
    """NRMSE of the whole automatic fit on one table of real data."""
    with threadpool_limits(1):
        return accuracy.fill(*data.case(name, pattern, share, seed), seed, n_jobs=1)[1]


def recovery(setting: str, seed: int) -> dict[str, float]:
    """Rank found and error on one planted tensor."""
    with threadpool_limits(1):
        return planted.fill(planted.plant(PLANTED[setting], seed), seed, n_jobs=1)[1]


def oracle(setting: str, seed: int) -> dict[str, float]:
    """The error of ALS told the truth, which hangs on no search."""
    with threadpool_limits(1):
        return {"oracle": planted.oracle(planted.plant(PLANTED[setting], seed))}


def rated(seed: int) -> dict[str, float]:
    """RMSE on ratings that were not given."""
    with threadpool_limits(1):
        return ratings.ours(seed, n_jobs=1)


def grown(table: str, depth: float, seed: int) -> dict[str, float]:
    """Error at one depth as the components that are allowed grow: ``at_10``, ``at_20`` ..."""
    with threadpool_limits(1):
        return {f"at_{allowed}": growth.ours(table, seed, depth, allowed, n_jobs=1)["nrmse"] for allowed in ALLOWED}


def covered(kind: str, seed: int) -> dict[str, float]:
    """Share of hidden cells within their intervals: ``inside_0.9`` ..."""
    if kind in data.NAMES:
        seen, whole = intervals.hidden(kind, 0.8, seed)
    elif kind == "few":
        seen, whole = intervals.planted("gaussian", seed, *intervals.FEW)
    else:
        seen, whole = intervals.planted(kind, seed)
    cells = np.argwhere(np.isnan(seen) & ~np.isnan(whole))
    truth = whole[tuple(cells.T)]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no observed entry", UserWarning)
        fitted = TensorCompleter(random_state=seed, n_jobs=1).fit(seen)
        bounds = {c: fitted.predict_interval(cells, c) for c in COVERAGES}
    return {f"inside_{c:g}": float(np.mean((lower <= truth) & (truth <= upper))) for c, (lower, upper) in bounds.items()}
