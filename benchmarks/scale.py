"""Entries by the million: time, memory and error here; the same numbers, and what they cost, on a Dask cluster."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from campaign import alone as processes
from campaign import page
from campaign.machine import LARGE, SWEEPS, cores, source_stamp
from campaign.store import Cell, Store

from benchmarks.measures import scale, scale_peers
from rankless.als.modes import packing

SHAPE = scale.SHAPE
CLUSTERS = (2, 0), (4, 0), (2, 10)  # workers, and how many are killed
OURS = "rankless"
PEERS = ["method", "seconds", "over rankless", "least RMSE"]
MADE = f"""Arrays planted with {scale.TRUE_RANK} components, values of unit variance, noise {scale.NOISE}; a user's entries fall
as a power of the user's rank, items crowd at the popular ones. A seeded script makes them a million at a time, and they are never
held but as sorted entries. *Counted* is the making and counting, *sorted* the sorting, *sweep* the median of {scale.TIMED} at
rank {scale.RANK}. *Bytes* are those held an entry, *peak* what sorting added to the process at most, over the entries."""
ANSWERS = """`rankless.large.complete` on the same entries, every default: from the counted entries to the answer, holding out, sorting,
search and refit included. *RMSE* is the distance from the planted values, which have unit variance, at cells drawn alike."""
ON_A_CLUSTER = f"""Worker processes of one thread each read their own part of three million entries, beside as many threads of one
process; float64, rank {scale.RANK}. *Same*: factors and the objective's history are equal to the bit. Bytes are those of a sweep;
the model is that of [scale](../scale.md), from every step ahead taken to none."""

BESIDE = f"""Ten million entries: seconds from coordinates to within 2 % of the error that `rankless.large.complete` ends with, which
chooses everything, each library's own sorting included. The others are told depth 0 or have no depth, are allowed rank
{scale.RANK} where {scale.TRUE_RANK} made the entries and {scale_peers.SWEEPS} sweeps, and get the best of the penalties
{", ".join(f"{p:g}" for p in scale_peers.PENALTIES)}, whose scan is not counted; SMURFF is told the noise that was planted. Error
is the distance from the planted values, which have unit variance, at cells that were drawn alike. pygenten is not on PyPI;
`implicit` takes what is absent for zero, so its errors are of another problem; Spark needs a Java runtime, which these measures
do not ask for."""


def store(**how: Any) -> Store:
    """Of all cells but those of whole answers."""
    return Store("scale", timed=True, stamp=source_stamp(SWEEPS), **how)


def answers(**how: Any) -> Store:
    """Of cells that hang on the search too."""
    return Store("scale", timed=True, stamp=source_stamp(LARGE), **how)


def alone(function: str, *args: object, module: str = "scale") -> dict[str, Any]:
    """A measure in a process of its own, whose peak of memory is its own."""
    return processes.alone(f"benchmarks.measures.{module}", function, *args)


def dense(count: int) -> tuple[int, int, int]:
    """A shape in which `count` entries lie as densely in its rows as the most do in the whole one."""
    share = count / scale.COUNTS[-1]
    return round(SHAPE[0] * share), round(SHAPE[1] * share), SHAPE[2]


def here(cells: Store, count: int, dtype: str = "float32", *, same_rows: bool = False) -> Cell:
    shape = SHAPE if same_rows else dense(count)
    key = {"what": "here", "count": count, "shape": " x ".join(map(str, shape)), "dtype": dtype, "workers": "", "kills": ""}
    return cells.measure(key, lambda: alone("here", count, dtype, shape))


def answer(cells: Store, count: int) -> Cell:
    shape = dense(count)
    key = {"what": "answer", "count": count, "shape": " x ".join(map(str, shape)), "dtype": "float32", "workers": "", "kills": ""}
    return cells.measure(key, lambda: alone("answer", count, shape))


def as_full(cells: Store) -> list[Cell]:
    """The cells on file whose rows are as full as those of the largest."""
    keys = [{"what": "here", "count": count, "shape": " x ".join(map(str, dense(count))), "dtype": "float32"} for count in scale.COUNTS]
    return [cell for key in keys if (cell := cells.find(key))]


def cluster(cells: Store, workers: int, kills: int = 0) -> Cell:
    key = {"what": "cluster", "count": "", "shape": "", "dtype": "float64", "workers": workers, "kills": kills}
    return cells.measure(key, lambda: scale.cluster(workers, kills))


def beside(cells: Store, whole: Store) -> None:
    """Each case by each method that is installed and holds it; `whole` answers are those of `OURS`."""
    for name in scale_peers.CASES:
        for method, (able, _) in scale_peers.METHODS.items():
            if name in able:
                key = {"what": f"beside: {name}", "count": "", "shape": method, "dtype": "", "workers": "", "kills": ""}
                (whole if method == OURS else cells).attempt(key, functools.partial(alone, "traced", name, method, module="scale_peers"))


def on_file(cells: Store) -> dict[str, dict[str, Cell]]:
    """For each case that was measured what each method reached when."""
    found = {name: {cell["shape"]: cell for cell in cells.current(what=f"beside: {name}")} for name in scale_peers.CASES}
    return {name: methods for name, methods in found.items() if OURS in methods}


def _beside_rows(found: dict[str, Cell]) -> list[list[str]]:
    """Time to within 2 % of our least error, and each method's own least."""
    least = {method: min(map(float, cell["rmse"].split())) for method, cell in found.items()}
    target = scale_peers.WITHIN * least[OURS]
    base = scale_peers.time_to(found[OURS], target)
    rows = []
    for method, cell in found.items():
        seconds = scale_peers.time_to(cell, target)
        there = math.isfinite(seconds)
        rows.append(
            [method, f"{seconds:.1f}" if there else "not reached", f"{seconds / base:.2f}" if there else "-", f"{least[method]:.4f}"]
        )
    return rows


def slope(found: list[Cell]) -> float:
    """Of the logarithm of a sweep's time against that of the entries."""
    entries, seconds = ([math.log(float(cell[name])) for cell in found] for name in ("entries", "sweep_seconds"))
    return float(np.polyfit(entries, seconds, 1)[0])


def constants(found: list[Cell]) -> tuple[float, float]:
    """Seconds of one core for an entry in one mode, and for a row: those that leave the least relative errors in the sweeps."""
    import scipy.optimize

    rows, ones = [], np.ones(len(found))
    for cell in found:
        seconds = cores() * float(cell["sweep_seconds"])
        rows.append([len(_sizes(cell)) * float(cell["entries"]) / seconds, sum(_sizes(cell)) / seconds])
    each, row = scipy.optimize.nnls(np.array(rows), ones)[0]
    return float(each), float(row)


def _sizes(cell: Cell) -> tuple[int, ...]:
    return tuple(map(int, cell["shape"].split(" x ")))


def _short(size: int) -> str:
    return f"{size // 10**6} M" if size % 10**6 == 0 else f"{size // 1000} k" if size % 1000 == 0 else str(size)


def model(entries: float, shape: tuple[int, ...], each: float, row: float, processors: int) -> float:
    """Seconds of a sweep on so many processors, by `docs/scale.md`."""
    return (len(shape) * entries * each + sum(shape) * row) / processors


def _billion(each: float, row: float) -> str:
    shape, workers, itemsize = (10_000_000, 1_000_000, 10_000), 16, 4
    work = model(1e9, shape, each, row, 16 * workers)
    out, back = scale.moved(shape, scale.RANK, workers, itemsize, leaps=0.0)
    wire = (out / workers + back) / 1.25e9  # each worker receives its share; the client receives all rows
    words = sum(packing(shape, mode)[1] for mode in range(3))
    held = 1e9 * (4 * words + 3 * itemsize) / workers / 2**30
    factors = sum(shape) * scale.RANK * itemsize / 2**30
    return page.table(
        ["what", "of each sweep, or worker"],
        [
            ["work, 256 cores", f"{work:.1f} s"],
            ["factors out and rows back, 10 Gbit/s", f"{wire:.1f} s"],
            ["entries a worker holds", f"{held:.1f} GiB"],
            ["factors a worker holds", f"{factors:.2f} GiB, twice while rows are updated"],
        ],
    )


def run(fresh: bool = False) -> None:
    """Measure what is not on file, writing the page after each part, so that a run cut short leaves one."""
    cells, whole = store(fresh=fresh), answers(fresh=fresh)
    for count in scale.COUNTS:
        here(cells, count)
        here(cells, count, same_rows=True)
    here(cells, scale.COUNTS[1], "float64")
    write()
    for count in scale.COUNTS:
        answer(whole, count)
    write()
    for workers, kills in CLUSTERS:
        cluster(cells, workers, kills)
    write()
    beside(cells, whole)
    write()


def write() -> None:
    """The page, of what is on file; cells of older code count, and the table says when they were measured."""
    cells = store(aged=True)
    dense_ones = as_full(cells)
    same = list(cells.current(what="here", shape=" x ".join(map(str, SHAPE))))
    same.sort(key=lambda cell: int(cell["count"]))
    double = cells.current(what="here", dtype="float64")
    clusters = cells.current(what="cluster")
    points = [*dense_ones, *same[:-1]]  # the largest is in both
    each, row_ = constants(points)
    columns = ["read_seconds", "sort_seconds", "sweep_seconds", "bytes_held", "bytes_peak", "peak_gib"]
    head = ["entries", "shape", "numbers", "counted, s", "sorted, s", "sweep, s", "bytes", "peak", "process, GiB"]

    def row(cell: Cell) -> list[str]:
        figures = [page.number(float(cell[column])) for column in columns]
        return [f"{int(cell['entries']):,}", " x ".join(map(_short, _sizes(cell))), cell["dtype"], *figures]

    largest = dense_ones[-1]
    page.write(
        "scale",
        "Entries by the million",
        MADE,
        page.table(head, [row(cell) for cell in (*dense_ones, *double)]),
        f"Each row as full as at the largest: time against entries has slope **{slope(dense_ones):.3f}** between logarithms. "
        f"The {int(largest['entries']):,} entries take {float(largest['peak_gib']):.1f} GiB in all.",
        "## Answers",
        ANSWERS,
        page.table(
            ["entries", "shape", "seconds", "process, GiB", "depth", "rank found", "RMSE"],
            [_answer_row(cell) for cell in sorted(cells.current(what="answer"), key=lambda cell: int(cell["count"]))],
        ),
        "## The same rows",
        "The same 1,101,000 rows at any number of entries: each row is a small system to be solved however little is known of it.",
        page.table(head, [row(cell) for cell in same]),
        "## A billion entries",
        f"By the model of [scale](../scale.md) an entry in one mode takes one core {1e9 * each:.0f} ns at this rank, "
        f"a row {1e6 * row_:.2f} us: the least relative errors over the float32 sweeps above.",
        page.table(
            ["entries", "shape", "a sweep, s", "by the model"],
            [
                [
                    f"{int(c['entries']):,}",
                    " x ".join(map(_short, _sizes(c))),
                    page.number(float(c["sweep_seconds"])),
                    _modelled(c, each, row_),
                ]
                for c in points
            ],
        ),
        "A billion entries, 10,000,000 x 1,000,000 x 10,000, float32, on 16 workers of 16 such cores:",
        _billion(each, row_),
        "## On a Dask cluster",
        ON_A_CLUSTER,
        page.table(
            ["workers", "killed", "same", "sweep by threads, s", "by workers, s", "over", "sent, MB", "model", "received, MB", "model"],
            [_cluster_row(cell) for cell in clusters],
        )
        if clusters
        else "Not measured yet.",
        "## Beside peers",
        BESIDE,
        *(f"**{name}**\n\n" + page.table(PEERS, _beside_rows(methods)) for name, methods in on_file(cells).items()),
        *([] if on_file(cells) else ["Not measured yet."]),
        f"Cells measured {', '.join(sorted({cell['date'] for cell in cells.cells()}))}.",
    )


def _answer_row(cell: Cell) -> list[str]:
    figures = [page.number(float(cell[column])) for column in ("answer_seconds", "peak_gib", "depth", "rank", "rmse")]
    return [f"{int(cell['entries']):,}", " x ".join(map(_short, _sizes(cell))), *figures]


def _modelled(cell: Cell, each: float, row: float) -> str:
    return page.number(model(float(cell["entries"]), _sizes(cell), each, row, cores()))


def _cluster_row(cell: Cell) -> list[str]:
    (least, back), (most, _) = (scale.moved((30_000, 5_000, 200), scale.RANK, int(cell["workers"]), 8, leaps=leaps) for leaps in (0.0, 1.0))
    ours, theirs = float(cell["threads_seconds"]), float(cell["cluster_seconds"])
    sent, received = float(cell["sent"]), float(cell["received"])
    return [
        cell["workers"],
        cell["killed"],
        "yes" if cell["same"] == "True" else f"to {float(cell['apart']):.0e}",
        f"{ours:.3f}",
        f"{theirs:.3f}",
        f"{theirs / ours:.2f}",
        f"{sent / 1e6:.1f}",
        f"{least / 1e6:.1f} to {most / 1e6:.1f}",
        *(f"{bytes_ / 1e6:.1f}" for bytes_ in (received, back)),
    ]
