"""The few array operations that differ between numpy and torch; everything else is written once for both.

Codebooks are small and live on the host in float64. Points are large and stay where they came from: a numpy array, or a torch
tensor on its device. torch is recognised through ``sys.modules``, so that importing this package never loads it.
"""

import sys
import warnings
from functools import cache
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # a numpy array or a torch tensor
FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
SparsePlan: TypeAlias = tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]], FloatArray]  # rows, columns, masses
_DOUBLE = float(np.finfo(np.float64).eps)


def is_torch(x: object) -> bool:
    """Whether ``x`` is a torch tensor (False, at no cost, where torch has not been imported)."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(x: Array) -> Any:
    """The module, numpy or torch, whose functions take ``x``."""
    return sys.modules["torch"] if is_torch(x) else np


def device_of(x: Array) -> str:
    """The kind of device that ``x`` is on, "cpu" for numpy."""
    return str(x.device.type) if is_torch(x) else "cpu"


def dtype_of(x: Array) -> Any:
    """The dtype of ``x`` as one of numpy's, of the same size where numpy has no such (bfloat16)."""
    return np.dtype(str(x.dtype).removeprefix("torch.").replace("bfloat16", "float16")) if is_torch(x) else x.dtype


def to_host(x: Array) -> FloatArray:
    """``x`` as a float64 numpy array; a copy unless it is one already."""
    return np.asarray(x.detach().cpu().double().numpy() if is_torch(x) else x, dtype=np.float64)


def asarray_like(host: NDArray[Any], reference: Array, *, dtype: Any = None) -> Array:
    """The numpy array ``host`` in the library, on the device and in the dtype (unless one is given) of ``reference``."""
    if is_torch(reference):
        torch = namespace(reference)
        # torch.tensor copies: a tensor must not share the memory of a solver's array, or of a caller's read-only one.
        return torch.tensor(host).to(device=reference.device, dtype=dtype or reference.dtype)
    return np.asarray(host, dtype=dtype or reference.dtype)


def double(x: Array) -> Array:
    """``x`` in float64 (complex numbers in complex128), where it lives."""
    if is_torch(x):
        torch = namespace(x)
        return x.to(torch.promote_types(x.dtype, torch.float64))
    return x.astype(np.promote_types(x.dtype, np.float64), copy=False)


def summed_by(labels: NDArray[np.integer[Any]], weights: FloatArray, k: int) -> FloatArray:
    r"""$\sum_{i: l_i = k} w_i$ for labels (n,) and weights (n,), numpy arrays; (k,)."""
    return np.asarray(np.bincount(labels, weights, minlength=k), dtype=np.float64)


def rounded(host: FloatArray, reference: Array) -> FloatArray:
    """``host`` with every entry rounded to a number that the dtype of ``reference`` can hold."""
    return host if epsilon(reference) <= _DOUBLE else to_host(asarray_like(host, reference))


def least_positive(x: Array) -> float:
    """The spacing of the numbers next to zero in the floating dtype of ``x``, its least positive number."""
    limits = namespace(x).finfo(x.dtype)
    return float(limits.smallest_normal) * float(limits.eps)


def epsilon(x: Array) -> float:
    """The unit round-off scale (machine epsilon) of the floating dtype of ``x``."""
    return _epsilon(x.dtype, is_torch(x))


@cache
def _epsilon(dtype: Any, of_torch: bool) -> float:
    return float((sys.modules["torch"] if of_torch else np).finfo(dtype).eps)


def range_exponent(x: Array) -> int:
    """The e for which x / 2^e is about 1 where squares of ``x`` may leave the range of float64; 0 anywhere else."""
    if epsilon(x) > _DOUBLE:
        return 0  # float32 and below: their squares do not
    top = max(float(x.max()), -float(x.min()))
    return 0 if top == 0 or 2.0**-300 < top < 2.0**300 else int(np.clip(np.frexp(top)[1], -1000, 1000))


def all_finite(x: Array) -> bool:
    """Whether no entry of ``x`` is NaN or infinite."""
    xp = namespace(x)
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only where every term is, and made faster than a truth value for each. No product of BLAS: a thread of
        # its own would go on spinning for milliseconds, on a core that other work waits for.
        total = x.sum()
    return bool(xp.isfinite(total)) or bool(xp.isfinite(x).all())


def as_floating(x: Any, what: str = "points") -> Array:
    """``x`` as an array of real numbers: floating dtypes kept, integers and booleans made float64. what: their name in errors.

    Of a pandas or polars frame its columns. A tensor that requires a gradient is detached, with a UserWarning.
    """
    if is_torch(x):
        if x.is_complex():
            raise ValueError(f"{what} must be real; received a tensor of dtype {x.dtype}")
        if x.requires_grad:
            warnings.warn(
                f"{what} require a gradient, and the result does not depend on them in a way that torch could differentiate: "
                f"no gradient flows through it. Pass {what}.detach() where that is meant",
                UserWarning,
                stacklevel=2,
            )
        return x.detach() if x.is_floating_point() else x.detach().double()
    check_unmasked(x, what)
    if hasattr(x, "toarray"):
        raise ValueError(
            f"{what} must be a dense array, or for quantize and the estimator a CSR matrix; received {type(x).__name__}. Write "
            f"{what}.tocsr() there, and {what}.toarray() elsewhere"
        )
    if hasattr(x, "to_numpy"):
        x = _from_frame(x, what)
    try:
        array = np.asarray(x)
        if array.dtype.kind not in "fiubO":
            raise TypeError(f"an array of dtype {array.dtype}")
        floating = array if array.dtype.kind == "f" else array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        first: Any = cast(list[Any], x)[0] if isinstance(x, list) and x else None
        hint = (
            ". For a list of batches write Stream(batches), for parts of one sample Shards(parts)"
            if getattr(first, "ndim", 0) > 1
            else ""
        )
        raise ValueError(
            f"{what} must be an array of real numbers; received {type(cast(Any, x)).__name__} ({error}){hint}"
        ) from None
    if floating.dtype.itemsize > 8:
        return floating.astype(np.float64)
    return floating.astype(floating.dtype.newbyteorder("="), copy=False)


def check_unmasked(x: Any, what: str) -> None:
    """Refuses masked entries of numpy, which other functions would take for numbers."""
    if np.ma.is_masked(x):
        raise ValueError(f"{what} must have no masked entries; received a masked array. Drop or fill these entries")


def _from_frame(x: Any, what: str) -> Any:
    """The numbers of a pandas or polars frame or series, missing ones NaN; ``ValueError`` that names columns of anything else."""
    columns = hasattr(x, "columns")
    dtypes: list[Any] = list(x.dtypes if columns else [x.dtype])
    names: list[Any] = list(x.columns if columns else [getattr(x, "name", None)])
    others = [f"{name!r} ({dtype})" for name, dtype in zip(names, dtypes, strict=True) if not _numeric(dtype)]
    if others:
        listed = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        raise ValueError(f"{what} must be numbers; received a {type(x).__name__} with {listed}. Drop, encode or convert them")
    if not all(isinstance(dtype, np.dtype) for dtype in dtypes) and hasattr(x, "iloc"):  # pandas keeps what may be missing apart
        return x.to_numpy(dtype=np.float64, na_value=np.nan)
    return x.to_numpy()


def _numeric(dtype: Any) -> bool:
    """Whether a pandas, numpy or polars dtype is one of real numbers or booleans."""
    if hasattr(dtype, "is_numeric"):
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "fiub"


def check_exact(given: Any, points: Array) -> None:
    """Refuses integers that float64 ``points`` were made of where different ones may have become equal."""
    if is_torch(given):
        if given.is_floating_point():
            return
        given = given.detach().cpu().numpy()
    integers: NDArray[Any] = np.asarray(given)
    kind = integers.dtype.kind
    if kind not in "iuO" or integers.dtype.itemsize < 8 or not max(float(points.max()), -float(points.min())) >= 2.0**53:
        return
    floating = to_host(points)
    with np.errstate(invalid="ignore"):
        same = floating.astype(integers.dtype) == integers
    # Where a cast of what is too large gives the largest integer, that would look exact.
    if not bool((same if kind == "O" else same & (floating < 2.0 ** (63 if kind == "i" else 64))).all()):
        raise ValueError(
            "integers beyond 2^53 are not all numbers of float64, so that different ones may become equal; received "
            f"{integers.min()} to {integers.max()}. Subtract what they share, or convert them as you see fit"
        )
