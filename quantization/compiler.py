"""How loops are compiled."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from typing import Any

from numba import njit as _njit

# Of numpy's rule for a division by zero no branch is left that could raise, which halves what there is to compile. Kernels get
# all arrays from their callers: so nothing need count references (as numba's runtime, NRT, would), which takes off another fifth.
# Two habits keep that small: a counter begins as np.int64(0), as a literal is typed again as it first grows; and min and max are
# conditional expressions, as each of them would be compiled as a function of its own. numba's rewriting, another tenth, is for
# expressions of whole arrays, which kernels don't have, and for branches that a type rules out: those say so (``branching``).
_options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False, "no_rewrites": True}
compiled: Any = _njit(cache=True, fastmath=False, **_options)  # said, as a function takes over what its first caller allows
_branching: dict[str, Any] = {**_options, "no_rewrites": False}
branching: Any = _njit(cache=True, fastmath=False, **_branching)
# Only where no score is NaN and the order of a sum may change: the scores' bound pays for any order.
_free = {"nnan", "ninf", "nsz", "reassoc", "contract"}
unordered: Any = _njit(cache=True, fastmath=_free, **_options)
# A part of what is compiled, kept with it alone: where its arguments are named tuples, as what is kept by itself on disk can't be
# read again once such a class has another name. Python doesn't call it, so no wrapper is compiled for that.
_inside: dict[str, Any] = {**_options, "no_cpython_wrapper": True}
part: Any = _njit(fastmath=False, **_inside)
_branching_inside: dict[str, Any] = {**_inside, "no_rewrites": False}
branching_part: Any = _njit(fastmath=False, **_branching_inside)
contracted_part: Any = _njit(fastmath={"contract"}, **_inside)  # a product and a sum in one instruction
unordered_part: Any = _njit(fastmath=_free, **_inside)
