"""Deep Tucker on a tensor of which much is hidden [hariz2024].

From a small start plain Tucker, whose core is one more factor, has a bias to low multilinear rank already; layers in its factors lower
the error at the same fit further. A row of the claim says which runs did not come to the fit, and how far they came.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.tensors.observations import Observations

SIZE, MULTIRANK, WIDTH = {False: 25, True: 12}, {False: 5, True: 2}, {False: 10, True: 6}
HIDDEN = {False: (0.1, 0.5, 0.8, 0.9), True: (0.8,)}
LAYERS = {False: (1, 2, 3), True: (1, 3)}
SCALE, STOP_RMSE, MAX_STEPS = 0.3, 0.03, 10_000
SEED = 0


def planted_tucker(size: int, rank: int) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    truth = np.einsum("abc,ia,jb,kc->ijk", rng.normal(size=(rank,) * 3), *(rng.normal(size=(size, rank)) for _ in range(3)), optimize=True)
    return truth / np.sqrt(np.mean(truth**2))


def by_tucker(truth: np.ndarray, hidden: float, layers: int, width: int) -> dict:
    seen = np.random.default_rng(SEED + 1).random(truth.shape) >= hidden
    problem = dyn.Problem(Observations.from_array(np.where(seen, truth, np.nan)))
    start = dyn.Tucker.balanced(truth.shape, ranks=(width,) * 3, layers=layers, scale=SCALE, key=SEED)
    flow = dyn.GradientFlow(rtol=1e-4, stop_loss=0.5 * problem.size * STOP_RMSE**2, max_steps=MAX_STEPS)
    probes = {"error": dyn.probes.TensorError(truth), "ranks": dyn.probes.matricization_ranks, "loss": dyn.probes.loss}
    run = dyn.solve(problem, start, flow, ts=[1e4], probes=probes)
    row = {"hidden": hidden, "layers": layers, "reached": run.status == "reached stop_loss", "error": float(run.probes["error"][-1])}
    train = float(np.sqrt(2 * run.probes["loss"][-1] / problem.size))
    return row | {"rank": float(np.mean(run.probes["ranks"][-1])), "train_rmse": train, "steps": run.steps}


def run(quick: bool, progress: Progress) -> Outcome:
    truth, rows = planted_tucker(SIZE[quick], MULTIRANK[quick]), []
    for layers in LAYERS[quick]:
        for hidden in HIDDEN[quick]:
            progress(f"Tucker, {hidden:.0%} hidden, L = {layers}")
            rows.append(by_tucker(truth, hidden, layers, WIDTH[quick]))
    columns = table(rows)
    by_layers = {count: where(columns, layers=count) for count in LAYERS[quick]}
    first, last = (by_layers[count] for count in (LAYERS[quick][0], LAYERS[quick][-1]))
    size, rank = SIZE[quick], MULTIRANK[quick]
    settings = (
        f"{size}^3, multirank ({rank}, {rank}, {rank}), noiseless, hidden {listed(HIDDEN[quick])}, factors of {WIDTH[quick]} columns, "
        f"balanced start {SCALE:g}, L = {listed(LAYERS[quick])}, to training error {STOP_RMSE:g} or {MAX_STEPS} steps"
    )
    return Outcome(
        {"tucker": columns},
        [
            Claim(
                f"layers in the factors of a Tucker model lower the error where {named(HIDDEN[quick])} of the cells are hidden",
                "[hariz2024]",
                settings,
                f"lower at L = {LAYERS[quick][-1]} than at L = 1 at each share, with a mean effective rank of at most {rank} and a half",
                f"ranks {listed(first['rank'])} at L = 1, {listed(last['rank'])} at the deepest; "
                f"errors {'; '.join(listed(part['error']) for part in by_layers.values())}{why_not(by_layers, first, last)}",
                bool(np.all(last["error"] < first["error"]) and np.all(last["rank"] <= rank + 0.5)),
            ),
        ],
    )


def named(shares: Sequence[float]) -> str:
    """Shares in words.

    >>> named([0.1, 0.5, 0.8]), named([0.8])
    ('10%, 50% and 80%', '80%')
    """
    words = [f"{share:.0%}" for share in shares]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def why_not(by_layers: dict[int, Table], first: Table, last: Table) -> str:
    """In words, the shares at which the deepest errs no less, and the runs that spent their steps, with where they stopped."""
    worse = [f"{hidden:.0%}" for hidden, one, other in zip(first["hidden"], first["error"], last["error"], strict=True) if other >= one]
    stopped = [
        f"L = {layers} at {hidden:.0%} (training error {train:.2g} after {steps} steps)"
        for layers, part in by_layers.items()
        for hidden, train, steps, reached in zip(*(part[name] for name in ("hidden", "train_rmse", "steps", "reached")), strict=True)
        if not reached
    ]
    said = f"; not lower with {', '.join(worse)} hidden" if worse else ""
    return said + (
        f"; spent their steps: {', '.join(stopped)}; the others reached the training error" if stopped else "; all runs reached it"
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["tucker"]
    figure, ((one, two),) = panels(1, 2, height=2.5)
    for at, count in enumerate(np.unique(columns["layers"])):
        part = where(columns, layers=count)
        style = {"color": COLORS[at], "linestyle": DASHES[at], "marker": MARKERS[at], "label": f"L = {count}"}
        one.plot(part["hidden"], part["rank"], **style)
        two.semilogy(part["hidden"], part["error"], **style)
    one.set(xlabel="share hidden", ylabel="mean effective rank of the unfoldings", xticks=np.unique(columns["hidden"]))
    two.set(xlabel="share hidden", ylabel="relative error", xticks=np.unique(columns["hidden"]))
    plain_ticks(two.yaxis)
    one.legend()
    return figure
