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
"""

from __future__ import annotations

import numpy as np

from rankless.als.normal import add_gram, back, empty, factored, padded, solve
from rankless.als.vectors import jit, lanes, load, load_first, prefetch, splat, store, times, times_plus, total

PANEL = 64  # entries gathered at once: 64 x 32 doubles leave half of a 32 KiB cache to the rest

AHEAD, LEAST_AHEAD = 2048, 12  # factor rows are asked for before they are used: so many bytes of them, and so many at least

WAVE = 8 * PANEL  # entries that are taken of one long row's piece before the next one's: the factor rows they read stay in the cache


@jit
def _part(stack, row, j):
    """A vector of one row of the stack from column `j` on, zeros behind its end."""
    rank = stack.shape[1]
    if j + lanes(stack) <= rank:
        return load(stack, row * rank + j)
    return load_first(stack, row * rank + j, rank - j)


@jit
def _gather(lo, hi, keys, places, stack, values, weights, panel, targets, near):
    """Entries lo..hi into the panel, ``sqrt(w_e) h_e``, and their targets, ``sqrt(w_e) y_e``."""
    step, width, rank, last = lanes(stack), panel.shape[1], stack.shape[1], keys.shape[1] - 1
    count, lead = hi - lo, min(max(AHEAD // (rank * stack.itemsize), LEAST_AHEAD), PANEL)
    for e in range(count):
        targets[e] = values[lo + e]
    for m in range(places.shape[0]):
        words, shift, mask, base = keys[places[m, 0]], np.uint32(places[m, 1]), np.uint32(places[m, 2]), np.uint32(places[m, 3])
        known = min(count + lead, last - lo + 1)
        for e in range(known):
            near[e] = ((words[lo + e] >> shift) & mask) + base
        for e in range(known, count + lead):
            near[e] = near[known - 1]
        for e in range(count):
            ahead, row = np.int64(near[e + lead]) * rank, np.int64(near[e])
            for j in range(0, width, step):
                prefetch(stack, ahead + j)
                if m == 0:
                    store(panel, e * width + j, _part(stack, row, j))
                else:
                    store(panel, e * width + j, times(load(panel, e * width + j), _part(stack, row, j)))
    if len(weights):
        for e in range(count):
            root = np.sqrt(weights[lo + e])
            targets[e] *= root
            for j in range(0, width, step):
                store(panel, e * width + j, times(splat(root), load(panel, e * width + j)))


@jit
def _panel_for(stack):
    """A panel, its targets, and room for where one mode's rows start."""
    return empty(PANEL, padded(stack.shape[1], stack), stack), np.empty(PANEL, stack.dtype), np.empty(2 * PANEL, np.uint32)


@jit
def _accumulate(lo, hi, keys, places, stack, values, weights, panel, targets, near, gram, right):
    """Add entries lo..hi to the normal equations ``gram``, ``right`` of one row."""
    for start in range(lo, hi, PANEL):
        end = min(start + PANEL, hi)
        _gather(start, end, keys, places, stack, values, weights, panel, targets, near)
        add_gram(panel, targets, end - start, stack.shape[1], gram, right)


@jit
def _room_for(stack):
    """What solving takes: the normal equations, D, the scaled equations, and the parts of their factor."""
    width = padded(stack.shape[1], stack)
    gram, scaled, unit = empty(width, width, stack), empty(width, width, stack), empty(width, width, stack)
    vectors = np.zeros((5, width), stack.dtype)
    for k in range(0, gram.size, lanes(gram)):
        store(gram, k, splat(stack.dtype.type(0)))
    return gram, vectors[0], vectors[1], scaled, vectors[2], unit, vectors[3], vectors[4]


@jit
def _pull(row, r, base, end, stack):
    """Sum of component `r` over the neighbours of a row of the mode whose rows are base..end."""
    pull = stack.dtype.type(0)
    if row > base:
        pull += stack[row - 1, r]
    if row + 1 < end:
        pull += stack[row + 1, r]
    return pull


@jit
def _finish_row(row, base, end, room, penalty, stiffness, eps, stack, energies):
    """Solve one row's ridge regression and store it; `energies` gets ``gram_rr row_r^2``."""
    gram, right, roots, scaled, attempt, unit, half, v = room
    rank, width, step = stack.shape[1], gram.shape[1], lanes(stack)
    shift = penalty * 0
    ridge = penalty + stiffness * stack.dtype.type((row > base) + (row + 1 < end))
    while True:
        for r in range(rank):
            for j in range(r - r % step, width, step):
                both = times(splat(roots[r]), load(roots, j))
                store(scaled, r * width + j, times(both, load(gram, r * width + j)))
            scaled[r, r] += ridge + shift
            attempt[r] = right[r] * roots[r]
            if stiffness > 0 and roots[r] > 0:
                attempt[r] += stiffness * (_pull(row, r, base, end, stack) / roots[r])
            if shift > 0 and roots[r] > 0:
                attempt[r] += shift * (stack[row, r] / roots[r])
        if solve(scaled, rank, attempt, unit, half, v):
            break
        # Too ill-conditioned for the precision. A proximal term on the present row mends it, and
        # a proximal step cannot raise the objective either.
        top = ridge
        for r in range(rank):
            top = max(top, gram[r, r] * roots[r] * roots[r] + ridge)
        if not shift <= top < np.inf:  # overflow: no number, and the caller's non-finite check speaks up
            stack[row, :] = np.nan
            energies[:] = np.nan
            return
        shift = max(shift * 100, top * eps * rank)
    for r in range(rank):
        value = v[r] * roots[r]
        stack[row, r] = value
        energies[r] = gram[r, r] * value * value


@jit
def _panel_residual(count, row, stack, panel, targets):
    """``sum_e w_e (y_e - T_e)^2`` over the gathered entries, from residuals, not by subtraction."""
    step, width, square = lanes(stack), panel.shape[1], 0.0
    for e in range(count):
        inner = splat(stack.dtype.type(0))
        for j in range(0, width, step):
            inner = times_plus(load(panel, e * width + j), _part(stack, row, j), inner)
        gap = np.float64(targets[e] - total(inner))
        square += gap * gap
    return square


@jit
def _squared_residual(square, lo, hi, row, keys, places, stack, values, weights, panel, targets, near):
    """`square` and the same over entries lo..hi, gathered a panel at a time."""
    for start in range(lo, hi, PANEL):
        end = min(start + PANEL, hi)
        _gather(start, end, keys, places, stack, values, weights, panel, targets, near)
        square += _panel_residual(end - start, row, stack, panel, targets)
    return square


@jit
def update_rows(
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
    measure,
    losses,
    energies,
):
    """Update every `step`-th of the rows first..last of the mode whose rows begin at `base` in the stack.

    With `measure`, ``losses[row]`` gets the row's squared residual after the update and
    ``energies[row]`` each component's squared norm over the row's entries.
    """
    rank, spare, end = stack.shape[1], np.empty(stack.shape[1], stack.dtype), base + len(starts) - 1
    panel, targets, near = _panel_for(stack)
    room = _room_for(stack)
    gram, right, roots = room[:3]
    start = np.zeros(gram.shape, gram.dtype)  # of every row's normal equations
    for r in range(rank):
        roots[r] = mobility_root[r]
        for s in range(rank):
            start[r, s] = guard[r, s]
    for row in range(first, last, step):
        lo, hi = starts[row], starts[row + 1]
        if lo == hi and not stiffness > 0:  # nothing seen: the penalty alone decides
            stack[base + row, :] = 0
            continue
        for k in range(0, gram.size, lanes(gram)):
            store(gram, k, load(start, k))
        right[:] = 0
        _accumulate(lo, hi, keys, places, stack, values, weights, panel, targets, near, gram, right)
        _finish_row(base + row, base, end, room, penalty, stiffness, eps, stack, spare)
        if measure:
            for r in range(rank):
                energies[row, r] = spare[r]
            if hi - lo <= PANEL:  # still in the panel
                losses[row] = _panel_residual(hi - lo, base + row, stack, panel, targets)
            else:
                seen = keys, places, stack, values, weights
                losses[row] = _squared_residual(0.0, lo, hi, base + row, *seen, panel, targets, near)


@jit
def draw_rows(first, last, starts, base, keys, places, stack, values, weights, prior, pull, tau, normals, losses):
    """Draw rows first..last from their normal distribution: precision ``tau gram + prior``, mean pulled to the prior's.

    `normals` are standard normal numbers, one for each number drawn. Where `losses` has room ``losses[row]`` gets the squared
    residual after it.
    """
    rank = stack.shape[1]
    panel, targets, near = _panel_for(stack)
    gram, right, _, precision, shift, unit, half, x = _room_for(stack)
    precision[:] = 0  # its padding is read
    for row in range(first, last):
        lo, hi = starts[row], starts[row + 1]
        for k in range(0, gram.size, lanes(gram)):
            store(gram, k, splat(stack.dtype.type(0)))
        right[:] = 0
        _accumulate(lo, hi, keys, places, stack, values, weights, panel, targets, near, gram, right)
        for i in range(rank):
            shift[i] = tau * right[i] + pull[i]
            for j in range(i, rank):
                precision[i, j] = tau * gram[i, j] + prior[i, j]
        if not factored(precision, rank, shift, unit, half):
            half[:rank] = np.nan  # a draw that is no number, and the caller's check speaks up
        for i in range(rank):
            half[i] += normals[row, i] / np.sqrt(precision[i, i])
        back(precision, rank, unit, half, x)
        for i in range(rank):
            stack[base + row, i] = x[i]
        if len(losses):
            losses[row] = _squared_residual(0.0, lo, hi, base + row, keys, places, stack, values, weights, panel, targets, near)


@jit
def measure_rows(first, last, starts, base, keys, places, stack, values, weights, losses):
    """``losses[row]`` gets the squared residual of rows first..last as they are."""
    panel, targets, near = _panel_for(stack)
    for row in range(first, last):
        losses[row] = _squared_residual(
            0.0, starts[row], starts[row + 1], base + row, keys, places, stack, values, weights, panel, targets, near
        )


@jit
def accumulate_pieces(which, spans, keys, places, stack, values, weights, grams, rights):
    """Add entries ``spans[p]`` to the normal equations ``grams[p]``, ``rights[p]``, for every piece `p` in `which`.

    A wave at a time over all of them: entries of a row are in order, so the pieces' waves read about the same factor rows.
    """
    panel, targets, near = _panel_for(stack)
    for wave in range(_waves(which, spans)):
        for p in which:
            lo, hi = _in_wave(spans[p], wave)
            if lo < hi:
                _accumulate(lo, hi, keys, places, stack, values, weights, panel, targets, near, grams[p], rights[p])


@jit
def residual_of_pieces(which, spans, row_of, keys, places, stack, values, weights, squares):
    """Add the squared residual of entries ``spans[p]``, which lie in row ``row_of[p]``, to ``squares[p]``, in waves as above."""
    panel, targets, near = _panel_for(stack)
    for wave in range(_waves(which, spans)):
        for p in which:
            lo, hi = _in_wave(spans[p], wave)
            if lo < hi:
                seen = keys, places, stack, values, weights
                squares[p] = _squared_residual(squares[p], lo, hi, row_of[p], *seen, panel, targets, near)


@jit
def _waves(which, spans):
    most = 0
    for p in which:
        most = max(most, (spans[p, 1] - spans[p, 0] + WAVE - 1) // WAVE)
    return most


@jit
def _in_wave(span, wave):
    lo = span[0] + wave * WAVE
    return lo, min(lo + WAVE, span[1])


@jit
def finish_row(row, base, end, gram, right, mobility_root, penalty, stiffness, eps, stack, energies):
    """Solve one long row from its summed normal equations."""
    rank = stack.shape[1]
    room = _room_for(stack)
    for r in range(rank):
        room[1][r], room[2][r] = right[r], mobility_root[r]
        for s in range(rank):
            room[0][r, s] = gram[r, s]
    _finish_row(row, base, end, room, penalty, stiffness, eps, stack, energies)
