"""What there is to see in a completion, as arrays and sentences: nothing is drawn here.

The page (`rankless.report`) and the plots (`rankless.plots`) draw the same views, each with its own
library, so that they cannot disagree. No view builds the dense array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    import pandas as pd


class Done(Protocol):
    """What views need of a `rankless.Completion`."""

    @property
    def estimator(self) -> Any: ...

    @property
    def observations(self) -> Observations: ...
    @property
    def given(self) -> Any: ...
    @property
    def fits(self) -> Sequence[CPTensor]: ...

    @property
    def best(self) -> CPTensor: ...
    @property
    def transform(self) -> Any: ...
    @property
    def rank(self) -> int: ...
    @property
    def depth(self) -> float: ...
    @property
    def penalty(self) -> float: ...
    @property
    def path(self) -> pd.DataFrame: ...
    def predict(self, cells) -> np.ndarray: ...
    def predict_interval(self, cells, coverage: float) -> tuple[np.ndarray, np.ndarray]: ...
    def cautions(self) -> list[str]: ...
