"""`LargeCompletion`: what was found in a file too large to fill, asked for where it is wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.io.broken import Unclear, named, short
from rankless.io.labelled import plain
from rankless.large import write
from rankless.large.spread import Spread
from rankless.tensors.canonical import check_indices
from rankless.tensors.cp_tensor import CPTensor
from rankless.units.effects import MainEffects

if TYPE_CHECKING:
    import pandas as pd

    from rankless.io.chunks import Scan

_AT_ONCE = 2**20  # cells that are looked at together


@dataclass(frozen=True, eq=False)
class LargeCompletion:
    """A fit of a large file: main effects and components, in the units of the data.

    `size` entries were observed; `holdout_rmse` is the error on those of them that took no part, as was all else chosen.
    """

    model: CPTensor
    effects: MainEffects
    modes: tuple[str, ...]
    labels: tuple[np.ndarray | None, ...]
    value_name: str
    depth: float
    penalty: float
    size: int
    holdout_rmse: float
    spread: Spread | None = field(default=None, repr=False)
    source: Scan | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.model.shape

    @property
    def rank(self) -> int:
        return self.model.rank

    def summary(self) -> str:
        """What was found, in a few lines."""
        return (
            f"{self.size:,} entries of shape {' x '.join(f'{d:,}' for d in self.shape)} ({', '.join(self.modes)})\n"
            f"rank {self.rank} found, depth {self.depth:g}, penalty {self.penalty:.3g}; "
            f"error {self.holdout_rmse:.4g} on entries that took no part"
        )

    # --- values -------------------------------------------------------------------------------------

    def predict(self, indices) -> np.ndarray:
        """Values at coordinates, integers of shape ``(n, order)``."""
        coords = check_indices(indices, self.shape)
        out = np.empty(len(coords))
        for start in range(0, len(coords), _AT_ONCE):
            part = coords[start : start + _AT_ONCE]
            out[start : start + len(part)] = self.effects.at(part) + (self.model.at(part) if self.rank else 0.0)
        return out

    def predict_interval(self, indices, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends at coordinates ``(n, order)``: a cell missing at random lies between with probability `coverage`.

        See `rankless.large.spread`. Raises ValueError where too few entries took no part to promise `coverage`, and
        for a model written by an earlier version.
        """
        coords = check_indices(indices, self.shape)
        if self.spread is None:
            raise ValueError("the model says nothing of its errors; fit again and save it with this version")
        values, widths = self.predict(coords), self.spread.half_widths(coords, coverage)
        return values - widths, values + widths

    def predict_labels(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Values at the cells that columns of labels name, one column a mode: a dict of lists, or a table."""
        absent = [mode for mode in self.modes if mode not in columns]
        if absent:
            raise ValueError(f"no column {absent[0]!r} for a mode; pass one for each of {', '.join(map(repr, self.modes))}")
        return self.predict(self._coordinates([columns[mode] for mode in self.modes]))

    def _coordinates(self, columns: Sequence[Any]) -> np.ndarray:
        numbers = [self.numbers_of(mode, column) for mode, column in enumerate(columns)]
        return np.stack(np.broadcast_arrays(*numbers), axis=1)

    def predict_stream(self, parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Values of one part of the cells after the other, in the memory that one takes."""
        for part in parts:
            yield self.predict(part)

    def top(self, fixed: Mapping[str, Any], k: int = 10, *, largest: bool = True, seen: bool = True) -> pd.DataFrame:
        """The `k` largest (or least) values of the slice in which the modes of `fixed` have these labels, without building it.

        A table, the best first. Cells that were observed are among them, with what the model says of them; with ``seen=False`` they
        are left out, and no value lies beyond those that were observed: for this the file is read once more.
        """
        import pandas as pd

        known = {self._mode(name): int(self.numbers_of(self._mode(name), np.array([label]))[0]) for name, label in fixed.items()}
        free = [mode for mode in range(len(self.shape)) if mode not in known]
        if not free or not known:
            raise ValueError(f"fixed={dict(fixed)!r} leaves {len(free)} modes free; fix some of {', '.join(self.modes)}, not all")
        sign = 1.0 if largest else -1.0
        gone, low, high = (np.zeros(0, np.int64), -np.inf, np.inf) if seen else self._observed(known, free)
        best, where = np.zeros(0), np.zeros((0, len(self.shape)), np.int64)
        for coords in self._cells(known, free):
            values = sign * np.clip(self.predict(coords), low, high)
            if len(gone):
                numbers = np.ravel_multi_index(tuple(coords[:, free].T), tuple(self.shape[mode] for mode in free))
                coords, values = coords[kept := ~np.isin(numbers, gone)], values[kept]
            least = best[-1] if len(best) == k else -np.inf
            close = np.flatnonzero(values > least) if len(best) == k else np.arange(len(values))
            best, where = np.concatenate([best, values[close]]), np.concatenate([where, coords[close]])
            order = np.argsort(-best, kind="stable")[:k]
            best, where = best[order], where[order]
        columns = {self.modes[m]: where[:, m] if (label := self.labels[m]) is None else label[where[:, m]] for m in range(len(self.shape))}
        return pd.DataFrame({**columns, self.value_name: sign * best})

    def _observed(self, known: Mapping[int, int], free: list[int]) -> tuple[np.ndarray, float, float]:
        """Numbers of the observed cells of a slice, and the least and the largest value of all."""
        if self.source is None:
            raise ValueError("a model that was loaded does not know which cells were observed; pass seen=True, or ask right after the fit")
        found, low, high = [], np.inf, -np.inf
        for coords, values in self.source.chunks.read():
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            inside = np.logical_and.reduce([coords[mode] == place for mode, place in known.items()])
            found.append(np.ravel_multi_index(tuple(coords[free][:, inside]), tuple(self.shape[mode] for mode in free)))
        return np.concatenate(found), low, high

    def _cells(self, known: Mapping[int, int], free: list[int]) -> Iterator[np.ndarray]:
        """Coordinates of the cells of a slice, some at a time."""
        sizes = [self.shape[mode] for mode in free]
        total = int(np.prod(sizes, dtype=object))
        for start in range(0, total, _AT_ONCE):
            numbers = np.unravel_index(np.arange(start, min(start + _AT_ONCE, total)), sizes)
            coords = np.empty((len(numbers[0]), len(self.shape)), np.int64)
            for mode, number in known.items():
                coords[:, mode] = number
            coords[:, free] = np.stack(numbers, axis=1)
            yield coords

    def numbers_of(self, mode: int, labels: Any) -> np.ndarray:
        """Numbers of slices of `mode` from their labels, or from texts of these; raises ValueError for one that was not in the file."""
        import pandas as pd

        known, given = self.labels[mode], np.asarray(labels)
        if known is None:
            return given
        if given.dtype.kind in "OUT" and known.dtype.kind in "iuf":
            given = np.asarray(pd.to_numeric(pd.Series(given), errors="coerce"))
        elif given.dtype.kind in "OUT" and known.dtype.kind == "M":
            given = np.asarray(pd.to_datetime(pd.Series(given), errors="coerce"))
        numbers = pd.Index(known).get_indexer(given)
        bad = np.flatnonzero(numbers < 0)
        if len(bad):
            label = np.asarray(labels)[bad[0]]
            raise ValueError(f"{self.modes[mode]} {label} is none that was observed; leave out cells of slices that the data don't have")
        return numbers

    def _mode(self, name: str) -> int:
        if name not in self.modes:
            raise ValueError(f"no mode {name!r}; the modes are {', '.join(map(repr, self.modes))}")
        return self.modes.index(name)

    # --- files --------------------------------------------------------------------------------------

    def write_cells(self, cells: str | os.PathLike, output: str | os.PathLike, coverage: float | None = None) -> int:
        """Write the cells that the table `cells` names, with their values, to a .csv or .parquet; returns their number.

        With `coverage` there are two columns more, `lower` and `upper`, the ends of their intervals.
        """
        from rankless.io.chunks import cells as read

        return write.cells(self, map(self._coordinates, read(cells, self.modes)), output, coverage)

    def fill(self, output: str | os.PathLike, coverage: float | None = None) -> None:
        """Write all cells to a .zarr or .parquet, block by block, those that were observed as they were.

        With `coverage` the ends of their intervals too, as `lower` and `upper`; observed cells are their own ends.
        """
        if self.source is None:
            raise ValueError("a model that was loaded has no observed entries to write; fill right after the fit")
        write.whole(self, self.source, output, coverage)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model, its main effects and its labels to `path` as .npz; no pickle is written."""
        facts = {"modes": self.modes, "value": self.value_name, "depth": self.depth, "penalty": self.penalty, "size": self.size}
        beside: dict[str, Any] = {f"effect_{n}": effect for n, effect in enumerate(self.effects.effects)}
        beside |= {f"label_{n}": plain(label) for n, label in enumerate(self.labels) if label is not None}
        beside |= {"mean": np.float64(self.effects.mean), "error": np.float64(self.holdout_rmse), "large": np.array(json.dumps(facts))}
        if self.spread is not None:
            mode = -1 if self.spread.mode is None else self.spread.mode
            beside |= {"spread_mode": np.int64(mode), "spread_sizes": self.spread.sizes, "spread_ratios": self.spread.ratios}
        self.model.save(path, **beside)

    @classmethod
    def load(cls, path: str | os.PathLike) -> LargeCompletion:
        """Read what `save` wrote; raises ValueError, naming the file, for anything else."""
        model = CPTensor.load(path)
        with named(path, "write it again with save, or complete --model"):
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                if "large" not in stored:
                    raise Unclear(f"{path} holds a model, but not one of a large file; read it by rankless.CPTensor.load")
                facts = json.loads(str(stored["large"]))
                effects = MainEffects(float(stored["mean"]), tuple(stored[f"effect_{n}"] for n in range(model.order)))
                labels = tuple(stored.get(f"label_{n}") for n in range(model.order))
                error = float(stored["error"])
                spread = _spread_in(stored)
            depth, penalty, size = float(facts["depth"]), float(facts["penalty"]), int(facts["size"])
            done = cls(model, effects, tuple(facts["modes"]), labels, facts["value"], depth, penalty, size, error, spread)
            done._check()
        return done

    def _check(self) -> None:
        """Raise ValueError unless all parts are of one shape, names are texts, numbers are finite and no label stands twice."""
        import pandas as pd

        names = [*self.modes, self.value_name]
        if len(self.modes) != self.model.order or len({*self.modes}) < self.model.order or not all(isinstance(n, str) for n in names):
            raise ValueError(f"its {self.model.order} modes are called {short(self.modes)}")
        for mode, size, factor, effect, label in zip(
            self.modes, self.shape, self.model.factors, self.effects.effects, self.labels, strict=True
        ):
            if effect.shape != (size,) or (label is not None and label.shape != (size,)):
                raise ValueError(f"effects or labels of {short(mode)} are not {size}, as its rows are")
            if effect.dtype.kind != "f" or not (np.isfinite(effect).all() and np.isfinite(factor).all()):
                raise ValueError(f"numbers of {short(mode)} are not finite")
            if label is not None and not pd.Index(label).is_unique:
                raise ValueError(f"a label of {short(mode)} stands twice")
        spread = self.spread
        if spread is not None and not (
            (spread.mode is None or 0 <= spread.mode < self.model.order)
            and spread.sizes.shape == ((1,) if spread.mode is None else (self.shape[spread.mode],))
            and all(each.ndim == 1 and each.dtype.kind == "f" and np.isfinite(each).all() for each in (spread.sizes, spread.ratios))
        ):
            raise ValueError("the sizes of its errors are not one a slice, or not finite")
        if not np.isfinite([self.effects.mean, self.depth, self.penalty]).all():
            raise ValueError("its mean, depth or penalty is not finite")


def _spread_in(stored: Mapping[str, np.ndarray]) -> Spread | None:
    """The sizes of errors in a file; None where an earlier version wrote it."""
    if "spread_mode" not in stored:
        return None
    mode = int(stored["spread_mode"])
    return Spread(None if mode < 0 else mode, stored["spread_sizes"], stored["spread_ratios"])
