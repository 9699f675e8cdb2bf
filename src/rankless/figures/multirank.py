"""Deep Tucker on a tensor of which much is hidden [hariz2024], and real data where depth is no help.

Left, the planted case: from a small start plain Tucker, whose core is one more factor, has a bias to low multilinear rank already;
layers in its factors lower the error at the same fit further. Right, images that ship with a package: digits stacked into a tensor have
a spectrum that falls slowly, with no rank to find. Depth then lowers the effective rank as it must, and what it leaves out was
signal: the held-out error need not fall, and may rise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.tensors.observations import Observations

SIZE, MULTIRANK, WIDTH = {False: 25, True: 12}, {False: 5, True: 2}, {False: 10, True: 6}
HIDDEN = {False: (0.1, 0.5, 0.8, 0.9), True: (0.5, 0.8)}
LAYERS = {False: (1, 2, 3), True: (1, 3)}
SCALE, STOP_RMSE, MAX_STEPS = 0.3, 0.03, 10_000
IMAGES, SHARE, COMPONENTS, DEPTHS = 60, 0.4, 30, (0, 1, 3)
IMAGE_STEPS = 10_000
SEED = 0


def planted_tucker(size: int, rank: int) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    truth = np.einsum("abc,ia,jb,kc->ijk", rng.normal(size=(rank,) * 3), *(rng.normal(size=(size, rank)) for _ in range(3)), optimize=True)
    return truth / np.sqrt(np.mean(truth**2))


def by_tucker(truth: np.ndarray, hidden: float, layers: int, width: int) -> dict:
    seen = np.random.default_rng(SEED + 1).random(truth.shape) >= hidden
    problem = dyn.Problem(Observations.from_array(np.where(seen, truth, np.nan)))
    start = dyn.Tucker.balanced(truth.shape, ranks=(width,) * 3, layers=layers, scale=SCALE, key=SEED)
    flow = dyn.GradientFlow(rtol=1e-4, stop_loss=0.5 * problem.size * STOP_RMSE**2, max_steps=MAX_STEPS)
    probes = {"error": dyn.probes.TensorError(truth), "ranks": dyn.probes.matricization_ranks}
    run = dyn.solve(problem, start, flow, ts=[1e4], probes=probes)
    row = {"hidden": hidden, "layers": layers, "reached": run.status == "reached stop_loss", "error": float(run.probes["error"][-1])}
    return row | {"rank": float(np.mean(run.probes["ranks"][-1]))}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first images of scikit-learn's digits, less their mean, unit root mean square; and which pixels are seen."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    images = data.images[:IMAGES]
    images = images - images.mean()
    return images / np.sqrt(np.mean(images**2)), np.random.default_rng(SEED).random(images.shape) < SHARE


def by_depth(images: np.ndarray, seen: np.ndarray, depth: int) -> Table:
    """Error on hidden pixels along the training error, for one depth."""
    problem, hidden = dyn.Problem(Observations.from_array(np.where(seen, images, np.nan))), np.where(seen, np.nan, images)
    start = dyn.CP.balanced(images.shape, components=COMPONENTS, depth=depth, scale=0.1, key=SEED)
    flow = dyn.GradientFlow(rtol=1e-4, stop_loss=0.5 * problem.size * 0.3**2, max_steps=IMAGE_STEPS)
    probes = {"rmse": dyn.probes.HeldOut(Observations.from_array(hidden)), "rank": dyn.probes.effective_rank, "loss": dyn.probes.loss}
    run = dyn.solve(problem, start, flow, ts=np.geomspace(1e-2, 1e3, 100), probes=probes)
    train = np.sqrt(2 * run.probes["loss"] / problem.size)
    return {"k": np.full(len(train), depth), "train_rmse": train, "test_rmse": run.probes["rmse"], "effective_rank": run.probes["rank"]}


def run(quick: bool, progress: Progress) -> Outcome:
    truth, rows = planted_tucker(SIZE[quick], MULTIRANK[quick]), []
    for layers in LAYERS[quick]:
        for hidden in HIDDEN[quick]:
            progress(f"Tucker, {hidden:.0%} hidden, L = {layers}")
            rows.append(by_tucker(truth, hidden, layers, WIDTH[quick]))
    columns, (images, seen), parts = table(rows), digits(), []
    for depth in DEPTHS:
        progress(f"digits, k = {depth}")
        parts.append(by_depth(images, seen, depth))
    lines = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    by_layers = {count: where(columns, layers=count) for count in LAYERS[quick]}
    first, last = (by_layers[count] for count in (LAYERS[quick][0], LAYERS[quick][-1]))
    least = [float(where(lines, k=k)["test_rmse"].min()) for k in DEPTHS]
    ranks = [float(where(lines, k=k)["effective_rank"][-1]) for k in DEPTHS]
    spectrum = np.linalg.svd(images.reshape(len(images), -1), compute_uv=False) ** 2
    needed = int(np.searchsorted(np.cumsum(spectrum) / spectrum.sum(), 0.9)) + 1
    size, rank = SIZE[quick], MULTIRANK[quick]
    settings = (
        f"{size}^3, multirank ({rank}, {rank}, {rank}), noiseless, hidden {listed(HIDDEN[quick])}, factors of {WIDTH[quick]} columns, "
        f"balanced start {SCALE:g}, L = {listed(LAYERS[quick])}, to training error {STOP_RMSE:g} or {MAX_STEPS} steps"
    )
    of_images = f"{IMAGES} images of 8 x 8, {SHARE:.0%} of pixels seen, {COMPONENTS} components, start 0.1, k = {listed(DEPTHS)}"
    return Outcome(
        {"tucker": columns, "digits": lines},
        [
            Claim(
                "layers in the factors of a Tucker model lower the error at every share hidden",
                "[hariz2024]",
                settings,
                f"lower at L = {LAYERS[quick][-1]} than at L = 1 at every share, with a mean effective rank of at most {rank} and a half",
                f"ranks {listed(first['rank'])} at L = 1, {listed(last['rank'])} at the deepest; "
                f"errors {'; '.join(listed(part['error']) for part in by_layers.values())}",
                bool(np.all(last["error"] < first["error"]) and np.all(last["rank"] <= rank + 0.5)),
            ),
            Claim(
                "on images of digits depth lowers the rank and not the error: a limit",
                "here",
                f"{of_images}; the least error on hidden pixels along the run, effective rank at its end",
                "effective rank lower at every k >= 1 than at k = 0, least error not",
                f"ranks {listed(ranks)}; least errors {listed(least)}; "
                f"the unfolding by images needs {needed} singular values for 90 % of its energy",
                bool(max(ranks[1:]) < ranks[0] and min(least[1:]) >= least[0]),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns, lines = tables["tucker"], tables["digits"]
    figure, ((one, two, three, four),) = panels(1, 4, height=2.5)
    for at, count in enumerate(np.unique(columns["layers"])):
        part = where(columns, layers=count)
        style = {"color": COLORS[at], "linestyle": DASHES[at], "marker": MARKERS[at], "label": f"L = {count}"}
        one.plot(part["hidden"], part["rank"], **style)
        two.semilogy(part["hidden"], part["error"], **style)
    one.set(xlabel="share hidden", ylabel="mean effective rank", title="Tucker")
    two.set(xlabel="share hidden", ylabel="relative error", title="Tucker")
    for at, k in enumerate(np.unique(lines["k"])):
        part, style = where(lines, k=k), {"color": COLORS[at], "linestyle": DASHES[at], "label": f"k = {k}"}
        three.loglog(part["train_rmse"], part["test_rmse"], **style)
        four.semilogx(part["train_rmse"], part["effective_rank"], **style)
    three.set(xlabel="training error", ylabel="error on hidden pixels", title="digits")
    four.set(xlabel="training error", ylabel="effective rank", title="digits")
    for axes in (three, four):
        axes.invert_xaxis()
        plain_ticks(axes.xaxis)
    for axes in (two, three):
        plain_ticks(axes.yaxis)
    one.legend()
    three.legend()
    return figure
