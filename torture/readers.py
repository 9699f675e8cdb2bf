"""Readers under files that are damaged, or whole and odd: hundreds of each format, read in a child process under limits.

What can be read in chunks is read in both ways, see `judge`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torture import child, judge, record, swapped
from torture.mutate import damaged
from torture.seeds import Seed, seeds, targets

SOURCES = tuple(f"torture/{name}.py" for name in ("judge", "mutate", "seeds", "swapped")) + tuple(
    f"src/rankless/{name}.py" for name in ("io/*", "tensors/observations", "tensors/canonical", "tensors/cp_tensor", "large/answer")
)
COUNT = 200  # a format
SEED = 0


def store(**how):
    return record.store("readers", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for suffix in targets():
        if not seeds(suffix):
            print(f"skipped {suffix}: no valid file to start from; give torture/seeds.py one", flush=True)
            continue
        print(cells.measure({"kind": f"damaged {suffix}"}, lambda suffix=suffix: measure(suffix, damaged(suffix, COUNT, SEED))), flush=True)
    for suffix in swapped.suffixes():
        key = {"kind": f"{suffix} of any types, whole and in chunks"}
        print(cells.measure(key, lambda suffix=suffix: measure(suffix, swapped.swapped(suffix, COUNT, SEED))), flush=True)


def measure(suffix: str, files: Iterable[Seed]) -> dict[str, object]:
    """What came of files with `suffix`."""
    said = outcomes((suffix, content) for content in files)
    crashes = Counter(text for outcome, text in said if outcome == "crashed")
    worst = "; ".join(f"{number} x {text[:200]}" for text, number in crashes.most_common(3))
    return record.inputs([outcome for outcome, _ in said], worst)


def outcomes(files: Iterable[tuple[str, Seed]]) -> list[tuple[record.Outcome, str]]:
    ends = child.over(judge.read, files, seconds=20.0, memory=child.GIB, warm=judge.warm)
    return [end.value or ("crashed", end.died) for end in ends]
