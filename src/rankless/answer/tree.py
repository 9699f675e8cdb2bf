"""The answer is a small tree: predictors side by side in shares, one fitted to what another leaves, or one where nothing was seen.

    Stack   y(i) = sum_m share_m[slice of i] member_m(i)
    Onto    y(i) = base(i) + added(i),          `added` fitted to the observed values less `base`
    Bridged      y(i) = tree(i), and at times of which nothing at all was seen bridge(i)
    Amended   y(i) = tree(i), and where other(i) knows something share tree(i) + (1 - share) other(i)
    Grown   y(i) = old(i) in slices that were there, new(i) in slices that came later

A predictor says values at coordinates, NaN where it knows nothing, and can be fitted again to other entries with the same choices.
Refits on all entries, calibration of intervals and scores on entries that no choice has seen are all one recursion:
``answer.again(entries, tools)``. Folding new slices in and going on from where an answer stands are the same recursion with another
way to fit a leaf: `Branch.refitted`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axis
from rankless.tensors.observations import Observations, slices_at, slices_of

SPAWNED = 64  # random streams of a part of the answer that is searched for by itself


@dataclass(frozen=True, eq=False)
class Tools:
    """What fitting needs besides entries: threads with their journal, and random streams, one for each chain of draws."""

    workers: Workers
    streams: Iterator[np.random.Generator]
    afresh: bool = False  # whether chains of draws start anew: they must not remember entries that are left out now
    gaps: bool = False  # whether entries are left out as gaps come

    def own(self) -> Tools:
        """The same tools with many random streams, which all together take one of these."""
        return replace(self, streams=iter(next(self.streams).spawn(SPAWNED)))


@runtime_checkable
class Predictor(Protocol):
    """Says values at coordinates."""

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``; NaN where nothing is known."""
        ...

    def again(self, obs: Observations, tools: Tools) -> Predictor:
        """The same choices, fitted to other entries."""
        ...

    def words(self, modes: Sequence[str]) -> str:
        """What it is, in a few words."""
        ...


Fit = Callable[[Predictor, Observations], Predictor]  # a predictor of the larger or later data made of one of the old, given its entries


class Branch(ABC):
    """A predictor made of others: what its parts are fitted to, and how what they say is put together."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Predictor, ...]:
        """The predictors it is made of, in the order in which they are fitted."""

    @abstractmethod
    def refitted(self, obs: Observations, fit: Fit) -> Predictor:
        """The same of parts that `fit` makes, each of its own entries."""

    def again(self, obs: Observations, tools: Tools) -> Predictor:
        """The same choices, fitted to other entries."""
        return self.refitted(obs, lambda part, own: part.again(own, tools))


@dataclass(frozen=True, eq=False)
class Stack(Branch):
    """Predictors side by side, each in its share of each slice of `mode`, shape ``(d_mode,)``, or ``(1,)`` where that is None.

    Where some member says NaN, the first member answers alone; where the first says NaN, those that know something answer in their
    shares, which are scaled up to the sum of all shares.
    """

    members: tuple[Predictor, ...]
    shares: tuple[np.ndarray, ...]
    mode: int | None = None

    def at(self, indices: np.ndarray) -> np.ndarray:
        said = np.stack([member.at(indices) for member in self.members])
        return combined(said, np.stack([share[slices_at(indices, self.mode)] for share in self.shares]))

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return self.members

    def refitted(self, obs: Observations, fit: Fit) -> Stack:
        return replace(self, members=tuple(fit(member, obs) for member in self.members))

    def words(self, modes: Sequence[str]) -> str:
        parts = [(member, float(np.mean(share))) for member, share in zip(self.members, self.shares, strict=True)]
        parts = [part for part in parts if round(part[1], 3)] or parts[:1]  # of the others next to nothing is in the answer
        if len(parts) == 1:
            [(member, mean)] = parts
            return member.words(modes) + ("" if round(mean, 2) == 1 else f" in a share of {mean:.2g}")
        return f"({', '.join(f'{member.words(modes)} in a share of {mean:.2g}' for member, mean in parts)})"


@dataclass(frozen=True, eq=False)
class Onto(Branch):
    """A predictor fitted to what another leaves."""

    base: Predictor
    added: Predictor

    def at(self, indices: np.ndarray) -> np.ndarray:
        more = self.added.at(indices)
        return self.base.at(indices) + np.where(np.isnan(more), 0.0, more)

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return self.base, self.added

    def refitted(self, obs: Observations, fit: Fit) -> Onto:
        base = fit(self.base, obs)
        return Onto(base, fit(self.added, left_by(base, obs)))

    def words(self, modes: Sequence[str]) -> str:
        return f"{self.base.words(modes)} + {self.added.words(modes)}"


@dataclass(frozen=True, eq=False)
class Bridged(Branch):
    """A predictor, and at times of which nothing at all was seen another one, fitted to the same entries.

    Attributes
    ----------
    tree, bridge : the predictors; where `bridge` says NaN, `tree` answers there too.
    axis : the axis on which the times lie.
    seen : bool, shape ``(axis.length,)``: whether anything was seen at each of its positions.
    """

    tree: Predictor
    bridge: Predictor
    axis: Axis
    seen: np.ndarray

    @classmethod
    def of(cls, tree: Predictor, bridge: Predictor, axis: Axis, obs: Observations) -> Bridged:
        """Both are fitted to `obs`."""
        return cls(tree, bridge, axis, np.bincount(axis.ranks(obs.coords), minlength=axis.length) > 0)

    def at(self, indices: np.ndarray) -> np.ndarray:
        values = self.tree.at(indices)
        never = ~self.seen[self.axis.ranks(np.ascontiguousarray(indices.T))]
        if never.any():
            said = self.bridge.at(indices[never])
            values = values.copy()
            values[never] = np.where(np.isnan(said), values[never], said)
        return values

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return self.tree, self.bridge

    def refitted(self, obs: Observations, fit: Fit) -> Bridged:
        return Bridged.of(fit(self.tree, obs), fit(self.bridge, obs), self.axis.again(obs), obs)

    def words(self, modes: Sequence[str]) -> str:
        return f"{self.tree.words(modes)}, and where nothing at all was seen {self.bridge.words(modes)}"


@dataclass(frozen=True, eq=False)
class Amended(Branch):
    """A predictor and another one that knows something of a few cells: there it answers, but for `share`, which stays the first's."""

    tree: Predictor
    other: Predictor
    share: float

    def at(self, indices: np.ndarray) -> np.ndarray:
        values, said = self.tree.at(indices), self.other.at(indices)
        both = self.share * np.where(np.isnan(values), said, values) + (1 - self.share) * said
        return np.where(np.isnan(said), values, both)

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return self.tree, self.other

    def refitted(self, obs: Observations, fit: Fit) -> Amended:
        return replace(self, tree=fit(self.tree, obs), other=fit(self.other, obs))

    def words(self, modes: Sequence[str]) -> str:
        kept = f", but for a share of {self.share:.2g}" if self.share else ""
        return f"{self.tree.words(modes)}, and of pairs never seen{kept} {self.other.words(modes)}"


@dataclass(frozen=True, eq=False)
class Placed:
    """An array that has grown along `mode`: slice `i` was slice ``was[i]`` before, or is new where that is -1."""

    mode: int
    was: np.ndarray

    @property
    def new(self) -> np.ndarray:
        """A mask of the new slices."""
        return self.was < 0

    def spread(self, rows: np.ndarray, fill: float | np.ndarray) -> np.ndarray:
        """Rows of the slices that were there in their new places, and `fill` in those of new ones."""
        out = np.empty((len(self.was), *rows.shape[1:]), rows.dtype)
        out[self.new] = fill
        out[~self.new] = rows[self.was[~self.new]]
        return out

    def before(self, indices: np.ndarray) -> np.ndarray:
        """Coordinates ``(n, order)`` of cells in slices that were there, as they were before."""
        moved = np.array(indices)
        moved[:, self.mode] = self.was[moved[:, self.mode]]
        return moved


@dataclass(frozen=True, eq=False)
class Grown(Branch):
    """A predictor of a smaller array for the slices that it knew, and one of the larger array for those that came later."""

    old: Predictor
    new: Predictor
    place: Placed

    def at(self, indices: np.ndarray) -> np.ndarray:
        later = self.place.new[indices[:, self.place.mode]]
        values = np.empty(len(indices))
        values[~later] = self.old.at(self.place.before(indices[~later]))
        values[later] = self.new.at(indices[later])
        return values

    @property
    def parts(self) -> tuple[Predictor, ...]:
        return (self.new,)

    def refitted(self, obs: Observations, fit: Fit) -> Predictor:
        """That of the larger array alone: it knows all slices."""
        return fit(self.new, obs)

    def words(self, modes: Sequence[str]) -> str:
        return self.old.words(modes)


def left_by(base: Predictor | None, obs: Observations) -> Observations:
    """`obs` less what `base` says, if there is one; entries of which it knows nothing keep their value."""
    if base is None:
        return obs
    said = base.at(obs.indices)
    return obs.with_values(obs.values - np.where(np.isnan(said), 0.0, said))


def combined(said: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The sum over members of share times value, both of shape ``(members, n)``, where some values are NaN; see `Stack`.

    >>> combined(np.array([[2.0, 2.0, np.nan], [4.0, np.nan, 4.0]]), np.array([[0.5] * 3, [0.25] * 3])).tolist()
    [2.0, 2.0, 3.0]
    """
    silent = np.isnan(said)
    values = np.einsum("mn,mn->n", np.where(silent, 0.0, said), shares)
    some = silent.any(axis=0)
    if some.any():
        known = np.where(silent[:, some], 0.0, shares[:, some]).sum(axis=0)
        scaled = values[some] * np.divide(shares[:, some].sum(axis=0), known, out=np.full(len(known), np.nan), where=known > 0)
        values[some] = np.where(silent[0, some], scaled, said[0, some])
    return values


def leaves(node: Predictor, mode: int | None = None, share: np.ndarray | None = None) -> Iterator[tuple[Predictor, int | None, np.ndarray]]:
    """Every leaf of the tree, with the mode whose slices have shares of their own and its share: the product of those on the way to it."""
    share = np.ones(1) if share is None else share
    if isinstance(node, Stack):
        for member, own in zip(node.members, node.shares, strict=True):
            yield from leaves(member, mode if node.mode is None else node.mode, share * own)
    elif isinstance(node, Branch):
        for part in node.parts:
            yield from leaves(part, mode, share)
    else:
        yield node, mode, share


def shares_at(share: np.ndarray, mode: int | None, coords: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The share of each entry; `coords` has shape ``(order, n)``."""
    return share[slices_of(coords, tuple(shape), mode if len(share) > 1 else None)[0]]
