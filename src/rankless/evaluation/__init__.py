"""How good is it? Hide observed entries, find them again, and score the simple ways beside ours.

    NRMSE = sqrt(mean (y - prediction)^2) / std(y)      over the hidden entries

Only observed entries are ever hidden: a score needs a truth. 1 is no better than the mean. Where another loss than the
sum of squares is asked for, everything is also scored by its mean deviance, 0 where the prediction is the value:

    poisson    2 (y log(y / mean) - y + mean)
    bernoulli  2 (y log(y / mean) + (1 - y) log((1 - y) / (1 - mean))), for zeros and ones twice the log-loss
    huber      (y - mean)^2 up to the bound that the fit has found, a straight line beyond
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rankless import als
from rankless.als.losses import Bernoulli, Huber, Poisson
from rankless.completer import TensorCompleter
from rankless.experts.timeline import straight_lines
from rankless.runtime.progress import Callback, Tracker
from rankless.search.asked import signs_in
from rankless.search.effort import effort_of
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations
from rankless.trust.errors import table_of
from rankless.units.effects import MainEffects

if TYPE_CHECKING:
    import pandas as pd

LEAST, INSIDE = 0.05, 0.01  # means count as at least this share of the mean of all, chances as this far from 0 and 1
_TINY = 1e-3  # penalty of plain CP at unit root mean square: enough to keep each solve well posed


@dataclass(frozen=True, eq=False)
class Score:
    """One method's error on the hidden entries, and what it chose."""

    name: str
    rmse: float
    nrmse: float
    seconds: float
    deviance: float | None = None  # mean, of the loss asked for; None for the sum of squares
    rank: int | None = None
    depth: float | None = None
    penalty: float | None = None
    hidden: Observations | None = None  # the entries that were hidden ...
    errors: np.ndarray | None = None  # ... and the errors there

    def by_slice(self, mode: str | int) -> pd.DataFrame:
        """Errors slice by slice of a mode: which sensor is badly filled? Columns as in `rankless.trust.errors.table_of`."""
        if self.hidden is None or self.errors is None:
            raise ValueError(f"the score of {self.name!r} was made without its errors; take one that `evaluate` returns")
        return table_of(self.hidden, self.errors, mode)


def nrmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root mean square error over the standard deviation of the truth; NaN for constant truth.

    >>> nrmse(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    1.0
    """
    spread = float(np.std(truth))
    return float(np.sqrt(np.mean((truth - prediction) ** 2))) / spread if spread else float("nan")


def mean(train: Observations) -> Callable[[np.ndarray], np.ndarray]:
    """The mean of what was observed, everywhere."""
    level = float(np.average(train.values, weights=train.weights))
    return lambda indices: np.full(len(indices), level)


def main_effects(train: Observations) -> Callable[[np.ndarray], np.ndarray]:
    """A constant and one number a slice of each mode, added up."""
    return MainEffects.fit(train).at


def straight_line(train: Observations) -> Callable[[np.ndarray], np.ndarray]:
    """From each entry of a series straight to the next, along the surest axis; the mean where there is no axis or no entry."""
    nearest = next(iter(Axes.of(train).axes), None)
    return mean(train) if nearest is None else straight_lines(train, nearest)


def plain_cp(train: Observations, rank: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """CP with a given number of components, as good as no penalty."""
    unit, scale = train.scaled()
    fit = als.solve(unit, depth=0.0, penalty=_TINY, max_rank=rank, anneal_rounds=0, tol=1e-5, max_sweeps=100, random_state=seed)
    return lambda indices: scale * fit.model.at(indices)


def evaluate(
    obs: Observations,
    *,
    hide: float = 0.2,
    seed: int = 0,
    ranks: Sequence[int] = (3, 10, 30),
    loss: str = "gaussian",
    nonnegative: bool = False,
    effort: str = "default",
    callback: Callback | None = None,
) -> list[Score]:
    """Scores of the mean, main effects, straight lines, plain CP at each of `ranks`, and rankless, on the same hidden entries.

    With a `loss` other than the sum of squares, or with `nonnegative` components, rankless is there twice: by squares, and last
    with these, the options of `TensorCompleter`. Deviances take a method's means as at least a twentieth of the mean of all
    (poisson) and chances as between .01 and .99 (bernoulli), because squares may lead to impossible ones.
    `effort` is that of rankless. `callback` is told how far it is, as in `TensorCompleter.fit`.
    """
    asked = TensorCompleter(loss=loss, nonnegative=nonnegative, effort=effort, random_state=seed)
    effort_of(effort)
    signs_in(asked, obs)
    train, hidden = obs.split(hide, seed=seed)
    if hidden.size == 0:
        raise ValueError(f"hide={hide} of {obs.size} observed entries hides none without baring a slice; pass a larger share or more data")
    simple = {"mean": mean, "main effects": main_effects, "straight line": straight_line}
    simple |= {f"CP, rank {rank}": functools.partial(plain_cp, rank=rank, seed=seed) for rank in ranks}
    scores, tracker = [], Tracker(callback)
    for step, (name, method) in enumerate(simple.items()):
        tracker.stage(name, step / len(simple))
        start = time.perf_counter()
        prediction = method(train)(hidden.indices)
        scores.append(_score(name, hidden, prediction, start))
    own = ", ".join(["rankless", *[loss] * (loss != "gaussian"), *["nonnegative"] * nonnegative])
    for name, est in {"rankless": TensorCompleter(effort=effort, random_state=seed), own: asked}.items():
        start = time.perf_counter()
        est.fit(train, callback=callback)
        score = _score(name, hidden, est.predict(hidden.indices), start)
        scores.append(replace(score, rank=est.rank_, depth=est.depth_, penalty=est.penalty_))
    if loss == "gaussian":
        return scores
    by: Any = Huber(getattr(asked, "bound_", None) or float(np.ptp(obs.values))) if loss == "huber" else loss
    level = float(np.average(train.values, weights=train.weights))
    return [replace(score, deviance=deviance(by, hidden.values, hidden.values - score.errors, level)) for score in scores]


def deviance(loss: Literal["poisson", "bernoulli"] | Huber, values: np.ndarray, means: np.ndarray, level: float = 1.0) -> float:
    """Mean deviance of `means`, which are brought into the range where it is finite; `level` is the mean of all values.

    >>> round(deviance("bernoulli", np.array([0.0, 1.0]), np.array([0.5, 0.5])), 3)
    1.386
    """
    if loss == "poisson":
        return 2.0 * float(np.mean(Poisson().value(np.log(np.maximum(means, LEAST * level)), values)))
    if loss == "bernoulli":
        chances = np.clip(means, INSIDE, 1.0 - INSIDE)
        return 2.0 * float(np.mean(Bernoulli().value(np.log(chances / (1.0 - chances)), values)))
    return 2.0 * float(np.mean(loss.value(means, values)))


def _score(name: str, hidden: Observations, prediction: np.ndarray, start: float) -> Score:
    errors = hidden.values - prediction
    rmse = float(np.sqrt(np.mean(errors**2)))
    return Score(name, rmse, nrmse(hidden.values, prediction), time.perf_counter() - start, hidden=hidden, errors=errors)
