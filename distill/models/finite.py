"""Outputs that are not finite: found wherever a network is asked, so that no NaN is taken for a black image or a label."""

from collections.abc import Callable

import torch
from torch import Tensor


class NotFinite(ValueError):
    """A network gave numbers that are not finite."""


def finite(values: Tensor, what: str, remedy: str, again: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """``values`` (n, ...), all of them finite.

    what: in words. remedy: what to do about those that are not. again: rows (m,) → values (m, ...) of a wider precision, which
    take their place. Raises :class:`NotFinite` where that does not help, or is not asked for.
    """
    broken = _broken(values)
    if again is not None and len(broken):
        values = values.index_copy(0, broken.to(values.device), again(broken).to(values))
        broken = _broken(values)
    if len(broken):
        raise NotFinite(f"{what}: {len(broken)} of {len(values)} are not finite; {remedy}")
    return values


def of_precision(section: str, dtype: str) -> str:
    """The remedy where a recipe's section says in which precision its model computes."""
    if dtype == "float32":
        return f"the model of [{section}], or what it is given, is to blame: no precision here is wider than float32"
    return (
        f'{section}.dtype = "{dtype}" may have too small a range: take "float32", or set {section}.fallback = "float32", '
        "in which those alone are computed again"
    )


def _broken(values: Tensor) -> Tensor:
    """The rows (m,) that hold what is not finite, on the host."""
    return (~torch.isfinite(values).flatten(1).all(1)).nonzero()[:, 0].cpu()
