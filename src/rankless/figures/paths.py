"""Trajectories whose length is known only once the loss has fallen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rankless import dynamics as dyn


def until(
    problem: dyn.Problem,
    start: Any,
    flow: dyn.GradientFlow,
    *,
    loss: float,
    latest: float,
    times: Callable[[float], np.ndarray],
    probes: Mapping[str, Callable],
) -> dyn.Run:
    """The run recorded at ``times(end)``, `end` being when its objective falls to `loss`, at most `latest`.

    Both passes, the one that finds `end` and the one recorded, are one compilation: on small problems
    compiling is all that takes time.
    """
    scout = np.geomspace(1e-9, 1, len(times(1.0))) * latest
    end = dyn.solve(problem, start, replace(flow, stop_loss=loss), ts=scout, probes=probes).ts[-1]
    never = np.finfo(float).tiny
    return dyn.solve(problem, start, replace(flow, stop_loss=never), ts=times(float(end)), probes=probes)
