"""The tree of predictors, with fakes: shares, what nobody knows, fitting again, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from rankless.answer.tree import Onto, Stack, Tools, combined, leaves, left_by
from rankless.runtime.pack import pack, unpack
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

RNG = np.random.default_rng(0)
OBS = Observations.from_array(np.where(RNG.random((4, 6)) < 0.7, RNG.normal(size=(4, 6)), np.nan))
CELLS = np.argwhere(np.ones(OBS.shape))


@dataclass(frozen=True, eq=False)
class Mean:
    """Says the mean of what it was fitted to; nothing of the slices `silent` of the first mode."""

    value: float = np.nan
    silent: tuple[int, ...] = ()
    fits: int = 0

    def at(self, indices: np.ndarray) -> np.ndarray:
        return np.where(np.isin(indices[:, 0], self.silent), np.nan, self.value)

    def again(self, obs: Observations, tools: Tools) -> Mean:
        return replace(self, value=float(obs.values.mean()), fits=self.fits + 1)

    def words(self, modes: Sequence[str]) -> str:
        return f"mean of {modes[0]}"


@pytest.fixture
def tools():
    with Workers(1) as workers:
        yield Tools(workers, iter(()))


def test_members_stand_in_the_shares_of_their_slice():
    shares = RNG.uniform(size=(2, 6))
    said = Stack((Mean(2.0), Mean(-1.0)), tuple(shares), 1).at(CELLS)
    np.testing.assert_allclose(said, (2 * shares[0] - shares[1])[CELLS[:, 1]])
    np.testing.assert_allclose(Stack((Mean(2.0),), (np.array([0.25]),)).at(CELLS), 0.5)


def test_where_one_knows_nothing_the_others_answer_and_nan_where_none_does():
    half = (np.array([0.5]), np.array([0.5]))
    one, other = Mean(2.0, silent=(0, 1)), Mean(-1.0, silent=(1, 2))
    said = Stack((one, other), half).at(CELLS)
    assert {row: set(said[CELLS[:, 0] == row]) for row in (0, 2, 3)} == {0: {-1.0}, 2: {2.0}, 3: {0.5}}
    assert np.isnan(said[CELLS[:, 0] == 1]).all()


def test_shares_of_nothing_leave_nothing_known():
    assert np.isnan(combined(np.array([[np.nan], [3.0]]), np.array([[1.0], [0.0]]))).all()


def test_what_is_added_is_fitted_to_what_the_base_leaves(tools):
    tree = Onto(Mean(), Onto(Mean(), Mean())).again(OBS, tools)
    assert isinstance(tree, Onto) and isinstance(tree.base, Mean) and tree.base.value == pytest.approx(OBS.values.mean())
    assert isinstance(tree.added, Onto) and isinstance(tree.added.base, Mean)
    assert tree.added.base.value == pytest.approx(0.0, abs=1e-12), "the first has taken the mean"
    np.testing.assert_allclose(left_by(tree, OBS).values, OBS.values - OBS.values.mean(), atol=1e-12)


def test_an_addition_that_knows_nothing_adds_nothing():
    said = Onto(Mean(2.0), Mean(1.0, silent=(0,))).at(CELLS)
    assert set(said[CELLS[:, 0] == 0]) == {2.0} and set(said[CELLS[:, 0] > 0]) == {3.0}


def test_fitting_again_fits_every_member_once_and_is_a_fixed_point(tools):
    tree = Stack((Onto(Mean(), Mean()), Mean()), (np.array([0.3]), np.array([0.7])))
    once = tree.again(OBS, tools)
    twice = once.again(OBS, tools)
    assert [leaf.fits for leaf, _, _ in leaves(once)] == [1, 1, 1]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(once.at(CELLS), twice.at(CELLS))


def test_shares_of_leaves_multiply_down_the_tree():
    inner = Stack((Mean(1.0), Mean(2.0)), (np.array([0.5]), np.array([0.25])))
    tree = Onto(Mean(5.0), Stack((inner, Mean(3.0)), tuple(RNG.uniform(size=(2, 6))), 1))
    total = np.zeros(len(CELLS))
    for leaf, mode, share in leaves(tree):
        assert isinstance(leaf, Mean)
        total += (share[0] if len(share) == 1 else share[CELLS[:, mode]]) * leaf.value
    np.testing.assert_allclose(total, tree.at(CELLS))


def test_the_tree_reads_as_it_is_put_together():
    tree = Onto(Mean(), Stack((Mean(), Mean()), (np.array([0.8]), np.array([0.2]))))
    assert tree.words(["day"]) == "mean of day + (mean of day in a share of 0.8, mean of day in a share of 0.2)"


def test_a_tree_is_packed_and_comes_back():
    tree = Onto(Mean(5.0), Stack((Mean(1.0, silent=(0,)), Mean(2.0)), tuple(RNG.uniform(size=(2, 6))), 1))
    back = unpack(pack(tree), [Mean, Onto, Stack])
    np.testing.assert_array_equal(back.at(CELLS), tree.at(CELLS))
    with pytest.raises(ValueError, match="a packed 'Onto' is none of Mean"):
        unpack(pack(tree), [Mean])
    with pytest.raises(TypeError, match="a Workers cannot be packed"):
        pack(Workers(1))
