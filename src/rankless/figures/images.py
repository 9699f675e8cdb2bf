"""Rank as a measure of complexity: few components fit the labels of digits, and not shuffled ones [razin2021].

An image of few pixels, each of few levels, is an index into a tensor of as many modes, and a label the value there. At one rank the
labels of real images are fitted better than the same labels shuffled, and foretell those of images never seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
from matplotlib.figure import Figure

from rankless import dynamics as dyn
from rankless.figures.look import COLORS, DASHES, MARKERS, panels
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.tensors.observations import Observations

DIGITS, LEVELS, SEED = (0, 1), 3, 0
RANKS = {False: (1, 2, 4), True: (1, 4)}
STEPS = 1000
RATE, SPREAD = 1e-2, 0.1
TRAIN = 0.6
CASES = ("labels as they are", "labels shuffled")


def images() -> tuple[np.ndarray, np.ndarray]:
    """Images of two digits as 16 pixels of `LEVELS` levels, each once, and their labels as -1 and 1."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    chosen = np.isin(data.target, DIGITS)
    pixels = data.images[chosen].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    levels = np.minimum((pixels / 16 * LEVELS).astype(int), LEVELS - 1)
    unique, first = np.unique(levels, axis=0, return_index=True)
    return unique, np.where(data.target[chosen][first] == DIGITS[0], -1.0, 1.0)


def one(case: str, rank: int) -> dict:
    """Mean squared errors on images seen and not seen, after Adam from factors near one, as the paper trains."""
    rng = np.random.default_rng(SEED)
    indices, labels = images()
    order = rng.permutation(len(labels))
    indices, labels = indices[order], labels[order]
    if case == CASES[1]:
        labels = rng.permutation(labels)
    count, shape = round(TRAIN * len(labels)), (LEVELS,) * indices.shape[1]
    seen, hidden = (Observations.from_indices(indices[part], labels[part], shape=shape) for part in (slice(count), slice(count, None)))
    factors = [1 + SPREAD * rng.normal(size=(LEVELS, rank)) for _ in shape]
    factors[0] = factors[0] * rng.choice([-1.0, 1.0], size=rank) / rank
    flow = dyn.GradientDescent(RATE, rule=optax.adam)
    problem = dyn.Problem(seen, storage="coordinates", mean=True)
    run = dyn.solve(problem, dyn.CP(factors), flow, ts=[RATE * STEPS], probes={"loss": dyn.probes.loss, "test": dyn.probes.HeldOut(hidden)})
    return {
        "case": case,
        "rank": rank,
        "train_mse": 2 * float(run.probes["loss"][-1]),
        "test_mse": float(run.probes["test"][-1]) ** 2,
        "images": count,
    }


def run(quick: bool, progress: Progress) -> Outcome:
    rows = []
    for rank in RANKS[quick]:
        for case in CASES:
            progress(f"rank {rank}, {case}")
            rows.append(one(case, rank))
    columns = table(rows)
    real, shuffled = (where(columns, case=case) for case in CASES)
    settings = (
        f"scikit-learn's digits {DIGITS[0]} and {DIGITS[1]} as 4 x 4 pixels of {LEVELS} levels, {real['images'][0]} images to train, "
        f"order 16, ranks {listed(RANKS[quick])}, Adam of {STEPS} steps from factors near one"
    )
    return Outcome(
        {"errors": columns},
        [
            Claim(
                "at one rank a tensor fits the labels of digits better than shuffled ones, and foretells those of images not seen",
                "[razin2021], with other images",
                settings,
                "at every rank: training error under half of that on shuffled labels; "
                "on images not seen under .7 of the variance, shuffled above 1",
                f"training errors {listed(real['train_mse'])}, shuffled {listed(shuffled['train_mse'])}; "
                f"not seen {listed(real['test_mse'])}, shuffled {listed(shuffled['test_mse'])}",
                bool(
                    np.all(real["train_mse"] < 0.5 * shuffled["train_mse"])
                    and np.all(real["test_mse"] < 0.7)
                    and np.all(shuffled["test_mse"] > 1)
                ),
            ),
        ],
    )


def draw(tables: dict[str, Table]) -> Figure:
    columns = tables["errors"]
    figure, ((left, right),) = panels(1, 2, height=2.5)
    for at, case in enumerate(CASES):
        part = where(columns, case=case)
        style = {"color": COLORS[at], "linestyle": DASHES[at], "marker": MARKERS[at], "label": case}
        left.semilogy(part["rank"], part["train_mse"], **style)
        right.semilogy(part["rank"], part["test_mse"], **style)
    for axes, title in ((left, "images seen"), (right, "images not seen")):
        axes.set(xlabel="components", ylabel="mean squared error", title=title, xticks=np.unique(columns["rank"]))
        axes.axhline(1.0, color="black", linewidth=0.6)
    left.legend()
    return figure
