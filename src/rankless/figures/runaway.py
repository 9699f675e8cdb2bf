"""A limit of the bias: with depth and a small start a component can grow where nothing is observed.

Where no cell of a sub-block of a slice is observed, the loss does not see what lives there. Depth speeds up
what is already large, and a component of tiny energy on observed cells may be the one that grows:
its share of energy on observed cells says so. Weight decay charges for the unseen part too: the same
data under the same depth, minimised with weight decay (by `als`), show no such component.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import als
from rankless import dynamics as dyn
from rankless.figures.look import COLORS, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import Planted, planted

SHAPE, RANK, OBSERVED, COMPONENTS, DEPTH, SCALE = (20, 20, 20), 5, 1600, 40, 2.0, 1e-2
SEEDS = {False: tuple(range(8)), True: (0, 2)}
DECAY = 0.3
STOP_RMSE = 0.02
MAX_STEPS = {False: 15_000, True: 2_500}  # a runaway makes the problem stiff: what has run away by then is shown
SUSPECT = 0.02  # share of energy on observed cells, where an honest component has about 0.2
RECORDS = 150
DRAWN = 8


def energy_seen(factorization: dyn.CP, data: Planted) -> np.ndarray:
    return np.asarray(dyn.probes.observed_energy(dyn.Problem(data.seen), factorization))


def end_row(engine: str, seed: int, model: dyn.CP, data: Planted) -> dict:
    """Error, and what lives where nothing is observed, of a finished model."""
    norms, energy = np.asarray(model.spectrum()), energy_seen(model, data)
    alive = norms > 0.01 * norms.max()
    return {
        "engine": engine,
        "seed": seed,
        "error": float(np.linalg.norm(np.asarray(model.full()) - data.truth) / np.linalg.norm(data.truth)),
        "least_energy": float(energy[alive].min()),
        "suspect_norm": float(np.max(norms[alive & (energy < SUSPECT)], initial=0.0)),
        "largest_norm": float(norms.max()),
        "live": int(alive.sum()),
    }


def by_flow(seed: int, data: Planted, most: int) -> tuple[dict, Table]:
    """The end of a run of at most so many steps without weight decay, and its largest components over time."""
    start = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=DEPTH, scale=SCALE, key=seed)
    probes = {"norms": dyn.probes.component_norms, "energy": dyn.probes.observed_energy, "error": dyn.probes.TensorError(data.truth)}
    flow = dyn.GradientFlow(rtol=1e-5, stop_loss=0.5 * OBSERVED * STOP_RMSE**2, max_steps=most)
    path = dyn.solve(dyn.Problem(data.seen), start, flow, ts=np.geomspace(0.1, 300, RECORDS), probes=probes)
    norms, n = path.probes["norms"], len(path.ts)
    lines = {"seed": np.full(n, seed), "t": path.ts, "error": path.probes["error"]}
    for at, r in enumerate(np.argsort(-norms[-1], kind="stable")[:DRAWN]):
        lines |= {f"norm_{at + 1}": norms[:, r], f"energy_{at + 1}": path.probes["energy"][:, r]}
    return end_row("flow", seed, path.final, data), lines


def by_decay(seed: int, data: Planted) -> dict:
    fit = als.solve(data.seen, depth=DEPTH, penalty=DECAY, max_rank=COMPONENTS, random_state=seed, n_jobs=1)
    return end_row("decay", seed, dyn.CP.from_cp_tensor(fit.model, depth=DEPTH), data)


def run(quick: bool, progress: Progress) -> Outcome:
    rows, parts = [], []
    for seed in SEEDS[quick]:
        progress(f"seed {seed}")
        data = planted(SHAPE, RANK, observed=OBSERVED, seed=seed)
        row, lines = by_flow(seed, data, MAX_STEPS[quick])
        rows += [row, by_decay(seed, data)]
        parts.append(lines)
    ends = table(rows)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    free, decayed = where(ends, engine="flow"), where(ends, engine="decay")
    ran = free["suspect_norm"] > 0
    settings = f"20^3, rank {RANK}, noiseless, 20 % observed, {COMPONENTS} components, k = {DEPTH:g}, {len(ran)} seeds"
    return Outcome(
        {"ends": ends, "trajectories": columns},
        [
            Claim(
                "without weight decay some small deep starts run away where nothing is observed",
                "here, a limit of [hariz2022]",
                f"{settings}; flow from {SCALE:g}, at most {MAX_STEPS[quick]} steps; "
                f"runaway: live, under {SUSPECT:.0%} of its energy on observed cells",
                "at least one seed, whose error is above that of every seed that does not",
                f"{ran.sum()} of {len(ran)} seeds, norms up to {free['suspect_norm'].max():.0f}; "
                f"errors {listed(free['error'][ran])}, the others {listed(free['error'][~ran])}",
                bool(ran.any() and free["error"][ran].min() > free["error"][~ran].max(initial=0.0)),
            ),
            Claim(
                "weight decay forbids the runaway",
                "here",
                f"{settings}; weight decay {DECAY:g} by als",
                "no seed, and errors below .1",
                f"{(decayed['suspect_norm'] > 0).sum()} of {len(ran)} seeds; errors {listed(decayed['error'])}",
                bool(np.all(decayed["suspect_norm"] == 0) and decayed["error"].max() < 0.1),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    ends, columns = tables["ends"], tables["trajectories"]
    free = where(ends, engine="flow")
    bad, good = (free["seed"][at] for at in (np.argmax(free["suspect_norm"]), np.argmin(free["error"])))
    figure, ((left, middle, right),) = panels(1, 3, height=2.6)
    for axes, seed in ((left, bad), (middle, good)):
        part = where(columns, seed=seed)
        for at in range(1, DRAWN + 1):
            seen = part[f"energy_{at}"][-1] >= SUSPECT
            axes.loglog(part["t"], part[f"norm_{at}"], color=COLORS[0] if seen else COLORS[1], linestyle="-" if seen else "--")
        axes.loglog(part["t"], part["error"], color="black", linestyle=":", label="relative error of the tensor")
        axes.set(xlabel="time", title=f"flow from {SCALE:g}, seed {seed}", ylim=(1e-3, 1e4))
    left.set_ylabel("component norm")
    left.plot([], [], color=COLORS[0], label="component")
    left.plot([], [], color=COLORS[1], linestyle="--", label=f"component with under {SUSPECT:.0%} of its energy observed")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    for at, (engine, label) in enumerate((("decay", f"weight decay {DECAY:g}"), ("flow", "flow, none"))):
        part = where(ends, engine=engine)
        right.loglog(part["least_energy"], part["error"], "so"[at], color=COLORS[at], label=label, alpha=0.8)
    share = OBSERVED / np.prod(SHAPE)
    right.axvline(share, color="black", linewidth=0.6)
    right.annotate("cells observed", (share, 0.72), xycoords=("data", "axes fraction"), rotation=90, ha="right", va="center", fontsize=7)
    right.set(xlabel="least share of a live component's\nenergy on observed cells", ylabel="relative error", title="end, every seed")
    right.legend(loc="upper right", bbox_to_anchor=(0.88, 1))
    return figure
