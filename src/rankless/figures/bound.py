"""The bound ``||(x) A_k ... A_1 w|| <= ||(x) w||^(1+k)`` [hariz2022]: where it is an equality, and where it fails.

It follows from ``|A w| <= |A|_F |w|`` once all layers of a component have one Frobenius norm. Strictly
balanced layers are of rank one and aligned, and make it an equality; unbalanced ones need not obey it.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.dynamics import laws
from rankless.figures.look import COLORS, DASHES, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.figures.paths import until
from rankless.figures.planted import planted

SHAPE, RANK, OBSERVED, COMPONENTS, SCALE, SEED = (6, 6, 6), 2, 120, 6, 0.1, 0
DEPTHS = {False: (1, 2, 3), True: (2,)}
RECORDS = 60
FLOW = dyn.GradientFlow(method="dopri8", rtol=1e-9)
STARTS = {
    "strictly balanced": dyn.DeepCP.balanced,
    "gaussian, norms made equal": lambda *args, **options: dyn.DeepCP.gaussian(*args, **options).equalised(),
    "gaussian": dyn.DeepCP.gaussian,
}


def ratio(problem: dyn.Problem, factorization: dyn.DeepCP):
    left, right = laws.bound(factorization)
    return left / right


def run(quick: bool, progress: Progress) -> Outcome:
    problem = dyn.Problem(planted(SHAPE, RANK, observed=OBSERVED, seed=SEED).seen)
    parts: list[Table] = []
    for depth in DEPTHS[quick]:
        for name, build in STARTS.items():
            progress(f"k = {depth}, {name} start")
            start = build(SHAPE, components=COMPONENTS, depth=depth, scale=SCALE, key=SEED)
            stop = 1e-3 * float(problem.data_loss(start))
            even = np.linspace(0, 1, RECORDS)
            path = until(problem, start, FLOW, loss=stop, latest=1e3, times=lambda end, even=even: end * even, probes={"ratio": ratio})
            seen = path.probes["ratio"]
            parts.append(
                {
                    "k": np.full(seen.size, depth),
                    "start": np.full(seen.size, name),
                    "progress": np.repeat(path.ts / path.ts[-1], seen.shape[1]),
                    "component": np.tile(np.arange(seen.shape[1]), len(path.ts)),
                    "ratio": seen.ravel(),
                }
            )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    strict, equal, loose = (where(columns, start=name)["ratio"] for name in STARTS)
    settings = f"6^3, rank {RANK}, {OBSERVED} observed, {COMPONENTS} explicit components, start {SCALE:g}, k = {listed(DEPTHS[quick])}"
    off = float(np.max(np.abs(strict - 1)))
    return Outcome(
        {"ratios": columns},
        [
            Claim(
                "strictly balanced layers make the bound an equality",
                "[hariz2022], [arora2018]",
                settings,
                "|ratio - 1| <= 1e-6",
                f"{off:.1e}",
                off <= 1e-6,
            ),
            Claim(
                "equal Frobenius norms suffice for the bound",
                "[hariz2022]",
                settings,
                "ratio <= 1 throughout",
                f"between {equal.min():.1e} and {equal.max():.3f}",
                bool(equal.max() <= 1 + 1e-6),
            ),
            Claim(
                "without equal norms the bound is not guaranteed (its assumption is needed)",
                "here",
                settings,
                "some ratio > 1",
                f"between {loose.min():.1e} and {loose.max():.2g}",
                bool(loose.max() > 1),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["ratios"]
    depths = np.unique(columns["k"])
    figure, (row,) = panels(1, len(depths), sharey=True)
    for axes, k in zip(row, depths, strict=True):
        for at, name in enumerate(STARTS):
            part = where(columns, k=k, start=name)
            for r in np.unique(part["component"]):
                line = where(part, component=r)
                axes.semilogy(
                    line["progress"],
                    line["ratio"],
                    color=COLORS[at],
                    linestyle=DASHES[at],
                    linewidth=0.9 if at else 2.4,
                    zorder=3 - at,
                    label="_" if r else name,
                )
        axes.set(xlabel="time / time of the run", title=f"k = {k}")
    row[0].set_ylabel(r"$\|\otimes A_k \cdots A_1 w\| \;/\; \|\otimes w\|^{1+k}$")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
