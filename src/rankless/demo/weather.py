"""The demo's data, and the scale of each variable."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np

from rankless.observations import Observations

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


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each variable, and the way there and back."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, obs: Observations) -> Standard:
        variable = obs.coords[-1]
        groups = [obs.values[variable == v] for v in range(obs.shape[-1])]
        return cls(np.array([g.mean() for g in groups]), np.array([g.std() for g in groups]))

    def apply(self, obs: Observations) -> Observations:
        variable = obs.coords[-1]
        return obs.with_values((obs.values - self.mean[variable]) / self.deviation[variable])

    def undo(self, values: np.ndarray, variable: np.ndarray) -> np.ndarray:
        return values * self.deviation[variable] + self.mean[variable]
