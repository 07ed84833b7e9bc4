"""Features of images: what a network knows of them just before its last layer, or at a layer by name."""

import difflib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "none"]


class FeatureNetwork(nn.Module):
    """Pixels (n, C, H, W) from 0 to 1 → features (n, d): the input of the network's last linear layer, or a layer's output.

    layer: its name, as ``named_modules`` has it; the empty one is the last linear layer. pooling: ``mean`` over places (of a map
    or of tokens), or ``none``, all of them in a row.
    """

    def __init__(self, network: nn.Module, layer: str, pooling: Pooling) -> None:
        super().__init__()
        self.network, self._pooling = network.eval(), pooling
        self._seen: list[Tensor] = []
        if layer:
            named_layer(network, layer).register_forward_hook(self._keep)
        else:
            last_linear(network).register_forward_pre_hook(lambda module, given: self._keep(module, given, given[0]))

    def _keep(self, module: nn.Module, given: Any, output: Any) -> None:
        self._seen.append(output)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        self._seen.clear()
        self.network(images)
        (features,) = self._seen
        self._seen.clear()
        if self._pooling == "mean" and features.ndim == 4:
            features = features.mean((2, 3))
        elif self._pooling == "mean" and features.ndim == 3:
            features = features.mean(1)
        return features.flatten(1)


def last_linear(network: nn.Module) -> nn.Module:
    """The linear layer that gives a classifier's logits; ValueError for a network without one."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("the network has no linear layer whose input could be its features; name a layer with features.layer")
    return linear[-1]


def named_layer(network: nn.Module, layer: str) -> nn.Module:
    """A layer by its name, which may leave out what wraps the network; ValueError for none."""
    found = dict(network.named_modules())
    chosen = next((name for name in found if name == layer or name.endswith(f".{layer}")), None)
    if not chosen:
        names = [name.removeprefix("network.").removeprefix("network.") for name in found if name]
        near = difflib.get_close_matches(layer, names, n=3) or names[-3:]
        raise ValueError(f"features.layer = {layer!r} is no layer of the network; it has {', '.join(near)}, ...")
    return found[chosen]


def width(make: Callable[[], nn.Module], shape: tuple[int, int, int], layer: str, pooling: Pooling) -> int:
    """How many features an image of some shape has, found without computing any."""
    with torch.device("meta"):
        features: Any = FeatureNetwork(make(), layer, pooling)(torch.empty(1, *shape))
    return features.shape[1]
