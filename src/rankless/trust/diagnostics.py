"""Which components and slices not to trust: what a fit says of itself, without any truth.

A component is stopped by the data only where cells were seen. Its energy there against its energy
everywhere tells whether it fits anything,

    seen_r = sum_{e seen} c_r(e)^2 / prod_n |u_r^n|^2,

and is about the share of cells seen for one that does; one that has run away on cells nobody saw has
far less. Components that nearly cancel each other say that the data may have no best fit of their rank
[desilva2008]: their sum means something, each alone does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    import pandas as pd

FAR_BELOW = 0.1  # energy on seen cells over the share seen, below which a component fits next to nothing that was seen
CANCEL = 0.5  # size of two components' sum over the larger one's, below which they cancel each other
MATTERS = 1.0  # largest value of a component, in standard deviations of the data, from which it is spoken of
WILD, BEYOND = 1e6, 1e140  # distance from the median, in usual ones, from which a value is wild, is not to be held
RARE = 1000  # one value in as many, at most, may be called wild
OFFSET = 1e-8  # standard deviation over size, below which an offset leaves few digits to the rest
_ROWS_AT_ONCE = 65_536
JUDGED, FEW = 20, 5  # hidden entries of a slice by which it is judged, and by which it is where it is clearly poor
CLEARLY = 1.5  # times the error of the slice's own mean
NAMED = 5  # slices or components named in a line


def seen_energy(model: CPTensor, obs: Observations) -> np.ndarray:
    """Share of each component's energy that lies on observed cells, shape ``(R,)``; NaN for a zero component.

    >>> ones = CPTensor([np.ones((2, 1)), np.ones((3, 1))])
    >>> seen_energy(ones, Observations.from_array([[1.0, np.nan, 2.0], [np.nan, 3.0, np.nan]])).tolist()
    [0.5]
    """
    squares = CPTensor([column**2 for column in _unit_columns(model)[0]])
    total = np.zeros(model.rank)
    for start in range(0, obs.size, _ROWS_AT_ONCE):
        total += squares.contributions(obs.indices[start : start + _ROWS_AT_ONCE]).sum(axis=0)
    return total


def congruences(model: CPTensor) -> np.ndarray:
    """Cosine between every two components as tensors, ``prod_n cos(u_r^n, u_s^n)``, shape ``(R, R)``.

    >>> congruences(CPTensor([np.array([[1.0, -2.0]]), np.array([[3.0, 1.0]])])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    cosines = np.ones((model.rank, model.rank))
    for columns in _unit_columns(model)[0]:
        cosines *= columns.T @ columns
    return cosines


def components(fits: Sequence[CPTensor], obs: Observations) -> pd.DataFrame:
    """A row for each component of each fit; `obs` are in the units of the fits.

    fit, component : their numbers, from 0; a fit's largest component comes first.
    size, peak : root mean square over all cells, and the largest value, without its sign.
    seen : share of its energy that lies on observed cells.
    ratio : `seen` over the share of cells observed: about 1 for a component that fits what was seen.
    runaway : whether `ratio` is below 0.1 and `peak` above a standard deviation of the data.
    cancels : the component of the same fit that it nearly cancels, -1 where there is none.
    """
    import pandas as pd

    matters, tables = MATTERS * spread(obs.values), []
    for number, model in enumerate(fits):
        sizes, peaks, seen = _sizes(model), np.ones(model.rank), seen_energy(model, obs)
        for factor in model.factors:
            peaks = peaks * np.abs(factor).max(axis=0, initial=0.0)
        columns = {
            "fit": np.full(model.rank, number),
            "component": np.arange(model.rank),
            "size": sizes,
            "peak": peaks,
            "seen": seen,
            "ratio": seen / obs.share,
            "runaway": (seen < FAR_BELOW * obs.share) & (peaks > matters),
            "cancels": np.where(peaks > matters, _cancelled(model, sizes), -1),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def slices(obs: Observations) -> pd.DataFrame:
    """A row for each slice of each mode: how much of it was observed, and whether filling it is extrapolation.

    A slice is extrapolated where fewer entries of it were seen than the array has modes: they hardly fix a
    size, and nothing of its shape.
    """
    import pandas as pd

    tables = []
    for mode, size in enumerate(obs.shape):
        labels, seen = obs.labels[mode], obs.counts(mode)
        columns = {
            "mode": [obs.modes[mode]] * size,
            "slice": np.arange(size) if labels is None else labels,
            "observed": seen,
            "share": seen / np.maximum(obs.cells_of(mode), 1),
            "extrapolated": (seen < obs.order) & (obs.cells_of(mode) > 0),
        }
        tables.append(pd.DataFrame(columns).astype({"slice": object}))
    return pd.concat(tables, ignore_index=True)


def in_words(fits: Sequence[CPTensor], obs: Observations) -> list[str]:
    """A line for each kind of thing not to trust, nothing where all is well."""
    found, lines = components(fits, obs), []
    for row in _first_rows(found, found.runaway):
        where = _where(fits[row["fit"]], row["component"], obs)
        lines.append(
            f"component {_name(row, fits)} has run away{where}: {row['seen']:.2g} of its energy lies on observed cells, "
            f"which are {obs.share:.2g} of all; don't trust what it fills (up to {row['peak']:.3g})."
        )
    for row in _first_rows(found, found.cancels > found.component):
        model, pair = fits[row["fit"]], [row["component"], row["cancels"]]
        cosine, (one, other) = congruences(model)[*pair], _sizes(model)[pair]
        lines.append(
            f"components {_name(row, fits)} and {pair[1]} nearly cancel (congruence {cosine:.3f}, sizes {one:.3g} and {other:.3g}): "
            "their sum means something, each alone does not; the data may have no best fit of this rank."
        )
    for mode in range(obs.order):
        few = np.flatnonzero((obs.counts(mode) > 0) & (obs.counts(mode) < obs.order))
        if len(few):
            have, them = ("has", "it") if len(few) == 1 else ("have", "them")
            text = f"{have} fewer than {obs.order} observed entries; filling {them} is extrapolation"
            lines.append(f"{counted(len(few), 'slice')} of {obs.modes[mode]} {text}: {labels_of(obs, mode, few)}")
    return lines


def poor_slices(entries: Observations, errors: np.ndarray, *, of_mean: float = 1.0) -> list[tuple[int, np.ndarray]]:
    """For each mode the slices whose hidden `entries` are found no better than by the slice's own mean, of `of_mean` times its error.

    A slice is judged by `JUDGED` entries or more; of fewer, down to `FEW`, by an error that is `CLEARLY` larger. Its own mean is
    that of its other entries.
    """
    found, top = [], float(np.max(np.abs(entries.values), initial=0.0)) or 1.0
    entries, errors = entries.with_values(entries.values / top), errors / top  # squares of 1e-300 are nothing
    for mode, size in enumerate(entries.shape):
        slices, count = entries.coords[mode], np.bincount(entries.coords[mode], minlength=size)
        values, least = entries.values.astype(np.float64), np.maximum(count, 2)
        middle = np.bincount(slices, values, size) / np.maximum(count, 1)
        own = np.bincount(slices, (values - middle[slices]) ** 2, size) * (least / (least - 1)) ** 2
        asked = of_mean**2 * np.where(count >= JUDGED, 1.0, CLEARLY**2) * own
        poor = np.flatnonzero((count >= FEW) & (own > 0) & (np.bincount(slices, errors**2, size) >= asked))
        if len(poor):
            found.append((mode, poor))
    return found


def of_poor(obs: Observations, mode: int, slices: np.ndarray) -> str:
    """What to say of slices that are filled no better than by their own means."""
    return (
        f"in {counted(len(slices), 'slice')} of {obs.modes[mode]} hidden entries are found no better than by the slice's own mean: "
        f"{labels_of(obs, mode, slices)}; don't trust what is filled there."
    )


def labels_of(obs: Observations, mode: int, slices: np.ndarray) -> str:
    """The first of them, named."""
    return ", ".join(obs.label(mode, int(i)) for i in slices[:NAMED]) + (", ..." if len(slices) > NAMED else "")


def counted(number: int, what: str) -> str:
    """So many of them, in words.

    >>> counted(1, "slice"), counted(1200, "slice")
    ('1 slice', '1,200 slices')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def of_values(obs: Observations) -> list[str]:
    """A line where a few values, or an offset, leave little precision to the others."""
    outlier, share = wild(obs), spread(obs.values) / obs.rms()
    lines = [f"{outlier}."] if outlier else []
    if share < OFFSET:
        lines.append(f"the values differ by {share:.1g} of their size, near what a double can tell: take the offset off before the fit.")
    return lines


def wild(obs: Observations) -> str | None:
    """In words, the few values beside which all others are next to nothing; None where there are none.

    A sum of squares is then theirs alone. Raises ValueError where squares of both do not fit in a double.

    >>> wild(Observations.from_array([[1.0, 2.0, 1e30], [3.0, 5.0, 4.0]]))
    'value 1e+30 at (0, 2) is 7e+29 times the usual size: it alone decides the fit; set it to NaN where it is a mistake'
    """
    half = obs.values.astype(np.float64) / 2  # differences of values near the largest double overflow
    away = np.abs(half - np.median(half))
    if not away.any():
        return None
    usual, far = float(np.median(away[away > 0])), int(np.argmax(away))
    with np.errstate(over="ignore"):
        ratio, count = float(away[far] / usual), int(np.count_nonzero(away / WILD > usual))
    where = f"value {obs.values[far]:.3g} at {tuple(obs.coords[:, far].tolist())}"
    if ratio > BEYOND:
        raise ValueError(
            f"{where} is {ratio:.0g} times the usual size, and no double holds the squares of both; "
            "set it to NaN where it is a mistake, or fit logarithms"
        )
    if not 0 < count <= max(1, obs.size // RARE):
        return None
    and_others = f" (and {count - 1} more)" if count > 1 else ""
    return f"{where}{and_others} is {ratio:.0g} times the usual size: it alone decides the fit; set it to NaN where it is a mistake"


def spread(values: np.ndarray) -> float:
    """Standard deviation, of values whose squares may overflow.

    >>> spread(np.array([-1e200, 1e200]))
    1e+200
    """
    top = float(np.max(np.abs(values), initial=0.0))
    return top * float(np.std(values / top, dtype=np.float64)) if top else 0.0


# --- helpers --------------------------------------------------------------------------------------


def _unit_columns(model: CPTensor) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Factors with columns of norm 1, and the norms; a zero column stays one, as NaN."""
    norms = [np.linalg.norm(factor.astype(np.float64), axis=0) for factor in model.factors]
    with np.errstate(invalid="ignore"):
        return [factor / norm for factor, norm in zip(model.factors, norms, strict=True)], norms


def _sizes(model: CPTensor) -> np.ndarray:
    """Root mean square of each component over all cells."""
    sizes = np.ones(model.rank)
    for norm, d in zip(_unit_columns(model)[1], model.shape, strict=True):
        sizes = sizes * (norm / np.sqrt(d))
    return sizes


def _cancelled(model: CPTensor, sizes: np.ndarray) -> np.ndarray:
    """For each component the one that it nearly cancels, or -1."""
    if model.rank < 2:
        return np.full(model.rank, -1)
    larger = np.maximum(sizes[:, None], sizes)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = sizes[:, None] / larger, sizes / larger  # at most 1: squares of 1e200 overflow
    left = np.sqrt(np.maximum(a**2 + b**2 + 2 * congruences(model) * a * b, 0.0))  # of the two together, over the larger
    left[np.isnan(left)] = 1.0
    np.fill_diagonal(left, 1.0)
    partner = np.argmin(left, axis=1)
    return np.where(left[np.arange(model.rank), partner] < CANCEL, partner, -1)


def _first_rows(table: pd.DataFrame, which: pd.Series) -> list[dict[str, Any]]:
    return [{name: table[name].iloc[i] for name in table.columns} for i in np.flatnonzero(which)[:NAMED]]


def _name(row: dict[str, Any], fits: Sequence[CPTensor]) -> str:
    return str(row["component"]) if len(fits) == 1 else f"{row['component']} of fit {row['fit']}"


def _where(model: CPTensor, component: int, obs: Observations) -> str:
    """The slices in which more than half of a component's energy lies, one a mode at most."""
    places = []
    for mode, columns in enumerate(_unit_columns(model)[0]):
        energy = columns[:, component] ** 2
        top = int(np.argmax(energy))
        if energy[top] > 0.5 and obs.shape[mode] > 1:
            places.append(f"{obs.modes[mode]} {obs.label(mode, top)}")
    return f" in {', '.join(places)}" if places else ""
