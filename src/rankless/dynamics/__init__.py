"""The science engine: exact trajectories of deep factorizations, and the laws they obey.

Four ideas, each free of the others, joined by one verb, `solve`:

===============  =================================================  ====================================
idea             what it is                                         here
===============  =================================================  ====================================
observations     which entries are seen, and the loss on them       `Problem`, dense or by coordinates
factorization    parameters -> values; gradient -> velocity         `CP`, `Matrix`, `Tucker`, `Train`,
                                                                    `Hierarchical`, `Tubal`; `DeepCP`, ...
flow             how time passes                                    `GradientFlow`, `GradientDescent`
probe            a function of problem and factorization            `probes`, `laws`, or your own
===============  =================================================  ====================================

    run = solve(problem, start, flow, ts=..., probes=...)

Any problem goes with any factorization of its shape, any flow moves any factorization, any probe watches
any run. So the shallow CP flow of [razin2021] is ``CP(depth=0)`` under `GradientFlow`; the deep CP
of [hariz2022], trained as there, is `DeepCP` under `GradientDescent`; its exact limit at no cost for depth
is ``CP(depth=k)`` under `GradientFlow`; the deep matrix of [arora2019] is `DeepMatrix` or `Matrix`.

A planted tensor of rank 2, a fifth of it hidden, ten components at depth 2, and how many of them live:

>>> import numpy as np
>>> from rankless import dynamics as dyn
>>> from rankless.tensors.observations import Observations
>>> rng = np.random.default_rng(0)
>>> truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(6, 2)) for _ in range(3)))
>>> seen = rng.random(truth.shape) < 0.8
>>> problem = dyn.Problem(Observations.from_array(np.where(seen, truth, np.nan)))
>>> start = dyn.CP.balanced(truth.shape, components=10, depth=2.0, scale=1e-2, key=0)
>>> run = dyn.solve(problem, start, dyn.GradientFlow(stop_loss=1e-4), ts=[1000.0], probes={"norms": dyn.probes.component_norms})
>>> run.status, int(dyn.probes.live(run.probes["norms"])[-1])
('reached stop_loss', 2)
>>> bool(np.abs(run.final.full() - truth).max() < 0.05)
True

All arithmetic is float64: JAX's x64 is a context inside every function here (`double`), never a global
setting. Depth is an array, so one compilation serves all depths of a collapsed factorization.
"""

from rankless.dynamics import laws, losses, probes, rules
from rankless.dynamics._double import double
from rankless.dynamics.aligned import AlignedCP
from rankless.dynamics.cp import CP, DeepCP
from rankless.dynamics.deepened import Deepened, Layered
from rankless.dynamics.descent import GradientDescent
from rankless.dynamics.factorization import AbstractFactorization, half_square, steepest
from rankless.dynamics.flow import GradientFlow
from rankless.dynamics.hierarchical import DeepHierarchical, Hierarchical
from rankless.dynamics.matrix import DeepMatrix, Matrix
from rankless.dynamics.problem import Problem
from rankless.dynamics.solve import AbstractFlow, Run, solve
from rankless.dynamics.sweep import sweep
from rankless.dynamics.train import DeepTrain, Train
from rankless.dynamics.tubal import DeepTubal, Tubal
from rankless.dynamics.tucker import DeepTucker, Tucker

__all__ = [
    "CP",
    "AbstractFactorization",
    "AbstractFlow",
    "AlignedCP",
    "DeepCP",
    "DeepHierarchical",
    "DeepMatrix",
    "DeepTrain",
    "DeepTubal",
    "DeepTucker",
    "Deepened",
    "GradientDescent",
    "GradientFlow",
    "Hierarchical",
    "Layered",
    "Matrix",
    "Problem",
    "Run",
    "Train",
    "Tubal",
    "Tucker",
    "double",
    "half_square",
    "laws",
    "losses",
    "probes",
    "rules",
    "solve",
    "steepest",
    "sweep",
]
