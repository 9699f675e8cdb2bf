"""Pieces of a picture of missing cells, moved and grown: where else they could lie.

A piece is a set of missing cells that touch each other. One that touches no end of a mode is moved to random places; one that does is
what it is because it lies there (no light is sent out at shorter waves than are taken in), so it is grown instead, a step on all
sides at a time.
"""

from __future__ import annotations

import numpy as np

TRIES = 200  # random places for inner pieces, at most


def of_picture(missing: np.ndarray, seen: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Cells of the picture to hide, about `share` of the entries, of which `seen` counts those in each cell.

    Inner pieces and those at an end are given as much of that share as they have of the missing cells.

    >>> missing = np.zeros((8, 8), bool)
    >>> missing[0, :4] = True
    >>> of_picture(missing, (~missing).astype(int), 0.1, np.random.default_rng(0)).astype(int)[:3]
    array([[0, 0, 0, 0, 1, 0, 0, 0],
           [1, 1, 1, 1, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 0, 0, 0]])
    """
    from scipy import ndimage

    pieces = np.zeros(missing.shape, np.int32)
    ndimage.label(missing, np.ones((3,) * missing.ndim), output=pieces)
    count = int(pieces.max(initial=0))
    ends = np.zeros(count + 1, bool)
    for mode in range(missing.ndim):
        for place in (0, -1):
            ends[np.unique(np.take(pieces, place, axis=mode))] = True
    at_end = missing & ends[pieces]
    wanted = share * seen.sum()
    hidden = np.zeros(missing.shape, bool)
    of_ends = at_end.sum() / max(missing.sum(), 1)
    grown = at_end
    while of_ends and seen[hidden].sum() < of_ends * wanted:
        wider = np.asarray(ndimage.binary_dilation(grown), bool)
        ring = wider & np.logical_not(grown) & (seen > 0)
        if not ring.any() and (wider == grown).all():
            break
        left = (of_ends * wanted - seen[hidden].sum()) / max(seen[ring].sum(), 1)
        if left < 0.5 and hidden.any():  # the whole of the last ring would be too much
            break
        hidden |= ring
        grown = wider
    inner = [box for number, box in enumerate(ndimage.find_objects(pieces), 1) if not ends[number]]
    for _ in range(TRIES if inner else 0):
        if seen[hidden].sum() >= wanted:
            break
        box = inner[int(rng.integers(len(inner)))]
        sizes = [part.stop - part.start for part in box]
        free = [(1, d - size) for d, size in zip(missing.shape, sizes, strict=True)]
        if any(high <= low for low, high in free):
            continue
        corner = [int(rng.integers(low, high)) for low, high in free]
        target = tuple(slice(c, c + size) for c, size in zip(corner, sizes, strict=True))
        hidden[target] |= missing[box] & (seen[target] > 0)
    return hidden
