"""Depth under other products and other measurements: tubal tensors from entries, matrices and tensors from linear maps.

With one factor nothing is preferred: cells never seen stay what they were, and sensing finds the nearest tensor to the start that fits.
Two factors and more prefer low tubal rank [karnik2025], low rank [arora2019] and few components [razin2021].
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

TUBAL, TUBAL_RANK, TUBAL_SHARE = (12, 12, 4), 2, 0.6
MATRIX, MATRIX_RANK, MATRIX_MAPS = (15, 15), 2, 130
TENSOR, TENSOR_RANK, TENSOR_MAPS = (6, 6, 6), 2, 90
SCALE, STOP_RMSE = 1e-2, 3e-3
LAYERS = {False: (1, 2, 3), True: (1, 2)}
SEEDS = {False: (0, 1, 2), True: (0,)}
KINDS = ("tubal completion", "matrix sensing", "tensor sensing")


def unit(tensor: np.ndarray) -> np.ndarray:
    return tensor / np.sqrt(np.mean(tensor**2))


def task(kind: str, layers: int, seed: int) -> tuple[np.ndarray, dyn.Problem, dyn.AbstractFactorization]:
    """The truth, what is measured of it, and the start with `layers` factors."""
    rng = np.random.default_rng(seed)
    if kind == "tubal completion":
        a, b = (rng.normal(size=size) for size in ((TUBAL[0], TUBAL_RANK, TUBAL[2]), (TUBAL_RANK, TUBAL[1], TUBAL[2])))
        product = np.einsum("irf,rjf->ijf", np.fft.fft(a, axis=2), np.fft.fft(b, axis=2))
        truth = unit(np.real(np.fft.ifft(product, axis=2)))
        seen = Observations.from_array(np.where(rng.random(TUBAL) < TUBAL_SHARE, truth, np.nan))
        return truth, dyn.Problem(seen), dyn.Tubal.balanced(TUBAL, layers=layers, scale=SCALE, key=seed)
    shape, rank, count = (MATRIX, MATRIX_RANK, MATRIX_MAPS) if kind == "matrix sensing" else (TENSOR, TENSOR_RANK, TENSOR_MAPS)
    truth = unit(CPTensor([rng.normal(size=(d, rank)) for d in shape]).full())
    maps = rng.normal(size=(count, *shape)) / np.sqrt(truth.size)
    problem = dyn.Problem.sensing(maps, np.tensordot(maps, truth, axes=truth.ndim))
    if kind == "matrix sensing":
        return truth, problem, dyn.Matrix.gaussian(shape, layers=layers, scale=SCALE, key=seed)
    if layers == 1:  # the tensor itself, every entry a parameter
        return truth, problem, dyn.Tubal.balanced(shape, layers=1, scale=SCALE, key=seed)
    return truth, problem, dyn.CP.balanced(shape, components=10, depth=layers - 2.0, scale=SCALE, key=seed)


def one(kind: str, layers: int, seed: int) -> dict:
    truth, problem, start = task(kind, layers, seed)
    flow = dyn.GradientFlow(rtol=1e-5, stop_loss=0.5 * problem.size * STOP_RMSE**2, max_steps=20_000)
    run = dyn.solve(problem, start, flow, ts=[1e4], probes={"error": dyn.probes.TensorError(truth), "rank": dyn.probes.effective_rank})
    row = {"task": kind, "layers": layers, "seed": seed, "reached": run.status == "reached stop_loss"}
    return row | {"error": float(run.probes["error"][-1]), "effective_rank": float(run.probes["rank"][-1])}


def run(quick: bool, progress: Progress) -> Outcome:
    rows = []
    for kind in KINDS:
        for layers in LAYERS[quick]:
            progress(f"{kind}, L = {layers}")
            rows += [one(kind, layers, seed) for seed in SEEDS[quick]]
    columns = table(rows)
    settings = {
        "tubal completion": f"12 x 12 x 4, tubal rank {TUBAL_RANK}, {TUBAL_SHARE:.0%} observed",
        "matrix sensing": f"15 x 15, rank {MATRIX_RANK}, {MATRIX_MAPS} gaussian maps of 225 unknowns",
        "tensor sensing": f"6^3, rank {TENSOR_RANK}, {TENSOR_MAPS} gaussian maps of 216 unknowns; "
        "L = 1: the tensor itself, 2: CP of k = 0, 3: of k = 1",
    }
    source = {"tubal completion": "[karnik2025]", "matrix sensing": "[arora2019]", "tensor sensing": "[razin2021]"}
    claims = []
    for kind in KINDS:
        errors = [float(np.median(where(columns, task=kind, layers=layers)["error"])) for layers in LAYERS[quick]]
        claims.append(
            Claim(
                f"{kind}: one factor finds nothing that was not measured, more find the low-rank truth",
                source[kind],
                f"{settings[kind]}; start {SCALE:g}, to training error {STOP_RMSE:g}, L = {listed(LAYERS[quick])}, "
                f"{len(SEEDS[quick])} seed(s)",
                "median relative error above .3 at L = 1, and below .1 at every L >= 2",
                listed(errors),
                bool(errors[0] > 0.3 and max(errors[1:]) < 0.1),
            )
        )
    return Outcome({"ends": columns}, claims)


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["ends"]
    figure, ((left, right),) = panels(1, 2, height=2.6)
    for at, kind in enumerate(KINDS):
        part = where(columns, task=kind)
        layers = np.unique(part["layers"])
        for axes, quantity in ((left, "error"), (right, "effective_rank")):
            middle = [np.median(part[quantity][part["layers"] == count]) for count in layers]
            axes.semilogy(layers, middle, color=COLORS[at], linestyle=DASHES[at], marker=MARKERS[at], label=kind)
            axes.semilogy(part["layers"] + 0.04 * (at - 1), part[quantity], ".", color=COLORS[at], markersize=3, alpha=0.6)
    left.set(xlabel="factors L", ylabel="relative error of the tensor", xticks=np.unique(columns["layers"]))
    right.set(xlabel="factors L", ylabel="effective rank of the spectrum", xticks=np.unique(columns["layers"]))
    for axes in (left, right):
        plain_ticks(axes.yaxis)
    left.legend()
    return figure
