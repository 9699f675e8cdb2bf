"""Real data by depth: where the spectrum falls slowly there is no rank to find, and depth is no help.

Digits that ship with a package, and monthly records of weather stations. From one start per depth the flow is followed down to a training
error: at the same fit deeper runs have the lower effective rank, as they must, and what they leave out was signal, so the error on cells
never seen need not fall and may rise. The spectra say why: those of data do not end, that of a planted tensor does.

The stations are those of the Met Office (Open Government Licence) that miss no month from 2001 to 2020. They do not ship with the
package: set ``RANKLESS_DATA`` to the folder that holds ``metoffice_2001_2020/metoffice_2001_2020.npz``; without it that half is left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels, plain_ticks
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, where
from rankless.figures.planted import planted
from rankless.tensors.observations import Observations

STATIONS = Path("metoffice_2001_2020") / "metoffice_2001_2020.npz"
IMAGES = {False: 60, True: 40}
YEARS = {False: 20, True: 6}
SHARE = {"digits": 0.4, "stations": 0.3}
COMPONENTS = {"digits": 30, "stations": 15}
SCALE = {"digits": 0.1, "stations": 5.0}  # of the largest component of the start; the data have norms of 62 and 134
STOP_RMSE = {"digits": 0.3, "stations": 0.35}
MAX_STEPS = {"digits": 10_000, "stations": 6_000}
RTOL = {"digits": 1e-4, "stations": 1e-3}
DEPTHS = {False: (0, 1, 3), True: (0, 1)}
SEED, RECORDS = 0, 100
LEVELS = (0.9, 0.99)  # shares of the energy that singular values are counted for
TAIL = 1.5  # singular values for the larger of these over those for the smaller, from which a spectrum does not end


def digits(quick: bool) -> np.ndarray:
    """The first images of scikit-learn's digits, less their mean, of unit root mean square."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    images = data.images[: IMAGES[quick]]
    images = images - images.mean()
    return images / np.sqrt(np.mean(images**2))


def stations(quick: bool) -> np.ndarray | None:
    """Station x year x month x variable of the stations without a gap, each variable standardised; None where the file is not there."""
    path = Path(os.environ.get("RANKLESS_DATA", ".")) / STATIONS
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        array = stored["tensor"].astype(float)
    array = array[~np.isnan(array).any(axis=(1, 2, 3))][:, : YEARS[quick]]
    each = tuple(range(array.ndim - 1))
    return (array - array.mean(axis=each)) / array.std(axis=each)


def unfolded(array: np.ndarray) -> np.ndarray:
    """The array as a matrix of its first modes by the others: images by pixels, stations and years by months and variables."""
    half = array.ndim // 2
    return array.reshape(int(np.prod(array.shape[:half])), -1)


def energy_left(matrix: np.ndarray) -> np.ndarray:
    """Share of the sum of squared singular values that is left after the first 0, 1, 2, ... of them.

    >>> energy_left(np.diag([3.0, 4.0])).round(2).tolist()
    [1.0, 0.36, 0.0]
    """
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    return np.concatenate([[1.0], np.maximum(1 - np.cumsum(squares) / squares.sum(), 0.0)])


def needed(left: np.ndarray, share: float) -> int:
    """How many singular values hold `share` of the energy.

    >>> needed(np.array([1.0, 0.36, 0.0]), 0.9), needed(np.array([1.0, 0.36, 0.0]), 0.6)
    (2, 1)
    """
    return int(np.argmax(left <= 1 - share + 1e-12))


def by_depth(name: str, array: np.ndarray, depth: int) -> Table:
    """Error on hidden cells and effective rank along the training error, for one depth."""
    seen = np.random.default_rng(SEED).random(array.shape) < SHARE[name]
    problem, hidden = dyn.Problem(Observations.from_array(np.where(seen, array, np.nan))), np.where(seen, np.nan, array)
    start = dyn.CP.balanced(array.shape, components=COMPONENTS[name], depth=depth, scale=SCALE[name], key=SEED)
    flow = dyn.GradientFlow(rtol=RTOL[name], stop_loss=0.5 * problem.size * STOP_RMSE[name] ** 2, max_steps=MAX_STEPS[name])
    probes = {"rmse": dyn.probes.HeldOut(Observations.from_array(hidden)), "rank": dyn.probes.effective_rank, "loss": dyn.probes.loss}
    run = dyn.solve(problem, start, flow, ts=np.geomspace(1e-3, 1e3, RECORDS), probes=probes)
    train = np.sqrt(2 * run.probes["loss"] / problem.size)
    n = len(train)
    columns = {"data": np.full(n, name), "k": np.full(n, depth), "train_rmse": train, "test_rmse": run.probes["rmse"]}
    return columns | {"effective_rank": run.probes["rank"]}


def at_fit(part: Table, quantity: str, train_rmse: float) -> float:
    """`quantity` of one run where its training error has fallen to `train_rmse`."""
    falling = np.minimum.accumulate(part["train_rmse"])
    return float(np.interp(-train_rmse, -falling, part[quantity]))


def run(quick: bool, progress: Progress) -> Outcome:
    data = {"digits": digits(quick)}
    found = stations(quick)
    if found is None:
        progress("stations left out: set RANKLESS_DATA to the folder that holds them")
    else:
        data["stations"] = found
    parts, spectra, claims = [], [], []
    planted_tensor = planted((20, 20, 20), 5, observed=1, seed=SEED, noise=0.0).truth
    for name, array in {"planted, rank 5": planted_tensor, **data}.items():
        left = energy_left(unfolded(array))
        spectra.append({"data": np.full(len(left), name), "values": np.arange(len(left)), "left": left})
    counts = {part["data"][0]: [needed(part["left"], share) for share in LEVELS] for part in spectra}
    for name, array in data.items():
        for depth in DEPTHS[quick]:
            progress(f"{name}, k = {depth}")
            parts.append(by_depth(name, array, depth))
        claims.append(_limit(name, array, parts[-len(DEPTHS[quick]) :], quick))
    claims.append(
        Claim(
            "the spectra of these data do not end, that of a planted tensor does",
            "here",
            f"energy of the unfolding by the first half of the modes; the planted tensor is 20^3 of rank 5; {', '.join(data)}",
            f"singular values for {LEVELS[1]:.0%} over those for {LEVELS[0]:.0%} of the energy: {TAIL:g} or more, less for planted",
            "; ".join(f"{name}: {many} over {few}" for name, (few, many) in counts.items()),
            all((many >= TAIL * few) == (name in data) for name, (few, many) in counts.items()),
        )
    )
    joined = [{key: np.concatenate([part[key] for part in each]) for key in each[0]} for each in (parts, spectra)]
    return Outcome({"runs": joined[0], "spectra": joined[1]}, claims)


def _limit(name: str, array: np.ndarray, parts: list[Table], quick: bool) -> Claim:
    """At the training error that all depths reach, deeper runs have the lower rank, and no lower error on hidden cells."""
    fit = max(float(part["train_rmse"].min()) for part in parts)
    ranks, errors = ([at_fit(part, quantity, fit) for part in parts] for quantity in ("effective_rank", "test_rmse"))
    least = [float(part["test_rmse"].min()) for part in parts]
    lower = [f"k = {k} by {1 - error / errors[0]:.1%}" for k, error in zip(DEPTHS[quick], errors, strict=True) if error < errors[0]]
    why = f"; the error is lower at {', '.join(lower)}, rank lower by {1 - min(ranks[1:]) / ranks[0]:.0%}" if lower else ""
    return Claim(
        f"on {name} depth lowers the rank and not the error: a limit",
        "here",
        f"{' x '.join(map(str, array.shape))}, {SHARE[name]:.0%} of cells seen, {COMPONENTS[name]} components, start {SCALE[name]:g}, "
        f"k = {listed(DEPTHS[quick])}, to training error {STOP_RMSE[name]:g} or {MAX_STEPS[name]} steps",
        "at the same training error: effective rank lower at every k >= 1 than at k = 0, error on hidden cells not",
        f"at training error {fit:.3g} ranks {listed(ranks)}, errors {listed(errors)}; least errors along the runs {listed(least)}{why}",
        bool(max(ranks[1:]) < ranks[0] and min(errors[1:]) >= errors[0]),
    )


def draw(tables: dict[str, Table]) -> Figure:
    runs, spectra = tables["runs"], tables["spectra"]
    names = list(dict.fromkeys(runs["data"].tolist()))
    figure, grid = panels(len(names), 3, height=2.3 * len(names) + 0.2)
    for row, name in zip(grid, names, strict=True):
        for at, k in enumerate(np.unique(runs["k"])):
            part = where(runs, data=name, k=k)
            style = {"color": COLORS[at], "linestyle": DASHES[at], "label": f"k = {k}"}
            row[0].semilogx(part["train_rmse"], part["test_rmse"], **style)
            row[1].semilogx(part["train_rmse"], part["effective_rank"], **style)
        for axes, label in ((row[0], "error on hidden cells"), (row[1], "effective rank")):
            axes.set(xlabel="training error, falling with time", ylabel=label, title=name)
            axes.invert_xaxis()
            plain_ticks(axes.xaxis)
    grid[0, 0].legend()
    top, least_drawn = grid[0, 2], 1e-4
    for at, name in enumerate(dict.fromkeys(spectra["data"].tolist())):
        part = where(spectra, data=name)
        kept = np.concatenate([[True], part["left"][:-1] > least_drawn])  # to the first that is under it
        left = np.maximum(part["left"][kept], least_drawn)
        top.semilogy(part["values"][kept], left, color=COLORS[at + 3], linestyle=DASHES[at], label=name)
    top.set(xlabel="singular values kept", ylabel="share of energy left", title="spectra")
    top.legend()
    for axes in grid[1:, 2]:
        for at, name in enumerate(names):
            depths = np.unique(runs["k"])
            least = [where(runs, data=name, k=k)["test_rmse"].min() for k in depths]
            axes.plot(depths, least, color=COLORS[at + 4], marker=MARKERS[at], label=name)
        axes.set(xlabel="depth k", ylabel="least error on hidden cells", title="by depth", xticks=np.unique(runs["k"]))
        axes.legend()
    return figure
