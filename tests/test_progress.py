"""Long work shows itself, and no number hangs on who looks."""

from __future__ import annotations

import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planted import planted
from rankless import als, complete
from rankless.cli import app
from rankless.completer import TensorCompleter
from rankless.evaluation import evaluate
from rankless.runtime import progress
from rankless.runtime.progress import Progress, Tracker, shown
from rankless.tensors.observations import Observations

SOURCE = Path(__file__).resolve().parent.parent / "src"
TRUTH, SEEN = planted((10, 9, 8), rank=2, share=0.6, noise=0.3)
CELLS = np.argwhere(np.isnan(SEEN))
COUNTS = np.where(np.isnan(SEEN), np.nan, np.random.default_rng(0).poisson(np.exp(TRUTH)))
FITS = {
    "squares": (SEEN, {}),
    "poisson": (COUNTS, {"loss": "poisson"}),
    "square roots": (COUNTS, {"value_transform": "sqrt"}),
    "gaps": (np.where(np.arange(9)[:, None] % 4 == np.arange(10)[:, None, None] % 4, np.nan, SEEN), {}),
}


def after(fits: int):
    def stop(now: Progress) -> None:
        if now.fits >= fits:
            raise StopIteration

    return stop


# --- a callback -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_the_bits_are_the_same_whoever_looks(name, monkeypatch, capsys, caplog):
    array, options = FITS[name]
    options = options if name == "squares" else {**options, "effort": "fast"}  # draws are looked at once
    quiet = TensorCompleter(random_state=0, **options).fit(array)
    monkeypatch.setattr(progress, "EVERY", 0.0)  # at every sweep
    caplog.set_level(logging.DEBUG, "rankless")
    told: list[Progress] = []
    loud = TensorCompleter(random_state=0, verbose=True, **options).fit(array, callback=told.append)
    assert loud.predict(CELLS).tobytes() == quiet.predict(CELLS).tobytes()
    assert loud.path_.drop(columns="seconds").equals(quiet.path_.drop(columns="seconds"))
    assert len(told) > 2 * len(loud.path_), "beats too"
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == len(told)


def test_what_is_told_is_what_the_path_holds():
    told: list[Progress] = []
    done = complete(1000.0 * SEEN, random_state=0, callback=told.append)
    fitted = [now for last, now in zip([Progress("", 0.0), *told[:-1]], told, strict=True) if now.fits > last.fits]
    rows = done.path
    assert [now.fits for now in fitted] == list(range(1, len(rows) + 1))
    np.testing.assert_allclose(np.array([now.score for now in fitted], float), rows.holdout_rmse)  # in the units of the data
    for name in ("depth", "penalty", "rank"):
        np.testing.assert_array_equal([getattr(now, name) for now in fitted], rows[name])
    assert [now.best for now in fitted] == list(np.minimum.accumulate(rows.holdout_rmse))
    assert all(now.seconds >= last.seconds >= 0 for last, now in pairwise(told))
    assert "drawing" in " ".join(now.stage for now in told)
    with pytest.raises(AttributeError):
        told[0].rank = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("fits", [1, 7])
@pytest.mark.parametrize("name", FITS)
def test_stop_iteration_ends_the_search_with_the_best_so_far_refitted(name, fits, tmp_path):
    array, options = FITS[name]
    est = TensorCompleter(random_state=0, **options).fit(array, callback=after(fits), checkpoint=tmp_path / "fit")
    assert len(est.path_) == fits
    if name != "poisson":
        assert est.holdout_rmse_ == pytest.approx(est.path_.holdout_rmse.min())
    lower, upper = est.predict_interval(CELLS, 0.5)
    assert (lower <= est.predict(CELLS)).all() and (est.predict(CELLS) <= upper).all()
    assert list(tmp_path.iterdir()) == [], "a fit that ended as it was asked to is not one to go on from"


def test_what_was_held_out_counts_once_the_search_has_ended():
    """The refit knows all entries: where it is observed, its error falls."""
    est = TensorCompleter(random_state=0, experts=["components"]).fit(SEEN, callback=after(20))
    obs = Observations.from_array(SEEN)
    assert np.sqrt(np.mean((est.predict(obs.indices) - obs.values) ** 2)) < est.holdout_rmse_
    whole = TensorCompleter(random_state=0, experts=["components"]).fit(SEEN)
    hidden = [np.sqrt(np.mean((e.predict(CELLS) - TRUTH[tuple(CELLS.T)]) ** 2)) for e in (est, whole)]
    assert hidden[0] < 1.5 * hidden[1]


def test_an_end_wanted_too_early_comes_with_the_first_fit_and_other_exceptions_pass():
    calls = []

    def once(now: Progress) -> None:
        calls.append(now)
        if len(calls) == 1:
            raise StopIteration

    assert len(TensorCompleter(random_state=0).fit(SEEN, callback=once).path_) == 1
    assert calls[0].fits == 0

    def broken(now: Progress) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        TensorCompleter(random_state=0).fit(SEEN, callback=broken)


def test_what_a_callback_returns_means_nothing():  # tqdm's update returns True
    fixed = {"depth": 0, "penalty": 1.0, "effects": False, "noise": None, "experts": ["components"]}
    assert len(complete(SEEN, **fixed, callback=lambda now: True).path) > 1


def test_calibration_and_evaluation_are_told_too():
    told: list[Progress] = []
    TensorCompleter(random_state=0, depth=0, penalty=1.0).fit(SEEN).calibration(callback=told.append)
    assert told[0].stage.startswith("calibrating on ")
    told.clear()
    scores = evaluate(Observations.from_array(SEEN), callback=told.append, effort="fast")
    assert [now.stage for now in told[: len(scores) - 1]] == [score.name for score in scores[:-1]]
    assert [now.fraction for now in told[:6]] == pytest.approx([step / 6 for step in range(6)])
    assert told[-1].fits > 0


# --- one fit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["gaussian", "huber"])
def test_one_fit_tells_every_sweep_and_rests_at_the_same_bits(loss, monkeypatch, capsys):
    obs = Observations.from_array(SEEN)
    quiet = als.solve(obs, penalty=0.1, loss=loss, random_state=0)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    told: list[Progress] = []
    loud = als.solve(obs, penalty=0.1, loss=loss, random_state=0, verbose=True, callback=told.append)
    assert loud.objective == quiet.objective and loud.model.full().tobytes() == quiet.model.full().tobytes()
    assert len(told) > len(loud.objective)
    assert told[0].stage == "sweeping 40 components to rest"
    assert any(re.fullmatch(rf"offering \d+ more components than {loud.rank}", now.stage) for now in told)
    assert len(capsys.readouterr().err.splitlines()) == len(told)


@pytest.mark.parametrize("loss", ["gaussian", "huber"])
@pytest.mark.parametrize("calls", [1, 12])
def test_one_fit_ends_when_the_callback_says_so(loss, calls, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    told: list[Progress] = []

    def stop(now: Progress) -> None:
        told.append(now)
        if len(told) == calls:
            raise StopIteration

    fit = als.solve(Observations.from_array(SEEN), depth=1.0, penalty=0.1, loss=loss, random_state=0, callback=stop)
    assert len(told) == max(calls, 2) and not fit.converged  # before the first sweep there is nothing to end with
    residual = fit.model.full()[~np.isnan(SEEN)] - SEEN[~np.isnan(SEEN)]
    cost = 0.1 * 2 * 3 / 2 * np.sum(fit.model.component_norms() ** (2 / (3 * 2)))
    if loss == "gaussian":
        assert fit.objective == [pytest.approx(0.5 * np.sum(residual**2) + cost)]
    assert (
        len(fit.objective) == 1
        and fit.objective[0] > als.solve(Observations.from_array(SEEN), depth=1.0, penalty=0.1, loss=loss, random_state=0).objective[-1]
    )


def test_an_offer_that_is_ended_is_dropped(monkeypatch):
    def stop(now: Progress) -> None:
        if now.stage.startswith("offering"):
            raise StopIteration

    obs = Observations.from_array(SEEN)
    ended = als.solve(obs, penalty=0.1, random_state=0, callback=stop)
    plain = als.solve(obs, penalty=0.1, random_state=0, anneal_rounds=0)
    assert ended.objective == plain.objective and not ended.converged
    assert ended.model.full().tobytes() == plain.model.full().tobytes()


# --- the log ----------------------------------------------------------------------------------------


def test_stages_are_logged_at_info_and_fits_at_debug(caplog):
    caplog.set_level(logging.DEBUG, "rankless")
    done = complete(SEEN, random_state=0, effort="fast")
    levels = {level: [r.getMessage() for r in caplog.records if r.levelno == level] for level in (logging.INFO, logging.DEBUG)}
    assert len(levels[logging.DEBUG]) == len(done.path)
    assert re.fullmatch(r"depth \S+, penalty \S+: rank \d+, held-out error \S+", levels[logging.DEBUG][0])
    assert levels[logging.INFO][0] == "growing components"
    assert levels[logging.INFO][-1].startswith(f"rank {done.rank}, depth ")
    assert {r.name for r in caplog.records} == {"rankless"}


def test_nothing_is_printed_unless_asked_for(tmp_path):
    code = "import numpy as np, rankless; rankless.complete(np.load('x.npy'), random_state=0, effort='fast')"
    np.save(tmp_path / "x.npy", SEEN)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


# --- plain lines ------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "perf_counter", clock)
    return clock


def test_piped_there_is_a_line_a_second_at_most(clock, capsys):
    with shown() as show:
        tracker = Tracker(show)
        for step in range(100):  # 10 seconds
            clock.now = step / 10
            tracker.stage(f"stage {step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{second} s: stage {10 * second}" for second in range(1, 10)]


def test_a_line_says_how_far_it_is(clock, capsys):
    with shown() as show:
        tracker = Tracker(show)
        tracker.begin("logarithms: ", unit=2.0)
        tracker.stage("drawing")
        tracker.fitted(1.0, 0.5, 7, 0.25)
        clock.now = 61.0
        tracker.fitted(1.0, 0.25, 9, 0.5)
        clock.now = 63.0
        tracker.beat(0.25)
    assert capsys.readouterr().err.splitlines() == [
        "61 s: logarithms: drawing; 2 fits, rank 9, best held-out error 0.5",
        "63 s: logarithms: drawing; 2 fits, rank 9, best held-out error 0.5 (25%), about 6 s left",
    ]


def test_beats_between_are_a_second_apart(clock):
    told: list[Progress] = []
    tracker = Tracker(told.append)
    tracker.stage("sweeping")
    for step in range(1, 50):
        clock.now = step / 10
        tracker.beat()
    assert [now.seconds for now in told] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_not_wanted_is_nothing(capsys):
    with shown(False) as show:
        assert show is None
    assert capsys.readouterr() == ("", "")


# --- terminals --------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "xterm", **more}


def in_this_process(work: Callable[[], object], monkeypatch, width: int = 80) -> str:
    """What a terminal was sent that is stdout and stderr of `work`, done here: importing everything takes a process most of its time."""
    parent, child = pty.openpty()
    sent: list[bytes] = []

    def read() -> None:
        while select.select([parent], [], [], 600)[0]:
            try:
                sent.append(os.read(parent, 65536))
            except OSError:  # the other end is closed
                break

    reader = threading.Thread(target=read)
    reader.start()
    with open(child, "w") as stream, monkeypatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        work()
    reader.join()
    os.close(parent)
    return b"".join(sent).decode()


def in_terminal(*command: str, folder: Path, width: int = 80, stdout: int | None = None, interrupt: str = "") -> tuple[int, str]:
    """Exit code, and what a terminal was sent, by a process whose stdin, stderr and, unless given, stdout it is."""
    parent, child = pty.openpty()
    # background jobs begin deaf to ctrl-C; said here and not in a preexec_fn, for which Python would have to fork, threads and all
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment(COLUMNS=str(width)),
        stdin=child,
        stdout=child if stdout is None else stdout,
        stderr=child,
    )
    signal.signal(signal.SIGINT, before)
    os.close(child)
    sent, end, interrupted = b"", time.monotonic() + 120, False
    while time.monotonic() < end:
        if select.select([parent], [], [], 0.1)[0]:
            try:
                piece = os.read(parent, 65536)
            except OSError:  # the child has closed it
                break
            sent += piece
            if interrupt and not interrupted and interrupt.encode() in sent:
                interrupted = True
                run.send_signal(signal.SIGINT)
    os.close(parent)
    return run.wait(10), sent.decode()


def seen_in_the_end(sent: str) -> list[str]:
    """The lines a terminal shows once it has obeyed the moves and erasures that rich uses."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", sent):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(re.findall(r"\d+", token)[0])
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith("\x1b") and token != "\r":
            lines[row] += token
    return [line for line in lines if line.strip()]


@pytest.fixture
def data(tmp_path) -> Path:
    np.save(tmp_path / "x.npy", SEEN)
    return tmp_path


COMPLETE = ("-m", "rankless", "complete", "x.npy", "-o", "y.npy", "--effort", "fast")
QUICK: dict[str, Any] = {"random_state": 0, "effort": "fast"}


def test_a_terminal_shows_a_bar_that_is_gone_in_the_end(data):
    code, sent = in_terminal(*COMPLETE, folder=data)
    assert code == 0
    assert "━" in sent and "best held-out error" in sent and "0:00:" in sent
    shown = seen_in_the_end(sent)
    assert "of 720 cells observed" in shown[0] and shown[-1] == "wrote y.npy"
    assert not any("━" in line for line in shown)
    assert "\x1b[?25h" in sent[sent.rindex("\x1b[?25l") :], "the cursor is back"


def test_a_narrow_terminal_cuts_the_text_and_not_the_line(monkeypatch):
    sent = in_this_process(lambda: complete(SEEN, verbose=True, **QUICK), monkeypatch, width=40)
    bars = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent).replace("\r", "\n").split("\n") if "━" in line]
    assert bars and max(map(len, bars)) <= 40 and any("growing components" in line for line in bars)


def test_quiet_shows_nothing(data, monkeypatch):
    monkeypatch.chdir(data)
    sent = in_this_process(lambda: app([*COMPLETE[2:], "--quiet"], standalone_mode=False), monkeypatch)
    assert "━" not in sent and "fits," not in sent and "wrote y.npy" in sent


# the command as it is, with a figure that takes no time
REPRODUCE = """
from rankless.cli import main
from rankless.figures import outcome, runner

def one(name, folder, quick, progress):
    progress("L = 3")
    return [outcome.Claim("a claim", "source", "test", "1", "1", True)]

runner._one = one
main()
"""


def test_stdout_in_a_file_keeps_what_is_printed_while_the_bar_moves(data):
    with open(data / "said.txt", "wb") as stream:
        code, sent = in_terminal("-c", REPRODUCE, "reproduce", "two_by_two", folder=data, stdout=stream.fileno())
    assert code == 0
    assert "holds" in (data / "said.txt").read_text() and "holds" not in sent
    assert "[1/1] two_by_two: L = 3" in sent


def test_verbose_in_python_is_the_same_bar(monkeypatch):
    sent = in_this_process(lambda: complete(SEEN, verbose=True, **QUICK), monkeypatch)
    assert "━" in sent and seen_in_the_end(sent) == []


def test_ctrl_c_clears_the_bar_and_says_what_is_kept(data):
    code, sent = in_terminal(*COMPLETE, "--checkpoint-every", "0", folder=data, interrupt="best held-out error")
    assert code == 130
    (line,) = {" ".join(seen_in_the_end(sent))}
    assert line.startswith("stopped; the best so far (rank ") and "━" not in line
    assert sorted(path.name for path in data.iterdir()) == [".y.npy.checkpoint", "x.npy", "y.so-far.npy"]
    assert "\x1b[?25h" in sent[sent.rindex("\x1b[?25l") :]
