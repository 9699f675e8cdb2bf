"""Losses of their own for counts, shares and gross errors, and nonnegative components, beside squares: five seeds of seven settings."""

from __future__ import annotations

from functools import partial
from typing import Any

from campaign import page
from campaign.machine import source_stamp
from campaign.store import Cell, Store, median, numbers

from benchmarks.measures import losses
from benchmarks.measures.losses import SETTINGS, Setting

SEEDS = range(5)
SOURCES = tuple(
    f"src/rankless/{name}.py" for name in ("als/*", "tensors/cp_tensor", "units/effects", "search/losses", "units/link", "search/walk")
)
WORDS = {"deviance": "mean Poisson deviance", "log_loss": "log-loss", "error": "error", "match": "least factor match"}


def store(**how: Any) -> Store:
    return Store("losses", timed=False, stamp=source_stamp(SOURCES), **how)


def of(cells: Store, setting: Setting) -> list[Cell]:
    return cells.current(setting=setting.name)


def won(setting: Setting, found: list[Cell]) -> int:
    """Seeds in which the loss of its own does better than squares."""
    pairs = zip(numbers(found, "ours"), numbers(found, "squares"), strict=True)
    return sum(ours > squares if setting.score == "match" else ours < squares for ours, squares in pairs)


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for seed in SEEDS:
        for setting in SETTINGS:
            print(cells.measure({"setting": setting.name, "seed": seed}, partial(losses.measure, setting, seed)), flush=True)
    write(cells)


def vouch() -> None:
    """Accept the cells of older code where today's gives the same numbers."""
    cells, settings = store(), {setting.name: setting for setting in SETTINGS}
    if cells.vouch(("setting",), lambda cell: losses.measure(settings[cell["setting"]], int(cell["seed"]))):
        write(cells)


def write(cells: Store) -> None:
    rows = []
    for setting in SETTINGS:
        found = of(cells, setting)
        if not found:
            continue
        worst = min(numbers(found, "ours")) if setting.score == "match" else max(numbers(found, "ours"))
        options = ", ".join(f"{name}={value!r}" for name, value in setting.options.items())
        figures = [page.number(value, 4) for value in (median(found, "ours"), worst, median(found, "squares"), median(found, "truth"))]
        ranks = " ".join(c["ours_rank"] for c in sorted(found, key=lambda c: int(c["seed"])))
        rows.append(
            [
                setting.name,
                f"`{options}`",
                WORDS[setting.score],
                f"**{figures[0]}**",
                *figures[1:],
                f"{won(setting, found)} of {len(found)}",
                ranks,
            ]
        )
    size = " x ".join(map(str, losses.SHAPE))
    page.write(
        "losses",
        "Losses for counts, shares, gross errors, and nonnegative parts",
        f"Planted {size} of rank {losses.RANK}, {losses.HIDDEN:.0%} of the cells hidden, five seeds. By squares is `rankless.complete` "
        "with every default, which may choose square roots or logarithms; the truth is the score of the true means (a match of 1). "
        f"Scores are on the hidden cells; every method's means are kept at {losses.LEAST} or more for the deviance, and its chances at "
        f"{losses.INSIDE} or more from 0 and 1 for the log-loss. Error is the root mean square error to the true values, whose deviation "
        "is 1. The factor match is the least congruence of a planted component with the one found that is most like it, over the "
        "components of the best fit.",
        page.table(["data", "options", "score", "its own", "worst seed", "by squares", "truth", "better in", "ranks"], rows),
        f"Counts: Poisson around exp(signal + {losses.LEVEL}), signal of deviation 1, or around sums of gamma parts with mean "
        f"{losses.COUNT:g}. Zeros and ones, shares of {losses.TRIALS}: log odds {losses.STEEP:g} times the signal. Gross errors: noise "
        f"{losses.NOISE} and, in {losses.SPOILED:.0%} of the entries, {losses.GROSS:g} times a normal number. Spectra: gamma "
        f"concentrations, bumps of width {losses.BUMP} that overlap, noise {losses.SPECTRA_NOISE} of the deviation, or counts of "
        f"{losses.PHOTONS:g} at a height of 1.",
    )
