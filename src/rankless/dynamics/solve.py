"""`solve`: the one verb that joins a problem, a factorization, a flow and probes."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from rankless.dynamics import saved
from rankless.dynamics._double import double, single
from rankless.dynamics.factorization import AbstractFactorization
from rankless.dynamics.problem import Problem
from rankless.runtime.progress import log

Probe = Callable[[Problem, Any], Any]


@dataclass(frozen=True)
class Run:
    """A trajectory: what the probes saw at `ts`, where it ended and why.

    Attributes
    ----------
    ts : times recorded, shape ``(n,)``; shorter than asked, with the last time added, where the run stopped early.
    probes : for each name the probe's values, time along the first axis.
    final : the factorization at ``ts[-1]``.
    status : why the run ended, in words.
    steps : steps taken by the integrator, the rejected ones counted, or by the optimizer.
    """

    ts: np.ndarray
    probes: dict[str, Any]
    final: Any
    status: str
    steps: int

    def save(self, path: str | os.PathLike) -> None:
        """Write the run as one ``.npz`` file, with no pickle in it; `load` reads it."""
        saved.save(path, {name: getattr(self, name) for name in ("ts", "probes", "final", "status", "steps")})

    @staticmethod
    def load(path: str | os.PathLike, *, kinds: Sequence[type] = ()) -> Run:
        """A run from a file of `save`; a factorization of your own needs its class among `kinds`."""
        from rankless import dynamics

        own = [kind for kind in vars(dynamics).values() if isinstance(kind, type) and issubclass(kind, AbstractFactorization)]
        return Run(**saved.load(path, [*own, *kinds]))


class AbstractFlow(eqx.Module):
    """A way to move: `integrate` records `probe` at `ts` and says where and why it stopped."""

    @abc.abstractmethod
    def integrate(
        self, problem: Problem, start: AbstractFactorization, ts: jax.Array, probes: dict[str, Probe]
    ) -> tuple[np.ndarray, dict[str, Any], AbstractFactorization, str, int]:
        """``(times, records, final, status, steps)`` from time 0 to the last of `ts`, or as far as it went."""


def solve(
    problem: Problem,
    start: AbstractFactorization,
    flow: AbstractFlow,
    *,
    ts: Sequence[float] | np.ndarray,
    probes: Mapping[str, Probe] | None = None,
    dtype: Literal["float64", "float32"] = "float64",
) -> Run:
    """The trajectory of `start` at time 0 under `flow`, seen by `probes` at the times `ts`.

        d/dt parameters = velocity(d objective / d parameters)

    A probe is a function of ``(problem, factorization)``. Calls that differ only in numbers (data of
    one size, depth of a collapsed factorization, times, tolerances) share one compilation, provided the
    probes are the same functions. `dtype` is the precision of all arithmetic: float32 is half the memory, and enough for
    tolerances of 1e-5 and more. Raises ValueError for shapes that do not match, times that do not increase, or parameters that
    lost their float64 on the way.

    >>> from rankless.dynamics import CP, GradientFlow, probes
    >>> from rankless.tensors.observations import Observations
    >>> problem = Problem(Observations.from_array(np.array([[1.0, np.nan], [2.0, 4.0]])))
    >>> start = CP.balanced((2, 2), components=2, depth=1.0, scale=0.1, key=0)
    >>> run = solve(problem, start, GradientFlow(), ts=[0, 1, 30], probes={"norms": probes.component_norms})
    >>> run.probes["norms"].shape, run.status, round(float(problem.data_loss(run.final)), 6)
    ((3, 2), 'reached the last time', 0.0)
    """
    times = np.asarray(ts, dtype=np.float64)
    if times.ndim != 1 or not len(times) or not np.all(np.isfinite(times)) or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"ts={np.array2string(times, threshold=6)} do not increase from 0 on; pass times like numpy.linspace(0, 10, 50)")
    if times[-1] == 0:
        raise ValueError("ts ends at 0, where the flow starts; pass at least one later time")
    if tuple(start.shape) != problem.shape:
        raise ValueError(f"the start has shape {tuple(start.shape)} but the observations {problem.shape}; build it with shape=obs.shape")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((problem, start))):
        raise ValueError(
            "solve says in words why a run ended, which is known only after it ran; under jax.vmap, jax.grad or jax.jit call "
            "flow.end(problem, start, t), and for many seeds sweep(...)"
        )
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype={dtype!r} is not known; pass 'float64' or 'float32'")
    _refuse_rounded(problem=problem, start=start)
    if dtype == "float32":
        with single():
            problem, start = (jax.tree.map(_to_single, x) for x in (problem, start))
            found = flow.integrate(problem, start, jnp.asarray(times), dict(probes or {}))
    else:
        found = double(_integrated)(flow, problem, start, times, dict(probes or {}))
    seen, records, final, status, steps = found
    log.info("%s by %s: %s, after %d steps", type(start).__name__, type(flow).__name__, status, steps)
    return Run(np.asarray(seen), jax.tree.map(np.asarray, records), jax.tree.map(_at_rest, final), status, steps)


def _integrated(flow: AbstractFlow, problem: Problem, start: AbstractFactorization, times: np.ndarray, probes: dict[str, Probe]):
    return flow.integrate(problem, start, jnp.asarray(times), probes)


def _at_rest(x):
    return np.asarray(x) if isinstance(x, jax.Array) else x


def _to_single(x):
    return jnp.asarray(x, jnp.float32) if eqx.is_inexact_array(x) else x


def _refuse_rounded(**trees: Any) -> None:
    for name, tree in trees.items():
        for leaf in jax.tree.leaves(tree):
            if eqx.is_inexact_array(leaf) and leaf.dtype != np.float64:
                raise ValueError(
                    f"the {name} holds {leaf.dtype} numbers: JAX rounds to float32 where x64 is off; "
                    "put dyn.double around the function that made it, or pass dtype='float32' to solve a start of float64 in float32"
                )
