"""Which entries are held out, and the random streams that decide it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rankless.tensors.observations import Observations

STREAMS = 64  # of random numbers, more than any search takes


def streams_of(seed) -> tuple[Iterator[np.random.Generator], np.random.Generator, np.random.Generator]:
    """Independent random streams for search (several), calibration and gaps."""
    *search, calibration, gaps = np.random.default_rng(seed).spawn(STREAMS + 2)
    return iter(search), calibration, gaps


def held_out(obs: Observations, share: float, stream: np.random.Generator) -> tuple[Observations, Observations]:
    """Entries to fit and entries to choose on; raises ValueError where none can be held out."""
    train, held = obs.split(share, seed=stream)
    if not held.size:
        raise ValueError(
            f"of {obs.size} observed entries none can be held out to choose on: each is the last of its slice; "
            "observe more entries a slice, or join slices (days into weeks)"
        )
    return train, held
