"""Data made like that of people who fill gaps, with the truth: to measure on.

Each function takes a seed and gives what is `observed` (NaN where missing), the `truth` (NaN where there is none, such as land), and
`kinds`, a mask of missing cells for each kind: how hard they are differs, so each is scored apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter


@dataclass(frozen=True, eq=False)
class Made:
    """A data set: names of its modes, what is seen, the truth, the kinds of missing cells, and what `complete` is told of it."""

    modes: list[str]
    observed: np.ndarray
    truth: np.ndarray
    kinds: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)


def _ar(rng: np.random.Generator, n: int, phi: float, sd: float) -> np.ndarray:
    """An autoregression of order one."""
    return np.asarray(lfilter([1], [1, -phi], sd * rng.normal(size=n)))


def air(seed: int = 1, stations: int = 40, hours: int = 17520) -> Made:
    """Hourly NO2, O3, PM10, PM2.5 at stations: single cells, whole days, a station dead for two months, a pair never measured."""
    rng = np.random.default_rng(seed)
    h, day = np.arange(hours) % 24, np.arange(hours) // 24
    w, alt, lat = rng.dirichlet([0.7] * 3, size=stations), rng.normal(size=stations), rng.normal(size=stations)
    traffic = (np.exp(-(((h - 8) / 2) ** 2) / 2) + 0.9 * np.exp(-(((h - 18) / 2.5) ** 2) / 2)) * np.where((day + 6) % 7 < 5, 1, 0.55)
    heat = 1 + np.cos(2 * np.pi * (day - 15) / 365)
    sun = np.clip(np.sin(np.pi * (h - 6) / 12), 0, None) * (1.2 + 0.6 * np.cos(2 * np.pi * (day - 172) / 365))
    felt = np.stack([np.ones(stations), 0.4 * lat, 0.3 * alt, 0.3 * rng.normal(size=stations)], 1)
    weather = felt @ np.stack([_ar(rng, hours, 0.97, 0.25) for _ in range(4)])
    local = np.stack([[_ar(rng, hours, 0.9, 0.12) for _ in range(4)] for _ in range(stations)])
    base = np.exp(0.3 * rng.normal(size=stations))[:, None]
    truth = np.empty((stations, hours, 4))
    truth[..., 0] = base * (9 + 30 * w[:, :1] * traffic + 10 * w[:, 1:2] * heat) * np.exp(0.35 * weather + 0.8 * local[:, 0])
    truth[..., 1] = np.clip(
        40 + 35 * sun * (1 - 0.4 * w[:, :1]) + 6 * alt[:, None] - 0.5 * truth[..., 0] - 4 * weather + 8 * local[:, 1], 0, None
    )
    truth[..., 2] = base * (10 + 8 * w[:, :1] * traffic + 9 * heat * w[:, 1:2]) * np.exp(0.45 * weather + 0.8 * local[:, 2])
    truth[..., 3] = truth[..., 2] * np.clip(0.6 + 0.08 * local[:, 3] + 0.1 * np.cos(2 * np.pi * (day - 15) / 365), 0.2, 0.95)
    truth = np.round(truth * (1 + 0.05 * rng.normal(size=truth.shape)) + 0.5 * rng.normal(size=truth.shape), 1)
    cells = rng.random(truth.shape) < 0.03
    days = np.repeat(rng.random((stations, hours // 24 + 1, 4)) < 0.06, 24, axis=1)[:, :hours]
    dead, never = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    dead[7, int(0.29 * hours) : int(0.29 * hours) + min(1440, hours // 10)] = True
    never[12 % stations, :, 1] = True
    kinds = {"never": never, "dead": dead & ~never, "days": days & ~dead & ~never, "cells": cells & ~days & ~dead & ~never}
    missing = cells | days | dead | never
    return Made(["station", "hour", "pollutant"], np.where(missing, np.nan, truth), truth, kinds)


def eem(seed: int = 3, samples: int = 40) -> Made:
    """Fluorescence, samples x emission x excitation, three components; Rayleigh bands and the lower triangle missing."""
    rng = np.random.default_rng(seed)
    em, ex = np.arange(280, 602, 4.0), np.arange(240, 452, 6.0)

    def g(x: np.ndarray, m: float, s: float) -> np.ndarray:
        return np.exp(-(((x - m) / s) ** 2) / 2)

    emitted = np.stack([g(em, 305, 14) + 0.1 * g(em, 330, 25), g(em, 350, 22), g(em, 440, 45)], 1)
    excited = np.stack(
        [g(ex, 275, 9) + 0.5 * g(ex, 245, 12), g(ex, 282, 12) + 0.7 * g(ex, 250, 14), g(ex, 345, 28) + 0.5 * g(ex, 255, 15)], 1
    )
    amounts = rng.gamma(2, 1, size=(samples, 3))
    truth = 100 * np.einsum("ir,jr,kr->ijk", amounts, emitted, excited)
    noisy = truth + rng.normal(size=truth.shape) * np.sqrt(1 + 0.02 * truth)  # what would be measured: intervals are for that
    e, x = np.meshgrid(em, ex, indexing="ij")
    gone = np.broadcast_to((abs(e - x) < 14) | (e < x) | (abs(e - 2 * x) < 14), truth.shape)
    return Made(["sample", "emission", "excitation"], np.where(gone, np.nan, noisy), noisy, {"bands": gone})


def ocean(seed: int = 9, days: int = 120, lats: int = 40, lons: int = 80) -> Made:
    """Three variables x day x lat x lon, land for ever without a value, clouds in blobs over a fifth of the sea."""
    rng = np.random.default_rng(seed)
    lat = np.linspace(20, 59, lats)[:, None]
    land = gaussian_filter(rng.normal(size=(lats, lons)), 6)
    land = land > np.quantile(land, 0.7)
    maps = [gaussian_filter(rng.normal(size=(lats, lons)), s) for s in (12, 9, 7, 6, 5, 4, 4, 3)]
    maps = [m / m.std() for m in maps]
    season = np.cos(2 * np.pi * (np.arange(days) - 30) / 365)[:, None, None]
    anomaly = sum(
        _ar(rng, days, 0.95, 0.312 * a)[:, None, None] * m for a, m in zip((2, 1.5, 1.1, 0.9, 0.7, 0.6, 0.5, 0.4), maps, strict=True)
    )
    small = gaussian_filter(rng.normal(size=(days, lats, lons)), (2, 1.5, 1.5))
    small /= small.std()
    sst = 20 - 0.35 * (lat - 20) - (3 + 0.08 * (lat - 20)) * season + anomaly + 0.35 * small
    bloom = gaussian_filter(rng.normal(size=sst.shape), (2, 1.5, 1.5))
    chl = np.exp(-0.5 + 0.03 * (lat - 20) - 0.15 * anomaly + 0.5 * maps[2] * season + 0.25 * bloom * 6)
    par = (
        30
        - 15 * season
        - 0.3 * (lat - 20)
        + 2 * rng.normal(size=days)[:, None, None]
        + 30 * gaussian_filter(rng.normal(size=sst.shape), (1, 3, 3))
    )
    truth = np.stack([v + s * rng.normal(size=sst.shape) for v, s in ((sst, 0.1), (chl, 0.02), (par, 0.5))])
    truth[:, :, land] = np.nan
    cloud = gaussian_filter(rng.normal(size=sst.shape), (0.7, 4, 4))
    cloud = np.broadcast_to(cloud > np.quantile(cloud, 0.8), truth.shape) & ~np.isnan(truth)
    own = np.arange(3)[:, None, None, None]
    kinds = {name: cloud & (own == number) for number, name in enumerate(("sst", "chl", "par"))}
    return Made(["variable", "day", "lat", "lon"], np.where(cloud, np.nan, truth), truth, kinds, {"where": "day"})


def units(seed: int = 4, scale: float = 1e6) -> Made:
    """16 x 8 x 4 of rank 2, its last two variables in other units: the fill must not depend on them."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(16, 2)), 1 + 0.05 * np.arange(8)[:, None] * rng.normal(size=(1, 2)), rng.normal(size=(4, 2))
    x = np.einsum("ar,br,cr->abc", a, b, c) + 0.1 * rng.normal(size=(16, 8, 4))
    x = (5 + (x - x.mean((0, 1))) / x.std((0, 1))) * np.array([1, 1, scale, scale])
    gone = rng.random(x.shape) < 0.15
    own = np.arange(4)
    return Made(["a", "b", "variable"], np.where(gone, np.nan, x), x, {"plain": gone & (own < 2), "scaled": gone & (own > 1)})


def smooth(seed: int = 7, days: int = 120, sensors: int = 8, share: float = 0.4) -> Made:
    """The plainest table there is: a few smooth series with little noise, day x sensor, cells missing one by one."""
    rng, t = np.random.default_rng(seed), np.arange(days)
    x = np.stack([np.sin(t / 9 + a) + 0.5 * np.cos(t / 23 + 2 * a) for a in rng.uniform(0, 6, sensors)], 1) + 0.02 * rng.normal(
        size=(days, sensors)
    )
    gone = rng.random(x.shape) < share
    return Made(["day", "sensor"], np.where(gone, np.nan, x), x, {"cells": gone})
