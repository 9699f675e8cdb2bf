"""A limit of the bias: with depth and a small start a component can grow where nothing is observed.

Where no cell of a sub-block of a slice is observed, the loss does not see what lives there. Depth speeds up
what is already large, and a component of tiny energy on observed cells may be the one that grows:
its share of energy on observed cells says so. Weight decay charges for the unseen part, and forbids it.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, COMPONENTS, DEPTH, SCALE = (20, 20, 20), 5, 1600, 40, 2.0, 1e-2
SEEDS = {False: tuple(range(10)), True: (0, 1, 2)}
DECAYS = (0.0, 0.1)
STOP_RMSE = 0.02
SUSPECT = 0.02  # a live component with less than a tenth of the share of cells observed, 20 %
RECORDS = 150
DRAWN = 8


def one(seed: int, decay: float) -> tuple[dict, Table]:
    """The end of one run as a row, and its largest components over time."""
    data = planted(SHAPE, RANK, observed=OBSERVED, seed=seed)
    problem = dyn.Problem(data.seen, decay=decay)
    start = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=DEPTH, scale=SCALE, key=seed)
    probes = {
        "norms": dyn.probes.component_norms,
        "energy": dyn.probes.observed_energy,
        "loss": dyn.probes.loss,
        "error": dyn.probes.TensorError(data.truth),
    }
    # with decay the loss settles above zero: there the run ends at rest
    flow = dyn.GradientFlow(rtol=1e-5, stop_loss=0.5 * OBSERVED * STOP_RMSE**2, stop_progress=1e-2, max_steps=40_000)
    path = dyn.solve(problem, start, flow, ts=np.geomspace(0.1, 300, RECORDS), probes=probes)
    norms, energy, n = path.probes["norms"], path.probes["energy"], len(path.ts)
    top = np.argsort(-norms[-1])[:DRAWN]
    alive = norms[-1] > 0.01 * norms[-1].max()
    row = {
        "seed": seed,
        "decay": decay,
        "error": float(path.probes["error"][-1]),
        "train_rmse": float(np.sqrt(2 * path.probes["loss"][-1] / OBSERVED)),
        "least_energy": float(energy[-1][alive].min()),
        "suspect_norm": float(np.max(norms[-1][alive & (energy[-1] < SUSPECT)], initial=0.0)),
    }
    lines = {"seed": np.full(n, seed), "decay": np.full(n, decay), "t": path.ts, "error": path.probes["error"]}
    for at, r in enumerate(top):
        lines |= {f"norm_{at + 1}": norms[:, r], f"energy_{at + 1}": energy[:, r]}
    return row, lines


def run(quick: bool, progress: Progress) -> Outcome:
    rows, parts = [], []
    for seed in SEEDS[quick]:
        for decay in DECAYS:
            progress(f"seed {seed}, weight decay {decay:g}")
            row, lines = one(seed, decay)
            rows.append(row)
            parts.append(lines)
    ends = table(rows)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    free, decayed = (where(ends, decay=decay) for decay in DECAYS)
    ran = free["suspect_norm"] > 0
    settings = f"20^3, rank {RANK}, noiseless, 20 % observed, {COMPONENTS} components, k = {DEPTH:g}, start {SCALE:g}, {len(ran)} seeds"
    worst = float(free["error"][ran].max(initial=0.0))
    return Outcome(
        {"ends": ends, "trajectories": columns},
        [
            Claim(
                "without weight decay some small deep starts run away where nothing is observed",
                "here, a limit of [hariz2022]",
                f"{settings}; runaway: live, under {SUSPECT:.0%} of its energy on observed cells",
                "at least one seed, whose error is then the largest",
                f"{ran.sum()} of {len(ran)} seeds; errors up to {worst:.3g}, others up to {free['error'][~ran].max(initial=0.0):.3g}",
                bool(ran.any() and worst >= free["error"].max()),
            ),
            Claim(
                "weight decay forbids the runaway",
                "here",
                f"{settings}; decay {DECAYS[1]:g}",
                "no seed",
                f"{(decayed['suspect_norm'] > 0).sum()} of {len(ran)} seeds; errors up to {listed([decayed['error'].max()])}",
                bool(np.all(decayed["suspect_norm"] == 0)),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    ends, columns = tables["ends"], tables["trajectories"]
    free = where(ends, decay=DECAYS[0])
    seed = free["seed"][np.argmax(free["suspect_norm"])]
    figure, ((left, middle, right),) = panels(1, 3)
    for axes, decay in ((left, DECAYS[0]), (middle, DECAYS[1])):
        part = where(columns, seed=seed, decay=decay)
        for at in range(1, DRAWN + 1):
            seen = part[f"energy_{at}"][-1] >= SUSPECT
            axes.loglog(part["t"], part[f"norm_{at}"], color=COLORS[0] if seen else COLORS[1], linestyle="-" if seen else "--")
        axes.loglog(part["t"], part["error"], color="black", linestyle=":", label="relative error")
        axes.set(xlabel="time", title="no weight decay" if decay == 0 else f"weight decay {decay:g}", ylim=(1e-3, 2e3))
    left.plot([], [], color=COLORS[0], label="component")
    left.plot([], [], color=COLORS[1], linestyle="--", label="component nobody observes")
    left.legend(loc="upper left")
    left.set_ylabel("component norm, relative error")
    for at, (decay, marker) in enumerate(zip(DECAYS, "os", strict=True)):
        part = where(ends, decay=decay)
        right.loglog(np.maximum(part["least_energy"], 1e-6), part["error"], marker, color=COLORS[1 - at], label=f"decay {decay:g}", alpha=0.8)
    right.axvline(OBSERVED / np.prod(SHAPE), color="black", linewidth=0.6)
    right.set(xlabel="least energy on observed cells\n(line: share of cells observed)", ylabel="relative error", title="end of every run")
    right.legend()
    return figure
