"""Seeds: what a `random_state` may be."""

from __future__ import annotations

import numpy as np


def check_seed(random_state: object) -> None:
    """Raise ValueError unless `random_state` is a whole number from 0 on, a list of these, None, or a generator of NumPy.

    >>> check_seed("a")
    Traceback (most recent call last):
    ValueError: random_state='a' is no seed; pass a whole number from 0 on, None, or a NumPy generator
    """
    whole = isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0
    several = isinstance(random_state, (list, tuple, np.ndarray)) and np.asarray(random_state).dtype.kind in "iu"
    known = (np.random.RandomState, np.random.Generator, np.random.BitGenerator, np.random.SeedSequence)
    if not (random_state is None or whole or several or isinstance(random_state, known)):
        raise ValueError(f"random_state={random_state!r} is no seed; pass a whole number from 0 on, None, or a NumPy generator")
