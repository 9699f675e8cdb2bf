"""Every component, and the main effects, as a set of figures to choose from: one a mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankless.report.profile import profile, rest
from rankless.report.traces import Chooser, Figure, Option
from rankless.views import Done
from rankless.views.axes import Axis
from rankless.views.components import Components, is_smooth

SHOWN = 20  # components, the largest
_ALIKE = 0.02  # spread, as a share of the largest, below which loadings are called alike


def factors(done: Done, axes: Sequence[Axis]) -> Chooser | None:
    """A chooser over main effects, where there are some, and the largest components of the best fit; None where there are none."""
    shown = Components.of(done.best, most=SHOWN)
    smooth = [axis.runs and is_smooth(vectors, shown.sizes) for axis, vectors in zip(axes, shown.vectors, strict=True)]
    options = []
    for r in range(shown.count):
        vectors = [v[:, r] for v in shown.vectors]
        text = f"Size {shown.sizes[r]:.3g}, {shown.shares[r]:.1%} of the squares of all components. {_ends(axes, vectors)}"
        label = f"Component {shown.order[r]} ({shown.shares[r]:.0%})"
        options.append(Option(label, text, _a_mode_each(axes, vectors, smooth, "loading")))
    if done.estimator.effects_ and not done.path.empty:
        effects = done.estimator.main_effects_
        vectors = [np.asarray(e, float) for e in effects.effects]
        of = "" if done.transform.name == "none" else f" the {done.transform.of_what},"
        text = f"What each slice adds to the mean of{of} {effects.mean:.4g}, whatever the others are. {_ends(axes, vectors)}"
        runs = [axis.runs and is_smooth(v[:, None], np.ones(1)) for axis, v in zip(axes, vectors, strict=True)]
        options.append(Option("Main effects", text, _a_mode_each(axes, vectors, runs, "effect")))
    return Chooser("factors", "Show", options) if options else None


def _a_mode_each(axes: Sequence[Axis], vectors: Sequence[np.ndarray], smooth: Sequence[bool], what: str) -> list[Figure]:
    return [
        Figure(
            f"factor-{axis.mode}",
            axis.name,
            _sentence(_where(axis, vector)) + rest(axis, vector, what),
            profile(axis, {what: vector}, title=what, line=line),
        )
        for axis, vector, line in zip(axes, vectors, smooth, strict=True)
    ]


def _ends(axes: Sequence[Axis], vectors: Sequence[np.ndarray]) -> str:
    """Where each vector is highest and lowest."""
    return "; ".join(f"{axis.name}: {_where(axis, vector)}" for axis, vector in zip(axes, vectors, strict=True)) + "."


def _where(axis: Axis, vector: np.ndarray) -> str:
    if np.ptp(vector) <= _ALIKE * np.abs(vector).max(initial=0.0):
        return "all alike"
    return f"highest at {axis.label(vector.argmax())}, lowest at {axis.label(vector.argmin())}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
