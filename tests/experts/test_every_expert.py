"""What every expert must hold to: fitting again, permuted modes, the same bits, silence where nothing is known, and when it pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from rankless.answer.tree import Predictor, Tools
from rankless.engine import EXPERTS, beside
from rankless.engine.sides import Side
from rankless.experts.task import Expert, Task
from rankless.holdout.judge import Judge
from rankless.holdout.split import held_out
from rankless.runtime.pack import pack, unpack
from rankless.runtime.workers import Workers
from rankless.search.walk import Limits, Search
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations

DAYS, SITES, KINDS = 60, 4, 3
CELLS = np.argwhere(np.ones((DAYS, SITES, KINDS)))


def smooth(seed: int = 0) -> Observations:
    """Day x site x kind: every series a slow wave of its own, kinds mixtures of each other, cells missing here and there."""
    rng, t = np.random.default_rng(seed), np.arange(DAYS)
    waves = np.stack([np.sin(t / 6 + phase) for phase in rng.uniform(0, 6, 6)], axis=1)
    truth = (waves @ rng.normal(size=(6, SITES * KINDS))).reshape(DAYS, SITES, KINDS)
    return Observations.from_array(np.where(rng.random(truth.shape) < 0.7, truth + 0.02 * rng.normal(size=truth.shape), np.nan))


def daily(seed: int = 0) -> Observations:
    """Step x site x kind, six steps a period: every site and kind has a profile, each time as strong as the period is."""
    rng = np.random.default_rng(seed)
    strong, profile = 1 + 0.3 * rng.normal(size=(DAYS // 6, 1, 1, 1)), rng.normal(size=(6, SITES, KINDS))
    truth = (strong * profile).reshape(DAYS, SITES, KINDS)
    return Observations.from_array(np.where(rng.random(truth.shape) < 0.7, truth + 0.2 * rng.normal(size=truth.shape), np.nan))


def planted(expert: Expert) -> Observations:
    """Data that the expert is for."""
    return daily() if expert.name == "periods" else smooth()


def white(seed: int = 0) -> Observations:
    """Noise of which nobody can say anything."""
    rng = np.random.default_rng(seed)
    array = rng.normal(size=(DAYS, SITES, KINDS))
    return Observations.from_array(np.where(rng.random(array.shape) < 0.7, array, np.nan))


def task_of(obs: Observations) -> Task:
    """Nothing is said so far."""
    train, held = held_out(obs, 0.2, np.random.default_rng(1))
    return asked(train, held)


def asked(train: Observations, held: Observations) -> Task:
    return Task(train, held, held.values, Judge(held.values, held, None, None), None, None, Axes.of(train))


@pytest.fixture
def tools() -> Iterator[Tools]:
    with Workers(1) as workers:
        yield Tools(workers, streams())


def streams() -> Iterator[np.random.Generator]:
    return iter(np.random.default_rng(0).spawn(64))


def best_of(expert: Expert, task: Task, tools: Tools) -> Predictor:
    return min(expert.offers(task, tools), key=lambda predictor: task.beside(task.at_held(predictor))[0])


SETTLED = {"periods": 0.05}  # a refit of components is driven further than the search drives them
SEARCHED = {"periods": 0.2}  # components start at random, each mode from numbers of its own
everyone = pytest.mark.parametrize("expert", EXPERTS, ids=lambda expert: expert.name)


@everyone
def test_its_cost_is_known(expert):
    assert expert.cost(task_of(planted(expert))) > 0


@everyone
def test_fitted_again_to_the_same_entries_it_says_the_same(expert, tools):
    task = task_of(planted(expert))
    draws_anew = expert.name == "periods"  # what it offers first is not drawn
    offered = next(iter(expert.offers(task, tools))) if draws_anew else best_of(expert, task, tools)
    again = offered.again(task.train, tools).at(task.held.indices)
    np.testing.assert_allclose(again, offered.at(task.held.indices), atol=SETTLED.get(expert.name, 1e-9))


@pytest.mark.parametrize("expert", [expert for expert in EXPERTS if expert.name != "periods"], ids=lambda expert: expert.name)
def test_it_can_be_written_to_a_file_and_read(expert, tools):
    task = task_of(planted(expert))
    offered = next(iter(expert.offers(task, tools)))
    read = unpack(pack(offered), {type(part) for part in parts_of(offered)})
    np.testing.assert_array_equal(read.at(task.held.indices), offered.at(task.held.indices))


def parts_of(value: Any) -> Iterator[Any]:
    """Every dataclass in `value`."""
    if is_dataclass(value):
        yield value
        value = [getattr(value, field.name) for field in fields(value) if field.init]
    for part in value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else ():
        yield from parts_of(part)


@everyone
def test_modes_may_stand_in_any_order(expert, tools):
    def turned(obs: Observations) -> Observations:
        return Observations.from_indices(obs.indices[:, [2, 0, 1]], obs.values, shape=(KINDS, DAYS, SITES))

    one = task_of(planted(expert))
    other = asked(turned(one.train), turned(one.held))
    scores = [task.beside(task.at_held(best_of(expert, task, tools)))[0] for task in (one, other)]
    assert scores[0] == pytest.approx(scores[1], rel=SEARCHED.get(expert.name, 1e-4)), "as far as iterations that stop are driven"


@everyone
def test_the_same_bits_on_any_number_of_threads(expert):
    task, said = task_of(planted(expert)), []
    for n_jobs in (1, 2):
        with Workers(n_jobs) as workers:
            said.append(best_of(expert, task, Tools(workers, streams())).at(task.held.indices))
    np.testing.assert_array_equal(*said)


@everyone
def test_it_pays_where_series_are_smooth_and_alike_and_not_on_noise(expert, tools):
    task = task_of(planted(expert))
    assert task.judge.pays(task.residual, task.beside(task.at_held(best_of(expert, task, tools)))[2])
    for seed in range(3):
        task = task_of(white(seed))
        for offered in expert.offers(task, tools):
            assert not task.judge.pays(task.residual, task.beside(task.at_held(offered))[2])


@everyone
def test_of_a_series_never_seen_it_is_silent_or_says_something_finite(expert, tools):
    obs = planted(expert)
    task = task_of(obs.subset(~((obs.coords[1] == 2) & (obs.coords[2] == 1))))
    said = best_of(expert, task, tools).at(CELLS)
    assert not np.isinf(said).any()
    assert not np.isnan(said[(CELLS[:, 1] != 2) | (CELLS[:, 2] != 1)]).any()


# --- the engine, with fakes -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Said:
    """Says what it was made with, cell by cell."""

    values: np.ndarray

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.values[tuple(indices.T)]

    def again(self, obs: Observations, tools: Tools) -> Said:
        return self

    def words(self, modes: Sequence[str]) -> str:
        return "said"


@dataclass(frozen=True, eq=False)
class Fake:
    name: str
    values: np.ndarray
    work: float = 1.0

    def cost(self, task: Task) -> float:
        return self.work

    def offers(self, task: Task, tools: Tools) -> Iterator[Said]:
        yield Said(self.values)


def test_the_engine_takes_what_pays_in_its_share_and_names_whom_it_did_not_ask():
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(30, 40)), rng.normal(size=(3, 30, 40))
    obs = Observations.from_array(truth)
    train, held = held_out(obs, 0.3, rng)
    with Workers(1) as workers:
        search = Search(train, held, Limits(), streams(), workers)
        first = Said(truth + noise[0])
        side = Side(search, train, held, first, held.values - first.at(held.indices))
        good = truth + 0.5 * noise[1]
        experts: list[Any] = [Fake("good", good), Fake("worthless", noise[2]), Fake("dear", truth, np.inf)]
        answer, errors, unasked = beside(first, side, None, None, Axes.of(obs), experts)
    assert unasked == ["dear"]
    assert [member.values is said for member, said in zip(answer.members, (first.values, good), strict=True)] == [True, True]  # pyright: ignore[reportAttributeAccessIssue]
    # of errors of variance 1 and 1/4 about a signal of variance 1, least squares gives shares of 1/6 and 4/6
    np.testing.assert_allclose(np.ravel(answer.shares), [1 / 6, 4 / 6], atol=0.08)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(errors.residual, held.values - answer.at(held.indices))
    assert errors.rmse < 0.5
