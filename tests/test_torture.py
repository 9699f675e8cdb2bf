"""The frame of the long campaigns: what they write down, the page that joins it, and children under limits."""

from __future__ import annotations

import os
import signal
import time
import types

import numpy as np
import pytest
from torture import CAMPAIGNS, child, page, record


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """Two campaigns with made-up cells, and a third that was never run."""
    stores = {name: record.Store(name, timed=False, stamp="now", folder=tmp_path) for name in ("files", "zoo", "never")}
    stores["files"].measure({"fault": "disk full"}, lambda: record.fault([True, True, False], "in words"))
    stores["zoo"].measure({"kind": "arrays"}, lambda: record.inputs(["refused", "crashed", "accepted", "refused"], "x.npy: IndexError"))
    modules = {name: types.SimpleNamespace(store=lambda name=name: stores[name]) for name in stores}
    modules["zoo"].section = lambda cells: f"## Of {len(cells)} kind"
    monkeypatch.setattr(page, "CAMPAIGNS", tuple(stores))
    monkeypatch.setattr(page, "campaign", modules.__getitem__)
    return stores


def test_the_page_joins_what_is_on_file(tmp_path, invented):
    page.write(tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    date = record.Store("files", timed=False, folder=tmp_path).cells()[0]["date"]
    assert f"| disk full | in words | 3 | 2 | 1 | {date} |" in text
    assert f"| arrays | 4 | 2 | 1 | 1 | {date} |" in text
    assert "## Of 1 kind" in text
    assert "never" not in text
    assert page.failures() == ["files: disk full: 1 of 3 lost", "zoo: arrays: 1 of 4 crashed; x.npy: IndexError"]


def test_figures_of_older_code_are_marked(tmp_path, invented):
    invented["files"].stamp = "later"
    page.write(tmp_path / "page.md")
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert [line.endswith("older code |") for line in lines if "disk full" in line or "arrays" in line] == [True, False]


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_every_campaign_has_a_store_and_a_run(name):
    module = page.campaign(name)
    assert module.store().path.name == f"{name}.csv"
    assert callable(module.run)


def misbehave(how: str) -> str:
    if how == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "leave":
        os._exit(3)
    if how == "hang":
        time.sleep(600)
    if how == "grow":
        try:
            np.ones(2**30, np.int8)
        except MemoryError:
            return "refused"
    return f"{how} done"


def test_a_child_that_dies_costs_one_input():
    inputs = ["a", "die", "b", "hang", "grow", "leave", "c"]
    ends = [end.died or end.value for end in child.over(misbehave, inputs, seconds=10.0, memory=2**28)]
    assert ends == ["a done", "killed by SIGSEGV", "b done", "still running after 10 s", "refused", "left with code 3", "c done"]
