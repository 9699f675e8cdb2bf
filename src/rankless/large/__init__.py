"""Files larger than memory would hold as arrays or observations: fitted in chunks, filled where asked.

    done = rankless.large.complete("ratings.parquet", modes=["user", "item", "week"], value="stars")
    done.predict_labels({"user": [17], "item": ["A3"], "week": [5]})
    done.top({"user": 17, "week": 5}, k=10)
    done.save("model.npz")

A sample of whole slices is searched for depth, penalty, main effects and rank as `rankless.complete` does, and what it
found is refitted on all entries: on this machine, or on the workers of a Dask cluster. There are no blends, no
draws and no close cells; there are an honest error and intervals, from entries that took no part.

`fit` makes the fit, `sample` picks the sample, `offsets` fits main effects without holding residuals,
`answer` predicts, `spread` says how far it errs, `write` writes what is too large to hold.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankless.large.answer import LargeCompletion
    from rankless.large.fit import complete

_HOMES = {"LargeCompletion": "rankless.large.answer", "complete": "rankless.large.fit"}

__all__ = ["LargeCompletion", "complete"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rankless.large' has no attribute {name!r}; it has {', '.join(__all__)}")
