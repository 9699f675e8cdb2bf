"""Counting sorts of entries by row, their other coordinates packed on the way; see `modes`."""

from __future__ import annotations

import numpy as np

from rankless.als.vectors import inner, jit


@inner
def coordinate(keys, places, line, e):
    """What entry `e` keeps at a line of `places`."""
    return (np.int64(keys[places[line, 0], e]) >> places[line, 1]) & places[line, 2]


@inner
def keep(keys, places, line, e, number):
    """Have entry `e`, whose words are 0 at first, keep a coordinate at a line of `places`."""
    keys[places[line, 0], e] |= np.uint32(np.int64(number) << places[line, 1])


@jit
def pack(others, places, keys):
    """Coordinates `others`, ``(N - 1, n)``, into words, their order kept."""
    for e in range(others.shape[1]):
        for m in range(places.shape[0]):
            keep(keys, places, m, e, others[m, e])


@jit
def by_row(coords, mode, values, weights, free, places, keys, sorted_values, sorted_weights):
    """Entries moved behind each other row by row of one mode, their order kept; ``free[i]`` is row `i`'s next place."""
    for e in range(coords.shape[1]):
        row = coords[mode, e]
        at = free[row]
        free[row] = at + 1
        sorted_values[at] = values[e]
        if len(weights):
            sorted_weights[at] = weights[e]
        for m in range(places.shape[0]):
            keep(keys, places, m, at, coords[m if m < mode else m + 1, e])


@jit
def move(starts, places, keys, values, weights, mode, target, free, new_places, new_keys, new_values, new_weights):
    """The same from entries sorted by `mode` to entries sorted by `target`."""
    own = target if target < mode else target - 1  # its line among the places of the old order
    for row in range(len(starts) - 1):
        for e in range(starts[row], starts[row + 1]):
            to = coordinate(keys, places, own, e)
            at = free[to]
            free[to] = at + 1
            new_values[at] = values[e]
            if len(weights):
                new_weights[at] = weights[e]
            for n in range(new_places.shape[0]):
                m = n if n < target else n + 1  # the mode of this line
                number = row if m == mode else coordinate(keys, places, m if m < mode else m - 1, e)
                keep(new_keys, new_places, n, at, number)


@jit
def first_twin(starts, keys):
    """The first entry that stands where the one before it stands, and its row; -1 where none does; entries in canonical order."""
    for row in range(len(starts) - 1):
        for e in range(starts[row] + 1, starts[row + 1]):
            same = True
            for w in range(keys.shape[0]):
                same &= keys[w, e] == keys[w, e - 1]
            if same:
                return e, row
    return -1, -1


@jit
def squares(starts, values, out):
    """``out[row]`` gets the sum of the squares of a row's values."""
    for row in range(len(starts) - 1):
        total = 0.0
        for e in range(starts[row], starts[row + 1]):
            total += np.float64(values[e]) * np.float64(values[e])
        out[row] = total


@jit
def residual_sums(starts, places, keys, values, base, mean, effects, sums, squares):
    """Sums over each row of ``value - mean - effects``, and of their squares; `effects` of all modes are stacked."""
    for row in range(len(starts) - 1):
        total, square, own = 0.0, 0.0, mean + effects[base + row]
        for e in range(starts[row], starts[row + 1]):
            rest = values[e] - own
            for m in range(places.shape[0]):
                rest -= effects[places[m, 3] + coordinate(keys, places, m, e)]
            total += rest
            square += rest * rest
        sums[row], squares[row] = total, square


@jit
def shift(starts, places, keys, values, base, mean, effects, factor, out):
    """``out = (value - mean - effects) * factor``; `out` may be `values`."""
    for row in range(len(starts) - 1):
        own = mean + effects[base + row]
        for e in range(starts[row], starts[row + 1]):
            rest = values[e] - own
            for m in range(places.shape[0]):
                rest -= effects[places[m, 3] + coordinate(keys, places, m, e)]
            out[e] = rest * factor
