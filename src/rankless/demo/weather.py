"""The demo's data."""

from __future__ import annotations

from importlib import resources

import numpy as np

from rankless.tensors.observations import Observations

MODES = ("airport", "day", "hour", "variable")
GUST_LIMIT = 900.0  # miles an hour: one entry of 1048 is an error of the source


def load() -> Observations:
    """The weather as it was recorded, in its own units, without the impossible gust."""
    source = resources.files("rankless") / "data" / "nyc_airport_weather.npz"
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        array, airports, variables = stored["tensor"].astype(float), stored["stations"], stored["variables"]
    wind = array[..., list(variables).index("wind_speed")]
    wind[wind > GUST_LIMIT] = np.nan
    days = np.arange("2013-01-01", "2014-01-01", dtype="datetime64[D]")
    return Observations.from_array(array, modes=MODES, labels=[airports, days.astype(str), np.arange(24), variables])


def names(obs: Observations) -> list[list[str]]:
    """The labels of every mode as text."""
    return [[obs.label(mode, i) for i in range(size)] for mode, size in enumerate(obs.shape)]
