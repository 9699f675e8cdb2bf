"""`complete`: data with holes in, `Completion` out. `TensorCompleter`: the same as a scikit-learn estimator."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from rankless._memory import check_fits
from rankless.als.workers import Workers
from rankless.blend import total
from rankless.cp_tensor import CPTensor
from rankless.depth import check_depth
from rankless.effects import MainEffects
from rankless.observations import Observations, check_indices
from rankless.selection import Found, Limits, Say, search

if TYPE_CHECKING:
    import pandas as pd

_CELLS_AT_ONCE = 1_000_000
_MIN_HELD = 500  # entries held out of small data even where `holdout` asks for fewer: a hundred choose a penalty badly
_MOST_HELD = 0.3  # ... up to this share


class TensorCompleter(RegressorMixin, BaseEstimator):
    """Fill a partially observed array with the few components that explain it; nobody chooses how many.

        minimise  1/2 sum_e (y_e - effects_e - T_e)^2 + penalty (k+1)/2 sum_{n,r} |u_r^n|^(2/(k+1))

    Everything set to "auto" is chosen on held-out entries, then refitted on all.

    Parameters
    ----------
    depth : "auto", or `k` >= 0; 0 is shallow CP.
    penalty : "auto", or a number > 0, for values at unit root mean square.
    max_rank : "auto", or the most components to allow.
    effects : "auto", True or False: additive main effects under the components.
    noise : "auto", None, or the mode (name or number) whose slices differ in noise.
    n_fits : fits of the search whose weighted sum may be the answer, where it errs clearly less than the
        best of them [wolpert1992, breiman1996]; "auto" is up to 3. With 1 every component counts once.
    loss : "gaussian", the sum of squares.
    holdout : share of the observed entries on which the choices are made; up to 0.3 of small data.
    shape : sizes of the modes; None: one more than the largest coordinate.
    random_state : same seed, same numbers, on any number of threads.
    n_jobs : threads; None means all processors.

    Attributes after `fit`
    ----------------------
    model_ (CPTensor, in the data's units, main effects left out), rank_ (its components), fits_ (the
    CPTensors whose sum it is, the best one first), depth_ and penalty_ of the best one, effects_ (bool),
    noise_ (mode number or None), main_effects_, path_ (DataFrame: every fit of the search),
    holdout_rmse_, n_features_in_.

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
        depth: float | Literal["auto"] = "auto",
        penalty: float | Literal["auto"] = "auto",
        max_rank: int | Literal["auto"] = "auto",
        effects: bool | Literal["auto"] = "auto",
        noise: str | int | None = "auto",
        n_fits: int | Literal["auto"] = "auto",
        loss: str = "gaussian",
        holdout: float = 0.1,
        shape: Sequence[int] | None = None,
        random_state=None,
        n_jobs: int | None = None,
    ):
        self.depth = depth
        self.penalty = penalty
        self.max_rank = max_rank
        self.effects = effects
        self.noise = noise
        self.n_fits = n_fits
        self.loss = loss
        self.holdout = holdout
        self.shape = shape
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X, y=None, sample_weight=None, *, callback: Say | None = None) -> TensorCompleter:
        """Fit to coordinates `X` ``(n, order)`` and values `y` ``(n,)``, or to an array with NaN, or to Observations.

        `callback(message, fraction or None)` is told what the search is doing.
        """
        obs = self._observations(X, y, sample_weight)
        limits = self._limits(obs)
        self.n_features_in_ = obs.order
        self.shape_ = obs.shape
        self._unseen = [obs.counts(mode) == 0 for mode in range(obs.order)]
        if np.ptp(obs.values) == 0:
            self._fit_constant(obs)
            return self
        _check_enough(obs)
        holdout = min(max(self.holdout, _MIN_HELD / obs.size), max(self.holdout, _MOST_HELD))
        near_one, exponent = _near_one(obs)
        with Workers(self.n_jobs) as workers:
            found = search(near_one, limits, holdout=holdout, seed=_seed(self.random_state), workers=workers, say=callback or _silent)
        self._keep(found, near_one, exponent)
        _warn_unseen(obs, self._unseen)
        return self

    def predict(self, X) -> np.ndarray:
        """Values at coordinates `X`, shape ``(n, order)``; in slices never observed, their main effects."""
        check_is_fitted(self)
        indices = check_indices(X, self.shape_)
        values = np.zeros(len(indices)) if not self.effects_ else self.main_effects_.at(indices)
        if self.rank_:
            values = values + self.model_.at(indices)
        unseen = np.zeros(len(indices), dtype=bool)
        for mode, mask in enumerate(self._unseen):
            unseen |= mask[indices[:, mode]]
        if unseen.any():
            values[unseen] = self.main_effects_.at(indices[unseen])
        return values

    # --- helpers ------------------------------------------------------------------------------

    def _observations(self, X, y, sample_weight) -> Observations:
        if isinstance(X, Observations):
            if y is not None or sample_weight is not None:
                raise ValueError("Observations carry their values and weights; pass them alone: fit(observations)")
            return X
        if y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight goes with coordinates; pass fit(X, y, sample_weight)")
            return Observations.from_array(X)
        return Observations.from_indices(X, y, shape=self.shape, weights=sample_weight)

    def _limits(self, obs: Observations) -> Limits:
        if self.loss != "gaussian":
            raise ValueError(f"loss={self.loss!r} is not known; pass loss='gaussian'")
        if not (isinstance(self.holdout, (int, float)) and 0 < self.holdout < 1):
            raise ValueError(f"holdout={self.holdout!r} is not a share between 0 and 1; pass holdout=0.1 for a tenth")
        given: dict[str, Any] = {}
        if not _is_auto(self.depth):
            given["depths"] = (check_depth(self.depth),)  # pyright: ignore[reportArgumentType]
        if not _is_auto(self.penalty):
            if not (isinstance(self.penalty, (int, float, np.number)) and math.isfinite(self.penalty) and self.penalty > 0):
                raise ValueError(f"penalty={self.penalty!r} is not a positive number; pass penalty='auto' to have it found")
            given["penalties"] = (float(self.penalty),)
        if not _is_auto(self.max_rank):
            if not (isinstance(self.max_rank, (int, np.integer)) and self.max_rank >= 1):
                raise ValueError(f"max_rank={self.max_rank!r} is not a whole number >= 1; pass max_rank='auto' to have it found")
            given["max_rank"] = int(self.max_rank)
        if not _is_auto(self.effects):
            if not isinstance(self.effects, (bool, np.bool_)):
                raise ValueError(f"effects={self.effects!r} is not known; pass 'auto', True or False")
            given["effects"] = (bool(self.effects),)
        if not _is_auto(self.n_fits):
            if isinstance(self.n_fits, bool) or not (isinstance(self.n_fits, (int, np.integer)) and self.n_fits >= 1):
                raise ValueError(f"n_fits={self.n_fits!r} is not a number of fits >= 1; pass n_fits='auto', or 1 for a single fit")
            given["fits"] = int(self.n_fits)
        if isinstance(self.noise, bool):  # a bool is an int, and no mode
            raise ValueError(f"noise={self.noise!r} is not known; pass 'auto', None for the same noise everywhere, or a mode")
        if not (self.noise is None or _is_auto(self.noise)):
            obs.mode_index(self.noise)
        return Limits(noise=self.noise, **given)

    def _fit_constant(self, obs: Observations) -> None:
        """Data without variation: the constant, exactly, and no component."""
        import pandas as pd

        self.main_effects_ = MainEffects.constant(float(obs.values[0]), obs.shape)
        self.model_ = CPTensor([np.zeros((d, 0)) for d in obs.shape])
        self.fits_ = [self.model_]
        self.rank_, self.depth_, self.penalty_, self.effects_, self.noise_ = 0, 0.0, 0.0, True, None
        self.path_, self.holdout_rmse_ = pd.DataFrame(), float("nan")

    def _keep(self, found: Found, obs: Observations, exponent: int) -> None:
        import pandas as pd

        unit = 2.0**exponent
        self.main_effects_ = (found.frame.offset or MainEffects.fit(obs)).times(unit)
        each, left = divmod(exponent, obs.order)  # the modes share the power of two, so they stay balanced
        self.fits_ = [CPTensor([np.ldexp(f, each + (m < left)) for m, f in enumerate(fit.factors)]) for fit in found.fits]
        self.model_ = total(self.fits_)
        self.rank_ = self.model_.rank
        self.depth_, self.penalty_ = found.point.depth, found.point.penalty
        self.effects_, self.noise_ = found.frame.offset is not None, found.frame.mode
        self.path_, self.holdout_rmse_ = pd.DataFrame(found.path), found.point.rmse * unit
        self.path_[["holdout_rmse", "score"]] *= unit


class Completion:
    """What `complete` found: the filled data, the model behind it, and how it was chosen."""

    def __init__(self, estimator: TensorCompleter, observations: Observations, kind: str):
        self.estimator = estimator
        self.observations = observations
        self._kind = kind

    @property
    def rank(self) -> int:
        """Number of components found."""
        return self.estimator.rank_

    @property
    def depth(self) -> float:
        return self.estimator.depth_

    @property
    def penalty(self) -> float:
        return self.estimator.penalty_

    @property
    def model(self) -> CPTensor:
        """The components, in the units of the data; main effects are not in it."""
        return self.estimator.model_

    @property
    def fits(self) -> list[CPTensor]:
        """The fits whose sum the model is, each in its share, the best one first."""
        return self.estimator.fits_

    @property
    def path(self) -> pd.DataFrame:
        """Every fit of the search: depth, penalty, effects, noise, rank, hold-out error, sweeps, seconds."""
        return self.estimator.path_

    @cached_property
    def filled(self) -> Any:
        """What came in, its holes filled: an array for an array, a long table of all cells for a table."""
        if self._kind == "table":
            columns = [*self.observations.modes, self.observations.value_name]
            return self.table()[columns]
        return self.array()

    def predict(self, indices) -> np.ndarray:
        """Values at coordinates, shape ``(n, order)``."""
        return self.estimator.predict(indices)

    def array(self) -> np.ndarray:
        """The filled array, observed cells as they came, in the dtype of the data."""
        obs = self.observations
        check_fits(obs.shape, obs.values.dtype.itemsize)
        filled = np.empty(obs.shape, dtype=obs.values.dtype)
        flat = filled.reshape(-1)
        for start in range(0, flat.size, _CELLS_AT_ONCE):
            cells = np.arange(start, min(start + _CELLS_AT_ONCE, flat.size))
            flat[cells] = self.predict(np.stack(np.unravel_index(cells, obs.shape), axis=1))
        filled[tuple(obs.coords)] = obs.values
        return filled

    def table(self) -> pd.DataFrame:
        """All cells as a long table: a column a mode, the value, and whether it was observed."""
        import pandas as pd

        obs = self.observations
        check_fits(obs.shape, 8 * (obs.order + 1))
        cells = np.indices(obs.shape).reshape(obs.order, -1)
        columns: dict[str, Any] = {}
        for name, coordinate, label in zip(obs.modes, cells, obs.labels, strict=True):
            columns[name] = coordinate if label is None else label[coordinate]
        observed = np.zeros(obs.shape, dtype=bool)
        observed[tuple(obs.coords)] = True
        columns[obs.value_name] = self.array().reshape(-1)
        columns["observed" if "observed" not in columns else "was_observed"] = observed.reshape(-1)
        return pd.DataFrame(columns)

    def summary(self) -> str:
        """What was found, in a few lines."""
        obs, est = self.observations, self.estimator
        if est.path_.empty:
            return f"{obs.size:,} of {obs.cells:,} cells observed, all equal to {obs.values[0]:g}: filled with it, rank 0."
        lines = [
            f"{obs.size:,} of {obs.cells:,} cells observed; the other {obs.cells - obs.size:,} are filled.",
            f"rank {est.rank_}{_of_fits(est.fits_)}, depth {est.depth_:g}, penalty {est.penalty_:.3g}"
            + (", on top of main effects" if est.effects_ else "")
            + ("" if est.noise_ is None else f"; slices of {obs.modes[est.noise_]} weighed by their own noise")
            + f" (found among {len(est.path_)} fits).",
            f"error on held-out entries: {est.holdout_rmse_:.4g} (standard deviation of the data: {np.std(obs.values):.4g}).",
        ]
        lines += [_unseen_text(obs, mode, mask) for mode, mask in enumerate(est._unseen) if mask.any()]
        return "\n".join(lines)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as .npz: the components and the main effects, as one CP tensor. See `CPTensor.load`."""
        self.whole_model().save(path)

    def whole_model(self) -> CPTensor:
        """Components and main effects as one CP tensor: each mode's effects are one component more."""
        est = self.estimator
        seen = [1.0 - mask for mask in est._unseen]
        extra = []
        if est.effects_ or not all(s.all() for s in seen):
            extra += _effects_as_components(est.main_effects_, [np.ones(d) for d in est.shape_])
        if extra and not est.effects_:  # only slices never observed are filled from main effects: take the others out
            extra += [(-first, *rest) for first, *rest in _effects_as_components(est.main_effects_, seen)]
        return CPTensor([np.column_stack([f, *(e[m] for e in extra)]) for m, f in enumerate(est.model_.factors)])

    def __repr__(self) -> str:
        return f"Completion(shape={self.observations.shape}, rank={self.rank}, depth={self.depth:g})"


def complete(
    data: Any,
    *,
    modes: Sequence[str] | None = None,
    value: str | None = None,
    callback: Say | None = None,
    **options,
) -> Completion:
    """Fill the holes of `data`; nothing needs to be chosen.

    `data` is an array with NaN where nothing was observed, a pandas long table (name its `modes` and
    its `value` column), or Observations. `options` are those of `TensorCompleter`.

    >>> import numpy as np, rankless
    >>> array = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, -1.0, 4.0, 0.5, 3.0, 2.0])
    >>> array[2, 3] = np.nan
    >>> done = rankless.complete(array, random_state=0)
    >>> done.rank, round(float(done.filled[2, 3]), 1)
    (1, 12.0)
    """
    obs, kind = _read(data, modes, value)
    estimator = TensorCompleter(**options).fit(obs, callback=callback)
    return Completion(estimator, obs, kind)


def _read(data: Any, modes: Sequence[str] | None, value: str | None) -> tuple[Observations, str]:
    if isinstance(data, Observations):
        return data, "array"
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        if modes is None or value is None:
            columns = ", ".join(map(repr, data.columns))
            raise ValueError(f"a table needs its roles named; it has {columns}: pass modes=[...] and value='...'")
        return Observations.from_table(data, modes, value), "table"
    return Observations.from_array(data, modes=modes), "array"


def _effects_as_components(effects: MainEffects, others: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """``prod_m others_m[i_m] * (mean + sum_n effect_n[i_n])`` as one component a mode, each a vector a mode."""
    components = []
    for mode, effect in enumerate(effects.effects):
        own = (effect + effects.mean if mode == 0 else effect) * others[mode]
        components.append([own if m == mode else other for m, other in enumerate(others)])
    return components


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _of_fits(fits: Sequence[CPTensor]) -> str:
    """How the rank is made up, where more than one fit is in it."""
    if len(fits) == 1:
        return ""
    return f" in {len(fits)} fits ({' + '.join(str(fit.rank) for fit in fits)}), of the first:"


def _silent(message: str, fraction: float | None) -> None:
    pass


def _near_one(obs: Observations) -> tuple[Observations, int]:
    """Values near 1 and weights of mean 1, and the power of two that brings the values back.

    A power of two rounds nothing, so it is felt only where squares of the values would overflow.
    """
    exponent = math.floor(math.log2(obs.rms()))
    weights = None if obs.weights is None else obs.weights / np.mean(obs.weights, dtype=np.float64).astype(obs.weights.dtype)
    return obs.with_values(np.ldexp(obs.values, -exponent), weights), exponent


def _seed(random_state) -> Any:
    """What `numpy.random.default_rng` takes; scikit-learn's RandomState is drawn from once."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
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


def _unseen_text(obs: Observations, mode: int, mask: np.ndarray) -> str:
    found = np.flatnonzero(mask)
    names = ", ".join(obs.label(mode, int(i)) for i in found[:5]) + (", ..." if len(found) > 5 else "")
    return f"{len(found)} slice(s) of {obs.modes[mode]} have no observed entry and are filled from main effects: {names}"


def _warn_unseen(obs: Observations, unseen: list[np.ndarray]) -> None:
    for mode, mask in enumerate(unseen):
        if mask.any():
            warnings.warn(_unseen_text(obs, mode, mask), UserWarning, stacklevel=3)
