"""`complete`: data with holes in, `Completion` out: filled, as a table, in words, as a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rankless.answer.intervals import TooFew, check_coverage
from rankless.completer import TensorCompleter, unseen_texts
from rankless.kinds import Given, Roles, in_like_units, understand
from rankless.kinds.cells import cells_of
from rankless.kinds.given import in_dtype
from rankless.kinds.side import in_order
from rankless.runtime.journal import Journal
from rankless.runtime.memory import check_fits
from rankless.runtime.progress import Callback, Tracker, shown
from rankless.tensors.canonical import check_indices
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Marks, Observations
from rankless.trust import diagnostics, inspection
from rankless.trust.errors import table_of, table_of_kinds
from rankless.units.effects import MainEffects
from rankless.units.transform import Transform

if TYPE_CHECKING:
    import pandas as pd

    from rankless.trust.assure import Assurance

MARK = "far outside the others"  # what `inspection.Mark` says
_CELLS_AT_ONCE = 1_000_000
STALE = 0.1  # share of the entries that came later, from which the choices made before them may not be the best any more


class Completion:
    """What `complete` found: the filled data, the model behind it, and how it was chosen."""

    def __init__(self, estimator: TensorCompleter, given: Given, callback: Callback | None = None):
        self.estimator = estimator
        self.given = given
        self.callback = callback  # is told how far long work is, as in `TensorCompleter.fit`
        self.assurance: Assurance | None = None  # what `assure` found last; the page shows it

    @property
    def observations(self) -> Observations:
        """What was observed, as it was fitted."""
        return self.given.observations

    @property
    def rank(self) -> int:
        """Number of components of the best single fit."""
        return self.estimator.rank_

    @property
    def depth(self) -> float:
        """Depth of the best fit."""
        return self.estimator.depth_

    @property
    def penalty(self) -> float:
        """Penalty of the best fit, for values at unit root mean square."""
        return self.estimator.penalty_

    @property
    def model(self) -> CPTensor:
        """The components; main effects are not in it. In the data's units, or those of `transform` where it isn't the identity."""
        return self.estimator.model_

    @property
    def fits(self) -> list[CPTensor]:
        """The fits in the model, each in its share, the best one first: the components to look at."""
        return self.estimator.fits_

    @property
    def best(self) -> CPTensor:
        """The best single fit, whose components `components`, page and plots show: not shrunk by any share."""
        return self.estimator.best_fit_

    @property
    def transform(self) -> Transform:
        """What was done to the values before components were fitted to them; `predict` and `filled` have undone it."""
        return self.estimator.value_transform_

    @property
    def path(self) -> pd.DataFrame:
        """Every fit of the search: transform, depth, penalty, effects, noise, rank, hold-out error, sweeps, seconds."""
        return self.estimator.path_

    @property
    def answer(self) -> str:
        """What the answer is made of, in words: which predictors, in which shares (their means over slices), fitted to what.

        ``main effects + (components x 29 in a share of 0.8, draws x 50 in a share of 0.2) + neighbours along hour``
        """
        return self.estimator.answer_in_words(self.observations.modes)

    def components(self) -> pd.DataFrame:
        """A row for each of the `rank` components of the best single fit: its size, and whether to trust it.

        Columns are those of `rankless.trust.diagnostics.components`.
        """
        return diagnostics.components([self.best], self._in_fitted_units())

    def assure(self, **options: Any) -> Assurance:
        """How many components are real, in a sentence with its grounds; the page then has a panel on it.

        Components are fitted to the data less the main effects that lie under those of `best`, anew and one number after the other:
        the search counts what helps to fill cells, which may be more than can be told apart. `options` are those
        of `rankless.factorize`: half, seeds, halves, max_rank. Raises ValueError for other losses than squares, and for constant data.
        """
        from rankless.trust.assure import assured

        est = self.estimator
        if est.loss != "gaussian":
            raise ValueError(
                f"components are looked at by squares, and these are of loss={est.loss!r}; pass the data to rankless.factorize"
            )
        obs = self._in_fitted_units()
        if est.effects_ and not est.general and not est.path_.empty:
            obs = obs.with_values(obs.values - est.main_effects_.at(obs.indices))
        known = {"nonnegative": est.nonnegative, "n_jobs": est.n_jobs, "random_state": 0}
        self.assurance = assured(obs, **(known | options))
        return self.assurance

    def slices(self) -> pd.DataFrame:
        """A row for each slice of each mode: label, entries observed, their share of its cells, whether filling it is extrapolation."""
        return diagnostics.slices(self.observations)

    @cached_property
    def filled(self) -> Any:
        """What came in, its holes filled: the same type, labels and dtype; for a long table one of all cells.

        Whole numbers come back as whole numbers: `table`, `array` and `predict` have them unrounded.
        """
        return self.given.back(self)

    def predict(self, cells) -> np.ndarray:
        """Values at cells: coordinates ``(n, order)`` in the data, or their labels.

        Labels come as rows, ``[("ST12", "2020-01"), ...]``, or as a table or a dictionary with a column for each mode.
        """
        return self.at(self._inside(cells))

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at coordinates ``(n, order)`` in `observations`, where slices are in the order of their labels; NaN where no cell is."""
        return self._but_nowhere(self.given.from_fitted(self.estimator.values_at(indices), indices), indices)

    def array(self) -> np.ndarray:
        """The filled array in the order of the data, observed cells as they came; NaN where there is no cell."""
        return self.given.outward(self._array())

    def interval(self, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends, arrays of the data's shape: each filled cell lies between with probability `coverage`.

        Observed cells are their own ends. What is promised, and for which cells, is said in `TensorCompleter.predict_interval`.
        """
        check_coverage(coverage)
        lower, upper = self._at_all_cells(lambda indices: self._with_ends(indices, coverage)[1:], 2, "intervals")
        return self.given.outward(lower), self.given.outward(upper)

    def to_tlviz(self) -> tuple[np.ndarray, list[pd.DataFrame]]:
        """The components of `best` as TLViz and TensorLy take them: ``(weights, factors)``, each factor a table with its mode's labels.

        Columns have unit length, and the largest component is the first. ``done.best.to_tensorly()`` is the same without labels,
        ``tensortools.KTensor(done.best.to_tensortools())`` the tensor of tensortools.
        """
        from rankless.trust.labelled import labelled_cp

        return labelled_cp(self.best, self.observations)

    def to_xarray(self) -> Any:
        """All cells, filled, as an xarray.DataArray with modes and labels, whatever came in: the dataset that goes with `to_tlviz`.

        Slices are in the order of `observations`, as the factors are. Raises ImportError where xarray is not installed.
        """
        from rankless.kinds.labelled import labelled_array

        return labelled_array(self._array(), self.observations)

    def top(self, fixed: Mapping[str, Any], k: int = 10, *, largest: bool = True, seen: bool = True) -> pd.DataFrame:
        """A table of the `k` largest (or least) cells of a slice, such as ``{"user": "u17"}``, the best first.

        Cells that were observed have the value they had, and a column says so; with ``seen=False`` they are left out: what this user
        has not rated. No value lies beyond those that were observed.
        """
        from rankless.views.top import top

        return top(self, fixed, k, largest=largest, seen=seen)

    def extend(
        self, rows: Any, *, along: str | int | None = None, duplicates: Literal["error", "mean", "last"] = "error", missing: Marks = ()
    ) -> Completion:
        """A completion that also knows new slices along one mode: a new user, day or station, from the entries in `rows`.

        Nothing is fitted anew: rows of the new slices are solved against what was found, with the same penalty, weights and units
        (`rankless.later.fold`), and what was there is filled as before. `rows` is of the kind that `complete` took, a table
        with the same columns, rows of a wide table, a DataArray, or slices of an array; `along` names the mode along which
        slices without labels are new, where shapes do not tell. Intervals of new slices are calibrated by folding in
        slices that were there, and so are wider where a new one has few entries.

        Raises ValueError for new slices of several modes, and where there are none. Warns of a new label that is an old one but for
        blanks or capitals.

        >>> import numpy as np, rankless
        >>> array = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, -1.0, 4.0, 0.5, 3.0, 2.0])
        >>> done = rankless.complete(array, random_state=0)
        >>> more = done.extend([[10.0, 20.0, np.nan, 40.0, 5.0, np.nan, 20.0]])
        >>> more.filled.shape, more.filled[8, [2, 5]].round(0).tolist()
        ((9, 7), [-10.0, 30.0])
        """
        from rankless.kinds.joining import is_empty, join
        from rankless.later.extend import extended

        if is_empty(rows):
            raise ValueError("there is no row in what came later; pass at least one entry of a new slice, or one without a value")
        joined = join(self.given, rows, along=along, duplicates=duplicates, missing=missing, grow=True)
        if len(joined.grown) == 1:  # where there are more, the error says it
            _warn(joined.doubts())
        return Completion(extended(self.estimator, joined), joined.given, self.callback)

    def update(
        self,
        entries: Any,
        effort: Literal["fast", "default", "best"] = "fast",
        *,
        along: str | int | None = None,
        duplicates: Literal["error", "mean", "last"] = "error",
        missing: Marks = (),
        sweeps: int | None = None,
    ) -> Completion:
        """A completion of old and new `entries`, with the choices of this one, started from where it stands.

        `entries` are of the kind that `complete` took: cells that were missing, corrections of cells that were there, whole new
        slices, such as today's. ``effort="fast"`` folds new slices in and makes a few sweeps over all entries, where these fill
        new entries that were held out better (always, if you say how many: `sweeps`), in a small part of the time of a fit;
        ``"default"`` makes the last refit of a fit again; ``"best"`` searches anew.
        The held-out error stays that of the last search; intervals are calibrated anew when they are asked for.
        Of no entries at all, as on a day on which nothing came, the answer is the one there was. Warns of a new label that is an old one
        but for blanks or capitals.
        """
        from rankless.kinds.joining import is_empty, join
        from rankless.later.update import updated

        if is_empty(entries) and effort in ("fast", "default"):
            return Completion(self.estimator, self.given, self.callback)
        joined = join(self.given, entries, along=along, duplicates=duplicates, missing=missing, grow=along is not None)
        _warn(joined.doubts())
        if effort == "best":
            done = completion_of(TensorCompleter(**self.estimator.get_params(deep=False)), replace(joined.given, units=None), self.callback)
            done.estimator.fit(done.given.fitted, callback=self.callback)
            return done
        return Completion(updated(self.estimator, joined, effort, sweeps, self.callback), joined.given, self.callback)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Completion:
        """What `save` wrote, with its entries: to predict, extend and update. Tables come back as long tables, other data as arrays.

        Raises ValueError, naming the file, for anything else.
        """
        from rankless.later.kept import restored

        return cls(*restored(path))

    def _array(self) -> np.ndarray:
        """The filled array in the order of `observations`."""
        return self._at_all_cells(lambda indices: (self.at(indices),), 1, "filled cells")[0]

    def _inside(self, cells: Any) -> np.ndarray:
        """Coordinates in `observations` of cells given by label, or by coordinates in the data."""
        labelled = cells_of(cells, self.observations)
        if labelled is not None:
            return labelled
        return self.given.inward(check_indices(cells, self.observations.shape))

    def _but_nowhere(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        where = self.observations.where
        return values if where is None else np.where(where[tuple(np.asarray(indices).T)], values, np.nan)

    def _with_ends(self, indices: np.ndarray, coverage: float) -> tuple[np.ndarray, ...]:
        """Values at checked coordinates, and the ends of their intervals, in the units of the data."""
        parts = (self.given.from_fitted(part, indices) for part in self.estimator.filled_at(indices, coverage))
        return tuple(self._but_nowhere(part, indices) for part in parts)

    def predict_interval(self, cells, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends at cells, which `predict` takes: the same for a few cells."""
        _, lower, upper = self._with_ends(self._inside(cells), coverage)
        return lower, upper

    def score(self, by: str | int | None = None) -> pd.DataFrame:
        """Errors on entries that no choice has seen, on the whole or for every slice of the mode `by`.

        Columns: the entries scored, root mean square error, mean absolute error, and the standard deviation
        of their values. They are those that calibrate intervals; the fits scored were made without them. Where missing cells are of
        several kinds, each kind counts by how many cells of it are missing; `score_by_kind` has a row for each.
        """
        entries, errors = self._scored()
        kinds = self.estimator.calibration_kinds()
        return table_of(entries, errors, by, None if kinds is None else kinds.weights)

    def score_by_kind(self) -> pd.DataFrame:
        """Errors for each kind of missing cell: single ones, runs, whole fibres, pairs of slices never seen together.

        Columns: how many cells of the kind are missing, and those of `score`, over entries that were left out as such cells lie. Cells
        are of kinds where more of them come together than chance leaves; one row where all are of one kind.
        """
        entries, errors = self._scored()
        kinds = self.estimator.calibration_kinds()
        obs = self.observations
        if kinds is None:
            table = table_of_kinds(entries.values, errors, np.zeros(entries.size, np.int8), ["all missing cells"])
            table.insert(0, "missing", [obs.cells - obs.size])
            return table
        names = [kinds.kinds.in_words(kind, obs.modes) for kind in kinds.kinds.kinds]
        table = table_of_kinds(entries.values, errors, kinds.of_entry, names)
        table.insert(0, "missing", kinds.kinds.counts)
        return table.loc[kinds.kinds.counts > 0]

    def _scored(self) -> tuple[Observations, np.ndarray]:
        """Entries that no choice has seen, and the errors there, in the units of the data."""
        entries, errors = self.estimator.calibration_errors()
        values, said = (self.given.from_fitted(v, entries.indices) for v in (entries.values, entries.values - errors))
        obs = self.observations
        return replace(entries, values=values, modes=obs.modes, labels=obs.labels), values - said

    def table(self, coverage: float | None = 0.9) -> pd.DataFrame:
        """All cells as a long table: a column a mode, the value, the ends of its interval, and whether it was observed.

        With `coverage` None the ends are left out; where the data have too few entries to promise it, they are NaN.
        """
        import pandas as pd

        obs = self.observations
        check_fits(obs.shape, 8 * (obs.order + 1))
        cells = np.indices(obs.shape).reshape(obs.order, -1)
        there = slice(None) if obs.where is None else obs.where.reshape(-1)
        cells = cells[:, there]
        columns: dict[str, Any] = {}
        for name, coordinate, label in zip(obs.modes, cells, obs.labels, strict=True):
            columns[name] = coordinate if label is None else label[coordinate]
        filled, *ends = [self._array()] if coverage is None else self._array_with_ends(coverage)
        columns[obs.value_name] = filled.reshape(-1)[there]
        for name, end in zip(("lower", "upper"), ends, strict=False):
            columns[_free(name, columns)] = end.reshape(-1)[there]
        columns["observed" if "observed" not in columns else "was_observed"] = obs.observed().reshape(-1)[there]
        return pd.DataFrame(columns)

    def _array_with_ends(self, coverage: float) -> list[np.ndarray]:
        """The filled array and the ends of its intervals; NaN, with a warning, where there are too few entries to promise any."""
        try:
            return self._at_all_cells(lambda indices: self._with_ends(indices, coverage), 3, "filled cells and their intervals")
        except TooFew as problem:
            warnings.warn(f"no intervals: {problem}", UserWarning, stacklevel=3)
            nothing = np.full(self.observations.shape, np.nan)
            return [self._array(), nothing, nothing]

    def _at_all_cells(self, of: Callable[[np.ndarray], tuple[np.ndarray, ...]], count: int, what: str) -> list[np.ndarray]:
        """`count` arrays of the shape of `observations`, what `of` says of each block of indices; observed cells as they came."""
        obs = self.observations
        check_fits(obs.shape, count * obs.values.dtype.itemsize)
        arrays = [np.empty(obs.shape, dtype=obs.values.dtype) for _ in range(count)]
        size = arrays[0].size
        with shown(size > _CELLS_AT_ONCE and bool(getattr(self.estimator, "verbose", False))) as bar:
            tracker = Tracker(bar, self.callback)
            for start in range(0, size, _CELLS_AT_ONCE):
                if size > _CELLS_AT_ONCE:
                    tracker.stage(f"{what} of {size:,}", start / size)
                cells = np.arange(start, min(start + _CELLS_AT_ONCE, size))
                for array, values in zip(arrays, of(np.stack(np.unravel_index(cells, obs.shape), axis=1)), strict=True):
                    array.reshape(-1)[cells] = in_dtype(values, array.dtype)
        for array in arrays:
            array[tuple(obs.coords)] = obs.values
        return arrays

    def summary(self) -> str:
        """What was found, in a few lines."""
        obs, est = self.observations, self.estimator
        if est.path_.empty:
            constant = f"all equal to {obs.values[0]:g}" if self.given.units is None else "each variable constant"
            return f"{obs.size:,} of {obs.cells:,} cells observed, {constant}: filled with it, rank 0."
        spread = diagnostics.spread(self.given.fitted.values)
        lines = [
            f"{obs.size:,} of {obs.cells:,} cells observed; the other {obs.cells - obs.size:,} are filled.",
            f"{_found_ranks(est)} found, depth {est.depth_:g}, penalty {est.penalty_:.3g}"
            + _under(est)
            + ("" if est.value_transform_.name == "none" else f", fitted to {est.value_transform_.of_what}")
            + ("" if est.noise_ is None else f"; slices of {obs.modes[est.noise_]} weighed by their own noise")
            + f" (found among {len(est.path_)} fits).",
            f"the answer is {self.answer}.",
            *([f"too large or too sparse to ask: {', '.join(est.unasked_)}."] if est.unasked_ else []),
            *self._since_chosen(),
            *([f"left out, as the time limit was over: {', '.join(est.left_out_)}."] if est.left_out_ else []),
            f"error on held-out entries: {est.holdout_rmse_:.4g} (standard deviation of the data: {spread:.4g}).",
            *(
                []
                if self.given.units is None
                else [f"slices of {obs.modes[self.given.units.mode]} were fitted together, each over its standard deviation."]
            ),
        ]
        if est.general:
            lines[-1] = f"mean {est.loss} deviance of held-out entries: {est.deviances[0]:.4g} (of a constant: {est.deviances[1]:.4g})."
        if any(est.smooth_):
            lines.append(f"smooth along {', '.join(obs.modes[mode] for mode, tau in enumerate(est.smooth_) if tau)}.")
        lines += self.given.notes
        return "\n".join([*lines, *self.cautions()])

    def _since_chosen(self) -> list[str]:
        """Where much came after the choices were made, that they may be made again."""
        later, now = self.estimator.came_later_, self.observations.size
        if later <= STALE * now:
            return []
        return [f"{later:,} of these entries came after all choices were made; a fit of all of them chooses anew, and may fill better."]

    def cautions(self) -> list[str]:
        """What to beware of, a line each; none where nothing was noticed."""
        obs, fitted, est = self.observations, self.given.fitted, self.estimator
        odd = self._alarms
        if est.path_.empty:
            return odd
        if not est.general:
            poor, what = est.holdout_rmse_ >= diagnostics.spread(fitted.values), "that of the mean of the data"
        else:
            poor, what = est.deviances[0] >= est.deviances[1], "that of a constant"
        wild = est.value_transform_.name == "none" and not any(MARK in text for text in odd)
        return [
            *([f"the held-out error is no better than {what}: don't trust what was filled."] if poor else []),
            *odd,
            *unseen_texts(obs, est),
            *(diagnostics.of_values(fitted) if wild else []),
            *diagnostics.in_words([est.best_fit_], self._in_fitted_units()),
            *([] if poor else self._poor_slices()),
        ]

    @cached_property
    def _alarms(self) -> list[str]:
        return alarms_of(self.given)

    def _poor_slices(self) -> list[str]:
        """A line for each mode in some of whose slices hidden entries are found no better than by the slice's own mean."""
        hidden = self._hidden()
        return [] if hidden is None else [diagnostics.of_poor(hidden[0], mode, slices) for mode, slices in diagnostics.poor_slices(*hidden)]

    def _hidden(self) -> tuple[Observations, np.ndarray] | None:
        """Entries that calibrate, where they have been looked at already, else those held out by the search; errors there."""
        est, obs = self.estimator, self.observations
        if est.calibrated:
            entries, errors = est.calibration_errors()
        elif est._answer is not None and not est.general:
            entries, errors = est.held_out_errors()
        else:
            return None
        values, said = (self.given.from_fitted(v, entries.indices) for v in (entries.values, entries.values - errors))
        return replace(entries, values=values, modes=obs.modes, labels=obs.labels), values - said

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as .npz: the components and the main effects, as one CP tensor, and the transform where there is one.

        What was saved is ``Transform.load(path).inverse(CPTensor.load(path).at(indices))``; of several variables of
        a Dataset, over their standard deviations, which are saved beside it with their means. What close
        cells add is no part of the components. Beside them is all that `Completion.load` reads: the whole answer
        and the entries it was fitted to.
        """
        from rankless.later.kept import arrays_of

        beside = {} if self.transform.name == "none" else self.transform.arrays()
        if self.given.units is not None:
            beside |= {"mean": self.given.units.mean, "deviation": self.given.units.deviation}
        self.whole_model().save(path, **beside, **arrays_of(self.estimator, self.given))

    def report(self, path: str | os.PathLike, **options: Any) -> None:
        """Write a page to look at, one self-contained .html file; `options` are those of `rankless.report.write`."""
        from rankless import report

        report.write(self, path, **options)

    def whole_model(self) -> CPTensor:
        """Components and main effects as one CP tensor: each mode's effects are one component more.

        `transform.inverse` of its values is what `predict` says, but for what close cells add.
        """
        est = self.estimator
        seen = [1.0 - mask for mask in est.unseen_]
        extra = []
        if est.effects_ or not all(s.all() for s in seen):
            extra += _effects_as_components(est.main_effects_, [np.ones(d) for d in est.shape_])
        if extra and not est.effects_:  # only slices never observed are filled from main effects: take the others out
            extra += [(-first, *rest) for first, *rest in _effects_as_components(est.main_effects_, seen)]
        return CPTensor([np.column_stack([f, *(e[m] for e in extra)]) for m, f in enumerate(est.model_.factors)])

    def _in_fitted_units(self) -> Observations:
        fitted = self.given.fitted
        return fitted.with_values(self.transform.forward(fitted.values))

    def __repr__(self) -> str:
        return f"Completion(shape={self.observations.shape}, rank={self.rank}, depth={self.depth:g})"


def complete(
    data: Any,
    *,
    modes: Sequence[str] | str | None = None,
    value: str | Sequence[str] | None = None,
    wide: bool = False,
    absent: Literal["missing"] | None = None,
    missing: Marks = (),
    where: Any = None,
    callback: Callback | None = None,
    checkpoint: Journal | str | os.PathLike | None = None,
    **options,
) -> Completion:
    """Fill the holes of `data`; nothing needs to be chosen.

    `data` is an array with NaN where nothing was observed, a masked one, an xarray DataArray or Dataset (`value` names
    the variables to fill, if not all), a table of pandas, polars, pyarrow or whatever else narwhals reads, a sparse array,
    or Observations. A long table has a row an entry: name the columns that are its `modes` and its `value`, and say
    ``duplicates="mean"`` or ``"last"`` if a cell may stand there twice. A pandas Series is one, its modes the levels of its
    MultiIndex. A wide table has a mode in its rows and one in its columns: ``wide=True``, and `modes` names the columns that
    label its rows, if any do. Of a sparse array say ``absent="missing"``. `missing` are numbers that mean 'not observed', such
    as -9999. `where` says where there are cells at all: a mask, the name of a column or of a variable of a Dataset that is one,
    or the name of a mode, along which fibres never observed (land in a map of the sea) are none; what is no cell stays NaN.
    `callback`, which is told how far the search is and may end it, and `checkpoint`, a file from which a fit that was cut short
    goes on, are those of `TensorCompleter.fit`; `options` are those of `TensorCompleter`: ``verbose=True`` shows how far it is.

    >>> import numpy as np, rankless
    >>> array = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, -1.0, 4.0, 0.5, 3.0, 2.0])
    >>> array[2, 3] = np.nan
    >>> done = rankless.complete(array, random_state=0)
    >>> done.rank, round(float(done.filled[2, 3]), 1)
    (1, 12.0)
    """
    known = understand(data, Roles(modes, value, wide, absent, options.get("duplicates", "error"), missing, where))
    for text in alarms_of(known):
        warnings.warn(text, UserWarning, stacklevel=2)
    done = completion_of(TensorCompleter(**options), known, callback)
    done.estimator.fit(done.given.fitted, callback=callback, checkpoint=checkpoint)
    return done


def completion_of(estimator: TensorCompleter, given: Given, callback: Callback | None = None) -> Completion:
    """The completion that fitting `estimator` to ``.given.fitted`` makes true; slices in unlike units are standardised for it."""
    side = given.side if estimator.side is None and estimator.of_squares else estimator.side
    if side is not None:
        estimator.set_params(side=in_order(side, given.observations.modes, given.places))
    return Completion(estimator, in_like_units(given) if estimator.of_squares else given, callback)


def _warn(doubts: Sequence[str]) -> None:
    """Of what came later, one warning each, as of the line that called `extend` or `update`."""
    for text in doubts:
        warnings.warn(f"{text}.", UserWarning, stacklevel=3)


def _standardised(mode: str) -> str:
    return f"slices of {mode} were fitted together, each over its standard deviation."


def alarms_of(given: Given) -> list[str]:
    """What is odd about data, before any fit: what was left out, marks of the missing, labels in doubt, pairs never seen together."""
    obs = given.observations
    never = inspection.never_seen(obs)
    found = [*map(str, inspection.marks(obs)), *inspection.doubtful_labels(obs), *([] if never is None else [never.in_words(obs)])]
    return [*given.alarms, *(f"{text}." for text in found)]


def _free(name: str, columns: Mapping[str, Any]) -> str:
    """`name`, or where the data have a column of this name, another."""
    while name in columns:
        name = f"{name}_"
    return name


def _found_ranks(est: TensorCompleter) -> str:
    """The rank of components, or what a network in their place is, in words."""
    return f"rank {est.rank_}" if est.ranks_ is None or est.model == "cp" else f"{est.model} of ranks {', '.join(map(str, est.ranks_))}"


def _under(est: TensorCompleter) -> str:
    """What components lie on top of, in words."""
    if not est.effects_:
        return ", nonnegative" if est.general else ""
    return ", on top of main effects" if any(effect.any() for effect in est.main_effects_.effects) else ", on top of a constant"


def _effects_as_components(effects: MainEffects, others: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """``prod_m others_m[i_m] * (mean + sum_n effect_n[i_n])`` as one component a mode, each a vector a mode."""
    components = []
    for mode, effect in enumerate(effects.effects):
        own = (effect + effects.mean if mode == 0 else effect) * others[mode]
        components.append([own if m == mode else other for m, other in enumerate(others)])
    return components
