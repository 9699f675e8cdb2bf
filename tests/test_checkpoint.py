"""A fit that was cut short goes on to the same numbers, wherever it was cut and however."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from planted import planted
from rankless import TensorCompleter, complete
from rankless.experts.neighbours import KINDS, Correlation, Groups, Neighbours
from rankless.runtime import journal as checkpoint
from rankless.runtime.journal import Journal
from rankless.runtime.pack import pack, unpack
from rankless.runtime.progress import Progress
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

SOURCE = Path(__file__).resolve().parent.parent / "src"
# what others keep in a journal is seen below
ASKED = {"experts": ["components", "draws"], "effort": "fast"}
SETTINGS = {"depth": 0.0, "noise": None, "value_transform": None, "random_state": 0, **ASKED}


class Cut(Exception):
    """Stands for whatever ends a process."""


def small(seed: int = 0) -> Observations:
    return Observations.from_array(planted((9, 8, 6), rank=2, share=0.7, seed=seed)[1])


def said(est: TensorCompleter) -> str:
    """All that a fit predicts, as one hash."""
    cells = np.argwhere(np.ones(est.shape_, dtype=bool))
    return hashlib.sha256(est.predict(cells).tobytes()).hexdigest()


def fit(journal: Journal | Path | None, obs: Observations | None = None, **settings) -> str:
    return said(TensorCompleter(**(SETTINGS | settings)).fit(obs or small(), checkpoint=journal))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[str, list[bytes]]:
    """The hash of an unbroken fit, and the records of its journal."""
    path = tmp_path_factory.mktemp("whole") / "journal"
    with pytest.raises(Cut), Journal(path, every=0) as journal:
        answer = fit(journal)
        raise Cut
    assert answer == fit(None)
    records = []
    with path.open("rb") as stream:
        while checkpoint._read(stream, len(records)) is not None:
            records.append(path.read_bytes()[sum(map(len, records)) : stream.tell()])
    assert len(records) > 20
    return answer, records


# --- resuming ---------------------------------------------------------------------------------------


def test_a_fit_goes_on_from_any_record_to_the_same_bits(tmp_path, whole):
    """From the first, the last, and one in three between; the campaign `kills` cuts anywhere."""
    answer, records = whole
    path = tmp_path / "journal"
    for count in sorted({*range(1, len(records), 3), len(records)}):
        path.write_bytes(b"".join(records[:count]))
        with Journal(path, every=0) as journal:
            assert fit(journal) == answer
            assert journal.handed_back == count - 1
        assert not path.exists()


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_last_record_that_was_cut_short_is_cut_off(tmp_path, whole, part):
    answer, records = whole
    path, last = tmp_path / "journal", records[10]
    path.write_bytes(b"".join(records[:10]) + last[: int(part * len(last))])
    with pytest.raises(Cut), Journal(path, every=0) as journal:
        assert fit(journal) == answer
        assert journal.handed_back == 9
        raise Cut
    assert path.read_bytes() == b"".join(records)  # what was appended stands where the torn record was


@pytest.mark.parametrize("record", [0, 1, 10])
def test_a_bit_that_flipped_costs_what_comes_after_it(tmp_path, whole, record):
    answer, records = whole
    path, bad = tmp_path / "journal", bytearray(b"".join(records))
    bad[sum(map(len, records[:record])) + len(records[record]) // 2] ^= 4
    path.write_bytes(bad)
    with Journal(path, every=0) as journal:
        assert fit(journal) == answer
        assert journal.handed_back == max(record - 1, 0)


def test_an_empty_file_and_a_foreign_one_are_begun_afresh(tmp_path, whole):
    for content in (b"", b"PK\x03\x04" + bytes(100)):
        (tmp_path / "journal").write_bytes(content)
        assert fit(tmp_path / "journal") == whole[0]


def test_draws_and_neighbours_go_on_too(tmp_path, monkeypatch):
    """A fit with everything in it: draws from the posterior, slices with their own noise, a choice of neighbours."""
    rng = np.random.default_rng(0)
    close = np.cumsum(rng.normal(size=(8, 30, 3)), axis=1)
    obs = Observations.from_array(np.where(rng.random(close.shape) < 0.7, close, np.nan))
    path, steps = tmp_path / "journal", []
    with pytest.raises(Cut), Journal(path, every=0) as journal:
        recall = journal.recall
        monkeypatch.setattr(journal, "recall", lambda what, *rest: steps.append(what) or recall(what, *rest))
        answer = said(TensorCompleter(random_state=1).fit(obs, checkpoint=journal))
        raise Cut
    assert {"settle", "draws", "neighbours", "unfolding"} <= set(steps)
    with Journal(path) as journal:
        est = TensorCompleter(random_state=1).fit(obs, checkpoint=journal)
        assert journal.handed_back == len(steps)
    assert said(est) == answer
    assert said(TensorCompleter(random_state=1).fit(obs)) == answer


def test_neighbours_come_back_as_they_went():
    rng = np.random.default_rng(0)
    for mode in (None, 0, 2):
        chosen = Neighbours(Groups((3, 4, 5), (1,), mode), Correlation(*rng.normal(size=(3, 2, 2)))), rng.normal(size=7)
        found = unpack(pack(chosen), KINDS)
        assert (found[0].groups.shape, found[0].groups.modes, found[0].groups.mode) == ((3, 4, 5), (1,), mode)
        np.testing.assert_equal(pack(found), pack(chosen))
    assert unpack(pack(None)) is None


def test_without_a_seed_the_fit_goes_on_with_the_one_it_was_begun_with(tmp_path):
    path = tmp_path / "journal"
    with pytest.raises(Cut), Journal(path, every=0) as journal:
        answer = fit(journal, random_state=None)
        raise Cut
    assert fit(path, random_state=None) == answer
    assert fit(None, random_state=None) != answer


# --- what a journal goes with -----------------------------------------------------------------------


def test_a_journal_of_another_fit_is_refused_in_a_sentence(tmp_path, whole, monkeypatch):
    path = tmp_path / "journal"
    path.write_bytes(b"".join(whole[1]))
    for name, obs, settings in [
        ("data", small(seed=1), {}),
        ("depth", small(), {"depth": 1.0}),
        ("random_state", small(), {"random_state": 1}),
        ("holdout", small(), {"holdout": 0.2}),
    ]:
        with pytest.raises(ValueError, match=f"is of a fit with another {name} .*delete it to start afresh"):
            fit(path, obs, **settings)
    monkeypatch.setattr("rankless.completer.machine", lambda: "another")
    with pytest.raises(ValueError, match=r"of a fit with another machine .*now another"):
        fit(path)
    assert path.read_bytes() == b"".join(whole[1])  # kept for whom it belongs to


def test_a_journal_that_leads_elsewhere_is_refused(tmp_path, whole):
    records = [*whole[1][:5], checkpoint._packed(5, "settle 00000000", {"stack": np.zeros((23, 1))})]
    (tmp_path / "journal").write_bytes(b"".join(records))
    with pytest.raises(ValueError, match=r"step 5 of the checkpoint .* is another than this fit's"):
        fit(tmp_path / "journal")


def test_the_number_of_threads_may_change(tmp_path, whole):
    (tmp_path / "journal").write_bytes(b"".join(whole[1][:9]))
    assert fit(tmp_path / "journal", n_jobs=1) == whole[0]


def test_no_pickle_is_written_or_read(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoint._packed(0, "x", {"x": np.array([{}], dtype=object)})
    body = b'{"name": "x", "arrays": ["x"]}\n' + b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    path = tmp_path / "journal"
    path.write_bytes(checkpoint._HEAD.pack(checkpoint._MARK, 0, len(body), checkpoint.zlib.crc32(body)) + body)
    with pytest.raises(ValueError, match=r"pickle|Object|header"), path.open("rb") as stream:
        checkpoint._read(stream, 0)


# --- when it is written -----------------------------------------------------------------------------


def test_short_fits_write_nothing_and_long_ones_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Journal, "write", lambda self: pytest.fail("written"))
    complete(small(), checkpoint=tmp_path / "journal", **SETTINGS)
    monkeypatch.undo()
    with Journal(tmp_path / "journal", every=0) as journal:
        fit(journal)
        assert journal.path.exists()
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_until_there_is_something_to_replace_it(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"old")
    with pytest.raises(Cut), Journal(path, every=3600, resume=False) as journal:
        fit(journal)
        assert path.read_bytes() == b"old"
        raise Cut
    assert path.read_bytes() == b"old"
    with pytest.raises(Cut), Journal(path, every=0, resume=False) as journal:
        fit(journal)
        raise Cut
    assert path.read_bytes().startswith(checkpoint._MARK)
    assert [p.name for p in tmp_path.iterdir()] == ["journal"]


def test_a_full_disk_costs_the_checkpoint_and_not_the_fit(tmp_path, whole, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    said = "no checkpoint can be written .*No space left on device.*; the fit goes on without"
    with pytest.warns(UserWarning, match=said) as warned, Journal(tmp_path / "journal", every=0) as journal:
        assert fit(journal) == whole[0]
    assert len(warned) == 1
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="folder .* does not exist"):
        assert fit(Journal(tmp_path / "nowhere" / "journal", every=0)) == whole[0]


@pytest.mark.parametrize("every", [-1, float("nan"), "often"])
def test_seconds_that_are_none_are_refused(tmp_path, every):
    with pytest.raises(ValueError, match="is not a number of seconds >= 0"):
        Journal(tmp_path / "journal", every=every)


# --- ctrl-C -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_ctrl_c_in_a_block_ends_the_others_before_it_passes(threads):
    main, running, done, pressed = threading.current_thread(), [], [], threading.Event()

    def block(number: int) -> None:
        running.append(number)
        if threading.current_thread() is main:
            pressed.set()
            raise KeyboardInterrupt
        pressed.wait(600)  # however late the main thread is on a loaded machine
        time.sleep(0.05)
        done.append(number)

    with Workers(threads) as workers, pytest.raises(KeyboardInterrupt):
        workers.run(block, [(n,) for n in range(100)], work=1e9)
    assert len(running) < 20
    assert len(done) == len(running) - 1
    left = len(done)
    time.sleep(0.1)
    assert len(done) == left


def test_ctrl_c_leaves_the_best_so_far_in_the_estimator(whole):
    fits, messages = {}, []

    def stop(after: int):
        def callback(now: Progress) -> None:
            messages.append(now.stage)
            if len(messages) == after:
                raise KeyboardInterrupt

        return callback

    for after in (1, 6):
        messages.clear()
        fits[after] = TensorCompleter(**SETTINGS)
        with pytest.raises(KeyboardInterrupt):
            fits[after].fit(small(), callback=stop(after))
    assert not hasattr(fits[1], "model_")  # nothing had been found
    rows = fits[6].path_
    assert fits[6].holdout_rmse_ == pytest.approx(rows.holdout_rmse.min())
    assert len(rows) > 0
    assert said(fits[6]) != whole[0]
    assert np.isfinite(fits[6].predict([[0, 0, 0]])).all()


# --- real processes ---------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path) -> Path:
    np.save(tmp_path / "data.npy", planted((15, 12, 10), rank=3, share=0.5, noise=0.3)[1])
    return tmp_path


@pytest.fixture(scope="module")
def unbroken() -> bytes:
    """What a fit of these data says that nobody ends."""
    return complete(planted((15, 12, 10), rank=3, share=0.5, noise=0.3)[1], random_state=0).array().tobytes()


# jobs in the background of a shell begin deaf to ctrl-C
HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from rankless.cli import main; main()"


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEARING, "complete", "data.npy", "-o", "out.npy", "--checkpoint-every", "0", "--quiet", *options]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def wait_for(path: Path, run: subprocess.Popen) -> None:
    while not path.exists():
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.01)


def test_kills_at_random_times_do_not_change_a_bit(data, unbroken):
    rng, kept = random.Random(0), data / ".out.npy.checkpoint"
    sizes = []
    for _ in range(3):
        run = start(data, "--resume")
        wait_for(kept, run)
        time.sleep(rng.uniform(0.1, 0.5))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        if (data / "out.npy").exists():  # it was quicker than we
            break
        sizes.append(kept.stat().st_size)
    else:
        run = start(data, "--resume")
        _, error = run.communicate(timeout=600)
        assert run.returncode == 0, error
        assert error == "going on from .out.npy.checkpoint\n"
    assert sizes and sizes == sorted(sizes)
    assert np.load(data / "out.npy").tobytes() == unbroken
    assert not kept.exists()


def test_ctrl_c_saves_says_and_goes_on(data, unbroken):
    kept = data / ".out.npy.checkpoint"
    run = start(data)
    wait_for(kept, run)
    sizes = {kept.stat().st_size}
    while len(sizes) < 4:  # until there is something found, on a loaded machine too
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.01)
        sizes.add(kept.stat().st_size)
    run.send_signal(signal.SIGINT)
    told, error = run.communicate(timeout=600)
    assert run.returncode == 130
    assert told == ""
    assert error.count("\n") == 1
    assert error.startswith("stopped; the best so far (rank ")
    assert error.endswith("is in out.so-far.npy; the same command with --resume goes on from .out.npy.checkpoint\n")
    assert sorted(p.name for p in data.iterdir()) == [kept.name, "data.npy", "out.so-far.npy"]
    filled = np.load(data / "out.so-far.npy")
    assert np.isfinite(filled).all()
    run = start(data, "--resume")
    assert run.communicate(timeout=600)[1] == "going on from .out.npy.checkpoint\n"
    assert np.load(data / "out.npy").tobytes() == unbroken
