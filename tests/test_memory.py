"""What would not fit is refused with its size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rankless import TensorCompleter
from rankless.runtime import memory as _memory


def test_a_tensor_larger_than_any_machine_is_refused_with_its_size():
    with pytest.raises(
        ValueError, match=r"shape \(1000000, 1000000, 1000000\) takes 7105\.4 PiB and this machine has .*predict\(indices\)"
    ):
        _memory.check_fits((10**6,) * 3, 8)


def test_the_limit_is_the_memory_of_the_machine(monkeypatch):
    monkeypatch.setattr(_memory, "machine_memory", lambda: 1000)
    _memory.check_fits((5, 25), 8)
    with pytest.raises(ValueError, match=r"takes 1008\.0 B and this machine has 1000\.0 B"):
        _memory.check_fits((6, 21), 8)


def test_without_a_limit_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(_memory, "machine_memory", lambda: None)
    _memory.check_fits((10**6,) * 3, 8)


# --- a fit -----------------------------------------------------------------------------------------


def test_a_fit_that_would_not_fit_is_refused_beforehand_with_the_estimate_and_the_mend(monkeypatch):
    array = np.random.default_rng(0).normal(size=(20, 15, 10))
    monkeypatch.setattr(_memory, "machine_memory", lambda: _memory._taken()[1] + 2**25)
    monkeypatch.setattr("rankless.completer.Fit.best", lambda *_, **__: pytest.fail("begun"))
    with pytest.raises(ValueError, match=r"3,000 entries of shape \(20, 15, 10\) takes about 65\.\d MiB more and this machine leaves "):
        TensorCompleter().fit(array)
    with pytest.raises(ValueError, match=r"fit a part: obs\.subset\(np\.random\.default_rng\(0\)\.random\(obs\.size\) < 0\.4"):
        TensorCompleter().fit(array)


def test_the_estimate_grows_with_entries_slices_order_and_weights():
    least = _memory.fit_bytes(10**6, (100, 100, 100))
    assert _memory.fit_bytes(2 * 10**6, (100, 100, 100)) > 1.5 * least
    for more in (
        _memory.fit_bytes(10**6, (100, 100, 1000)),
        _memory.fit_bytes(10**6, (100, 100, 20, 20, 20)),
        _memory.fit_bytes(10**6, (100, 100, 100), weighted=True),
    ):
        assert more > least


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": "3000", "a/b/memory.max": "max"}, 3000),
        ("0::/not/seen\n", {"memory.max": "2000"}, 2000),
        ("4:memory:/a\n1:cpu:/\n0::/\n", {"memory/a/memory.limit_in_bytes": "1000"}, 1000),
        ("1:cpu:/\n0::/\n", {"memory/memory.limit_in_bytes": "1000"}, None),
        ("0::/\n", {"memory.max": "max"}, None),
    ],
)
def test_the_limit_of_a_container_is_found(tmp_path, groups, files, limit):
    (tmp_path / "own").write_text(groups)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text + "\n")
    assert _memory._group_memory(tmp_path / "root", tmp_path / "own") == limit
    assert _memory._group_memory(tmp_path / "root", tmp_path / "nowhere") is None


def child(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(_memory.__file__).parents[2])}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)


SETUP = """
import numpy as np, re
import rankless
from rankless import TensorCompleter
from rankless.runtime import memory as _memory
rng = np.random.default_rng(0)
small, shape = rng.normal(size=(9, 8, 7)), (80, 60, 50)
settings = {"random_state": 0, "max_rank": 5, "depth": 0.0}
rankless.complete(small, **settings)  # loads all code
array = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in shape))
obs = rankless.Observations.from_array(array + rng.normal(size=shape))
del array
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_the_estimate_is_near_the_true_peak():
    run = child(
        SETUP
        + """
before = _memory._taken()[1]
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
rankless.TensorCompleter(**settings).fit(obs)
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print((before + _memory.fit_bytes(obs.size, obs.shape)) / peak)
"""
    )
    assert 1 / 1.5 < float(run.stdout) < 1.5, run.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits its own address space")
def test_a_limit_on_the_address_space_is_respected():
    run = child(
        SETUP
        + """
import resource
resource.setrlimit(resource.RLIMIT_AS, (_memory._taken()[0] + 2**26, resource.RLIM_INFINITY))
rankless.TensorCompleter(**settings).fit(obs)
"""
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("ValueError: fitting 240,000 entries of shape (80, 60, 50) takes about ")
    assert re.search(r"more and ulimit -v leaves [4-6]\d\.\d MiB; raise the limit, or fit a part", run.stderr)
