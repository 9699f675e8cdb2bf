"""Depth is a metric: explicit layers and the collapsed flow are one trajectory, at different cost."""

from __future__ import annotations

import time

import jax
import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.paths import until
from rankless.figures.planted import planted
from rankless.tensors.observations import Observations

SHAPE, RANK, OBSERVED, COMPONENTS, SCALE, SEED = (8, 8, 8), 3, 320, 6, 1e-2, 0
DEPTHS = {False: (0, 1, 2, 3), True: (2,)}
RECORDS = 40
FLOW = dyn.GradientFlow(method="dopri8", rtol=1e-9)
COST_COMPONENTS, COST_OBSERVED, COST_DEPTH, COST_SIZE = 10, 2000, 2, 100
COST_DEPTHS = {False: (0, 1, 2, 3, 4), True: (0, 2)}
COST_SIZES = {False: (25, 50, 100, 200), True: (25, 100)}
REPEATS = 20


def whole(problem: dyn.Problem, factorization):
    return factorization.full()


def difference(problem: dyn.Problem, depth: int) -> list[dict]:
    """Relative distance of the two tensors along one run."""
    collapsed = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=depth, scale=SCALE, key=SEED)
    stop = 1e-3 * float(problem.data_loss(collapsed))
    even, probes = np.linspace(0, 1, RECORDS), {"T": whole}
    one = until(problem, collapsed, FLOW, loss=stop, latest=1e4, times=lambda end: end * even, probes=probes)
    many = dyn.solve(problem, dyn.DeepCP.from_cp(collapsed, key=SEED), FLOW, ts=one.ts, probes=probes)
    a, b = (run.probes["T"].reshape(RECORDS, -1) for run in (one, many))
    gaps = np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)
    return [{"k": depth, "progress": t, "difference": gap} for t, gap in zip(even, gaps, strict=True)]


@jax.jit
def _velocity(problem, factorization):
    return problem.velocity(factorization)


@dyn.double
def cost(size: int, depth: int) -> list[dict]:
    """Milliseconds a velocity (median of repeats) and megabytes of parameters, the same number of entries at any size."""
    rng, shape = np.random.default_rng(SEED), (size,) * 3
    indices = np.unique(rng.integers(0, size, (COST_OBSERVED, 3)), axis=0)
    seen = Observations.from_indices(indices, rng.normal(size=len(indices)), shape=shape)
    problem, rows = dyn.Problem(seen, storage="coordinates"), []
    vectors = rng.normal(size=(3, COST_COMPONENTS, size))
    layers = rng.normal(size=(3, depth, COST_COMPONENTS, size, size))  # any layers cost the same
    forms = {"collapsed": dyn.CP(vectors.swapaxes(1, 2), depth), "explicit": dyn.DeepCP(vectors, layers)}  # pyright: ignore[reportArgumentType]
    for form, start in forms.items():
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
    at_cost = f"{COST_SIZE}^3, {COST_OBSERVED} entries by coordinates, {COST_COMPONENTS} components, k = {max(COST_DEPTHS[quick])}"
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
    gap, price = tables["difference"], tables["cost"]
    figure, grid = panels(2, 3, height=3.6)
    left = figure.add_subplot(grid[0, 0].get_gridspec()[:, 0])
    for old in grid[:, 0]:
        old.remove()
    for at, k in enumerate(np.unique(gap["k"])):
        part = where(gap, k=k)
        left.semilogy(part["progress"][1:], part["difference"][1:], color=COLORS[at], linestyle=DASHES[at], linewidth=0.9, label=f"k = {k}")
    left.axhline(1e-6, color="black", linewidth=0.6)
    left.set(xlabel="time / time of the run", ylabel="relative difference of the two tensors", ylim=(None, 2e-6))
    left.set_title("explicit against collapsed trajectory")
    left.legend(ncols=2, loc="upper right", bbox_to_anchor=(1, 0.93), columnspacing=0.8)
    for row, sweep in enumerate(("k", "d")):
        for axes, (quantity, title) in zip(grid[row, 1:], (("ms", "time of a velocity (ms)"), ("MB", "parameters (MB)")), strict=True):
            for at, form in enumerate(("explicit", "collapsed")):
                part = where(price, sweep=sweep, form=form)
                axes.plot(part[sweep], part[quantity], color=COLORS[at], marker=MARKERS[at], linestyle=DASHES[at], label=form)
            axes.set(yscale="log", title=title, xlabel=f"depth k (d = {COST_SIZE})" if sweep == "k" else f"size d (k = {COST_DEPTH})")
            axes.set_xticks(np.unique(part[sweep]))
            plain_ticks(axes.yaxis)
    grid[0, 1].legend()
    return figure
