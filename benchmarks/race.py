"""The whole automatic fit against peers told one rank, or scanning ranks, on the same cells, one after the other."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from campaign import data, page
from campaign.store import Store, median, numbers

from benchmarks.measures import peers
from benchmarks.measures.accuracy import STAGES

SHARES = (0.5, 0.8)
SEEDS = (0, 1, 2)  # a seed is a repetition
AGAINST = ("pyttb R=10", "tensorly R=10")
WHOLE = ("rankless seconds", "fits")
SCANS = {peer: tuple(f"{peer} R={rank}" for rank in peers.RANKS) for peer in ("pyttb", "tensorly")}


def store(**how: Any) -> Store:
    return Store("race", timed=True, **how)


def of(cells: Store, name: str, share: float) -> list[dict[str, str]]:
    return cells.current(data=name, hidden=share)


def ratio(found: list[dict[str, str]], peer: str = AGAINST[0], ours: str = "rankless") -> float:
    """Median over repetitions of our seconds over the peer's."""
    pairs = zip(numbers(found, f"{ours} seconds"), numbers(found, f"{peer} seconds"), strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def scan_ratio(found: list[dict[str, str]], peer: str) -> float:
    """Median over repetitions of our seconds over those of the peer's scan of all ranks; NaN where none was made."""
    ratios = [float(c["rankless seconds"]) / sum(float(c[f"{method} seconds"]) for method in SCANS[peer]) for c in found]
    return statistics.median(ratios) if ratios else float("nan")


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for seed in SEEDS:
        for name in data.available():
            for share in SHARES:
                key = {"data": name, "hidden": share, "seed": seed}
                against = [method for scan in SCANS.values() for method in scan]
                cells.attempt(key, partial(peers.race, name, share, seed, against=against))
    write(cells)


def write(cells: Store) -> None:
    rows, profiles, efforts = [], [], []
    for name in data.NAMES:
        for share in SHARES:
            found = of(cells, name, share)
            if found:
                timed = [_seconds(found, method) for method in ("rankless", *AGAINST)]
                scans = [page.number(scan_ratio(found, peer)) for peer in SCANS]
                rows.append([name, f"{share:.0%}", *timed, f"**{ratio(found):.2f}**", *scans, len(found)])
                profiles.append([name, f"{share:.0%}", *(page.number(median(found, what)) for what in WHOLE + STAGES)])
                called = list(peers.EFFORTS)
                both = [(_seconds(found, each), f"{ratio(found, ours=each):.3g}") for each in ("rankless", *called)]
                efforts.append([name, f"{share:.0%}", *(text for pair in (both[1], both[0], *both[2:]) for text in pair)])
    columns = ["data", "hidden", "rankless", *AGAINST, "rankless over pyttb R=10"]
    page.write(
        "race",
        "A whole automatic fit against one fit at one given rank, and against a scan of ranks",
        "Seconds of processor time on one thread, and NRMSE on the hidden cells in parentheses; medians. "
        "rankless chooses everything, the peers are told rank 10, or "
        "scan ranks 3, 10 and 30 (without a hold-out: a fit a rank), and "
        f"run with their defaults (pyttb's L-BFGS-B at most {peers.LIMIT:.0f} processor seconds).",
        page.table([*columns, "over pyttb's scan", "over tensorly's scan", "repetitions"], rows),
        "## Where the time goes",
        "Seconds of the automatic fit, all in all and by stage, and the fits it chooses among; medians. Drawn again with all entries, a "
        "mean of draws is refitted.",
        page.table(["data", "hidden", "whole fit", "fits", *STAGES], profiles),
        "## By effort",
        "Seconds, NRMSE in parentheses, and times the seconds of one pyttb fit at rank 10.",
        page.table(["data", "hidden", *(text for name in ("fast", "default", "best") for text in (name, "over pyttb"))], efforts),
    )


def _seconds(found: list[dict[str, str]], method: str) -> str:
    return f"{median(found, f'{method} seconds'):.3g} ({median(found, f'{method} nrmse'):.3f})"
