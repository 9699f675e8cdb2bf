"""The largest cells of a slice: what to recommend, where to look first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def top(done: Any, fixed: Mapping[str, Any], k: int = 10, *, largest: bool = True, seen: bool = True) -> pd.DataFrame:
    """The `k` largest cells of `done`, a `rankless.Completion`, in the slice that `fixed` names; see `Completion.top`."""
    import pandas as pd

    obs = done.observations
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k={k!r} is not a number of cells; pass k=10")
    known = {obs.mode_index(name): label for name, label in fixed.items()}
    free = [mode for mode in range(obs.order) if mode not in known]
    if not known or not free:
        raise ValueError(f"fixed={dict(fixed)!r} leaves {len(free)} modes free; fix some of {', '.join(obs.modes)}, not all")
    columns = {name: [known.get(mode, 0 if (label := obs.labels[mode]) is None else label[0])] for mode, name in enumerate(obs.modes)}
    place = done._inside(columns)[0]
    cells = np.empty((int(np.prod([obs.shape[mode] for mode in free])), obs.order), np.int64)
    cells[:] = place
    cells[:, free] = np.indices([obs.shape[mode] for mode in free]).reshape(len(free), -1).T
    inside = np.ones(obs.size, bool)
    for mode in known:
        inside &= obs.coords[mode] == place[mode]
    own = np.ravel_multi_index(tuple(obs.coords[free][:, inside]), tuple(obs.shape[mode] for mode in free))
    observed = np.zeros(len(cells), bool)
    observed[own] = True
    values = np.clip(done.at(cells), obs.values.min(), obs.values.max())  # means of a model may lie beyond every value there is
    values[own] = obs.values[inside]
    keep = np.flatnonzero(~np.isnan(values) & (seen | ~observed))
    order = keep[np.argsort(-values[keep] if largest else values[keep], kind="stable")[:k]]
    table = {name: cells[order, m] if (label := obs.labels[m]) is None else label[cells[order, m]] for m, name in enumerate(obs.modes)}
    table[obs.value_name] = values[order]
    return pd.DataFrame(table | ({"observed": observed[order]} if seen else {}))
