"""`rankless reproduce`: what it writes, what it refuses, and (slow) that every claim holds with the quick settings."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time

import pytest
import scipy.linalg.cython_blas  # noqa: F401  (the library whose threads are counted)
from threadpoolctl import threadpool_info

from rankless.figures import NAMES, multirank, reproduce, runner
from rankless.figures.outcome import Claim, read_rows, write_claims, write_rows
from rankless.figures.side_by_side import one_thread, side_by_side


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


def played(name: str, tell) -> tuple[str, int, str | None]:
    """What a worker does for a name, in place of a figure."""
    if name == "wrong":
        raise ValueError("no such thing")
    if name == "gone":
        os._exit(9)
    if name == "forever":
        tell(str(os.getpid()))
        time.sleep(600)
    tell(f"at {name}")
    return name.upper(), os.getpid(), os.environ.get("NPROC")


def test_workers_take_names_in_order_and_tell_what_they_are_at(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    told = []
    made = dict(side_by_side(played, ["a", "b", "c"], 2, lambda name, text: told.append((name, text))))
    assert {name: what for name, (what, _, _) in made.items()} == {"a": "A", "b": "B", "c": "C"}
    assert sorted(told) == [("a", "at a"), ("b", "at b"), ("c", "at c")]
    workers = {pid for _, pid, _ in made.values()}
    assert len(workers) <= 2 and os.getpid() not in workers
    assert {threads for *_, threads in made.values()} == {"1"}


@pytest.mark.parametrize(
    "name, error, says", [("wrong", ValueError, "no such thing"), ("gone", RuntimeError, "that made 'gone' was ended; if memory ran out")]
)
def test_a_figure_that_fails_says_so_and_ends_the_others(name, error, says):
    told = {}
    with pytest.raises(error, match=says):
        for _ in side_by_side(played, ["forever", name], 2, told.__setitem__):
            pass
    assert not multiprocessing.active_children()


def test_ctrl_c_ends_the_workers():
    def interrupt(name, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(side_by_side(played, ["forever", "forever"], 2, interrupt))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_figures_made_side_by_side_are_those_made_in_turn(tmp_path):
    """The same bytes in every file, rows in the same order, though they are done in another."""
    names, said = ("two_by_two", "multirank", "images"), []
    for jobs in (1, 2):
        with one_thread():
            rows = reproduce(names, tmp_path / str(jobs), quick=True, jobs=jobs, tell=said.append)
        assert tuple(rows) == names
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / jobs).iterdir() if path.suffix != ".svg"} for jobs in "12")
    assert one == two and "claims.md" in one
    assert sorted(line.split(": done")[0] for line in said if ": done" in line) == sorted(
        f"[{n}/3] {name}" for n, name in enumerate(names, 1) for _ in "12"
    )


def test_jobs_below_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="jobs=0 is not a number of processes"):
        reproduce(["law"], tmp_path / "out", jobs=0)


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
