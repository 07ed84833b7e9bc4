"""Microbenchmarks of the networks of this project, and what these weigh."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from distill.costs.microbenchmark import Bytes, Microbenchmark
from distill.costs.peak_memory import lowered

ADAMW = 2  # numbers that this optimizer keeps for each that it trains: the mean of its gradients and of their squares
TRAINED = 5  # times a network's weight that its training needs on disk: its own, and a checkpoint of four

Make = Callable[[], Any]


def autoencoding(key: str, make: Make, half: str, shape: tuple[int, ...], batch: int, dtype: str = "float32") -> Microbenchmark:
    """The ``encoder`` of an autoencoder on images of a shape, or its ``decoder`` on latents."""

    def on(device: str) -> Callable[[], Any]:
        model, given = _model(make, device, dtype), _noise(batch, shape, device, dtype)
        return lambda: (model.encode if half == "encoder" else model.decode)(given)

    return Microbenchmark(f"{key}/{half}/{shape}/{batch}/{dtype}", batch, on)


def prediction(
    key: str, make: Make, shape: tuple[int, ...], batch: int, dtype: str = "float32", *, text: int = 0, learns: bool = False
) -> Microbenchmark:
    """A prior's prediction for latents of a shape, under 77 tokens of width ``text`` or a class; ``learns``: and its gradient."""

    def on(device: str) -> Callable[[], Any]:
        model, given = _model(make, device, dtype), _noise(batch, shape, device, dtype)
        times = torch.zeros(batch, dtype=torch.long, device=device)
        tokens = {"encoder_hidden_states": _noise(batch, (77, text), device, dtype)} if text else {}
        condition = tokens or {"class_labels": times}

        def run() -> None:
            predicted = model(given, timestep=times, **condition).sample
            if learns:
                predicted.square().mean().backward()

        return run

    return Microbenchmark(f"{key}/prediction/{shape}/{text}/{batch}/{dtype}/{learns}", batch, on, learns)


def classifier(
    key: str, make: Make, shape: tuple[int, ...], batch: int, precision: str = "float32", *, learns: bool = False
) -> Microbenchmark:
    """A classifier's logits for images of a shape; ``learns``: and their gradient."""

    def on(device: str) -> Callable[[], Any]:
        model, given = _model(make, device), _noise(batch, shape, device)
        model.train(learns)

        def run() -> None:
            with lowered(device, precision):
                logits = model(given)
            if learns:
                logits.float().square().mean().backward()

        return run

    return Microbenchmark(f"{key}/{shape}/{precision}/{batch}/{learns}", batch, on, learns)


def reconstruction(key: str, make: Make, shape: tuple[int, ...], batch: int) -> Microbenchmark:
    """An autoencoder's images from images of a shape, and the gradient."""

    def on(device: str) -> Callable[[], Any]:
        model, given = _model(make, device), _noise(batch, shape, device)
        return lambda: model.decode(model.encode(given).latent_dist.mean).sample.square().mean().backward()

    return Microbenchmark(f"{key}/reconstructing/{shape}/{batch}", batch, on, True)


def weight_bytes(make: Make, copies: int = 1) -> Bytes:
    """The bytes of a network's numbers in float32, none of which are made, so many times over; and how that is computed."""
    with torch.device("meta"):
        model = make()
    count = sum(each.numel() for each in model.state_dict().values())
    times = f" × {copies}: the network's, and while it is trained a checkpoint's with averages and moments" if copies > 1 else ""
    return Bytes(4.0 * count * copies, f"{count:,} numbers × 4 bytes{times}")


def _model(make: Make, device: str, dtype: str = "float32") -> Any:
    with torch.device(device):
        # As a module: a model of diffusers would warn of what its own conversion leaves out.
        return nn.Module.to(make(), getattr(torch, dtype)).eval()


def _noise(batch: int, shape: tuple[int, ...], device: str, dtype: str = "float32") -> Tensor:
    return torch.randn(batch, *shape, device=device, dtype=getattr(torch, dtype))
