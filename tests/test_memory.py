"""What would not fit is refused with its size."""

from __future__ import annotations

import pytest

from rankless import _memory


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
