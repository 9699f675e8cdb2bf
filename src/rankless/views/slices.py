"""One fibre of the data, observed and filled: the longest mode runs, the others stand still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rankless.tensors.canonical import COUNTABLE, numbers_of
from rankless.tensors.observations import Observations
from rankless.views import Done
from rankless.views.axes import Axis, axes_of, longest

COVERAGE = 0.9  # of the interval band


@dataclass(frozen=True, eq=False)
class Fibre:
    """Cells along `axis`; `observed` is NaN where nothing was, `lower` and `upper` are None where no interval can be promised."""

    title: str
    axis: Axis
    places: np.ndarray  # slices of the axis that are shown
    observed: np.ndarray
    filled: np.ndarray  # the prediction everywhere, also where there is an observation
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None


def fibre(done: Done, where: Mapping[str, object], *, most: int = 1000) -> Fibre:
    """The cells at `where`, a slice of every mode but one: ``{"airport": "LGA", "hour": 12}``, by label or number.

    Of a long mode the `most` cells with the most change between observed and missing are shown.
    """
    obs = done.observations
    fixed = {obs.mode_index(name): _slice_of(obs, obs.mode_index(name), label) for name, label in where.items()}
    free = [mode for mode in range(obs.order) if mode not in fixed]
    if len(free) != 1:
        raise ValueError(
            f"{dict(where)!r} leaves {len(free)} modes of {', '.join(map(repr, obs.modes))} free; name a slice of all modes but one"
        )
    axis = axes_of(obs)[free[0]]
    on = np.ones(obs.size, dtype=bool)
    for mode, index in fixed.items():
        on &= obs.coords[mode] == index
    observed = np.full(axis.size, np.nan)
    observed[obs.coords[axis.mode][on]] = obs.values[on]
    places = _window(~np.isnan(observed), most)
    cells = np.empty((len(places), obs.order), dtype=np.int64)
    cells[:, axis.mode] = places
    for mode, index in fixed.items():
        cells[:, mode] = index
    title = ", ".join(f"{obs.modes[mode]} {obs.label(mode, index)}" for mode, index in sorted(fixed.items()))
    cells = done.given.data_order(cells)
    lower, upper = _interval(done, cells)
    return Fibre(title, axis, places, observed[places], done.predict(cells), lower, upper)


def choose(done: Done, *, count: int = 12) -> list[dict[str, object]]:
    """Where to look: fibres along the longest mode that have both gaps and entries, spread over the other modes' slices."""
    obs = done.observations
    along = longest(axes_of(obs)).mode
    others = [mode for mode in range(obs.order) if mode != along]
    spots, counts = _spots(obs, others)
    size = obs.shape[along]
    both = np.minimum(counts, size - counts) / size  # 0 where all or nothing was observed
    rng = np.random.default_rng(0)  # ties are many: not always the first slice of every mode
    ranked = spots[np.lexsort([rng.random(len(spots)), -np.round(np.minimum(both, 0.1), 2)])]
    used: list[dict[int, int]] = [{} for _ in others]
    chosen: list[np.ndarray] = []
    for spot in ranked[:2000]:  # first of each slice, then second ...: no slice is shown twice while another was not
        if all(seen.get(int(index), 0) <= len(chosen) // obs.shape[mode] for seen, index, mode in zip(used, spot, others, strict=True)):
            chosen.append(spot)
            for seen, index in zip(used, spot, strict=True):
                seen[int(index)] = seen.get(int(index), 0) + 1
        if len(chosen) == count:
            break
    chosen.sort(key=lambda spot: tuple(spot[::-1].tolist()))
    return [{obs.modes[mode]: int(index) for mode, index in zip(others, spot, strict=True)} for spot in chosen]


def _spots(obs: Observations, others: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Fibres with an entry, a row of coordinates each, and their entries."""
    shape = tuple(obs.shape[mode] for mode in others)
    if np.prod(shape, dtype=float) < COUNTABLE:  # one number a fibre sorts twenty times faster than a row
        keys, counts = np.unique(numbers_of(obs.coords[others], shape), return_counts=True)
        return np.stack(np.unravel_index(keys, shape), axis=1), counts
    return np.unique(obs.indices[:, others], axis=0, return_counts=True)


def _slice_of(obs: Observations, mode: int, label: object) -> int:
    """The number of a slice given by its label, or by its number where labels are not whole numbers."""
    labels = obs.labels[mode]
    if labels is not None:
        found = [i for i in range(obs.shape[mode]) if obs.label(mode, i) == str(label)]
        if found:
            return found[0]
    if isinstance(label, (int, np.integer)) and 0 <= label < obs.shape[mode]:
        return int(label)
    some = ", ".join(obs.label(mode, i) for i in range(min(5, obs.shape[mode])))
    raise ValueError(f"no slice {label!r} in {obs.modes[mode]!r}; its slices are {some}, ... ({obs.shape[mode]} in all)")


def _window(seen: np.ndarray, most: int) -> np.ndarray:
    """The `most` neighbouring places with the most changes between seen and unseen."""
    if len(seen) <= most:
        return np.arange(len(seen))
    changes = np.append(0, np.cumsum(seen[1:] != seen[:-1]))
    start = int(np.argmax(changes[most - 1 :] - changes[: len(seen) - most + 1]))
    return np.arange(start, start + most)


def _interval(done: Done, cells: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Ends at `cells`; None where there are too few entries to promise any."""
    try:
        return done.predict_interval(cells, COVERAGE)
    except ValueError:
        return None, None
