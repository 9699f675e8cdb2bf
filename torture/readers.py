"""Readers under damaged files: thousands of each format, read in a child process under limits of time and memory."""

from __future__ import annotations

from collections import Counter

from torture import child, judge, record
from torture.mutate import damaged
from torture.seeds import seeds, suffixes

SOURCES = tuple(f"torture/{name}.py" for name in ("judge", "mutate", "seeds")) + tuple(
    f"src/rankless/{name}.py" for name in ("io/*", "observations", "canonical")
)
COUNT = 200  # a format
SEED = 0


def store(**how):
    return record.store("readers", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for suffix in suffixes():
        if not seeds(suffix):
            print(f"skipped {suffix}: no valid file to start from; give torture/seeds.py one", flush=True)
            continue
        print(cells.measure({"kind": f"damaged {suffix}"}, lambda suffix=suffix: measure(suffix, COUNT)), flush=True)


def measure(suffix: str, count: int) -> dict[str, object]:
    """`count` damaged files with `suffix`, and what came of them."""
    said = outcomes(suffix, count, SEED)
    crashes = Counter(text for outcome, text in said if outcome == "crashed")
    worst = "; ".join(f"{number} x {text[:200]}" for text, number in crashes.most_common(3))
    return record.inputs([outcome for outcome, _ in said], worst)


def outcomes(suffix: str, count: int, seed: int) -> list[tuple[record.Outcome, str]]:
    files = ((suffix, content) for content in damaged(suffix, count, seed))
    ends = child.over(judge.read, files, seconds=20.0, memory=child.GIB, warm=judge.warm)
    return [end.value or ("crashed", end.died) for end in ends]
