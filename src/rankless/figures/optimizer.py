"""What an optimizer leaves of the bias: plain steps, momentum, RMSprop and Adam from one start.

Plain steps follow the flow. Rules that divide by the size of each entry's gradient give small and
large components the same speed, and the head start that depth gives to the large is gone.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import optax
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics.probes import live
from rankless.figures.look import COLORS, DASHES, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, COMPONENTS, DEPTH, SCALE, SEED = (12, 12, 12), 3, 500, 20, 2, 0.1, 0
RULES = {
    "plain steps": (optax.sgd, 1e-3),
    "momentum 0.9": (partial(optax.sgd, momentum=0.9), 1e-4),
    "RMSprop": (optax.rmsprop, 1e-3),
    "Adam": (optax.adam, 1e-3),
}
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
    parts: list[Table] = []
    for name, (rule, rate) in RULES.items():
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
    ends = {name: {key: float(column[-1]) for key, column in where(columns, rule=name).items() if key != "rule"} for name in RULES}
    errors, ranks = ([ends[name][key] for name in RULES] for key in ("error", "effective_rank"))
    settings = (
        f"12^3, rank {RANK}, noiseless, {OBSERVED} observed, {COMPONENTS} explicit components, k = {DEPTH}, start {SCALE:g}, "
        f"to training error {STOP_RMSE:g}; {', '.join(RULES)}"
    )
    return Outcome(
        {"trajectories": columns},
        [
            Claim(
                "plain steps keep the bias, and momentum with them",
                "here",
                settings,
                f"effective rank within 1 of {RANK} at the end",
                listed(ranks[:2]),
                bool(max(abs(rank - RANK) for rank in ranks[:2]) <= 1),
            ),
            Claim(
                "rules that rescale each entry's gradient destroy it",
                "here",
                settings,
                "RMSprop and Adam: test error at least 3 times that of plain steps",
                f"relative errors {listed(errors)}; effective ranks {listed(ranks)}",
                bool(min(errors[2:]) >= 3 * errors[0]),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["trajectories"]
    figure, ((left, middle, right),) = panels(1, 3)
    for at, name in enumerate(RULES):
        part = where(columns, rule=name)
        style = {"color": COLORS[at], "linestyle": DASHES[at], "label": name}
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
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(RULES))
    return figure
