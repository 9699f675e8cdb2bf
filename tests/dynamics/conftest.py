"""Tiny planted problems and a start of every kind, shared by the tests of the science engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.tensors.observations import Observations


def planted(shape, rank=2, share=0.6, seed=0) -> Observations:
    """Noiseless entries of a random CP tensor of unit root mean square."""
    rng = np.random.default_rng(seed)
    letters = "abcdef"[: len(shape)]
    factors = [rng.normal(size=(d, rank)) for d in shape]
    truth = np.einsum(",".join(c + "r" for c in letters) + "->" + letters, *factors)
    truth /= np.sqrt(np.mean(truth**2))
    return Observations.from_array(np.where(rng.random(shape) < share, truth, np.nan))


CUBE, TALL = (4, 3, 5), (6, 4)
TUCKER, TRAIN, TREE = {"ranks": (2, 3, 2)}, {"ranks": (3, 2)}, {"rank": 2}

# name -> (shape, start); every factorization, balanced and not
STARTS = {
    "cp shallow": (CUBE, lambda: dyn.CP.balanced(CUBE, components=4, scale=0.3, key=1)),
    "cp real depth": (CUBE, lambda: dyn.CP.balanced(CUBE, components=4, depth=1.5, scale=0.3, key=1)),
    "cp gaussian": (CUBE, lambda: dyn.CP.gaussian(CUBE, components=4, depth=2.0, scale=0.3, key=1)),
    "deep cp": (CUBE, lambda: dyn.DeepCP.balanced(CUBE, components=4, depth=2, scale=0.3, key=1)),
    "deep cp gaussian": (CUBE, lambda: dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.3, key=1)),
    "deep cp identity": (CUBE, lambda: dyn.DeepCP.identity(CUBE, components=4, depth=1, scale=0.3, key=1)),
    "aligned cp": (CUBE, lambda: dyn.AlignedCP.random(CUBE, components=4, depth=2, scale=0.3, spread=0.5, key=1)),
    "matrix": (TALL, lambda: dyn.Matrix.gaussian(TALL, layers=2.5, scale=0.3, key=1)),
    "matrix wide": (TALL[::-1], lambda: dyn.Matrix.gaussian(TALL[::-1], layers=3, scale=0.3, key=1)),
    "deep matrix": (TALL, lambda: dyn.DeepMatrix.balanced(TALL, layers=3, scale=0.3, key=1)),
    "deep matrix gaussian": (TALL, lambda: dyn.DeepMatrix.gaussian(TALL, layers=3, scale=0.3, key=1)),
    "tucker": (CUBE, lambda: dyn.Tucker.balanced(CUBE, layers=2.5, scale=0.3, key=1, **TUCKER)),
    "deep tucker": (CUBE, lambda: dyn.DeepTucker.gaussian(CUBE, layers=2, scale=0.3, key=1, **TUCKER)),
    "train": (CUBE, lambda: dyn.Train.gaussian(CUBE, layers=2.5, scale=0.3, key=1, **TRAIN)),
    "deep train": (CUBE, lambda: dyn.DeepTrain.balanced(CUBE, layers=3, scale=0.3, key=1, **TRAIN)),
    "hierarchical": (CUBE, lambda: dyn.Hierarchical.balanced(CUBE, layers=1.5, scale=0.3, key=1, **TREE)),
    "deep hierarchical": (CUBE, lambda: dyn.DeepHierarchical.gaussian(CUBE, layers=2, scale=0.3, key=1, **TREE)),
    "tubal": (CUBE, lambda: dyn.Tubal.gaussian(CUBE, layers=2.5, scale=0.3, key=1)),
    "deep tubal": (CUBE, lambda: dyn.DeepTubal.gaussian(CUBE, layers=2, scale=0.3, key=1)),
}


@pytest.fixture(scope="module", params=STARTS, ids=lambda name: name.replace(" ", "-"))
def case(request):
    """``(observations, start)`` for every factorization in turn."""
    shape, build = STARTS[request.param]
    return planted(shape), build()


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as a whole, in float64: operation by operation, JAX compiles every one for every shape."""
    return dyn.double(eqx.filter_jit(function))


# how far ahead of the step's start each of the four velocities is taken, and what it counts in their mean
STAGES = np.array([0.0, 0.5, 0.5, 1.0]), np.array([1, 2, 2, 1]) / 6


@eqx.filter_jit
def _moved(problem, start, step, steps):
    ahead, counts = map(jnp.asarray, STAGES)

    def stage(number, state):  # a loop over the stages too: the velocity is compiled once and not four times
        here, velocity, mean = state
        velocity = problem.velocity(jax.tree.map(lambda x, v: x + ahead[number] * step * v, here, velocity))
        return here, velocity, jax.tree.map(lambda m, v: m + counts[number] * v, mean, velocity)

    def once(_, here):
        still = jax.tree.map(jnp.zeros_like, here)
        _, _, mean = jax.lax.fori_loop(0, 4, stage, (here, still, still))
        return jax.tree.map(lambda x, v: x + step * v, here, mean)

    return jax.lax.fori_loop(0, steps, once, start)


@dyn.double
def moved(problem, start, end=0.7, steps=400):
    """`start` at the time `end` of its flow, to ten digits and more: classical Runge-Kutta, independent of the library's integrator."""
    return _moved(problem, start, end / steps, jnp.asarray(steps))  # an array: one compilation for any number of steps


def relative(a, b) -> float:
    """Largest difference between two trees of arrays, relative to the largest entry of the second."""
    pairs = list(zip(map(np.asarray, jax.tree.leaves(a)), map(np.asarray, jax.tree.leaves(b)), strict=True))
    scale = max(np.abs(y).max(initial=0.0) for _, y in pairs)
    return max(np.abs(x - y).max(initial=0.0) for x, y in pairs) / scale
