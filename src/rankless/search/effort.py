"""How much work a fit may take: what each level of `effort` asks for.

A level is told in fits, chains and experts, never in seconds, so the same seed gives the same numbers on any machine; a limit in
seconds is `rankless.runtime.clock`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """What the search tries."""

    name: str
    races: int  # of all frames and both ways to start, each from other random components; 0: one walk, moved into the other frames
    chains: int  # of draws, at most
    sweeps: int  # of each chain, in the search and again on all entries, at most
    work: float  # share of the multiply-adds that draws may take by default
    experts: tuple[str, ...] | None  # asked beside components; None: all


LEVELS = {
    level.name: level
    for level in (
        Effort("fast", races=0, chains=2, sweeps=50, work=0.5, experts=("timeline",)),
        Effort("default", races=1, chains=8, sweeps=100, work=1.0, experts=None),
        Effort("best", races=3, chains=16, sweeps=300, work=20.0, experts=None),
    )
}
DEFAULT = LEVELS["default"]


def effort_of(name: str) -> Effort:
    """The level of this name; ValueError, with those there are, for another."""
    if name not in LEVELS:
        raise ValueError(f"effort={name!r} is not known; pass {', '.join(map(repr, LEVELS))}")
    return LEVELS[name]
