"""What is known of slices beside their values: where stations lie, how old users are, to which group a film belongs.

    side = {"station": table with a row a station}

A table of numbers or texts by mode, its rows told by labels where it has any. Texts are groups, and become a column of zeros and ones
each. Latitude and longitude are recognised by name, and distances between slices are then those on the globe, in thousands of
kilometres; otherwise distances are between rows of the table, every column over its standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.tensors.observations import Observations

LATITUDES, LONGITUDES = ("lat", "latitude"), ("lon", "lng", "long", "longitude")
RADIUS = 6.371  # of the earth, in thousands of kilometres


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the slices of one mode.

    Attributes
    ----------
    mode : the mode.
    names : of the columns, as they came.
    features : float64, shape ``(n, p)``: columns of mean 0 and variance 1, what is missing 0, columns of a group together as one.
    places : float64, shape ``(n, q)``: where distances are measured; NaN where it is not known.
    labels : texts, shape ``(n,)``, of the rows; None where row `i` is slice `i`.
    """

    mode: int
    names: tuple[str, ...]
    features: np.ndarray
    places: np.ndarray
    labels: np.ndarray | None = None

    def rows(self, obs: Observations) -> tuple[np.ndarray, np.ndarray]:
        """Features ``(d, p)`` and places ``(d, q)`` of the slices of `obs`; 0 and NaN for slices of which nothing is known."""
        own, size = obs.labels[self.mode], obs.shape[self.mode]
        if self.labels is None or own is None:
            at = np.where(np.arange(size) < len(self.features), np.arange(size), -1)
        else:
            known = {label: row for row, label in enumerate(self.labels.tolist())}
            at = np.array([known.get(text, -1) for text in texts(own)], dtype=np.intp)
        there = at >= 0
        features = np.where(there[:, None], self.features[at], 0.0)
        return features, np.where(there[:, None], self.places[at], np.nan)

    def beyond(self, obs: Observations) -> bool:
        """Whether the table has rows of slices that are not in `obs`: they may come later."""
        own = obs.labels[self.mode]
        return self.labels is not None and own is not None and not set(self.labels.tolist()) <= set(texts(own))


def known_of(side: Mapping[str | int, Any] | None, obs: Observations) -> tuple[Known, ...]:
    """`side` as it was given, for the slices of `obs`, in the order of its modes.

    Raises ValueError for a mode that is not there, rows that go with no slice, and columns that say nothing.
    """
    if side is None:
        return ()
    if not isinstance(side, Mapping):
        raise ValueError(f"side is a {type(side).__name__}; pass a table for each mode of which more is known: side={{'station': table}}")
    found = [_known(obs, obs.mode_index(mode), table) for mode, table in side.items()]
    modes = [known.mode for known in found]
    if len(set(modes)) < len(modes):
        raise ValueError(f"side={list(side)} names a mode twice; put all columns of a mode into one table")
    return tuple(sorted(found, key=lambda known: known.mode))


def labels_of_side(side: Mapping[str | int, Any] | None, name: str, mode: int) -> np.ndarray:
    """Labels of the rows that `side` has for a mode; none where its rows are told by their place."""
    for key in (name, mode):
        if isinstance(side, Mapping) and key in side:
            labels = _columns(side[key], name)[1]
            return np.array([], dtype=object) if labels is None else np.asarray(labels, dtype=object)
    return np.array([], dtype=object)


def with_labels(labels: np.ndarray, more: np.ndarray) -> np.ndarray:
    """`labels`, texts, and behind them those of `more` that they lack; other labels as they are."""
    if labels.dtype.kind not in "UO" or not len(more) or not all(isinstance(each, str) for each in labels):
        return labels
    lacking = [text for text in texts(more) if text not in set(labels.tolist())]
    return np.array([*labels.tolist(), *lacking], dtype=labels.dtype if labels.dtype.kind == "O" else None)


def is_on_globe(columns: Mapping[Any, np.ndarray]) -> bool:
    """Whether there is a latitude and a longitude among columns, told by their names."""
    return all(column is not None for column in _globe(columns))


def texts(labels: np.ndarray) -> list[str]:
    """Labels as texts, by which rows of a table are told: dates in ISO's way, whole numbers without a point.

    >>> texts(np.array([3.0, 4.5])), texts(np.array(["2020-01-01"], "datetime64[ns]"))
    (['3', '4.5'], ['2020-01-01'])
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "M":
        days = labels.astype("datetime64[D]")
        labels = days if (days == labels).all() else labels.astype("datetime64[s]")
        return labels.astype(str).tolist()
    return [str(int(each)) if isinstance(each, float) and each.is_integer() else str(each) for each in labels.tolist()]


def in_order(side: Mapping[str | int, Any], modes: Sequence[str], places: Sequence[np.ndarray | None]) -> Mapping[str | int, Any]:
    """`side` whose unlabelled rows, which stand as slices do in the data, stand as those of the observations do, `places` in them."""
    if not isinstance(side, Mapping) or not any(place is not None for place in places):
        return side
    moved = {}
    for key, table in side.items():
        place = places[modes.index(key)] if key in modes else None
        columns, labels = (None, None) if place is None else _columns(table, str(key))
        if place is None or columns is None or labels is not None:
            moved[key] = table
        else:
            order = np.argsort(place)
            moved[key] = {name: np.asarray(column)[order] for name, column in columns.items()}
    return moved


# --- helpers --------------------------------------------------------------------------------------------


def _known(obs: Observations, mode: int, table: Any) -> Known:
    name, size = obs.modes[mode], obs.shape[mode]
    columns, labels = _columns(table, name)
    count = len(next(iter(columns.values()), ()))
    numbers, groups = {}, []
    for key, column in columns.items():
        values = np.asarray(column)
        if values.dtype.kind in "mM":
            seconds = values.astype("datetime64[s]" if values.dtype.kind == "M" else "timedelta64[s]").astype(float)
            values = np.where(np.isnat(values), np.nan, seconds)
        if values.dtype.kind not in "iufb":
            try:
                values = values.astype(float)
            except (TypeError, ValueError):
                groups += _groups(values)
                continue
        numbers[key] = values.astype(float)
    used = {key: column for key, column in numbers.items() if np.nanstd(column) > 0} if count else {}
    if not used and not groups:
        raise ValueError(f"side[{name!r}] has no column in which slices differ; pass numbers, or texts that several slices share")
    at = None
    if labels is None:
        if count != size:
            raise ValueError(f"side[{name!r}] has {count} rows and {name} {size} slices; pass a row a slice, or a table with their labels")
    else:
        at = np.array(texts(np.asarray(labels)))
        _check_labels(at, obs, mode)
    columns_ = [_standard(column) for column in used.values()] + [np.column_stack(group) for group in groups]
    features = np.column_stack(columns_)
    names = tuple(str(key) for key in columns if key in used or key not in numbers)
    return Known(mode, names, features, _places(used, features), at)


def _columns(table: Any, name: str) -> tuple[dict[Any, Any], Any]:
    """Columns of `table`, and labels of its rows, None where it has none."""
    if isinstance(table, Mapping):
        columns = dict(table)
    elif hasattr(table, "columns"):
        columns = {key: np.asarray(table[key]) for key in table.columns}
        index = getattr(table, "index", None)
        if name not in columns and index is not None and type(index).__name__ not in ("RangeIndex", "method", "builtin_function_or_method"):
            return columns, np.asarray(index)
    else:
        array = np.asarray(table)
        if array.ndim not in (1, 2):
            raise ValueError(f"side[{name!r}] has shape {array.shape}; pass a row a slice and a column for each thing that is known")
        columns = {f"column {n}": column for n, column in enumerate(np.atleast_2d(array.T))}
    labels = columns.pop(name, None)
    return columns, labels


def _check_labels(at: np.ndarray, obs: Observations, mode: int) -> None:
    name, own = obs.modes[mode], obs.labels[mode]
    if own is None:
        raise ValueError(f"side[{name!r}] has labels and {name} none; pass a row a slice without labels, or data with labels")
    if len(set(at.tolist())) < len(at):
        twice = next(label for label in at.tolist() if at.tolist().count(label) > 1)
        raise ValueError(f"side[{name!r}] has two rows of {twice!r}; leave one")
    if not set(at.tolist()) & set(texts(own)):
        raise ValueError(
            f"side[{name!r}] has rows of {str(at[0])!r} and others, of which the data know none; they have {texts(own)[0]!r} and others"
        )


def _standard(column: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1; 0 where it is missing."""
    known = np.isfinite(column)
    column = np.where(known, column, np.nan)
    return np.where(known, (column - np.nanmean(column)) / np.nanstd(column), 0.0)


def _groups(values: np.ndarray) -> list[list[np.ndarray]]:
    """A column for each text that several rows share, all together of the variance of one; nothing where rows share none."""
    texts_ = np.array([str(each) for each in values.tolist()])
    names, counts = np.unique(texts_, return_counts=True)
    several = names[(counts > 1) & (counts < len(texts_))]
    if not len(several):
        return []
    return [[_standard((texts_ == each).astype(float)) / np.sqrt(len(several)) for each in several]]


def _globe(columns: Mapping[Any, np.ndarray]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The columns that by their names are latitude and longitude."""
    found = {str(key).strip().lower(): column for key, column in columns.items()}
    return tuple(next((found[key] for key in names if key in found), None) for names in (LATITUDES, LONGITUDES))  # pyright: ignore[reportReturnType]


def _places(columns: Mapping[Any, np.ndarray], features: np.ndarray) -> np.ndarray:
    """On the globe where latitude and longitude are there, else the features."""
    latitude, longitude = _globe(columns)
    if latitude is None or longitude is None:
        return features
    high, round_ = np.radians(latitude), np.radians(longitude)
    return RADIUS * np.column_stack([np.cos(high) * np.cos(round_), np.cos(high) * np.sin(round_), np.sin(high)])
