"""Two engines, one objective: weight decay on deep CP, by alternating least squares and by the flow.

minimise  1/2 sum over observed (y - T)^2  +  p (k+1)/2 sum_{n,r} |u_r^n|^(2/(k+1))

Depth does not find a rank that no depth could: the best penalty of k = 0 finds it too. It widens the range of penalties that do.

The flow ends where its start leads: at a large penalty components decay to nothing before the data can pull
them up, and it rests in a poorer minimum.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rankless import als
from rankless import dynamics as dyn
from rankless.figures.look import DASHES, MARKERS, panels, plain_ticks, shade
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import Planted, planted

SHAPE, RANK, OBSERVED, NOISE, COMPONENTS = (20, 20, 20), 5, 1600, 0.1, 40
DEPTHS = (0, 1, 2, 4)
PENALTIES = {False: np.geomspace(0.03, 30, 13), True: np.geomspace(0.1, 10, 5)}
FLOW_DEPTHS = {False: (0, 1, 2), True: (1,)}
FLOW_PENALTIES = {False: np.geomspace(0.3, 3, 3), True: np.array([1.0])}
SEEDS = {False: (0, 1, 2), True: (0,)}
GOOD = 0.15  # how far above the least error a penalty still serves
SMALL = 0.1
SCALE = 1.0  # of the flow's start: a small one would be decayed away before it grows
REST_OF_FLOW = {False: 1e-2, True: 5e-2}  # progress over a doubling of time
REST = {"tol": 1e-15, "max_sweeps": 5000}


def error(truth: np.ndarray, tensor: np.ndarray) -> float:
    return float(np.linalg.norm(tensor - truth) / np.linalg.norm(truth))


def by_als(data: Planted, depth: float, penalty: float, seed: int) -> dict:
    fit = als.solve(data.seen, depth=depth, penalty=penalty, max_rank=COMPONENTS, random_state=seed, n_jobs=1)
    row = {"engine": "als", "k": depth, "penalty": penalty, "seed": seed}
    return row | {"error": error(data.truth, fit.model.full()), "live": fit.rank, "objective": fit.objective[-1]}


def by_flow(data: Planted, depth: float, penalty: float, seed: int, quick: bool) -> dict:
    problem = dyn.Problem(data.seen, decay=penalty)
    start = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=depth, scale=SCALE, key=seed)
    flow = dyn.GradientFlow(rtol=1e-4, stop_progress=REST_OF_FLOW[quick], max_steps=20_000)
    end = dyn.solve(problem, start, flow, ts=[1e3]).final
    row = {"engine": "flow", "k": depth, "penalty": penalty, "seed": seed, "error": error(data.truth, np.asarray(end.full()))}
    live = int(np.sum(end.spectrum() > 1e-3 * np.linalg.norm(data.truth)))  # where all has decayed, none lives
    return row | {"live": live, "objective": float(problem.objective(end))}


def stillness(data: Planted, depth: float, penalty: float) -> float:
    """Norm of the flow's velocity at the solution of `als`, over what the data alone would make it: 0 at rest."""
    fit = als.solve(data.seen, depth=depth, penalty=penalty, max_rank=COMPONENTS, random_state=0, n_jobs=1, **REST)
    here = dyn.CP.from_cp_tensor(fit.model.balanced(), depth=depth)

    def speed(decay: float) -> float:
        velocity = dyn.Problem(data.seen, decay=decay).velocity(here)
        return float(np.sqrt(sum(np.sum(np.asarray(v) ** 2) for v in velocity.factors)))

    return speed(penalty) / speed(0.0)


def run(quick: bool, progress: Progress) -> Outcome:
    data = {seed: planted(SHAPE, RANK, observed=OBSERVED, seed=seed, noise=NOISE) for seed in SEEDS[quick]}
    rows = []
    for depth in DEPTHS:
        progress(f"als, k = {depth}")
        rows += [by_als(data[seed], float(depth), penalty, seed) for seed in SEEDS[quick] for penalty in PENALTIES[quick]]
    for depth in FLOW_DEPTHS[quick]:
        progress(f"flow, k = {depth}")
        rows += [by_flow(data[0], float(depth), penalty, 0, quick) for penalty in FLOW_PENALTIES[quick]]
    columns = table(rows)
    progress("the flow at the solutions of als")
    speeds = [stillness(data[0], float(depth), 1.0) for depth in DEPTHS]
    errors, ranks = ({k: medians(where(columns, engine="als", k=float(k)), quantity) for k in DEPTHS} for quantity in ("error", "live"))
    best = {k: (min(errors[k].values()), ranks[k][min(errors[k], key=errors[k].__getitem__)]) for k in DEPTHS}
    least = min(error for error, _ in best.values())
    widths = [width(errors[k], least) for k in DEPTHS]
    small = min(PENALTIES[quick], key=lambda p: abs(np.log(p / SMALL)))
    at_small = [ranks[k][small] for k in DEPTHS]
    settings = (
        f"20^3, rank {RANK}, 20 % observed, noise {NOISE:g}, {COMPONENTS} components, k = {listed(DEPTHS)}, {len(SEEDS[quick])} seed(s)"
    )
    return Outcome(
        {"errors": columns},
        [
            Claim(
                "a solution of als is at rest under the flow with the same weight decay",
                "here",
                f"{settings}; penalty 1, als run to rest",
                "velocity over that of the data alone < 1e-6 at every k",
                listed(speeds, ".1e"),
                bool(max(speeds) < 1e-6),
            ),
            Claim(
                "every depth finds the rank at its best penalty, k = 0 too; depth widens the range of penalties that serve",
                "here; the bias of [hariz2022], by weight decay",
                f"{settings}; a penalty serves if its error is within {GOOD:.0%} of the least of all",
                f"rank {RANK} at the best penalty of every k; the factor between the largest and the least that serve grows with k",
                f"ranks {listed(rank for _, rank in best.values())}; least errors {listed(e for e, _ in best.values())}; "
                f"widths {listed(widths, '.0f')}",
                bool(all(rank == RANK for _, rank in best.values()) and np.all(np.diff(widths) >= 0) and widths[-1] > widths[0]),
            ),
            Claim(
                "below the best penalty shallow fits keep components that deep ones drop",
                "here",
                f"{settings}; penalty {small:.2g}",
                f"the rank falls with every k, to within 1 of {RANK} at k = {DEPTHS[-1]}",
                f"ranks {listed(at_small)}",
                bool(np.all(np.diff(at_small) < 0) and abs(at_small[-1] - RANK) <= 1),
            ),
        ],
    )


def medians(part: Table, quantity: str) -> dict[float, float]:
    """Median of `quantity` over seeds at each penalty."""
    return {float(p): float(np.median(part[quantity][part["penalty"] == p])) for p in np.unique(part["penalty"])}


def width(errors: dict[float, float], least: float) -> float:
    """Ratio of the largest to the smallest penalty whose error is within `GOOD` of `least`; 0 where there is none.

    >>> width({0.1: 2.0, 1.0: 1.0, 3.0: 1.1, 10.0: 4.0}, 1.0)
    3.0
    """
    serve = [p for p, error in errors.items() if error <= (1 + GOOD) * least]
    return max(serve) / min(serve) if serve else 0.0


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["errors"]
    figure, ((left, right),) = panels(1, 2, height=2.8)
    depths = np.unique(columns["k"])
    for at, k in enumerate(depths):
        color = shade(at, len(depths))
        part = where(columns, engine="als", k=k)
        penalties = np.unique(part["penalty"])
        for axes, quantity in ((left, "error"), (right, "live")):
            middle = [np.median(part[quantity][part["penalty"] == p]) for p in penalties]
            axes.plot(penalties, middle, color=color, linestyle=DASHES[at], marker=MARKERS[at], markersize=3, label=f"als, k = {k:g}")
            flow = where(columns, engine="flow", k=k)
            axes.plot(flow["penalty"], flow[quantity], "o", color=color, markerfacecolor="none", markersize=8)
    left.plot([], [], "o", color="0.3", markerfacecolor="none", markersize=8, label=f"flow from {SCALE:g}, to rest")
    right.axhline(RANK, color="black", linewidth=0.6)
    left.set(xscale="log", yscale="log", xlabel="penalty p", ylabel="relative error of the whole tensor")
    right.set(xscale="log", xlabel="penalty p", ylabel="components that live")
    right.set_yscale("symlog", linthresh=1, linscale=0.3)
    for axes in (left, right):
        plain_ticks(axes.xaxis)
    plain_ticks(left.yaxis)
    right.set_yticks([0, 1, 2, 5, 10, 20, 40], ["0", "1", "2", "5", "10", "20", "40"])
    right.yaxis.set_minor_locator(NullLocator())
    right.set_ylim(-0.3, 1.2 * COMPONENTS)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
