"""The one hot loop: rows of one mode, each a small ridge regression on the entries seen in it.

Row `i` of mode `n` solves, with ``h_e`` the product of the other modes' rows at entry `e`,

    minimise over v   1/2 sum_e w_e (y_e - (D h_e) . v)^2 + penalty/2 |v|^2,    row = D v,

where ``D = |u_r|^(k/(k+1))`` is the square root of the mobility: in these coordinates the
reweighted ridge of any depth is the plain one, and a dead component (D = 0) stays dead without a
division by zero.

All modes' factors live stacked in one ``(sum d_n, R)`` array and all other modes' coordinates in
one ``(N-1, n)`` array, so one compilation serves every order. Kernels release the GIL and touch
only their own rows. BLAS is called through its address, passed as an argument: a baked-in address
would make the compiled code uncacheable.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

PANEL = 256  # entries gathered before one rank-k update: 256 x 64 doubles stay within a 128 KiB cache

AHEAD = 12  # entries by which factor rows are asked for before they are used

_jit = nb.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")


def blas_addresses(dtype) -> np.ndarray:
    """Addresses of syrk, potrf and potrs for `dtype`, as SciPy exports them."""
    letter = "s" if dtype == np.float32 else "d"
    blas = get_cython_function_address("scipy.linalg.cython_blas", letter + "syrk")
    lapack = [get_cython_function_address("scipy.linalg.cython_lapack", letter + name) for name in ("potrf", "potrs")]
    return np.array([blas, *lapack], dtype=np.intp)


def _fortran_call(count: int):
    """An intrinsic ``call(address, (pointer, ...))`` for a Fortran routine of `count` arguments."""

    @intrinsic
    def call(typingctx, address, pointers):
        def codegen(context, builder, signature, args):
            pointer = ir.IntType(8).as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [pointer] * count)
            function = builder.inttoptr(args[0], kind.as_pointer())
            builder.call(function, [builder.inttoptr(v, pointer) for v in cgutils.unpack_tuple(builder, args[1], count)])
            return context.get_dummy_value()

        return types.void(address, pointers), codegen

    return call


_call5, _call8, _call10 = _fortran_call(5), _fortran_call(8), _fortran_call(10)


@_jit
def _add_gram(panel, count, gram, address, ints, reals, chars):
    """``gram += panel[:count].T @ panel[:count]``, lower triangle in Fortran's eyes (upper in C's)."""
    ints[0] = panel.shape[1]
    ints[1] = count
    reals[0] = 1.0
    chars[0] = 76  # 'L'
    chars[1] = 78  # 'N'
    n, one = ints[0:].ctypes.data, reals[0:].ctypes.data
    _call10(  # pyright: ignore[reportCallIssue]
        address,
        (
            chars[0:].ctypes.data,
            chars[1:].ctypes.data,
            n,
            ints[1:].ctypes.data,
            one,
            panel.ctypes.data,
            n,
            one,
            gram.ctypes.data,
            n,
        ),
    )


@_jit
def _solve(gram, right, potrf, potrs, ints, chars):
    """Overwrite `right` with the solution of ``gram x = right``; returns LAPACK's info, 0 on success."""
    ints[0] = gram.shape[0]
    ints[1] = 1
    ints[2] = 0
    chars[0] = 76
    n, info, uplo = ints[0:].ctypes.data, ints[2:].ctypes.data, chars[0:].ctypes.data
    _call5(potrf, (uplo, n, gram.ctypes.data, n, info))  # pyright: ignore[reportCallIssue]
    if ints[2] == 0:
        _call8(potrs, (uplo, n, ints[1:].ctypes.data, gram.ctypes.data, n, right.ctypes.data, n, info))
    return ints[2]


@intrinsic
def _prefetch(typingctx, address):
    """Ask for the cache line at `address`: factor rows come from all over the stack."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(address), codegen


@_jit
def _ask_for(e, others, offsets, stack):
    """Prefetch the rows of all other modes that entry `e` needs."""
    width = stack.shape[1] * stack.itemsize
    for m in range(others.shape[0]):
        start = stack.ctypes.data + (offsets[m] + others[m, e]) * width
        for line in range(0, width, 64):
            _prefetch(start + line)  # pyright: ignore[reportCallIssue]


@_jit
def _gather(lo, hi, others, offsets, stack, panel):
    """Rows ``h_e`` of entries lo..hi into the panel."""
    rank = stack.shape[1]
    if others.shape[0] == 1:
        for e in range(lo, hi):
            if e + AHEAD < hi:
                _ask_for(e + AHEAD, others, offsets, stack)
            a = offsets[0] + others[0, e]
            for r in range(rank):
                panel[e - lo, r] = stack[a, r]
    else:
        for e in range(lo, hi):
            if e + AHEAD < hi:
                _ask_for(e + AHEAD, others, offsets, stack)
            a, b = offsets[0] + others[0, e], offsets[1] + others[1, e]
            for r in range(rank):
                panel[e - lo, r] = stack[a, r] * stack[b, r]
            for m in range(2, others.shape[0]):
                c = offsets[m] + others[m, e]
                for r in range(rank):
                    panel[e - lo, r] *= stack[c, r]


@_jit
def _load(lo, hi, others, offsets, stack, values, weights, panel, targets):
    """Entries lo..hi into the panel, ``sqrt(w_e) h_e``, and their targets, ``sqrt(w_e) y_e``."""
    _gather(lo, hi, others, offsets, stack, panel)
    if len(weights):
        for e in range(lo, hi):
            root = np.sqrt(weights[e])
            targets[e - lo] = root * values[e]
            for r in range(stack.shape[1]):
                panel[e - lo, r] *= root
    else:
        for e in range(lo, hi):
            targets[e - lo] = values[e]


@_jit
def _accumulate(lo, hi, others, offsets, stack, values, weights, panel, targets, gram, right, address, ints, reals, chars):
    """Add entries lo..hi to the normal equations ``gram``, ``right`` of one row."""
    rank = stack.shape[1]
    for start in range(lo, hi, PANEL):
        count = min(PANEL, hi - start)
        _load(start, start + count, others, offsets, stack, values, weights, panel, targets)
        even = count - count % 4
        for e in range(0, even, 4):  # four entries a pass: `right` is read and written a quarter as often
            for r in range(rank):
                first = panel[e, r] * targets[e] + panel[e + 1, r] * targets[e + 1]
                right[r] += first + panel[e + 2, r] * targets[e + 2] + panel[e + 3, r] * targets[e + 3]
        for e in range(even, count):
            for r in range(rank):
                right[r] += panel[e, r] * targets[e]
        _add_gram(panel, count, gram, address, ints, reals, chars)


@_jit
def _finish_row(row, gram, keep, right, mobility_root, penalty, eps, stack, energies, solve, ints, chars):
    """Solve one row's ridge regression and store it; `energies` gets ``gram_rr row_r^2``."""
    rank = len(right)
    for r in range(rank):
        energies[r] = gram[r, r]
        root = mobility_root[r]
        for s in range(r, rank):  # C's upper triangle is the one that was filled
            gram[r, s] *= root * mobility_root[s]
        gram[r, r] += penalty
        right[r] *= root
        for s in range(r, rank):
            keep[r, s] = gram[r, s]
    shift = penalty * 0
    attempt = right.copy()
    while _solve(gram, attempt, solve[1], solve[2], ints, chars) != 0:
        # Too ill-conditioned for the precision. A proximal term on the present row mends it, and
        # a proximal step cannot raise the objective either.
        top = penalty
        for r in range(rank):
            top = max(top, keep[r, r])
        if not shift <= top:  # overflow or NaN: leave the row; the caller's non-finite check speaks up
            return
        shift = max(shift * 100, top * eps * rank)
        for r in range(rank):
            old = stack[row, r] / mobility_root[r] if mobility_root[r] > 0 else 0.0
            attempt[r] = right[r] + shift * old
            for s in range(r, rank):
                gram[r, s] = keep[r, s]
            gram[r, r] += shift
    for r in range(rank):
        value = attempt[r] * mobility_root[r]
        stack[row, r] = value
        energies[r] *= value * value


@_jit
def _panel_residual(count, row, stack, panel, targets):
    """``sum_e w_e (y_e - T_e)^2`` over the loaded entries, from residuals, not by subtraction."""
    total = 0.0
    for e in range(count):
        gap = targets[e]
        for r in range(stack.shape[1]):
            gap -= panel[e, r] * stack[row, r]
        total += np.float64(gap) * np.float64(gap)
    return total


@_jit
def _squared_residual(lo, hi, row, others, offsets, stack, values, weights, panel, targets):
    """The same over entries lo..hi, loaded a panel at a time."""
    total = 0.0
    for start in range(lo, hi, PANEL):
        count = min(PANEL, hi - start)
        _load(start, start + count, others, offsets, stack, values, weights, panel, targets)
        total += _panel_residual(count, row, stack, panel, targets)
    return total


@_jit
def update_rows(
    first, last, starts, base, others, offsets, stack, values, weights, guard, mobility_root, penalty, eps, measure, losses, energies, solve
):
    """Update rows first..last of the mode whose rows begin at `base` in the stack.

    With `measure`, ``losses[row]`` gets the row's squared residual after the update and
    ``energies[row]`` each component's squared norm over the row's entries.
    """
    rank, dtype = stack.shape[1], stack.dtype
    panel, gram, keep = np.empty((PANEL, rank), dtype), np.empty((rank, rank), dtype), np.empty((rank, rank), dtype)
    right, spare, targets = np.empty(rank, dtype), np.empty(rank, dtype), np.empty(PANEL, dtype)
    ints, reals, chars = np.empty(4, np.int32), np.empty(2, dtype), np.empty(2, np.uint8)
    for row in range(first, last):
        lo, hi = starts[row], starts[row + 1]
        if lo == hi:  # nothing seen: the penalty alone decides
            stack[base + row, :] = 0
            continue
        gram[:, :] = guard
        right[:] = 0
        _accumulate(lo, hi, others, offsets, stack, values, weights, panel, targets, gram, right, solve[0], ints, reals, chars)
        _finish_row(base + row, gram, keep, right, mobility_root, penalty, eps, stack, spare, solve, ints, chars)
        if measure:
            energies[row, :] = spare
            if hi - lo <= PANEL:  # still loaded
                losses[row] = _panel_residual(hi - lo, base + row, stack, panel, targets)
            else:
                losses[row] = _squared_residual(lo, hi, base + row, others, offsets, stack, values, weights, panel, targets)


@_jit
def accumulate_segment(lo, hi, others, offsets, stack, values, weights, gram, right, solve):
    """Part of one long row's normal equations; parts are added up in a fixed order afterwards."""
    dtype = stack.dtype
    panel, targets = np.empty((PANEL, stack.shape[1]), dtype), np.empty(PANEL, dtype)
    ints, reals, chars = np.empty(4, np.int32), np.empty(2, dtype), np.empty(2, np.uint8)
    gram[:, :] = 0
    right[:] = 0
    _accumulate(lo, hi, others, offsets, stack, values, weights, panel, targets, gram, right, solve[0], ints, reals, chars)


@_jit
def finish_row(row, gram, right, mobility_root, penalty, eps, stack, energies, solve):
    """Solve one long row from its summed normal equations."""
    ints, chars = np.empty(4, np.int32), np.empty(2, np.uint8)
    _finish_row(row, gram, np.empty_like(gram), right, mobility_root, penalty, eps, stack, energies, solve, ints, chars)


@_jit
def residual_segment(lo, hi, row, others, offsets, stack, values, weights):
    """Squared residual of part of one long row."""
    panel, targets = np.empty((PANEL, stack.shape[1]), stack.dtype), np.empty(PANEL, stack.dtype)
    return _squared_residual(lo, hi, row, others, offsets, stack, values, weights, panel, targets)
