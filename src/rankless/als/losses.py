"""Losses other than the sum of squares, each with a quadratic that lies above it and touches it here.

    loss(t)  <=  loss(t0) + w/2 (z - t)^2 - w/2 (z - t0)^2,        equal, with equal slope, at t = t0

for a working response ``z`` and a weight ``w`` that depend on ``t0``: whatever lowers the weighted sum
of squares lowers the loss [hunter2004], so the row kernel of squares serves them all.

- Huber: ``w = min(1, bound / |y - t|)``, ``z = y`` [huber1964].
- Bernoulli, ``t`` the log odds: ``w = tanh(t/2) / 2t``, ``z = (y - 1/2) / w`` [jaakkola2000]; shares in between 0 and 1 are welcome.
- Poisson, ``t`` the logarithm of the mean: an exponential lies below no parabola, so ``w = max(mean, y)`` is one that
  holds up to the larger of mean and count, and who uses it checks the loss and takes a steeper one where it rose.
- Poisson, ``t`` the mean itself, for nonnegative parts that add up: ``w = max(y / t^2, 1 / t)``, checked likewise.

`value` is half the deviance: 0 where the fit is the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rankless.tensors.observations import Observations

_LEAST = 1e-6  # least mean of a Poisson value under the identity, for values of about 1: 0 would forbid a count for good


class Loss(Protocol):
    """One loss: `sure` says whether its quadratic holds everywhere."""

    @property
    def name(self) -> str: ...
    @property
    def sure(self) -> bool: ...
    def value(self, t: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Half the deviance of each entry."""
        ...

    def working(self, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responses and weights of the quadratic at `t`."""
        ...

    def check(self, obs: Observations) -> None:
        """Raise ValueError for values that the loss is not for."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """``(y - t)^2 / 2``."""

    name = "gaussian"
    sure = True

    def value(self, t: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return 0.5 * (y - t) ** 2

    def working(self, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return y, np.ones_like(t)

    def check(self, obs: Observations) -> None:
        pass


@dataclass(frozen=True)
class Huber:
    """``(y - t)^2 / 2`` up to a `bound` of the error, a straight line beyond.

    >>> Huber(2.0).value(np.array([0.0, 0.0]), np.array([1.0, 10.0])).tolist()
    [0.5, 18.0]
    """

    bound: float = 1.0

    name = "huber"
    sure = True

    def value(self, t: np.ndarray, y: np.ndarray) -> np.ndarray:
        size = np.abs(y - t)
        return np.where(size <= self.bound, 0.5 * size**2, self.bound * size - 0.5 * self.bound**2)

    def working(self, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = np.abs(y - t)
        return y, np.divide(self.bound, size, out=np.ones_like(size), where=size > self.bound)

    def check(self, obs: Observations) -> None:
        if not (np.isfinite(self.bound) and self.bound > 0):
            raise ValueError(f"Huber(bound={self.bound!r}) needs a positive number in the units of the values; pass als.Huber(1.0)")


@dataclass(frozen=True)
class Bernoulli:
    """``log(1 + exp t) - y t``, less its least value; `t` is the log odds."""

    name = "bernoulli"
    sure = True

    def value(self, t: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, t) - y * t - _entropy(y)

    def working(self, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        small = np.abs(t) < 1e-4
        safe = np.where(small, 1.0, t)
        weights = np.where(small, 0.25, np.tanh(0.5 * safe) / (2.0 * safe))
        return (y - 0.5) / weights, weights

    def check(self, obs: Observations) -> None:
        _check_range(obs, self.name, (obs.values < 0) | (obs.values > 1), "values from 0 to 1", "divide them by their largest")


@dataclass(frozen=True)
class Poisson:
    """``exp t - y t``, less its least value; `t` is the logarithm of the mean."""

    name = "poisson"
    sure = False

    def value(self, t: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.exp(t) - y * t - (y - _times_log(y))

    def working(self, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = np.exp(t)
        weights = np.maximum(mean, y)
        return t + (y - mean) / weights, weights

    def check(self, obs: Observations) -> None:
        _check_range(obs, self.name, obs.values < 0, "counts >= 0", "set them to NaN where they mean 'not observed'")


@dataclass(frozen=True)
class PoissonParts:
    """``t - y log t``, less its least value; `t` is the mean, a sum of nonnegative parts."""

    name = "poisson"
    sure = False

    def value(self, t: np.ndarray, y: np.ndarray) -> np.ndarray:
        mean = t + _LEAST
        with np.errstate(divide="ignore", invalid="ignore"):
            half = mean - np.where(y > 0, y * np.log(mean), 0.0) - (y - _times_log(y))
        return np.where(mean > 0, half, np.inf)

    def working(self, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = t + _LEAST
        weights = np.maximum(y, mean) / mean**2
        return t + (y / mean - 1.0) / weights, weights

    def check(self, obs: Observations) -> None:
        Poisson().check(obs)


LOSSES: dict[str, type] = {"gaussian": Gaussian, "huber": Huber, "poisson": Poisson, "bernoulli": Bernoulli}


def loss_of(loss: str | Loss, nonnegative: tuple[bool, ...]) -> Loss:
    """The loss of a name; raises ValueError for one that is not known."""
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss={loss!r} is not known; pass {', '.join(f'loss={name!r}' for name in LOSSES)}")
    if loss == "poisson" and any(nonnegative):
        if not all(nonnegative):
            raise ValueError(
                f"loss='poisson' with nonnegative={nonnegative} is neither a sum of nonnegative parts nor a logarithm; "
                "pass nonnegative=True for means that add up, or False for their logarithms"
            )
        return PoissonParts()
    return LOSSES[loss]()


def _times_log(y: np.ndarray) -> np.ndarray:
    return y * np.log(np.where(y > 0, y, 1.0))


def _entropy(y: np.ndarray) -> np.ndarray:
    """``log(1 + exp t) - y t`` at its least: 0 for zeros and ones."""
    return -(_times_log(y) + _times_log(1.0 - y))


def _check_range(obs: Observations, name: str, outside: np.ndarray, wanted: str, mend: str) -> None:
    bad = np.flatnonzero(outside | ~np.isfinite(obs.values))
    if len(bad):
        where = tuple(obs.coords[:, bad[0]].tolist())
        raise ValueError(f"loss={name!r} needs {wanted}, but {len(bad)} are not, the first {obs.values[bad[0]]:g} at {where}; {mend}")
