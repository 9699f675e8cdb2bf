"""`GradientFlow`: the exact flow as an ordinary differential equation; the only file that knows diffrax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from rankless.dynamics._once import once
from rankless.dynamics.factorization import AbstractFactorization
from rankless.dynamics.problem import Problem
from rankless.dynamics.solve import AbstractFlow, Probe

_SOLVERS = {"tsit5": diffrax.Tsit5, "dopri8": diffrax.Dopri8, "kvaerno5": diffrax.Kvaerno5}


class GradientFlow(AbstractFlow):
    """``d/dt parameters = velocity``, integrated with adaptive steps.

    `method`: ``"tsit5"`` is explicit, of order 5; ``"dopri8"`` of order 8 for tolerances below 1e-8;
    ``"kvaerno5"`` is implicit, for stiff runs of few parameters (it solves a linear system of their number).
    `atol` defaults to `rtol` times the root mean square of the start, so that a small start is resolved.
    `step` fixes the step instead. The run ends early when

    - the objective falls to `stop_loss`, or
    - it is at rest: over a doubling of time, at the present speed, the objective would fall, and every small
      part of the spectrum grow, by less than `stop_progress` of itself, and half of the first objective
      is gone. (A small start is close to a saddle, where plain speeds look at rest; growth does not.)
    - `max_steps` are spent; the status says so, and the trajectory so far is returned.
    """

    method: Literal["tsit5", "dopri8", "kvaerno5"] = "tsit5"
    rtol: float = 1e-6
    atol: float | None = None
    step: float | None = None
    stop_loss: float | None = None
    stop_progress: float | None = None
    max_steps: int = 1_000_000

    def __check_init__(self):
        if self.method not in _SOLVERS:
            raise ValueError(f"method={self.method!r} is not known; pass one of {', '.join(map(repr, _SOLVERS))}")
        for name in ("rtol", "atol", "step", "stop_loss", "stop_progress"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value!r} is not a number > 0; leave it out for the default")
        if self.step is not None and self.method == "kvaerno5":
            raise ValueError("step=... fixes the step of explicit methods only; pass method='tsit5', or leave step out")

    def integrate(
        self, problem: Problem, start: AbstractFactorization, ts: jax.Array, probes: dict[str, Probe]
    ) -> tuple[np.ndarray, dict[str, Any], AbstractFactorization, str, int]:
        return _unpack(_integrate(problem, start, ts, probes, *self._settings(start)), problem, probes)

    def integrate_many(
        self, problems: Problem, starts: AbstractFactorization, count: int, ts: jax.Array, probes: dict[str, Probe]
    ) -> list[tuple[np.ndarray, dict[str, Any], AbstractFactorization, str, int]]:
        """`integrate` for `count` problems and starts at once, stacked along a new first axis of every array."""
        settings = [self._settings(jax.tree.map(lambda x, i=i: x[i], starts)) for i in range(count)]
        tolerances = jax.tree.map(lambda *each: jnp.stack(each), *(found[1] for found in settings))
        stops, _, step, method, max_steps = settings[0]
        solutions = _integrate_many(problems, starts, ts, probes, stops, tolerances, step, method, max_steps)
        solutions = jax.tree.map(lambda x: np.asarray(x) if eqx.is_array(x) else x, solutions)
        out = []
        for i in range(count):
            solution, problem = (jax.tree.map(lambda x, i=i: x[i] if eqx.is_array(x) else x, tree) for tree in (solutions, problems))
            out.append(_unpack(solution, problem, probes))
        return out

    def end(self, problem: Problem, start: AbstractFactorization, t: jax.Array) -> AbstractFactorization:
        """The factorization at time `t`, stops left out: traced, so that `jax.vmap` and `jax.grad` go through."""
        _, tolerances, step, method, max_steps = self._settings(start)
        solution = _integrate(problem, start, jnp.asarray(t)[None], {}, {}, tolerances, step, method, max_steps)
        return jax.tree.map(lambda x: x[0], solution.ys[1])  # pyright: ignore[reportOptionalSubscript]

    def _settings(self, start: AbstractFactorization) -> tuple[dict, dict, jax.Array | None, str, int]:
        leaves = jax.tree.leaves(start)
        if not any(isinstance(x, Tracer) for x in leaves):
            leaves = list(map(np.asarray, leaves))  # JAX would compile every operation here for every shape
        size = jnp.sqrt(sum((x**2).sum() for x in leaves) / sum(x.size for x in leaves))
        # a step size is no function of the start to be differentiated
        atol = jnp.asarray(self.rtol) * jax.lax.stop_gradient(size) if self.atol is None else jnp.asarray(self.atol)
        stops = {"loss": self.stop_loss, "progress": self.stop_progress}
        return (
            {name: jnp.asarray(float(value)) for name, value in stops.items() if value is not None},
            {"rtol": jnp.asarray(float(self.rtol)), "atol": atol},
            None if self.step is None else jnp.asarray(float(self.step)),
            self.method,
            self.max_steps,
        )


@eqx.filter_jit
def _integrate(problem, start, ts, probes, stops, tolerances, step, method: str, max_steps: int) -> diffrax.Solution:
    # one flat vector: the solver's dozens of stages then compile once, not once an array of the factorization
    flat, whole = ravel_pytree(start)

    def field(t, state, args):
        return ravel_pytree(_velocity(problem, whole(state)))[0]

    def record(t, state, args):
        return _record(problem, whole(state), probes)

    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
        _SOLVERS[method](),
        t0=0.0,
        t1=ts[-1],
        dt0=step,
        y0=flat,
        stepsize_controller=diffrax.PIDController(**tolerances) if step is None else diffrax.ConstantStepSize(),
        saveat=diffrax.SaveAt(
            subs=[diffrax.SubSaveAt(ts=ts, fn=record), diffrax.SubSaveAt(t1=True, fn=lambda t, state, args: whole(state))]
        ),
        event=diffrax.Event(_events(problem, whole, problem.objective(start), stops)) if stops else None,
        max_steps=max_steps,
        throw=False,
    )


@eqx.filter_jit
def _integrate_many(problems, starts, ts, probes, stops, tolerances, step, method: str, max_steps: int) -> diffrax.Solution:
    def one(problem, start, tolerance):
        return _integrate(problem, start, ts, probes, stops, tolerance, step, method, max_steps)

    return eqx.filter_vmap(one)(problems, starts, tolerances)


# traced once, though the solver asks for them in several places
@eqx.filter_jit
def _velocity(problem, state):
    return problem.velocity(state)


def _looks(problem, state, probes):
    return {name: probe(problem, state) for name, probe in probes.items()}


_record = eqx.filter_jit(_looks)  # inside the integrator, which asks in several places: traced once
_last_record = once(_looks)  # a program of its own: where a run reaches its last time there is no need of it


def _events(problem: Problem, whole: Callable, first: jax.Array, stops: dict[str, jax.Array]) -> dict[str, Any]:
    def low(t, flat, args, **kwargs):
        return problem.objective(whole(flat)) <= stops["loss"]

    def at_rest(t, flat, args, **kwargs):
        state = whole(flat)

        def watched(factorization):
            return problem.objective(factorization), factorization.spectrum()

        (loss, spectrum), (fall, growth) = jax.jvp(watched, (state,), (_velocity(problem, state),))
        # what is large shows in the objective; its own speed only shows the tolerance once it has settled
        small = (spectrum > 0) & (spectrum < 0.01 * jnp.max(spectrum))
        change = jnp.maximum(jnp.abs(fall) / loss, jnp.max(jnp.where(small, growth / jnp.where(small, spectrum, 1.0), 0.0)))
        return (loss < 0.5 * first) & (t * change < stops["progress"])

    return {name: {"loss": low, "progress": at_rest}[name] for name in stops}


def _unpack(
    solution: diffrax.Solution, problem: Problem, probes: dict[str, Probe]
) -> tuple[np.ndarray, dict[str, Any], AbstractFactorization, str, int]:
    (times, end), (records, last) = solution.ts, solution.ys  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
    count = int(np.isfinite(times).sum())
    times, records = np.asarray(times)[:count], jax.tree.map(lambda x: np.asarray(x)[:count], records)
    final = jax.tree.map(lambda x: x[0], last)
    if count == 0 or end[0] > times[-1]:  # stopped between two of the times asked for
        times = np.append(times, end[0])
        records = jax.tree.map(lambda x, y: np.concatenate([x, np.asarray(y)[None]]), records, _last_record(problem, final, probes))
    return times, records, final, _status(solution), int(solution.stats["num_steps"])


def _status(solution: diffrax.Solution) -> str:
    if solution.result == diffrax.RESULTS.successful:
        return "reached the last time"
    if solution.result == diffrax.RESULTS.event_occurred:
        fired = [name for name, mask in solution.event_mask.items() if mask]  # pyright: ignore[reportOptionalMemberAccess]
        return {"loss": "reached stop_loss", "progress": "at rest"}[fired[0]]
    if solution.result == diffrax.RESULTS.max_steps_reached:
        return "spent max_steps before the last time; raise max_steps, loosen rtol, or ask for earlier times"
    return str(diffrax.RESULTS[solution.result])
