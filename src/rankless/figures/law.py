"""The growth law of deep CP: its residual along exact runs, and its exponent read off trajectories.

d/dt ||(x) w_r|| = N d_r ||(x) w_r||^(2 - 2/N + k)          [hariz2022]
d/dt s_r = N(k+1) g_r s_r^(2 - 2/(N(k+1)))                  its end-to-end form

The first asks for layers of equal Frobenius norms, the second for strict balance, where they are one statement. So runs start from
both: from strict balance, and from gaussian layers brought to equal norms, where the first must hold and the second must not.
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
DEPTHS = {False: (0, 1, 2, 3, 4), True: (0, 1)}
ORDERS = {False: (3, 4), True: (3,)}
RANK, OBSERVED, COMPONENTS, SCALE, SEED = 2, 0.5, 3, 1e-2, 0
RECORDS = 200
# deep components rise all at once: records crowd towards the rise, so that all its decades are seen
CROWDED = np.concatenate([1 - np.geomspace(1, 1e-4, RECORDS), np.linspace(1, 1.3, RECORDS // 10)])
FLOW = dyn.GradientFlow(method="dopri8", rtol=1e-10)
EQUAL_DEPTHS = {False: (1, 2, 3), True: (1,)}  # at k = 0 there is nothing to be unbalanced inside a mode
GROWN, CLOSE = 5.0, 0.25  # when a time is predicted, and how well


def sides(problem: dyn.Problem, factorization: dyn.DeepCP):
    """The growth of ``||(x) w_r||`` and of ``s_r`` by forward differentiation, and each by its law."""
    w, s = laws.growth(problem, factorization, lambda f: (f.last_layer_norms(), f.spectrum()))
    return {"w": (w, laws.deep_cp_law(problem, factorization)), "s": (s, laws.end_to_end_law(problem, factorization))}


PROBES = {
    "s": dyn.probes.component_norms,
    "w": dyn.probes.last_layer_norms,
    "d": laws.normalised_drive,
    "g": laws.pull,
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
    path = until(problem, start, FLOW, loss=half, latest=1e4, times=lambda end: end * CROWDED, probes=PROBES)
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
    row["switched"] = dyn.probes.switch_on_times(path.ts, seen["s"])[r]
    row["predicted"] = dyn.probes.predicted_switch_on(path.ts, seen["s"], seen["g"], factors=order * (depth + 1), grown=GROWN)[r]
    rate = seen["sides"]["w"][0][span, r] / (order * seen["d"][span, r])
    return row, {"N": np.full(len(span), order), "k": np.full(len(span), depth), "norm": seen["w"][span, r], "rate": rate}


def from_equal_norms(depth: int, problem: dyn.Problem) -> dict:
    """Residuals of both laws from gaussian layers of equal Frobenius norms, N = 3.

    That of the end-to-end form is taken record by record: late in a run the layers are all but aligned, and it all but holds.
    """
    start = dyn.DeepCP.gaussian(SHAPES[3], components=COMPONENTS, depth=depth, scale=SCALE, key=SEED).equalised()
    half = 0.5 * float(problem.data_loss(start))
    path = until(problem, start, FLOW, loss=half, latest=1e4, times=lambda end: end * CROWDED, probes=PROBES)
    left, right = path.probes["sides"]["s"]
    apart = np.max(np.abs(left - right), axis=1) / np.max(np.abs(left), axis=1)
    return {"k": depth, "last_layer_residual": residual(path.probes["sides"]["w"]), "end_to_end_residual": float(apart.max())}


def run(quick: bool, progress: Progress) -> Outcome:
    rows, paths, equal_rows = [], [], []
    for order in ORDERS[quick]:
        shape = SHAPES[order]
        data = planted(shape, RANK, observed=int(OBSERVED * np.prod(shape)), seed=SEED)
        problem = dyn.Problem(data.seen)
        for depth in DEPTHS[quick]:
            progress(f"N = {order}, k = {depth}")
            row, path = one(order, depth, problem)
            rows.append(row)
            paths.append(path)
        for depth in EQUAL_DEPTHS[quick] if order == 3 else ():
            progress(f"equal norms, k = {depth}")
            equal_rows.append(from_equal_norms(depth, problem))
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
    equal = table(equal_rows)
    holds, fails = float(equal["last_layer_residual"].max()), float(equal["end_to_end_residual"].min())
    claims.append(
        Claim(
            "equal Frobenius norms, the paper's assumption, are enough for the law of ||(x) w||, and not for its end-to-end form",
            "[hariz2022]; here",
            f"10^3, as above; gaussian layers of equal norms, k = {listed(equal['k'])}",
            "the first: residual <= 1e-6 at every record; the second: above .1 at some record of every run",
            f"the first {holds:.1e}; the second {fails:.2g} and more",
            bool(holds <= 1e-6 and fails > 0.1),
        )
    )
    off = np.abs(fits["predicted"] / fits["switched"] - 1)
    claims.append(
        Claim(
            "a component switches on when s^(2/M - 1)/((M - 2) g) says, M = N(k+1)",
            "here, from the law",
            f"{settings}; said once it is {GROWN:g} times its start; switched on: half its last norm",
            f"within {CLOSE:.0%}",
            f"off by at most {off.max():.0%}",
            bool(off.max() <= CLOSE),
        )
    )
    return Outcome({"exponents": fits, "growth": growth, "equal_norms": equal}, claims)


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
    figure, ((left, middle), (right, last)) = panels(2, 2)
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
    for at, order in enumerate(np.unique(fits["N"])):
        part = where(fits, N=order)
        last.plot(part["k"], part["switched"], MARKERS[at], color=COLORS[at], label=f"N = {order}")
        last.plot(part["k"], part["predicted"], color=COLORS[at], linewidth=0.8)
    last.set(xlabel="depth k", ylabel="time", title="switch-on of the largest component", xticks=np.unique(fits["k"]), ylim=(0, None))
    last.legend(loc="upper left", title=f"lines: predicted at {GROWN:g} times the start", title_fontsize=7, alignment="left")
    middle.set(xlabel="depth k", ylabel="exponent fitted", title="last layer: $2 - 2/N + k$")
    right.set(xlabel="depth k", ylabel="exponent fitted", title="end to end: $2 - 2/(N(k+1))$")
    middle.legend()
    return figure
