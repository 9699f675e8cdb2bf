"""Two engines, one objective: weight decay on deep CP, by alternating least squares and by the flow.

    minimise  1/2 sum over observed (y - T)^2  +  p (k+1)/2 sum_{n,r} |u_r^n|^(2/(k+1))
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rankless import als
from rankless import dynamics as dyn
from rankless.figures.look import DASHES, MARKERS, panels, shade
from rankless.figures.outcome import Claim, Outcome, Progress, Table, listed, table, where
from rankless.figures.planted import Planted, planted

SHAPE, RANK, OBSERVED, NOISE, COMPONENTS = (20, 20, 20), 5, 1600, 0.1, 40
DEPTHS = (0, 1, 2, 4)
PENALTIES = {False: np.geomspace(0.03, 30, 13), True: np.geomspace(0.1, 10, 5)}
FLOW_DEPTHS = {False: (0, 1, 2, 4), True: (0, 2)}
FLOW_PENALTIES = {False: np.geomspace(0.1, 3, 4), True: np.array([1.0])}
SEEDS = {False: (0, 1, 2), True: (0,)}
SCALE = 0.1


def still(problem: dyn.Problem, here: dyn.CP) -> float:
    """Norm of the velocity over that of the velocity the data alone would give: 0 where the flow stays put."""
    pull = eqx_free_norm(here.velocity(problem.gradient(here)))
    return pull / eqx_free_norm(here.velocity(data_gradient(problem, here)))
