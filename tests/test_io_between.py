"""From every format to every format that `io.FORMATS` lists: the values arrive, with the labels that the format can carry."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from filled import filled_by, labels_of
from rankless import io
from rankless.tensors.observations import Observations

pytest.importorskip("xarray")
pytest.importorskip("zarr")
pytest.importorskip("pyarrow")

VALUES = np.array([[[1.5, np.nan], [0.0, -3.25]], [[np.nan, 1e-3], [7.0, 8.0]], [[9.0, np.nan], [2.0**40, -1.0]]])
MODES = ["site", "day", "hour"]
LABELS = [np.array(["b", "a", "é"], dtype=object), np.array(["2020-02-28", "2020-03-01"], "datetime64[s]"), np.array([3, 7])]
ROLES: dict[str, dict[str, Any]] = {suffix: {} if suffix in (".nc", ".zarr") else {"modes": MODES} for suffix in io.FORMATS}
ROLES |= {suffix: {"modes": MODES, "value": "rain"} for suffix in (".csv", ".parquet")}


def put(tmp_path, suffix: str):
    """A file of each format, whole but for its holes."""
    holed = Observations.from_array(VALUES, modes=MODES, labels=LABELS, value_name="rain")
    path = tmp_path / f"in{suffix}"
    io.write(path, filled_by(holed, lambda indices: np.full(len(indices), np.nan)))
    return path


def sites(obs: Observations) -> list[str]:
    """The labels of the first mode, none where the format did not carry them."""
    return [] if obs.labels[0] is None or obs.labels[0].dtype.kind in "iu" else list(map(str, labels_of(obs, 0)))


@pytest.mark.parametrize(("source", "target"), list(itertools.product(io.FORMATS, io.FORMATS)))
def test_from_every_format_to_every_format(tmp_path, source, target):
    given = io.load(put(tmp_path, source), **ROLES[source])
    came, done, path = given.observations, filled_by(given), tmp_path / f"out{target}"
    order = [sites(came).index(name) for name in LABELS[0]] if sites(came) else [0, 1, 2]
    seen = np.isfinite(VALUES)
    np.testing.assert_array_equal(done.array()[order][seen], VALUES[seen])
    assert came.size == seen.sum()

    io.write(path, done)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"in{source}", path.name])
    known = {"modes": came.modes, "value": came.value_name}
    again = io.read(path, **{role: known[role] for role in ROLES[target]})
    if sites(came) and target not in (".npy", ".tns"):
        assert sorted(sites(again)) == sorted(sites(came)), "labels are carried"
        order = [sites(came).index(name) for name in sites(again)]
    else:
        order = [0, 1, 2]
    np.testing.assert_array_equal(again.values.reshape(again.shape), done.array()[order])
