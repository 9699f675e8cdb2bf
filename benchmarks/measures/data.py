"""Real tensors, standardised as everyone who is compared gets them, and the cells hidden from them."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import numpy as np

from benchmarks.machine import ROOT

NAMES = ("metoffice_2001_2020", "birmingham_parking", "nyc_airport_weather")
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


def hide(array: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A copy with about `share` of the observed cells set to NaN, and the mask of those cells."""
    drawn = np.random.RandomState(seed).rand(*array.shape)
    hidden = (drawn < share) & ~np.isnan(array)
    return np.where(hidden, np.nan, array), hidden
