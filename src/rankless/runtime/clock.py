"""A limit in seconds: work that has not begun when the time is over is left out, and said to be.

Nothing is broken off in the middle, so a fit always has an answer, and may take longer than the limit by the step it was at
and the refit on all entries. What a journal has seen decided stays decided: a fit that was cut short goes on to the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np


class Clock:
    """Whether the time that a fit may take is over; `left_out` names what was not begun for that."""

    def __init__(self, limit: float | None, recall: Callable):
        self._end = None if limit is None else perf_counter() + limit
        self._recall, self._asked = recall, 0
        self.left_out: list[str] = []

    def over(self, what: str) -> bool:
        """Whether it is too late to begin `what`, such as "drawing from the posterior"."""
        if self._end is None:
            return False
        end, self._asked = self._end, self._asked + 1
        found = self._recall("time", (what, self._asked), lambda: {"over": np.array(perf_counter() > end)})
        if found["over"] and what not in self.left_out:
            self.left_out.append(what)
        return bool(found["over"])


def check_time_limit(limit: float | None) -> None:
    """Raise ValueError unless `limit` is a number of seconds above 0, or None."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, (int, float, np.number)) or not limit > 0:
        raise ValueError(f"time_limit={limit!r} is not a number of seconds above 0; pass time_limit=60 for a minute, or None for no limit")
