"""Tucker and train networks with depth, for data whose multilinear rank is low where their CP rank is not.

Not among the experts that are asked by default: pass ``experts=["components", MultilinearExpert()]`` to `rankless.complete`.
With ``model="tucker"`` or ``"train"`` such a network takes the place of the components; `best_network` chooses its layers, penalty
and ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rankless.als.annealing import empty
from rankless.als.networks import UNKNOWNS, NetworkFit, resumed, solve_train, solve_tucker, values_at
from rankless.answer.tree import Tools, left_by
from rankless.experts.components import silenced, unseen_in
from rankless.experts.task import Task
from rankless.holdout.scoring import Point, score_of, score_residual
from rankless.search.walk import HOPELESS, WORSE, Search
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.error import rmse_of
from rankless.units.frame import Frame

SOLVERS = {"tucker": solve_tucker, "train": solve_train}
LAYERS = (1.0, 4.0)  # plain, and deep enough to find the rank
PENALTIES = (0.1, 0.3, 1.0)  # for values of unit root mean square
SWEEPS = 150
WORK = 1e12  # multiply-adds of all fits, at most

# of the search for one network in the place of components
PATH = tuple(float(p) for p in np.geomspace(0.003, 30.0, 9))  # penalties, from weak to strong: columns go as it grows
CORE = 640  # numbers of a core, at most, unless `max_rank` says otherwise
# How far a fit is driven: up the penalties, from the best of them on, and in the end. Where there is little noise a fit that stops early
# errs by how early it stopped, and which is best would hang on rounding.
WALKED, SETTLED, REFITTED = {"tol": 1e-3, "max_sweeps": 40}, {"tol": 1e-5, "max_sweeps": 60}, {"tol": 1e-6, "max_sweeps": 300}
EARNED = 0.99  # share of the score without main effects from which they earn their place
PATIENCE = 2  # penalties in a row that are worse than the best, after which the walk ends


@dataclass(frozen=True, eq=False)
class Multilinear:
    """A network of the family `model` with chains of `layers`, under a penalty for values of unit root mean square.

    Attributes
    ----------
    size : what values are divided by in the fit, their root mean square.
    arrays : the core and the factors of a "tucker"; the cores and the bonds of a "train" (`als.networks.NetworkFit.flat`).
    unseen : for each mode a mask of the slices without an entry, of which nothing is known.
    """

    model: str
    layers: float
    penalty: float
    size: float
    arrays: tuple[np.ndarray, ...]
    unseen: tuple[np.ndarray, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Columns of every factor of a Tucker, of every bond of a train."""
        if self.model == "tucker":
            return tuple(map(int, self.arrays[0].shape))
        return tuple(len(bond) for bond in self.arrays[len(self.unseen) :])

    @property
    def components(self) -> CPTensor:
        """A CP tensor of rank 0: a network has no CP components."""
        return CPTensor([np.zeros((len(mask), 0)) for mask in self.unseen])

    def at(self, indices: np.ndarray) -> np.ndarray:
        return silenced(self.size * values_at(self.model, self.arrays, indices), indices, self.unseen)

    def again(self, obs: Observations, tools: Tools) -> Multilinear:
        """The same network fitted to `obs`, driven to rest from where it stands.

        Where gaps are left out or slices are new it starts at random, with a column more than was found in every place, which goes again
        if it does not pay.
        """
        size, target = _brought_near_one(obs)
        how = {"layers": self.layers, "penalty": self.penalty, **REFITTED}
        if not tools.gaps and tuple(len(mask) for mask in self.unseen) == obs.shape:
            fit = resumed(self.model, target, self.arrays, **how)
        else:
            fit = SOLVERS[self.model](target, ranks=[r + 1 for r in self.ranks], **how)
        return _of(fit, self.model, self.layers, self.penalty, size, obs)

    def words(self, modes: Sequence[str]) -> str:
        return f"a {self.model} of ranks {', '.join(map(str, self.ranks))}"


def _brought_near_one(obs: Observations) -> tuple[float, Observations]:
    """The root mean square of the values, and the entries divided by it."""
    size = float(np.sqrt(np.average(np.asarray(obs.values, dtype=float) ** 2, weights=obs.weights))) or 1.0
    return size, obs.with_values(obs.values / size)


def _of(fit: NetworkFit, model: str, layers: float, penalty: float, size: float, obs: Observations) -> Multilinear:
    return Multilinear(model, layers, penalty, size, fit.flat, unseen_in(obs, (), None))


def fitted(obs: Observations, model: str, layers: float, penalty: float) -> Multilinear:
    """The network fitted to `obs` from a random start."""
    size, target = _brought_near_one(obs)
    fit = SOLVERS[model](target, layers=layers, penalty=penalty, tol=1e-4, max_sweeps=SWEEPS)
    return _of(fit, model, layers, penalty, size, obs)


def most_columns(model: str, shape: Sequence[int], max_rank: int | None) -> list[int]:
    """The most columns of each factor of a Tucker, whose core has at most `CORE` numbers, or of each bond of a train.

    >>> most_columns("tucker", (20, 20, 20), None), most_columns("tucker", (35, 20, 12, 5), None), most_columns("train", (20, 3, 20), None)
    ([8, 8, 8], [5, 5, 5, 5], [8, 8])
    """
    if model == "train":
        ends = [min(np.prod(shape[:n], dtype=float), np.prod(shape[n:], dtype=float)) for n in range(1, len(shape))]
        return [int(min(end, max_rank or 8)) for end in ends]
    most = max_rank or next(r for r in range(max(shape), 0, -1) if r == 1 or np.prod([float(min(d, r)) for d in shape]) <= CORE)
    return [min(d, most) for d in shape]


def best_network(search: Search, found: list[tuple[Point, Multilinear]]) -> None:
    """Networks of the family of the limits, with their errors at the entries held out, the best one first in `found`.

    `found` is filled as the search goes on, so that whoever ends it keeps what there is. A walk goes up the penalties from as many
    columns as are allowed, each fit on from the one before, with the least depth allowed; from the best penalty on fits are then driven
    further, with layers and without. Main effects under the network are tried both ways, and have to earn their place.
    """
    walks = [_Walk.of(search, effects, found) for effects in search.limits.effects]
    least = min(walk.score for walk in walks)
    for walk in walks:
        if walk.score <= HOPELESS * least and not search.late("layers of the network"):
            walk.deepen(search, found)
    best = walks[0].best
    for walk in walks[1:]:
        if score_of(walk.best[0]) < EARNED * score_of(best[0]):
            best = walk.best
    found.sort(key=lambda each: (each[1] is not best[1], score_of(each[0])))
    search.tracker.stage(f"{search.limits.model} of ranks {', '.join(map(str, best[1].ranks))} fills entries held out best")


@dataclass(eq=False)
class _Walk:
    """Fits of one frame: those up the penalties, and those with more layers that go on from them."""

    frame: Frame
    left: Observations  # what main effects leave
    size: float
    target: Observations  # over their size
    penalties: list[float]
    plain: list[NetworkFit]  # of each penalty
    tried: list[tuple[Point, Multilinear]]  # of each penalty, then those with more layers

    @classmethod
    def of(cls, search: Search, effects: bool, found: list[tuple[Point, Multilinear]]) -> _Walk:
        limits, frame = search.limits, Frame.of(search.train, effects=effects)
        left = left_by(frame.offset, search.train)
        walk = cls(frame, left, *_brought_near_one(left), [], [], [])
        worse = 0
        for penalty in limits.penalties or PATH:
            if walk.plain and (worse == PATIENCE or search.late("stronger penalties")):
                break
            before = min((score_of(point) for point, _ in walk.tried), default=np.inf)
            how = {"layers": min(limits.depths) + 1.0, "penalty": penalty, **WALKED}
            if walk.plain:
                fit = resumed(limits.model, walk.target, walk.plain[-1].flat, **how)
            else:
                fit = SOLVERS[limits.model](walk.target, ranks=most_columns(limits.model, left.shape, limits.max_rank), **how)
            walk.penalties.append(penalty)
            walk.plain.append(fit)
            worse = worse + 1 if walk.add(search, fit, found, min(limits.depths), penalty) > WORSE * before else 0
        return walk

    @property
    def best(self) -> tuple[Point, Multilinear]:
        return min(self.tried, key=lambda each: score_of(each[0]))

    @property
    def score(self) -> float:
        return score_of(self.best[0])

    def deepen(self, search: Search, found: list[tuple[Point, Multilinear]]) -> None:
        """From the best penalty both ways for as long as that helps: every depth allowed, driven further from the fits that stand there."""
        at = int(np.argmin([score_of(point) for point, _ in self.tried]))
        best = self.settled(at, search, found)
        for step in (-1, 1):
            here = at + step
            while 0 <= here < len(self.penalties) and (score := self.settled(here, search, found)) < best:
                best, here = score, here + step

    def settled(self, at: int, search: Search, found: list[tuple[Point, Multilinear]]) -> float:
        """Fits of every depth allowed at penalty number `at`; the least score of them."""
        model, penalty, scores = search.limits.model, self.penalties[at], []
        for depth in sorted(search.limits.depths):
            fit = resumed(model, self.target, self.plain[at].flat, layers=depth + 1.0, penalty=penalty, **SETTLED)
            scores.append(self.add(search, fit, found, depth, penalty))
        return min(scores)

    def add(self, search: Search, fit: NetworkFit, found: list[tuple[Point, Multilinear]], depth: float, penalty: float) -> float:
        """Note a fit with its errors; its score."""
        search.tracker.stage(f"{search.limits.model}, depth {depth:g}, penalty {penalty:.3g}")
        network = _of(fit, search.limits.model, depth + 1.0, penalty, self.size, self.left)
        point = _scored(search, self.frame, network)
        self.tried.append((point, network))
        found.append((point, network))
        search.path.append(point.row(search.held, len(fit.objective) - 1, 0.0) | {"rank": max(network.ranks)})
        return score_of(point)


def _scored(search: Search, frame: Frame, network: Multilinear) -> Point:
    """The network as a point of a search; it has no components."""
    held, train = search.held, search.train
    residual = held.values - frame.offset_at(held.coords) - np.nan_to_num(network.at(held.indices))
    score, state = score_residual(frame, residual, held), empty(frame.entries(train.subset(np.arange(1))))
    return Point(frame, network.model, network.layers - 1, network.penalty, 0.0, state, score, rmse_of(residual, held), residual)


class MultilinearExpert:
    """Of every family the network whose layers and penalty fill held-out entries best."""

    name = "multilinear"

    def cost(self, task: Task) -> float:
        if task.train.order < 3:
            return np.inf  # of a matrix they are what components are
        unknowns = np.prod([float(min(d, 8)) for d in task.train.shape])  # of the core, which is solved for as a whole
        work = float(len(LAYERS) * len(PENALTIES) * SWEEPS * task.train.size * unknowns**2)
        return work if unknowns <= UNKNOWNS and work <= WORK else np.inf

    def offers(self, task: Task, tools: Tools) -> Iterator[Multilinear]:
        for model in SOLVERS:
            tools.workers.tracker.beat()
            trials = [fitted(task.train, model, layers, penalty) for layers in LAYERS for penalty in PENALTIES]
            yield min(trials, key=lambda trial: task.beside(task.at_held(trial))[0])
