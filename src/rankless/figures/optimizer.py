"""What an optimizer leaves of the bias: six rules from one start (three with the quick settings).

Plain steps follow the flow. Rules that divide by the size of each entry's gradient give small and large components the same
speed, and the head start that depth gives to the large is gone. It is not the dividing that does it: one size for all gradients
keeps the bias whole, one for every component loses it as one for every entry does.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import optax
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics.probes import live
from rankless.figures.look import COLORS, DASHES, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, where
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, COMPONENTS, DEPTH, SCALE, SEED = (12, 12, 12), 3, 500, 20, 2, 0.1, 0
KEEP = {
    "plain steps": (optax.sgd, 1e-3),
    "momentum 0.9": (partial(optax.sgd, momentum=0.9), 1e-4),
    "group RMSprop": (dyn.rules.group_rmsprop, 1e-2),
}
LOSE = {
    "group RMSprop by component": (partial(dyn.rules.group_rmsprop, group=dyn.rules.by_component), 1e-3),
    "RMSprop": (optax.rmsprop, 1e-3),
    "Adam": (optax.adam, 1e-3),
}
QUICK = ("plain steps", "group RMSprop", "Adam")  # each is a program of its own to compile
STOP_RMSE = 0.02
STEPS = {False: 100_000, True: 20_000}
RECORDS = 200


def run(quick: bool, progress: Progress) -> Outcome:
    data = planted(SHAPE, RANK, observed=OBSERVED, seed=SEED)
    problem = dyn.Problem(data.seen)
    start = dyn.DeepCP.balanced(SHAPE, components=COMPONENTS, depth=DEPTH, scale=SCALE, key=SEED)
    probes = {
        "norms": dyn.probes.component_norms,
        "rank": dyn.probes.effective_rank,
        "error": dyn.probes.TensorError(data.truth),
        "loss": dyn.probes.loss,
    }
    stop = 0.5 * OBSERVED * STOP_RMSE**2
    keep, lose = ([name for name in rules if not quick or name in QUICK] for rules in (KEEP, LOSE))
    both = [*keep, *lose]
    parts: list[Table] = []
    for name in both:
        rule, rate = (KEEP | LOSE)[name]
        progress(name)
        marks = np.unique(np.rint(np.geomspace(1, STEPS[quick], RECORDS)))
        path = dyn.solve(problem, start, dyn.GradientDescent(rate, rule=rule, stop_loss=stop), ts=rate * marks, probes=probes)
        n = len(path.ts)
        parts.append(
            {
                "rule": np.full(n, name),
                "step": np.rint(path.ts / rate),
                "train_rmse": np.sqrt(2 * path.probes["loss"] / OBSERVED),
                "error": path.probes["error"],
                "effective_rank": path.probes["rank"],
                "live": live(path.probes["norms"]),
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ends = {name: {key: float(column[-1]) for key, column in where(columns, rule=name).items() if key != "rule"} for name in both}
    lost = {name: bias_lost(ends[name]["effective_rank"], ends["plain steps"]["effective_rank"]) for name in both}
    reached = {name: ends[name]["train_rmse"] <= STOP_RMSE * (1 + 1e-9) for name in both}

    def said(names) -> str:
        return "; ".join(
            f"{name}: rank {ends[name]['effective_rank']:.3g}, error {ends[name]['error']:.3g}, {lost[name]:.0%} lost"
            + ("" if reached[name] else f" (at training error {ends[name]['train_rmse']:.2g} after {ends[name]['step']:.0f} steps)")
            for name in names
        )

    settings = (
        f"12^3, rank {RANK}, noiseless, {OBSERVED} observed, {COMPONENTS} explicit components, k = {DEPTH}, start {SCALE:g}, "
        f"to training error {STOP_RMSE:g} or {STEPS[quick]} steps; bias lost: "
        f"effective rank above that of plain steps, over the most that {COMPONENTS} components can have above it"
    )
    return Outcome(
        {"trajectories": columns},
        [
            Claim(
                f"one step size for all parameters keeps the bias ({', '.join(keep)})",
                "here; group RMSprop, which divides by the norm of the whole gradient, is the rule of the code of [arora2019], [razin2021]",
                settings,
                f"all reach the training error, effective rank within 1 of {RANK} and under 2 % of the bias lost",
                said(keep),
                bool(all(reached[n] and abs(ends[n]["effective_rank"] - RANK) <= 1 and abs(lost[n]) < 0.02 for n in keep)),
            ),
            Claim(
                f"a step size for each entry or component loses it ({', '.join(lose)})",
                "here",
                settings,
                "each loses at least a fifth of the bias, and errs at least 3 times as much as plain steps",
                said(lose),
                bool(all(lost[n] >= 0.2 and ends[n]["error"] >= 3 * ends["plain steps"]["error"] for n in lose)),
            ),
        ],
    )


def bias_lost(rank: float, plain: float) -> float:
    """How far `rank` is from that of plain steps towards all components alike: 0 keeps the bias whole, 1 leaves none.

    >>> bias_lost(11.5, 3.0)
    0.5
    """
    return (rank - plain) / (COMPONENTS - plain)


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["trajectories"]
    figure, ((left, middle, right),) = panels(1, 3, height=2.7)
    for at, name in enumerate(KEEP | LOSE):
        part = where(columns, rule=name)
        if not len(part["step"]):
            continue
        # three of them lie on each other: wide below, narrow above
        style = {"color": COLORS[at], "linestyle": DASHES[at % len(DASHES)], "label": name, "linewidth": (3.2, 2.2, 1.2, 1.2, 1.2, 1.2)[at]}
        left.loglog(part["step"], part["train_rmse"], **style)
        middle.semilogx(part["train_rmse"], part["effective_rank"], **style)
        right.loglog(part["train_rmse"], part["error"], **style)
    middle.axhline(RANK, color="black", linewidth=0.6)
    left.set(xlabel="step", ylabel="training error")
    middle.set(xlabel="training error", ylabel="effective rank")
    right.set(xlabel="training error", ylabel="relative error of the tensor")
    for axes in (middle, right):
        axes.invert_xaxis()
        plain_ticks(axes.xaxis)
    for axes in (left, right):
        plain_ticks(axes.yaxis)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
