"""All components at once, several models beside each other, and how well they match: a row a component, a column a mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.plots.drawing import COLORS, GREY, MARKERS, draw, ready
from rankless.tensors.cp_tensor import CPTensor
from rankless.trust.matching import aligned, match
from rankless.views import Done
from rankless.views.axes import Axis, axis_of
from rankless.views.components import Components, is_smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rankless.trust.assure import Assurance

_WIDE, _HIGH = 3.2, 1.3  # inches of a panel
_MOST = 12  # components drawn where none are named


def factors(done: Done, *, components: Sequence[int] | None = None, figure: Figure | None = None) -> np.ndarray:
    """The components of the best fit, a row each and a column a mode, the largest first: axes, shape ``(components, order)``.

    A mode whose slices have an order is a line, one of names is bars; vectors have root mean square 1, and a row says which share of the
    squares of all components its own is. The `_MOST` largest are drawn, or those named, counted from 0.

    Raises ValueError for a component that is not there, and where there is none at all.
    """
    shown = Components.of(done.best)
    numbers = _numbers(shown.count, components)
    grid = _grid(figure, len(numbers), done)
    for row, r in zip(grid, numbers, strict=True):
        for ax, axis, vectors in zip(row, _axes(done), shown.vectors, strict=True):
            draw(ax, axis, vectors[:, r], line=is_smooth(vectors, shown.sizes), label=None, color=COLORS[0])
        row[0].set_ylabel(f"component {r}\n{shown.shares[r]:.0%}")
    return _finished(grid)


def comparison(
    done: Done, others: Mapping[str, Done | CPTensor], *, components: Sequence[int] | None = None, figure: Figure | None = None
) -> np.ndarray:
    """Components of the best fit of `done`, and over each the one that matches it in every model of `others`: axes as of `factors`.

    Models by name, of one shape, such as fits of other seeds or of halves of the data; matched by direction, largest match first, signs
    turned to agree (`rankless.match`). A title says how well each matches: the product over modes of the cosines.

    Raises ValueError for models of another shape, and as `factors` does.
    """
    if not others:
        raise ValueError("there is no model to compare with; pass some by name: comparison(done, {'seed 1': other})")
    first = _in_order(done.best)
    numbers = _numbers(first.rank, components)
    models = {name: _model(other) for name, other in others.items()}
    scores = {name: _scores(first, model) for name, model in models.items()}
    columns = {name: _columns(found) for name, found in scores.items()}
    turned = {"this": first, **{name: aligned(first, model, sizes=False) for name, model in models.items()}}
    grid = _grid(figure, len(numbers), done)
    shown = Components.of(done.best)
    for row, r in zip(grid, numbers, strict=True):
        for mode, (ax, axis) in enumerate(zip(row, _axes(done), strict=True)):
            line = is_smooth(shown.vectors[mode], shown.sizes)
            for place, (name, model) in enumerate(turned.items()):
                column = r if name == "this" else columns[name].get(r)
                like, nothing = shown.vectors[mode][:, r], np.full(axis.size, np.nan)
                vector = nothing if column is None else _unit(model.factors[mode][:, column], like)
                color = COLORS[place % len(COLORS)]
                draw(ax, axis, vector, line=line, label=name, color=color, beside=(place, len(turned)))
        found = [f"{name}: {scores[name][r]:.2f}" if r in scores[name] else f"{name}: none" for name in models]
        row[0].set_ylabel(f"component {r}\n{shown.shares[r]:.0%}")
        row[-1].set_title("match: " + ", ".join(found), fontsize="small", loc="right")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    grid[0, 0].figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False)
    return _finished(grid)


def matches(done: Done, other: Done | CPTensor, mode: str | int, *, ax: Axes | None = None) -> Axes:
    """Loadings of matched components in `mode`, those of `other` against those of `done`: on the diagonal where both say the same.

    A colour a component; a label says how well the pair matches in all modes together. Raises ValueError for models of another shape.
    """
    ax, axis = ready(ax), axis_of(done.observations, done.observations.mode_index(mode))
    first, model = _in_order(done.best), _model(other)
    scores, turned = _scores(first, model), aligned(first, model, sizes=False)
    for place, (r, column) in enumerate(_columns(scores).items()):
        score, like = scores[r], first.factors[axis.mode][:, r]
        one, two = _unit(like, like), _unit(turned.factors[axis.mode][:, column], like)
        style: Any = {"color": COLORS[place % len(COLORS)], "marker": MARKERS[place % len(MARKERS)], "linestyle": "none"}
        ax.plot(one, two, markersize=4, label=f"component {r}, match {score:.2f}", **style)
    ax.axline((0.0, 0.0), slope=1.0, color=GREY, linestyle="--", linewidth=1)
    ax.set_xlabel(f"loading in {axis.name}", parse_math=False)
    ax.set_ylabel("loading in the other model")
    if scores:
        ax.legend(frameon=False)
    return ax


def similarity(assurance: Assurance, *, ax: Axes | None = None) -> Axes:
    """How well components of other starts and of halves of the data match, for every number of them that was looked at in full.

    A mark for each component and comparison of `Completion.assure` or `rankless.factorize`; the line is the least of each number.
    """
    from matplotlib.ticker import MaxNLocator

    ax = ready(ax)
    counts = sorted(assurance.ranks)
    for place, (name, of) in enumerate((("other starts", "seeds"), (f"halves of {assurance.half}", "halves"))):
        scores = [np.ravel(getattr(assurance.ranks[count], of)) for count in counts]
        shift = 0.12 * (2 * place - 1)
        x = np.repeat(np.array(counts, float) + shift, [len(each) for each in scores])
        ax.plot(x, np.concatenate(scores), MARKERS[place], color=COLORS[place], markersize=4, alpha=0.6, label=name)
        ax.plot(np.array(counts) + shift, [each.min() if len(each) else np.nan for each in scores], color=COLORS[place], linewidth=1)
    if assurance.count:
        ax.axvline(assurance.count, color=GREY, linestyle="--", linewidth=1)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set_ylim(-0.02, 1.05)
    ax.set_xlabel("components")
    ax.set_ylabel("match")
    ax.legend(frameon=False, loc="lower left")
    return ax


# --- helpers --------------------------------------------------------------------------------------


def _numbers(count: int, components: Sequence[int] | None) -> list[int]:
    if not count:
        raise ValueError("the best fit has no component to draw; rank 0 was found")
    numbers = list(range(min(count, _MOST))) if components is None else list(components)
    absent = [r for r in numbers if not 0 <= r < count]
    if absent or not numbers:
        raise ValueError(f"no component {absent[0] if absent else 'named'}; the best fit has {count}, counted from 0")
    return numbers


def _axes(done: Done) -> list[Axis]:
    return [axis_of(done.observations, mode) for mode in range(done.observations.order)]


def _grid(figure: Figure | None, rows: int, done: Done) -> np.ndarray:
    """Axes of a row a component and a column a mode."""
    columns = done.observations.order
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(_WIDE * columns, _HIGH * rows + 0.8), layout="constrained")
    return figure.subplots(rows, columns, squeeze=False, sharex="col")


def _finished(grid: np.ndarray) -> np.ndarray:
    """`grid` with the names of modes and slices below the last row alone, and a line at 0."""
    for number, row in enumerate(grid):
        for ax in row:
            ax.axhline(0, color=GREY, linewidth=0.5)
            ax.spines[["top", "right"]].set_visible(False)
            if number + 1 < len(grid):
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
    return grid


def _model(other: Done | CPTensor) -> CPTensor:
    return other if isinstance(other, CPTensor) else other.best


def _in_order(model: CPTensor) -> CPTensor:
    """The components as `Components` numbers and turns them: largest first."""
    shown = Components.of(model)
    each = shown.sizes ** (1.0 / model.order)
    return CPTensor([vectors * each for vectors in shown.vectors])


def _scores(first: CPTensor, model: CPTensor) -> dict[int, float]:
    """How well each component of `first` that has a partner matches it."""
    found = match(first, model, sizes=False)
    return {int(r): float(score) for (r, _), score in zip(found.pairs, found.scores, strict=True)}


def _columns(scores: dict[int, float]) -> dict[int, int]:
    """For each component that has a partner the column in which `aligned` puts it."""
    return {r: column for column, r in enumerate(sorted(scores))}


def _unit(vector: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`vector` at root mean square 1, turned to the side of `like`."""
    size = float(np.sqrt(np.mean(np.square(vector.astype(float)))))
    return vector / (size or 1.0) * (-1.0 if float(vector @ like) < 0 else 1.0)
