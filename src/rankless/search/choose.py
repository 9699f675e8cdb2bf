"""The best single fit of components, chosen on single cells held out: race, refine, and sharpen where data are noiseless."""

from __future__ import annotations

from dataclasses import replace

from rankless.answer.stack import Pool
from rankless.holdout.scoring import Point, frame_after, score_of
from rankless.search import race, refine
from rankless.search.walk import Search, window
from rankless.tensors.observations import Observations


def best_fit(search: Search, train: Observations) -> tuple[Search, Point, bool]:
    """The best fit on `train`, with the search that holds the others, and whether data are noiseless.

    `search` may be on a part of `train`: what it finds is then grown once more on all of it, near what won.
    """
    best = race.winner(search)
    if search.train is not train:
        search = replace(search, train=train, pool=Pool())
        frame = frame_after(best, train, search.held, best.frame.mode)
        penalty = search.guess(best, frame)
        moved = search.moved(best, frame, best.depth, penalty)
        best = min(moved, search.walk("grow", frame, window(penalty, 2)), key=score_of)
    free = search.limits.penalties is None
    if free and search.limits.effort.races and not search.outdone(best) and not search.late("refining"):
        search.tracker.stage("refining the best")
        best = refine.refined(search, refine.simpler(search, best))
        if best.depth == 0 and best.frame.mode is None:
            best = refine.thinner(search, best)
    exact = refine.is_exact(search, best)
    if free and exact:
        search.tracker.stage("fitting to the last digits")
        best = refine.sharpened(search, best)
    return search, best, exact
