"""Error as the allowed components grow from 10 to 200: ours at four depths, peers told that rank; with the picture of the README."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from campaign import data, page
from campaign.machine import ROOT
from campaign.store import Cell, Store, median, peers_store

from benchmarks.measures import growth
from benchmarks.measures.growth import ALLOWED, DEPTHS, HIDDEN, PEERS, SETTING, TABLES

SEEDS = range(3)
PICTURE = ROOT / "docs" / "images" / "growth.png"
TITLES = {
    "planted": f"planted: 50 x 50 x 50, {SETTING.rank} components, {SETTING.share:.0%} seen",
    "real": f"Met Office weather, {HIDDEN:.0%} hidden",
}


def store(**how: Any) -> Store:
    return Store("growth", timed=False, **how)


def peers(**how: Any) -> Store:
    return peers_store("growth_peers", "tensorly", "pyttb", **how)


def method(depth: float) -> str:
    return f"rankless, k = {depth:g}"


def of(cells: Store, table: str, name: str, allowed: int) -> list[Cell]:
    return cells.current(table=table, method=name, allowed=allowed)


def curve(cells: Store, table: str, name: str) -> list[float]:
    """Median errors over seeds, one for each number of allowed components; NaN where there is none."""
    return [median(of(cells, table, name, allowed), "nrmse") for allowed in ALLOWED]


def ranks(cells: Store, table: str, name: str) -> list[float]:
    return [median(of(cells, table, name, allowed), "rank") for allowed in ALLOWED]


def complete(cells: Store, table: str, name: str) -> bool:
    return all(len(of(cells, table, name, allowed)) >= len(SEEDS) for allowed in ALLOWED)


def rise(errors: list[float]) -> float:
    """The most that allowing more ever costs: each error over the least at fewer components, less 1."""
    return max(error / min(errors[: at + 1]) for at, error in enumerate(errors)) - 1 if errors[0] == errors[0] else float("nan")


def spread(errors: list[float]) -> float:
    """Largest over least, less 1."""
    return max(errors) / min(errors) - 1 if errors[0] == errors[0] else float("nan")


def run(fresh: bool = False) -> None:
    cells, given = store(fresh=fresh), peers(fresh=fresh)
    for seed, table, allowed in product(SEEDS, _here(), ALLOWED):
        key = {"table": table, "allowed": allowed, "seed": seed}
        for depth in DEPTHS:
            print(cells.measure(key | {"method": method(depth)}, partial(growth.ours, table, seed, depth, allowed)), flush=True)
        for name in PEERS:
            given.attempt(key | {"method": name}, partial(growth.peer, name, table, seed, allowed))
    write(cells, given)
    picture(cells, given)


def vouch() -> None:
    """Accept the cells of older code where today's gives the same numbers."""
    depths, cells = {method(depth): depth for depth in DEPTHS}, store()
    if cells.vouch(("table",), lambda c: growth.ours(c["table"], int(c["seed"]), depths[c["method"]], int(c["allowed"]))):
        write(cells, peers())


def write(cells: Store, given: Store) -> None:
    rows = []
    for table in TABLES:
        for kept, names in ((cells, [method(k) for k in DEPTHS]), (given, list(PEERS))):
            for name in names:
                errors, found = curve(kept, table, name), ranks(kept, table, name)
                if errors[0] == errors[0]:
                    texts = [page.number(e) + (f" ({r:.0f})" if r == r else "") for e, r in zip(errors, found, strict=True)]
                    rows.append([TITLES[table], name, *texts, f"{spread(errors):.1%}", f"{spread(errors[1:]):.1%}", f"{rise(errors):.1%}"])
    page.write(
        "growth",
        "Error as the allowed components grow",
        "`TensorCompleter(depth=k, max_rank=M, experts=['components', 'neighbours'])` with every other default, at M = "
        f"{', '.join(map(str, ALLOWED))}; peers are told rank M. NRMSE on the cells not seen (planted: of the truth without noise), "
        f"medians of {len(SEEDS)} seeds; in parentheses the components that were kept. Planted, M = 10 is the true rank. Spread: largest "
        "over least error, less 1, from 10 and from 20 on; rise: the most that allowing more ever costs. On real data close cells say what "
        "a few components leave, so few are kept. The peers start at random, and at few components some end in a poor minimum.",
        f"![Error as the allowed components grow](../images/{PICTURE.name})",
        page.table(["data", "method", *map(str, ALLOWED), "spread", "from 20 on", "rise"], rows),
    )


def picture(cells: Store, given: Store, path: Path = PICTURE) -> None:
    """Two panels, planted and real: ours flat, the peers' rising."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

    from rankless.figures.look import COLORS, DASHES, MARKERS, house_style, panels, shade
    from rankless.runtime.files import write_beside

    ours = [(cells, method(k), shade(at, len(DEPTHS)), "-", 2.4 - 0.5 * at, 6.5 - 1.4 * at) for at, k in enumerate(DEPTHS)]  # nested
    peers = [(given, name, COLORS[at], DASHES[dash], 1.2, 4.0) for name, at, dash in zip(PEERS, (1, 3), (1, 2), strict=True)]
    with house_style():
        figure, (row,) = panels(1, len(TABLES), height=3.0)
        for axes, table in zip(row, TABLES, strict=True):
            for at, (kept, name, color, dash, width, size) in enumerate(ours + peers):
                look = {"color": color, "linestyle": dash, "linewidth": width, "marker": MARKERS[at % 5], "markersize": size}
                label = name if kept is cells else f"{name}, told that rank"
                axes.loglog(ALLOWED, curve(kept, table, name), label=label, **look)
            axes.xaxis.set_major_locator(FixedLocator(list(ALLOWED)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            low, high = axes.get_ylim()
            axes.set_ylim(0.75 * low, high)
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set(xlabel="components allowed", title=TITLES[table])
        row[0].set_ylabel("error on hidden cells (NRMSE)")
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=3)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_beside(path) as temporary:
            figure.savefig(temporary, dpi=200)
    print(f"wrote {path.name}", flush=True)


def largest(cells: Store, table: str, measure: Callable[[list[float]], float], *, first: int = 0) -> tuple[float, str, list[Cell]]:
    """Over the depths: the largest `measure` of the errors from the `first` number of components on, which depth it is, and the cells."""
    names = [method(k) for k in DEPTHS if complete(cells, table, method(k))]
    found = {name: measure(curve(cells, table, name)[first:]) for name in names}
    every = [c for name in names for allowed in ALLOWED for c in of(cells, table, name, allowed)]
    worst = max(found, key=found.__getitem__, default="")
    return found.get(worst, float("nan")), worst, every


def over_best_peer(cells: Store, given: Store, table: str) -> float:
    """Our worst median error at any depth and number of components over the best of any peer at its best rank."""
    ours = [error for k in DEPTHS for error in curve(cells, table, method(k))]
    theirs = [e for name in PEERS for e in curve(given, table, name) if e == e]
    return max(ours) / min(theirs) if theirs and ours[0] == ours[0] else float("nan")


def _here() -> list[str]:
    return [table for table in TABLES if table != "real" or growth.REAL in data.available()]
