"""Pairs of slices never seen together are filled from the slices like them, in the share that pays on pairs left out."""

from __future__ import annotations

import numpy as np
import pytest

from rankless import Observations, complete
from rankless.answer.intervals import left_out
from rankless.answer.tree import Amended, Tools
from rankless.experts.pairs import Typical, amended
from rankless.holdout.kinds import Kinds
from rankless.runtime.workers import Workers
from rankless.units.effects import MainEffects

STATIONS, HOURS, POLLUTANTS = 12, 60, 3


def air(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stations x hours x pollutants, seen and whole: one pattern in time a pollutant, a level a station; station 4 never measured 1."""
    rng = np.random.default_rng(seed)
    waves = np.stack([np.sin(np.arange(HOURS) / (3 + q) + q) for q in range(POLLUTANTS)], axis=1)
    whole = 5 + waves + rng.normal(size=(STATIONS, 1, 1)) + 0.3 * rng.normal(size=(STATIONS, 1, POLLUTANTS))
    whole = whole + 0.1 * rng.normal(size=whole.shape)
    seen = np.where(rng.random(whole.shape) < 0.1, np.nan, whole)
    seen[4, :, 1] = np.nan
    return seen, whole


class Wild:
    """A stand-in for components: right where a pair was seen, and anything where it was not."""

    def __init__(self, whole: np.ndarray, obs: Observations):
        pairs = np.zeros((STATIONS, POLLUTANTS), bool)
        pairs[obs.coords[0], obs.coords[2]] = True
        self.whole = whole
        self.values = np.where(pairs[:, None], whole, np.arange(STATIONS)[:, None, None] * 10.0)

    def at(self, indices):
        return self.values[tuple(indices.T)]

    def again(self, obs, tools):
        return Wild(self.whole, obs)

    def words(self, modes):
        return "anything"


def test_without_leaning_a_pair_is_the_mean_of_the_others():
    seen, _ = air()
    obs = Observations.from_array(seen)
    cells = np.stack([np.full(HOURS, 4), np.arange(HOURS), np.full(HOURS, 1)], axis=1)
    found = Typical.of(obs, (1,), 0, lean=0.0)
    np.testing.assert_allclose(found.at(cells), np.nanmean(seen[:, :, 1], axis=0), rtol=1e-12)
    assert np.isnan(found.at(np.array([[4, 0, 0], [3, 0, 1]]))).all(), "of pairs that were seen it says nothing"


def test_leaning_is_the_ridge_regression_on_what_the_station_does_measure():
    seen, whole = air()
    found = Typical.of(Observations.from_array(seen), (1,), 0)
    cells = np.stack([np.full(HOURS, 4), np.arange(HOURS), np.full(HOURS, 1)], axis=1)
    apart = np.nan_to_num(seen - np.nanmean(seen, axis=0))
    known = ~np.isnan(seen[:, :, 1])
    columns, target = apart[..., [0, 2]][known], apart[..., 1][known]
    ridge = 0.01 * np.trace(columns.T @ columns) / 2
    more = np.sqrt(ridge) * np.eye(2)  # ridge regression as least squares with two rows more
    slopes = np.linalg.lstsq(np.vstack([columns, more]), np.append(target, [0, 0]), rcond=None)[0]
    np.testing.assert_allclose(found.at(cells), np.nanmean(seen[:, :, 1], axis=0) + apart[4][:, [0, 2]] @ slopes, rtol=1e-9)
    error = [
        np.sqrt(np.mean((Typical.of(Observations.from_array(seen), (1,), 0, lean).at(cells) - whole[4, :, 1]) ** 2)) for lean in (0, 1)
    ]
    assert error[1] < error[0], "a station that is high is high in what it never measured"


@pytest.mark.parametrize("effects", [False, True])
def test_what_is_anything_is_amended_and_what_is_right_stays(effects):
    seen, whole = air()
    obs = Observations.from_array(seen)
    base = MainEffects.fit(obs).full() if effects else np.zeros(obs.shape)
    cells = np.argwhere(np.isnan(seen))
    never = (cells[:, 0] == 4) & (cells[:, 2] == 1)
    with Workers(1) as workers:
        tools = Tools(workers, iter(np.random.default_rng(0).spawn(4)))
        found = amended(Wild(whole - base, obs), obs, effects=effects, tools=tools)
        assert isinstance(found, Amended) and found.share < 0.1
        rest = obs.with_values(obs.values - (MainEffects.fit(obs).at(obs.indices) if effects else 0.0))
        said = found.again(rest, tools).at(cells) + base[tuple(cells.T)]
        wild = Wild(whole - base, obs).at(cells) + base[tuple(cells.T)]
        np.testing.assert_array_equal(said[~never], wild[~never])
        assert np.sqrt(np.mean((said - whole[tuple(cells.T)])[never] ** 2)) < 1.0
        sure = type("Sure", (Wild,), {"at": lambda self, i: whole[tuple(i.T)], "again": lambda self, obs, tools: self})(whole, obs)
        assert amended(sure, obs, effects=False, tools=tools) is sure


def test_the_mode_whose_slices_are_alike_is_found():
    """Three airports and seven variables: temperature at one is like that at the others, and not like its own pressure."""
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(80, 7)).cumsum(axis=0)
    whole = waves + 0.1 * rng.normal(size=(3, 80, 7))
    seen = np.where(rng.random(whole.shape) < 0.05, np.nan, whole)
    seen[0, :, 2] = np.nan
    obs = Observations.from_array(seen)

    class Nothing(Wild):
        def __init__(self):
            pass

        def at(self, indices):
            return np.zeros(len(indices))

        def again(self, obs, tools):
            return self

    with Workers(1) as workers:
        found = amended(Nothing(), obs, effects=False, tools=Tools(workers, iter(np.random.default_rng(0).spawn(4))))
    assert isinstance(found, Amended) and isinstance(found.other, Typical) and found.other.like == 0
    cells = np.stack([np.zeros(80, int), np.arange(80), np.full(80, 2)], axis=1)
    assert np.sqrt(np.mean((found.at(cells) - whole[0, :, 2]) ** 2)) < 0.3


def test_without_such_pairs_nothing_is_asked():
    seen, whole = air()
    seen[4, :, 1] = np.where(np.arange(HOURS) % 3, whole[4, :, 1], np.nan)
    obs = Observations.from_array(seen)
    assert amended(tree := Wild(whole, obs), obs, effects=False, tools=None) is tree  # type: ignore[arg-type]


def test_more_pairs_are_left_out_in_turns_and_none_twice():
    seen, _ = air()
    obs = Observations.from_array(seen)
    kinds, parts = left_out(obs, np.random.default_rng(0), None, 100)
    assert kinds is not None
    number = next(n for n in range(len(kinds.kinds)) if kinds.never_seen(n))
    turns = []
    for mask, _ in parts:
        of_entry = kinds.of_left_out(obs.subset(mask), obs.subset(~mask))
        turns.append({tuple(pair) for pair in obs.coords[:, mask][:, of_entry == number][[0, 2]].T.tolist()})
    turns = [turn for turn in turns if turn]
    assert len(turns) == 3 and not set.intersection(*turns) and len(set.union(*turns)) == sum(map(len, turns)) >= 6
    assert all(pollutant == 1 for turn in turns for _, pollutant in turn)


def test_the_answer_says_so_and_a_pair_is_filled_like_the_others():
    """A product of low rank in which components say nothing of the pair's level: its fill errs less, and intervals hold it."""
    seen, whole = air(1)
    how = {"depth": 1.0, "penalty": 1.0, "noise": None, "value_transform": None, "effort": "fast", "random_state": 0}
    with pytest.warns(UserWarning, match="never observed"):
        done = complete(seen, modes=["station", "hour", "pollutant"], effects=False, experts=["timeline"], **how)
    assert "of pairs never seen" in done.answer and "what other slices of station are" in done.answer
    error = np.sqrt(np.mean((done.array() - whole)[4, :, 1] ** 2))
    lower, upper = done.interval(0.9)
    inside = np.mean((lower <= whole) & (whole <= upper), axis=1)[4, 1]
    assert error < 0.8, "levels of pairs differ by .3, and of stations by 1"
    assert inside > 0.7
    assert Kinds.of(done.observations) is not None
