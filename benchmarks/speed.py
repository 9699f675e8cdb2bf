"""Speed by itself: the row kernel against dgemm, sorting, memory an entry; ten sweeps beside cmfrec and SMURFF; what a fresh process costs.

Three csv files, since they age apart: ``kernel`` and ``matrix`` with the code of sweeps, ``startup`` with all that makes numbers.
"""

from __future__ import annotations

import statistics
from typing import Any

from campaign import page
from campaign.machine import SWEEPS, source_stamp
from campaign.store import Cell, Store, median, numbers

from benchmarks.measures import kernel, matrix, startup

RANKS = (16, 32, 64)
REPETITIONS = range(3)
PROCESSES = {
    "numpy": "`import numpy`",
    "rankless": "`import rankless`",
    "import_over_numpy": "`import rankless` over `import numpy`",
    "complete": "`import rankless; rankless.complete` (its parts are imported on first use)",
    "help": "`rankless --help`",
    "first_fit": "a tiny `als.solve`, compiled kernels cached",
}


def of_kernel(**how: Any) -> Store:
    return Store("kernel", timed=True, stamp=source_stamp(SWEEPS), **how)


def of_matrix(**how: Any) -> Store:
    return Store("matrix", timed=True, stamp=source_stamp(SWEEPS), **how)


def of_startup(**how: Any) -> Store:
    return Store("startup", timed=True, **how)


def race() -> dict[str, float]:
    """All methods of the matrix once, one after another."""
    found = {}
    for name, method in matrix.METHODS.items():
        try:
            result = method(matrix.case())
        except ImportError as reason:
            print(f"skipped {name}: {reason}", flush=True)
            continue
        found |= {f"{name} seconds": result["seconds"], f"{name} rmse": result["rmse"]}
    return found


def fastest_peer(cells: list[Cell], precision: str = "float64") -> str | None:
    """The peer with the least median time at one precision; None where none is installed."""
    times = {m: median(cells, f"{m} seconds") for m in matrix.METHODS if m.endswith(precision) and not m.startswith("rankless")}
    times = {m: t for m, t in times.items() if t == t}
    return min(times, key=times.__getitem__, default=None)


def ratio(cells: list[Cell], peer: str, precision: str = "float64", what: str = "seconds") -> float:
    """Median over repetitions of ours over the peer's."""
    pairs = zip(numbers(cells, f"rankless {precision} {what}"), numbers(cells, f"{peer} {what}"), strict=True)
    return statistics.median(a / b for a, b in pairs)


def run(fresh: bool = False) -> None:
    kernels, matrices, starts = of_kernel(fresh=fresh), of_matrix(fresh=fresh), of_startup(fresh=fresh)
    starts.measure({"what": "fresh process"}, startup.start_up)
    for rank in RANKS:
        kernels.measure({"what": "rows", "rank": rank}, lambda rank=rank: kernel.row_kernel(rank))
    kernels.measure({"what": "set-up", "rank": 32}, kernel.set_up)
    kernels.measure({"what": "memory", "rank": ""}, kernel.bytes_an_entry)
    for repetition in REPETITIONS:
        matrices.measure({"repetition": repetition}, race)
    write(kernels, matrices, starts)


def write(kernels: Store, matrices: Store, starts: Store) -> None:
    page.write(
        "speed", "Speed: kernel, matrix, start-up", *_kernel_parts(kernels), *_matrix_parts(matrices.current()), *_start_parts(starts)
    )


def _kernel_parts(cells: Store) -> list[str]:
    columns = ["dgemm_gflops", "kernel_gflops", "ratio", "sweep_ratio", "one_thread_ratio"]
    found = {rank: cells.find({"what": "rows", "rank": rank}) for rank in RANKS}
    parts = [
        "## The ALS row kernel, sorting and memory",
        "20,000 x 5,000 matrix, 4 M entries, float64. Flops are counted in full, 2 nnz R^2 a mode, although the symmetric update does half "
        "of them; ratios are medians of neighbouring runs, all cores, but for the last column: one thread by its processor time, "
        "which a busy machine disturbs less.",
        page.table(
            ["rank", "dgemm GFLOP/s", "row updates GFLOP/s", "row updates over dgemm", "whole sweep over dgemm", "row updates, one thread"],
            [[rank, *(page.number(float(cell[c])) for c in columns)] for rank, cell in found.items() if cell],
        ),
    ]
    if ready := cells.find({"what": "set-up", "rank": 32}):
        parts += [
            f"Sorting 4 M entries by every mode takes {float(ready['sort_ratio']):.2f} of one sweep at rank 32; "
            f"with reading them from coordinates in any order, checked and sorted, {float(ready['whole_ratio']):.2f}."
        ]
    if held := cells.find({"what": "memory", "rank": ""}):
        parts += [
            f"Memory at order 3 in float64, input included: {float(held['held']):.1f} bytes an entry held, "
            f"{float(held['peak']):.1f} at the peak of the sorting."
        ]
    return parts


def _matrix_parts(found: list[Cell]) -> list[str]:
    rows = []
    for method in matrix.METHODS:
        if numbers(found, f"{method} seconds"):
            over = ratio(found, method, method.rsplit(" ", 1)[1])
            rows.append([method, f"{median(found, f'{method} seconds'):.2f}", f"{over:.2f}", f"{median(found, f'{method} rmse'):.4f}"])
    return [
        "## Ten sweeps, 20,000 x 5,000 matrix, 4 M entries, rank 32",
        f"The same entries, penalty ({matrix.PENALTY:g}) and number of sweeps for all; no biases. Seconds run from coordinates to factors, "
        "each library's own sorting included; RMSE is on 400,000 entries not given. "
        "SMURFF draws its penalty and averages its last five sweeps. "
        f"The noise is {matrix.NOISE}, so no RMSE can be below it. Medians of {len(found)}.",
        page.table(["method", "seconds", "rankless, same precision, over it", "RMSE"], rows),
    ]


def _start_parts(cells: Store) -> list[str]:
    found = cells.find({"what": "fresh process"})
    rows = [[text, f"{float(found[name]):.2f}", f"{float(found[f'{name}_cpu']):.2f}"] for name, text in PROCESSES.items()] if found else []
    return [
        "## Start-up",
        "Seconds of a fresh process by the wall clock, and of processor time, which a busy machine stretches less; "
        "medians of five by turns.",
        page.table(["process", "seconds", "processor seconds"], rows),
    ]
