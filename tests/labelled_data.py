"""Arrays with holes and labels of every kind, for property tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4)
floats = [np.float16, np.float32, np.float64]
integers = [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64]
texts = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=5)


@st.composite
def holed(draw, shape, dtypes=floats) -> np.ndarray:
    """A float array, some of its cells NaN and at least one not."""
    dtype = draw(st.sampled_from(dtypes))
    elements = st.one_of(st.floats(-1000, 1000, width=16), st.just(float("nan")))
    return draw(hnp.arrays(dtype, shape, elements=elements).filter(lambda array: bool(np.isfinite(array).any())))


@st.composite
def labels(draw, size: int) -> pd.Index:
    """Distinct labels: texts, whole numbers, dates, times of a zone."""
    kind = draw(st.sampled_from(["texts", "integers", "dates", "zone"]))
    if kind == "texts":
        return pd.Index(draw(st.lists(texts, min_size=size, max_size=size, unique=True)))
    numbers = draw(st.lists(st.integers(-5000, 5000), min_size=size, max_size=size, unique=True))
    if kind == "integers":
        return pd.Index(numbers)
    return pd.to_datetime(np.array(numbers) * 3600, unit="s", origin="2020-01-01", utc=True).tz_convert(
        draw(st.sampled_from(["Europe/Paris", "UTC"])) if kind == "zone" else None
    )
