"""Microbenchmarks are measured: their operations and memory counted, their time taken on a device."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from statistics import median
from typing import Any

import torch

from distill.costs.microbenchmark import Microbenchmark
from distill.costs.peak_memory import FusedAttention, LiveTensorTracker
from distill.models.batches import ran_out
from distill.models.numerics import as_workers
from quantization.threads import parallel_map

_RUNS, _SECONDS = 20, 0.2  # runs of a microbenchmark at most, and the seconds after which no more begin
_LONG = 5.0  # seconds of a first run after which none follows, though it may have compiled something


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
def counted(microbenchmark: Microbenchmark) -> Measured:
    """The operations, counted on tensors without content: no weights are loaded, nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.set_grad_enabled(microbenchmark.learns):
        run = microbenchmark.on("meta")
        mended: Any = {torch.ops.aten.convolution_backward: _backward_of_convolution}
        with FlopCounterMode(display=False, custom_mapping=mended) as counter:
            run()
    return Measured(counter.get_total_flops() / microbenchmark.batch)


def peak(microbenchmark: Microbenchmark) -> int | None:
    """The peak of a batch on a GPU in bytes, counted; None of what is no network, or does what can't be counted."""
    try:
        return _counted_peak(microbenchmark) if microbenchmark.network else None
    except Exception:  # a network of others' may do anything, and a plan is still to be had
        return None


@cache
def _counted_peak(microbenchmark: Microbenchmark) -> int:
    """The peak of a batch on a GPU in bytes, counted as the operations are: of weights, gradients and activations.

    Without the workspaces of kernels. Of what learns the second batch is counted, which finds the first one's gradients there.
    """
    with torch.set_grad_enabled(microbenchmark.learns), LiveTensorTracker() as tracker, FusedAttention():
        run = microbenchmark.on("meta")
        tracker.peak = tracker.now  # a model may be made in another precision than it is used in
        for _ in range(1 + microbenchmark.learns):
            run()
    return tracker.peak


@cache
def timed(microbenchmark: Microbenchmark, device: str) -> Measured:
    """The same with the median time on a device that is at hand, in one thread as workers compute, after a run to warm it up."""
    operations, on_gpu = counted(microbenchmark).operations if microbenchmark.network else None, device == "cuda"
    try:
        with as_workers(on_gpu), torch.set_grad_enabled(microbenchmark.learns):
            run = microbenchmark.on(device)
            if not microbenchmark.network:  # which computes with threads of its own
                run = partial(parallel_map, lambda _, do=run: do(), 1)
            if on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            seconds = [_time(run, on_gpu)]
            began = time.perf_counter()
            while len(seconds) <= _RUNS and time.perf_counter() - began < _SECONDS and (on_gpu or seconds[0] < _LONG):
                seconds.append(_time(run, on_gpu))
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return Measured(operations)
    memory = torch.cuda.max_memory_allocated() if on_gpu else None
    return Measured(operations, median(seconds[1:] or seconds) / microbenchmark.batch, memory)


def _backward_of_convolution(gradient: Any, given: Any, weight: Any, *others: Any, **rest: Any) -> int:
    """The operations of a convolution's gradients, each as many as its own; torch counts groups as if all channels met."""
    from torch.utils.flop_counter import conv_flop_count

    transposed, wanted = others[4], others[7]
    return conv_flop_count(given, weight, gradient, transposed=transposed) * sum(wanted[:2])


def _time(run: Callable[[], Any], on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began
