"""Depth three ways: explicit layers in PyTorch (the way of the paper), the collapsed flow, reweighted ALS."""

from __future__ import annotations

import statistics
import time

import numpy as np

from rankless.figures.planted import Planted, planted

SHAPE, RANK, OBSERVED, NOISE, COMPONENTS, DEPTH = (20, 20, 20), 5, 1600, 0.1, 40, 2
TARGET = 0.1  # relative error of the whole tensor that the race is to
PENALTY, SCALE = 1.0, 1.0
RACERS = ("PyTorch, explicit, SGD", "collapsed flow", "ALS")


def race(racer: str, seed: int) -> dict[str, float]:
    """Seconds until the error first falls to `TARGET`, and the least error reached."""
    data = planted(SHAPE, RANK, observed=OBSERVED, seed=seed, noise=NOISE)
    return {"PyTorch, explicit, SGD": _torch, "collapsed flow": _flow, "ALS": _als}[racer](data, seed)


def _torch(data: Planted, seed: int, rate: float = 1.0, steps: int = 10_000) -> dict[str, float]:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    # layers near the identity, vectors random, as one starts a deep CP network
    size = SCALE ** (1 / (3 * (DEPTH + 1)))
    vectors, layers = [], []
    for d in SHAPE:
        w = torch.randn(COMPONENTS, d, generator=generator)
        vectors.append((size * w / w.norm(dim=1, keepdim=True)).requires_grad_())
        layers.append([(size * torch.eye(d).repeat(COMPONENTS, 1, 1)).requires_grad_() for _ in range(DEPTH)])
    indices = torch.as_tensor(data.seen.indices.copy(), dtype=torch.long)
    values = torch.as_tensor(data.seen.values)
    optimizer = torch.optim.SGD([*vectors, *(a for stack in layers for a in stack)], lr=rate, weight_decay=PENALTY / OBSERVED)

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

    return _until(step, error, steps, every=100)


def _until(step, error, steps: int, every: int) -> dict[str, float]:
    """Step until the error falls to the target; the time spent looking is not counted."""
    spent, least = 0.0, float("inf")
    for _ in range(0, steps, every):
        began = time.perf_counter()
        for _ in range(every):
            step()
        spent += time.perf_counter() - began
        least = min(least, error())
        if least <= TARGET:
            return {"seconds": spent, "error": least}
    return {"seconds": float("nan"), "error": least}


def _flow(data: Planted, seed: int) -> dict[str, float]:
    from rankless import dynamics as dyn

    problem = dyn.Problem(data.seen, decay=PENALTY)
    start = dyn.CP.balanced(SHAPE, components=COMPONENTS, depth=DEPTH, scale=SCALE, key=seed)
    probes = {"error": dyn.probes.TensorError(data.truth)}
    ts = np.geomspace(0.01, 60, 60)
    flow = dyn.GradientFlow(rtol=1e-4)
    dyn.solve(problem, start, flow, ts=1e-6 * ts, probes=probes)  # compiles
    errors = dyn.solve(problem, start, flow, ts=ts, probes=probes).probes["error"]
    if errors.min() > TARGET:
        return {"seconds": float("nan"), "error": float(errors.min())}
    until = ts[np.argmax(errors <= TARGET)]  # the same run, timed up to there, without probes
    began = time.perf_counter()
    run = dyn.solve(problem, start, flow, ts=ts * until / ts[-1], probes=probes)
    return {"seconds": time.perf_counter() - began, "error": float(run.probes["error"][-1])}


def _als(data: Planted, seed: int) -> dict[str, float]:
    from rankless import als

    def fit():
        return als.solve(data.seen, depth=float(DEPTH), penalty=PENALTY, max_rank=COMPONENTS, random_state=seed)

    fit()  # compiles
    began = time.perf_counter()
    model = fit().model
    seconds = time.perf_counter() - began
    error = float(np.linalg.norm(model.full() - data.truth) / np.linalg.norm(data.truth))
    return {"seconds": seconds if error <= TARGET else float("nan"), "error": error}


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
