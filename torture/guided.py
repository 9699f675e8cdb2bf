"""Binary readers under inputs that are steered into code not yet reached, by atheris and libFuzzer, from valid files."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from campaign.machine import ROOT

from torture import fuzzer, record
from torture.seeds import MODEL, seeds

SUFFIXES = (".npy", ".npz", ".mat", ".nc", ".parquet", MODEL)
SECONDS = 60  # a format
SOURCES = tuple(f"torture/{name}.py" for name in ("fuzzer", "judge", "seeds")) + tuple(
    f"src/rankless/{name}.py" for name in ("io/*", "tensors/observations", "tensors/canonical", "tensors/cp_tensor", "large/answer")
)
KEPT = ROOT / "out" / "fuzz"  # what ended a process stays here
LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-max_len=20000", "-len_control=0")


def store(**how):
    return record.store("guided", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed; pip install 'rankless[torture]' on Linux", flush=True)
        return
    for suffix in SUFFIXES:
        print(cells.measure({"kind": f"{suffix} steered by coverage"}, lambda suffix=suffix: measure(suffix, SECONDS)), flush=True)


def measure(suffix: str, seconds: int) -> dict[str, object]:
    """What came of all inputs that were tried in so many seconds, by as many processes as it took."""
    letters, crashes, left, seed = Counter(), Counter(), seconds, 1
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place, "corpus")
        corpus.mkdir()
        for number, files in enumerate(seeds(suffix)):
            (corpus / f"seed{number}").write_bytes(*files.values())
        while left > 0:
            tried, lasted, died = _once(suffix, Path(place), corpus, left, seed)
            letters += tried[0]
            crashes += tried[1]
            if died:
                letters["c"] += 1
                crashes[died] += 1
            left, seed = left - max(lasted, 1), seed + 1
    outcomes: list[record.Outcome] = [name for name, letter in fuzzer.LETTERS.items() for _ in range(letters[letter.decode()])]
    return record.inputs(outcomes, "; ".join(f"{number} x {text[:200]}" for text, number in crashes.most_common(3)))


def _once(suffix: str, place: Path, corpus: Path, seconds: int, seed: int) -> tuple[tuple[Counter, Counter], int, str]:
    """One process until it ends: the letters of its inputs, their crashes, the seconds it took, and of what it died."""
    log = place / f"log{seed}"
    options = [str(corpus), *LIMITS, f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={KEPT}/"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    start = time.monotonic()
    end = subprocess.run(
        [sys.executable, "-m", "torture.fuzzer", suffix, str(log), *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=10 * seconds + 300,
    )
    letters = Counter(log.read_text() if log.exists() else "")
    crashed = Path(f"{log}.crashed")
    said = Counter(crashed.read_text().splitlines() if crashed.exists() else [])
    died = "" if end.returncode == 0 else _reason(end.stderr, end.returncode)
    if not letters:
        raise RuntimeError(f"the fuzzer of {suffix} did not begin: {end.stderr[-2000:]}")
    return (letters, said), int(time.monotonic() - start), died


def _reason(said: str, code: int) -> str:
    lines = [line for line in said.splitlines() if (line.startswith(("SUMMARY", "==")) and "ERROR" in line) or line.startswith("SUMMARY")]
    return lines[-1] if lines else f"left with code {code}"
