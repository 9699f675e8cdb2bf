"""`Observations`: the entries of an array that were seen, where they lie, and what the modes mean.

Missing is not zero. An entry that is not listed was not observed; a listed 0 is a value.
Entries are kept in one canonical order (lexicographic by coordinates), so no answer can depend on
the order in which they arrived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rankless.tensors.canonical import Duplicates, Twice, canonical, check_indices
from rankless.tensors.spelling import sorted_by_value

if TYPE_CHECKING:
    import pandas as pd

EXACT = 2**53  # whole numbers beyond it share their float64 with a neighbour
LARGE = 2**24  # numbers beyond it may not be the same in single precision
Marks = Sequence[float | str] | float | str
SPANS = {"days": "D", "hours": "h", "minutes": "m", "seconds": "s"}  # units of time, the longest first


@dataclass(frozen=True, eq=False)
class Observations:
    """Observed entries of an order-`N` array.

    Attributes
    ----------
    coords : int32, shape ``(order, n)``: a row of coordinates a mode, columns in lexicographic order.
    values : shape ``(n,)``, float64 or float32.
    shape : sizes of the modes.
    weights : shape ``(n,)`` or None; weight of each entry in the sum of squares.
    modes : a name for each mode.
    labels : for each mode an array of ``d_n`` labels, or None where slices are only numbered.
    value_name : what the values are called in tables.
    where : bool, shape `shape`, or None; False at cells that are no cells, such as land in a map of the sea. They are in no count.

    >>> obs = Observations.from_array(np.array([[1.0, np.nan], [0.0, 2.0]]))
    >>> obs.size, obs.shape, obs.indices.tolist()
    (3, (2, 2), [[0, 0], [1, 0], [1, 1]])
    """

    coords: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]
    weights: np.ndarray | None = None
    modes: tuple[str, ...] = ()
    labels: tuple[np.ndarray | None, ...] = ()
    value_name: str = "value"
    where: np.ndarray | None = None

    def __post_init__(self):
        for name in ("coords", "values", "weights"):  # a boolean mask leaves columns strided; kernels are compiled for rows
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))
        if not self.modes:
            object.__setattr__(self, "modes", tuple(f"mode_{n}" for n in range(self.order)))
        if not self.labels:
            object.__setattr__(self, "labels", (None,) * self.order)

    # --- ways in ------------------------------------------------------------------------------

    @classmethod
    def from_array(
        cls, array, *, modes: Sequence[str] | str | None = None, labels=None, value_name="value", missing: Marks = ()
    ) -> Observations:
        """Observations of a dense array in which NaN (or a masked cell, or one of the numbers `missing`) means not observed.

        Raises ValueError for complex, string or object dtype, infinities, and order below 2.
        """
        values = np.ma.getdata(array) if np.ma.isMaskedArray(array) else np.asarray(array)
        if np.ma.isMaskedArray(array) and values.dtype.kind in "iu":
            values = np.where(np.ma.getmaskarray(array), values.dtype.type(0), values)  # what is masked may be anything
        values = checked_dtype(values, "the array", missing)
        check_order(values.ndim, f"an array of shape {values.shape}")
        seen = ~np.isnan(values)
        if np.ma.isMaskedArray(array):
            seen &= ~np.ma.getmaskarray(array)
        coords = np.stack([c.astype(np.int32) for c in np.nonzero(seen)])
        obs = cls(
            coords,
            values[seen],
            values.shape,
            None,
            _checked_modes(modes, values.ndim),
            _checked_labels(labels, values.shape),
            value_name,
        )
        return obs._checked_values()

    @classmethod
    def from_indices(
        cls,
        indices,
        values,
        *,
        shape: Sequence[int] | None = None,
        weights=None,
        modes: Sequence[str] | str | None = None,
        labels=None,
        value_name="value",
        duplicates: Duplicates = "error",
        missing: Marks = (),
    ) -> Observations:
        """Observations from coordinates ``(n, order)`` and values ``(n,)``; NaN and the numbers `missing` are dropped as unobserved."""
        values = np.asarray(values)
        if values.ndim != 1:
            raise ValueError(f"values have shape {values.shape}; pass a flat array, one value for each row of the indices")
        values = checked_dtype(values, "the values", missing)
        indices = check_indices(indices, shape)
        if len(indices) != len(values):
            raise ValueError(f"{len(indices)} rows of indices but {len(values)} values; pass as many values as rows")
        check_order(indices.shape[1], f"indices of shape {indices.shape}")
        if shape is None:
            if not len(indices):
                raise ValueError("no observed entry and no shape; pass shape=(...) and at least one entry")
            shape = tuple(int(c.max()) + 1 for c in indices.T)
        coords = np.ascontiguousarray(indices.T, dtype=np.int32)
        weights, kept = None if weights is None else _checked_weights(weights, values), None
        if np.isnan(values).any():
            keep = ~np.isnan(values)
            coords, values, kept = coords[:, keep], values[keep], np.flatnonzero(keep)
            weights = None if weights is None else weights[keep]
        names, labels = _checked_modes(modes, len(coords)), _checked_labels(labels, tuple(shape))
        try:
            coords, values, weights = canonical(coords, values, weights, tuple(shape), duplicates)
        except Twice as twice:
            raise ValueError(_given_twice(twice, kept, names, labels)) from None
        return cls(coords, values, tuple(int(s) for s in shape), weights, names, labels, value_name)._checked_values()

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        modes: Sequence[str] | str,
        value: str,
        *,
        duplicates: Duplicates = "error",
        weight: str | None = None,
        missing: Marks = (),
        where: str | None = None,
    ) -> Observations:
        """Observations from a long table: one row an entry, a column for each mode, one for the value.

        A value among `missing` was not observed; where the column `where` is false there is no such cell.

        Labels of each mode are its distinct entries, sorted; texts by the numbers, dates, times or months that they are
        (`rankless.tensors.spelling`). Rows whose value is missing are not observed, but their labels count: a sensor listed
        without a value is a slice to be filled.
        """
        import pandas as pd

        modes = listed(modes)
        wanted = [*modes, value, *(name for name in (weight, where) if name is not None)]
        check_columns(list(table.columns), wanted)
        check_order(len(modes), f"a table with modes {modes}")
        codes, labels = [], []
        for name in modes:
            try:
                code, label = pd.factorize(table[name], sort=True)
            except TypeError as problem:  # a list, a dictionary
                raise ValueError(
                    f"column {name!r} holds no labels ({problem}); pass texts or numbers: table[{name!r}].astype(str)"
                ) from None
            if (code < 0).any():
                row = int(np.flatnonzero(code < 0)[0])
                raise ValueError(f"row {row} of the table has no {name!r}; drop it with table.dropna(subset=[{name!r}])")
            label = np.asarray(label)
            if not ordered_by_hand(table[name]):
                code, label = sorted_by_value(code, label)
            codes.append(code)
            labels.append(label)
        indices, shape, cells = np.column_stack(codes), [len(label) for label in labels], None
        if where is not None:
            there = is_cell(table[where].to_numpy(), f"column {where!r}")
            cells = np.ones(shape, dtype=bool)
            cells[tuple(indices[~there].T)] = False
        obs = cls.from_indices(
            indices,
            numeric_column(table[value], missing),
            shape=shape,
            weights=None if weight is None else numeric_column(table[weight]),
            modes=modes,
            labels=labels,
            value_name=value,
            duplicates=duplicates,
        )
        return obs if cells is None else obs.within(cells)

    # --- what there is ------------------------------------------------------------------------

    @property
    def order(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of observed entries."""
        return len(self.values)

    @property
    def cells(self) -> int:
        """Number of cells of the whole array, as a Python int (it may not fit in 64 bits); those that are no cells don't count."""
        if self.where is not None:
            return int(self.where.sum())
        total = 1
        for d in self.shape:
            total *= int(d)
        return total

    @property
    def share(self) -> float:
        """Share of the cells that were observed."""
        return self.size / self.cells

    @property
    def indices(self) -> np.ndarray:
        """Coordinates, a row for each entry, shape ``(n, order)``; a view."""
        return self.coords.T

    def observed(self) -> np.ndarray:
        """Whether each cell of the whole array was observed, a mask of shape `shape`."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[tuple(self.coords)] = True
        return mask

    def to_array(self) -> np.ndarray:
        """The whole array, float64, NaN where nothing was observed.

        >>> Observations.from_array([[1.0, np.nan], [3.0, 4.0]]).to_array().tolist()
        [[1.0, nan], [3.0, 4.0]]
        """
        array = np.full(self.shape, np.nan)
        array[tuple(self.coords)] = self.values
        return array

    def counts(self, mode: int) -> np.ndarray:
        """Observed entries in each slice of `mode`, shape ``(d_mode,)``."""
        return np.bincount(self.coords[mode], minlength=self.shape[mode])

    def cells_of(self, mode: int) -> np.ndarray:
        """Cells in each slice of `mode`, shape ``(d_mode,)``."""
        if self.where is None:
            return np.full(self.shape[mode], self.cells // self.shape[mode], dtype=np.float64 if self.cells >= 2**63 else np.int64)
        return self.where.sum(axis=tuple(m for m in range(self.order) if m != mode))

    def label(self, mode: int, index: int) -> str:
        """The label of a slice, or its number where it has none."""
        names = self.labels[mode]
        if names is not None and names.dtype.kind == "M":
            return str(np.datetime_as_string(names[index], unit="auto"))  # a day without its midnight
        if names is not None and names.dtype.kind == "m" and not np.isnat(names[index]):
            for unit, code in SPANS.items():  # 6 hours, not so many nanoseconds
                if not names[index] % np.timedelta64(1, code):
                    return f"{names[index] // np.timedelta64(1, code)} {unit}"
        return str(index if names is None else names[index])

    def mode_index(self, mode: str | int) -> int:
        """Number of a mode given by name or number; raises ValueError listing the names."""
        if isinstance(mode, (int, np.integer)) and -self.order <= mode < self.order:
            return int(mode) % self.order
        if mode in self.modes:
            return self.modes.index(mode)  # pyright: ignore[reportArgumentType]
        raise ValueError(f"no mode {mode!r}; the modes are {', '.join(map(repr, self.modes))}")

    def rms(self) -> float:
        """Root mean square of the values, their weights counted."""
        # scaled by the largest value first: squares of 1e200 overflow
        top = float(np.max(np.abs(self.values), initial=0.0))
        if top == 0.0:
            return 0.0
        return top * float(np.sqrt(np.average((self.values / top).astype(np.float64) ** 2, weights=self.weights)))

    # --- ways on ------------------------------------------------------------------------------

    def with_values(self, values: np.ndarray, weights: np.ndarray | Literal["keep"] | None = "keep") -> Observations:
        """The same entries with other values (and weights)."""
        return replace(self, values=values, weights=self.weights if isinstance(weights, str) else weights)

    def subset(self, keep: np.ndarray) -> Observations:
        """The entries where the boolean mask `keep` is True; shape and labels stay."""
        weights = None if self.weights is None else self.weights[keep]
        return replace(self, coords=self.coords[:, keep], values=self.values[keep], weights=weights)

    def without(self, missing: Marks) -> Observations:
        """The entries that are none of the marks `missing`."""
        marked = is_mark(self.values, missing)
        return self if marked is None or not marked.any() else self.subset(~marked)._checked_values()

    def within(self, where: np.ndarray) -> Observations:
        """The entries where the mask `where`, of shape `shape`, is True; the other cells are no cells.

        >>> sea = Observations.from_array([[1.0, np.nan], [np.nan, 2.0]]).within(np.array([[True, False], [True, True]]))
        >>> sea
        Observations(shape=(2, 2), observed=2 of 3 (66.67%))
        """
        if where.shape != self.shape:
            raise ValueError(f"where has shape {where.shape} and the data {self.shape}; pass True or False for each cell")
        inside = self.subset(where[tuple(self.coords)])
        if not inside.size:
            raise ValueError(f"where leaves none of the {self.size:,} observed entries; pass True where there is a cell, False where none")
        return replace(inside, where=where)

    def scaled(self) -> tuple[Observations, float]:
        """The same entries at unit root mean square, and the scale that brings them back."""
        scale = self.rms() or 1.0
        return self.with_values(self.values / scale), scale

    def split(self, holdout: float = 0.1, *, seed: int | np.random.Generator = 0) -> tuple[Observations, Observations]:
        """Train and hold-out parts, shuffled; no slice with an entry is left without a training entry.

        `holdout` is the share of entries held out. Where a slice would lose its last training
        entry one of its entries stays in training, so the hold-out may come out a little smaller. A mode of which no slice has two
        entries is the exception, if another has one: of a single series every entry is the last of its time.
        """
        if not 0.0 < holdout < 1.0:
            raise ValueError(f"holdout={holdout!r} is not a share between 0 and 1; pass holdout=0.1 for a tenth")
        rng = np.random.default_rng(seed)
        held = np.zeros(self.size, dtype=bool)
        held[rng.permutation(self.size)[: round(holdout * self.size)]] = True
        for mode in self.kept_modes:
            coordinate = self.coords[mode]
            left = np.bincount(coordinate[~held], minlength=self.shape[mode])
            bare = held & (left[coordinate] == 0)
            _, first = np.unique(coordinate[bare], return_index=True)
            held[np.flatnonzero(bare)[first]] = False
        return self.subset(~held), self.subset(held)

    @property
    def kept_modes(self) -> list[int]:
        """Modes of which no slice may lose its last entry to a hold-out: those with a slice of two entries, or all if there is none."""
        some = [mode for mode in range(self.order) if self.counts(mode).max(initial=0) > 1]
        return some or list(range(self.order))

    def to_table(self) -> pd.DataFrame:
        """The observed entries as a long table: a column for each mode, then the value."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name, coordinate, label in zip(self.modes, self.coords, self.labels, strict=True):
            columns[name] = coordinate if label is None else label[coordinate]
        columns[self.value_name] = self.values
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Observations(shape={self.shape}, observed={self.size} of {self.cells} ({self.share:.2%}))"

    def _checked_values(self) -> Observations:
        if self.size == 0:
            raise ValueError(f"no observed entry in shape {self.shape}; pass at least one value that is not NaN")
        bad = np.flatnonzero(np.isinf(self.values))
        if len(bad):
            where = tuple(self.coords[:, bad[0]].tolist())
            raise ValueError(
                f"{len(bad)} infinite value(s), the first at {where}; set them to NaN where they mean 'not observed', or drop them"
            )
        return self


def joined(parts: Sequence[Observations]) -> Observations:
    """The entries of all parts, one part after the other; some may be there twice. They have weights if all parts have."""
    coords, values = (np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("coords", "values"))
    weights = [part.weights for part in parts if part.weights is not None]
    return replace(parts[0], coords=coords, values=values, weights=np.concatenate(weights) if len(weights) == len(parts) else None)


def slices_of(coords: np.ndarray, shape: Sequence[int], mode: int | None) -> tuple[np.ndarray, int]:
    """The slice of `mode` in which each column of `coords` lies, and how many there are; one that holds all where `mode` is None.

    >>> slices_of(np.array([[0, 1], [2, 0]]), (2, 3), 1)
    (array([2, 0]), 3)
    """
    return slices_at(coords.T, mode), 1 if mode is None else shape[mode]


def slices_at(indices: np.ndarray, mode: int | None) -> np.ndarray:
    """The slice of `mode` in which each row of `indices`, shape ``(n, order)``, lies; 0 for all where that is None."""
    return np.zeros(len(indices), np.intp) if mode is None else indices[:, mode]


def along(each: np.ndarray, mode: int, order: int) -> np.ndarray:
    """A number for each slice of `mode`, as an array of that `order` which broadcasts over the others.

    >>> along(np.array([1, 2]), 1, 3).shape
    (1, 2, 1)
    """
    return each.reshape([-1 if m == mode else 1 for m in range(order)])


def slice_means(values: np.ndarray, slices: np.ndarray, count: int) -> np.ndarray:
    """The mean of `values` in each of `count` slices; 0 in one that has none."""
    return np.bincount(slices, values, minlength=count) / np.maximum(np.bincount(slices, minlength=count), 1)


# --- checks ---------------------------------------------------------------------------------------


def check_columns(columns: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Raise ValueError unless each of the `wanted` columns is there, once, and none is wanted twice."""
    absent = [name for name in wanted if name not in columns]
    if absent:
        raise ValueError(f"no column {absent[0]!r} in the table; it has {', '.join(map(repr, columns))}")
    twice = [name for name in wanted if list(columns).count(name) > 1]
    if twice:
        raise ValueError(f"column {twice[0]!r} stands twice in the table; rename one of them")
    if len(set(wanted)) != len(wanted):
        raise ValueError(f"columns {wanted} name one twice; each mode and the value need a column of their own")


def no_times(what: str, spans: bool) -> str:
    """What to say of values that are durations, or dates; one that is NaT is NaN in the number it becomes."""
    if spans:
        return (
            f"{what} holds durations; pass them as numbers, NaT as NaN: table['x'].dt.total_seconds() of pandas, "
            "x / np.timedelta64(1, 's') of NumPy and xarray"
        )
    return (
        f"{what} holds dates; pass numbers, NaT as NaN, such as days since the first: "
        "(x - x.min()) / np.timedelta64(1, 'D'), or make it one of the modes"
    )


def check_exact(values: np.ndarray, what: str) -> None:
    """Raise ValueError for whole numbers that float64, in which all is computed, cannot tell apart.

    >>> check_exact(np.array([1, 2]), "the array")
    """
    if values.dtype.kind in "iu" and values.size and (int(values.max()) > EXACT or int(values.min()) < -EXACT):
        raise ValueError(not_exact(what))


def all_exact(texts: Iterable[str], missing: Marks = ()) -> bool:
    """Whether none of the texts is a whole number beyond 2**53; the marks `missing` may be.

    >>> all_exact(["9007199254740993"]), all_exact(["1e300", "12", "-99999999999999999999"], missing=[-99999999999999999999])
    (False, True)
    """
    marks = [int(mark) for mark in marks_of(missing) if not isinstance(mark, str) and float(mark).is_integer()]
    whole = re.compile(r"\s*[-+]?\d{16,}\s*")
    return all(not whole.fullmatch(text) or abs(int(text)) <= EXACT or int(text) in marks for text in texts)


def not_exact(what: str) -> str:
    return f"{what} holds whole numbers beyond 2**53, which would not come back exactly; subtract an offset first"


def listed(names: Sequence[str] | str) -> list[str]:
    """Names of modes; one alone may be a string.

    >>> listed("day"), listed(("day", "hour"))
    (['day'], ['day', 'hour'])
    """
    return [names] if isinstance(names, str) else list(names)


def marks_of(missing: Any) -> tuple[float | int | str, ...]:
    """Numbers (or in a .csv texts) that mean 'not observed', from one or several of them.

    >>> marks_of(-9999), marks_of([-99, 1e20]), marks_of("M")
    ((-9999,), (-99, 1e+20), ('M',))
    """
    if missing is None:
        return ()
    several = [missing] if isinstance(missing, str) or np.ndim(missing) == 0 else list(missing)
    for mark in several:
        if isinstance(mark, bool) or not isinstance(mark, (int, float, str, np.number)):
            raise ValueError(f"missing={missing!r} holds {mark!r}, which is no number; pass the numbers that mean 'not observed': [-9999]")
    return tuple(several)


def is_mark(values: np.ndarray, missing: Marks) -> np.ndarray | None:
    """Where values are one of the marks; None where there are no marks to look for.

    Of large marks the first six digits count: 1e20 in single precision is 100000002004087734272.
    """
    marks = [mark for mark in marks_of(missing) if not isinstance(mark, str)]
    if not marks:
        return None
    found = np.zeros(values.shape, dtype=bool)
    for mark in marks:
        if values.dtype.kind in "iub":
            if float(mark).is_integer() and (values.dtype.kind == "b" or np.iinfo(values.dtype).min <= mark <= np.iinfo(values.dtype).max):
                found |= values == values.dtype.type(int(mark))
            continue
        if not abs(mark) <= float(np.finfo(values.dtype).max):
            continue
        found |= values == values.dtype.type(mark)
        if abs(mark) > LARGE:
            found |= np.abs(values.astype(np.float64) - mark) <= 1e-6 * abs(mark)  # differences of float32 overflow
    return found


def is_cell(mask: Any, what: str) -> np.ndarray:
    """A mask of cells as bool; raises ValueError for what is neither True nor False, 1 nor 0. NaN is no cell."""
    mask = np.asarray(mask)
    if mask.dtype == object:
        mask = np.array([np.nan if cell is None or cell != cell else cell for cell in mask.ravel()], dtype=float).reshape(mask.shape)
    if mask.dtype.kind not in "biuf" or not (np.isin(mask, (0, 1)) | (mask != mask)).all():
        raise ValueError(f"{what} is to say where there are cells and holds more than True and False, or 1 and 0; pass such a mask")
    return mask == 1


def check_order(order: int, what: str) -> None:
    if order < 2:
        raise ValueError(
            f"{what} has order {order}; low rank needs two modes or more: reshape it (hours into days x hours), "
            "or use pandas.Series.interpolate for a single series"
        )


def checked_dtype(values: np.ndarray, what: str, missing: Marks = ()) -> np.ndarray:
    """`values` as float64 or float32, NaN where they are one of the marks `missing`; ValueError for what is no real number."""
    kind = values.dtype.kind
    if kind in "fiub":
        marked = is_mark(values, missing)
        if kind in "iu":
            check_exact(values if marked is None else values[~marked], what)
        # in the machine's order of bytes
        plain = values.astype(np.float32 if kind == "f" and values.dtype.itemsize == 4 else np.float64, copy=False)
        return plain if marked is None else np.where(marked, plain.dtype.type(np.nan), plain)
    if kind in "mM":
        raise ValueError(no_times(what, kind == "m"))
    raise ValueError(f"{what} has dtype {values.dtype}; pass real numbers, NaN where nothing was observed")


def _given_twice(twice: Twice, kept: np.ndarray | None, modes: Sequence[str], labels: Sequence[np.ndarray | None]) -> str:
    """Where two entries stand, by labels where there are some; `kept` are the rows that had a value, if not all."""
    one, other = twice.rows if kept is None else kept[list(twice.rows)]
    named = any(label is not None for label in labels)
    names = [
        f"{mode} {index if label is None else _spoken(label, index)!r}"
        for mode, label, index in zip(modes, labels, twice.where, strict=True)
    ]
    where = f"{', '.join(names)} is" if named else f"coordinates {twice.where} are"
    return f"{where} given twice (rows {one} and {other}); pass duplicates='mean' or 'last' (--duplicates mean), or drop one"


def _spoken(labels: np.ndarray, index: int) -> Any:
    """A label as it is said: a day without its midnight, a number without its type."""
    if labels.dtype.kind == "M":
        return str(np.datetime_as_string(labels[index], unit="auto"))
    label = labels[index]
    return label.item() if isinstance(label, np.number) else label if isinstance(label, str) else str(label)


def _checked_weights(weights, values: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, dtype=values.dtype)
    if weights.shape != values.shape:
        raise ValueError(f"weights have shape {weights.shape} but values {values.shape}; pass one weight a value")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(bad):
        raise ValueError(
            f"weights[{bad[0]}] = {weights[bad[0]]:g} is not allowed; weights are finite numbers above 0: drop the entry to leave it out"
        )
    return weights


def _checked_modes(modes: Sequence[str] | str | None, order: int) -> tuple[str, ...]:
    if modes is None:
        return tuple(f"mode_{n}" for n in range(order))
    modes = tuple(map(str, listed(modes)))
    if len(modes) != order or len(set(modes)) != order:
        raise ValueError(f"modes={modes} do not name {order} modes; pass {order} distinct names")
    return modes


def _checked_labels(labels, shape: tuple[int, ...]) -> tuple[np.ndarray | None, ...]:
    if labels is None:
        return (None,) * len(shape)
    checked = tuple(None if label is None else _plain(np.asarray(label)) for label in labels)
    sizes = tuple(None if label is None else len(label) for label in checked)
    if len(checked) != len(shape) or any(s is not None and s != d for s, d in zip(sizes, shape, strict=True)):
        raise ValueError(f"labels of lengths {sizes} do not fit shape {shape}; pass one label a slice")
    return checked


def _plain(label: np.ndarray) -> np.ndarray:
    """NumPy's strings of any length as Python's, which every writer takes."""
    return label.astype(object) if label.dtype.kind == "T" else label


def ordered_by_hand(column: Any) -> bool:
    """Whether a pandas column has categories in an order that somebody gave them."""
    import pandas as pd

    if not isinstance(column.dtype, pd.CategoricalDtype):
        return False
    names = list(map(str, column.cat.categories))
    return bool(column.cat.ordered) or names != sorted(names)


def numeric_column(column: Any, missing: Marks = ()) -> np.ndarray:
    """The numbers of a pandas column, NaN where it has none or one of the marks `missing`, in single precision if they are."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise ValueError(no_times(f"column {column.name!r}", pd.api.types.is_timedelta64_dtype(column)))
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)) or pd.api.types.is_complex_dtype(column):
        raise ValueError(f"column {column.name!r} has dtype {column.dtype}; convert it with pandas.to_numeric(table[{column.name!r}])")
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    plain = np.dtype(getattr(column.dtype, "numpy_dtype", column.dtype))  # under a pandas one that has marks of the missing
    numbers = column.to_numpy(dtype=np.float32 if plain == np.float32 else np.float64, na_value=np.nan)
    whole = plain.kind in "iu" and not (len(numbers) == 0 or np.nanmax(np.abs(numbers), initial=0.0) < EXACT)
    given = column.to_numpy(dtype=plain, na_value=0) if plain.kind in "iu" and (whole or missing) else numbers
    marked = is_mark(given, missing)
    if whole:
        check_exact(given if marked is None else given[~marked], f"column {column.name!r}")
    return numbers if marked is None else np.where(marked, numbers.dtype.type(np.nan), numbers)
