"""What depth does to rank: live components, effective rank and generalization, over time and at the end [hariz2022].

Each run's status, and the least share of its energy that a live component has on observed cells, are recorded: where a claim on
medians fails, the row says which run is the median and what became of it.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rankless import dynamics as dyn
from rankless.dynamics.probes import live
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks, shade
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.figures.planted import planted
from rankless.figures.runaway import SUSPECT

SHAPE, RANK, COMPONENTS, NOISE, SCALE = (20, 20, 20), 5, 40, 0.1, 0.1
DEPTHS = {False: (0, 1, 2, 3, 4), True: (0, 3)}
SEEDS = {False: (0, 1, 2, 3, 4), True: (0, 1, 2)}
SHARES = {False: (0.2, 0.3, 0.5), True: (0.3,)}
MIDDLE = 0.3  # the share drawn over time
LIVE = 0.02  # share of the largest norm above which a component counts
RECORDS = 120
QUANTITIES = ("live", "effective_rank", "test_rmse")
MAX_STEPS = {False: 12_000, True: 3_000}  # what reaches the noise without running away takes a tenth; what ran away is stiff


def least_energy(problem: dyn.Problem, factorization: dyn.CP):
    """Least share of its energy that a live component has on observed cells."""
    norms, energy = factorization.spectrum(), dyn.probes.observed_energy(problem, factorization)
    return jnp.min(jnp.where(norms > LIVE * jnp.max(norms), energy, 1.0))


def one(share: float, depth: int, seed: int, most: int) -> Table:
    """One run to the noise level, or of `most` steps, at records even in the logarithm of time."""
    observed = round(share * np.prod(SHAPE))
    data = planted(SHAPE, RANK, observed=observed, seed=seed, noise=NOISE)
    # beyond the noise in the training error every depth fits the noise
    flow = dyn.GradientFlow(rtol=1e-4, stop_loss=0.5 * observed * NOISE**2, max_steps=most)
    start = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=depth, scale=SCALE, key=seed)
    probes = {
        "norms": dyn.probes.component_norms,
        "effective_rank": dyn.probes.effective_rank,
        "error": dyn.probes.TensorError(data.truth),
        "loss": dyn.probes.loss,
        "energy": least_energy,
    }
    path = dyn.solve(dyn.Problem(data.seen), start, flow, ts=np.geomspace(1e-2, 1e3, RECORDS), probes=probes)
    seen, n = path.probes, len(path.ts)
    labels = {"share": np.full(n, share), "k": np.full(n, depth), "seed": np.full(n, seed), "t": path.ts}
    return labels | {
        "train_rmse": np.sqrt(2 * seen["loss"] / observed),
        "live": live(seen["norms"], share=LIVE),
        "effective_rank": seen["effective_rank"],
        "test_rmse": seen["error"],  # the truth has unit root mean square
        "least_energy": seen["energy"],
        "ran_away": seen["energy"] < SUSPECT,
        "status": np.full(n, path.status),
        "last": np.arange(n) == n - 1,
    }


def run(quick: bool, progress: Progress) -> Outcome:
    parts = []
    for share in SHARES[quick]:
        for depth in DEPTHS[quick]:
            progress(f"{share:.0%} observed, k = {depth}, {len(SEEDS[quick])} seeds")
            parts += [one(share, depth, seed, MAX_STEPS[quick]) for seed in SEEDS[quick]]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ends = where(columns, share=MIDDLE, last=True)
    live_counts, ranks = ([float(np.median(where(ends, k=k)[q])) for k in DEPTHS[quick]] for q in QUANTITIES[:2])
    common = (
        f"20^3, rank {RANK}, noise {NOISE:g}, {COMPONENTS} components, start {SCALE:g}, k = {listed(DEPTHS[quick])}, "
        f"medians of {len(SEEDS[quick])} seeds, to training error = noise or {MAX_STEPS[quick]} steps"
    )
    settings = f"{common}; {MIDDLE:.0%} observed"
    return Outcome(
        {"trajectories": columns},
        [
            Claim(
                "depth lowers the number of live components towards the true rank",
                "[hariz2022]",
                f"{settings}; live: above {LIVE:.0%} of the largest norm",
                f"fewer at every k >= 1 than at k = 0, and within 1 of {RANK} at the deepest",
                listed(live_counts),
                bool(max(live_counts[1:]) < live_counts[0] and abs(live_counts[-1] - RANK) <= 1),
            ),
            Claim(
                "depth lowers the effective rank",
                "[hariz2022]",
                settings,
                "lower at every k >= 1 than at k = 0",
                listed(ranks),
                bool(max(ranks[1:]) < ranks[0]),
            ),
            *(_generalization(where(columns, share=share, last=True), share, common) for share in SHARES[quick]),
        ],
    )


def _generalization(ends: Table, share: float, settings: str) -> Claim:
    """The claim on the test error at one share observed, with what became of the runs behind its medians."""
    at = {k: where(ends, k=k) for k in np.unique(ends["k"])}
    errors = {k: float(np.median(part["test_rmse"])) for k, part in at.items()}
    means = [float(np.mean(part["test_rmse"])) for part in at.values()]
    ran = [int(np.sum(part["ran_away"])) for part in at.values()]
    reached = [int(np.sum(part["status"] == "reached stop_loss")) for part in at.values()]
    worse = [k for k in at if k >= 1 and errors[k] >= errors[0]]
    why = "".join(f"; the median of k = {k} is a run that {fate(at[k])}" for k in worse)
    return Claim(
        "depth lowers the generalization error",
        "[hariz2022]",
        f"{settings}; {share:.0%} observed; ran away: a live component with under {SUSPECT:.0%} of its energy on observed cells",
        "median lower at every k >= 1 than at k = 0",
        f"{listed(errors.values())}; means {listed(means)}; of {len(at[0]['seed'])} seeds ran away {listed(ran, 'd')}, "
        f"reached the noise {listed(reached, 'd')}{why}",
        not worse,
    )


def fate(part: Table) -> str:
    """What became of the run whose test error is the median of `part`, from its record."""
    run = {name: column[np.argsort(part["test_rmse"])[len(part["test_rmse"]) // 2]] for name, column in part.items()}
    ended = (
        "reached the noise" if run["status"] == "reached stop_loss" else f"was at training error {run['train_rmse']:.2g} when it stopped"
    )
    energy = f"{run['least_energy']:.2%} of a component's energy on observed cells"
    return f"{ended}, {'had run away' if run['ran_away'] else 'had not run away'} ({energy})"


def over_seeds(part: Table, quantity: str, clock: np.ndarray) -> np.ndarray:
    """`quantity` of every seed at the training errors `clock`, shape ``(seeds, len(clock))``."""
    curves = []
    for seed in np.unique(part["seed"]):
        line = where(part, seed=seed)
        falling = np.minimum.accumulate(line["train_rmse"])
        curves.append(np.interp(-clock, -falling, line[quantity]))
    return np.array(curves)


def draw(tables: dict[str, Table]) -> Figure:
    """Lines are medians over seeds, bands and bars their middle half; dots are single seeds, crosses those that ran away."""
    columns = tables["trajectories"]
    depths, shares = np.unique(columns["k"]), np.unique(columns["share"])
    clock = np.geomspace(1.0, NOISE, 80)
    titles = ("live components", "effective rank", "test error (truth has RMS 1)")
    figure, axes = panels(2, 3, height=4.6)
    for column, (quantity, title) in enumerate(zip(QUANTITIES, titles, strict=True)):
        over_time, at_end = axes[:, column]
        for at, k in enumerate(depths):
            color = shade(at, len(depths))
            curves = over_seeds(where(columns, share=MIDDLE, k=k), quantity, clock)
            over_time.plot(clock, np.median(curves, axis=0), color=color, linestyle=DASHES[at], label=f"k = {k}", linewidth=1.5)
            over_time.fill_between(clock, *np.quantile(curves, [0.25, 0.75], axis=0), color=color, alpha=0.15, linewidth=0)
        for at, share in enumerate(shares):
            nudged = depths + 0.12 * (at - (len(shares) - 1) / 2)
            ends = [where(columns, share=share, k=k, last=True)[quantity] for k in depths]
            middle = np.array([np.median(e) for e in ends])
            spread = np.abs(np.array([np.quantile(e, [0.25, 0.75]) for e in ends]).T - middle)
            style = {"color": COLORS[at], "linestyle": DASHES[at], "marker": MARKERS[at], "capsize": 2, "elinewidth": 0.8}
            at_end.errorbar(nudged, middle, spread, **style, label=f"{share:.0%} observed")
            lost = [where(columns, share=share, k=k, last=True)["ran_away"].astype(bool) for k in depths]
            for x, seeds, away in zip(nudged, ends, lost, strict=True):
                at_end.plot(np.full(np.sum(~away), x), seeds[~away], ".", color=COLORS[at], markersize=2.5, alpha=0.6)
                at_end.plot(np.full(np.sum(away), x), seeds[away], "x", color=COLORS[at], markersize=4, markeredgewidth=0.9)
        over_time.set(title=title, xscale="log", xlabel="training error, falling with time", xlim=(1.05, 0.95 * NOISE))
        over_time.xaxis.set_major_formatter("{x:g}")
        over_time.set_xticks([1, 0.5, 0.2, 0.1])
        over_time.xaxis.set_minor_locator(NullLocator())
        at_end.set(xlabel="depth k", xticks=depths)
        for panel in (over_time, at_end):
            panel.set_yscale("log")
            if quantity == "test_rmse" and panel is at_end:
                panel.set_ylim(top=2 * max(1.0, panel.get_ylim()[1]))  # room for the note
            if quantity != "test_rmse":
                panel.axhline(RANK, color="black", linewidth=0.6, zorder=1)
            plain_ticks(panel.yaxis)
    axes[0, 0].annotate(f"true rank {RANK}", (0.98, RANK), xycoords=("axes fraction", "data"), ha="right", va="top", fontsize=7)
    note = "dots: single seeds; crosses: ran away"
    axes[1, 2].annotate(note, (0.02, 0.99), xycoords="axes fraction", va="top", fontsize=6.5).set_in_layout(False)
    axes[0, 0].set_ylabel(f"over time, {MIDDLE:.0%} observed")
    axes[1, 0].set_ylabel("at the end")
    axes[0, 0].legend(ncols=2, columnspacing=0.8)
    axes[1, 0].legend()
    return figure
