"""The staircase of shallow CP: components of a small start switch on one by one [razin2021], when the law says so.

``s' = N g s^(2 - 2/N)`` passes every bound after ``s^(2/N - 1)/((N - 2) g)``: in each panel a triangle on the axis is that time, said once
the component is five times its start, and the times of two starts must stand to each other as ``s_0^(2/N - 1)``.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics import laws
from rankless.dynamics.probes import live, predicted_switch_on, switch_on_times
from rankless.figures.look import COLORS, DASHES, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, SEED = (10, 10, 10, 10), 5, 2000, 0
COMPONENTS = 100
SCALES = {False: (1e-2, 1e-4, 1e-6), True: (1e-2, 1e-5)}
STOP_RMSE = {False: 3e-3, True: 1e-2}  # relative to the root mean square of the truth
RECORDS = {False: 300, True: 150}
GROWN, CLOSE = 5.0, 0.25  # when a time is predicted, and how well
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
    stop = 0.5 * OBSERVED * STOP_RMSE[quick] ** 2 / data.truth.size
    probes = {"norms": dyn.probes.component_norms, "error": error, "loss": dyn.probes.loss, "pull": laws.pull}
    parts: list[Table] = []
    jumps, alive, errors, times = [], [], [], []
    for scale in SCALES[quick]:
        progress(f"start {scale:g}")
        start = dyn.CP.balanced(SHAPE, components=COMPONENTS, scale=scale, key=SEED)
        # even in time, to tell rises apart, and in its logarithm, to see those of large starts
        ts = np.union1d(np.linspace(0, LATEST, 2 * RECORDS[quick]), np.geomspace(1e-4 * LATEST, LATEST, RECORDS[quick]))
        path = dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-6, stop_loss=stop), ts=ts, probes=probes)
        norms = path.probes["norms"]
        order = np.argsort(-norms[-1], kind="stable")[: RANK + 5]
        jumps.append(separated(path.ts, norms))
        alive.append(int(live(norms)[-1]))
        errors.append(float(path.probes["error"][-1]))
        predicted = predicted_switch_on(path.ts, norms, path.probes["pull"], factors=len(SHAPE), grown=GROWN)[order[:RANK]]
        switched = switch_on_times(path.ts, norms)[order[:RANK]]
        times += [
            {"scale": scale, "component": at + 1, "switched": t, "predicted": p}
            for at, (t, p) in enumerate(zip(switched, predicted, strict=True))
        ]
        part = {"scale": np.full(len(path.ts), scale), "t": path.ts, "error": path.probes["error"], "loss": path.probes["loss"]}
        parts.append(part | {f"norm_{at + 1}": norms[:, r] for at, r in enumerate(order)})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    clocks = table(times)
    last = where(clocks, scale=SCALES[quick][-1])
    off = np.abs(last["predicted"] / last["switched"] - 1)
    firsts = [float(np.min(where(clocks, scale=scale)["switched"])) for scale in SCALES[quick]]
    exponent = float(np.log(firsts[-1] / firsts[-2]) / np.log(SCALES[quick][-1] / SCALES[quick][-2]))
    settings = f"10^4, rank {RANK}, unit norm, {OBSERVED} observed, {COMPONENTS} components, k = 0, starts {listed(SCALES[quick], 'g')}"
    return Outcome(
        {"trajectories": columns, "times": clocks},
        [
            Claim(
                "components switch on when s^(2/N - 1)/((N - 2) g) says",
                "here, from the law of [razin2021]",
                f"{settings}; smallest start; said once a component is {GROWN:g} times its start; switched on: half its last norm",
                f"every one of the {RANK} largest within {CLOSE:.0%}",
                f"off by {listed(off, '.0%')}",
                bool(np.all(off <= CLOSE)),
            ),
            Claim(
                "the time of the first grows as s_0^(2/N - 1)",
                "here, from the law of [razin2021]",
                f"{settings}; the two smallest starts",
                f"exponent {2 / len(SHAPE) - 1:g}, within .05",
                f"{exponent:.3f} (times {listed(firsts)} from large to small starts)",
                abs(exponent - (2 / len(SHAPE) - 1)) <= 0.05,
            ),
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
                f"{settings}; training error {STOP_RMSE[quick]:g}",
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
        said = where(tables["times"], scale=scale)
        for at, time in enumerate(said["predicted"]):
            if np.isfinite(time):
                axes.plot(time, 0, "^", color=COLORS[at], markersize=5, clip_on=False, zorder=5)
        latest = max([part["t"].max(), *(1.05 * said["predicted"][np.isfinite(said["predicted"])])])
        axes.set(xlabel="time (triangles: predicted)", title=f"start {power(scale)}", xlim=(0.5 * first, latest))
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
