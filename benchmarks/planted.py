"""Planted recovery: the true rank found, and the error of ALS told the rank and started at the truth; 50 seeds of four settings."""

from __future__ import annotations

from collections import Counter
from typing import Any

from campaign import page
from campaign.store import Store, median, numbers

from benchmarks.measures import planted
from benchmarks.measures.planted import SETTINGS, Setting

SEEDS = range(50)


def store(**how: Any) -> Store:
    return Store("planted", timed=False, **how)


def cell(cells: Store, setting: Setting, seed: int) -> dict[str, str]:
    return cells.measure({"setting": setting.name, "seed": seed}, lambda: planted.recovery(setting, seed))


def of(cells: Store, setting: Setting) -> list[dict[str, str]]:
    return cells.current(setting=setting.name)


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for seed in SEEDS:  # seed by seed, so that a campaign cut short tells of all settings
        for setting in SETTINGS:
            found = cell(cells, setting, seed)
            print(setting.name, seed, {k: found[k] for k in ("rank", "ratio", "recovered", "seconds")}, flush=True)
    write(cells)


def vouch() -> None:
    """Accept the cells of older code where today's gives the same numbers."""
    cells, settings = store(), {setting.name: setting for setting in SETTINGS}
    if cells.vouch(("setting",), lambda cell: planted.recovery(settings[cell["setting"]], int(cell["seed"]))):
        write(cells)


def write(cells: Store) -> None:
    rows = []
    for setting in SETTINGS:
        found = of(cells, setting)
        if not found:
            continue
        ratios = numbers(found, "ratio")
        ranks = ", ".join(f"{rank} ({count})" for rank, count in sorted(Counter(int(c["rank"]) for c in found).items()))
        recovered = int(sum(numbers(found, "recovered")))
        line = [
            setting.name,
            f"**{recovered} of {len(found)}**",
            ranks,
            page.number(median(found, "error")),
            page.number(median(found, "oracle")),
        ]
        misses = " ".join(sorted((c["seed"] for c in found if c["recovered"] == "0"), key=int)) or "none"
        rows.append([*line, f"{median(found, 'ratio'):.3f}", f"{max(ratios):.3f}", misses, page.number(median(found, "seconds"), 2)])
    page.write(
        "planted",
        "Planted recovery, nothing chosen",
        f"Random CP tensors with normal factors, noise {planted.NOISE} of their standard deviation, "
        "`rankless.complete` with every default. Recovered: the true rank is found and the error on the cells not seen is within "
        f"{planted.SLACK - 1:.0%} of the oracle's: plain ALS told the rank, started at the truth, the best of "
        f"{len(planted.ORACLE_PENALTIES)} tiny penalties by that very error.",
        page.table(
            ["setting", "recovered", "ranks found (seeds)", "error", "oracle", "ratio, median", "worst", "seeds missed", "seconds"], rows
        ),
    )
