"""A small gaussian start goes to the collapse: what is not balanced at the start stays as it was, and the layers grow past it.

The flow conserves ``A_{i+1}^T A_{i+1} - A_i A_i^T``, which is of the order of the start's squared layer norms. So the smaller the start,
the nearer explicit gaussian layers come to strict balance once a component is large, and their end-to-end vectors to moving as the
collapsed flow says. Over the layers' own squared norms the imbalance is of the order ``scale^(2/M)``, ``M = N(k+1)``. What the layers hold
besides their largest singular value goes like it. Of the velocity the part that turns a component differs in its first order, the part that
makes it grow in its second alone (the product of norms is given, and its derivative least where they are equal): so the difference goes at
least like it, and at most like its square.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics import laws
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, COMPONENTS = (6, 6, 6), 1, 120, 4  # of rank 1: no run waits for a second component before it is looked at
DEPTHS = {False: (1, 2), True: (1,)}
SCALES = {False: (1e-2, 1e-4, 1e-6, 1e-8), True: (1e-2, 1e-5)}
SEEDS = {False: (0, 1, 2), True: (0, 1)}
FALL = 0.3  # share of the first loss at which a run is looked at: its first component is large
FLOW = dyn.GradientFlow(rtol=1e-6)
LATEST = 1e9  # a small start waits long
CLOSE = 0.25  # of a fitted power


def apart(problem: dyn.Problem, factorization: dyn.DeepCP):
    """Relative difference of the tensor's velocity under all layers and under the collapse of the same end-to-end vectors."""
    collapsed = factorization.end_to_end()
    one, other = (laws.growth(problem, f, lambda g: g.full()) for f in (factorization, collapsed))
    return jnp.linalg.norm(jnp.ravel(one - other)) / jnp.linalg.norm(jnp.ravel(other))


def loose(problem: dyn.Problem, factorization: dyn.DeepCP):
    """One less the norm of the largest component over the product of all its layers' norms: 0 where they are of rank one and aligned."""
    largest = jnp.argmax(factorization.spectrum())
    return 1 - factorization.spectrum()[largest] / jnp.prod(factorization.layer_norms(), axis=(0, 1))[largest]


def one(depth: int, scale: float, seed: int) -> dict:
    """One gaussian start, run until a component has taken its part of the loss."""
    problem = dyn.Problem(planted(SHAPE, RANK, observed=OBSERVED, seed=seed).seen)
    start = dyn.DeepCP.gaussian(SHAPE, components=COMPONENTS, depth=depth, scale=scale, key=seed)
    flow = dyn.GradientFlow(rtol=FLOW.rtol, stop_loss=FALL * float(problem.data_loss(start)), max_steps=30_000)
    run = dyn.solve(problem, start, flow, ts=[LATEST], probes={"apart": apart, "loose": loose})
    row = {"k": depth, "scale": scale, "seed": seed, "reached": run.status == "reached stop_loss"}
    return row | {name: float(run.probes[name][-1]) for name in ("apart", "loose")}


def run(quick: bool, progress: Progress) -> Outcome:
    rows = []
    for depth in DEPTHS[quick]:
        for scale in SCALES[quick]:
            progress(f"k = {depth}, start {scale:g}")
            rows += [one(depth, scale, seed) for seed in SEEDS[quick]]
    columns = table(rows)
    powers = {name: [power(where(columns, k=k), name) for k in DEPTHS[quick]] for name in ("apart", "loose")}
    said = [2 / (len(SHAPE) * (k + 1)) for k in DEPTHS[quick]]
    reached, every = int(columns["reached"].sum()), "from medians over seeds at the two smallest starts; every run gets there"
    all_reached = reached == len(rows)
    found = {
        name: f"{listed(powers[name])}; at the smallest start at most {largest(columns, name):.2g}; {reached} of {len(rows)} runs get there"
        for name in powers
    }
    settings = (
        f"6^3, rank {RANK}, {OBSERVED} observed, {COMPONENTS} components, gaussian layers, starts {listed(SCALES[quick])}, "
        f"k = {listed(DEPTHS[quick])}, {len(SEEDS[quick])} seeds, at {FALL:.0%} of the first loss"
    )
    return Outcome(
        {"starts": columns},
        [
            Claim(
                "as the scale of a gaussian start goes to 0 the flow of all layers goes to the collapse, at least as the imbalance",
                "here",
                settings,
                f"power of the scale at least {listed(said)}, at most twice that, each to {CLOSE:.0%}; {every}",
                found["apart"],
                all_reached and all((1 - CLOSE) * s < p < 2 * (1 + CLOSE) * s for p, s in zip(powers["apart"], said, strict=True)),
            ),
            Claim(
                "what keeps the largest component's layers from rank one and alignment goes to 0 as the imbalance",
                "here",
                settings,
                f"power of the scale {listed(said)}, to {CLOSE:.0%}; {every}",
                found["loose"],
                all_reached and all(abs(p / s - 1) < CLOSE for p, s in zip(powers["loose"], said, strict=True)),
            ),
        ],
    )


def power(part: Table, quantity: str) -> float:
    """Slope of the logarithm of the median over seeds of `quantity` over that of the scale, between the two smallest scales.

    >>> round(power({"scale": np.array([0.1, 0.01]), "a": np.array([2.0, 0.2])}, "a"), 6)
    1.0
    """
    scales = np.unique(part["scale"])[:2]
    medians = [np.median(part[quantity][part["scale"] == s]) for s in scales]
    return float(np.polyfit(np.log(scales), np.log(medians), 1)[0])


def largest(columns: Table, quantity: str) -> float:
    """The largest median over seeds of `quantity` at the smallest start, of all depths."""
    part = where(columns, scale=columns["scale"].min())
    return max(float(np.median(part[quantity][part["k"] == k])) for k in np.unique(part["k"]))


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["starts"]
    figure, ((left, right),) = panels(1, 2, height=2.6)
    for at, k in enumerate(np.unique(columns["k"])):
        part = where(columns, k=k)
        scales = np.unique(part["scale"])
        for axes, values in ((left, part["apart"]), (right, part["loose"])):
            middle = [np.median(values[part["scale"] == s]) for s in scales]
            axes.loglog(scales, middle, color=COLORS[at], linestyle=DASHES[at], marker=MARKERS[at], label=f"k = {k}")
            axes.loglog(part["scale"], values, ".", color=COLORS[at], markersize=3, alpha=0.6)
    left.set(xlabel="scale of the gaussian start", ylabel="relative difference of velocities", title="all layers against their collapse")
    right.set(
        xlabel="scale of the gaussian start", ylabel="1 - norm / product of layer norms", title="largest component, layers not aligned"
    )
    for axes in (left, right):
        plain_ticks(axes.yaxis)
    left.legend()
    return figure
