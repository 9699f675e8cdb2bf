"""The row kernel against dgemm, set-up against a sweep, memory an entry."""

from __future__ import annotations

from typing import Any

from benchmarks import page
from benchmarks.machine import SWEEPS, source_stamp
from benchmarks.measures import kernel
from benchmarks.store import Store

RANKS = (16, 32, 64)


def store(**how: Any) -> Store:
    return Store("kernel", timed=True, stamp=source_stamp(SWEEPS), **how)


def rows(cells: Store, rank: int) -> dict[str, str]:
    return cells.measure({"what": "rows", "rank": rank}, lambda: kernel.row_kernel(rank))


def set_up(cells: Store) -> dict[str, str]:
    return cells.measure({"what": "set-up", "rank": 32}, kernel.set_up)


def memory(cells: Store) -> dict[str, str]:
    return cells.measure({"what": "memory", "rank": ""}, kernel.bytes_an_entry)


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    found = {rank: rows(cells, rank) for rank in RANKS}
    ready, held = set_up(cells), memory(cells)
    columns = ["dgemm_gflops", "kernel_gflops", "ratio", "sweep_ratio", "one_thread_ratio"]
    page.write(
        "kernel",
        "The ALS row kernel, set-up and memory",
        "20,000 x 5,000 matrix, 4 M entries, float64. Flops are counted in full, 2 nnz R^2 a mode, although the symmetric update does half "
        "of them; ratios are medians of neighbouring runs, all cores, but for the last column: one thread by its processor time, "
        "which a busy machine disturbs less.",
        page.table(
            ["rank", "dgemm GFLOP/s", "row updates GFLOP/s", "row updates over dgemm", "whole sweep over dgemm", "row updates, one thread"],
            [[rank, *(page.number(float(cell[c])) for c in columns)] for rank, cell in found.items()],
        ),
        f"Sorting 4 M entries by every mode takes {float(ready['sort_ratio']):.2f} of one sweep at rank 32; "
        f"with reading them from coordinates in any order, checked and sorted, {float(ready['whole_ratio']):.2f}.",
        f"Memory at order 3 in float64, input included: {float(held['held']):.1f} bytes an entry held, "
        f"{float(held['peak']):.1f} at the peak of the sorting.",
    )
