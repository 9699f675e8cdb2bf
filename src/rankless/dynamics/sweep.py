"""`sweep`: a study in one call, every point of a grid of settings, its seeds in one compiled batch."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics import probes as looks
from rankless.dynamics._double import double
from rankless.dynamics.factorization import AbstractFactorization
from rankless.dynamics.flow import GradientFlow
from rankless.dynamics.problem import Problem
from rankless.dynamics.solve import AbstractFlow, Probe, solve
from rankless.runtime.files import write_beside
from rankless.runtime.progress import Callback, Tracker

if TYPE_CHECKING:
    import pandas as pd


def sweep(
    problem: Problem | Callable[..., Problem],
    start: Callable[..., AbstractFactorization],
    flow: AbstractFlow,
    *,
    until: float,
    measures: Mapping[str, Probe] | None = None,
    path: str | os.PathLike | None = None,
    callback: Callback | None = None,
    **axes: Sequence[Any],
) -> pd.DataFrame:
    """One row for every combination of `axes`: where the flow from that start ended, and what `measures` see there.

    `start` is called with one value of every axis by its name, ``start(depth=2, scale=0.01, seed=0)``, and so is `problem` where it is a
    function. Values of the axis ``seed`` run as one batch under `jax.vmap` where the flow is a `GradientFlow` and all their arrays agree in
    shape; other combinations run one after another.

    Columns: the axes, ``status``, ``steps``, ``t``, ``loss``, ``train_rmse`` (root of twice the loss over the number of entries),
    ``effective_rank``, ``live``, ``least_energy`` (of a live component on observed cells), and one for each of `measures`, probes that
    return a float. With `path` the table so far is kept there as CSV, rows found in it are not run again, and a file of another study
    is refused.

    >>> from rankless import dynamics as dyn
    >>> from rankless.tensors.observations import Observations
    >>> problem = dyn.Problem(Observations.from_array(np.outer([1.0, 2.0], [1.0, -1.0, 3.0])))
    >>> def start(depth, seed):
    ...     return dyn.CP.balanced((2, 3), components=4, depth=depth, scale=0.1, key=seed)
    >>> found = sweep(problem, start, dyn.GradientFlow(rtol=1e-4, stop_loss=1e-3), until=100.0, depth=[0, 2], seed=[0, 1])
    >>> found[["depth", "seed", "status"]].values.tolist()
    [[0, 0, 'reached stop_loss'], [0, 1, 'reached stop_loss'], [2, 0, 'reached stop_loss'], [2, 1, 'reached stop_loss']]
    """
    if not axes or any(len(values) == 0 for values in axes.values()):
        raise ValueError("no settings to go through; pass axes such as depth=[0, 1, 2], seed=range(5)")
    seeds, others = list(axes.get("seed", [None])), {name: list(values) for name, values in axes.items() if name != "seed"}
    seen = {"loss": looks.loss, "effective_rank": looks.effective_rank, "live": _live, "least_energy": _least_energy, **(measures or {})}
    groups = [dict(zip(others, values, strict=True)) for values in itertools.product(*others.values())]
    points = [[group if seed is None else {**group, "seed": seed} for seed in seeds] for group in groups]
    study = _digest(problem(**points[0][0]) if callable(problem) else problem, flow, until, seen)
    kept = _kept(path, study, list(axes))
    done = {tuple(row[name] for name in axes) for row in kept}
    rows, tracker = list(kept), Tracker(callback)
    for at, group in enumerate(points):
        missing = [point for point in group if tuple(map(str, (point[name] for name in axes))) not in done]
        tracker.stage(", ".join(f"{name} = {value}" for name, value in groups[at].items()) or "seeds", at / len(points))
        if not missing:
            continue
        problems = [problem(**point) if callable(problem) else problem for point in missing]
        starts = [start(**point) for point in missing]
        for point, found in zip(missing, _ends(problems, starts, flow, until, seen), strict=True):
            rows.append({name: str(point[name]) for name in axes} | found)
        if path is not None:
            with write_beside(path) as temporary:
                _written(rows, study).to_csv(temporary, index=False)
    return _table(rows, axes)


def _ends(
    problems: list[Problem], starts: list[AbstractFactorization], flow: AbstractFlow, until: float, seen: dict[str, Probe]
) -> list[dict]:
    """The last record of each run, with its status."""
    alike = len(starts) > 1 and all(
        _form(p) == _form(problems[0]) and _form(s) == _form(starts[0]) for p, s in zip(problems, starts, strict=True)
    )
    if isinstance(flow, GradientFlow) and alike:
        runs = double(_together)(flow, problems, starts, until, seen)
    else:
        solved = [solve(p, s, flow, ts=[until], probes=seen) for p, s in zip(problems, starts, strict=True)]
        runs = [(run.ts, run.probes, run.final, run.status, run.steps) for run in solved]
    out = []
    for problem, (ts, records, _, status, steps) in zip(problems, runs, strict=True):
        last = {name: float(np.asarray(values)[-1]) for name, values in records.items()}
        rmse = np.sqrt(2 * last["loss"] / (float(problem.factor) * problem.size))
        row = {"status": status, "steps": steps, "t": float(ts[-1]), "loss": last.pop("loss"), "train_rmse": float(rmse)}
        out.append(row | last | {"live": int(last["live"])})
    return out


def _together(
    flow: GradientFlow, problems: list[Problem], starts: list[AbstractFactorization], until: float, seen: dict[str, Probe]
) -> list:
    def stacked(trees):
        return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)

    return flow.integrate_many(stacked(problems), stacked(starts), len(starts), jnp.asarray([until]), seen)


def _form(tree: Any) -> Any:
    return jax.tree.structure(tree), [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _live(problem: Problem, factorization: Any) -> jax.Array:
    """Components above 1 % of the largest."""
    s = factorization.spectrum()
    return jnp.sum(jnp.where((s > 0.01 * jnp.max(s)) & (s > 0), 1.0, 0.0))  # a float: the integrator records no whole numbers


def _least_energy(problem: Problem, factorization: Any) -> jax.Array:
    """Least share of its energy that a component above 1 % of the largest has on observed cells."""
    norms = factorization.part_norms()
    return jnp.min(jnp.where(norms > 0.01 * jnp.max(norms), looks.observed_energy(problem, factorization), jnp.inf))


def _table(rows: list[dict], axes: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Rows in the order of the axes, with the values of the axes as they were passed."""
    import pandas as pd

    place = {name: {str(value): at for at, value in enumerate(values)} for name, values in axes.items()}
    known = [row for row in rows if all(row[name] in place[name] for name in axes)]
    ordered = sorted(known, key=lambda row: [place[name][row[name]] for name in axes])
    return pd.DataFrame([row | {name: list(axes[name])[place[name][row[name]]] for name in axes} for row in ordered])


def _written(rows: list[dict], study: str) -> pd.DataFrame:
    """Rows as they are kept: values of the axes as texts, because a column of 0 and 1.5 would come back as 0.0 and 1.5."""
    import pandas as pd

    return pd.DataFrame(rows).assign(study=study)


def _kept(path: str | os.PathLike | None, study: str, names: list[str]) -> list[dict]:
    if path is None or not Path(path).exists():
        return []
    import pandas as pd

    table = pd.read_csv(path, dtype=dict.fromkeys(names, str))
    if not {"study", "status", *names} <= set(table.columns) or set(table["study"]) != {study}:
        raise ValueError(
            f"{os.fspath(path)} is of another study (other data, flow, measures or axes); pass another path, or remove the file"
        )
    return table.drop(columns="study").to_dict("records")


def _digest(problem: Problem, flow: AbstractFlow, until: float, seen: Mapping[str, Probe]) -> str:
    """What a row hangs on besides its axes, as a short word; of `start`, a function, nothing can be said."""
    fields = {name: _word(value) for name, value in vars(flow).items()}
    words = f"{type(flow).__name__} {sorted(fields.items())} {until!r} {sorted(seen)} {problem.shape} {_word(problem.loss)}"
    said = hashlib.sha256(words.encode())
    for leaf in jax.tree.leaves(problem):
        said.update(np.ascontiguousarray(leaf).tobytes())
    return said.hexdigest()[:16]


def _word(value: Any) -> str:
    """A value in words that are the same in every process: of a function its name, since its own words hold an address."""
    return getattr(value, "__qualname__", type(value).__name__) if callable(value) else repr(value)
