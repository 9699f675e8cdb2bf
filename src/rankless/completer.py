"""`TensorCompleter`: the search as a scikit-learn estimator."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from rankless.als.losses import Huber
from rankless.answer.intervals import ByKind, Calibration, check_coverage
from rankless.engine import names_of_experts
from rankless.engine.fit import Fit
from rankless.engine.found import draws_of, fits_of, known_in, leaf_of
from rankless.experts.neighbours import Kriging
from rankless.experts.slices import Slices
from rankless.holdout.scoring import Errors
from rankless.holdout.split import streams_of
from rankless.kinds.columns import columns_of, encoded, found_in
from rankless.kinds.side import known_of, labels_of_side, with_labels
from rankless.runtime.clock import check_time_limit
from rankless.runtime.journal import Journal, digest, machine, opened
from rankless.runtime.memory import check_fit
from rankless.runtime.progress import Callback, Tracker, log, shown
from rankless.runtime.seeds import check_seed
from rankless.runtime.workers import Workers
from rankless.search.asked import limits_of
from rankless.tensors.canonical import Duplicates, check_indices
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.trust.diagnostics import counted, labels_of, wild
from rankless.units.effects import MainEffects
from rankless.units.error import rmse_of
from rankless.units.link import Units
from rankless.units.transform import Transform, check_transform

_MIN_HELD = 500  # entries held out of small data even where `holdout` asks for fewer: a hundred choose a penalty badly
_MOST_HELD = 0.3  # ... up to this share


class TensorCompleter(RegressorMixin, BaseEstimator):
    """Fill a partially observed array with the few components that explain it; nobody chooses how many.

        minimise  1/2 sum_e (y_e - effects_e - T_e)^2 + penalty (k+1)/2 sum_{n,r} |u_r^n|^(2/(k+1))

    Everything set to "auto" is chosen on held-out entries, then refitted on all.

    Parameters
    ----------
    model : "cp", or for data of low multilinear rank "tucker" or "train": a Tucker model or a tensor train, whose chains have `depth`
        more layers, is then searched for in the place of components, by the same hold-out and judge. Its ranks are found, up to
        `max_rank` a mode, and are in `ranks_`; draws and neighbours, which stand beside components, take no part.
    effort : "fast", "default" or "best": how much work the choice takes; see the page on time and effort. "fast" walks once and
        asks timelines alone beside components and a few draws; "best" makes more starts, and more and longer chains of draws. The same
        seed gives the same numbers on any machine.
    time_limit : seconds after which nothing more is begun, or None. What was left out for it is in `left_out_`; the step at work then,
        and the refit on all entries, are still finished.
    experts : "auto", or a list of those that may fill cells: "components" (always), "draws" (with them several fits may share the
        answer; without, every component counts once), "neighbours", "timeline", "factors", "periods",
        "slices", "low rank", or experts of your own. Each is
        taken where it pays on held-out entries; none but draws is part of the model's components.
    depth : "auto", or `k` >= 0; 0 is shallow CP.
    penalty : "auto", or a number > 0, for values at unit root mean square.
    max_rank : "auto", or the most components to allow.
    effects : "auto", True or False: additive main effects under the components.
    noise : "auto", None, or the mode (name or number) whose slices differ in noise.
    n_fits : deprecated, see `experts`: fits of the search whose weighted sum may be the answer, where it errs clearly less than the
        best of them [wolpert1992, breiman1996]. "auto" is up to 3, one of which may be a mean of draws from the posterior, as long as
        depth, penalty and max_rank are "auto".
    local : deprecated, see `experts`: "auto", or None for components and draws alone.
    value_transform : "auto", None, "sqrt" or "log": fit square roots or logarithms of counts and amounts, whose noise
        grows with their level; predictions come back in the data's units. "auto" tries one where no value
        is negative and the noise is seen to grow, and takes it where held-out entries are clearly better filled.
    smooth : "auto", None, or the modes (names or numbers) whose slices have an order in which neighbours are alike:
        steps between them are charged for, and slices never observed lie between their neighbours. How much is chosen
        on held-out entries. "auto" tries it where whole fibres or runs of cells are missing.
    loss : "gaussian", the sum of squares; "huber", where a few values are grossly wrong; "poisson" for counts, whose means'
        logarithms the components make up (with `nonnegative` the means themselves); "bernoulli" for zeros and ones and shares, by their
        log odds. `predict` gives means. For other losses than squares the search is that of `rankless.search.losses`:
        by held-out deviance, without noise by slice, blends, close cells and transforms.
    nonnegative : True, or one bool a mode: whether components may hold no negative number, as spectra and concentrations
        do not. They then make up the values alone, and main effects have no part.
    holdout : share of the observed entries on which the choices are made; up to 0.3 of small data. Where what is missing
        comes in whole fibres or runs, some are held out in the same way besides, and holdout_rmse_ is the error on these.
    shape : sizes of the modes; None: one more than the largest coordinate. Cross-validation needs it: a fold
        may not hold the largest coordinate.
    duplicates : "error", or "mean" (an entry as heavy as those it is the mean of) or "last" where a coordinate may
        come twice, as in bootstrap samples.
    side : what is known of slices beside their values, a table for each mode of which something is:
        ``{"station": table}`` with latitude, longitude and height, or with ages and groups. A row a slice, or rows told by labels in
        the table's index or in a column named like the mode. It is asked as an expert, and fills slices never observed, where that pays
        on slices left out; labels that only the table has are such slices of a table `X`. See `rankless.kinds.side`.
    random_state : same seed, same numbers, on any number of threads.
    n_jobs : threads; None means all processors.
    verbose : whether to show how far the search is, on stderr: a bar in a terminal or a notebook, elsewhere a line a second.

    `X` is what scikit-learn calls categorical: each column holds slices' numbers, from 0 on, or, if any column of it is of texts or
    dates, labels. A label that the fit did not see is predicted from main effects, with a warning, so that folds of a raw table can
    be cross-validated. Shuffle the folds of a cross-validation: a table is often
    sorted, and an unshuffled fold takes whole slices away, for which nothing but main effects is left.

    Attributes after `fit`
    ----------------------
    best_fit_ (CPTensor, the best single fit of components, not shrunk by any share), rank_ (the number of its components; 0 for a network),
    ranks_ (of the Tucker or train network in the answer, else None), depth_ and
    penalty_ of it, fits_ (the CPTensors of all fits in the answer, each in its share, the best one first), drawn_ (the mean of draws
    from the posterior that is also in it, a CPTensor, or None), model_ (CPTensor, the sum of these), effects_ (bool), noise_ (mode number
    or None), smooth_ (the smoothness of each mode, 0 for none), main_effects_, nearby_ (Kriging or None), unfolded_ (Slices or None),
    unasked_ (names of experts for which the data were too large or too sparse),
    left_out_ (names of what time_limit left no time for), came_later_ (how many entries were taken in after all choices were made),
    unseen_ (for each mode a mask of its slices that were never observed and are filled from main effects), value_transform_ (Transform),
    path_ (DataFrame: every fit of the search), holdout_rmse_, for other losses than squares holdout_deviance_ (mean) and
    blank_deviance_ (that of a constant), for loss="huber" bound_ (the error, in the data's units, from which on it
    counts in proportion), labels_ (of each mode, where `X` came with labels, else None), n_features_in_, and feature_names_in_
    where `X` is a table: its columns are then the names of the
    modes. All are in the data's units, except where value_transform_ is not the identity: model_, fits_ and main_effects_
    then make up the transformed values, and predict is value_transform_.inverse of their sum; nearby_ and unfolded_ are in units of the
    fit. `answer_in_words` says how all of it is put together.

    >>> import numpy as np
    >>> from rankless import TensorCompleter
    >>> array = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, -1.0, 4.0, 0.5, 3.0, 2.0])
    >>> array[2, 3] = np.nan
    >>> est = TensorCompleter(random_state=0).fit(array)
    >>> est.rank_, est.predict([[2, 3]]).round(1)
    (1, array([12.]))
    """

    def __init__(
        self,
        *,
        model: str = "cp",
        effort: str = "default",
        time_limit: float | None = None,
        experts: Literal["auto"] | Sequence[Any] = "auto",
        depth: float | Literal["auto"] = "auto",
        penalty: float | Literal["auto"] = "auto",
        max_rank: int | Literal["auto"] = "auto",
        effects: bool | Literal["auto"] = "auto",
        noise: str | int | None = "auto",
        n_fits: int | Literal["auto"] = "auto",
        local: Literal["auto"] | None = "auto",
        value_transform: str | None = "auto",
        smooth: Sequence[int | str] | Literal["auto"] | None = "auto",
        loss: str = "gaussian",
        nonnegative: bool | Sequence[bool] = False,
        holdout: float = 0.1,
        shape: Sequence[int] | None = None,
        duplicates: Duplicates = "error",
        side: Mapping[str | int, Any] | None = None,
        random_state=None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.model = model
        self.effort = effort
        self.time_limit = time_limit
        self.experts = experts
        self.depth = depth
        self.penalty = penalty
        self.max_rank = max_rank
        self.effects = effects
        self.noise = noise
        self.n_fits = n_fits
        self.local = local
        self.value_transform = value_transform
        self.smooth = smooth
        self.loss = loss
        self.nonnegative = nonnegative
        self.holdout = holdout
        self.shape = shape
        self.duplicates = duplicates
        self.side = side
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self, X, y=None, sample_weight=None, *, callback: Callback | None = None, checkpoint: Journal | str | os.PathLike | None = None
    ) -> TensorCompleter:
        """Fit to coordinates `X` ``(n, order)`` and values `y` ``(n,)``, or to an array with NaN, or to Observations.

        `sample_weight` ``(n,)`` weighs the squares; a row of weight 0, or whose value is NaN, was not observed.
        `callback` is called with a `rankless.runtime.progress.Progress` at every stage, every fit of the search and each second in
        between. If it raises StopIteration the search ends, and the best fit so far is refitted on all entries: the answer, in
        less time. Any other exception passes.

        A fit that takes longer than ten seconds keeps what it has computed in the file `checkpoint` until it is done; one that
        was cut short goes on from there when run again with the same data and settings, to the same numbers. ctrl-C leaves
        the best fit so far in the estimator.
        """
        obs = self._observations(X, y, sample_weight)
        limits = limits_of(self, obs, names_of_experts())
        check_time_limit(self.time_limit)
        name = check_transform(self.value_transform, obs)
        self.shape_ = obs.shape
        for stale in ("holdout_deviance_", "blank_deviance_", "bound_"):  # of an earlier fit
            vars(self).pop(stale, None)
        self.unseen_ = [obs.counts(mode) == 0 for mode in range(obs.order)]
        self._answer = self._calibration = None
        if np.ptp(obs.values) == 0:
            self._fit_constant(obs)
            return self
        _check_enough(obs)
        outlier = wild(obs)
        check_fit(obs.size, obs.shape, itemsize=obs.values.itemsize, weighted=obs.weights is not None)
        holdout = min(max(self.holdout, _MIN_HELD / obs.size), max(self.holdout, _MOST_HELD))
        with (
            opened(checkpoint) as journal,
            shown(self.verbose) as bar,
            Workers(self.n_jobs, journal, Tracker(bar, callback), self.time_limit) as workers,
        ):
            seed = self._begin(journal, obs)
            options: dict[str, Any] = {"holdout": holdout, "seed": seed, "workers": workers}
            self._seed = seed
            best, tried = Fit.best(obs, name, limits, **options)
            self._keep(best, tried, obs)
            self.left_out_, self.came_later_ = workers.clock.left_out, 0
            if any(fit.found.unfinished for fit in tried):
                raise KeyboardInterrupt
        log.info("rank %d, depth %g, held-out error %.4g, among %d fits", self.rank_, self.depth_, self.holdout_rmse_, len(self.path_))
        _warn_unseen(obs, self)
        if outlier and self.loss == "gaussian" and self.value_transform_.name == "none":
            warnings.warn(outlier, UserWarning, stacklevel=2)
        return self

    def predict(self, X) -> np.ndarray:
        """Values at coordinates `X`, shape ``(n, order)``; in slices never observed, their main effects, but of a smooth mode."""
        check_is_fitted(self)
        indices, unknown = self._located(X)
        values = self.values_at(indices)
        if unknown.any():
            rows = unknown.any(axis=1)
            values[rows] = self.value_transform_.inverse(self._bare(indices[rows], unknown[rows]))
        return values

    def predict_interval(self, X, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends at coordinates `X`, shape ``(n, order)``: a cell missing at random lies between with probability `coverage`.

        See `rankless.answer.intervals`. The first call calibrates: it makes the fits of the answer once more without some
        entries. In slices never observed the ends are a guess from the spread of the others, and nothing is promised.
        Raises ValueError where the data have too few entries to promise `coverage`.
        """
        check_is_fitted(self)
        indices, unknown = self._located(X)
        _, lower, upper = self.filled_at(indices, coverage)
        for kind in np.unique(unknown[unknown.any(axis=1)], axis=0):
            rows = (unknown == kind).all(axis=1)
            lower[rows], upper[rows] = self._bare_ends(indices[rows], unknown[rows], coverage)
        return lower, upper

    @property
    def of_squares(self) -> bool:
        """Whether plain squares are fitted, to values of any sign and as they are: the setting in which slices may be standardised."""
        signs = self.nonnegative if isinstance(self.nonnegative, Sequence) else [self.nonnegative]
        return self.loss == "gaussian" and not any(signs) and self.value_transform in ("auto", None)

    @property
    def general(self) -> bool:
        """Whether the fit was of another loss than plain squares."""
        return self._answer is not None and self._answer.found.loss is not None

    @property
    def deviances(self) -> tuple[float, float]:
        """Of another loss, the mean deviances at held-out entries of the answer and of a constant."""
        assert self._answer is not None and self._answer.found.deviances is not None
        return self._answer.found.deviances

    @property
    def calibrated(self) -> bool:
        """Whether errors at entries that no choice has seen are known already: to ask for them fits once more."""
        return self._calibration is not None

    def answer_in_words(self, modes: Sequence[str]) -> str:
        """What the answer is made of."""
        return (self.main_effects_ if self._answer is None else self._answer.found.tree).words(modes)

    def calibration(self, callback: Callback | None = None) -> Calibration | None:
        """Errors at entries that no choice has seen, made at the first call; None for constant data."""
        check_is_fitted(self)
        if self._calibration is None and self._answer is not None:
            best, stream = self._answer, streams_of(self._seed)[1]
            with shown(self.verbose) as bar, Workers(self.n_jobs, tracker=Tracker(bar, callback)) as workers:
                self._calibration = Calibration.of(best.found, best.near_one, seed=stream, workers=workers)
        return self._calibration

    def calibration_errors(self) -> tuple[Observations, np.ndarray]:
        """The calibration entries and the errors there, both in the data's units; none for constant data."""
        found = self.calibration()
        if found is None or self._answer is None:
            return Observations(np.zeros((len(self.shape_), 0), np.int32), np.zeros(0), self.shape_), np.zeros(0)
        return self._answer.in_data(Errors(found.entries, found.errors))

    def calibration_kinds(self) -> ByKind | None:
        """The kinds of the missing cells and of the calibration entries; None where missing cells are all of one kind."""
        found = self.calibration()
        return None if found is None else found.by_kind

    def held_out_errors(self) -> tuple[Observations, np.ndarray]:
        """The entries on which the search chose, and its errors there, both in the data's units."""
        assert self._answer is not None
        return self._answer.in_data(self._answer.found.errors)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.positive_only = True  # numbers of slices, from 0 on
        tags.target_tags.required = False  # an array carries its values
        return tags

    # --- helpers ------------------------------------------------------------------------------

    def _located(self, X) -> tuple[np.ndarray, np.ndarray]:
        """Checked coordinates of rows, and a mask ``(n, order)`` of labels that the fit did not see, whose coordinate is then 0."""
        labels = getattr(self, "labels_", None)
        if labels is None:
            indices = self._checked(X)
            return indices, np.zeros(indices.shape, dtype=bool)
        validate_data(self, X, reset=False, skip_check_array=True)
        columns = columns_of(X)
        if columns is None:
            columns = [np.asarray(X[name]) for name in X.columns] if hasattr(X, "columns") else list(np.asarray(X).T)
        places = found_in(columns, labels)
        unknown = places < 0
        if unknown.any():
            row, mode = np.argwhere(unknown)[0]
            name = self._mode_names()[mode]
            warnings.warn(
                f"{int(unknown.any(axis=1).sum())} of {len(places)} rows have a label that the fit did not see, such as "
                f"{name} {columns[mode][row]!r}; they get main effects, and nothing of the components",
                UserWarning,
                stacklevel=3,
            )
        return np.maximum(places, 0), unknown

    def _mode_names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"mode_{n}" for n in range(self.n_features_in_)] if names is None else list(map(str, names))

    def _bare(self, indices: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """Main effects, before the transform is undone, without those of the modes whose label is `unknown`."""
        values = self.main_effects_.at(indices)
        for mode, effect in enumerate(self.main_effects_.effects):
            values -= np.where(unknown[:, mode], effect[indices[:, mode]], 0.0)
        return values

    def _bare_ends(self, indices: np.ndarray, unknown: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """Ends where labels of the same modes are `unknown`: as wide as in slices that were never observed."""
        said = self._bare(indices, unknown)
        middle = self.value_transform_.inverse(said)
        best, calibration = self._answer, self.calibration()
        if best is None or calibration is None:  # constant data
            return middle, middle.copy()
        masks = [np.ones_like(mask) if unknown[0, mode] else mask for mode, mask in enumerate(self.unseen_)]
        return best.ends(said, best.half_widths(calibration, indices, said, masks, coverage), indices)

    def _checked(self, X) -> np.ndarray:
        return check_indices(validate_data(self, X, reset=False, ensure_min_samples=0), self.shape_)

    def values_at(self, indices: np.ndarray) -> np.ndarray:
        """Values at coordinates that were checked already, shape ``(n, order)``."""
        return self.value_transform_.inverse(self._said(indices))

    def filled_at(self, indices: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values at checked coordinates, and the ends of their intervals."""
        check_coverage(coverage)
        said = self._said(indices)
        middle = self.value_transform_.inverse(said)
        best, calibration = self._answer, self.calibration()
        if best is None or calibration is None:  # constant data
            return middle, said, said.copy()
        return middle, *best.ends(said, best.half_widths(calibration, indices, said, self.unseen_, coverage), indices)

    def _said(self, indices: np.ndarray) -> np.ndarray:
        """Values at checked coordinates, before the transform is undone."""
        if self._answer is not None:
            return np.ldexp(self._answer.found.at(indices), self._answer.exponent)
        return self.main_effects_.at(indices)  # of constant data

    def _begin(self, journal: Journal | None, obs: Observations) -> Any:
        """The seed: where none was given, that with which the journal was begun, which must go with data and settings."""
        seed = _seed(self.random_state)
        if journal is None:
            return seed
        settings = {
            name: repr(value) for name, value in self.get_params().items() if name not in ("n_jobs", "verbose", "random_state", "side")
        }
        if known := known_of(self.side, obs):
            settings["side"] = digest(*(part for each in known for part in (each.features, each.places)))
        facts = {
            "data": f"{obs.size} entries of shape {obs.shape}, digest {digest(obs.coords, obs.values, obs.weights)}",
            **settings,
            "random_state": repr(None if self.random_state is None else seed),
            "seed": repr(seed),
            "machine": machine(),
        }
        stored = journal.begin(facts, free=["seed"])
        return int(stored["seed"]) if self.random_state is None else seed

    def _observations(self, X, y, sample_weight) -> Observations:
        self.labels_ = None
        if y is not None and not isinstance(X, Observations):
            return self._from_coordinates(X, y, sample_weight)
        if isinstance(X, Observations):
            if y is not None or sample_weight is not None:
                raise ValueError("Observations carry their values and weights; pass them alone: fit(observations)")
            obs = X
        else:
            if sample_weight is not None:
                raise ValueError("sample_weight goes with coordinates; pass fit(X, y, sample_weight)")
            obs = Observations.from_array(X)
        self.n_features_in_ = obs.order
        vars(self).pop("feature_names_in_", None)  # of an earlier fit
        return obs

    def _from_coordinates(self, X, y, sample_weight) -> Observations:
        columns = columns_of(X)
        if columns is None:
            coords = np.asarray(validate_data(self, X, ensure_min_features=2))
        else:
            if self.shape is not None:
                raise ValueError(f"shape={self.shape!r} is for coordinates, and these are labels; leave it out")
            validate_data(self, X, skip_check_array=True)
            coords, self.labels_ = encoded(columns, names := self._mode_names())
            self.labels_ = [with_labels(own, labels_of_side(self.side, names[m], m)) for m, own in enumerate(self.labels_)]
        y = column_or_1d(y, warn=True)
        if len(coords) != len(y):
            raise ValueError(f"{len(coords)} rows of indices but {len(y)} values; pass one value a row")
        shape = self.shape
        if sample_weight is None:
            weights = np.ones(len(y)) if self.duplicates == "mean" else None  # two values' mean is as heavy as two
        else:
            weights = np.asarray(sample_weight)
            _check_sample_weight(weights)
            seen = weights != 0
            if weights.shape == y.shape and not seen.all():
                if not seen.any():
                    raise ValueError("sample_weight is zero throughout: no entry is left; give at least one a weight above zero")
                if shape is None:
                    shape = check_indices(coords, None).max(axis=0) + 1  # slices of weight 0 are slices still
                coords, y, weights = coords[seen], y[seen], weights[seen]
        names = getattr(self, "feature_names_in_", None)
        modes = None if names is None else list(map(str, names))
        if self.labels_ is not None:
            shape = [len(label) for label in self.labels_]
        duplicates: Any = self.duplicates
        return Observations.from_indices(coords, y, shape=shape, weights=weights, modes=modes, labels=self.labels_, duplicates=duplicates)

    def _fit_constant(self, obs: Observations) -> None:
        """Data without variation: the constant, exactly, and no component."""
        import pandas as pd

        self.main_effects_ = MainEffects.constant(float(obs.values[0]), obs.shape)
        self.model_ = CPTensor([np.zeros((d, 0)) for d in obs.shape])
        self.fits_, self.best_fit_ = [self.model_], self.model_
        self.rank_, self.depth_, self.penalty_, self.effects_, self.noise_ = 0, 0.0, 0.0, True, None
        self.ranks_ = None
        self.smooth_, self.between_ = (0.0,) * obs.order, [np.zeros(d, dtype=bool) for d in obs.shape]
        self.path_, self.holdout_rmse_, self.value_transform_ = pd.DataFrame(), float("nan"), Transform()
        self.nearby_ = self.unfolded_ = self.drawn_ = None
        self.unasked_, self.left_out_, self.came_later_ = [], [], 0

    def _keep(self, best: Fit, tried: list[Fit], obs: Observations) -> None:
        import pandas as pd

        found, exponent = best.found, best.exponent
        self._answer = best
        self.value_transform_ = best.transform
        self.main_effects_ = found.bare.times(2.0**exponent)
        each, left = divmod(exponent, obs.order)  # the modes share the power of two, so they stay balanced

        def in_data(model: CPTensor) -> CPTensor:
            return CPTensor([np.ldexp(f, each + (m < left)) for m, f in enumerate(model.factors)])

        self.fits_ = [in_data(fit) for fit in fits_of(found.tree) or [found.components]]
        drawn = draws_of(found.tree)
        self.drawn_ = drawn and in_data(drawn)
        self.model_ = in_data(found.model)
        self.nearby_, self.unfolded_ = leaf_of(found.tree, Kriging), leaf_of(found.tree, Slices)
        self.best_fit_ = in_data(found.components)
        self.ranks_ = None if found.network is None else found.network.ranks
        self.rank_ = self.best_fit_.rank
        self.depth_, self.penalty_ = found.best.depth, found.best.penalty
        frame = found.best.frame
        self.effects_, self.noise_ = not any(frame.nonnegative) if isinstance(frame, Units) else frame.effects, frame.mode
        self.smooth_ = found.best.smooth or (0.0,) * obs.order
        self.unasked_, self.left_out_ = found.unasked, []  # what a time limit left out is known where the fit was made
        self.between_ = [known_in(found.tree, mode, mask, obs.shape) for mode, mask in enumerate(self.unseen_)]
        self.unseen_ = [mask & ~between for mask, between in zip(self.unseen_, self.between_, strict=True)]
        self.holdout_rmse_ = rmse_of(best.residual, found.errors.entries) * 2.0**best.data_exponent
        self.path_ = pd.concat([pd.DataFrame(fit.path()) for fit in tried], ignore_index=True)
        if found.deviances is not None:
            self.holdout_deviance_, self.blank_deviance_ = found.deviances
        if isinstance(frame, Units) and isinstance(frame.loss, Huber):
            self.bound_ = frame.loss.bound * frame.scale


def _check_sample_weight(weights: np.ndarray) -> None:
    """Raise ValueError over a weight that is no finite number from 0 on."""
    if weights.dtype.kind not in "iufb":
        raise ValueError(f"sample_weight has dtype {weights.dtype}; pass a finite number above 0 for each row, or 0 to leave the row out")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"sample_weight[{bad[0]}] = {weights.ravel()[bad[0]]:g} is not allowed; "
            "pass a finite number above 0 for each row, or 0 to leave the row out"
        )


def _seed(random_state) -> Any:
    """What `numpy.random.default_rng` takes, and gives the same numbers each time; what has a state is drawn from once."""
    check_seed(random_state)
    if random_state is None:
        return np.random.SeedSequence().entropy
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, (np.random.Generator, np.random.BitGenerator, np.random.SeedSequence)):
        return int(np.random.default_rng(random_state).integers(2**63))
    return random_state


def _check_enough(obs: Observations) -> None:
    """A rank-one model has one number a slice, less the scales that its modes share."""
    slices = sum(int((obs.counts(mode) > 0).sum()) for mode in range(obs.order))
    needed = slices - obs.order + 1
    if obs.size < needed:
        raise ValueError(
            f"{obs.size} observed entries are fewer than the {needed} numbers of a rank-one model over {slices} slices; "
            "observe more, or join slices (days into weeks)"
        )


def _warn_unseen(obs: Observations, estimator: TensorCompleter) -> None:
    for text in unseen_texts(obs, estimator):
        warnings.warn(text, UserWarning, stacklevel=3)


def unseen_texts(obs: Observations, estimator: TensorCompleter) -> list[str]:
    """A line for each mode with slices never observed, on what they are filled from."""
    known = [(estimator.unseen_, "main effects"), (estimator.between_, "their neighbours")]
    told = {each.mode for each in known_of(estimator.side, obs)}
    there = [obs.cells_of(mode) > 0 for mode in range(obs.order)]  # a slice without a cell is not filled
    return [
        _unseen_text(obs, mode, mask & there[mode], "what is known of them" if masks is estimator.between_ and mode in told else source)
        for masks, source in known
        for mode, mask in enumerate(masks)
        if (mask & there[mode]).any()
    ]


def _unseen_text(obs: Observations, mode: int, mask: np.ndarray, source: str) -> str:
    found = np.flatnonzero(mask)
    have, are = ("has", "is") if len(found) == 1 else ("have", "are")
    text = f"{have} no observed entry and {are} filled from {source}: {labels_of(obs, mode, found)} (extrapolation)"
    return f"{counted(len(found), 'slice')} of {obs.modes[mode]} {text}"
