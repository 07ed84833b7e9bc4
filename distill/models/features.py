"""Features of images: what a network knows of them just before its last layer, or at a layer by name."""

import difflib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "none"]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class FeatureNetwork(nn.Module):
    """Pixels (n, C, H, W) from 0 to 1 → features (n, d): the input of the network's last linear layer, or a layer's output.

    layer: its name, as ``named_modules`` has it; the empty one is the last linear layer. pooling: ``mean`` over places (of a map
    or of tokens), or ``none``, all of them in a row.
    """

    def __init__(self, network: nn.Module, layer: str, pooling: Pooling) -> None:
        super().__init__()
        self.network, self._layer, self._pooling = network.eval(), layer, pooling
        self._source = named_layer(network, layer) if layer else last_linear(network)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        seen: list[Any] = []

        def keep(module: nn.Module, given: Any, output: Any) -> None:
            seen.append(output if self._layer else given[0])

        # Others ask the same network for its logits: it is listened to here alone.
        listening = self._source.register_forward_hook(keep)
        try:
            self.network(images)
        finally:
            listening.remove()
        if len(seen) != 1 or not isinstance(seen[0], Tensor):
            what = "no tensor" if len(seen) == 1 else f"{len(seen)} outputs"
            raise ValueError(f"features.layer = {self._layer!r} has {what} for a batch of images; name a layer that has one")
        features = seen[0]
        if self._pooling == "mean" and features.ndim == 4:
            _, _, height, width = features.shape
            features = features.mean(
                (2, 3) if height == width else (1, 2)
            )  # images are square: so are maps, or channels are last
        elif self._pooling == "mean" and features.ndim == 3:
            features = features.mean(1)
        return features.flatten(1)


@torch.no_grad()
def inputs_off(network: nn.Module, images: Tensor, at_once: int = 32) -> float | None:
    r"""How unlike those of its training the images are that a network is fed, in standard deviations; None where it can't tell.

    $(\mathrm{mean}_c\, (m_c - \mu_c)^2 / \sigma_c^2)^{1/2}$ at the first batch normalization that it comes to, m the means of the
    input of that over images and places, μ and σ² those that it has kept. Photographs fed as a network was trained on photographs
    are about .1 to .3 off; with pixels from 0 to 1 where −1 to 1 is meant, or red for blue, .6; with those to 255, a hundred.

    images: (n, C, H, W) from 0 to 1, where the network is, ``at_once`` of them at a time.
    """
    seen: dict[nn.Module, list[Tensor]] = {}

    def keep(module: nn.Module, given: Any) -> None:
        values = given[0].float()
        if not seen or module in seen:
            seen.setdefault(module, []).append(values.transpose(0, 1).flatten(1).mean(1) * len(values))

    norms = [each for each in network.modules() if isinstance(each, _NORMS) and each.running_mean is not None]
    listening = [norm.register_forward_pre_hook(keep) for norm in norms]
    try:
        for some in images.split(at_once):
            network(some)
    finally:
        for each in listening:
            each.remove()
    if not seen:
        return None
    ((norm, sums),) = seen.items()
    mean, variance = (kept.float() for kept in (norm.running_mean, norm.running_var) if isinstance(kept, Tensor))
    alive = variance > 1e-6 * variance.max()
    off = (torch.stack(sums).sum(0) / len(images) - mean)[alive]
    return float((off.square() / variance[alive]).mean().sqrt())


def last_linear(network: nn.Module) -> nn.Module:
    """The linear layer that gives a classifier's logits; ValueError for a network without one."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("the network has no linear layer whose input could be its features; name a layer with features.layer")
    return linear[-1]


def named_layer(network: nn.Module, layer: str) -> nn.Module:
    """A layer by its name, which may leave out what wraps the network; ValueError for none."""
    found = {bare(name): module for name, module in network.named_modules() if name}
    if bare(layer) not in found:
        near = difflib.get_close_matches(layer, found, n=3) or list(found)[-3:]
        raise ValueError(f"features.layer = {layer!r} is no layer of the network; it has {', '.join(near)}, ...")
    return found[bare(layer)]


def bare(name: str) -> str:
    """A layer's name without what wraps the network."""
    return name.removeprefix("network.").removeprefix("network.")


def width(make: Callable[[], nn.Module], shape: tuple[int, int, int], layer: str, pooling: Pooling) -> int:
    """How many features an image of some shape has, found without computing any."""
    with torch.device("meta"):
        features: Any = FeatureNetwork(make(), layer, pooling)(torch.empty(1, *shape))
    return features.shape[1]
