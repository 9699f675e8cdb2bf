"""The growth law of deep CP: its residual along exact runs, and its exponent read off trajectories.

d/dt ||(x) w_r|| = N d_r ||(x) w_r||^(2 - 2/N + k)          [hariz2022]
d/dt s_r = N(k+1) g_r s_r^(2 - 2/(N(k+1)))                  its end-to-end form
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.depth import end_to_end_exponent, last_layer_exponent
from rankless.dynamics import laws
from rankless.figures.look import COLORS, DASHES, MARKERS, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.paths import until
from rankless.figures.planted import planted

SHAPES = {3: (10, 10, 10), 4: (7, 7, 7, 7)}
DEPTHS = {False: (0, 1, 2, 3, 4), True: (0, 2)}
ORDERS = {False: (3, 4), True: (3,)}
RANK, OBSERVED, COMPONENTS, SCALE, SEED = 2, 0.5, 3, 1e-2, 0
RECORDS = 200
FLOW = dyn.GradientFlow(method="dopri8", rtol=1e-10)


def sides(problem: dyn.Problem, factorization: dyn.DeepCP):
    """The growth of ``||(x) w_r||`` and of ``s_r`` by forward differentiation, and each by its law."""
    w, s = laws.growth(problem, factorization, lambda f: (f.last_layer_norms(), f.spectrum()))
    return {"w": (w, laws.deep_cp_law(problem, factorization)), "s": (s, laws.end_to_end_law(problem, factorization))}


def end_to_end_pull(problem: dyn.Problem, factorization: dyn.DeepCP):
    """``g_r``."""
    return laws.drive(problem, factorization) / factorization.spectrum()


PROBES = {
    "s": dyn.probes.component_norms,
    "w": dyn.probes.last_layer_norms,
    "d": laws.normalised_drive,
    "g": end_to_end_pull,
    "sides": sides,
}


def rising(norms: np.ndarray) -> np.ndarray:
    """Records at which a component grows from twice its start to 70 % of its largest norm."""
    top = int(np.argmax(norms >= 0.7 * norms.max()))
    low = int(np.argmax(norms >= 2 * norms[0]))
    return np.arange(low, top)


def residual(sides) -> float:
    """Largest difference of two sides over all records, relative to the largest growth."""
    left, right = sides
    return float(np.max(np.abs(left - right)) / np.max(np.abs(left)))


def one(order: int, depth: int, problem: dyn.Problem) -> tuple[dict, Table]:
    """Exponents and residuals of one run, and the trajectory of its largest component."""
    start = dyn.DeepCP.balanced(SHAPES[order], components=COMPONENTS, depth=depth, scale=SCALE, key=SEED)
    half = 0.5 * float(problem.data_loss(start))
    # deep components rise all at once: records crowd towards the rise, so that all its decades are seen
    crowded = np.concatenate([1 - np.geomspace(1, 1e-4, RECORDS), np.linspace(1, 1.3, RECORDS // 10)])
    path = until(problem, start, FLOW, loss=half, latest=1e4, times=lambda end: end * crowded, probes=PROBES)
    seen = path.probes
    r = int(np.argmax(seen["s"][-1]))
    span = rising(seen["w"][:, r])
    row = {
        "N": order,
        "k": depth,
        "last_layer": laws.fit_exponent(path.ts[span], seen["w"][span, r], seen["d"][span, r]),
        "last_layer_law": last_layer_exponent(depth, order),
        "end_to_end": laws.fit_exponent(path.ts[span], seen["s"][span, r], seen["g"][span, r]),
        "end_to_end_law": end_to_end_exponent(depth, order),
        "last_layer_residual": residual(seen["sides"]["w"]),
        "end_to_end_residual": residual(seen["sides"]["s"]),
    }
    rate = seen["sides"]["w"][0][span, r] / (order * seen["d"][span, r])
    return row, {"N": np.full(len(span), order), "k": np.full(len(span), depth), "norm": seen["w"][span, r], "rate": rate}


def run(quick: bool, progress: Progress) -> Outcome:
    rows, paths = [], []
    for order in ORDERS[quick]:
        shape = SHAPES[order]
        data = planted(shape, RANK, observed=int(OBSERVED * np.prod(shape)), seed=SEED)
        problem = dyn.Problem(data.seen)
        for depth in DEPTHS[quick]:
            progress(f"N = {order}, k = {depth}")
            row, path = one(order, depth, problem)
            rows.append(row)
            paths.append(path)
    fits = table(rows)
    growth = {name: np.concatenate([path[name] for path in paths]) for name in paths[0]}
    sizes = " and ".join(f"{SHAPES[order][0]}^{order}" for order in ORDERS[quick])
    settings = (
        f"{sizes}, rank {RANK}, {OBSERVED:.0%} observed, {COMPONENTS} components with explicit layers, start {SCALE:g}, "
        f"k = {listed(DEPTHS[quick])}"
    )
    claims = [_exponent(fits, "last_layer", "2 - 2/N + k", "[hariz2022]", settings)]
    claims.append(_exponent(fits, "end_to_end", "2 - 2/(N(k+1))", "end-to-end form", settings))
    worst = max(fits["last_layer_residual"].max(), fits["end_to_end_residual"].max())
    claims.append(
        Claim(
            "both sides of the law agree along the run",
            "[hariz2022]",
            settings,
            "relative residual <= 1e-6 at every record",
            f"{worst:.1e}",
            bool(worst <= 1e-6),
        )
    )
    return Outcome({"exponents": fits, "growth": growth}, claims)


def _exponent(fits: Table, form: str, formula: str, source: str, settings: str) -> Claim:
    gap = np.abs(fits[form] - fits[f"{form}_law"])
    return Claim(
        f"growth exponent {formula}",
        source,
        settings,
        listed(fits[f"{form}_law"], ".4f"),
        f"{listed(fits[form], '.4f')} (N = {listed(np.unique(fits['N']))}; largest gap {gap.max():.4f})",
        bool(gap.max() <= 0.01),
    )


def draw(tables: dict[str, Table]) -> Figure:
    figure, ((left, middle, right),) = panels(1, 3)
    fits, growth = tables["exponents"], tables["growth"]
    for at, k in enumerate(np.unique(fits["k"])):
        part = where(growth, N=3, k=k)
        left.loglog(part["norm"], part["rate"], color=COLORS[at], linestyle=DASHES[at], label=f"k = {k}")
    left.set(xlabel=r"$\|\otimes_n w_r^n\|$", ylabel=r"$\frac{d}{dt}\|\otimes_n w_r^n\| \;/\; (N d_r)$", title="growth, N = 3")
    left.legend(loc="lower right", handlelength=2.6)
    k = np.linspace(0, fits["k"].max(), 50)
    for at, order in enumerate(np.unique(fits["N"])):
        part = where(fits, N=order)
        for axes, form, law in ((middle, "last_layer", last_layer_exponent), (right, "end_to_end", end_to_end_exponent)):
            axes.plot(k, law(k, order), color=COLORS[at], linewidth=0.8)
            axes.plot(part["k"], part[form], MARKERS[at], color=COLORS[at], label=f"N = {order}")
            axes.set_xticks(part["k"])
    middle.set(xlabel="depth k", ylabel="exponent fitted", title="last layer: $2 - 2/N + k$")
    right.set(xlabel="depth k", ylabel="exponent fitted", title="end to end: $2 - 2/(N(k+1))$")
    middle.legend()
    return figure
