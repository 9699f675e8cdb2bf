"""`complete`: search in a sample, refit on all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.als.annealing import anneal, empty
from rankless.als.entries import Chunks, Entries
from rankless.als.modes import packing
from rankless.als.settle import settle
from rankless.als.solver import Problem, State, balance, update_mode
from rankless.completer import TensorCompleter
from rankless.io.chunks import ROWS, Scan, scan
from rankless.large import offsets
from rankless.large.answer import LargeCompletion
from rankless.large.sample import Sample, held_out, sampled
from rankless.large.spread import Spread
from rankless.runtime.memory import check_room
from rankless.runtime.progress import Callback, Tracker, log, shown
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

if TYPE_CHECKING:
    from distributed import Client

SEARCHED = 300_000  # entries that are searched
_HELD, _HELD_SMALL = 0.01, 0.1  # share of the entries that are held out to be scored on; of small files, at most
_HELD_LEAST, _HELD_MOST = 1000, 200_000  # their number, at least and at most
_REFIT = Problem(0.0, 1.0, tol=1e-4, max_sweeps=40, forgiving=True)
_OFFERS = 2  # times, at most, that components are offered to the refit
KNOWN = ("depth", "penalty", "max_rank", "effects")  # options that may be passed
_PLAIN: dict[str, Any] = {"noise": None, "experts": ["components"], "value_transform": None, "smooth": None}


def complete(
    path: str | os.PathLike | Scan,
    *,
    modes: Sequence[str] | None = None,
    value: str | None = None,
    index_base: int | None = None,
    dtype: Any = np.float32,
    searched: int = SEARCHED,
    random_state: int = 0,
    n_jobs: int | None = None,
    client: Client | None = None,
    rows: int = ROWS,
    verbose: bool = False,
    callback: Callback | None = None,
    **options: Any,
) -> LargeCompletion:
    """Fit a .parquet, .csv, .tns, .nc or .zarr file that need not fit in memory.

    Parameters
    ----------
    modes, value, index_base : as `rankless.read` takes them.
    dtype : of the entries and factors; at order 3 an entry takes 28 bytes or less in float32, 40 or less in float64
        (32 and 48 where two coordinates together take more than 32 bits).
    searched : entries, in whole slices, on which depth, penalty, effects and rank are chosen.
    client : a Dask client: its workers read the file, each a part of it, and none holds it all. The numbers are the same.
    options : `depth`, `penalty`, `max_rank` or `effects` of `TensorCompleter`, where they are known.

    Raises ValueError for what isn't such a file, a coordinate that stands twice, what would not fit in memory, and an option that only
    `rankless.complete` knows: what is refitted on all entries are squares, without signs.
    """
    for name in options:
        if name not in KNOWN:
            raise ValueError(
                f"{name}={options[name]!r} is not known to fits of large files, which know {', '.join(KNOWN)}; "
                "pass the data to rankless.complete where they fit in memory"
            )
    with shown(verbose) as bar, Workers(n_jobs, tracker=Tracker(bar, callback)) as workers:
        tracker = workers.tracker
        how: dict[str, Any] = {"modes": modes, "value": value, "index_base": index_base, "rows": rows, "tracker": tracker}
        scanned = path if isinstance(path, Scan) else scan(path, **how)
        if client is None:
            mend = "pass client= to share them out, or dtype=np.float32"
            check_room(entries_bytes(scanned.chunks, dtype), f"sorting {scanned.size:,} entries", lambda have: mend)
        tracker.stage("holding out entries to be scored on")
        rest, held = held_out(scanned.chunks, _held_share(scanned.size), random_state)
        tracker.stage(f"sorting {scanned.size:,} entries")
        entries = _entries(rest, dtype, client)
        first, second = np.random.default_rng(random_state).spawn(2)
        tracker.stage("choosing slices to search")
        sample = sampled(entries, searched, first)
        log.info("searching %d of %d entries", sample.obs.size, entries.size)
        found = TensorCompleter(random_state=random_state, n_jobs=n_jobs, **_PLAIN, **options)
        found.fit(sample.obs, callback=lambda now: tracker.stage(f"a sample of {sample.obs.size:,} entries: {now}", now.fraction))
        effects = None
        if found.effects_:
            tracker.stage("main effects of all entries")
            effects, unit = offsets.fit(entries)
        else:
            unit = float(entries.unit)
        offset = effects or MainEffects.constant(0.0, scanned.shape)
        entries = entries.shifted(offset.mean, np.concatenate(offset.effects), 1.0 / unit)
        odd = np.arange(held.size) % 2 == 1
        judge, jury = held.subset(~odd), held.subset(odd)  # one may choose, the other has seen no choice
        left = judge.with_values((judge.values - offset.at(judge.indices)) / unit)
        model = refitted(entries, found, sample, unit, left, workers, second)
        done = LargeCompletion(
            model=model,
            effects=offset,
            modes=scanned.modes,
            labels=scanned.labels,
            value_name=scanned.value_name,
            depth=float(found.depth_),
            penalty=float(found.penalty_),
            size=scanned.size,
            holdout_rmse=float("nan"),
            source=scanned,
        )
        judged, errors = (part.values - done.predict(part.indices) for part in (judge, jury))
        return replace(done, holdout_rmse=error_on(done.predict, jury), spread=Spread.of(judge, judged, jury, errors))


def refitted(
    entries: Entries, found: TensorCompleter, sample: Sample, unit: float, judge: Observations, workers: Workers, rng: np.random.Generator
) -> CPTensor:
    """What was found in the sample, refitted on all: the slices that were not in it start from those that were.

    More components are offered, and kept where they lower the error on `judge`: the objective alone takes
    whatever fits the noise of so many slices.
    """
    problem = replace(_REFIT, depth=float(found.depth_), penalty=float(found.penalty_))
    start = found.model_.times(0, np.full(1, 1.0 / unit)).balanced()
    state = empty(entries)
    if start.rank:
        state = State(np.zeros((int(entries.offsets[-1]), start.rank), entries.dtype), entries.offsets)
        for mode, (factor, slices) in enumerate(zip(start.factors, sample.slices, strict=True)):
            state.factor(mode)[slices] = factor
        longest = int(np.argmax(entries.shape))
        workers.tracker.stage(f"refitting {start.rank} components on {entries.size:,} entries")
        for mode in (longest, *(m for m in range(entries.order) if m != longest)):
            update_mode(entries, state, entries.modes[mode], problem, workers, measure=False)
        balance(state)
        settle(entries, state, problem, workers)
    best, error = state.model(), error_on(state.model().at, judge)
    for _ in range(_OFFERS):
        workers.tracker.stage(f"offering more components than {state.rank}")
        state, trace = anneal(entries, state, problem, workers, rng, max(5, state.rank // 2))
        trial = state.model()
        now = error_on(trial.at, judge)
        if trace is None or not now < error:
            break
        best, error = trial, now
    return best.times(0, np.full(1, unit, entries.dtype)).balanced()


def _held_share(size: int) -> float:
    """Share of `size` entries that is held out."""
    return min(max(_HELD, _HELD_LEAST / size), _HELD_SMALL, _HELD_MOST / size)


def error_on(say: Callable[[np.ndarray], np.ndarray], held: Observations) -> float:
    """Root mean square error on entries that took no part; NaN where there are none."""
    return float(np.sqrt(np.mean((say(held.indices) - held.values) ** 2))) if held.size else float("nan")


def entries_bytes(chunks: Chunks, dtype: Any) -> int:
    """What sorted entries take, their rows included."""
    words = sum(packing(chunks.shape, mode)[1] for mode in range(len(chunks.shape)))
    size = int(chunks.counts[0].sum())
    return size * (4 * words + len(chunks.shape) * np.dtype(dtype).itemsize) + 24 * sum(chunks.shape)


def _entries(chunks: Chunks, dtype: Any, client: Client | None) -> Entries:
    if client is None:
        return Entries.collected(chunks, dtype)
    from rankless.als.cluster import ClusterEntries

    return ClusterEntries.reading(chunks, client, dtype)
