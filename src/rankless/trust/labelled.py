"""Components with the labels of their modes, as TLViz draws and compares them; TLViz itself is not needed here.

TLViz takes a CP tensor as TensorLy has it, ``(weights, factors)``, whose factors may be tables of pandas: a row a slice, under its
label, an index named as the mode, and a column a component. Such a *labelled* CP tensor is drawn with its labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    import pandas as pd


def loadings(model: CPTensor, obs: Observations, mode: int) -> pd.DataFrame:
    """The vectors of one mode: a row for each slice, under its label (its number, where it has none), and a column for each component."""
    import pandas as pd

    index = pd.Index(_labels(obs, mode), name=obs.modes[mode])
    return pd.DataFrame(model.factors[mode], index=index, columns=pd.RangeIndex(model.rank))


def labelled_cp(model: CPTensor, obs: Observations) -> tuple[np.ndarray, list[pd.DataFrame]]:
    """``(weights, tables)`` with columns of unit length, largest component first: a labelled CP tensor of TLViz.

    A component points the way in which the largest entry of each mode but the first is positive.

    >>> obs = Observations.from_array(np.ones((2, 3)), modes=["day", "site"], labels=[None, ["a", "b", "c"]])
    >>> weights, (days, sites) = labelled_cp(CPTensor([np.ones((2, 1)), -np.ones((3, 1))]), obs)
    >>> weights.round(2).tolist(), sites.index.tolist(), sites.index.name, bool((sites > 0).all(axis=None))
    ([2.45], ['a', 'b', 'c'], 'site', True)
    """
    weights, factors = model.balanced().to_tensorly()
    first = np.ones(model.rank)
    for factor in factors[1:]:
        sign = np.where(factor[np.argmax(np.abs(factor), axis=0), np.arange(model.rank)] < 0, -1.0, 1.0)
        factor *= sign
        first = first * sign
    factors[0] = factors[0] * first
    turned = CPTensor(factors)
    return weights, [loadings(turned, obs, mode) for mode in range(obs.order)]


def _labels(obs: Observations, mode: int) -> np.ndarray:
    label = obs.labels[mode]
    return np.arange(obs.shape[mode]) if label is None else label
