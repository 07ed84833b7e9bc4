"""How loops are compiled: by numba, in less time than it takes by itself."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
import gc
from typing import Any

from numba import njit as _njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class _PartLibrary(JITCodeLibrary):
    """A part's code: never made into machine code by itself, as it is inlined (a tenth of the time).

    Its loops are unrolled before that, function by function, as numba always does: without it the loops around them are not
    vectorized, and a scan over codes takes five times as long.
    """

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # as of what is not there

    @property
    def codegen(self) -> Any:  # who is asked next to set this
        return self

    def set_env(self, name: str, environment: Any) -> None: ...


class _KernelCompiler(CompilerBase):
    """numba's own passes; garbage, of which they make little, is collected afterwards."""

    def compile_extra(self, func: Any) -> Any:
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()

    def define_pipelines(self) -> Any:
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class _PartCompiler(_KernelCompiler):
    """The same, to a library of the kind above."""

    def define_pipelines(self) -> Any:
        self.state.library = _PartLibrary(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super().define_pipelines()


# Of numpy's rule for a division by zero no branch is left that could raise, which halves what there is to compile. Kernels get
# all arrays from their callers: so nothing need count references (as numba's runtime, NRT, would), which takes off another fifth.
# Two habits keep that small: a counter begins as np.int64(0), as a literal is typed again as it first grows; and min and max are
# conditional expressions, as each of them would be compiled as a function of its own. numba's rewriting, another tenth, is for
# expressions of whole arrays, which kernels don't have, and for branches that a type rules out: those say so (``branching``).
_options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False, "no_rewrites": True}
_options["pipeline_class"] = _KernelCompiler
compiled: Any = _njit(cache=True, fastmath=False, **_options)  # said, as a function takes over what its first caller allows
_branching: dict[str, Any] = {**_options, "no_rewrites": False}
branching: Any = _njit(cache=True, fastmath=False, **_branching)
# Only where no score is NaN and the order of a sum may change: the scores' bound pays for any order.
_free = {"nnan", "ninf", "nsz", "reassoc", "contract"}
unordered: Any = _njit(cache=True, fastmath=_free, **_options)
# A part of what is compiled, kept with it alone: where its arguments are named tuples, as what is kept by itself on disk can't be
# read again once such a class has another name. Python doesn't call it, so no wrapper is compiled for that.
_inside: dict[str, Any] = {**_options, "no_cpython_wrapper": True, "pipeline_class": _PartCompiler}
part: Any = _njit(fastmath=False, **_inside)
_branching_inside: dict[str, Any] = {**_inside, "no_rewrites": False}
branching_part: Any = _njit(fastmath=False, **_branching_inside)
contracted_part: Any = _njit(fastmath={"contract"}, **_inside)  # a product and a sum in one instruction
unordered_part: Any = _njit(fastmath=_free, **_inside)
