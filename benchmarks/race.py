"""The whole automatic fit against one fit of a peer told one rank, on the same cells, one after the other."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import page
from benchmarks.measures import data, peers
from benchmarks.store import Store, median, numbers

SHARES = (0.5, 0.8)
SEEDS = (0, 1, 2)  # a seed is a repetition
AGAINST = ("pyttb R=10", "tensorly R=10")


def store(**how: Any) -> Store:
    return Store("race", timed=True, **how)


def of(cells: Store, name: str, share: float) -> list[dict[str, str]]:
    return [c for c in cells.current() if (c["data"], c["hidden"]) == (name, f"{share:g}")]


def ratio(found: list[dict[str, str]], peer: str = AGAINST[0]) -> float:
    """Median over repetitions of our seconds over the peer's."""
    pairs = zip(numbers(found, "rankless seconds"), numbers(found, f"{peer} seconds"), strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for seed in SEEDS:
        for name in data.available():
            for share in SHARES:
                key = {"data": name, "hidden": share, "seed": seed}
                try:
                    print(cells.measure(key, lambda at=(name, share, seed): peers.race(*at, against=AGAINST)), flush=True)
                except ImportError as reason:
                    print(f"skipped: {reason}", flush=True)
    write(cells)


def write(cells: Store) -> None:
    rows = []
    for name in data.NAMES:
        for share in SHARES:
            found = of(cells, name, share)
            if found:
                timed = [f"{median(found, f'{m} seconds'):.3g} ({median(found, f'{m} nrmse'):.3f})" for m in ("rankless", *AGAINST)]
                rows.append([name, f"{share:.0%}", *timed, f"**{ratio(found):.2f}**", len(found)])
    page.write(
        "race",
        "A whole automatic fit against one fit at one given rank",
        "Seconds, and NRMSE on the hidden cells in parentheses; medians. rankless chooses everything, the peers are told rank 10 and "
        f"run with their defaults (pyttb's L-BFGS-B at most {peers.LIMIT:.0f} processor seconds).",
        page.table(["data", "hidden", "rankless", *AGAINST, "rankless over pyttb", "repetitions"], rows),
    )
