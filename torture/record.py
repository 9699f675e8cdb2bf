"""What a campaign writes down: faults survived or lost, bad inputs refused, accepted or crashed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from campaign.machine import ROOT, source_stamp
from campaign.store import Store

FOLDER = ROOT / "docs" / "reliability"

Outcome = Literal["refused", "accepted", "crashed"]


def store(name: str, *sources: str, **how: Any) -> Store:
    """Cells of the campaign `name`; they age with its module and with `sources`, globs such as ``src/rankless/io/*.py``."""
    return Store(name, timed=False, stamp=source_stamp((f"torture/{name}.py", *sources)), folder=FOLDER, **how)


def fault(survived: Sequence[bool], how: str) -> dict[str, object]:
    """One line of the table of faults: how many were injected and survived, and `how` it ends, in words.

    >>> fault([True, True, False], "the earlier file stays")["lost"]
    1
    """
    return {"how": how, "injected": len(survived), "survived": sum(survived), "lost": len(survived) - sum(survived)}


def inputs(outcomes: Sequence[Outcome], worst: str = "") -> dict[str, object]:
    """One line of the table of bad input; `worst` says which input crashed first, and how.

    >>> inputs(["refused", "refused", "accepted"])["refused"]
    2
    """
    count = Counter(outcomes)
    return {"tried": len(outcomes), **{name: count[name] for name in ("refused", "accepted", "crashed")}, "worst": worst}
