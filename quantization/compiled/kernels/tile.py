"""A tile of a matrix product in the machine's own vectors: some rows against a panel of codes, and the least score so far.

Products with few codes are where BLAS is slowest, as it copies all points to use them once. Here points are read where they lie:
every number of a row is multiplied with a vector of codes, for so many rows and vectors that all sums stay in registers. The
least score of every row is sought before scores leave them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
from collections.abc import Callable
from typing import Any

import llvmlite.binding as _llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FEATURES = _llvm.get_host_cpu_features()
BYTES = 64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx") else 16  # of a vector
ROWS = 4 if BYTES == 32 else 8  # of a tile: two vectors a row, and those of the codes, fit into the registers
_INDEX, _ADDRESS = ir.IntType(64), types.uintp


def lanes(dtype: Any) -> int:
    """Numbers in a vector."""
    return BYTES // np.dtype(dtype).itemsize


class Vectors:
    """Vectors of one kind of number, and the instructions on them that LLVM's builder does not spell out."""

    def __init__(self, context: Any, builder: Any, scalar: Any) -> None:
        self.builder, self.bytes = builder, scalar.bitwidth // 8
        self.lanes = BYTES // self.bytes
        self.number, self.whole = context.get_value_type(scalar), ir.IntType(scalar.bitwidth)
        self.type, self.wholes = ir.VectorType(self.number, self.lanes), ir.VectorType(self.whole, self.lanes)
        self.suffix = f"v{self.lanes}f{scalar.bitwidth}"

    def address(self, start: Any, *steps: Any) -> Any:
        """start + steps[0] * steps[1] * ... numbers further on, as an integer."""
        offset = ir.Constant(_INDEX, self.bytes)
        for step in steps:
            offset = self.builder.mul(offset, step if not isinstance(step, int) else ir.Constant(_INDEX, step))
        return self.builder.add(start, offset)

    def load(self, address: Any, kind: Any = None) -> Any:
        kind = self.type if kind is None else kind
        value = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        value.align = self.bytes
        return value

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer())).align = self.bytes

    def spread(self, number: Any, kind: Any = None) -> Any:
        """The number in every lane."""
        kind = self.type if kind is None else kind
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def exchange(self, a: Any, b: Any, bit: int) -> tuple[Any, Any]:
        """The lanes of a that have the bit in their number change places with those of b that lack it."""
        masks = [
            [lane + self.lanes - bit if lane & bit else lane for lane in range(self.lanes)],
            [lane + self.lanes if lane & bit else lane + bit for lane in range(self.lanes)],
        ]
        kind = ir.VectorType(ir.IntType(32), self.lanes)
        first, second = (self.builder.shuffle_vector(a, b, ir.Constant(kind, mask)) for mask in masks)
        return first, second

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        fma = ir.FunctionType(self.type, [self.type] * 3)
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, fma, f"llvm.fma.{self.suffix}"), (a, b, c))

    def less(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<", a, b)

    def sum(self, a: Any) -> Any:
        """The sum of all lanes, in any order."""
        kind, name = ir.FunctionType(self.number, [self.number, self.type]), f"llvm.vector.reduce.fadd.{self.suffix}"
        reduce = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(reduce, (ir.Constant(self.number, -0.0), a), fastmath=("reassoc",))

    def least(self, a: Any) -> Any:
        """The least of all lanes."""
        kind, name = ir.FunctionType(self.number, [self.type]), f"llvm.vector.reduce.fmin.{self.suffix}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), (a,), fastmath=("nnan",))

    def least_whole(self, a: Any) -> Any:
        """The least of all lanes of integers ≥ 0."""
        bits = self.whole.width
        kind, name = ir.FunctionType(self.whole, [self.wholes]), f"llvm.vector.reduce.umin.v{self.lanes}i{bits}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), (a,))


def _tile(rows: int, vectors: int) -> Any:
    """What multiplies ``rows`` rows with ``vectors`` vectors of codes.

    Called with an array of the numbers' kind and with addresses: x (rows ``stride`` numbers apart), the panel (length, vectors ×
    lanes), scores (rows ``width`` apart). Products of one piece are summed on their own, then added to the scores, unless these
    are ``fresh``. With the ``last`` piece scores become half − product, and a row's state (see ``least``) is brought up to date;
    ``code`` is the index of the panel's first code.
    """

    @intrinsic
    def tile(_: Any, like: Any, x: Any, stride: Any, panel: Any, length: Any, scores: Any, width: Any, fresh: Any, last: Any, half: Any, state: Any, code: Any) -> Any:  # noqa: E501  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, x, stride, panel, length, scores, width, fresh, last, half, state, code = arguments
            v = Vectors(context, builder, signature.args[0].dtype)
            zero = ir.Constant(v.type, [0.0] * v.lanes)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
            for row in sums:
                for place in row:
                    builder.store(zero, place)
            starts = [v.address(x, stride, r) for r in range(rows)]
            with cgutils.for_range(builder, length) as loop:
                codes = [v.load(v.address(v.address(panel, p * v.lanes), loop.index, vectors * v.lanes)) for p in range(vectors)]
                for r in range(rows):
                    number = v.spread(v.load(v.address(starts[r], loop.index), v.number))
                    for p in range(vectors):
                        builder.store(v.multiply_add(number, codes[p], builder.load(sums[r][p])), sums[r][p])
            with builder.if_then(builder.not_(fresh)):
                for r in range(rows):
                    for p in range(vectors):
                        before = v.load(v.address(v.address(scores, width, r), p * v.lanes))
                        builder.store(builder.fadd(before, builder.load(sums[r][p])), sums[r][p])
            with builder.if_then(last):
                for r in range(rows):
                    found = [
                        builder.fsub(v.load(v.address(half, p * v.lanes)), builder.load(sums[r][p])) for p in range(vectors)
                    ]  # fmt: skip
                    for p in range(vectors):
                        builder.store(found[p], sums[r][p])
                    _remember(v, found, v.address(state, 3 * r * v.lanes), code)
            for r in range(rows):
                for p in range(vectors):
                    v.store(builder.load(sums[r][p]), v.address(v.address(scores, width, r), p * v.lanes))
            return context.get_dummy_value()

        flags = (types.boolean, types.boolean)
        return types.void(
            like, _ADDRESS, types.intp, _ADDRESS, types.intp, _ADDRESS, types.intp, *flags, _ADDRESS, _ADDRESS, types.intp
        ), generate  # fmt: skip

    return tile


def _remember(v: Vectors, scores: list[Any], state: Any, code: Any) -> None:
    """Brings a row's state up to date: in every lane the least score, the second least, and the least one's code."""
    builder = v.builder
    best, second = v.load(state), v.load(v.address(state, v.lanes))
    where = v.load(v.address(state, 2 * v.lanes), v.wholes)
    first = builder.trunc(code, v.whole) if v.whole.width < 64 else code
    for p, score in enumerate(scores):
        lane = ir.Constant(v.wholes, [p * v.lanes + j for j in range(v.lanes)])
        less = v.less(score, best)
        worse = builder.select(less, best, score)
        second = builder.select(v.less(worse, second), worse, second)
        where = builder.select(less, builder.add(v.spread(first, v.wholes), lane), where)
        best = builder.select(less, score, best)
    v.store(best, state)
    v.store(second, v.address(state, v.lanes))
    v.store(where, v.address(state, 2 * v.lanes))


@intrinsic
def least(_: Any, like: Any, state: Any) -> Any:
    """(the least score of a row, the lowest code that has it, the least score of all other codes), from the row's state."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, signature.args[0].dtype)
        state = arguments[1]
        best, second = v.load(state), v.load(v.address(state, v.lanes))
        where = v.load(v.address(state, 2 * v.lanes), v.wholes)
        score = v.least(best)
        none = ir.Constant(v.wholes, [2**31 - 1] * v.lanes)
        tied = builder.fcmp_ordered("==", best, v.spread(score))
        code = v.least_whole(builder.select(tied, where, none))
        own = builder.and_(tied, builder.icmp_unsigned("==", where, v.spread(code, v.wholes)))
        rival = v.least(builder.select(own, second, best))
        wide = builder.zext(code, _INDEX) if v.whole.width < 64 else code
        return context.make_tuple(builder, signature.return_type, (score, wide, rival))

    return types.Tuple((like.dtype, types.intp, like.dtype))(like, _ADDRESS), generate


@intrinsic
def transpose(_: Any, like: Any, source: Any, stride: Any, target: Any, across: Any) -> Any:
    """A square of numbers, as wide as a vector: its rows, ``stride`` numbers apart, become columns of rows ``across`` apart."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, source, stride, target, across = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        rows = [v.load(v.address(source, stride, r)) for r in range(v.lanes)]
        bit = v.lanes // 2
        while bit:  # the bits of a number's row and of its lane change places one after the other
            for r in range(v.lanes):
                if not r & bit:
                    rows[r], rows[r + bit] = v.exchange(rows[r], rows[r + bit], bit)
            bit //= 2
        for r in range(v.lanes):
            v.store(rows[r], v.address(target, across, r))
        return context.get_dummy_value()

    return types.void(like, _ADDRESS, types.intp, _ADDRESS, types.intp), generate


Tile = Callable[..., None]
wide_tile: Tile = _tile(ROWS, 2)
wide_row: Tile = _tile(1, 2)
slim_tile: Tile = _tile(ROWS, 1)
slim_row: Tile = _tile(1, 1)
