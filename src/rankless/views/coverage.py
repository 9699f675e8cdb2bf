"""What was observed: the share of each slice, where the gaps lie, and how long they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.tensors.observations import Observations


@dataclass(frozen=True, eq=False)
class Pattern:
    """Share observed of each block of cells, shape ``(rows, columns)``; blocks start at slices `rows` and `columns`."""

    share: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def slice_shares(obs: Observations, mode: int) -> np.ndarray:
    """Share of the cells observed in each slice of `mode`; NaN where it has none.

    >>> slice_shares(Observations.from_array([[1.0, np.nan], [2.0, 3.0]]), 1).tolist()
    [1.0, 0.5]
    """
    return _over(obs.counts(mode), obs.cells_of(mode))


def pattern(obs: Observations, down: int, along: int, *, rows: int = 40, columns: int = 400) -> Pattern:
    """Share observed over two modes, slices joined where there are more than `rows` and `columns`; NaN where no cell is."""
    row, height = _blocks(obs.shape[down], rows)
    column, width = _blocks(obs.shape[along], columns)
    flat = row[obs.coords[down]].astype(np.int64) * len(width) + column[obs.coords[along]]
    counts = np.bincount(flat, minlength=len(height) * len(width)).reshape(len(height), len(width))
    if obs.where is None:
        cells = np.outer(height, width) * (obs.cells / obs.shape[down] / obs.shape[along])
    else:
        both = obs.where.sum(axis=tuple(m for m in range(obs.order) if m not in (down, along)))
        both = both if down < along else both.T
        cells = np.add.reduceat(np.add.reduceat(both, _starts(height), axis=0), _starts(width), axis=1)
    return Pattern(_over(counts, cells), _starts(height), _starts(width))


def gap_length(obs: Observations, mode: int) -> float:
    """Length along `mode` of the gap in which a missing cell lies, on average over missing cells; 0 where none is missing.

    Only fibres with an observed cell count: in the others there is no telling gaps from cells that cannot be.

    >>> gap_length(Observations.from_array([[1.0, np.nan, np.nan, 2.0, np.nan], [1.0, 2.0, 3.0, 4.0, 5.0]]), 1)
    1.6666666666666667
    """
    fibre, place = _along(_with_nowhere(obs, mode), mode)
    opens = np.append(True, fibre[1:] != fibre[:-1])
    closes = np.append(opens[1:], True)
    before = np.where(opens, place, place - np.append(0, place[:-1]) - 1)
    after = obs.shape[mode] - 1 - place[closes]
    gaps = np.concatenate([before, after]).astype(float)
    return float(np.sum(gaps**2) / gaps.sum()) if gaps.any() else 0.0


def run_length(obs: Observations, mode: int) -> float:
    """Length along `mode` of the run of entries in which an entry of `obs` lies, on average over entries.

    >>> run_length(Observations.from_array([[1.0, 2.0, np.nan, 4.0]]), 1)
    1.6666666666666667
    """
    fibre, place = _along(obs, mode)
    joined = (fibre[1:] == fibre[:-1]) & (place[1:] == place[:-1] + 1)
    starts = np.flatnonzero(np.append(True, ~joined))
    lengths = np.diff(np.append(starts, obs.size)).astype(float)
    return float(np.sum(lengths**2) / obs.size)


def _with_nowhere(obs: Observations, mode: int) -> Observations:
    """Entries, and in fibres that have one the cells that are none: a gap ends there."""
    if obs.where is None:
        return obs
    seen = np.zeros([1 if m == mode else d for m, d in enumerate(obs.shape)], dtype=bool)
    seen[tuple(c * 0 if m == mode else c for m, c in enumerate(obs.coords))] = True
    closed = ~obs.where & seen
    closed[tuple(obs.coords)] = True
    coords = np.stack(np.nonzero(closed)).astype(np.int32)
    return Observations(coords, np.zeros(coords.shape[1]), obs.shape)


def _along(obs: Observations, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """Entries sorted along `mode`: the number of the fibre each lies in, and its place there."""
    others = [m for m in range(obs.order) if m != mode]
    order = np.lexsort([obs.coords[mode], *(obs.coords[m] for m in others)])
    changes = np.zeros(obs.size, dtype=bool)
    for m in others:
        coordinate = obs.coords[m][order]
        changes[1:] |= coordinate[1:] != coordinate[:-1]
    return np.cumsum(changes), obs.coords[mode][order].astype(np.int64)


def _over(counts: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return np.divide(counts, cells, out=np.full(np.shape(counts), np.nan), where=np.asarray(cells) > 0)


def _blocks(size: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The block of each slice, and the slices in each block."""
    count = min(size, most)
    block = np.arange(size, dtype=np.int64) * count // size
    return block, np.bincount(block, minlength=count)


def _starts(sizes: np.ndarray) -> np.ndarray:
    return np.cumsum(sizes) - sizes
