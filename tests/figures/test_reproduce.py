"""`rankless reproduce`: what it writes, what it refuses, and (slow) that every claim holds with the quick settings."""

from __future__ import annotations

import importlib
import os

import pytest
import scipy.linalg.cython_blas  # noqa: F401  (the library whose threads are counted)
from threadpoolctl import threadpool_info

from rankless.figures import NAMES, multirank, reproduce, runner
from rankless.figures.command import one_thread
from rankless.figures.outcome import Claim, read_rows, write_claims, write_rows


def test_one_figure_writes_picture_numbers_and_claims(tmp_path):
    said, told = [], []
    rows = reproduce(["two-by-two"], tmp_path, quick=True, tell=said.append, callback=told.append)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"two_by_two.png", "two_by_two.svg", "two_by_two-trajectories.csv", "two_by_two-claims.csv", "claims.md"}
    assert all(claim.holds for claim in rows["two_by_two"])
    assert (tmp_path / "two_by_two-trajectories.csv").read_text().startswith("layers,t,loss,hidden,bound,")
    assert any("holds: " in line for line in said)
    assert [(now.stage, now.fraction) for now in told][-1] == ("[1/1] two_by_two: L = 3", 0.0)


def test_an_unknown_name_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="no figure 'twoo'; the figures are two_by_two, law"):
        reproduce(["law", "twoo"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_claim_that_fails_is_said_and_bars_do_not_break_the_table(tmp_path):
    write_claims(tmp_path / "c.md", {"law": [Claim("a|b", "s", "t", "1", "2", False), Claim("c", "s", "t", "1", "1", True)]}, quick=True)
    text = (tmp_path / "c.md").read_text()
    assert "1 of 2 hold, with the quick" in text
    assert "| law | a\\|b | s | t | 1 | 2 | **no** |" in text


def test_claims_of_earlier_runs_with_the_same_settings_are_kept(tmp_path, monkeypatch):
    claims = [Claim('a, "b"', "s", "t", "1", "2", False), Claim("c", "s", "t", "1", "1", True)]
    write_rows(tmp_path / "law-claims.csv", claims, quick=True)
    assert read_rows(tmp_path / "law-claims.csv", quick=True) == claims
    assert read_rows(tmp_path / "law-claims.csv", quick=False) == read_rows(tmp_path / "cp-claims.csv", quick=True) == []
    monkeypatch.setattr(runner, "_one", lambda *_: [Claim(str(number), "s", "t", "1", "1", True) for number in range(3)])
    reproduce(["two_by_two"], tmp_path, quick=True, tell=lambda line: None)
    text = (tmp_path / "claims.md").read_text()
    assert "4 of 5 hold" in text and text.index("| two_by_two |") < text.index("| law |")


def test_the_page_of_claims_says_which_rows_are_of_quick_settings(tmp_path, monkeypatch):
    """A full run that is under way: what it has, and the quick rows of the rest; nothing while a figure has neither."""
    from benchmarks import reproduce as page

    monkeypatch.setattr(page, "OUT", tmp_path)
    monkeypatch.setattr(page, "DOCS", tmp_path / "docs")
    for kind, quick in (("full", False), ("quick", True)):
        (tmp_path / f"reproduce-{kind}").mkdir()
        for name in NAMES[:-1] if quick else ("law",):
            write_rows(tmp_path / f"reproduce-{kind}" / f"{name}-claims.csv", [Claim(kind, "s", "t", "1", "2", not quick)], quick=quick)
    page.write_page_of_claims({"law"})
    assert not (tmp_path / "docs").exists()
    write_rows(tmp_path / "reproduce-quick" / f"{NAMES[-1]}-claims.csv", [Claim("quick", "s", "t", "1", "2", True)], quick=True)
    page.write_page_of_claims({"law", "bound"})
    text = (tmp_path / "docs" / "claims.md").read_text()
    assert "| law | full |" in text and "| bound (quick settings) | quick |" in text
    assert f"2 of {len(NAMES)} hold, with the full settings of 1 figures and the quick ones of {len(NAMES) - 1}" in text


def test_the_command_works_on_one_thread_unless_told_how_many(monkeypatch):
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    before = threads()
    monkeypatch.delenv("NPROC", raising=False)
    with one_thread():
        assert threads() == {1} and os.environ["NPROC"] == "1"
    monkeypatch.setenv("NPROC", "3")
    with one_thread():
        assert os.environ["NPROC"] == "3"
    assert threads() == before


@pytest.mark.parametrize("quick", [False, True])
def test_a_claim_names_the_shares_that_were_run(quick):
    said = multirank.named(multirank.HIDDEN[quick])
    assert said.count("%") == len(multirank.HIDDEN[quick]) and all(f"{share:.0%}" in said for share in multirank.HIDDEN[quick])


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_figure(name):
    module = importlib.import_module(f"rankless.figures.{name}")
    assert callable(module.run) and callable(module.draw) and module.__doc__


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_claim_holds_with_the_quick_settings(name, tmp_path):
    from benchmarks.measures import reproduce as measures

    found = measures.reproduce(name, tmp_path, quick=True)
    assert found["held"] == found["claims"] >= 1, (tmp_path / "claims.md").read_text()
