"""Depth is a metric: explicit layers and the collapsed flow are one trajectory, at different cost."""

from __future__ import annotations

import time

import jax
import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.paths import until
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, COMPONENTS, SCALE, SEED = (8, 8, 8), 3, 200, 6, 1e-2, 0
DEPTHS = {False: (0, 1, 2, 3), True: (1, 2)}
RECORDS = 40
FLOW = dyn.GradientFlow(method="dopri8", rtol=1e-9)
COST_COMPONENTS, COST_DEPTH, COST_SIZE = 20, 2, 40
COST_DEPTHS = {False: (0, 1, 2, 3, 4), True: (0, 1, 2)}
COST_SIZES = {False: (10, 20, 40, 80), True: (10, 20, 40)}
REPEATS = 20


def pair(shape: tuple[int, ...], components: int, depth: int, scale: float) -> dict[str, dyn.CP | dyn.DeepCP]:
    """One start, collapsed and with its layers."""
    collapsed = dyn.CP.balanced(shape, components=components, depth=depth, scale=scale, key=SEED)
    return {"collapsed": collapsed, "explicit": dyn.DeepCP.from_cp(collapsed, key=SEED)}


def whole(problem: dyn.Problem, factorization):
    return factorization.full()


def difference(problem: dyn.Problem, depth: int) -> list[dict]:
    """Relative distance of the two tensors along one run."""
    starts = pair(SHAPE, COMPONENTS, depth, SCALE)
    stop = 1e-3 * float(problem.data_loss(starts["collapsed"]))
    even, probes = np.linspace(0, 1, RECORDS), {"T": whole}
    one = until(problem, starts["collapsed"], FLOW, loss=stop, latest=1e4, times=lambda end: end * even, probes=probes)
    many = dyn.solve(problem, starts["explicit"], FLOW, ts=one.ts, probes=probes)
    a, b = (run.probes["T"].reshape(RECORDS, -1) for run in (one, many))
    gaps = np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)
    return [{"k": depth, "progress": t, "difference": gap} for t, gap in zip(even, gaps, strict=True)]


@jax.jit
def _velocity(problem, factorization):
    return problem.velocity(factorization)


@dyn.double
def cost(size: int, depth: int) -> list[dict]:
    """Milliseconds a velocity (median of repeats) and megabytes of parameters."""
    shape = (size,) * 3
    problem = dyn.Problem(planted(shape, RANK, observed=size**3 // 5, seed=SEED).seen)
    rows = []
    for form, start in pair(shape, COST_COMPONENTS, depth, 1.0).items():
        jax.block_until_ready(_velocity(problem, start))
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            jax.block_until_ready(_velocity(problem, start))
            seconds.append(time.perf_counter() - began)
        size_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(start))
        rows.append({"form": form, "d": size, "k": depth, "ms": 1e3 * float(np.median(seconds)), "MB": size_bytes / 1e6})
    return rows


def run(quick: bool, progress: Progress) -> Outcome:
    problem = dyn.Problem(planted(SHAPE, RANK, observed=OBSERVED, seed=SEED).seen)
    gaps, costs = [], []
    for depth in DEPTHS[quick]:
        progress(f"trajectories at k = {depth}")
        gaps += difference(problem, depth)
    for depth in COST_DEPTHS[quick]:
        progress(f"cost at k = {depth}")
        costs += [{"sweep": "k", **row} for row in cost(COST_SIZE, depth)]
    for size in COST_SIZES[quick]:
        progress(f"cost at d = {size}")
        costs += [{"sweep": "d", **row} for row in cost(size, COST_DEPTH)]
    gap, price = table(gaps), table(costs)
    worst = float(gap["difference"].max())
    deep = where(price, sweep="k", k=max(COST_DEPTHS[quick]))
    one, many = (where(deep, form=form) for form in ("collapsed", "explicit"))
    memory, speed = float(many["MB"][0] / one["MB"][0]), float(many["ms"][0] / one["ms"][0])
    settings = f"8^3, rank {RANK}, {OBSERVED} observed, {COMPONENTS} components, start {SCALE:g}, k = {listed(DEPTHS[quick])}"
    at_cost = f"{COST_SIZE}^3, {COST_COMPONENTS} components, k = {max(COST_DEPTHS[quick])}"
    flat = where(price, sweep="k", form="collapsed")["MB"]
    return Outcome(
        {"difference": gap, "cost": price},
        [
            Claim(
                "explicit balanced layers and the collapsed flow are one trajectory",
                "[arora2018]",
                settings,
                "relative difference <= 1e-6",
                f"{worst:.1e}",
                worst <= 1e-6,
            ),
            Claim(
                "collapsed, depth costs no memory",
                "here",
                at_cost,
                "the same memory at every k; explicit layers take 1 + k d times as much",
                f"collapsed {listed(flat / flat[0], '.3f')} of k = 0; explicit {memory:.0f} times, and {speed:.1f} times the time",
                bool(np.ptp(flat) == 0 and memory > 1),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    figure, (row,) = panels(1, 4)
    gap, price = tables["difference"], tables["cost"]
    for at, k in enumerate(np.unique(gap["k"])):
        part = where(gap, k=k)
        row[0].semilogy(
            part["progress"][1:], part["difference"][1:], color=COLORS[at], linestyle=DASHES[at], linewidth=0.9, label=f"k = {k}"
        )
    row[0].set(xlabel="time / time of the run", ylabel="relative difference", title="explicit - collapsed", ylim=(None, 1e-6))
    row[0].legend(ncols=2, loc="upper center", columnspacing=0.8)
    for at, form in enumerate(("explicit", "collapsed")):
        style = {"color": COLORS[at], "marker": MARKERS[at], "linestyle": DASHES[at], "label": form}
        for axes, sweep, quantity in ((row[1], "d", "ms"), (row[2], "k", "ms"), (row[3], "k", "MB")):
            part = where(price, sweep=sweep, form=form)
            axes.plot(part[sweep], part[quantity], **style)
            axes.set(yscale="log", xlabel=f"size d (k = {COST_DEPTH})" if sweep == "d" else f"depth k (d = {COST_SIZE})")
            axes.set_xticks(np.unique(part[sweep]))
    for axes, title in zip(row[1:], ("time (ms a velocity)", "time (ms a velocity)", "parameters (MB)"), strict=True):
        axes.set_title(title)
    row[1].legend()
    return figure
