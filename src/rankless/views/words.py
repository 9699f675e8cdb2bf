"""What a colleague would want first: one paragraph, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rankless.tensors.observations import Observations
from rankless.trust.diagnostics import JUDGED, NAMED, counted, labels_of, poor_slices, spread
from rankless.views import Done
from rankless.views.axes import axes_of, longest
from rankless.views.coverage import gap_length, run_length
from rankless.views.heldout import HeldOut

_THIN = 0.1  # of the median slice's entries, below which a slice is called thin
_POOR = 0.9  # of the spread, above which an error is hardly better than the mean
_LONGER = 3.0  # times as long as hidden runs, from which gaps are another matter


def headline(done: Done) -> str:
    """How much was filled, how good it is, and how many components it took."""
    obs = done.observations
    missing = obs.cells - obs.size
    filled = f"{missing:,} of {obs.cells:,} cells ({missing / obs.cells:.0%}) were missing and are filled in."
    if not missing:
        filled = f"No cell was missing: all {obs.cells:,} were observed."
    if done.path.empty:
        return f"{filled} Nothing varies in what was observed, so that is the answer, without a component."
    error, level = _error(done), spread(done.given.fitted.values)
    units = "" if done.given.units is None else f" standard deviations of their {obs.modes[done.given.units.mode]}"
    explained = max(0.0, 1 - (error / level) ** 2)
    return (
        f"{filled} On observed entries that were hidden from it the typical error is {error:.3g}{units}, "
        f"where guessing the mean gives {level:.3g}: "
        f"{_percent(explained)} of the variance is found again. {_rank(done)}"
    )


def facts(done: Done) -> list[tuple[str, str]]:
    """The same as names and numbers."""
    obs = done.observations
    found = [("observed", f"{obs.share:.1%}"), ("filled in", f"{obs.cells - obs.size:,}")]
    if not done.path.empty:
        found += [
            ("error when hidden", f"{_error(done):.3g}"),
            ("spread of the data", f"{spread(done.given.fitted.values):.3g}"),
            ("components", f"{done.rank}"),
            ("fits summed", f"{len(done.fits)}"),
            ("depth", f"{done.depth:g}"),
        ]
    return found


def warnings(done: Done) -> list[str]:
    """What to beware of, the gravest first; empty where nothing was noticed."""
    obs = done.observations
    found = [f"{text[0].upper()}{text[1:].removesuffix('.')}." for text in done.cautions()]
    if not done.path.empty:
        found += [*_long_gaps(done), *_poor_slices(done)]
    return [*found, *_thin(obs)]


def _error(done: Done) -> float:
    """Error on entries that no choice has seen; where none can be spared, on those of the search."""
    held = HeldOut.of(done)
    return done.estimator.holdout_rmse_ if held is None else held.rmse


def _rank(done: Done) -> str:
    main = ", on top of main effects" if done.estimator.effects_ else ""
    own = done.rank
    if own == 0:
        return f"No component was needed{main}."
    found = f"{own} components at depth {done.depth:g} were found{main}" if own > 1 else f"One component was found{main}"
    if len(done.fits) > 1:
        found = f"{own} components at depth {done.depth:g} make up the best of {len(done.fits)} fits that are summed{main}"
    return f"{found}; nobody chose that number."


def _long_gaps(done: Done) -> Iterator[str]:
    obs, held = done.observations, HeldOut.of(done)
    axis = longest(axes_of(obs))
    if held is None or not axis.runs:
        return
    gap, tried = gap_length(obs, axis.mode), run_length(held.entries, axis.mode)
    if gap > _LONGER * tried:
        yield (
            f"A missing cell lies on average in a gap of {gap:.3g} cells along {axis.name}, a hidden entry in one of {tried:.3g}: "
            "within long gaps expect larger errors than on hidden entries."
        )


def _poor_slices(done: Done) -> Iterator[str]:
    """Slices found hardly better than by their own means; those that are found no better are among the cautions."""
    held = HeldOut.of(done)
    if held is None:
        return
    errors = held.entries.values - held.predicted
    worst = dict(poor_slices(held.entries, errors))
    for mode, poor in poor_slices(held.entries, errors, of_mean=_POOR):
        poor = np.setdiff1d(poor, worst.get(mode, []))
        if 0 < len(poor) <= max(NAMED, 0.2 * int(np.sum(held.by_slice(mode)[2] >= JUDGED))):
            yield (
                f"In {counted(len(poor), 'slice')} of {held.entries.modes[mode]} the error on hidden entries is hardly below that of "
                f"the slice's own mean: {labels_of(held.entries, mode, poor)}."
            )


def _thin(obs: Observations) -> Iterator[str]:
    for mode, name in enumerate(obs.modes):
        counts, cells = obs.counts(mode), obs.cells_of(mode)
        share = counts / np.maximum(cells, 1)
        thin = np.flatnonzero((counts >= obs.order) & (share < _THIN * np.median(share[cells > 0])))
        if len(thin):
            yield (
                f"{counted(len(thin), 'slice')} of {name} {'has' if len(thin) == 1 else 'have'} under a tenth "
                f"of the usual entries: {labels_of(obs, mode, thin)}."
            )


def _percent(share: float) -> str:
    return "more than 99.9%" if share > 0.999 else f"{share:.1%}"
