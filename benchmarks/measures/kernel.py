"""The ALS row kernel against the machine's own dgemm; set-up against a sweep; memory of the sorted entries."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import cache

import numpy as np

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.solver import Problem, State, sweep, update_mode
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

PLAIN = Problem(depth=0.0, penalty=1.0)
DGEMM = 3000  # rows of the square product that stands for the machine
MATRIX = (20_000, 5_000), 4_000_000  # the matrix case of the speed table


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    function()
    return clock() - start


def scattered(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """`count` distinct coordinates, shape ``(count, order)``, in random order."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(shape, dtype=np.int64))
    if 4 * count > cells:
        flat = rng.permutation(cells)[:count]
    else:
        flat = rng.permutation(np.unique(rng.integers(0, cells, count + count // 4)))[:count]
    return np.column_stack(np.unravel_index(flat, shape))


@cache
def problem(shape: tuple[int, ...] = MATRIX[0], count: int = MATRIX[1]) -> Entries:
    """Entries with normal values, sorted."""
    indices = scattered(shape, count)
    return Entries(Observations.from_indices(indices, np.random.default_rng(1).normal(size=len(indices)), shape=shape))


def _start(entries: Entries, rank: int) -> State:
    return with_random(entries, empty(entries), rank, np.random.default_rng(0))


def dgemm_gflops(square: np.ndarray, out: np.ndarray) -> float:
    n = len(square)
    return 2 * n**3 / seconds(lambda: np.matmul(square, square, out=out)) / 1e9


def row_kernel(rank: int, *, repeats: int = 5, shape=MATRIX[0], count: int = MATRIX[1]) -> dict[str, float]:
    """Updates of every mode's rows, and whole sweeps, in GFLOP/s over dgemm's, float64, measured by turns.

    Flops are counted in full, ``2 nnz R^2`` a mode, though the symmetric update does half of them. A
    ratio is the median of the ratios of neighbouring runs. ``ratio`` and ``sweep_ratio`` are on all
    processors by the wall clock; ``one_thread_ratio`` on one thread by its processor time, which
    other programs on the machine disturb less.
    """
    entries = problem(tuple(shape), count)
    state = _start(entries, rank)
    square = np.random.default_rng(0).normal(size=(DGEMM, DGEMM))
    out = np.empty_like(square)
    flops = 2.0 * entries.size * rank**2 * entries.order

    def rows() -> None:
        for own in entries.modes:
            update_mode(entries, state, own, PLAIN, workers, measure=False)

    machine, kernel, whole, single = [], [], [], []
    with Workers() as workers:  # compiles, and warms what is warmed
        sweep(entries, state, PLAIN, workers)
    dgemm_gflops(square, out)
    for _ in range(repeats):
        machine.append(dgemm_gflops(square, out))
        with Workers() as workers:
            kernel.append(flops / seconds(rows) / 1e9)
            whole.append(flops / seconds(lambda: sweep(entries, state, PLAIN, workers)) / 1e9)
        with Workers(1) as workers:  # holds BLAS to one thread as well
            share = 2.0 * DGEMM**3 / flops
            single.append(seconds(lambda: np.matmul(square, square, out=out), time.thread_time) / seconds(rows, time.thread_time) / share)
    return {
        "dgemm_gflops": statistics.median(machine),
        "kernel_gflops": statistics.median(kernel),
        "ratio": statistics.median(k / m for k, m in zip(kernel, machine, strict=True)),
        "sweep_ratio": statistics.median(w / m for w, m in zip(whole, machine, strict=True)),
        "one_thread_ratio": statistics.median(single),
    }


def set_up(rank: int = 32, *, repeats: int = 3, shape=MATRIX[0], count: int = MATRIX[1]) -> dict[str, float]:
    """Time to sort the entries by every mode over one sweep's; and from coordinates in any order, checked, over one sweep's."""
    indices = scattered(shape, count)
    values = np.random.default_rng(1).normal(size=len(indices))
    obs = Observations.from_indices(indices, values, shape=shape)
    entries = Entries(obs)
    state = _start(entries, rank)
    sorts, reads, sweeps = [], [], []
    with Workers() as workers:
        sweep(entries, state, PLAIN, workers)
        for _ in range(repeats):
            reads.append(seconds(lambda: Observations.from_indices(indices, values, shape=shape)))
            sorts.append(seconds(lambda: Entries(obs)))
            sweeps.append(seconds(lambda: sweep(entries, state, PLAIN, workers)))
    pairs = list(zip(reads, sorts, sweeps, strict=True))
    return {
        "sort_seconds": statistics.median(sorts),
        "read_seconds": statistics.median(reads),
        "sweep_seconds": statistics.median(sweeps),
        "sort_ratio": statistics.median(s / w for _, s, w in pairs),
        "whole_ratio": statistics.median((r + s) / w for r, s, w in pairs),
    }


def bytes_an_entry(shape=(400, 300, 200), count: int = 2_000_000) -> dict[str, float]:
    """Memory of order-3 float64 entries, the input counted: what is held when sorted, and the peak while sorting."""
    Entries(Observations.from_indices(scattered((4, 3, 2), 20), np.ones(20)))  # what is imported on the way is not the entries'
    indices = scattered(shape, count)
    values = np.random.default_rng(1).normal(size=count)
    gc.collect()
    tracemalloc.start()
    try:
        obs = Observations.from_indices(indices, values, shape=shape)
        gc.collect()
        tracemalloc.reset_peak()
        entries = Entries(obs)
        held, peak = tracemalloc.get_traced_memory()
        owned = sum(a.nbytes for a in (obs.coords, obs.values))
    finally:
        tracemalloc.stop()
    del entries
    return {"input": owned / count, "held": held / count, "peak": peak / count}
