"""The guard and the experts' page: the rules on made figures, and that only what is not on file is measured."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from benchmarks import experts, guard, rows
from benchmarks.measures import guarded
from benchmarks.measures.growth import ALLOWED
from campaign import alone, page, store
from campaign.machine import ROOT

OLD, NEW = "a" * 12, "b" * 12
TABLE = guard.Guarded("nyc/cells/50", "completion", ("nyc_airport_weather", "cells", 0.5), range(5), "nrmse")
PLANTED = guard.Guarded("planted/20^3", "recovery", ("20^3",), range(50), "error")
RATINGS = guard.Guarded("ratings", "rated", (), range(3), "rmse")
GROWTH = guard.Guarded("growth/planted/k0", "grown", ("planted", 0), range(3))
COVERAGE = guard.Guarded("coverage/few", "covered", ("few",), range(5))


@pytest.fixture
def cells(tmp_path):
    return guard.kept(tmp_path / "guard.csv")


def fill(cells, row, code, figures):
    for seed, found in enumerate(figures):
        cells.measure({"row": row.name, "seed": seed, "code": code}, lambda found=found: found)


def line(cells, row, old, new):
    fill(cells, row, OLD, old)
    fill(cells, row, NEW, new)
    return guard.compare(cells, row, range(50), OLD, NEW)


def errors(*values):
    return [{"nrmse": value} for value in values]


def test_a_table_may_be_two_percent_worse_in_the_median_over_seeds(cells):
    assert line(cells, TABLE, errors(0.5, 0.4, 0.2), errors(0.9, 0.4, 0.203)).holds  # 1.8, 1, 1.015


def test_a_table_worse_by_more_breaks_the_guard(cells):
    found = line(cells, TABLE, errors(0.5, 0.4, 0.2), errors(0.9, 0.4, 0.205))
    assert found.holds is False and "1.0250 (3 seeds)" in found.text


def test_seeds_are_paired(cells):
    """A seed that one code lacks says nothing of the other."""
    found = line(cells, TABLE, errors(0.5, 0.1), errors(0.5))
    assert list(found.ratios) == [1.0] and found.holds


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_an_error_that_is_no_number_breaks_the_guard(cells, error):
    found = line(cells, TABLE, errors(0.5), errors(error))
    assert found.holds is False and not guard.verdict([found], [TABLE.name])[1]


def test_the_mean_over_all_tables_breaks_it_where_no_table_does():
    lines = [guard.Line(row.name, "", True, [1.01, 0.999]) for row in rows.ROWS]
    said, holds = guard.verdict(lines, [row.name for row in rows.ROWS])
    assert not holds and len(said) == 1 and "1.00448" in said[0]
    assert guard.verdict([guard.Line("a", "", True, [1.002])], ["a"]) == ([], True)
    assert guard.verdict([guard.Line("ratings", "", True, [1.01])], ["a"]) == ([], True)  # no table of completion


def test_nothing_to_compare_is_no_pass(cells):
    fill(cells, TABLE, NEW, errors(0.5))
    found = guard.compare(cells, TABLE, range(5), OLD, NEW)
    assert found.holds is None and not guard.verdict([found], [TABLE.name])[1]


@pytest.mark.parametrize(("missed", "holds"), [(2, True), (3, False)])
def test_planted_tensors_are_recovered_48_times_of_50(cells, missed, holds):
    right, wrong = {"rank": 5, "error": 0.047}, {"rank": 6, "error": 0.047}
    for seed in range(50):
        cells.measure({"row": PLANTED.name, "seed": seed, "code": "oracle"}, lambda: {"oracle": 0.046})
    assert line(cells, PLANTED, [right] * 50, [wrong] * missed + [right] * (50 - missed)).holds is holds


def test_a_planted_tensor_of_the_right_rank_and_a_large_error_is_missed(cells):
    for seed in range(50):
        cells.measure({"row": PLANTED.name, "seed": seed, "code": "oracle"}, lambda: {"oracle": 0.046})
    found = line(cells, PLANTED, [{"rank": 5, "error": 0.06}] * 50, [{"rank": 5, "error": 0.06}] * 50)
    assert found.holds is False and found.text.startswith("0 of 50 recovered")


@pytest.mark.parametrize(("error", "holds"), [(0.909, True), (0.911, False)])
def test_ratings_have_a_bound_of_their_own(cells, error, holds):
    assert line(cells, RATINGS, [{"rmse": 0.905}] * 3, [{"rmse": error}] * 3).holds is holds


@pytest.mark.parametrize(("last", "holds"), [(1.02, True), (1.04, False)])
def test_errors_may_grow_by_three_percent_with_the_components_allowed(cells, last, holds):
    flat = {f"at_{allowed}": 1.0 for allowed in ALLOWED}
    assert line(cells, GROWTH, [flat] * 3, [{**flat, f"at_{ALLOWED[-1]}": last}] * 3).holds is holds


@pytest.mark.parametrize(("inside", "holds"), [(0.9, True), (0.87, True), (0.855, False), (0.94, False)])
def test_coverage_may_be_two_points_further_from_its_promise(cells, inside, holds):
    def covering(share):
        return [{f"inside_{c:g}": share if c == 0.9 else c for c in guarded.COVERAGES}] * 2

    assert line(cells, COVERAGE, covering(0.885), covering(inside)).holds is holds


def test_only_what_is_not_on_file_is_measured(cells, monkeypatch):
    made = []

    def side_by_side(jobs, **how):
        for job in jobs:
            made.append((job.key["row"], job.key["seed"], job.key["code"], job.source))
            yield job, {"nrmse": 0.5}

    monkeypatch.setattr(alone, "side_by_side", side_by_side)
    fill(cells, TABLE, OLD, errors(0.5))
    sources = {NEW: alone.SOURCE, OLD: Path("elsewhere")}
    guard.measure(cells, [(TABLE, 0), (TABLE, 1)], sources)
    assert made == [(TABLE.name, 0, NEW, alone.SOURCE), (TABLE.name, 1, NEW, alone.SOURCE), (TABLE.name, 1, OLD, Path("elsewhere"))]
    guard.measure(cells, [(TABLE, 0), (TABLE, 1)], sources)
    assert len(made) == 3


def test_a_code_is_what_can_move_a_figure(tmp_path):
    package = tmp_path / "rankless"
    (package / "report").mkdir(parents=True)
    (package / "als.py").write_text("x = 1\n")
    (package / "report" / "page.py").write_text("y = 1\n")
    before = guard.code_of(tmp_path)
    (package / "report" / "page.py").write_text("y = 2\n")
    (package / "als.py").write_text('"""Said better."""\nx = 1  # one\n')
    assert guard.code_of(tmp_path) == before
    (package / "als.py").write_text("x = 2\n")
    guard.source_stamp.cache_clear()
    assert guard.code_of(tmp_path) != before


def test_rows_are_named_by_what_they_begin_with():
    assert rows.matches("nyc/cells/50", ["nyc"]) and rows.matches("nyc/cells/50", ["ratings", "nyc/cells/50"])
    assert not rows.matches("nyc/cells/50", ["nyc/cells/5"])
    assert len(rows.ROWS) == len({row.name for row in rows.ROWS}) == 21


def test_another_code_is_measured_in_a_process_that_imports_it(tmp_path):
    (tmp_path / "rankless").mkdir()
    (tmp_path / "rankless" / "__init__.py").write_text("def answer(x):\n    return {'twice': 2 * x}\n")
    jobs = [alone.Job({"x": x}, "rankless", "answer", (x,), tmp_path) for x in (1, 2, 3)]
    found = {job.key["x"]: said for job, said in alone.side_by_side(jobs, processes=2)}
    assert found == {x: {"twice": 2 * x} for x in (1, 2, 3)}
    with pytest.raises(RuntimeError, match="TypeError"):
        list(alone.side_by_side([alone.Job({}, "rankless", "answer", ("a", "b"), tmp_path)]))
    with pytest.raises(ImportError):
        alone.alone("no_such_module", "answer", source=tmp_path)


def test_the_page_of_experts_says_what_each_buys(tmp_path, monkeypatch):
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "folder", tmp_path)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    cells = experts.store()
    left_out = "transform"
    for row, ratio in zip(rows.ROWS[:2], (1.21, 1.0), strict=True):
        for seed in (0, 1):
            for variant, factor, seconds in ((experts.DEFAULT, 1.0, 10.0), (left_out, ratio, 5.0)):
                figures = {"nrmse": 0.1 * (1 + seed) * factor, "processor": seconds}
                cells.measure(experts.key(row, seed, variant), lambda figures=figures: figures)
    experts.write()
    text = (tmp_path / "experts.md").read_text()
    assert f"| transform | `value_transform=None` | 2 | **1.1000** | 1.210 ({rows.ROWS[0].name}) | 1 | 0 | 0.50 |" in text


def imports(folder: str) -> set[tuple[str, str]]:
    """Pairs of modules of a folder's files and what they import."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {(name, alias.name) for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                found |= {(name, f"{node.module}.{alias.name}") for alias in node.names} | {(name, node.module or "")}
    return found


def test_torture_and_campaign_import_no_benchmark():
    assert not [pair for folder in ("torture", "campaign") for pair in imports(folder) if pair[1].split(".")[0] == "benchmarks"]
    assert not [pair for pair in imports("campaign") if pair[1].split(".")[0] == "torture"]


def test_benchmarks_import_in_no_circle():
    pairs = imports("benchmarks")
    left = {name for name, _ in pairs}
    while left:
        free = {name for name in left if not any(a == name and b in left and b != name for a, b in pairs)}
        assert free, f"a circle within {sorted(left)}"
        left -= free
