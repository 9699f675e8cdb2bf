"""Ours on data made like people's, scored kind by kind of missing cell."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
from campaign import cases
from threadpoolctl import threadpool_limits

COVERAGE = 0.9


@dataclass(frozen=True)
class Case:
    """A set: what makes it from a seed, what `complete` is told besides, and the most that its errors may be, by kind."""

    make: Callable[..., cases.Made]
    how: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)


CASES = {
    "air": Case(cases.air),
    "air, small": Case(cases.air, {"stations": 16, "hours": 480}),
    "eem": Case(cases.eem),
    "eem, nonnegative": Case(cases.eem, options={"nonnegative": True}),
    "ocean": Case(cases.ocean, bounds={"sst": 0.22, "chl": 0.11, "par": 1.4}),
    "ocean, small": Case(cases.ocean, {"days": 60, "lats": 16, "lons": 24}),
    "units": Case(cases.units, {"scale": 1.0}),
    "units, 1e6": Case(cases.units),
    "smooth": Case(cases.smooth, bounds={"cells": 0.05}),
}


def ours(name: str, seed: int) -> dict[str, dict[str, float]]:
    """For each kind of missing cell: the error, the share inside intervals at .9, their width, and the error that was said of it.

    The error said is that of `score`, over all kinds. Processor seconds are those of the fit, and of what calibration takes after it.
    """
    import rankless

    case = CASES[name]
    made = case.make(seed=seed, **case.how)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        clock = process_time()
        done = rankless.complete(made.observed, modes=made.modes, random_state=0, n_jobs=1, **made.options, **case.options)
        fit = process_time() - clock
        lower, upper = done.interval(COVERAGE)
        calibration = process_time() - clock - fit
    filled, every = done.array(), np.zeros(made.truth.shape, bool)
    figures = {}
    for kind, mask in made.kinds.items():
        every |= mask
        figures[kind] = _figures(made.truth, filled, lower, upper, mask)
    figures["all"] = _figures(made.truth, filled, lower, upper, every) | {"said": float(done.score()["rmse"].iloc[0])}
    figures["all"] |= {"fit": fit, "calibration": calibration}
    return figures


def _figures(truth: np.ndarray, filled: np.ndarray, lower: np.ndarray, upper: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    true = truth[mask]
    return {
        "cells": int(mask.sum()),
        "rmse": float(np.sqrt(np.mean((filled[mask] - true) ** 2))),
        "inside": float(np.mean((lower[mask] <= true) & (true <= upper[mask]))),
        "width": float(np.mean(upper[mask] - lower[mask])),
    }
