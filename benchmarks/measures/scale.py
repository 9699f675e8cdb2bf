"""Power-law arrays of any number of entries, made a chunk at a time; sweeps, memory and answers on them, here and on a Dask cluster."""

from __future__ import annotations

import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Chunks, Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem, State, sweep
from rankless.io.chunks import Scan
from rankless.large import complete
from rankless.runtime.workers import Workers

SHAPE = (1_000_000, 100_000, 1000)
COUNTS = (1_000_000, 10_000_000, 100_000_000)
TRUE_RANK, NOISE, RANK = 4, 0.5, 16
PROBLEM = Problem(0.0, 8.0, tol=0.0, max_sweeps=12)
TIMED = 5  # sweeps whose median is the time of one
_POWER, _POPULAR = 0.7, 2.5  # counts of users fall as their rank to this power; items crowd at the first ones with that
_CHUNK = 2**20


@dataclass(frozen=True)
class Ratings:
    """About `count` entries of a planted array: users with power-law counts, popular items, noise; the same at every reading."""

    count: int
    shape: tuple[int, int, int]
    seed: int = 0

    def factors(self) -> list[np.ndarray]:
        rng = np.random.default_rng((self.seed, 1))
        return [rng.normal(size=(d, TRUE_RANK)).astype(np.float32) for d in self.shape]

    def wanted(self) -> np.ndarray:
        """Entries drawn for each user; of those that fall on one cell one stays."""
        share = np.random.default_rng((self.seed, 2)).permutation(np.arange(1, self.shape[0] + 1) ** -_POWER)
        edges = np.rint(np.cumsum(share) / share.sum() * self.count).astype(np.int64)
        return np.diff(np.concatenate([[0], edges]))

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        wanted, factors = self.wanted(), self.factors()
        cuts = np.searchsorted(np.cumsum(wanted), np.arange(_CHUNK, self.count + _CHUNK, _CHUNK), side="right")
        for number, (first, last) in enumerate(zip([0, *cuts[:-1]], cuts, strict=True)):
            rng = np.random.default_rng((self.seed, 3, number))
            users = np.repeat(np.arange(first, last), wanted[first:last])
            keys = np.unique(
                (users * self.shape[1] + self._items(rng, len(users))) * self.shape[2] + rng.integers(0, self.shape[2], len(users))
            )
            rng.shuffle(keys)
            coords = np.stack(np.unravel_index(keys, self.shape)).astype(np.int32)
            yield coords, (truth(factors, coords) + NOISE * rng.standard_normal(coords.shape[1])).astype(np.float32)

    def _items(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return (self.shape[1] * rng.random(count) ** _POPULAR).astype(np.int64)

    def chunks(self) -> Chunks:
        counts = [np.zeros(d, np.int64) for d in self.shape]
        for coords, _ in self():
            for count, coordinate in zip(counts, coords, strict=True):
                count += np.bincount(coordinate, minlength=len(count))
        return Chunks(self.shape, tuple(counts), self)

    def asked(self, count: int = 200_000) -> np.ndarray:
        """Different cells, drawn like those that were observed, which few of them are."""
        rng = np.random.default_rng((self.seed, 4))
        users = rng.choice(self.shape[0], count, p=self.wanted() / self.wanted().sum())
        return np.unique(np.stack([users, self._items(rng, count), rng.integers(0, self.shape[2], count)]), axis=1)


def truth(factors: list[np.ndarray], coords: np.ndarray) -> np.ndarray:
    """The planted values, of unit variance, at coordinates ``(3, n)``."""
    return np.einsum("er,er,er->e", *(f[c] for f, c in zip(factors, coords, strict=True))) / np.sqrt(TRUE_RANK)


def peak_bytes() -> int:
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # pyright: ignore[reportOptionalSubscript]


def here(count: int, dtype: str = "float32", shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    """Reading, sorting, sweeping on this machine: seconds, and the peak of memory over what it was before."""
    warm = Ratings(1000, (100, 50, 10))
    Entries.collected(warm.chunks(), np.dtype(dtype).type)  # what is compiled and imported is not the entries'
    ratings = Ratings(count, shape)
    ratings.factors()
    start = time.perf_counter()
    chunks = ratings.chunks()
    counted = time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = peak_bytes()
    entries = Entries.collected(chunks, np.dtype(dtype).type)
    sorted_at = time.perf_counter()
    peak = peak_bytes()
    timed = with_random(entries, empty(entries), RANK, np.random.default_rng(0))
    times = []
    with Workers() as workers:
        sweep(entries, timed, PROBLEM, workers)
        for _ in range(TIMED):
            at = time.perf_counter()
            sweep(entries, timed, PROBLEM, workers)
            times.append(time.perf_counter() - at)
    return {
        "entries": entries.size,
        "read_seconds": counted - start,
        "sort_seconds": sorted_at - counted,
        "sweep_seconds": statistics.median(times),
        "bytes_held": entries.nbytes / entries.size,
        "bytes_peak": (peak - before) / entries.size,
        "peak_gib": peak_bytes() / 2**30,
    }


def made(chunks: Chunks) -> Scan:
    """Entries that come from no file, as those of one."""
    return Scan(Path("made"), chunks, ("user", "item", "week")[: len(chunks.shape)], tuple(np.arange(d) for d in chunks.shape), "value")


def answer(count: int, shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    """What `rankless.large.complete` makes of the same entries with every default: rank, error, seconds, the process's peak."""
    ratings = Ratings(count, shape)
    scan = made(ratings.chunks())
    start = time.perf_counter()
    done = complete(scan)
    seconds = time.perf_counter() - start
    asked = ratings.asked()
    return {
        "entries": scan.size,
        "answer_seconds": seconds,
        "peak_gib": peak_bytes() / 2**30,
        "rank": done.model.rank,
        "depth": done.depth,
        "rmse": float(np.sqrt(np.mean((done.predict(asked.T) - truth(ratings.factors(), asked)) ** 2))),
    }


# --- what it should take ----------------------------------------------------------------------------------


def moved(shape: Sequence[int], rank: int, workers: int, itemsize: int, *, leaps: float = 1.0) -> tuple[float, float]:
    """Bytes of a sweep that go to `workers`, and that come back; `leaps` is the share of leaps ahead that are not taken.

    To: all factors when the step ahead is looked at, once more where it is not taken, and each but the last
    after its update. Back: every row once; of the last mode each row's energies, and its loss twice.
    """
    rows, last = sum(shape), shape[-1]
    out = workers * rank * itemsize * ((1 + leaps) * rows + rows - last)
    return out, rank * itemsize * (rows + last) + 2 * 8 * last


# --- on a cluster -----------------------------------------------------------------------------------------


def cluster(workers: int, kills: int = 0, count: int = 3_000_000, shape: tuple[int, int, int] = (30_000, 5_000, 200)) -> dict[str, Any]:
    """A fit by worker processes of one thread each beside the same fit by as many threads; `kills` times a worker is killed meanwhile."""
    from distributed import Client, LocalCluster

    from rankless.als.cluster import ClusterEntries

    ratings = Ratings(count, shape)
    chunks = ratings.chunks()
    entries = Entries.collected(chunks)
    with Workers(workers) as threads:
        mine, own, history = _fitted(entries, threads)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as local,
        Client(local) as client,
    ):
        remote = ClusterEntries.reading(chunks, client)
        client.gather([client.submit(_nothing, part, pure=False) for part in remote._parts])  # all have read
        killer = _Killer(client, kills)
        with Workers(1) as one:
            remote.bytes_sent = remote.bytes_received = 0
            theirs, away, told = _fitted(remote, one, killer)
        killer.end()
    sweeps = len(told)
    apart = max(float(np.max(np.abs(a - b)) / np.max(np.abs(a))) for a, b in zip(own.model().factors, away.model().factors, strict=True))
    return {
        "entries": entries.size,
        "killed": killer.killed,
        "same": own.stack.tobytes() == away.stack.tobytes() and history == told,
        "apart": apart,
        "threads_seconds": mine / sweeps,
        "cluster_seconds": theirs / sweeps,
        "sent": remote.bytes_sent / sweeps,
        "received": remote.bytes_received / sweeps,
    }


def _fitted(entries: Entries, workers: Workers, killer: _Killer | None = None) -> tuple[float, State, list[float]]:
    """Seconds of twelve sweeps, the state after them and the objective's history."""
    state = with_random(entries, empty(entries), RANK, np.random.default_rng(0))
    sweep(entries, state, PROBLEM, workers)
    if killer is not None:
        killer.begin()
    start = time.perf_counter()
    trace = settle(entries, state, PROBLEM, workers, pruning=False)
    return time.perf_counter() - start, state, trace.objective


def _nothing(part: Any) -> None:
    return None


class _Killer:
    """Kills a worker every so often, as many times as asked, each time another."""

    def __init__(self, client: Any, times: int):
        self._client, self._times, self.killed, self._stop = client, times, 0, threading.Event()
        self._workers = len(client.nthreads())
        self._thread = threading.Thread(target=self._kill)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _kill(self) -> None:
        while self.killed < self._times and not self._stop.wait(0.3):
            self._client.wait_for_workers(self._workers, timeout=60)
            pids = sorted(self._client.run(os.getpid).values())
            os.kill(pids[self.killed % len(pids)], signal.SIGKILL)
            self.killed += 1
