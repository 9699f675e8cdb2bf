"""`GradientDescent`: finite steps of any optax rule, recorded as a flow is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rankless.dynamics.factorization import AbstractFactorization
from rankless.dynamics.problem import Problem
from rankless.dynamics.solve import AbstractFlow, Probe


class GradientDescent(AbstractFlow):
    """``parameters += rule(-velocity)``: on explicit factorizations the rule sees the plain gradient.

    `rule` makes an optax transformation from the learning rate: ``optax.sgd``, ``optax.adam``, or any
    function of one number. One step lasts `learning_rate` of time, so plain descent and the flow share
    their clock; times are rounded to whole steps. The run ends early when the objective falls to
    `stop_loss` or is no longer finite.

    Steps are of the whole loss, or stochastic: `batch` entries drawn anew each step, with replacement (``batch=1`` is a stream of
    single observations), and `label_noise` times a fresh normal number added to every value seen, both by the random `seed`.
    """

    learning_rate: float
    rule: Callable[[float], optax.GradientTransformation] = optax.sgd
    stop_loss: float | None = None
    batch: int | None = None
    label_noise: float = 0.0
    seed: int = 0

    def __check_init__(self):
        if self.batch is not None and not self.batch >= 1:
            raise ValueError(f"batch={self.batch!r} is not a number of entries; pass batch=64, or leave it out for all in every step")
        if not 0 <= self.label_noise < float("inf"):
            raise ValueError(f"label_noise={self.label_noise!r} is not a finite number >= 0; leave it out for none")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate={self.learning_rate!r} is not a finite number > 0; pass learning_rate=1e-2")

    def integrate(
        self, problem: Problem, start: AbstractFactorization, ts: jax.Array, probes: dict[str, Probe]
    ) -> tuple[np.ndarray, dict[str, Any], AbstractFactorization, str, int]:
        marks = jnp.rint(ts / self.learning_rate).astype(int)
        stop = jnp.asarray(-jnp.inf if self.stop_loss is None else float(self.stop_loss))
        rate, drawn = jnp.asarray(self.learning_rate), None
        if self.batch is not None or self.label_noise:
            drawn = jax.random.key(self.seed), jnp.asarray(self.label_noise)
        final, taken, halted, records = _descend(problem, start, marks, probes, stop, rate, self.rule, drawn, self.batch)
        steps, (last, stopped) = np.asarray(taken), map(bool, halted)
        count = 1 + int(np.argmax(steps == steps[-1]))  # later records repeat the end of a run that stopped
        times = steps[:count] * self.learning_rate
        status = "diverged; lower learning_rate" if last else "reached stop_loss" if stopped else "reached the last time"
        return times, jax.tree.map(lambda x: np.asarray(x)[:count], records), final, status, int(steps[-1])


@eqx.filter_jit
def _descend(problem, start, marks, probes, stop, learning_rate, rule, drawn, batch):
    optimizer = rule(learning_rate)

    def step(carry):
        parameters, memory, count, _ = carry
        seen = problem if drawn is None else problem.drawn(jax.random.fold_in(drawn[0], count), batch, drawn[1])
        downhill = jax.tree.map(jnp.negative, seen.velocity(parameters))
        update, memory = optimizer.update(downhill, memory, parameters)
        parameters = optax.apply_updates(parameters, update)
        return parameters, memory, count + 1, problem.objective(parameters)

    def to_mark(carry, mark):
        def going(carry):
            return (carry[2] < mark) & jnp.isfinite(carry[3]) & (carry[3] > stop)

        carry = jax.lax.while_loop(going, step, carry)
        return carry, (carry[2], {name: probe(problem, carry[0]) for name, probe in probes.items()})

    first = (start, optimizer.init(start), jnp.asarray(0), problem.objective(start))
    (final, _, _, objective), (taken, records) = jax.lax.scan(to_mark, first, marks)
    return final, taken, (~jnp.isfinite(objective), objective <= stop), records
