"""Where runaways happen: how often, over the share of cells seen, the scale of the start, depth and order."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import planted

SHAPES = {3: (10, 10, 10), 4: (6, 6, 6, 6)}
RANK, COMPONENTS = 3, 12
ORDERS = {False: (3, 4), True: (3,)}
SHARES = {False: (0.1, 0.2, 0.4), True: (0.1, 0.4)}
SCALES = {False: (1e-1, 1e-2, 1e-3), True: (1e-2,)}
DEPTHS = {False: (0, 1, 2, 3), True: (0, 2)}
SEEDS = {False: range(6), True: range(4)}
STOP_RMSE, LATEST = 0.05, 1e3
MAX_STEPS = {False: 4000, True: 1000}
SUSPECT = 0.1  # share of a live component's energy on observed cells, over the share of cells observed, below which it ran away


def study(order: int, share: float, quick: bool) -> list[dict]:
    """Every start of one order and share: how many seeds ran away at each scale and depth."""
    shape = SHAPES[order]
    observed = round(share * np.prod(shape))

    def problem(seed: int, **rest) -> dyn.Problem:
        return dyn.Problem(planted(shape, RANK, observed=observed, seed=seed).seen)

    def start(depth: int, scale: float, seed: int) -> dyn.CP:
        return dyn.CP.balanced(shape, components=COMPONENTS, depth=depth, scale=scale, key=seed)

    flow = dyn.GradientFlow(rtol=1e-4, stop_loss=0.5 * observed * STOP_RMSE**2, max_steps=MAX_STEPS[quick])
    found = dyn.sweep(problem, start, flow, until=LATEST, depth=DEPTHS[quick], scale=SCALES[quick], seed=SEEDS[quick])
    ran = found.assign(ran=found.least_energy < SUSPECT * share).groupby(["depth", "scale"]).ran.mean()
    return [{"N": order, "share": share, "k": k, "scale": scale, "ran_away": float(value)} for (k, scale), value in ran.items()]  # pyright: ignore[reportGeneralTypeIssues]


def run(quick: bool, progress: Progress) -> Outcome:
    rows = []
    for order in ORDERS[quick]:
        for share in SHARES[quick]:
            progress(f"N = {order}, {share:.0%} observed")
            rows += study(order, share, quick)
    columns = table(rows)
    shares, depths = SHARES[quick], DEPTHS[quick]
    by_share = [float(np.mean(where(columns, share=share)["ran_away"])) for share in shares]
    few = where(columns, share=shares[0])
    by_depth = [float(np.mean(few["ran_away"][few["k"] == k])) for k in depths]
    settings = (
        f"{' and '.join(f'{SHAPES[n][0]}^{n}' for n in ORDERS[quick])}, rank {RANK}, noiseless, {COMPONENTS} components, starts "
        f"{listed(SCALES[quick])}, k = {listed(depths)}, {len(SEEDS[quick])} seeds each, "
        f"to training error {STOP_RMSE:g} or {MAX_STEPS[quick]} steps; "
        f"ran away: a live component whose share of energy on observed cells is under {SUSPECT:.0%} of the share observed"
    )
    return Outcome(
        {"map": columns},
        [
            Claim(
                "the more cells are seen the fewer runs run away",
                "here, a limit of [hariz2022]",
                settings,
                f"over all starts, least at {shares[-1]:.0%} observed and most at {shares[0]:.0%}",
                f"{listed(by_share, '.2f')} of runs at {listed(shares)}",
                bool(by_share[0] > by_share[-1] and by_share[0] == max(by_share) and by_share[-1] == min(by_share)),
            ),
            Claim(
                "where few cells are seen deep runs run away more often than shallow ones",
                "here, a limit of [hariz2022]",
                f"{settings}; {shares[0]:.0%} observed",
                f"more at k = {depths[-1]} than at k = 0",
                f"{listed(by_depth, '.2f')} of runs at k = {listed(depths)}",
                bool(by_depth[-1] > by_depth[0]),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["map"]
    orders, shares, scales, depths = (np.unique(columns[name]) for name in ("N", "share", "scale", "k"))
    figure, grid = panels(len(orders), len(shares), height=1.7 * len(orders) + 0.6, sharex=True, sharey=True)
    for axes_row, order in zip(grid, orders, strict=True):
        for axes, share in zip(axes_row, shares, strict=True):
            part = where(columns, N=order, share=share)
            image = np.array([[where(part, k=k, scale=s)["ran_away"][0] for s in scales] for k in depths])
            axes.imshow(image, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
            for (row, column), value in np.ndenumerate(image):
                axes.text(column, row, f"{value:.0%}", ha="center", va="center", fontsize=7, color="white" if value < 0.6 else "black")
            axes.set_xticks(range(len(scales)), [f"{s:g}" for s in scales])
            axes.set_yticks(range(len(depths)), [str(k) for k in depths])
            axes.set_title(f"N = {order}, {share:.0%} observed")
            axes.grid(False)
    figure.suptitle("share of starts from which a component ran away", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("scale of the start")
    for axes in grid[:, 0]:
        axes.set_ylabel("depth k")
    return figure
