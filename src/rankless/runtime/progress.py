"""Long work shows itself: to a callback, in the log, on the screen.

What works for long tells a `Tracker` what it is at: a stage begins, a fit of the search is scored, time goes by.
Each is handed on as a `Progress`

- to the callback that the caller passed, which may end the search,
- to the log, ``logging.getLogger("rankless")``: INFO a stage, DEBUG a fit of the search,
- to `shown`: a bar in a terminal or a notebook, elsewhere a plain line a second at most. Both go to stderr.

No number that is computed hangs on any of it.

>>> import numpy as np, rankless
>>> def five(now):
...     if now.fits == 5:
...         raise StopIteration  # the best of the five is the answer
>>> array = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, -1.0, 4.0, 0.5, 3.0, 2.0])
>>> array[2, 3] = np.nan
>>> len(rankless.complete(array, random_state=0, callback=five).path)
5
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

EVERY = 1.0  # seconds between calls where nothing else is to be told, and between plain lines

log = logging.getLogger("rankless")
log.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Progress:
    """Where long work is; None is what isn't known.

    - `stage`: what is being done, in words
    - `seconds`: since the work began
    - `fraction`: of the stage, done
    - `fits`: of the search so far
    - `depth`, `penalty`, `rank`, `score`: of the last of these; the score is its error on held-out entries, RMSE
      or for other losses than squares their mean deviance
    - `best`: the least of these scores
    """

    stage: str
    seconds: float
    fraction: float | None = None
    fits: int = 0
    depth: float | None = None
    penalty: float | None = None
    rank: int | None = None
    score: float | None = None
    best: float | None = None

    def __str__(self) -> str:
        if self.best is None:
            return self.stage
        return f"{self.stage}; {self.fits} fits, rank {self.rank}, best held-out error {self.best:.4g}"


Callback = Callable[[Progress], object]


class Ended(Exception):
    """The callback wants no more; the best fit so far is the answer."""


class Tracker:
    """What long work tells how far it is: `callbacks` are called at every stage, every fit, and each second in between.

    One that raises StopIteration ends the search as soon as there is a fit to end it with: `Ended` is raised where the work tells
    what it is at. Where there is nothing to end it means nothing, and so does whatever a callback returns.
    """

    def __init__(self, *callbacks: Callback | None):
        self._callbacks = [callback for callback in callbacks if callback is not None]
        self._start = self._last = perf_counter()
        self._now = Progress("", 0.0)
        self._prefix, self._unit = "", 1.0
        self._wanted = False  # an end
        self._endable = False

    def begin(self, prefix: str = "", unit: float = 1.0) -> None:
        """A search begins: `prefix` comes before its stages, and its scores are in these units of the data."""
        self._prefix, self._unit, self._endable = prefix, unit, False
        self.renew()

    def endable(self) -> None:
        """From now on there is a fit to end with."""
        self._endable = True

    def renew(self) -> None:
        """Scores to come don't compare with those before."""
        self._now = replace(self._now, depth=None, penalty=None, rank=None, score=None, best=None)

    def stage(self, text: str, fraction: float | None = None) -> None:
        """A stage begins."""
        log.info("%s%s", self._prefix, text)
        self._tell(replace(self._now, stage=self._prefix + text, fraction=fraction))

    def fitted(self, depth: float, penalty: float, rank: int, score: float) -> None:
        """A fit of the search was made and scored."""
        score *= self._unit
        best = score if self._now.best is None else min(self._now.best, score)
        log.debug("depth %g, penalty %.4g: rank %d, held-out error %.6g", depth, penalty, rank, score)
        self.endable()
        fits = self._now.fits + 1
        self._tell(replace(self._now, fraction=None, fits=fits, depth=depth, penalty=penalty, rank=rank, score=score, best=best))

    def beat(self, fraction: float | None = None) -> None:
        """The stage goes on: cheap enough to be said at every sweep."""
        if perf_counter() - self._last >= EVERY:
            self._tell(replace(self._now, fraction=fraction))

    def _tell(self, now: Progress) -> None:
        self._last = perf_counter()
        self._now = replace(now, seconds=self._last - self._start)
        for callback in self._callbacks:
            try:
                callback(self._now)
            except StopIteration:
                self._wanted = True
        if self._wanted and self._endable:
            self._endable = False  # what is still to be done then is told too
            log.info("ended by the callback")
            raise Ended


# --- on the screen --------------------------------------------------------------------------------


@contextmanager
def shown(wanted: bool = True) -> Iterator[Callback | None]:
    """A callback that shows progress on stderr for as long as the context lasts; None where it isn't `wanted`."""
    if not wanted:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if (console.is_terminal and not console.is_dumb_terminal) or (console.is_jupyter and _widgets()):
        with _bar(console) as show:
            yield show
    else:
        yield _lines()


class _Left:
    """About how long a stage still takes, from its share done and the time since it was first told of."""

    def __init__(self) -> None:
        self._stage, self._start, self._first = "", 0.0, 0.0

    def __call__(self, progress: Progress) -> str:
        share = progress.fraction
        if share is None or progress.stage != self._stage or share < self._first:
            self._stage, self._start, self._first = progress.stage, progress.seconds, share or 0.0
            return ""
        if share - self._first < 0.02:
            return ""
        left = (progress.seconds - self._start) * (1 - share) / (share - self._first)
        return f", about {left:.0f} s left" if left < 100 else f", about {left / 60:.0f} min left"


def _lines() -> Callback:
    """A plain line a second at most: work that takes less than a second prints none."""
    start, last, left = perf_counter(), perf_counter(), _Left()

    def show(progress: Progress) -> None:
        nonlocal last
        now = perf_counter()
        if now - last >= EVERY:
            last = now
            done = "" if progress.fraction is None else f" ({progress.fraction:.0%})"
            print(f"{now - start:.0f} s: {progress}{done}{left(progress)}", file=sys.stderr, flush=True)

    return show


@contextmanager
def _bar(console) -> Iterator[Callback]:
    """A bar that is gone when done; it moves to and fro where nobody knows how much there is to do."""
    from rich import progress as rich
    from rich.table import Column

    text = rich.TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
    bar_column = rich.BarColumn(bar_width=10, table_column=Column(min_width=10, no_wrap=True))
    columns = bar_column, rich.TimeElapsedColumn(table_column=Column(min_width=7, no_wrap=True)), text  # the text gives way
    # what is printed meanwhile goes above the bar, but never from a stdout that is a file to the terminal
    to_terminal = sys.stdout.isatty() or console.is_jupyter
    with rich.Progress(*columns, console=console, transient=True, refresh_per_second=5, redirect_stdout=to_terminal) as bars:
        bars.add_task("", total=None)
        bar, stage, left = bars.tasks[0], "", _Left()

        def show(progress: Progress) -> None:
            nonlocal stage
            bar.description = f"{progress}{left(progress)}"
            bar.total, bar.completed = (None, 0.0) if progress.fraction is None else (1.0, progress.fraction)
            if progress.stage != stage:  # however short, each is seen
                stage = progress.stage
                bars.refresh()

        yield show


def _widgets() -> bool:
    """Whether a notebook can show what changes."""
    from importlib.util import find_spec

    return find_spec("ipywidgets") is not None
