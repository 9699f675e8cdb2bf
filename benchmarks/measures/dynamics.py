"""Depth three ways: explicit layers in PyTorch (the way of the paper), the collapsed flow, reweighted ALS."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import numpy as np
from campaign.machine import ROOT

from rankless.figures.planted import Planted, planted

SHAPE, RANK, OBSERVED, NOISE, COMPONENTS, DEPTH = (20, 20, 20), 5, 1600, 0.1, 40, 2
ALIKE, LOOSE = 1.05, 0.1  # the race is to ALS's own error on the whole tensor and 5 % more; the looser one, to a tenth
PENALTY, SCALE, SMALL = 1.0, 1.0, 0.1
SCALE_OF_FLOW = 3.0  # from 1 the decay takes components that are needed before they grow
RATE = 1.0  # of .3, 1, 2 and 4 the fastest for SGD: .3 takes five times as long, 4 does not arrive
PAPER, SAME, FLOW, ALS = RACERS = (
    "PyTorch, explicit layers, SGD, small start, no weight decay (the way of the paper)",
    "PyTorch, explicit layers, SGD, weight decay",
    "collapsed flow, weight decay",
    "ALS, weight decay",
)


def race(racer: str, seed: int) -> dict[str, float]:
    """Seconds until the error first falls to 1.05 times that of ALS (`seconds`) and to .1 (`loose`), and the least error reached.

    PyTorch's runs also give the time `spent` in all: one that never arrives took longer than that.
    """
    data = planted(SHAPE, RANK, observed=OBSERVED, seed=seed, noise=NOISE)
    finished = _als(data, seed)
    if racer == ALS:
        return finished
    goals = {"seconds": ALIKE * finished["error"], "loose": LOOSE}
    if racer == FLOW:
        return _flow(data, seed, goals)
    return _torch(data, seed, goals, *((SMALL, 0.0) if racer == PAPER else (SCALE, PENALTY)))


def _torch(data: Planted, seed: int, goals: dict[str, float], scale: float, decay: float, steps: int = 20_000) -> dict[str, float]:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # two are slower on arrays this small
    generator = torch.Generator().manual_seed(seed)
    # layers near the identity, vectors random, as one starts a deep CP network
    size = scale ** (1 / (3 * (DEPTH + 1)))
    vectors, layers = [], []
    for d in SHAPE:
        w = torch.randn(COMPONENTS, d, generator=generator)
        vectors.append((size * w / w.norm(dim=1, keepdim=True)).requires_grad_())
        layers.append([(size * torch.eye(d).repeat(COMPONENTS, 1, 1)).requires_grad_() for _ in range(DEPTH)])
    indices = torch.as_tensor(data.seen.indices.copy(), dtype=torch.long)
    values = torch.as_tensor(data.seen.values)
    optimizer = torch.optim.SGD([*vectors, *(a for stack in layers for a in stack)], lr=RATE, weight_decay=decay / OBSERVED)

    def end_to_end() -> list[torch.Tensor]:
        out = []
        for u, stack in zip(vectors, layers, strict=True):
            for a in stack:
                u = torch.einsum("rij,rj->ri", a, u)
            out.append(u)
        return out

    def error() -> float:
        with torch.no_grad():
            full = torch.einsum("ri,rj,rk->ijk", *end_to_end()).numpy()
        return float(np.linalg.norm(full - data.truth) / np.linalg.norm(data.truth))

    def step() -> None:
        optimizer.zero_grad()
        a, b, c = end_to_end()
        prediction = (a[:, indices[:, 0]] * b[:, indices[:, 1]] * c[:, indices[:, 2]]).sum(dim=0)
        (0.5 * torch.mean((prediction - values) ** 2)).backward()
        optimizer.step()

    return _until(step, error, goals, steps, every=100)


def _until(step, error, goals: dict[str, float], steps: int, every: int) -> dict[str, float]:
    """Step until the error has fallen to every goal; the time spent looking is not counted."""
    spent, least, reached = 0.0, float("inf"), dict.fromkeys(goals, float("nan"))
    for _ in range(0, steps, every):
        began = time.perf_counter()
        for _ in range(every):
            step()
        spent += time.perf_counter() - began
        least = min(least, error())
        reached |= {name: spent for name, goal in goals.items() if least <= goal and reached[name] != reached[name]}
        if spent and least <= min(goals.values()):
            break
    return reached | {"error": least, "spent": spent}


def _flow(data: Planted, seed: int, goals: dict[str, float]) -> dict[str, float]:
    from rankless import dynamics as dyn

    problem = dyn.Problem(data.seen, decay=PENALTY)
    start = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=DEPTH, scale=SCALE_OF_FLOW, key=seed)
    probes = {"error": dyn.probes.TensorError(data.truth)}
    ts = np.geomspace(0.01, 20, 60)
    flow = dyn.GradientFlow(rtol=1e-4, max_steps=20_000)
    dyn.solve(problem, start, flow, ts=1e-6 * ts, probes=probes)  # compiles
    whole = dyn.solve(problem, start, flow, ts=ts, probes=probes)
    errors = whole.probes["error"]
    reached = {"error": float(errors.min())}
    for name, goal in goals.items():
        if errors.min() > goal:
            reached[name] = float("nan")
            continue
        until = whole.ts[np.argmax(errors <= goal)]  # the same run, timed up to there
        began = time.perf_counter()
        dyn.solve(problem, start, flow, ts=ts * until / ts[-1], probes=probes)
        reached[name] = time.perf_counter() - began
    return reached


def _als(data: Planted, seed: int) -> dict[str, float]:
    from rankless import als

    def fit():
        return als.solve(data.seen, depth=float(DEPTH), penalty=PENALTY, max_rank=COMPONENTS, random_state=seed)

    model, seconds = fit().model, []  # compiles
    for _ in range(5):
        began = time.perf_counter()
        fit()
        seconds.append(time.perf_counter() - began)
    error = float(np.linalg.norm(model.full() - data.truth) / np.linalg.norm(data.truth))
    return {"seconds": statistics.median(seconds), "loose": statistics.median(seconds), "error": error}


def step_cost(size: int, depth: int, form: str, components: int = 10, observed: int = 20_000, repeats: int = 7) -> dict[str, float]:
    """Milliseconds a velocity by coordinates (median) and megabytes of parameters, one start explicit or collapsed."""
    import equinox as eqx
    import jax

    from rankless import Observations
    from rankless import dynamics as dyn

    rng = np.random.default_rng(0)
    indices = np.unique(rng.integers(0, size, (observed, 3)), axis=0)
    problem = dyn.Problem(Observations.from_indices(indices, rng.normal(size=len(indices)), shape=(size,) * 3), storage="coordinates")
    start = dyn.CP.balanced((size,) * 3, components=components, depth=depth, scale=1.0, key=0)
    if form == "explicit":
        start = dyn.DeepCP.from_cp(start, key=0)

    @dyn.double
    def measured() -> dict[str, float]:
        velocity = eqx.filter_jit(lambda problem, here: problem.velocity(here))
        jax.block_until_ready(velocity(problem, start))
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            jax.block_until_ready(velocity(problem, start))
            seconds.append(time.perf_counter() - began)
        return {"ms": 1e3 * statistics.median(seconds), "MB": sum(leaf.nbytes for leaf in jax.tree.leaves(start)) / 1e6}

    return measured()


# --- what a fresh process waits for ---------------------------------------------------------------

FRESH = """
import time
import numpy as np
from rankless import dynamics as dyn
from rankless.tensors.observations import Observations
rng = np.random.default_rng(0)
problem = dyn.Problem(Observations.from_array(np.where(rng.random((20, 20, 20)) < 0.2, rng.normal(size=(20, 20, 20)), np.nan)))
for depth in (1.0, 2.0):
    start = dyn.CP.balanced((20, 20, 20), components=40, depth=depth, scale=1e-1, key=0)
    dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-5), ts=[0.1], probes={"n": dyn.probes.component_norms})
    print(time.time(), flush=True)
"""


def first_flow(repeats: int = 3) -> dict[str, float]:
    """Median seconds from the start of a process to the first result of a collapsed flow, and from there to a second depth."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    found = []
    for _ in range(repeats):
        start = time.time()  # the child's own clock marks its results: a pipe may hand over both at once
        done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
        found.append(np.diff([start, *map(float, done.stdout.split())]))
    first, second = np.median(found, axis=0)
    return {"first": float(first), "second": float(second)}


# --- how a gradient by coordinates goes back to its rows -------------------------------------------

BACK = ("scatter, as differentiated", "sorted segment sums", "cumulative sums at the ends of rows", "padded table of each row's entries")


def gradient_cost(way: str, entries: int = 1_000_000, size: int = 200, components: int = 16, repeats: int = 5) -> dict[str, float]:
    """Seconds (median) for the gradient of a CP of order 3 from entries by coordinates, sorted beforehand where the way wants it."""
    import jax
    import jax.numpy as jnp

    from rankless import dynamics as dyn

    rng = np.random.default_rng(0)
    indices = np.stack(np.unravel_index(np.sort(rng.choice(size**3, entries, replace=False)), (size,) * 3), axis=1)
    values = rng.normal(size=entries)

    def gathering(index: np.ndarray):
        order = np.argsort(index, kind="stable")
        ordered, bounds = index[order], np.searchsorted(index[order], np.arange(size + 1))
        longest = int(np.diff(bounds).max())
        table = bounds[:-1, None] + np.arange(longest)
        table = jnp.asarray(np.where(table < bounds[1:, None], np.append(order, entries)[np.minimum(table, entries)], entries))
        where, order, ordered, bounds = map(jnp.asarray, (index, order, ordered, bounds))

        def back(_, g):
            if way == BACK[0]:
                return (jnp.zeros((size, components)).at[where].add(g),)
            if way == BACK[1]:
                return (jax.ops.segment_sum(g[order], ordered, size, indices_are_sorted=True),)
            if way == BACK[2]:
                totals = jnp.concatenate([jnp.zeros((1, components)), jnp.cumsum(g[order], axis=0)])
                return (totals[bounds[1:]] - totals[bounds[:-1]],)
            return (jnp.sum(jnp.concatenate([g, jnp.zeros((1, components))])[table], axis=1),)

        @jax.custom_vjp
        def take(factor):
            return factor[where]

        take.defvjp(lambda factor: (factor[where], None), back)
        return take

    @dyn.double
    def measured() -> dict[str, float]:
        takes = [gathering(indices[:, n]) for n in range(3)]
        y, factors = jnp.asarray(values), [jnp.asarray(rng.normal(size=(size, components))) for _ in range(3)]

        def loss(factors):
            a, b, c = (take(f) for take, f in zip(takes, factors, strict=True))
            return 0.5 * jnp.sum((jnp.sum(a * b * c, axis=1) - y) ** 2)

        gradient = jax.jit(jax.grad(loss))
        found = jax.block_until_ready(gradient(factors))
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            jax.block_until_ready(gradient(factors))
            seconds.append(time.perf_counter() - began)
        # the first factor's gradient by NumPy: every way must give it
        a, b, c = (np.asarray(f)[indices[:, n]] for n, f in enumerate(factors))
        right = np.zeros((size, components))
        np.add.at(right, indices[:, 0], ((a * b * c).sum(axis=1) - values)[:, None] * b * c)
        gap = float(np.abs(np.asarray(found[0]) - right).max() / np.abs(right).max())
        return {"seconds": statistics.median(seconds), "error": gap}

    return measured()
