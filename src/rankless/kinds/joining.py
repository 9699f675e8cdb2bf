"""Data that came later, joined to those that were there: one array, with the new slices among the old ones.

What came later is of the kind that was there, or at least a table with its columns. Slices are told by their labels; where a
mode has none, slices along one mode are appended. Labels that stand in their order, as those of a table do, stay in order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rankless.kinds import understand
from rankless.kinds.given import Dense, Given, Plain, Roles
from rankless.kinds.standard import FEWEST, Standard
from rankless.tensors.canonical import canonical
from rankless.tensors.observations import Duplicates, Marks, Observations
from rankless.tensors.spelling import alike, sorted_by_value


@dataclass(frozen=True, eq=False)
class Joined:
    """Old and new data together.

    given : all of them; of a cell that stands in both, what came later.
    was : for each mode the slice that each slice was before, -1 where it is new.
    fresh : a mask of the entries of ``given.observations`` that came later.
    before : the data that were there.
    """

    given: Given
    was: tuple[np.ndarray, ...]
    fresh: np.ndarray
    before: Given

    @property
    def grown(self) -> list[int]:
        """The modes that have new slices."""
        return [mode for mode, was in enumerate(self.was) if (was < 0).any()]

    def doubts(self) -> list[str]:
        """A sentence for each mode with a new label that differs from an old one by blanks, capitals or the writing of a number only."""
        found, obs = [], self.given.observations
        for mode in self.grown:
            label, new = obs.labels[mode], self.was[mode] < 0
            for group in [] if label is None else alike(label):
                one, two = (next((i for i in group if new[i] == later), None) for later in (True, False))
                if one is not None and two is not None:
                    found.append(
                        f"{obs.modes[mode]} {obs.label(mode, one)!r} came later as a new one beside {obs.label(mode, two)!r}, which it may "
                        "be meant for: they differ by blanks, capitals or the writing of a number; write it as it was, or leave it if they "
                        "are two"
                    )
                    break
        return found


def join(
    given: Given, more: Any, *, along: str | int | None = None, duplicates: Duplicates = "error", missing: Marks = (), grow: bool = False
) -> Joined:
    """`more`, data of the kind that `given` was made of, joined to it; see the module.

    Parameters
    ----------
    along : the mode along which slices without labels are new; the one in which shapes differ, if left out.
    duplicates, missing : as in `rankless.complete`.
    grow : slices without labels are new ones, even where the shape is the same.

    Raises ValueError where `more` does not go with `given`.
    """
    obs = given.observations
    later = _understood(given, more, duplicates, missing)
    add = later.observations
    if add.order != obs.order or (any(label is not None for label in add.labels) and add.modes != obs.modes):
        raise ValueError(
            f"what came later has modes {', '.join(add.modes)} and the data {', '.join(obs.modes)}; "
            "pass data of the same modes, in this order"
        )
    mode = _unlabelled(obs, add, along, grow)
    labels, was, places = [], [], []
    for m in range(obs.order):
        if m == mode:
            size = obs.shape[m] + add.shape[m]
            labels.append(None)
            was.append(np.where(np.arange(size) < obs.shape[m], np.arange(size), -1))
            places.append(obs.shape[m] + np.arange(add.shape[m]))
        else:
            for part, value in zip((labels, was, places), _joined_labels(obs, add, m), strict=True):
                part.append(value)
    shape = tuple(len(w) for w in was)
    there = tuple(np.argsort(np.where(w < 0, len(w), w), kind="stable")[: obs.shape[m]] for m, w in enumerate(was))
    coords = np.concatenate([_moved(obs.coords, there), _moved(add.coords, places)], axis=1).astype(np.int32)
    values = np.concatenate([obs.values, add.values.astype(obs.values.dtype)])
    weights = None
    if obs.weights is not None or add.weights is not None:
        usual = 1.0 if obs.weights is None else float(np.mean(obs.weights))
        weights = np.concatenate([np.full(o.size, usual) if o.weights is None else o.weights for o in (obs, add)])
    marks = np.arange(len(values), dtype=np.float64)
    both, marks, _ = canonical(coords, marks, None, shape, "last")
    order = marks.astype(np.int64)
    joined = Observations(
        both,
        values[order],
        shape,
        None if weights is None else weights[order],
        obs.modes,
        tuple(labels),
        obs.value_name,
        None if obs.where is None else _larger_where(obs, there, shape, was),
    )
    if joined.where is not None:
        inside = joined.where[tuple(joined.coords)]
        joined, order = joined.subset(inside), order[inside]
    fresh = order >= obs.size
    new = replace_given(given, later, joined, was, there)
    return Joined(_in_units(new, given, joined, was, there), tuple(was), fresh, given)


def is_empty(more: Any) -> bool:
    """Whether `more` has no row at all: a table without rows, an array or labelled array of no cell.

    >>> is_empty(np.zeros((0, 3))), is_empty(np.full((2, 3), np.nan))
    (True, False)
    """
    if isinstance(more, (Given, Observations)):
        return 0 in (more.observations if isinstance(more, Given) else more).shape
    if hasattr(more, "data_vars"):  # a Dataset, whose length is the number of its variables
        return 0 in more.sizes.values()
    if hasattr(more, "columns") or hasattr(more, "column_names"):
        return len(more) == 0 if hasattr(more, "__len__") else False
    return 0 in getattr(more, "shape", np.shape(more) if isinstance(more, (list, tuple)) else (1,))


def replace_given(given: Given, later: Given, joined: Observations, was: Sequence[np.ndarray], there: Sequence[np.ndarray]) -> Given:
    """`given` of the joined observations, with what it needs on the way back: the old and new table, array or Dataset together."""
    known: dict[str, Any] = {"units": given.units, "notes": given.notes, "places": _places(given, was, there)}
    name = type(given).__name__
    if name in ("LongTable", "LongSeries", "WideTable") and type(later) is type(given):
        return _tables(given, later, joined, known)
    if name == "LongFrame" and type(later) is type(given):
        return _frames(given, later, joined, known)
    if name in ("LabelledArray", "LabelledSet") and type(later) is type(given):
        return _labelled(given, later, joined, known)
    if name in ("Plain", "Masked"):
        template = given.template  # pyright: ignore[reportAttributeAccessIssue]
        array = joined.to_array()
        outward = replace(Plain(joined, array), places=known["places"]).outward(array)
        dtype = template.dtype if template.dtype.kind == "f" else np.dtype(np.float64)
        if name == "Masked":
            return type(given)(joined, np.ma.masked_invalid(outward.astype(dtype)), **known)  # pyright: ignore[reportCallIssue]
        return Plain(joined, outward.astype(dtype), **known)
    return Dense(joined, dtype=getattr(given, "dtype", None), **known)


# --- what came later ------------------------------------------------------------------------------------


def _understood(given: Given, more: Any, duplicates: Duplicates, missing: Marks) -> Given:
    obs = given.observations
    if isinstance(more, (Given, Observations)):
        return understand(more, Roles())
    name = type(given).__name__
    if name in ("WideTable", "WideFrame"):
        rows = [axis.name for axis in given.wide.rows]  # pyright: ignore[reportAttributeAccessIssue]
        named = all(row in list(more.columns) for row in rows) if hasattr(more, "columns") else False
        return understand(more, Roles(modes=rows if named else None, wide=True, duplicates=duplicates, missing=missing))
    if name == "LabelledArray" and type(more).__name__ == "DataArray":
        dims = given.template.dims  # pyright: ignore[reportAttributeAccessIssue]
        if set(more.dims) != set(dims):
            raise ValueError(f"what came later has dims {', '.join(map(str, more.dims))} and the data {', '.join(map(str, dims))}")
        return understand(more.transpose(*dims), Roles(missing=missing))
    if name == "LabelledSet" and type(more).__name__ == "Dataset":
        names = list(given.names)  # pyright: ignore[reportAttributeAccessIssue]
        return understand(more, Roles(value=names, missing=missing))
    if name == "LongSeries" and type(more).__name__ == "Series":
        return understand(more, Roles(duplicates=duplicates, missing=missing))
    if hasattr(more, "columns") or hasattr(more, "column_names"):
        *modes, value = getattr(given, "roles", (*obs.modes, obs.value_name))
        roles = Roles(modes=modes, value=value, duplicates=duplicates, missing=missing)
        if type(more).__module__.partition(".")[0] == "pandas" and value in more.columns and len(more) and more[value].isna().all():
            named: Any = understand(more.assign(**{value: 0.0}), roles)  # a station that has sent nothing is a station still
            return replace(named, observations=named.observations.subset(np.zeros(named.observations.size, bool)), template=more)
        return understand(more, roles)
    if hasattr(more, "dims"):
        return understand(more, Roles(missing=missing))
    if isinstance(more, np.ndarray) and more.dtype.kind == "f" and more.ndim == obs.order and np.isnan(more).all():
        nothing = Observations(np.zeros((obs.order, 0), np.int32), np.zeros(0), more.shape, modes=obs.modes)
        return Plain(nothing, more)  # a day on which nothing was seen is a day still
    return understand(more, Roles(modes=obs.modes if np.ndim(more) == obs.order else None, missing=missing))


def _unlabelled(obs: Observations, add: Observations, along: str | int | None, grow: bool) -> int | None:
    """The mode along which slices without labels are appended; None where labels tell all."""
    bare = [mode for mode in range(obs.order) if obs.labels[mode] is None]
    differ = [mode for mode in bare if obs.shape[mode] != add.shape[mode]]
    if along is not None:
        mode = obs.mode_index(along)
        differ = [m for m in differ if m != mode]
        if mode not in bare:
            return None
    elif not bare or (len(bare) < obs.order and not differ) or (not differ and not grow):
        return None
    elif len(differ) == 1:
        mode, differ = differ[0], []
    elif not differ:
        raise ValueError(
            f"what came later has the shape of the data, {add.shape}, and nothing tells along which mode its slices are new; "
            f"pass along={obs.modes[0]!r}"
        )
    else:
        mode = -1
    if differ:
        raise ValueError(
            f"what came later has shape {add.shape} and the data {obs.shape}; new slices are appended along one mode without labels: "
            "let the others be as long, NaN where nothing was observed"
        )
    return mode


def _joined_labels(obs: Observations, add: Observations, mode: int) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Labels of both, the slices that each was before, and where those of `add` now are."""
    known, given = obs.labels[mode], add.labels[mode]
    if known is None:
        if given is not None and given.dtype.kind not in "iu":
            raise ValueError(f"slices of {obs.modes[mode]} have no labels in the data and came with some later; pass their numbers")
        places = np.arange(add.shape[mode]) if given is None else given.astype(np.int64)
        size = obs.shape[mode]
        if len(places) and (int(places.max()) >= size or int(places.min()) < 0):
            raise ValueError(f"{obs.modes[mode]} has {size} slices without labels, and number {int(places.max())} came later")
        return None, np.arange(size), places
    if given is None:
        raise ValueError(f"slices of {obs.modes[mode]} have labels, and what came later has none; pass it with its labels")
    given = _in_type(given, known, obs.modes[mode])
    at = places_of(obs, mode, given)
    fresh = np.flatnonzero(at < 0)
    if not len(fresh):
        return known, np.arange(len(known)), at
    labels = np.concatenate([known, given[fresh]])
    if known.dtype.kind in "US" or given.dtype.kind in "US":
        labels = np.array([*known.tolist(), *given[fresh].tolist()], dtype=object if known.dtype == object else None)
    order = _order_of(labels) if _in_order(known) else np.arange(len(labels))
    now = np.empty(len(labels), np.int64)
    now[order] = np.arange(len(labels))
    was = np.where(order < len(known), order, -1)
    places = np.empty(len(given), np.int64)
    places[at >= 0] = now[at[at >= 0]]
    places[fresh] = now[len(known) + np.arange(len(fresh))]
    return labels[order], was, places


def places_of(obs: Observations, mode: int, labels: np.ndarray) -> np.ndarray:
    """The slice of `mode` of each label, also where it is spoken otherwise, such as a date as text; -1 where there is none."""
    known = obs.labels[mode]
    assert known is not None
    exact = {label: place for place, label in enumerate(known.tolist())}
    spoken = {obs.label(mode, place): place for place in range(len(known))} if known.dtype.kind in "OUSmM" else {}
    return np.array([exact.get(label, spoken.get(str(label), -1)) for label in labels.tolist()], dtype=np.int64)


def _in_type(given: np.ndarray, known: np.ndarray, mode: str) -> np.ndarray:
    """`given` as labels of the type of those that were there."""
    if given.dtype.kind == known.dtype.kind or {given.dtype.kind, known.dtype.kind} <= set("OU"):
        return given.astype(known.dtype) if known.dtype.kind in "mM" else given
    try:
        if known.dtype.kind in "OU":
            return np.array([str(label) for label in given.tolist()], dtype=object)
        return given.astype(known.dtype)
    except (ValueError, TypeError):
        raise ValueError(
            f"labels of {mode} are {known.dtype} and came later as {given.dtype}, such as {given[0]!r}; pass the same"
        ) from None


def _in_order(labels: np.ndarray) -> bool:
    return bool((_order_of(labels) == np.arange(len(labels))).all())


def _order_of(labels: np.ndarray) -> np.ndarray:
    """The permutation that puts labels in the order in which a table has them."""
    try:
        first = np.argsort(labels, kind="stable")
    except TypeError:
        return np.arange(len(labels))
    ordered = sorted_by_value(np.arange(len(labels)), labels[first])[0]
    second = np.empty(len(labels), np.int64)
    second[ordered] = first
    return second


def _moved(coords: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([place[c] for place, c in zip(places, coords, strict=True)])


def _larger_where(obs: Observations, there: Sequence[np.ndarray], shape: tuple[int, ...], was: Sequence[np.ndarray]) -> np.ndarray:
    """Cells of the larger array; in a new slice those that are a cell in some slice that was there."""
    where = obs.where
    assert where is not None
    for mode in range(obs.order):
        larger = np.repeat(where.any(axis=mode, keepdims=True), shape[mode], axis=mode)
        np.moveaxis(larger, mode, 0)[there[mode]] = np.moveaxis(where, mode, 0)
        where = larger
    return where


def _places(given: Given, was: Sequence[np.ndarray], there: Sequence[np.ndarray]) -> tuple[np.ndarray | None, ...]:
    """Where the slices of the data lie: those that came later are appended to the data."""
    if not any(place is not None for place in given.places):
        return ()
    found: list[np.ndarray | None] = []
    for mode, place in enumerate(given.places):
        old = np.arange(len(there[mode])) if place is None else place
        found.append(np.concatenate([there[mode][old], np.flatnonzero(was[mode] < 0)]))
    return tuple(found)


def _in_units(new: Given, given: Given, obs: Observations, was: Sequence[np.ndarray], there: Sequence[np.ndarray]) -> Given:
    """`new` with the units of `given`, and those of new slices where each slice has its own."""
    units = given.units
    if units is None:
        return new if new.units is None else replace(new, units=None)
    mode = units.mode % obs.order
    later = np.flatnonzero(was[mode] < 0)
    if len(later):
        few = later[obs.counts(mode)[later] < FEWEST]
        if len(few):
            raise ValueError(
                f"slices of {obs.modes[mode]} have units of their own, and {obs.label(mode, int(few[0]))!r} came with "
                f"{int(obs.counts(mode)[few[0]])} entries, which do not tell its unit; pass at least {FEWEST}"
            )
        own = Standard.of(obs, mode)
        mean, deviation = own.mean.copy(), own.deviation.copy()
        mean[there[mode]], deviation[there[mode]] = units.mean, units.deviation
        units = Standard(mean, deviation, units.mode)
    return replace(new, units=units)


# --- the way back -----------------------------------------------------------------------------------------


def _tables(given: Any, later: Any, joined: Observations, known: dict[str, Any]) -> Given:
    import pandas as pd

    if type(given).__name__ != "WideTable":
        plain = isinstance(given.template.index, pd.RangeIndex)
        template = pd.concat([given.template, later.template], ignore_index=plain)
        template.attrs = given.template.attrs
        return replace(given, observations=joined, template=template, **known)
    rows = [axis.name for axis in given.wide.rows]
    named = [name for name in given.template.columns if name in rows and list(given.template.columns).index(name) not in given.filling]
    old, new = (each.template.set_index(named) if named else each.template for each in (given, later))
    both = new.combine_first(old)
    both = both.reindex(columns=[*old.columns, *(c for c in new.columns if c not in old.columns)])
    index = old.index.append(new.index.difference(old.index, sort=False))
    both = both.reindex(index)
    template = both.reset_index() if named else both
    again = understand(template, Roles(modes=named or None, wide=True))
    # codes of rows and columns in the joined observations
    axes = [*again.wide.rows, *again.wide.columns]  # pyright: ignore[reportAttributeAccessIssue]
    fixed = []
    for mode, axis in enumerate(axes):
        if axis.labels is None or joined.labels[mode] is None:
            fixed.append(axis)
        else:
            fixed.append(replace(axis, codes=places_of(joined, mode, axis.labels)[axis.codes], labels=joined.labels[mode]))
    count = len(again.wide.rows)  # pyright: ignore[reportAttributeAccessIssue]
    wide = replace(again.wide, rows=tuple(fixed[:count]), columns=tuple(fixed[count:]))  # pyright: ignore[reportAttributeAccessIssue]
    return replace(again, observations=joined, wide=wide, **known)  # pyright: ignore[reportCallIssue]


def _frames(given: Any, later: Any, joined: Observations, known: dict[str, Any]) -> Given:
    import narwhals as nw

    frame = nw.concat([given.frame, later.frame.select(*given.frame.columns)], how="vertical")
    codes = []
    for mode in range(joined.order):
        parts = [each.observations.labels[mode][each.codes[mode]] for each in (given, later)]
        codes.append(places_of(joined, mode, np.concatenate(parts)))
    return replace(given, observations=joined, frame=frame, codes=tuple(codes), **known)


def _labelled(given: Any, later: Any, joined: Observations, known: dict[str, Any]) -> Given:
    xr = sys.modules["xarray"]
    old, new = given.template, later.template
    if type(given).__name__ == "LabelledArray":
        template = new.combine_first(old) if all(dim in old.coords for dim in old.dims) else xr.concat([old, new], dim=_apart(old, new))
        template = template.transpose(*old.dims).astype(old.dtype if old.dtype.kind == "f" else template.dtype)
        template.name, template.attrs, template.encoding = old.name, old.attrs, old.encoding
    else:
        template = new.combine_first(old)
        template.attrs = old.attrs
        for name in old.data_vars:
            template[name] = template[name].transpose(*old[name].dims)
            template[name].attrs, template[name].encoding = old[name].attrs, old[name].encoding
    again = understand(template, Roles(value=list(given.names)) if hasattr(given, "names") else Roles())
    places = tuple(place if place is not None else None for place in (again.places or (None,) * joined.order))
    return replace(
        given, observations=joined, template=template, **(known | {"places": places if any(p is not None for p in places) else ()})
    )


def _apart(old: Any, new: Any) -> Any:
    """The dim in which two arrays differ."""
    return next((dim for dim in old.dims if old.sizes[dim] != new.sizes[dim] or dim not in old.coords), old.dims[0])
