"""`Observations`: the entries of an array that were seen, where they lie, and what the modes mean.

Missing is not zero. An entry that is not listed was not observed; a listed 0 is a value.
Entries are kept in one canonical order (lexicographic by coordinates), so no answer can depend on
the order in which they arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rankless.tensors.canonical import Duplicates, canonical, check_indices

if TYPE_CHECKING:
    import pandas as pd

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
    def from_array(cls, array, *, modes: Sequence[str] | None = None, labels=None, value_name="value") -> Observations:
        """Observations of a dense array in which NaN (or a masked cell) means not observed.

        Raises ValueError for complex, string or object dtype, infinities, and order below 2.
        """
        values = np.ma.getdata(array) if np.ma.isMaskedArray(array) else np.asarray(array)
        values = checked_dtype(values, "the array")
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
        modes: Sequence[str] | None = None,
        labels=None,
        value_name="value",
        duplicates: Duplicates = "error",
    ) -> Observations:
        """Observations from coordinates ``(n, order)`` and values ``(n,)``; NaN values are dropped as unobserved."""
        values = np.asarray(values)
        if values.ndim != 1:
            raise ValueError(f"values have shape {values.shape}; pass a flat array, one value for each row of the indices")
        values = checked_dtype(values, "the values")
        indices = check_indices(indices, shape)
        if len(indices) != len(values):
            raise ValueError(f"{len(indices)} rows of indices but {len(values)} values; pass as many values as rows")
        check_order(indices.shape[1], f"indices of shape {indices.shape}")
        if shape is None:
            if not len(indices):
                raise ValueError("no observed entry and no shape; pass shape=(...) and at least one entry")
            shape = tuple(int(c.max()) + 1 for c in indices.T)
        coords = np.ascontiguousarray(indices.T, dtype=np.int32)
        weights = None if weights is None else _checked_weights(weights, values)
        if np.isnan(values).any():
            keep = ~np.isnan(values)
            coords, values = coords[:, keep], values[keep]
            weights = None if weights is None else weights[keep]
        coords, values, weights = canonical(coords, values, weights, tuple(shape), duplicates)
        obs = cls(
            coords,
            values,
            tuple(int(s) for s in shape),
            weights,
            _checked_modes(modes, len(coords)),
            _checked_labels(labels, tuple(shape)),
            value_name,
        )
        return obs._checked_values()

    @classmethod
    def from_table(
        cls, table: pd.DataFrame, modes: Sequence[str], value: str, *, duplicates: Duplicates = "error", weight: str | None = None
    ) -> Observations:
        """Observations from a long table: one row an entry, a column for each mode, one for the value.

        Labels of each mode are its distinct entries, sorted. Rows whose value is missing are not
        observed, but their labels count: a sensor listed without a value is a slice to be filled.
        """
        import pandas as pd

        modes = list(modes)
        wanted = [*modes, value] + ([] if weight is None else [weight])
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
            codes.append(code)
            labels.append(np.asarray(label))
        return cls.from_indices(
            np.column_stack(codes),
            numeric_column(table[value]),
            shape=[len(label) for label in labels],
            weights=None if weight is None else numeric_column(table[weight]),
            modes=modes,
            labels=labels,
            value_name=value,
            duplicates=duplicates,
        )

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
        """Number of cells of the whole array, as a Python int (it may not fit in 64 bits)."""
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

    def counts(self, mode: int) -> np.ndarray:
        """Observed entries in each slice of `mode`, shape ``(d_mode,)``."""
        return np.bincount(self.coords[mode], minlength=self.shape[mode])

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

    def scaled(self) -> tuple[Observations, float]:
        """The same entries at unit root mean square, and the scale that brings them back."""
        scale = self.rms() or 1.0
        return self.with_values(self.values / scale), scale

    def split(self, holdout: float = 0.1, *, seed: int | np.random.Generator = 0) -> tuple[Observations, Observations]:
        """Train and hold-out parts, shuffled; no slice with an entry is left without a training entry.

        `holdout` is the share of entries held out. Where a slice would lose its last training
        entry one of its entries stays in training, so the hold-out may come out a little smaller.
        """
        if not 0.0 < holdout < 1.0:
            raise ValueError(f"holdout={holdout!r} is not a share between 0 and 1; pass holdout=0.1 for a tenth")
        rng = np.random.default_rng(seed)
        held = np.zeros(self.size, dtype=bool)
        held[rng.permutation(self.size)[: round(holdout * self.size)]] = True
        for mode in range(self.order):
            coordinate = self.coords[mode]
            left = np.bincount(coordinate[~held], minlength=self.shape[mode])
            bare = held & (left[coordinate] == 0)
            _, first = np.unique(coordinate[bare], return_index=True)
            held[np.flatnonzero(bare)[first]] = False
        return self.subset(~held), self.subset(held)

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


def slices_of(coords: np.ndarray, shape: Sequence[int], mode: int | None) -> tuple[np.ndarray, int]:
    """The slice of `mode` in which each column of `coords` lies, and how many there are; one that holds all where `mode` is None.

    >>> slices_of(np.array([[0, 1], [2, 0]]), (2, 3), 1)
    (array([2, 0]), 3)
    """
    return (np.zeros(coords.shape[1], np.intp), 1) if mode is None else (coords[mode], shape[mode])


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


def check_order(order: int, what: str) -> None:
    if order < 2:
        raise ValueError(
            f"{what} has order {order}; low rank needs two modes or more: reshape it (hours into days x hours), "
            "or use pandas.Series.interpolate for a single series"
        )


def checked_dtype(values: np.ndarray, what: str) -> np.ndarray:
    if values.dtype.kind == "f":
        return values.astype(np.float32 if values.dtype.itemsize == 4 else np.float64, copy=False)  # in the machine's order of bytes
    if values.dtype.kind in "iub":
        return values.astype(np.float64)
    raise ValueError(f"{what} has dtype {values.dtype}; pass real numbers, NaN where nothing was observed")


def _checked_weights(weights, values: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, dtype=values.dtype)
    if weights.shape != values.shape:
        raise ValueError(f"weights have shape {weights.shape} but values {values.shape}; pass one weight a value")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(bad):
        raise ValueError(f"weights[{bad[0]}] = {weights[bad[0]]} is not a positive number; drop the entry instead of weighting it 0")
    return weights


def _checked_modes(modes: Sequence[str] | None, order: int) -> tuple[str, ...]:
    if modes is None:
        return tuple(f"mode_{n}" for n in range(order))
    modes = tuple(map(str, modes))
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


def numeric_column(column: Any) -> np.ndarray:
    """The numbers of a pandas column, NaN where it has none, in single precision if they are."""
    import pandas as pd

    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)) or pd.api.types.is_complex_dtype(column):
        raise ValueError(f"column {column.name!r} has dtype {column.dtype}; convert it with pandas.to_numeric(table[{column.name!r}])")
    return column.to_numpy(dtype=np.float32 if column.dtype == np.float32 else np.float64, na_value=np.nan)
