"""Ten sweeps of matrix factorisation beside cmfrec and SMURFF."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import page
from benchmarks.machine import SWEEPS, source_stamp
from benchmarks.measures import matrix
from benchmarks.store import Store, median, numbers

REPETITIONS = range(3)


def store(**how: Any) -> Store:
    return Store("matrix", timed=True, stamp=source_stamp(SWEEPS), **how)


def race() -> dict[str, float]:
    """All methods once, one after another."""
    found = {}
    for name, method in matrix.METHODS.items():
        try:
            result = method(matrix.case())
        except ImportError as reason:
            print(f"skipped {name}: {reason}", flush=True)
            continue
        found |= {f"{name} seconds": result["seconds"], f"{name} rmse": result["rmse"]}
    return found


def fastest_peer(cells: list[dict[str, str]], precision: str = "float64") -> str | None:
    """The peer with the least median time at one precision; None where none is installed."""
    times = {m: median(cells, f"{m} seconds") for m in matrix.METHODS if m.endswith(precision) and not m.startswith("rankless")}
    times = {m: t for m, t in times.items() if t == t}
    return min(times, key=times.__getitem__, default=None)


def ratio(cells: list[dict[str, str]], peer: str, precision: str = "float64", what: str = "seconds") -> float:
    """Median over repetitions of ours over the peer's."""
    pairs = zip(numbers(cells, f"rankless {precision} {what}"), numbers(cells, f"{peer} {what}"), strict=True)
    return statistics.median(a / b for a, b in pairs)


def measured(cells: Store) -> list[dict[str, str]]:
    return [cells.measure({"repetition": r}, race) for r in REPETITIONS]


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    found = measured(cells)
    rows = []
    for method in matrix.METHODS:
        if numbers(found, f"{method} seconds"):
            over = ratio(found, method, method.rsplit(" ", 1)[1])
            rows.append([method, f"{median(found, f'{method} seconds'):.2f}", f"{over:.2f}", f"{median(found, f'{method} rmse'):.4f}"])
    page.write(
        "matrix",
        "Ten sweeps, 20,000 x 5,000 matrix, 4 M entries, rank 32",
        f"The same entries, penalty ({matrix.PENALTY:g}) and number of sweeps for all; no biases. Seconds run from coordinates to factors, "
        "each library's own sorting included; RMSE is on 400,000 entries not given. "
        "SMURFF draws its penalty and averages its last five sweeps. "
        f"The noise is {matrix.NOISE}, so no RMSE can be below it. Medians of {len(found)}.",
        page.table(["method", "seconds", "rankless, same precision, over it", "RMSE"], rows),
    )
