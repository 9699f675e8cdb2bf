"""The one hot loop: rows of one mode, each a small ridge regression on the entries seen in it.

Row `i` of mode `n` solves, with ``h_e`` the product of the other modes' rows at entry `e`,

    minimise over v   1/2 sum_e w_e (y_e - (D h_e) . v)^2 + penalty/2 |v|^2,    row = D v,

where ``D = |u_r|^(k/(k+1))`` is the square root of the mobility: in these coordinates the
reweighted ridge of any depth is the plain one, and a dead component (D = 0) stays dead without a
division by zero. A smooth mode adds ``stiffness/2 |v_i - v_j|^2`` for each neighbour `j` of the row,
which is held still meanwhile.

All modes' factors live stacked in one ``(sum d_n, R)`` array and all other modes' coordinates in
one ``(words, n)`` array, packed as `modes` says, so one compilation serves every order. Kernels release the GIL and touch
only their own rows. The arithmetic is in `normal`, the vectors it is written in are in `vectors`.

What most of the work is done in is compiled once for each dtype and called by its address (see `vectors.Apart`): `add_gram`,
`factored` and `back` of `normal`, and `gather`, `finish` and `squared_residual` here. A kernel gets their addresses as `calls`,
and the arrays it works in as `room`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from threading import local
from typing import Any, NamedTuple

import numpy as np
from numba import types

from rankless.als.normal import LINE, add_gram, back, factored, padded
from rankless.als.vectors import (
    Apart,
    inner,
    jit,
    lanes,
    load,
    load_first,
    matrix,
    prefetch,
    splat,
    store,
    times,
    times_plus,
    total,
    vector,
)

PANEL = 64  # entries gathered at once: 64 x 32 doubles leave half of a 32 KiB cache to the rest

AHEAD, LEAST_AHEAD = 2048, 12  # factor rows are asked for before they are used: so many bytes of them, and so many at least
NEAR = 2**18  # bytes of all factors that stay in a cache, so that nothing is asked for in advance

WAVE = 8 * PANEL  # entries that are taken of one long row's piece before the next one's: the factor rows they read stay in the cache


class Calls(NamedTuple):
    """Addresses of what kernels call, for one dtype."""

    gather: int
    add_gram: int
    factored: int
    back: int
    finish: int
    squared_residual: int


@cache
def calls_for(dtype: np.dtype) -> Calls:
    """Addresses of what kernels of this dtype call: compiled on the first use."""
    return Calls(*(each.address(dtype) for each in (gather, add_gram, factored, back, finish, squared_residual)))


class Room(NamedTuple):
    """What a kernel works in, for one thread: zeros at first, and zeros stay behind the rank in what is read a vector at a time."""

    panel: np.ndarray  # (PANEL, width), the width being the rank rounded up to whole vectors
    targets: np.ndarray  # (PANEL,)
    near: np.ndarray  # (2 PANEL,), where one mode's rows start
    gram: np.ndarray  # (width, width), the normal equations
    scaled: np.ndarray  # (width, width), these in other coordinates, and then their factor
    unit: np.ndarray  # (width, width), see `normal.factored`
    right: np.ndarray  # (width,), as all that follow
    root: np.ndarray
    pulled: np.ndarray
    half: np.ndarray
    solved: np.ndarray


def room_for(stack: np.ndarray) -> Room:
    """Room for rows as wide as those of `stack`, all zeros, each array on a cache line; the thread's own, until it asks again."""
    key = stack.shape[1], stack.dtype
    if getattr(_rooms, "key", None) != key:
        _rooms.key, (_rooms.whole, _rooms.room) = key, _new_room(stack)
    _rooms.whole.fill(0)
    return _rooms.room


_rooms = local()  # building a room takes as long as a hundred small rows: each thread keeps its last one


def _new_room(stack: np.ndarray) -> tuple[np.ndarray, Room]:
    """The memory, and the room in it."""
    width, dtype = padded(stack.shape[1], stack), stack.dtype
    shapes = [(PANEL, width), (PANEL,), *[(width, width)] * 3, *[(width,)] * 5]
    each = [prod(shape) for shape in shapes]
    spare = LINE // dtype.itemsize
    taken = [-(-count // spare) * spare for count in each]
    whole = np.zeros(sum(taken) + spare, dtype)
    start, parts = (-whole.ctypes.data % LINE) // dtype.itemsize, []
    for shape, count, step in zip(shapes, each, taken, strict=True):
        parts.append(whole[start : start + count].reshape(shape))
        start += step
    return whole, Room._make([*parts[:2], np.empty(2 * PANEL, np.uint32), *parts[2:]])


def with_room(stack: np.ndarray) -> tuple[Calls, Room]:
    """What each kernel asks for first: the calls of the stack's dtype, and this thread's room."""
    return calls_for(stack.dtype), room_for(stack)


def in_room(kernel: Callable, stack: np.ndarray) -> Callable[..., None]:
    """`kernel` with room of whichever thread calls it."""

    def call(*rest: Any) -> None:
        kernel(*with_room(stack), *rest)

    return call


def _gather(lo, hi, keys, places, stack, values, weights, panel, targets, near):
    """Entries lo..hi into the panel, ``sqrt(w_e) h_e``, and their targets, ``sqrt(w_e) y_e``."""
    step, width, rank, last = lanes(stack), panel.shape[1], stack.shape[1], keys.shape[1] - 1
    count, lead = hi - lo, min(max(AHEAD // (rank * stack.itemsize), LEAST_AHEAD), PANEL)
    far = stack.size * stack.itemsize > NEAR
    given = values[lo:hi]  # compiled loops over a slice from 0 on are made of vectors; those over ``lo + e`` are not
    for e in range(count):
        targets[e] = given[e]
    for m in range(places.shape[0]):
        word, shift, mask, base = places[m, 0], np.uint32(places[m, 1]), np.uint32(places[m, 2]), np.uint32(places[m, 3])
        known = min(count + lead, last - lo + 1) if far else count
        words = keys[word, lo : lo + known]
        for e in range(known):
            near[e] = ((words[e] >> shift) & mask) + base
        if far:
            for e in range(known, count + lead):
                near[e] = near[known - 1]
            ahead = near[lead:]
            for e in range(count):
                for j in range(0, width, step):
                    prefetch(stack, np.int64(ahead[e]) * rank + j)
                    part = load_first(stack, np.int64(near[e]) * rank + j, min(step, rank - j))
                    store(panel, e * width + j, part if m == 0 else times(load(panel, e * width + j), part))
            continue
        for j in range(0, width, step):
            here = min(step, rank - j)
            if m == 0:
                for e in range(count):
                    store(panel, e * width + j, load_first(stack, np.int64(near[e]) * rank + j, here))
            else:
                for e in range(count):
                    part = load_first(stack, np.int64(near[e]) * rank + j, here)
                    store(panel, e * width + j, times(load(panel, e * width + j), part))
    if len(weights):
        for e in range(count):
            root = np.sqrt(weights[lo + e])
            targets[e] *= root
            for j in range(0, width, step):
                store(panel, e * width + j, times(splat(root), load(panel, e * width + j)))


def _types_of_gather(number):
    read = matrix(types.uint32, read=True), matrix(types.int64, read=True), matrix(number)
    room = matrix(number), vector(number), vector(types.uint32)
    return types.intp, types.intp, *read, vector(number, read=True), vector(number, read=True), *room


gather = Apart(_gather, _types_of_gather, like=4)
_gathered, _add_gram, _factored, _back = gather.call, add_gram.call, factored.call, back.call


@inner
def _add_entries(calls, room, lo, hi, keys, places, stack, values, weights, gram, right):
    """Add entries lo..hi to the normal equations ``gram``, ``right`` of one row."""
    for start in range(lo, hi, PANEL):
        end = min(start + PANEL, hi)
        _gathered(calls.gather, start, end, keys, places, stack, values, weights, room.panel, room.targets, room.near)
        _add_gram(calls.add_gram, room.panel, room.targets, end - start, stack.shape[1], gram, right)


def _finish(calls, room, row, base, end, penalty, stiffness, eps, stack, energies):
    """Solve one row's ridge regression and store it; `energies` gets ``gram_rr row_r^2``."""
    gram, scaled, right, roots, pulled = room.gram, room.scaled, room.right, room.root, room.pulled
    rank, width, step = stack.shape[1], gram.shape[1], lanes(stack)
    before, after = row > base, row + 1 < end
    shift = penalty * 0
    ridge = penalty + stiffness * stack.dtype.type(before + after)
    while True:
        for r in range(rank):
            root = roots[r]
            for j in range(r - r % step, width, step):
                both = times(splat(root), load(roots, j))
                store(scaled, r * width + j, times(both, load(gram, r * width + j)))
            scaled[r, r] += ridge + shift
            target = right[r] * root
            if root > 0:
                if stiffness > 0:
                    pull = stack.dtype.type(0)
                    if before:
                        pull += stack[row - 1, r]
                    if after:
                        pull += stack[row + 1, r]
                    target += stiffness * (pull / root)
                if shift > 0:
                    target += shift * (stack[row, r] / root)
            pulled[r] = target
        if _factored(calls.factored, scaled, rank, pulled, room.unit, room.half):
            break
        # Too ill-conditioned for the precision. A proximal term on the present row mends it, and
        # a proximal step cannot raise the objective either.
        top = ridge
        for r in range(rank):
            top = max(top, gram[r, r] * roots[r] * roots[r] + ridge)
        if not shift <= top < np.inf:  # overflow: no number, and the caller's non-finite check speaks up
            for r in range(rank):
                stack[row, r] = energies[r] = np.nan
            return
        shift = max(shift * 100, top * eps * rank)
    _back(calls.back, scaled, rank, room.unit, room.half, room.solved)
    for r in range(rank):
        value = room.solved[r] * roots[r]
        stack[row, r] = value
        energies[r] = gram[r, r] * value * value


def _squared_residual(calls, room, square, lo, hi, row, keys, places, stack, values, weights, ready):
    """`square` and ``sum_e w_e (y_e - T_e)^2`` over entries lo..hi, from residuals, not by subtraction.

    They are gathered a panel at a time where they are not `ready` in the panel.
    """
    step, width = lanes(stack), room.panel.shape[1]
    for r in range(stack.shape[1]):
        room.solved[r] = stack[row, r]
    for start in range(lo, hi, PANEL):
        end, part = min(start + PANEL, hi), 0.0
        if not ready:
            _gathered(calls.gather, start, end, keys, places, stack, values, weights, room.panel, room.targets, room.near)
        for e in range(end - start):
            inside = splat(stack.dtype.type(0))
            for j in range(0, width, step):
                inside = times_plus(load(room.panel, e * width + j), load(room.solved, j), inside)
            gap = np.float64(room.targets[e] - total(inside))
            part += gap * gap
        square += part
    return square


def _shared_types(number):
    """Types of `calls` and `room`, of a mode's entries and the factors."""
    calls, m, v = types.NamedUniTuple(types.int64, len(Calls._fields), Calls), matrix(number), vector(number)
    room = types.NamedTuple([m, v, vector(types.uint32), *[m] * 3, *[v] * 5], Room)
    entries = matrix(types.uint32, read=True), matrix(types.int64, read=True), m, vector(number, read=True), vector(number, read=True)
    return calls, room, entries


def _types_of_finish(number):
    calls, room, _ = _shared_types(number)
    return calls, room, types.intp, types.intp, types.intp, number, number, number, matrix(number), vector(number)


def _types_of_residual(number):
    calls, room, entries = _shared_types(number)
    return calls, room, types.float64, types.intp, types.intp, types.intp, *entries, types.boolean


finish = Apart(_finish, _types_of_finish, like=8)
squared_residual = Apart(_squared_residual, _types_of_residual, types.float64, like=8)
_finished, _residual = finish.call, squared_residual.call


@jit
def update_rows(
    calls,
    room,
    first,
    last,
    starts,
    base,
    keys,
    places,
    stack,
    values,
    weights,
    step,
    guard,
    mobility_root,
    penalty,
    stiffness,
    eps,
    update,
    measure,
    losses,
    energies,
):
    """Update every `step`-th of the rows first..last of the mode whose rows begin at `base` in the stack.

    With `measure`, ``losses[row]`` gets the row's squared residual after the update and
    ``energies[row]`` each component's squared norm over the row's entries. Without `update` rows stay as they are,
    and only ``losses`` are measured: one function for both is compiled in half the time of two.
    """
    rank, end, spare = stack.shape[1], base + len(starts) - 1, room.solved
    for r in range(rank):
        room.root[r] = mobility_root[r]
    for row in range(first, last, step):
        lo, hi = starts[row], starts[row + 1]
        if update:
            if lo == hi and not stiffness > 0:  # nothing seen: the penalty alone decides
                for r in range(rank):
                    stack[base + row, r] = 0
                continue
            for r in range(rank):
                room.right[r] = 0
                for s in range(rank):
                    room.gram[r, s] = guard[r, s]
            _add_entries(calls, room, lo, hi, keys, places, stack, values, weights, room.gram, room.right)
            energy = energies[row] if measure else spare
            _finished(calls.finish, calls, room, base + row, base, end, penalty, stiffness, eps, stack, energy)
        if measure:
            ready = update and hi - lo <= PANEL
            losses[row] = _residual(
                calls.squared_residual, calls, room, 0.0, lo, hi, base + row, keys, places, stack, values, weights, ready
            )


def _draw_rows(calls, room, first, last, starts, base, keys, places, stack, values, weights, prior, pull, tau, normals, losses):
    """Draw rows first..last from their normal distribution: precision ``tau gram + prior``, mean pulled to the prior's.

    `normals` are standard normal numbers, one for each number drawn. Where `losses` has room ``losses[row]`` gets the squared
    residual after it.
    """
    rank, precision, half, noise = stack.shape[1], room.scaled, room.half, stack.dtype.type(tau)
    for row in range(first, last):
        lo, hi = starts[row], starts[row + 1]
        for r in range(rank):
            room.right[r] = 0
            for s in range(rank):
                room.gram[r, s] = 0
        _add_entries(calls, room, lo, hi, keys, places, stack, values, weights, room.gram, room.right)
        for r in range(rank):
            room.pulled[r] = noise * room.right[r] + pull[r]
            for s in range(r, rank):
                precision[r, s] = noise * room.gram[r, s] + prior[r, s]
        if not _factored(calls.factored, precision, rank, room.pulled, room.unit, half):
            for r in range(rank):
                half[r] = np.nan  # a draw that is no number, and the caller's check speaks up
        for r in range(rank):
            half[r] += stack.dtype.type(normals[row, r]) / np.sqrt(precision[r, r])
        _back(calls.back, precision, rank, room.unit, half, room.solved)
        for r in range(rank):
            stack[base + row, r] = room.solved[r]
        if len(losses):
            ready = hi - lo <= PANEL
            losses[row] = _residual(
                calls.squared_residual, calls, room, 0.0, lo, hi, base + row, keys, places, stack, values, weights, ready
            )


@jit
def accumulate_pieces(calls, room, which, spans, keys, places, stack, values, weights, grams, rights):
    """Add entries ``spans[p]`` to the normal equations ``grams[p]``, ``rights[p]``, for every piece `p` in `which`.

    A wave at a time over all of them: entries of a row are in order, so the pieces' waves read about the same factor rows.
    """
    for wave in range(_waves(which, spans)):
        for p in which:
            lo, hi = _in_wave(spans[p], wave)
            if lo < hi:
                _add_entries(calls, room, lo, hi, keys, places, stack, values, weights, grams[p], rights[p])


@jit
def residual_of_pieces(calls, room, which, spans, row_of, keys, places, stack, values, weights, squares):
    """Add the squared residual of entries ``spans[p]``, which lie in row ``row_of[p]``, to ``squares[p]``, in waves as above."""
    for wave in range(_waves(which, spans)):
        for p in which:
            lo, hi = _in_wave(spans[p], wave)
            if lo < hi:
                squares[p] = _residual(
                    calls.squared_residual, calls, room, squares[p], lo, hi, row_of[p], keys, places, stack, values, weights, False
                )


@inner
def _waves(which, spans):
    most = 0
    for p in which:
        most = max(most, (spans[p, 1] - spans[p, 0] + WAVE - 1) // WAVE)
    return most


@inner
def _in_wave(span, wave):
    lo = span[0] + wave * WAVE
    return lo, min(lo + WAVE, span[1])


@jit
def finish_row(calls, room, row, base, end, gram, right, mobility_root, penalty, stiffness, eps, stack, energies):
    """Solve one long row from its summed normal equations."""
    rank = stack.shape[1]
    for r in range(rank):
        room.right[r], room.root[r] = right[r], mobility_root[r]
        for s in range(rank):
            room.gram[r, s] = gram[r, s]
    _finished(calls.finish, calls, room, row, base, end, penalty, stiffness, eps, stack, energies)


def _types_of_draw(number):
    calls, room, entries = _shared_types(number)
    whole = types.intp, types.intp, vector(types.int64, read=True), types.intp
    return calls, room, *whole, *entries, matrix(number), vector(number), types.float64, matrix(types.float64), vector(types.float64)


draw_rows = Apart(_draw_rows, _types_of_draw, like=8, from_python=True)
