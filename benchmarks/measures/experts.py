"""What each expert buys: the whole fit without it, on the same cells."""

from __future__ import annotations

from typing import Any

from benchmarks.measures import accuracy
from rankless.engine import names_of_experts
from rankless.search.asked import OWN

DEFAULT = "every expert"
EVERYONE = (*OWN, *names_of_experts())
# what is left out, and how `rankless.complete` is asked to do without it
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    **{name: {"experts": [other for other in EVERYONE if other != name]} for name in EVERYONE[1:]},
    "all but components": {"experts": ["components"]},
    "transform": {"value_transform": None},
    "smoothing": {"smooth": None},
    "noise by slice": {"noise": None},
    "main effects": {"effects": False},
}


def without(variant: str, name: str, pattern: str, share: float, seed: int) -> dict[str, float | str]:
    """`accuracy.real` with what the variant says left out."""
    return accuracy.real(name, share, seed, pattern=pattern, **VARIANTS[variant])
