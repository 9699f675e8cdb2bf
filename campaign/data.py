"""Real tensors, standardised as everyone who is compared gets them, and the cells hidden from them.

Their modes are: sensor (station, car park or airport), day or year, hour or month within it, and variable
where there is more than one. Three patterns of hiding, each drawn from a seed:

- `cells`: each cell for itself;
- `fibres`: a whole day (year) of one sensor and variable, as where a device is off for a day;
- `blocks`: the days (years) of a sensor and variable are cut into runs of `RUN`, and whole runs are hidden,
  as where a device stays broken. Neighbouring runs may both be.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import numpy as np

from campaign.machine import ROOT

NAMES = ("metoffice_2001_2020", "birmingham_parking", "nyc_airport_weather")
PATTERNS = {"cells": (0.5, 0.8, 0.95), "fibres": (0.3, 0.6), "blocks": (0.3, 0.6)}  # and the shares hidden
RUN = {"metoffice_2001_2020": 3, "birmingham_parking": 7, "nyc_airport_weather": 5}  # years, days, days
DAYS, HOURS = 1, 2  # modes; years and months in Met Office
GUST_LIMIT = 900.0  # miles an hour; the one entry above is an error of the source


class Absent(Exception):
    """The data are not on this machine."""


def path(name: str) -> Path:
    """The .npz of a data set: in RANKLESS_DATA, in ../shared/data, or within the package."""
    folders = [Path(os.environ["RANKLESS_DATA"])] if "RANKLESS_DATA" in os.environ else [ROOT.parent / "shared" / "data"]
    packaged = Path(str(resources.files("rankless") / "data"))
    for candidate in [*(f / name / f"{name}.npz" for f in folders), packaged / f"{name}.npz"]:
        if candidate.exists():
            return candidate
    raise Absent(f"{name} is neither in {folders[0]} nor in the package; set RANKLESS_DATA to the folder that holds it")


def available() -> list[str]:
    """Data sets of `NAMES` that are here; says which are not."""
    found = []
    for name in NAMES:
        try:
            path(name)
            found.append(name)
        except Absent as reason:
            print(f"skipped: {reason}", flush=True)
    return found


def load(name: str) -> np.ndarray:
    """A data set as float64 with NaN where nothing was observed, mean 0 and deviation 1 (of each variable where it has variables)."""
    with np.load(path(name), allow_pickle=False) as stored:
        array = stored["tensor"].astype(float)
    if name == "birmingham_parking":
        array[array == 0] = np.nan
        axes = None
    else:
        axes = tuple(range(array.ndim - 1))
    if name == "nyc_airport_weather":
        wind = array[..., 3]
        wind[wind > GUST_LIMIT] = np.nan
    return (array - np.nanmean(array, axis=axes)) / np.nanstd(array, axis=axes)


def hide(array: np.ndarray, share: float, seed: int, *, pattern: str = "cells", run: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A copy with about `share` of the observed cells set to NaN, and the mask of those cells; `run`: days in a block."""
    if pattern not in PATTERNS:
        raise ValueError(f"pattern={pattern!r} is none of {', '.join(PATTERNS)}")
    drawn = list(array.shape)
    if pattern != "cells":
        drawn[HOURS] = 1
    if pattern == "blocks":
        drawn[DAYS] = -(-array.shape[DAYS] // run)
    mask = np.random.RandomState(seed).rand(*drawn) < share
    if pattern == "blocks":
        mask = np.take(np.repeat(mask, run, axis=DAYS), range(array.shape[DAYS]), axis=DAYS)
    hidden = mask & ~np.isnan(array)
    return np.where(hidden, np.nan, array), hidden


def case(name: str, pattern: str, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A data set and the mask of what is hidden from those who fill it."""
    array = load(name)
    return array, hide(array, share, seed, pattern=pattern, run=RUN[name])[1]
