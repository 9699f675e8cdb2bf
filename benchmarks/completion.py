"""Completion of real data: rankless with nothing chosen, beside peers at every setting of their grids.

``python -m benchmarks completion`` measures rankless' own cells (docs/benchmarks/completion.csv), ``python -m benchmarks peers``
the peers' (docs/benchmarks/peers.csv); both write docs/benchmarks/completion.md from all that is finished.
"""

from __future__ import annotations

import statistics
from typing import Any

from campaign import data, page
from campaign.store import Cell, Store, median, numbers

from benchmarks import entries
from benchmarks.entries import SEEDS, TABLES
from benchmarks.measures import accuracy
from benchmarks.measures.peers import BURN_IN, LIMIT, PEERS, SAMPLES


def store(**how: Any) -> Store:
    return Store("completion", timed=False, **how)


def cell(cells: Store, name: str, pattern: str, share: float, seed: int) -> Cell:
    """One fit of one data set, measured where it is not on file."""
    key = {"data": name, "pattern": pattern, "hidden": share, "seed": seed}
    return cells.measure(key, lambda: accuracy.real(name, share, seed, pattern=pattern))


def of(cells: Store, name: str, pattern: str, share: float) -> list[Cell]:
    """The finished cells of one table."""
    return cells.current(data=name, pattern=pattern, hidden=share)


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for seed in SEEDS:
        for name in data.available():
            for pattern, share in TABLES:
                print(cell(cells, name, pattern, share, seed), flush=True)
    write()


def vouch() -> None:
    """Accept the cells of older code where today's gives the same numbers."""

    def again(old: Cell) -> dict[str, float | str]:
        return accuracy.real(old["data"], float(old["hidden"]), int(old["seed"]), pattern=old["pattern"])

    if store().vouch(("data", "pattern", "hidden"), again):
        write()


def write() -> None:
    cells, theirs, today = store(aged=True), entries.entries(), store()
    head = ["data", "hidden"]
    names = [peer.name for peer in PEERS]
    tuned = [peer.name for peer in PEERS if len(peer.grid) > 1]
    ratios, best, untuned, times = [], [], [], []
    for pattern, shares in data.PATTERNS.items():
        for name in data.NAMES:
            for share in shares:
                ours, found = of(cells, name, pattern, share), theirs[name, pattern, share]
                if not ours and not any(entry.cells for entry in found):
                    continue
                line = [name, f"{share:.0%} {pattern}"]
                older = " †" if len(of(today, name, pattern, share)) < len(ours) else ""
                ratios.append([name, line[1] + older, *_ratio(ours, found)])
                best.append([*line, *_errors([entry.best() for entry in found])])
                untuned.append([*line, *_errors([e.untuned() for e in found if e.peer.name in tuned])])
                seconds = [page.number(median(ours, "processor"), 2), *(page.number(e.scan(), 2) for e in found)]
                times.append([*line, *seconds])
    every = [entry for found in theirs.values() for entry in found]
    missing = sum(entry.missing() for entry in every)
    page.write(
        "completion",
        "Completion of real data: nothing chosen, beside peers at their best",
        _protocol(),
        "## Ours over the best peer",
        "Ours: median over seeds, least and greatest in parentheses. The peer is the one of least error, at the setting that is best on "
        "the very cells that are scored; the last column is the processor time of its scan, all settings once, over one call of ours."
        + (" † holds cells of older code." if any("†" in row[1] for row in ratios) else ""),
        page.table([*head, "ours", "by seed", "best peer", "its error", "ours over it", "ranks of the fits", "its scan over ours"], ratios),
        "## Peers, each at its best setting",
        "Chosen on the cells that are scored, seed by seed; the least of each row in bold.",
        page.table([*head, *names], best),
        "## Peers, nothing tuned",
        "At the default where the library has one, at rank 10 where a rank must be given, at a rate of 0.1 for LRTC-TNN. "
        "The others have one setting.",
        page.table([*head, *tuned], untuned),
        "## Seconds",
        "Seconds of processor time on one thread: one call of ours, and every setting of a peer's grid once. They may be measured on a "
        "busy machine, so they are rough. The first fit of a run counts the import of its library.",
        page.table([*head, "ours", *names], times),
        f"Every cell is in [completion.csv](completion.csv) (ours) and [peers.csv](peers.csv). Seeds {SEEDS[0]} to {SEEDS[-1]}; "
        + (f"{missing} fits of peers are not measured yet." if missing else "all fits of peers are measured."),
    )


def _protocol() -> str:
    runs = data.RUN
    return (
        "`rankless.complete(array)` with every default, on one thread. NRMSE = RMSE over the standard deviation of the hidden cells. "
        "Values are standardised, Met Office and New York by variable, Birmingham as a whole with its zeros missing; the one New York "
        "gust above 900 mph is removed. Three patterns of hiding: *cells*, each for itself "
        "(`numpy.random.RandomState(seed).rand(*shape) < share`); *fibres*, whole days of a car park (Birmingham), of an airport and "
        "variable (New York), whole years of a station and variable (Met Office); *blocks*, the same in runs of "
        f"{runs['birmingham_parking']} days, {runs['nyc_airport_weather']} days and {runs['metoffice_2001_2020']} years. "
        "\n\nPeers: mean; main effects; straight lines in time, over midnight and the turn of the year; "
        "tensorly `parafac(mask)`, pyttb `gcp_opt` and SMURFF, CP at ranks 3, 10 and 30; HaLRTC, and "
        "LRTC-TNN at rates 0.05 to 0.3, written from their papers; on the matrix of times by sensors (with variables), cmfrec at ranks 3, "
        "10 and 30 with penalties 10 (its default) and 1, scikit-learn's IterativeImputer (from all columns, its default, and from the 10 "
        f"nearest) and KNNImputer (3, 5, 10 neighbours). SMURFF's chain has {BURN_IN} + {SAMPLES} steps, its noise is fixed at the "
        "default, adaptive, or adaptive up to a signal-to-noise ratio of 1000. "
        f"pyttb's L-BFGS-B is stopped after {LIMIT:.0f} processor seconds "
        "(200 in cells on file without a processor time: none took as long)."
    )


def _ratio(ours: list[Cell], found: list[entries.Entry]) -> list[str]:
    entry, errors = entries.best(found), numbers(ours, "nrmse")
    peer = [entry.peer.name, f"{entry.best():.4f}"] if entry else ["-", "-"]
    if not errors:
        return ["-", "-", *peer, "-", "-", "-"]
    spread = f"**{statistics.median(errors):.4f}** ({min(errors):.4f}-{max(errors):.4f})"
    by_seed = sorted(ours, key=lambda c: c["seed"])
    each = " ".join(f"{float(c['nrmse']):.4f}" for c in by_seed)
    ranks = " ".join(c["parts"] for c in by_seed)
    scan = entry.scan() / median(ours, "processor") if entry else float("nan")
    return [spread, each, *peer, page.number(entries.over_best(ours, found)), ranks, page.number(scan, 2)]


def _errors(errors: list[float]) -> list[str]:
    least = min((e for e in errors if e == e), default=float("nan"))
    return [f"**{e:.3f}**" if e == least else page.number(e) for e in errors]
