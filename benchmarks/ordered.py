"""``python -m benchmarks ordered [--rows ...] [--seeds ...] [--peers-only]``: series along time, ours beside a straight line and others.

Ours is kept in docs/benchmarks/ordered.csv, the peers in docs/benchmarks/ordered_peers.csv as they are finished, and
docs/benchmarks/ordered.md is written of both. May be cut short and started again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from campaign import page, series
from campaign.machine import source_stamp
from campaign.store import Cell, Store, median, numbers, peers_store

from benchmarks import entries, rows
from benchmarks.entries import Entry
from benchmarks.measures import ordered
from benchmarks.measures.ordered import LINE, PEERS
from benchmarks.measures.peers import Peer

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Row:
    """One table: a set of series, a pattern of hiding and the share hidden."""

    data: str
    pattern: str
    share: float

    @property
    def name(self) -> str:
        """Such as ``stock_512/cells/50``."""
        return f"{self.data}/{self.pattern}/{100 * self.share:.0f}"


ROWS = tuple(
    Row(name, pattern, share)
    for name, patterns in {
        series.SMOOTH: (("cells", 0.4),),
        "chlorine_600": (("cells", 0.8),),
        "stock_1500": (("cells", 0.5), ("blocks", 0.3)),
        "stock_512": (("cells", 0.5),),
        "stock_520": (("cells", 0.5),),
        "air_quality": (("blackout", 0.2), ("cells", 0.5), ("last", 0.2)),
        "air_quality_41x24": (("blackout", 0.2), ("cells", 0.5), ("last", 0.2)),
        "eeg_alcohol": (("cells", 0.8), ("blocks", 0.3)),
        "electricity_56x24": (("cells", 0.8), ("blocks", 0.3)),
        series.NEW_YORK: (("cells", 0.2), ("cells", 0.5)),
    }.items()
    for pattern, share in patterns
)
SAME = {"air_quality_41x24": "air_quality"}  # the same series folded: the peers, who do not fold, are measured once


def store(**how: Any) -> Store:
    return Store("ordered", timed=False, **how)


def peers(peer: Peer, **how: Any) -> Store:
    """A peer's cells age with the library or the files that make them, not with our code."""
    if isinstance(peer.maker, str):
        return peers_store("ordered_peers", peer.maker, **how)
    return Store("ordered_peers", timed=False, stamp=source_stamp(peer.maker), **how)


def key(row: Row, seed: int) -> dict[str, object]:
    return {"data": row.data, "pattern": row.pattern, "hidden": row.share, "seed": seed}


def given(row: Row) -> Row:
    """The row whose cells of peers are this one's too."""
    return Row(SAME.get(row.data, row.data), row.pattern, row.share)


def of(cells: Store, row: Row) -> list[Cell]:
    return cells.current(data=row.data, pattern=row.pattern, hidden=row.share)


def beside(row: Row) -> list[Entry]:
    """What every peer gave on a row."""
    return [Entry(peer, [cell for cell in of(peers(peer), given(row)) if cell["method"] in peer.grid]) for peer in PEERS]


def here() -> list[Row]:
    """Rows whose data are on this machine; says which are not."""
    missing = {name: reason for name in {row.data for row in ROWS} if (reason := series.absent(name))}
    for reason in sorted(set(missing.values())):
        print(f"skipped: {reason}", flush=True)
    return [row for row in ROWS if row.data not in missing]


def run(fresh: bool = False, *, chosen: Sequence[Row] | None = None, seeds: Sequence[int] = SEEDS, peers_only: bool = False) -> None:
    wanted = chosen if chosen is not None else here()
    for seed, peer in product(seeds, PEERS):
        cells = peers(peer, fresh=fresh)
        for row, method in product(dict.fromkeys(given(row) for row in wanted), peer.grid):
            if ordered.fits(peer, method, row.data):
                call = partial(ordered.peer, method, row.data, row.pattern, row.share, seed)
                cells.attempt({**key(row, seed), "method": method}, call)
    if not peers_only:
        cells = store(fresh=fresh)
        for seed, row in product(seeds, wanted):
            print(cells.measure(key(row, seed), partial(ordered.ours, row.data, row.pattern, row.share, seed)), flush=True)
    write()


def over(ours: list[Cell], theirs: list[Entry]) -> float:
    """Our error over the least of all columns, on the same seeds; NaN where one is not measured."""
    return entries.over_best(ours, theirs)


def write() -> None:
    """The page, from what is on file."""
    cells, today, ratios, each, times = store(aged=True), store(), [], [], []
    for row in ROWS:
        ours, found = of(cells, row), beside(row)
        if not any(entry.cells for entry in found):
            continue
        older = " †" if len(of(today, row)) < len(ours) else ""
        head = [row.data, f"{row.share:.0%} {row.pattern}"]
        line, best = found[0].best() if found[0].cells else float("nan"), entries.best(found)
        said = _spread(ours)
        against = ["-" if line != line else f"{line:.4f}", best.peer.name, f"{best.best():.4f}"] if best else ["-"] * 3
        seeds = len({cell["seed"] for entry in found for cell in entry.cells})
        ratios.append([head[0], head[1] + older, said, *against, page.number(over(ours, found)), page.number(over(ours, found[:1])), seeds])
        each.append([*head, *_errors([entry.best() if entry.cells else float("nan") for entry in found])])
        times.append([*head, page.number(median(ours, "processor"), 2), *(page.number(entry.scan(), 2) for entry in found)])
    names = [peer.name for peer in PEERS]
    files = [path for path in (cells.path, peers(PEERS[0]).path) if path.exists()]
    columns = ["data", "hidden", "ours", LINE, "best of all columns", "its error", "ours over it", "ours over the line", "seeds"]
    page.write(
        "ordered",
        "Series along time: nothing chosen, beside a straight line",
        _protocol(),
        "## Ours, the line, and the best",
        "Medians over seeds, ours with the least and the greatest in parentheses; a peer at the setting of its grid that is best on the "
        "cells scored." + (" † holds cells of older code." if any("†" in line[1] for line in ratios) else ""),
        page.table(columns, ratios),
        "## Every way",
        "The least of each row in bold.",
        page.table(["data", "hidden", *names], each),
        "## Seconds",
        "Of processor time on one thread: one call of ours, and every setting of a peer's grid once.",
        page.table(["data", "hidden", "ours", *names], times),
        f"Every cell is in {' and '.join(f'[{path.name}]({path.name})' for path in files)}.",
    )


def _protocol() -> str:
    return (
        "`rankless.complete(array)` with every default, on one thread, beside ways that know that time goes on. NRMSE = RMSE over the "
        "standard deviation of the hidden cells. Columns are standardised, then cells are hidden: *cells*, each for itself; *blocks*, runs "
        "of one sensor a tenth of the time long; *last*, the end of about half of the sensors; *blackout*, runs of all sensors at once a "
        "fiftieth of the time long. *smooth* is made: eight sensors, two waves each, noise .02, new for each seed. *chlorine*, "
        "*stock_exchange*, *air_quality*, *eeg_alcohol* and *electricity* are sets of imputegap (its README names their sources), cut to "
        "the first 600, 1500, 512 or 520 rows, or the last 1344; a name that ends in a product was folded for us into that many days of "
        "24 hours, and stays flat for the others. New York's weather is the table of the [completion page](completion.md).\n\n"
        "Peers: straight lines in time, ends held; each sensor's mean at every hour of the day or of the week, with lines of what that "
        "leaves; DINEOF, with the number of functions held out; statsmodels' DynamicFactorMQ with 2, 4 or 8 factors, with or without an "
        f"autoregression of each series (of at most {ordered.FEW}); CDRec at ranks 2, 4 and 8; ST-MVL, with distances by the data; a "
        "Gaussian process for each series (Matern 1/2, 3/2, 5/2, with noise) of greatest likelihood; boosted trees on the values last and "
        "next seen, the other sensors and their lines. DINEOF, CDRec and ST-MVL are written from the papers."
    )


def _spread(ours: list[Cell]) -> str:
    errors = numbers(ours, "nrmse")
    return f"**{statistics.median(errors):.4f}** ({min(errors):.4f}-{max(errors):.4f})" if errors else "-"


def _errors(errors: list[float]) -> list[str]:
    least = min((e for e in errors if e == e), default=float("nan"))
    return [f"**{e:.4f}**" if e == least else "-" if e != e else f"{e:.4f}" for e in errors]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks ordered", description=__doc__)
    rows.add_options(parser, SEEDS, example="stock_512/cells/50, air_quality/last or eeg_alcohol")
    parser.add_argument("--peers-only", action="store_true", help="measure none of ours")
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    options = parser.parse_args(arguments)
    chosen = [row for row in here() if not options.rows or rows.matches(row.name, options.rows)]
    if not chosen:
        parser.error(f"no row is named {', '.join(options.rows)}; there are {', '.join(row.name for row in here())}")
    run(fresh=options.fresh, chosen=chosen, seeds=options.seeds, peers_only=options.peers_only)
