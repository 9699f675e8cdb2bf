"""What the fits of a search were compared by."""

from __future__ import annotations

from dataclasses import dataclass

from rankless.trust.diagnostics import spread
from rankless.views import Done


@dataclass(frozen=True)
class Score:
    """A column of ``done.path``, its name in words, and what it is where nothing is found."""

    column: str
    name: str
    level: float
    of_level: str


def score_of(done: Done) -> Score:
    """Of squares the root mean square error; of another loss its mean deviance, by which its fits are chosen."""
    est = done.estimator
    if est.loss == "gaussian":
        return Score("holdout_rmse", "held-out error", spread(done.given.fitted.values), "the spread of the data")
    return Score("score", f"held-out {est.loss} deviance", est.blank_deviance_, "that of a constant")
