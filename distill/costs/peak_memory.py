"""The most bytes that tensors hold at one time while something runs, counted on tensors without content, as a GPU holds them."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distill.models.student import DTYPES, autocast

# What autocast does on a GPU, by the names of functions, as torch documents it: products are computed in the lower precision;
# what loses too much by that in float32; and sums give float32, without a copy of what they are given.
_PRODUCTS = {
    *("linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "addbmm", "baddbmm", "mv", "einsum", "multi_dot"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("prelu", "scaled_dot_product_attention"),
}
_WHOLE = {
    *("layer_norm", "group_norm", "norm", "normalize", "cosine_similarity", "cross_entropy", "mse_loss", "l1_loss", "kl_div"),
    *("exp", "expm1", "log", "log2", "log10", "log1p", "pow", "__pow__", "reciprocal", "rsqrt", "softplus", "cdist"),
}
_SUMS = {"softmax", "log_softmax", "sum", "prod", "cumsum", "cumprod"}


class LiveTensorTracker(TorchDispatchMode):
    """``now``: the bytes of the tensors that operations gave while this lasts and still live; ``peak``: the most at once.

    A storage counts once, however many views look at it, from the operation that gives it until nothing refers to it: what a
    gradient will need lives on. What an operation needs within itself, such as a kernel's workspace, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = operation(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._see(each.untyped_storage())
        return made

    def _see(self, storage: Any) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self._known[place]

        self._known[place] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


class FusedAttention(TorchFunctionMode):
    """Attention without the N × N matrices of its definition, as a GPU's kernels compute it; without content torch makes them."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = kwargs or {}
        query = args[0] if args else found.get("query")
        fused = isinstance(query, Tensor) and query.ndim == 4 and not found.get("enable_gqa")
        if function is torch.nn.functional.scaled_dot_product_attention and fused:
            return _fused(*args, **{name: value for name, value in found.items() if name != "enable_gqa"})
        return function(*args, **found)


class LoweredPrecision(TorchFunctionMode):
    """What ``torch.autocast`` does on a GPU, for tensors without content, on which it does nothing.

    A weight is lowered once while this lasts, as there.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, found = getattr(function, "__name__", ""), dict(kwargs or {})
        if name in _PRODUCTS:
            args, found = _each(self._lowered, args), {key: self._lowered(value) for key, value in found.items()}
        elif name in _WHOLE:
            args, found = _each(self._raised, args), {key: self._raised(value) for key, value in found.items()}
        elif name in _SUMS and args and _is(args[0], self._dtype) and not any(isinstance(each, torch.dtype) for each in args):
            found["dtype"] = found.get("dtype") or torch.float32
        return function(*args, **found)

    def _lowered(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(self._dtype)
        if id(value) not in self._weights:
            self._weights[id(value)] = value, value.to(self._dtype)
        return self._weights[id(value)][1]

    def _raised(self, value: Any) -> Any:
        return value.float() if _is(value, self._dtype) else value


def _is(value: Any, dtype: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype


def lowered(device: str, precision: str) -> AbstractContextManager[Any]:
    """The context in which a network computes in a lower precision on a device, or on tensors without content."""
    if device == "meta" and precision in DTYPES:
        return LoweredPrecision(DTYPES[precision])
    return autocast(torch.device(device), precision)


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Tensor:
    if attn_mask is not None:
        attn_mask = attn_mask.to(query.dtype).expand(*query.shape[:3], key.shape[2])
    given = [each for each in (query, key, value, attn_mask) if each is not None]
    learns = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    attention: Any = torch.ops.aten._scaled_dot_product_efficient_attention
    return attention(query, key, value, attn_mask, learns, dropout_p, is_causal, scale=scale)[0]


def _each(change: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """Values changed, those in lists too."""
    return [type(value)(_each(change, value)) if type(value) in (list, tuple) else change(value) for value in values]
