"""Rehearsals: made for the networks of this project, their operations and memory counted, timed on a device; what they weigh."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from distill.models.batches import ran_out
from distill.models.memory import FusedAttention, Living, lowered
from distill.models.numerics import as_workers
from distill.pipeline.work import Rehearsal
from quantization.threads import parallel_map

ADAMW = 2  # numbers that this optimizer keeps for each that it trains: the mean of its gradients and of their squares
TRAINED = 5  # times a network's weight that its training needs on disk: its own, and a checkpoint of four
_RUNS, _SECONDS = 20, 0.5  # runs of a rehearsal at most, and the seconds after which no more begin

Make = Callable[[], Any]


@dataclass(frozen=True)
class Measured:
    """Of one image, or whatever a batch is of. operations: floating-point ones of a network, None where it is none. seconds: on
    the device, None where memory ran out. memory: peak of a batch on a GPU, in bytes, with the weights and without an
    optimizer's state; None on a CPU.
    """

    operations: float | None
    seconds: float | None = None
    memory: int | None = None


@cache
def counted(rehearsal: Rehearsal) -> Measured:
    """The operations, counted on tensors without content: no weights are loaded, nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.set_grad_enabled(rehearsal.learns):
        run = rehearsal.on("meta")
        mended: Any = {torch.ops.aten.convolution_backward: _backward_of_convolution}
        with FlopCounterMode(display=False, custom_mapping=mended) as counter:
            run()
    return Measured(counter.get_total_flops() / rehearsal.batch)


def peak(rehearsal: Rehearsal) -> int | None:
    """The peak of a batch on a GPU in bytes, counted; None of what is no network, or does what can't be counted."""
    try:
        return _counted_peak(rehearsal) if rehearsal.network else None
    except Exception:  # a network of others' may do anything, and a plan is still to be had
        return None


@cache
def _counted_peak(rehearsal: Rehearsal) -> int:
    """The peak of a batch on a GPU in bytes, counted as the operations are: of weights, gradients and activations.

    Without the workspaces of kernels. Of what learns the second batch is counted, which finds the first one's gradients there.
    """
    with torch.set_grad_enabled(rehearsal.learns), Living() as living, FusedAttention():
        run = rehearsal.on("meta")
        living.peak = living.now  # a model may be made in another precision than it is used in
        for _ in range(1 + rehearsal.learns):
            run()
    return living.peak


@cache
def timed(rehearsal: Rehearsal, device: str) -> Measured:
    """The same with the median time on a device that is at hand, in one thread as workers compute, after a run to warm it up."""
    operations, on_gpu = counted(rehearsal).operations if rehearsal.network else None, device == "cuda"
    try:
        with as_workers(on_gpu), torch.set_grad_enabled(rehearsal.learns):
            run = rehearsal.on(device)
            if not rehearsal.network:  # which computes with threads of its own
                run = partial(parallel_map, lambda _, do=run: do(), 1)
            if on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            seconds = [_time(run, on_gpu)]
            began = time.perf_counter()
            while len(seconds) <= _RUNS and time.perf_counter() - began < _SECONDS and (on_gpu or seconds[0] < 10 * _SECONDS):
                seconds.append(_time(run, on_gpu))
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return Measured(operations)
    memory = torch.cuda.max_memory_allocated() if on_gpu else None
    return Measured(operations, median(seconds[1:] or seconds) / rehearsal.batch, memory)


def coding(key: str, make: Make, half: str, shape: tuple[int, ...], batch: int, dtype: str = "float32") -> Rehearsal:
    """The ``encoder`` of an autoencoder on images of a shape, or its ``decoder`` on latents."""

    def on(device: str) -> Callable[[], Any]:
        model, given = _model(make, device, dtype), _noise(batch, shape, device, dtype)
        return lambda: (model.encode if half == "encoder" else model.decode)(given)

    return Rehearsal(f"{key}/{half}/{shape}/{batch}/{dtype}", batch, on)


def prediction(
    key: str, make: Make, shape: tuple[int, ...], batch: int, dtype: str = "float32", *, text: int = 0, learns: bool = False
) -> Rehearsal:
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

    return Rehearsal(f"{key}/prediction/{shape}/{text}/{batch}/{dtype}/{learns}", batch, on, learns)


def answering(
    key: str, make: Make, shape: tuple[int, ...], batch: int, precision: str = "float32", *, learns: bool = False
) -> Rehearsal:
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

    return Rehearsal(f"{key}/{shape}/{precision}/{batch}/{learns}", batch, on, learns)


def reconstructing(key: str, make: Make, shape: tuple[int, ...], batch: int) -> Rehearsal:
    """An autoencoder's images from images of a shape, and the gradient."""

    def on(device: str) -> Callable[[], Any]:
        model, given = _model(make, device), _noise(batch, shape, device)
        return lambda: model.decode(model.encode(given).latent_dist.mean).sample.square().mean().backward()

    return Rehearsal(f"{key}/reconstructing/{shape}/{batch}", batch, on, True)


def from_config(kind: str, config: dict[str, Any]) -> Make:
    """A model of diffusers with random weights, of a configuration."""
    return lambda: getattr(import_module("diffusers"), kind).from_config(config)


def weight(make: Make, copies: int = 1) -> tuple[float, str]:
    """The bytes of a network's numbers in float32, none of which are made, so many times over; and how that is reckoned."""
    with torch.device("meta"):
        model = make()
    count = sum(each.numel() for each in model.state_dict().values())
    times = f" × {copies}: the network's, and while it is trained a checkpoint's with averages and moments" if copies > 1 else ""
    return float(4 * count * copies), f"{count:,} numbers × 4 bytes{times}"


def _backward_of_convolution(gradient: Any, given: Any, weight: Any, *others: Any, **rest: Any) -> int:
    """The operations of a convolution's gradients, each as many as its own; torch counts groups as if all channels met."""
    from torch.utils.flop_counter import conv_flop_count

    transposed, wanted = others[4], others[7]
    return conv_flop_count(given, weight, gradient, transposed=transposed) * sum(wanted[:2])


def _model(make: Make, device: str, dtype: str = "float32") -> Any:
    with torch.device(device):
        # As a module: a model of diffusers would warn of what its own conversion leaves out.
        return nn.Module.to(make(), getattr(torch, dtype)).eval()


def _noise(batch: int, shape: tuple[int, ...], device: str, dtype: str = "float32") -> Tensor:
    return torch.randn(batch, *shape, device=device, dtype=getattr(torch, dtype))


def _time(run: Callable[[], Any], on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began
