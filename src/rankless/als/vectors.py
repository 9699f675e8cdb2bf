"""Vectors as a numba type: as many numbers as the widest registers hold, and what the kernels do with them.

LLVM's own vector types, so every machine lowers them to what it has. `_tile` builds the one
loop that needs them: a tile of a product held in registers over all of its terms, which numba's
own loops cannot say. Arrays are addressed by the flat position of their first element.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, models, register_model
from numba.np.numpy_support import from_dtype

_STAMP = tuple((f.name, f.stat().st_mtime, f.stat().st_size) for f in sorted(Path(__file__).parent.glob("*.py")))

_CHOSEN = config.CPU_FEATURES  # pyright: ignore[reportAttributeAccessIssue]
_WIDE = "+avx512f" in (get_host_cpu_features() if _CHOSEN is None else _CHOSEN)
BYTES = 64 if _WIDE else 32  # of a vector; elsewhere than on x86 LLVM halves it
TALL = 8 if _WIDE else 4  # rows of a tile: with two vectors of columns it fills half of 32 (of 16) registers

_njit: Any = nb.njit  # to a type checker its options are none of a dict's

# nothing compiled here allocates: without numba's counting of references there is a third less to compile
_RULES: dict[str, Any] = {"nogil": True, "_nrt": False, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}


def jit(function: Callable, **more: Any) -> Callable[..., Any]:
    """Compile without the GIL, and keep the result until a file of this folder changes.

    Numba alone looks at the function's own file, and would keep a caller of what has changed elsewhere.
    """
    compiled = _njit(cache=True, **(_RULES | more))(function)
    compiled._cache._cache_file._source_stamp = _STAMP  # pyright: ignore[reportAttributeAccessIssue]
    return compiled


def inner(function: Callable) -> Callable[..., Any]:
    """Compile a few lines that become part of each compiled caller: Python cannot call them, and they are not kept alone."""
    return _njit(**(_RULES | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}))(function)


class Apart:
    """A function that is compiled once for each dtype, and that compiled code calls by its address.

    Numba copies a compiled function into whatever compiled function calls it, where LLVM works through it again: that was most of the
    compile time. Called by address it is also the same instructions, so the same bits, whoever calls it.

    `types_of` makes the types of the arguments from that of their numbers, `result` is the type returned; argument `like` is an array
    of that dtype. Compiled code says ``call(address, ...)`` with this object's `call` and an `address` that was handed down to it:
    addresses are another process's the next time, so no compiled code may hold one. `from_python` says whether Python may call it too.
    """

    def __init__(
        self,
        function: Callable,
        types_of: Callable[[types.Float], tuple[types.Type, ...]],
        result: types.Type = types.void,
        *,
        like: int,
        from_python: bool = False,
    ):
        self.compiled: Any = jit(function, no_cfunc_wrapper=True, no_cpython_wrapper=not from_python)
        self._types_of, self._addresses = types_of, {}

        def call(typingctx, address, *arguments):
            expected = types_of(arguments[like].dtype)

            def codegen(context, builder, signature, args):
                kind = context.call_conv.get_function_type(result, expected)
                callee = builder.inttoptr(args[0], kind.as_pointer())
                return context.call_conv.call_function(builder, callee, result, expected, args[1:])[1]

            return result(types.intp, *expected), codegen

        names = ["typingctx", "address", *inspect.signature(function).parameters]
        each = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        call.__signature__ = inspect.Signature(each)  # pyright: ignore[reportFunctionMemberAccess]
        self.call = _intrinsic(call)

    def __call__(self, *args: Any) -> Any:
        """Call it from Python."""
        return self.compiled(*args)

    def address(self, dtype: Any) -> int:
        """Where the code for `dtype` lies in this process; it is compiled, or read from the cache, on the first call."""
        dtype = np.dtype(dtype)
        if dtype not in self._addresses:
            expected = self._types_of(from_dtype(dtype))
            self.compiled.compile(expected)
            made = self.compiled.overloads[expected]
            self._addresses[dtype] = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
        return self._addresses[dtype]


def _intrinsic(build: Callable) -> Callable[..., Any]:
    return intrinsic(build)  # whose callers pass no typing context, which a type checker cannot know


def vector(number: types.Type, *, read: bool = False) -> types.Array:
    """The type of a one-dimensional array; `read` says whether it may be one that must not be written."""
    return types.Array(number, 1, "C", readonly=read)


def matrix(number: types.Type, *, read: bool = False) -> types.Array:
    """The type of a two-dimensional array."""
    return types.Array(number, 2, "C", readonly=read)


class Vector(types.Type):
    """`BYTES` bytes of one floating point type."""

    def __init__(self, dtype: types.Float):
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")

    @property
    def lanes(self) -> int:
        return BYTES * 8 // self.dtype.bitwidth


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(dmm.lookup(fe_type.dtype).get_value_type(), fe_type.lanes))


def _splat(builder, number, kind: ir.VectorType):
    alone = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(alone, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _call(builder, name: str, kind, *args, after: str = ""):
    """LLVM's intrinsic `name` for the vector type `kind`; `after` is what its name ends in behind the type's."""
    letter = {ir.DoubleType(): "f64", ir.FloatType(): "f32"}[kind.element]
    function = ir.FunctionType(kind, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{kind.count}{letter}{after}"), args)


def _pointer(context, builder, array_type, array, position, kind: ir.VectorType | None = None):
    """Address of one number of an array, or of the vector that starts there."""
    start = builder.gep(context.make_array(array_type)(context, builder, array).data, [position])
    return start if kind is None else builder.bitcast(start, kind.as_pointer())


def _numbers(array_type) -> tuple[Vector, int]:
    """Vector type of an array's numbers, and their alignment: vectors may start anywhere."""
    return Vector(array_type.dtype), array_type.dtype.bitwidth // 8


@_intrinsic
def lanes(typingctx, array):
    """Numbers in a vector of the array's dtype."""

    def codegen(context, builder, signature, args):
        return ir.IntType(64)(_numbers(array)[0].lanes)

    return types.int64(array), codegen


@_intrinsic
def load(typingctx, array, position):
    def codegen(context, builder, signature, args):
        kind = context.get_value_type(signature.return_type)
        return builder.load(_pointer(context, builder, array, args[0], args[1], kind), align=_numbers(array)[1])

    return _numbers(array)[0](array, types.int64), codegen


@_intrinsic
def load_first(typingctx, array, position, count):
    """The first `count` numbers from `position` on, zeros for the rest of the vector."""

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(signature.return_type)
        numbers = ir.VectorType(ir.IntType(64), kind.count)
        place = ir.Constant(numbers, list(range(kind.count)))
        mask = builder.icmp_signed("<", place, _splat(builder, args[2], numbers))
        start = _pointer(context, builder, array, args[0], args[1], kind)
        align = ir.IntType(32)(_numbers(array)[1])
        return _call(builder, "masked.load", kind, start, align, mask, ir.Constant(kind, None), after=".p0")

    return _numbers(array)[0](array, types.int64, types.int64), codegen


@_intrinsic
def store(typingctx, array, position, vector):
    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=_numbers(array)[1])
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), codegen


@_intrinsic
def splat(typingctx, number):
    """A vector of equal numbers."""

    def codegen(context, builder, signature, args):
        return _splat(builder, args[0], context.get_value_type(signature.return_type))

    return Vector(number)(number), codegen


@_intrinsic
def times(typingctx, a, b):
    return a(a, b), lambda context, builder, signature, args: builder.fmul(*args)


@_intrinsic
def times_plus(typingctx, a, b, c):
    """``a b + c``, in one instruction where there is one."""
    return a(a, b, c), lambda context, builder, signature, args: _call(builder, "fmuladd", args[0].type, *args)


@_intrinsic
def total(typingctx, vector):
    """Sum of a vector's numbers, by halves."""

    def codegen(context, builder, signature, args):
        part, count = args[0], args[0].type.count
        while count > 1:
            count //= 2
            index = ir.VectorType(ir.IntType(32), count)
            halves = [builder.shuffle_vector(part, part, ir.Constant(index, list(range(start, start + count)))) for start in (0, count)]
            part = builder.fadd(*halves)
        return builder.extract_element(part, ir.IntType(32)(0))

    return vector.dtype(vector), codegen


@_intrinsic
def prefetch(typingctx, array, position):
    """Ask for the cache line of a number that will be read soon."""

    def codegen(context, builder, signature, args):
        pointer = builder.bitcast(_pointer(context, builder, array, *args), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


def _tile(wide: int, *, with_right: bool):
    """An intrinsic that adds a tile of `TALL` rows and `wide` vectors of columns of a sum of products."""

    @_intrinsic
    def add(typingctx, rows, columns, targets, count, i, j, out, right, sign):
        vector, align = _numbers(columns)
        number = vector.dtype

        def codegen(context, builder, signature, args):
            rows_, columns_, targets_, count_, i_, j_, out_, right_, sign_ = args
            kind, step = context.get_value_type(vector), ir.IntType(64)(vector.lanes)

            def width(array_type, array):
                return cgutils.unpack_tuple(builder, context.make_array(array_type)(context, builder, array).shape)[-1]

            stride, across, down = width(columns, columns_), width(rows, rows_), width(out, out_)
            tall = TALL + with_right
            sums = [[cgutils.alloca_once_value(builder, ir.Constant(kind, None)) for _ in range(wide)] for _ in range(tall)]
            with cgutils.for_range(builder, count_, intp=ir.IntType(64)) as loop:
                start = builder.add(builder.mul(loop.index, stride), j_)
                loaded = []
                for _ in range(wide):
                    loaded.append(builder.load(_pointer(context, builder, columns, columns_, start, kind), align=align))
                    start = builder.add(start, step)
                corner = builder.add(builder.mul(loop.index, across), i_)
                places = [(rows, rows_, builder.add(corner, ir.IntType(64)(a))) for a in range(TALL)]
                for row, place in zip(sums, [*places, (targets, targets_, loop.index)][:tall], strict=True):
                    factor = _splat(builder, builder.load(_pointer(context, builder, *place)), kind)
                    for cell, column in zip(row, loaded, strict=True):
                        builder.store(_call(builder, "fmuladd", kind, factor, column, builder.load(cell)), cell)
            signs = _splat(builder, sign_, kind)
            for a, row in enumerate(sums):
                array, place = (out, out_), builder.add(builder.mul(builder.add(i_, ir.IntType(64)(a)), down), j_)
                if a == TALL:
                    array, place = (right, right_), j_
                for cell in row:
                    pointer = _pointer(context, builder, *array, place, kind)
                    before = builder.load(pointer, align=align)
                    builder.store(_call(builder, "fmuladd", kind, signs, builder.load(cell), before), pointer, align=align)
                    place = builder.add(place, step)
            return context.get_dummy_value()

        whole = types.int64
        return types.void(rows, columns, targets, whole, whole, whole, out, right, number), codegen

    return add


add_tile, add_double_tile = _tile(1, with_right=False), _tile(2, with_right=False)
add_tile_and_right, add_double_tile_and_right = _tile(1, with_right=True), _tile(2, with_right=True)
