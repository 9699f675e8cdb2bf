"""The staircase of shallow CP: components of a small start switch on one by one [razin2021]."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics.probes import live
from rankless.figures.look import COLORS, DASHES, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, SEED = (10, 10, 10, 10), 5, 2000, 0
COMPONENTS = 100
SCALES = {False: (1e-2, 1e-4, 1e-6), True: (1e-2, 1e-6)}
STOP_RMSE = 3e-3  # relative to the root mean square of the truth
RECORDS = 300
LATEST = 1e5  # all runs end before, at the training error asked for


def rise(ts: np.ndarray, norms: np.ndarray) -> tuple[float, float]:
    """When a component passes a tenth and nine tenths of its last norm."""
    low, high = (float(ts[np.argmax(norms >= share * norms[-1])]) for share in (0.1, 0.9))
    return low, high


def separated(ts: np.ndarray, norms: np.ndarray) -> int:
    """Rises that no other live component's rise overlaps, counted in order of time."""
    alive = np.flatnonzero(norms[-1] > 0.01 * norms[-1].max())
    spans = sorted(rise(ts, norms[:, r]) for r in alive)
    apart = [
        all(end <= low or high <= begin for other, (low, high) in enumerate(spans) if other != at) for at, (begin, end) in enumerate(spans)
    ]
    return sum(apart)


def run(quick: bool, progress: Progress) -> Outcome:
    data = planted(SHAPE, RANK, observed=OBSERVED, seed=SEED, norm=1.0)
    problem, error = dyn.Problem(data.seen), dyn.probes.TensorError(data.truth)
    stop = 0.5 * OBSERVED * STOP_RMSE**2 / data.truth.size
    probes = {"norms": dyn.probes.component_norms, "error": error, "loss": dyn.probes.loss}
    parts: list[Table] = []
    jumps, alive, errors = [], [], []
    for scale in SCALES[quick]:
        progress(f"start {scale:g}")
        start = dyn.CP.balanced(SHAPE, components=COMPONENTS, scale=scale, key=SEED)
        # even in time, to tell rises apart, and in its logarithm, to see those of large starts
        ts = np.union1d(np.linspace(0, LATEST, 2 * RECORDS), np.geomspace(1e-4 * LATEST, LATEST, RECORDS))
        path = dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-6, stop_loss=stop), ts=ts, probes=probes)
        norms = path.probes["norms"]
        order = np.argsort(-norms[-1], kind="stable")[: RANK + 5]
        jumps.append(separated(path.ts, norms))
        alive.append(int(live(norms)[-1]))
        errors.append(float(path.probes["error"][-1]))
        part = {"scale": np.full(len(path.ts), scale), "t": path.ts, "error": path.probes["error"], "loss": path.probes["loss"]}
        parts.append(part | {f"norm_{at + 1}": norms[:, r] for at, r in enumerate(order)})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    settings = f"10^4, rank {RANK}, unit norm, {OBSERVED} observed, {COMPONENTS} components, k = 0, starts {listed(SCALES[quick], 'g')}"
    return Outcome(
        {"trajectories": columns},
        [
            Claim(
                "components switch on one by one from a small start",
                "[razin2021]",
                f"{settings}; smallest start",
                "at least 4 rises (10 % to 90 %) that overlap no other",
                f"{jumps[-1]} of {alive[-1]}",
                jumps[-1] >= 4,
            ),
            Claim(
                "as many components live as the truth has",
                "[razin2021]",
                f"{settings}; above 1 % of the largest norm",
                f"exactly {RANK} at the smallest start",
                f"{listed(alive, 'd')} (starts from large to small)",
                alive[-1] == RANK,
            ),
            Claim(
                "the smaller the start, the smaller the error at the same fit",
                "[razin2021]",
                f"{settings}; training error {STOP_RMSE:g}",
                "relative errors ordered by the start",
                listed(errors, ".2e"),
                bool(np.all(np.diff(errors) < 0)),
            ),
        ],
    )


def power(scale: float) -> str:
    return f"$10^{{{round(np.log10(scale))}}}$"


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["trajectories"]
    scales = sorted(np.unique(columns["scale"]), reverse=True)
    figure, (row,) = panels(1, len(scales) + 1)
    for axes, scale in zip(row, scales, strict=False):
        part = where(columns, scale=scale)
        first = part["t"][np.argmax(part["norm_1"] >= 0.1 * part["norm_1"].max())]
        names = [name for name in part if name.startswith("norm_")]
        for at, name in enumerate(names):
            known = at < RANK
            axes.semilogx(
                part["t"],
                part[name],
                color=COLORS[at] if known else "0.6",
                linestyle=DASHES[at % 5] if known else "-",
                linewidth=1.2 if known else 0.6,
            )
        axes.set(xlabel="time", title=f"start {power(scale)}", xlim=(0.5 * first, part["t"].max()))
        if part["t"].max() < 30 * first:  # too few decades for a logarithmic axis
            axes.set_xscale("linear")
    row[0].set_ylabel("component norm")
    for at, scale in enumerate(scales):
        part = where(columns, scale=scale)
        row[-1].loglog(
            np.sqrt(2 * part["loss"] / OBSERVED * np.prod(SHAPE)),
            part["error"],
            color=COLORS[at],
            linestyle=DASHES[at],
            label=power(scale),
        )
    row[-1].invert_xaxis()
    row[-1].set(xlabel="relative training error", ylabel="relative error", title="generalization")
    row[-1].legend(title="start", title_fontsize=7, loc="lower left", handlelength=2.4)
    return figure
