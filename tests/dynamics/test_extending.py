"""The researcher's page runs as written: a factorization that the library does not have, in under 40 lines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from rankless import dynamics as dyn

from .conftest import relative

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


def test_the_page_runs_and_its_factorization_is_short_and_right():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks[0].splitlines()) < 40
    scope: dict = {}
    for block in blocks:
        exec(block, scope)
    problem, start, run = scope["problem"], scope["start"], scope["run"]
    assert run.status == "reached the last time"
    assert np.all(np.diff(run.probes["loss"]) < 0) and run.probes["loss"][-1] < 1e-3 * run.probes["loss"][0]

    values = dyn.double(start.at)(problem.indices)
    dense = np.asarray(dyn.double(start.full)())[tuple(np.asarray(problem.indices).T)]
    np.testing.assert_allclose(values, dense, rtol=1e-12)
    steps = dyn.solve(problem, start, dyn.GradientDescent(1e-4), ts=[0.2]).final
    assert relative(steps, dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-8), ts=[0.2]).final) < 1e-2
    overlap = dyn.solve(problem, start, dyn.GradientFlow(), ts=[100.0], probes={"overlap": scope["Overlap"](scope["truth"])})
    assert overlap.probes["overlap"][-1] > 0.9
