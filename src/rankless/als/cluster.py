"""Entries whose rows live on the workers of a Dask cluster: the same kernels, and only factors move.

    a part   = a range of rows of every mode; each worker has one, as large as it has threads
    a sweep  = for each mode: factors that changed go to the workers, its updated rows come back

What is computed is what threads of one machine compute, row by row by the same kernel, and all sums over rows are made
here, in the same order: the numbers are the same, however many workers there are. All else (balancing, pruning,
annealing) happens here too. All that workers hold, parts and factors, are results of tasks, which Dask runs again
elsewhere when a worker is lost; an update reads nothing that it writes. Only public calls of Dask's are used.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.als import rows
from rankless.als.entries import CHANGED, Chunks, Entries, square_of_rows
from rankless.als.modes import Range, SortedMode, even_parts
from rankless.als.rows import Terms
from rankless.runtime.workers import Workers
from rankless.tensors.canonical import canonical

if TYPE_CHECKING:
    from distributed import Client, Future

_TRIES = 5  # times that Dask may give up an update, each after its own tries
_LARGE = 2**20  # bytes of an argument that goes to the workers once, not with every call

Place = Callable[["Rows", str], Any]


@dataclass(frozen=True)
class Rows:
    """The rows of a part, in every mode, and the threads that update them."""

    ranges: tuple[Range, ...]
    threads: int


@dataclass(frozen=True, eq=False)
class Part:
    """What a worker holds: the entries of these rows, sorted by each mode."""

    rows: Rows
    modes: list[SortedMode]


@dataclass(frozen=True)
class RemoteMode:
    """A mode whose rows are elsewhere: rows ``ranges[p]`` in part `p`."""

    mode: int
    base: int
    rows: int
    ranges: tuple[Range, ...]


class ClusterEntries(Entries):
    """`Entries` in parts on the workers of `client`; see the module.

    `bytes_sent` and `bytes_received` count what the factors took: a factor counts once for each worker it goes to.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        counts: Sequence[np.ndarray],
        dtype: Any,
        client: Client,
        place: Place,
    ):
        """`place` makes the future of a part, given its rows and the address of the worker that is to hold it."""
        self._client: Any = client  # to a type checker each of its calls may be a coroutine
        threads = dict(sorted(self._client.nthreads().items()))
        if not threads:
            raise ValueError("the Dask cluster has no worker; start one (dask worker ADDRESS), or leave out client=")
        self.shape, self.order, self.size = shape, len(shape), int(counts[0].sum())
        self._counts = counts
        self.dtype, self.offsets = np.dtype(dtype), np.concatenate([[0], np.cumsum(shape)])
        cuts = [even_parts(count, list(threads.values())) for count in counts]
        self.modes: Any = [RemoteMode(m, int(self.offsets[m]), shape[m], tuple(ranges)) for m, ranges in enumerate(cuts)]
        parts = zip(zip(*cuts, strict=True), threads.items(), strict=True)
        self._parts: list[Any] = [place(Rows(ranges, count), address) for ranges, (address, count) in parts]
        self._factors: dict[int, tuple[np.ndarray, Future]] = {}
        self.bytes_sent = self.bytes_received = 0

    @classmethod
    def of(cls, entries: Entries, client: Client) -> ClusterEntries:
        """Entries of this machine, sent to the workers once; the scheduler keeps a copy, for workers that are lost."""

        def place(rows: Rows, address: str) -> Future:
            modes = [own.part(first, last) for own, (first, last) in zip(entries.modes, rows.ranges, strict=True)]
            return _held(client, Part(rows, modes), workers=[address], allow_other_workers=True)

        self = cls(entries.shape, [own.counts() for own in entries.modes], entries.dtype, client, place)
        self.square, self.unit = entries.square, entries.unit
        return self

    @classmethod
    def reading(cls, chunks: Chunks, client: Client, dtype: Any = np.float64) -> ClusterEntries:
        """Entries that each worker reads for itself, and reads again for a worker that was lost: no machine holds them all.

        The workers must be able to read what the chunks read: a file on a disk that they share.
        """
        source = _held(client, chunks)

        def place(rows: Rows, address: str) -> Future:
            return client.submit(read_part, source, rows, dtype, pure=False, workers=[address], allow_other_workers=True)

        self = cls(chunks.shape, chunks.counts, dtype, client, place)
        self._measure()
        return self

    def counts(self, mode: int) -> np.ndarray:
        return self._counts[mode]

    def shifted(self, mean: float, effects: np.ndarray, factor: float) -> ClusterEntries:
        held = _held(self._client, effects)
        self._parts = [self._client.submit(_shifted, part, mean, held, factor, pure=False) for part in self._parts]
        self._measure()
        return self

    def _measure(self) -> None:
        self.square = float(np.concatenate(self.over(0, _squares)).sum())
        self.unit = np.sqrt(self.square / self.size)

    # --- what a sweep asks of entries ---------------------------------------------------------------

    def update_rows(self, own: RemoteMode, stack, terms: Terms, start: int, losses, energies, workers: Workers) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = self._with_factors(own.mode, _updated, stack, terms, start)
        for (first, last), (fresh, lost, energy) in zip(own.ranges, found, strict=True):
            stack[own.base + first : own.base + last] = fresh
            if terms.measure:  # rows that another half of the update measures are 0 in this one
                losses[first:last] += lost
                energies[first:last] += energy

    def measure_rows(self, own: RemoteMode, stack, losses, workers: Workers) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for (first, last), lost in zip(own.ranges, self._with_factors(own.mode, _measured, stack), strict=True):
            losses[first:last] = lost

    # --- the cluster's side -------------------------------------------------------------------------

    def over(self, mode: int, function: Callable, *args) -> list[Any]:
        """``function(own, (first, last), *args)`` of each part of a mode and its rows first..last, on its worker."""
        shared = [_held(self._client, arg) if getattr(arg, "nbytes", 0) > _LARGE else arg for arg in args]
        return self._gathered(lambda part: self._client.submit(_over, function, part, mode, *shared, pure=False))

    def _with_factors(self, mode: int, function: Callable, stack: np.ndarray, *args) -> list[Any]:
        """``function(own, (first, last), stack, workers, *args)`` of each part, on the threads of its worker."""
        return self._gathered(lambda part: self._client.submit(_with_stack, function, part, mode, self._sent(stack), args, pure=False))

    def _gathered(self, call: Callable[[Any], Any]) -> list[Any]:
        """What `call` submits for each part; all of it once more where Dask gives up."""
        from distributed import KilledWorker

        for _ in range(_TRIES - 1):
            with contextlib.suppress(KilledWorker):  # several workers in a row were lost under one task
                return self._counted(self._client.gather([call(part) for part in self._parts]))
            self._factors = {}
        return self._counted(self._client.gather([call(part) for part in self._parts]))

    def _counted(self, found: list[Any]) -> list[Any]:
        self.bytes_received += sum(map(_size, found))
        return found

    def _sent(self, stack: np.ndarray) -> list[Future]:
        """Each mode's factor on all workers; what they have already is not sent again."""
        for mode in range(self.order):
            factor = stack[self.offsets[mode] : self.offsets[mode + 1]]
            known = self._factors.get(mode)
            if known is None or not np.array_equal(known[0], factor, equal_nan=True):
                copy = factor.copy()
                self._factors[mode] = copy, _held(self._client, copy)
                self.bytes_sent += copy.nbytes * len(self._client.nthreads())
        return [self._factors[mode][1] for mode in range(self.order)]


# --- what runs on a worker ----------------------------------------------------------------------------


def read_part(chunks: Chunks, rows: Rows, dtype: Any) -> Part:
    """Of every mode the rows in its range, from all chunks."""
    kept: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in rows.ranges]
    for coords, values in chunks.read():
        for mode, (first, last) in enumerate(rows.ranges):
            mine = (coords[mode] >= first) & (coords[mode] < last)
            kept[mode].append((coords[:, mine].astype(np.int32, copy=False), values[mine].astype(dtype)))
    modes = []
    for mode, (first, last) in enumerate(rows.ranges):
        coords = np.concatenate([c for c, _ in kept[mode]], axis=1)
        values = np.concatenate([v for _, v in kept[mode]])
        kept[mode] = []
        if len(values) != chunks.counts[mode][first:last].sum():
            raise ValueError(CHANGED)
        coords, values, _ = canonical(coords, values, None, chunks.shape, "error")
        modes.append(SortedMode.of(coords, chunks.shape, mode, values, np.empty(0, dtype)).part(first, last))
    return Part(rows, modes)


def _held(client: Any, data: Any, **where: Any) -> Any:
    """`data` as the result of a task."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)  # and what it advises, scatter, is lost with a worker
        return client.submit(_itself, data, pure=False, **where)


def _itself(data: Any) -> Any:
    return data


def _over(function: Callable, part: Part, mode: int, *args: Any) -> Any:
    return function(part.modes[mode], part.rows.ranges[mode], *args)


def _with_stack(function: Callable, part: Part, mode: int, factors: list[np.ndarray], args: tuple) -> Any:
    with Workers(part.rows.threads) as workers:
        return function(part.modes[mode], part.rows.ranges[mode], np.concatenate(factors), workers, *args)


def _updated(own: SortedMode, part: Range, stack: np.ndarray, workers: Workers, terms: Terms, start: int) -> tuple[np.ndarray, ...]:
    first, last = part
    rank = stack.shape[1]
    losses = np.zeros(own.rows if terms.measure else 0)
    energies = np.zeros((own.rows if terms.measure else 0, rank), stack.dtype)
    terms = replace(terms, guard=terms.guard.copy(), root=terms.root.copy())  # what came over a wire may be read-only
    rows.update(own, stack, terms, start, losses, energies, workers)
    return stack[own.base + first : own.base + last].copy(), losses[first:last].copy(), energies[first:last].copy()


def _measured(own: SortedMode, part: Range, stack: np.ndarray, workers: Workers) -> np.ndarray:
    losses = np.zeros(own.rows)
    rows.measure(own, stack, losses, workers)
    return losses[part[0] : part[1]].copy()


def _shifted(part: Part, mean: float, effects: np.ndarray, factor: float) -> Part:
    """A part with other values; what was held stays as it is, for it may be asked for again."""
    fresh = [replace(own, values=own.values.copy()) for own in part.modes]
    return replace(part, modes=[own.shifted(mean, effects.copy(), factor) for own in fresh])


def _squares(own: SortedMode, part: Range) -> np.ndarray:
    return square_of_rows(own)[part[0] : part[1]].copy()


def _size(result: Any) -> int:
    return sum(map(_size, result)) if isinstance(result, tuple) else result.nbytes
