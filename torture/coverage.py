"""Intervals on cells that were hidden: how often the truth lies inside, and how wide they are.

Real data with cells hidden, and planted tensors under three kinds of noise: the same everywhere, heavy-tailed
(Student's t with 3 degrees of freedom), and 16 times as large in one slice as in another; and one of few entries. Every
default, 20 seeds.
Constant width is what split-conformal calibration gives when every cell is taken to be as hard as any other.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from campaign import data
from campaign.page import table
from campaign.store import Cell

from torture import record

COVERAGES = (0.5, 0.8, 0.9, 0.95)
SEEDS = range(20)
REAL = tuple((name, 0.8) for name in data.NAMES)
SHAPE, RANK, HIDDEN, NOISE = (50, 40, 30), 5, 0.8, 0.3
FEW = (12, 10, 8), 2, 0.6, NOISE  # shape, rank, share hidden, noise: 384 entries
KINDS = ("gaussian", "heavy-tailed", "slice-dependent")
SOURCES = ("src/rankless/answer/intervals.py", "src/rankless/answer/difficulty.py")


def store(**how):
    return record.store("coverage", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    here = data.available()
    for seed in SEEDS:
        for kind in KINDS:
            key = {"data": f"planted, {kind} noise", "hidden": HIDDEN, "seed": seed}
            print(cells.measure(key, lambda kind=kind, seed=seed: measure(*planted(kind, seed))), flush=True)
        key = {"data": "planted, few entries", "hidden": FEW[2], "seed": seed}
        print(cells.measure(key, lambda seed=seed: measure(*planted("gaussian", seed, *FEW))), flush=True)
        for name, share in REAL:
            if name in here:
                key = {"data": name, "hidden": share, "seed": seed}
                print(cells.measure(key, lambda name=name, share=share, seed=seed: measure(*hidden(name, share, seed))), flush=True)


def hidden(name: str, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A real tensor with cells hidden, and the whole of it."""
    whole = data.load(name)
    return data.hide(whole, share, seed)[0], whole


def planted(
    kind: str, seed: int, shape: tuple[int, ...] = SHAPE, rank: int = RANK, hidden: float = HIDDEN, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy entries of a CP tensor of unit standard deviation, many of them hidden, and the noisy whole."""
    rng = np.random.default_rng(seed)
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, rank)) for d in shape))
    errors = rng.standard_t(3, shape) / np.sqrt(3) if kind == "heavy-tailed" else rng.normal(size=shape)
    size = np.geomspace(noise / 4, 4 * noise, shape[0])[:, None, None] if kind == "slice-dependent" else noise
    whole = truth / truth.std() + size * errors
    return np.where(rng.random(shape) < hidden, np.nan, whole), whole


def measure(seen: np.ndarray, whole: np.ndarray) -> dict[str, float]:
    """Shares of hidden cells inside their intervals, mean widths, and the constant widths that would do."""
    from rankless import TensorCompleter

    est = TensorCompleter(random_state=0).fit(seen)
    cells = np.argwhere(np.isnan(seen) & ~np.isnan(whole))
    truth = whole[tuple(cells.T)]
    errors = est.calibration_errors()[1]
    figures: dict[str, float] = {"entries": len(errors)}
    for coverage in COVERAGES:
        lower, upper = est.predict_interval(cells, coverage)
        figures[f"inside_{coverage:g}"] = float(np.mean((lower <= truth) & (truth <= upper)))
        figures[f"width_{coverage:g}"] = float(np.mean(upper - lower))
        figures[f"constant_{coverage:g}"] = 2 * float(np.quantile(np.abs(errors), coverage))
    return figures


def section(cells: Sequence[Cell]) -> str:
    head = ["data", "hidden", "seeds", *(f"inside at {c:g}" for c in COVERAGES), *(f"width at {c:g}" for c in COVERAGES)]
    rows = []
    for name, share in dict.fromkeys((cell["data"], cell["hidden"]) for cell in cells):
        own = [cell for cell in cells if (cell["data"], cell["hidden"]) == (name, share)]
        inside = [statistics.mean(float(cell[f"inside_{c:g}"]) for cell in own) for c in COVERAGES]
        widths = [statistics.mean(float(cell[f"width_{c:g}"]) / float(cell[f"constant_{c:g}"]) for cell in own) for c in COVERAGES]
        rows.append([name, f"{float(share):.0%}", str(len(own)), *(f"{x:.3f}" for x in inside), *(f"{x:.2f}" for x in widths)])
    return "\n\n".join(
        [
            "## Intervals",
            "Mean share of hidden cells that lie in their interval, and the mean width over that of a constant width with the same "
            "promise. At 0.5 a constant width is the narrower: it may give up the hard cells altogether.",
            table(head, rows),
        ]
    )
