"""Components to stand on: how many there are, whether they are real, and on which grounds.

    R components are real where every one of them
      is found again from other random starts, and in halves of the data       (factor match score [acar2011])
      makes entries that were held out clearly better filled                   (their error falls surely, and clearly)
      and is cancelled by no other, nor runs away on cells that nobody saw.

`R` goes up for as long as entries held out are surely better filled, and then down until all of this holds. Core consistency
[bro2003] is given beside it: with the core ``G`` that fits the observed cells best, ``100 (1 - |G - I|^2 / R)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless import als
from rankless.kinds import Roles, understand
from rankless.runtime.seeds import check_seed
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Marks, Observations
from rankless.trust.diagnostics import components as of_components
from rankless.trust.labelled import loadings
from rankless.trust.matching import aligned, match

if TYPE_CHECKING:
    import pandas as pd

SEEDS, HALVES = 10, 3  # random starts; times that the data are halved
FOUND = 0.9  # factor match score from which a component is the same one
SURE = 3.0  # standard errors by which errors on held-out entries have to fall for one component more
CLEARLY = 0.01  # ... and its relative fall
PATIENCE = 2  # ranks in a row that do not help, after which no more are tried
STARTS = 3  # random starts of each rank while it goes up
HOLDOUT, MIN_HELD, MOST_HELD = 0.1, 500, 0.3  # share of the entries held out; of few so many, up to the last share
MOST = 12  # components that are tried, unless said otherwise
ENTRIES = 40  # entries for each number of the core from which it is found, at most
CORE = 1500  # numbers of a core, at most
LEAST = 1e-7  # penalty, for values at unit root mean square, of data without noise
GUARD = 1e-3  # charge on squares of all cells, over that of observed ones: without it loadings that nothing was seen of are anything


@dataclass(frozen=True, eq=False)
class Rank:
    """What was found of one number of components.

    model : the fit to all entries, in the units of the data.
    error : root mean square error on held-out entries.
    seeds : factor match score of each component (columns) in each fit from another random start (rows).
    halves : the same for fits to halves of the data.
    core : core consistency; NaN where the core would have too many numbers.
    rise : by which share the held-out error rises without each component, the others fitted again.
    surely : by how many standard errors.
    sound : False for a component that another one cancels, or that lies where nothing was seen.
    """

    model: CPTensor
    error: float
    seeds: np.ndarray
    halves: np.ndarray
    core: float
    rise: np.ndarray
    surely: np.ndarray
    sound: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """For each component whether it is real; see the module."""
        again = (np.median(self.seeds, axis=0) >= FOUND) & (np.median(self.halves, axis=0) >= FOUND)
        return again & (self.surely >= SURE) & self.sound


@dataclass(frozen=True, eq=False)
class Assurance:
    """How many components, and are they real: `count`, the sentence ``str(...)``, and the grounds.

    ranks : what was found of every number of components that was looked at in full, by that number.
    errors : root mean square error on held-out entries of every number of components, from 0 on.
    half : what was halved: ``"cells"``, or the name of a mode.
    """

    count: int
    ranks: dict[int, Rank]
    errors: np.ndarray
    half: str

    @property
    def model(self) -> CPTensor:
        """The components, as `conventional` has them; of rank 0 where none is real."""
        if not self.count:
            return CPTensor([np.zeros((d, 0)) for d in next(iter(self.ranks.values())).model.shape])
        return self.ranks[self.count].model

    def table(self) -> pd.DataFrame:
        """A row for each component of every number of components that was looked at in full.

        rank, component : how many there are, and which of them.
        seeds, halves : the median of its match in other starts, and in halves of the data; `seeds_low` and `halves_low` the least.
        rise : by which share the held-out error rises without it; surely : in standard errors.
        core_consistency : of all components together.
        real : whether all grounds hold.
        """
        import pandas as pd

        rows = []
        for rank, found in sorted(self.ranks.items()):
            for r in range(rank):
                rows.append(
                    {
                        "rank": rank,
                        "component": r,
                        "seeds": float(np.median(found.seeds[:, r])),
                        "seeds_low": float(found.seeds[:, r].min()),
                        "halves": float(np.median(found.halves[:, r])),
                        "halves_low": float(found.halves[:, r].min()),
                        "rise": float(found.rise[r]),
                        "surely": float(found.surely[r]),
                        "core_consistency": found.core,
                        "real": bool(found.real[r]),
                    }
                )
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        best = int(np.argmin(self.errors))
        fall = 1 - self.errors[: best + 1].min() / self.errors[0] if self.errors[0] > 0 else 0.0
        halves = f"halves of the {'cells' if self.half == 'cells' else f'slices of {self.half}'}"
        if not self.count:
            found = self.ranks[min(self.ranks)]
            again, apart = float(np.median(found.halves)), float(np.median(found.seeds))
            return (
                f"No component is real: held-out entries are {_percent(fall)} better filled with components than without, and a single one "
                f"has a match of {again:.2f} in {halves} and {apart:.2f} from other random starts."
            )
        found = self.ranks[self.count]
        starts, rise = f"{len(found.seeds)} random starts (match {_range(found.seeds)})", _percent(float(found.rise.min()))
        many = "One component, and it is real" if self.count == 1 else f"{_word(self.count)} components, and they are real"
        core = "" if not np.isfinite(found.core) or self.count < 2 else f", core consistency {found.core:.1f}"
        least = "without it" if self.count == 1 else "without any one of them"
        return (
            f"{many}: found again from {starts} and in {len(found.halves)} {halves} (match {_range(found.halves)}){core}; "
            f"{least} the held-out error rises by {rise} or more."
        )


@dataclass(frozen=True, eq=False)
class Factorization:
    """Components of data, and the grounds on which to believe them.

    model : the components, of unit length in every mode but the first; see `conventional`.
    observations : what they were fitted to.
    assurance : how many, and are they real.
    """

    model: CPTensor
    observations: Observations
    assurance: Assurance

    @property
    def rank(self) -> int:
        """The number of components."""
        return self.model.rank

    def loadings(self, mode: str | int) -> pd.DataFrame:
        """A table of a mode's vectors: a row for each slice, under its label, and a column for each component."""
        return loadings(self.model, self.observations, self.observations.mode_index(mode)).rename_axis(columns="component")

    def to_tlviz(self) -> tuple[np.ndarray, list[pd.DataFrame]]:
        """``(weights, factors)`` as TLViz and TensorLy take them, each factor a table with the labels of its mode."""
        weights, factors = self.model.to_tensorly()
        unit = CPTensor(factors)
        return weights, [loadings(unit, self.observations, mode) for mode in range(unit.order)]

    def table(self) -> pd.DataFrame:
        """The grounds, a row for each component; see `Assurance.table`."""
        return self.assurance.table()

    def __str__(self) -> str:
        return str(self.assurance)


def factorize(
    data: Any,
    *,
    rank: int | None = None,
    nonnegative: bool | Sequence[bool] = False,
    depth: float = 0.0,
    half: str | int = "cells",
    seeds: int = SEEDS,
    halves: int = HALVES,
    max_rank: int = MOST,
    random_state: int = 0,
    n_jobs: int | None = None,
    modes: Sequence[str] | str | None = None,
    value: str | Sequence[str] | None = None,
    missing: Marks = (),
) -> Factorization:
    """The components of `data`, for those who want to read them: one fit of the largest number that is real, nothing summed.

    Parameters
    ----------
    data, modes, value, missing : as in `rankless.complete`; NaN was not observed. Nothing is taken off before the fit.
    rank : how many components; None: as many as are real, which may be none. With a number the grounds are given all the same.
    nonnegative : True, or one bool a mode.
    depth : `k` >= 0 of the penalty, which is as small as the noise.
    half : ``"cells"``: halves are random halves of the cells; or the mode whose slices are halved, such as samples: its vectors
        are then not compared.
    seeds, halves : random starts, and times that the data are halved.
    max_rank : components that are tried, at most.

    >>> rng = np.random.default_rng(0)
    >>> planted = CPTensor([rng.normal(size=(d, 2)) for d in (12, 10, 8)])
    >>> found = factorize(planted.full() + 0.1 * rng.normal(size=planted.shape), n_jobs=1)
    >>> found.rank, match(found.model, planted, sizes=False).score > 0.99
    (2, True)
    """
    obs = understand(data, Roles(modes=modes, value=value, missing=missing)).observations
    if rank is not None and not (isinstance(rank, (int, np.integer)) and not isinstance(rank, bool) and rank >= 1):
        raise ValueError(f"rank={rank!r} is not a number of components; pass 1 or more, or leave it out to have it found")
    options = {"depth": depth, "nonnegative": nonnegative, "half": half, "seeds": seeds, "halves": halves}
    found = assured(obs, max_rank=max_rank if rank is None else rank, only=rank, random_state=random_state, n_jobs=n_jobs, **options)
    return Factorization(found.model if rank is None else found.ranks[rank].model, obs, found)


def assured(
    obs: Observations,
    *,
    max_rank: int = MOST,
    only: int | None = None,
    depth: float = 0.0,
    nonnegative: bool | Sequence[bool] = False,
    half: str | int = "cells",
    seeds: int = SEEDS,
    halves: int = HALVES,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> Assurance:
    """How many components of `obs` are real; the options are those of `factorize`.

    `only` looks at that number of components alone.

    Raises ValueError where an option is out of range or nothing can be held out.
    """
    for name, number, least in (("max_rank", max_rank, 1), ("seeds", seeds, 2), ("halves", halves, 1)):
        if not (isinstance(number, (int, np.integer)) and number >= least):
            raise ValueError(f"{name}={number!r} is not a whole number from {least} on")
    check_seed(random_state)
    if not np.ptp(obs.values):
        raise ValueError("the data are constant: there are no components to look for")
    mode = None if half == "cells" else obs.mode_index(half)
    if mode is not None and obs.shape[mode] < 4:
        raise ValueError(f"half={half!r} has {obs.shape[mode]} slices, too few to halve; pass half='cells'")
    rng = np.random.default_rng(random_state)
    units, scale = obs.with_values(obs.values.astype(np.float64)).scaled()
    train, held = units.split(min(max(HOLDOUT, MIN_HELD / obs.size), MOST_HELD), seed=rng)
    if not held.size:
        raise ValueError(f"of {obs.size} observed entries none can be held out; observe more a slice")
    how = _How(depth, nonnegative, n_jobs)
    tried = list(_upwards(train, held, how, max_rank if only is None else only, rng))
    left = [held.values**2, *(each.left for each in tried)]
    errors = scale * np.sqrt([each.mean() for each in left])
    ranks: dict[int, Rank] = {}
    best = _surely_best(left) if only is None else only
    for rank in range(max(best, 1), 0, -1):
        ranks[rank] = _looked_at(units, train, held, tried[rank - 1], scale, how, mode, seeds, halves, rng)
        if only is not None or ranks[rank].real.all():
            break
    count = next((rank for rank, found in ranks.items() if found.real.all()), 0) if best else 0
    return Assurance(count, ranks, errors, "cells" if mode is None else obs.modes[mode])


def conventional(model: CPTensor, scores: int = 0) -> CPTensor:
    """The same tensor as chemometrics writes it: vectors of unit length, but in the mode `scores`, which carries the sizes; largest first.

    Every vector points to where its entries are larger, by the sum of their cubes, but in the mode `scores`, which takes the sign.

    >>> found = conventional(CPTensor([np.array([[2.0], [2.0]]), np.array([[-3.0], [0.0]])]))
    >>> [(factor.ravel() + 0.0).tolist() for factor in found.factors]
    [[-6.0, -6.0], [1.0, 0.0]]
    """
    order = np.argsort(-model.component_norms(), kind="stable")
    factors = [factor[:, order].astype(np.float64) for factor in model.factors]
    carried = np.ones(model.rank)
    for mode, factor in enumerate(factors):
        if mode != scores:
            norms = np.linalg.norm(factor, axis=0)
            signs = np.where(np.sum((factor / np.where(norms > 0, norms, 1.0)) ** 3, axis=0) < 0, -1.0, 1.0)
            factors[mode] = factor * signs / np.where(norms > 0, norms, 1.0)
            carried = carried * norms * signs
    factors[scores] = factors[scores] * carried
    return CPTensor(factors)


def core_consistency(model: CPTensor, obs: Observations, seed: int = 0) -> float:
    """``100 (1 - |G - I|^2 / R)`` with the core `G` that fits the observed cells best, 100 for a sum of outer products.

    The core has ``R^N`` numbers; beyond `CORE` of them NaN is returned. Of many entries a random part finds it.

    >>> rng = np.random.default_rng(0)
    >>> model = CPTensor([rng.normal(size=(d, 2)) for d in (6, 5, 4)])
    >>> round(core_consistency(model, Observations.from_array(model.full())), 6)
    100.0
    """
    rank, order = model.rank, model.order
    if not rank or rank**order > CORE:
        return float("nan")
    if rank == 1:
        return 100.0
    model = model.balanced()
    some = np.arange(obs.size)
    if obs.size > ENTRIES * rank**order:
        some = np.random.default_rng(seed).permutation(obs.size)[: ENTRIES * rank**order]
    design = np.ones((len(some), 1))
    for factor, place in zip(model.factors, obs.coords, strict=True):
        design = (design[:, :, None] * factor[place[some]][:, None, :]).reshape(len(some), -1)
    sizes = np.linalg.norm(design, axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)
    core = np.linalg.lstsq(design / sizes, obs.values[some], rcond=1e-10)[0] / sizes
    ideal = np.zeros((rank,) * order)
    ideal[(np.arange(rank),) * order] = 1.0
    return float(100.0 * (1.0 - np.sum((core - ideal.ravel()) ** 2) / rank))


# --- how it is found ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _How:
    depth: float
    nonnegative: bool | Sequence[bool]
    n_jobs: int | None

    def several(self, obs: Observations, rank: int, penalty: float, starts: int, rng: np.random.Generator) -> list[als.Fit]:
        """Fits from so many random starts, the one of the least objective first."""
        signs: Any = self.nonnegative
        known: Any = {"nonnegative": signs, "n_jobs": self.n_jobs, "anneal_rounds": 2, "max_sweeps": 300, "tol": 1e-6, "guard": GUARD}
        known |= {"depth": self.depth, "penalty": penalty, "max_rank": rank}
        fits = [als.solve(obs, random_state=int(seed), **known) for seed in rng.integers(2**31, size=starts)]
        return sorted(fits, key=lambda fit: fit.objective[-1])


@dataclass(frozen=True, eq=False)
class _Tried:
    """The best fit of a rank to the training entries, its penalty, and its squared errors on the held-out ones."""

    rank: int
    penalty: float
    model: CPTensor
    left: np.ndarray


def _upwards(train: Observations, held: Observations, how: _How, most: int, rng: np.random.Generator) -> Iterator[_Tried]:
    """One component more at a time, for as long as it helps; the penalty is the noise that the last one left."""
    noise, best, worse = float(np.mean(held.values**2)), held.values**2, 0
    for rank in range(1, most + 1):
        penalty = max(noise, LEAST)
        model = how.several(train, rank, penalty, STARTS, rng)[0].model
        left = (held.values - model.at(held.indices)) ** 2 if model.rank else held.values**2
        yield _Tried(rank, penalty, model, left)
        noise = min(noise, float(left.mean()))
        if _surely(best, left) >= SURE and left.mean() < (1 - CLEARLY) * best.mean():
            best, worse = left, 0
        else:
            worse += 1
            if worse >= PATIENCE and most == MOST:
                return


def _surely(before: np.ndarray, after: np.ndarray) -> float:
    """By how many standard errors the errors fall in size, given their squares: squares themselves have tails too heavy to tell."""
    falls = np.sqrt(before) - np.sqrt(after)
    spread = float(falls.std())
    return float(falls.mean()) * np.sqrt(len(falls)) / spread if spread > 0 else 0.0


def _surely_best(left: Sequence[np.ndarray]) -> int:
    """The number of components beyond which none surely helps."""
    best = 0
    for rank in range(1, len(left)):
        if _surely(left[best], left[rank]) >= SURE and left[rank].mean() < (1 - CLEARLY) * left[best].mean():
            best = rank
    return best


def _looked_at(
    units: Observations,
    train: Observations,
    held: Observations,
    tried: _Tried,
    scale: float,
    how: _How,
    mode: int | None,
    seeds: int,
    halves: int,
    rng: np.random.Generator,
) -> Rank:
    """One number of components in full."""
    rank, penalty = tried.rank, max(float(tried.left.mean()), LEAST)
    fits = how.several(units, rank, penalty, seeds + 1, rng)
    whole = conventional(_padded(fits[0].model, rank))
    again = np.stack([_scores(whole, fit.model) for fit in fits[1:]])
    parts = []
    for _ in range(halves):
        for part in _halves(units, mode, rng):
            parts.append(_scores(whole, how.several(part, rank, penalty, 2, rng)[0].model, without=mode))
    rise, surely = _without_each(train, held, aligned(whole, _padded(tried.model, rank), sizes=False), tried.left, penalty, how)
    about = of_components([whole], units) if rank else None
    sound = np.ones(rank, bool) if about is None else ~about["runaway"].to_numpy() & (about["cancels"].to_numpy() < 0)
    core = core_consistency(whole, units)
    model = CPTensor([factor * scale if m == 0 else factor for m, factor in enumerate(whole.factors)])
    return Rank(model, scale * float(np.sqrt(tried.left.mean())), again, np.stack(parts), core, rise, surely, sound)


def _padded(model: CPTensor, rank: int) -> CPTensor:
    """`model` with components of nothing, where some did not pay and were pruned."""
    return CPTensor([np.column_stack([f, np.zeros((len(f), rank - model.rank))]) for f in model.factors]) if model.rank < rank else model


def _scores(whole: CPTensor, other: CPTensor, without: int | None = None) -> np.ndarray:
    """The match of each component of `whole` in `other`; 0 for one that has no partner."""
    if without is not None:
        whole, other = (CPTensor([f for m, f in enumerate(each.factors) if m != without]) for each in (whole, other))
    found = match(whole, other, sizes=False)
    scores = np.zeros(whole.rank)
    scores[found.pairs[:, 0]] = found.scores
    return scores


def _halves(obs: Observations, mode: int | None, rng: np.random.Generator) -> tuple[Observations, Observations]:
    """Two random halves of the cells, or of the slices of `mode`."""
    if mode is None:
        mask = rng.random(obs.size) < 0.5
    else:
        first = np.zeros(obs.shape[mode], bool)
        first[rng.permutation(obs.shape[mode])[: obs.shape[mode] // 2]] = True
        mask = first[obs.coords[mode]]
    return obs.subset(mask), obs.subset(~mask)


def _without_each(
    train: Observations, held: Observations, model: CPTensor, left: np.ndarray, penalty: float, how: _How
) -> tuple[np.ndarray, np.ndarray]:
    """By which share the held-out error rises without each component, the others fitted again from where they are; and how surely."""
    rise, surely = np.zeros(model.rank), np.zeros(model.rank)
    before = float(np.sqrt(left.mean()))
    for r in range(model.rank):
        rest = CPTensor([np.delete(factor, r, axis=1) for factor in model.factors])
        rest = _refitted(train, rest, penalty, how)
        gone = (held.values - rest.at(held.indices)) ** 2 if rest.rank else held.values**2
        rise[r] = float(np.sqrt(gone.mean())) / before - 1.0 if before > 0 else np.inf
        surely[r] = _surely(gone, left)
    return rise, surely


def _refitted(obs: Observations, model: CPTensor, penalty: float, how: _How) -> CPTensor:
    """`model` settled at this penalty from where it is."""
    from rankless.als.entries import Entries
    from rankless.als.losses import Gaussian
    from rankless.als.majorise import Target
    from rankless.als.settle import settle
    from rankless.als.solver import Problem, State, balance
    from rankless.runtime.workers import Workers

    if not model.rank:
        return model
    state = State(np.concatenate(model.factors), np.concatenate([[0], np.cumsum(model.shape)]))
    balance(state)
    problem = Problem(how.depth, penalty, GUARD, max_sweeps=100, tol=1e-5, forgiving=True)
    positive = als.signs_of(how.nonnegative, obs.order)
    with Workers(how.n_jobs) as workers:
        settle(Target(obs, Gaussian(), positive) if any(positive) else Entries(obs), state, problem, workers)
    return state.model()


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if abs(share) >= 0.01 or not share else f"{100 * share:.1f} %"


def _range(scores: np.ndarray) -> str:
    low, high = float(scores.min()), float(scores.max())
    return f"{low:.3f} to {high:.3f}"


def _word(count: int) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
    return words[count] if count < len(words) else str(count)
