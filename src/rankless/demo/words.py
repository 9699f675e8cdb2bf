"""Components in words: which variables go together, at which hours, on which days, at which airports."""

from __future__ import annotations

import calendar

import numpy as np

from rankless.tensors.cp_tensor import CPTensor

_ALIKE = 0.35  # spread, in root mean squares, below which a profile is called flat
_COUNTS = 0.4  # loadings below this share of the largest are left out
_SEASONAL = 0.3  # share of a day profile that its monthly means must explain to be called seasonal


def describe(model: CPTensor, airports: list[str], months: np.ndarray, variables: list[str]) -> list[tuple[float, str]]:
    """For each component, largest first: its share of the squares of all components, and a sentence.

    `model` has modes airport, day, hour, variable; `months` holds the month, 1 to 12, of each day.
    """
    norms = model.component_norms()
    said = []
    for r in np.argsort(-norms, kind="stable"):
        airport, day, hour, variable = _signed([factor[:, r] for factor in model.factors])
        parts = [_variables(variable, variables), _hours(hour), _days(day, months), _airports(airport, airports)]
        said.append((float(norms[r] ** 2 / (norms**2).sum()), "; ".join(parts)))
    return said


def _signed(vectors: list[np.ndarray]) -> list[np.ndarray]:
    """The same component, its strongest variable, mean hour and mean airport positive; the days take the sign."""
    airport, day, hour, variable = (v / (np.sqrt(np.mean(v**2)) or 1.0) for v in vectors)
    sign = 1.0
    flipped = []
    for vector, positive in ((airport, airport.mean()), (hour, hour.mean()), (variable, variable[np.abs(variable).argmax()])):
        flip = -1.0 if positive < 0 else 1.0
        sign *= flip
        flipped.append(flip * vector)
    return [flipped[0], sign * day, flipped[1], flipped[2]]


def _variables(loadings: np.ndarray, names: list[str]) -> str:
    order = np.argsort(-np.abs(loadings), kind="stable")
    strong = [i for i in order if abs(loadings[i]) >= _COUNTS * np.abs(loadings).max()]
    up, down = ([names[i] for i in strong if np.sign(loadings[i]) == sign] for sign in (1, -1))
    return f"{', '.join(up)} up" + (f" with {', '.join(down)} down" if down else "")


def _hours(profile: np.ndarray) -> str:
    if np.ptp(profile) < _ALIKE:
        return "all hours alike"
    top, low = int(profile.argmax()), int(profile.argmin())
    return f"most at {top}:00, {'the opposite' if profile[low] < -_ALIKE else 'least'} at {low}:00"


def _days(profile: np.ndarray, months: np.ndarray) -> str:
    means = np.array([profile[months == m].mean() if (months == m).any() else 0.0 for m in range(1, 13)])
    if np.sum(means[months - 1] ** 2) < _SEASONAL * np.sum(profile**2):
        return "comes and goes from day to day"
    if np.ptp(means) < _ALIKE:
        return "all year alike"
    top, low = (calendar.month_name[int(i) + 1] for i in (means.argmax(), means.argmin()))
    return f"most in {top}, {'the opposite' if means.min() < -_ALIKE else 'least'} in {low}"


def _airports(profile: np.ndarray, names: list[str]) -> str:
    if np.ptp(profile) < _ALIKE:
        return "all airports alike"
    return f"most at {names[int(profile.argmax())]}, least at {names[int(profile.argmin())]}"
