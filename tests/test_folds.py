"""More hold-outs where one is too small: nobody sees what it is judged on, and a gap is one in each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rankless.answer.tree import Tools
from rankless.engine import folds
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

RNG = np.random.default_rng(0)
SEEN = Observations.from_array(np.where(RNG.random((12, 10, 3)) < 0.8, RNG.normal(size=(12, 10, 3)), np.nan))
HELD = RNG.permutation(SEEN.size) < 60


@dataclass(frozen=True)
class Mean:
    """Says the mean of what it was fitted to; nothing in the first slice."""

    mean: float = np.nan

    def at(self, indices):
        return np.where(indices[:, 0] == 0, np.nan, self.mean)

    def again(self, obs, tools):
        return Mean(float(obs.values.mean()))

    def words(self, modes):
        return "a mean"


def test_entries_one_by_one_are_held_out_once_and_leave_no_slice_bare():
    masks = folds.more(3, SEEN, HELD, None, np.random.default_rng(1))
    assert len(masks) == 3
    for mask in masks:
        assert 50 <= mask.sum() <= 60 and not (mask & HELD).any()
        assert all((SEEN.subset(~mask).counts(mode) > 0).all() for mode in range(3))
    assert (np.sum(masks, axis=0) <= 1).all()


def test_gaps_are_held_out_as_gaps():
    masks = folds.more(3, SEEN, HELD, Gaps((2,), None, 1), np.random.default_rng(1))
    assert len(masks) == 3
    for mask in masks:
        fibres = SEEN.coords[:2, mask]
        assert all(mask[(SEEN.coords[:2] == fibre[:, None]).all(axis=0)].all() for fibre in fibres.T), "all of a fibre, or nothing"


def test_enough_entries_need_no_more_and_many_are_too_dear():
    assert folds.wanted(60, 500) == folds.MOST - 1 and folds.wanted(folds.ENOUGH // 2, 2000) == 1
    assert folds.wanted(folds.ENOUGH, 2000) == 0 and folds.wanted(60, folds.FEW + 1) == 0


def test_what_is_said_was_fitted_to_the_others():
    masks = folds.more(3, SEEN, HELD, None, np.random.default_rng(1))
    tools = Tools(Workers(1), iter(()))
    for mask, (over, first, (other,)) in zip(masks, folds.said(Mean(), [Mean()], SEEN, masks, tools), strict=True):
        np.testing.assert_array_equal(over.coords, SEEN.coords[:, mask])
        silent = over.coords[0] == 0
        np.testing.assert_allclose(first, np.where(silent, 0.0, SEEN.values[~mask].mean()))
        np.testing.assert_array_equal(other, first)


def test_a_gap_ends_with_its_hold_out():
    twice, gaps = folds.joined([SEEN, SEEN]), Gaps((2,), None, 1)
    assert twice.size == 2 * SEEN.size
    once = Judge(SEEN.values, SEEN, gaps, None)
    both = Judge(twice.values, twice, gaps, None, np.repeat([0, 1], SEEN.size))
    assert both.gaps == 2 * once.gaps == 2 * len(np.unique(SEEN.coords[:2], axis=1).T)
    assert np.isclose(both.score(twice.values), once.score(SEEN.values))
    less = SEEN.values * RNG.random(SEEN.size)
    assert np.isclose(both.gain(twice.values, np.concatenate([less, less])), np.sqrt(2) * once.gain(SEEN.values, less))
    weighted = replace(SEEN, weights=np.ones(SEEN.size))
    both_weights = folds.joined([weighted, weighted]).weights
    assert both_weights is not None and both_weights.shape == (2 * SEEN.size,)
