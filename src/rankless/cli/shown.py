"""What the command line prints: facts of an input, scores, slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankless.evaluation import Score
    from rankless.tensors.observations import Observations

_SLICES_SHOWN = 20


def facts(obs: Observations) -> Iterator[tuple[str, str]]:
    from rankless.trust import inspection

    yield "shape", " x ".join(f"{size} {name}" for name, size in zip(obs.modes, obs.shape, strict=True))
    yield "observed", f"{obs.size:,} of {obs.cells:,} cells ({obs.share:.2%})"
    if obs.where is not None:
        yield "where", f"{obs.where.size - obs.cells:,} of {obs.where.size:,} places are no cells"
    low, high = float(obs.values.min()), float(obs.values.max())
    yield "values", f"{low:g} to {high:g}, root mean square {obs.rms():g}, {obs.values.dtype}"
    for mode, (name, labels) in enumerate(zip(obs.modes, obs.labels, strict=True)):
        if labels is not None:
            yield "labels", f"{name}: {_some([obs.label(mode, i) for i in range(obs.shape[mode])])}"
    for what, find in (("empty", inspection.empty_slices), ("constant", inspection.constant_slices)):
        for mode, name in enumerate(obs.modes):
            found = find(obs, mode)
            if len(found):
                yield what, f"{name}: {_some([obs.label(mode, i) for i in found])} ({len(found)} of {obs.shape[mode]} slices)"
    for mark in inspection.marks(obs):
        yield "mark", str(mark)
    for mode, name in enumerate(obs.modes):
        alike = inspection.alike_labels(obs, mode)
        if alike:
            more = f", ... ({len(alike)} such groups)" if len(alike) > 3 else ""
            yield "alike", f"{name}: {'; '.join(alike[:3])}{more} are different slices; write them alike if they are the same"
    for text in inspection.doubtful_labels(obs):
        yield "labels", text
    never = inspection.never_seen(obs)
    if never is not None:
        yield "never", never.in_words(obs)
    zeros = inspection.suspicious_zeros(obs)
    if zeros is not None:
        yield (
            "zeros",
            f"{zeros.count:,} ({zeros.share:.1%}), {zeros.within:,} of them in {zeros.runs:,} whole runs along {zeros.mode}; "
            "if 0 means 'not observed' here, set it to NaN first",
        )


def _some(labels: list[str], shown: int = 8) -> str:
    return ", ".join(labels[:shown]) + (f", ... {labels[-1]}" if len(labels) > shown else "")


def print_scores(scores: list[Score], title: str, loss: str) -> None:
    from rich.console import Console
    from rich.table import Table

    print(title)
    table = Table()
    table.add_column("method")
    by = all(score.deviance is not None for score in scores)
    for name in ("NRMSE", "RMSE", *([f"{loss} deviance"] if by else []), "time", "rank", "depth", "penalty"):
        table.add_column(name, justify="right")
    for score in scores:
        table.add_row(
            score.name,
            f"{score.nrmse:.4f}",
            f"{score.rmse:.4g}",
            *([f"{score.deviance:.4g}"] if by else []),
            f"{score.seconds:.1f} s",
            *("" if number is None else f"{number:g}" for number in (score.rank, score.depth, score.penalty)),
        )
    Console().print(table)


def print_slices(score: Score, mode: int) -> None:
    """The slices of a mode, those filled worst first; NRMSE is over the slice's own standard deviation."""
    from rich.console import Console
    from rich.table import Table

    slices = score.by_slice(mode).sort_values("rmse", ascending=False, na_position="last", kind="stable")
    table = Table(title=f"{score.name}, by {slices.index.name}, the worst first")
    for name in (str(slices.index.name), "hidden entries", "NRMSE", "RMSE"):
        table.add_column(name, justify="right")
    for label, count, rmse, std in slices[["entries", "rmse", "std"]].head(_SLICES_SHOWN).itertuples(name=None):
        table.add_row(str(label), f"{count:.0f}", f"{rmse / std:.4f}" if std > 0 else "", f"{rmse:.4g}")
    Console().print(table)
    if len(slices) > _SLICES_SHOWN:
        print(f"and {len(slices) - _SLICES_SHOWN} more")
