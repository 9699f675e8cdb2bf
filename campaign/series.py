"""Ordered data, time x sensor, and the cells hidden from them: what people who fill gaps mostly have.

Columns have mean 0 and deviation 1. The sets of `SETS` are complete, but for New York's weather. Four patterns of hiding, each drawn
from a seed:

- `cells`: each cell for itself;
- `blocks`: runs of one sensor, a tenth of the time long;
- `last`: the end of about half of the sensors;
- `blackout`: runs of all sensors at once, a fiftieth of the time long.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from campaign import data
from campaign.data import Absent
from campaign.machine import ROOT

PATTERNS = ("cells", "blocks", "last", "blackout")


@dataclass(frozen=True)
class Set:
    """A set of series: its rows, the periods that its step suggests, and the shape in which rankless gets it (time modes first)."""

    name: str
    make: Callable[[], np.ndarray]
    periods: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()

    def folded(self, matrix: np.ndarray) -> np.ndarray:
        """The array that rankless gets of a matrix of times by sensors."""
        return matrix.reshape(self.shape) if self.shape else matrix


def standardised(matrix: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1."""
    matrix = np.asarray(matrix, dtype=float)
    return (matrix - np.nanmean(matrix, axis=0)) / np.nanstd(matrix, axis=0)


def stored(name: str, count: int | None = None) -> np.ndarray:
    """The first `count` rows of a set on file, ``series/NAME.npz`` in RANKLESS_DATA or in ../shared/data; the last where it is negative."""
    folder = Path(os.environ["RANKLESS_DATA"]) if "RANKLESS_DATA" in os.environ else ROOT.parent / "shared" / "data"
    path = folder / "series" / f"{name}.npz"
    if not path.exists():
        raise Absent(f"series/{name}.npz is not in {folder}; set RANKLESS_DATA to the folder that holds it")
    with np.load(path, allow_pickle=False) as archive:
        return standardised(archive["tensor"][count:] if count is not None and count < 0 else archive["tensor"][:count])


NEW_YORK = "nyc_airport_weather"


def flat(array: np.ndarray) -> np.ndarray:
    """An array of `data` as hours by airport and variable."""
    moved = np.moveaxis(array, (data.DAYS, data.HOURS), (0, 1))
    return moved.reshape(moved.shape[0] * moved.shape[1], -1)


def waves(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The plainest table there is, 120 days x 8 sensors of smooth waves with little noise, and a mask of 40 % of its cells."""
    rng, t = np.random.default_rng(seed), np.arange(120)
    phases = rng.uniform(0, 6, 8)
    made = np.stack([np.sin(t / 9 + a) + 0.5 * np.cos(t / 23 + 2 * a) for a in phases], 1) + 0.02 * rng.normal(size=(120, 8))
    return made, rng.random(made.shape) < 0.4


SMOOTH = "smooth"  # made anew for every seed
FIRST = 7  # the seed of the smooth table at seed 0
SETS = {
    one.name: one
    for one in (
        Set(SMOOTH, lambda: waves(FIRST)[0]),
        Set("chlorine_600", lambda: stored("chlorine", 600)),
        Set("stock_1500", lambda: stored("stock_exchange", 1500)),
        Set("stock_512", lambda: stored("stock_exchange", 512)),
        Set("stock_520", lambda: stored("stock_exchange", 520)),
        Set("air_quality", lambda: stored("air_quality"), (24,)),
        Set("air_quality_41x24", lambda: stored("air_quality"), (24,), (41, 24, 10)),
        Set("eeg_alcohol", lambda: stored("eeg_alcohol")),
        Set("electricity_56x24", lambda: stored("electricity", -1344), (24, 168), (56, 24, 20)),
        Set(NEW_YORK, lambda: flat(data.load(NEW_YORK)), (24,), (-1, 24, 3, 7)),
    )
}


def mask(shape: tuple[int, int], pattern: str, share: float, seed: int) -> np.ndarray:
    """The cells to hide of complete series of `shape` (times, sensors), as booleans."""
    if pattern not in PATTERNS:
        raise ValueError(f"pattern={pattern!r} is none of {', '.join(PATTERNS)}")
    rng, (times, sensors) = np.random.RandomState(seed), shape
    if pattern == "cells":
        return rng.rand(times, sensors) < share
    gone = np.zeros(shape, dtype=bool)
    if pattern == "last":
        gone[times - int(times * share) :, rng.rand(sensors) < 0.5] = True
        return gone
    length = max(2, times // (10 if pattern == "blocks" else 50))
    while gone.mean() < share:
        if pattern == "blocks":
            sensor = rng.randint(sensors)
            start = rng.randint(-length // 2, times - length // 2)
            gone[max(0, start) : start + length, sensor] = True
        else:
            start = rng.randint(0, times - length)
            gone[start : start + length] = True
    return gone


@cache
def load(name: str) -> np.ndarray:
    return SETS[name].make()


def case(name: str, pattern: str, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Series, time x sensor, and the mask of what is hidden from those who fill them."""
    if name == SMOOTH:
        return waves(FIRST + seed)
    if name == NEW_YORK:  # its cells are hidden as on the page of multiway data
        array, hidden = data.case(name, pattern, share, seed)
        return flat(array), flat(hidden)
    matrix = load(name)
    return matrix, mask((matrix.shape[0], matrix.shape[1]), pattern, share, seed) & ~np.isnan(matrix)


def absent(name: str) -> str:
    """Why a set is not on this machine; empty where it is."""
    try:
        load(name)
    except Absent as reason:
        return str(reason)
    return ""
