"""How loops are compiled, and BLAS for what is compiled."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from typing import Any

import llvmlite.binding as _llvm
from numba import njit as _njit
from numba import types
from numba.extending import get_cython_function_address

compiled: Any = _njit(nogil=True, cache=True, fastmath=False)  # said, as a function takes over what its first caller allows
# Only where no score is NaN and the order of a sum may change: the scores' bound pays for any order.
_free = {"nnan", "ninf", "nsz", "reassoc", "contract"}
unordered: Any = _njit(nogil=True, cache=True, fastmath=_free)
# A part of what is compiled, kept with it alone: where its arguments are named tuples, as what is kept by itself on disk can't be
# read again once such a class has another name.
part: Any = _njit(nogil=True, fastmath=False)
unordered_part: Any = _njit(nogil=True, fastmath=_free)
inlined: Any = _njit(nogil=True, inline="always")

PIECE = 512  # terms of an inner product summed in one go, so that the bound on its round-off does not grow with d


def blas(name: str, arguments: int) -> Any:
    """scipy's BLAS as a symbol of LLVM's, so that what calls it can be kept on disk."""
    symbol = f"quantization_{name}"
    _llvm.add_symbol(symbol, get_cython_function_address("scipy.linalg.cython_blas", name))
    return types.ExternalFunction(symbol, types.void(*[types.voidptr] * arguments))
