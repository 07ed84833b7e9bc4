"""Many problems on one GPU: time, share of memory bandwidth, exactness, and others' times beside it.

    python -m benchmarks.gpu_quantize_many [--classes 1000 --points 1300 --dim 4096 --k 50 --steps 20] [--out FOLDER] [--tiles]

Written for an H200, on which 1000 × 1300 × 4096 in float32 (21.3 GB) should take at most 3 s with k-means++ and 20 Lloyd steps,
and a step at least half of the memory's bandwidth. With --device cpu and small numbers it runs anywhere, to test itself.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import quantization as qz
from quantization.assignment.padding_groups import Group, grouped
from quantization.precision import full_precision
from quantization.solvers import lloyd
from quantization.solvers.lloyd_gpu import engine_for

ROUNDS = 3


def main(arguments: list[str] | None = None) -> int:
    """Run everything; returns 1 if an answer is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_quantize_many", description=__doc__.split("\n\n")[0])
    for name, usual in (("classes", 1000), ("points", 1300), ("dim", 4096), ("k", 50), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiles", action="store_true", help="also time other shapes of the kernels' tiles")
    parser.add_argument("--profile", action="store_true", help="also write where the time goes, by kernel and by function")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="a folder for the numbers as JSON (default: runs/gpu)")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here; --device cpu with small numbers tests the script itself", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    lloyd.BATCHED_DEVICES = {options.device}
    report: dict[str, Any] = {"machine": machine(options.device), "work": {k: str(v) for k, v in vars(options).items()}}
    show("machine", report["machine"])
    report["exactness"] = exactness(options.device)
    show("largest differences from each problem alone on the CPU", report["exactness"])
    data = classes(options)
    ceiling = copy_rate(options.device)
    report["copy"] = {"GB/s": ceiling}
    report["whole"] = whole(data, options)
    show("quantize_many, whole", report["whole"])
    report["passes"] = passes(data, options, ceiling)
    show("one pass over all points", report["passes"])
    if options.tiles and options.device == "cuda":
        print("\nmilliseconds by tile, for each hundred problems")
        report["tiles"] = tiles(data, options)
    report["others"] = {"flash-kmeans": attempt(flash, data, options), "faiss": attempt(faiss_loop, data, options)}
    show("others, the same steps from random points", report["others"])
    if options.profile:
        (options.out / "gpu_quantize_many.profile.txt").write_text(profiled(data, options))
    (options.out / "gpu_quantize_many.json").write_text(json.dumps(report, indent=1))
    return 0 if report["exactness"]["right"] else 1


def machine(device: str) -> dict[str, str]:
    """Hardware and versions."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    seen = {"device": name, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    for package in ("triton", "flash-kmeans", "faiss-cpu", "faiss-gpu-cu12"):
        try:
            seen[package] = version(package)
        except PackageNotFoundError:
            seen[package] = "not installed"
    return seen


def show(title: str, rows: dict[str, Any]) -> None:
    """A small table on the terminal."""
    print(f"\n{title}")
    for name, value in rows.items():
        text = (
            ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else value
        )
        print(f"  {name:<28} {text}", flush=True)


def exactness(device: str) -> dict[str, Any]:
    """Small ragged problems on the device and, one by one, on the CPU: largest differences of what must agree.

    Codes may differ by a rounding of float32 where a float64 sum falls between two numbers, and distortions by what that does.
    """
    rng = np.random.default_rng(0)
    sizes, d, k = [400, 431, 380, 90, 700], 300, 12
    centres = [rng.normal(size=(20, d)) for _ in sizes]
    host = [
        torch.from_numpy(3 + c[rng.integers(0, 20, n)] + rng.normal(size=(n, d))).float()
        for c, n in zip(centres, sizes, strict=True)
    ]
    seeds = list(range(len(host)))
    there = qz.quantize_many([x.to(device) for x in host], k, rng=seeds, n_init=3, max_iter=40)
    again = qz.quantize_many([x.to(device) for x in host], k, rng=seeds, n_init=3, max_iter=40)
    here = [qz.quantize(x, k, rng=s, n_init=3, max_iter=40) for x, s in zip(host, seeds, strict=True)]
    labels = [
        int((a.measure.assign(x.to(device)).cpu() != b.measure.assign(x)).sum())
        for a, b, x in zip(there, here, host, strict=True)
    ]
    worst = {
        "distortion": max(abs(a.distortion / b.distortion - 1) for a, b in zip(there, here, strict=True)),
        "codes": max(float((a.measure.points.cpu() - b.measure.points).abs().max()) for a, b in zip(there, here, strict=True)),
        "labels": sum(labels),
        "steps": max(abs(a.n_iter - b.n_iter) for a, b in zip(there, here, strict=True)),
        "repeatable": all(torch.equal(a.measure.points, b.measure.points) for a, b in zip(there, again, strict=True)),
    }
    return {**worst, "right": worst["repeatable"] and worst["distortion"] < 1e-6 and worst["labels"] == 0}


def classes(options: argparse.Namespace) -> list[torch.Tensor]:
    """The data: per class some clusters in noise, in float32."""
    data: list[torch.Tensor] = []
    for seed in range(options.classes):
        rng = torch.Generator(options.device).manual_seed(seed)
        centres = torch.randn(2 * options.k, options.dim, generator=rng, device=options.device)
        which = torch.randint(0, len(centres), (options.points,), generator=rng, device=options.device)
        noise = torch.randn(options.points, options.dim, generator=rng, device=options.device)
        data.append(noise.add_(centres[which], alpha=0.5))
    return data


def seconds(work: Callable[[], object], device: str) -> float:
    """The wall time of ``work``, the device's included."""
    if device == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def copy_rate(device: str, entries: int = 2**30) -> float:
    """Gigabytes a second, read and written, of a copy on the device."""
    x = torch.ones(entries if device == "cuda" else 2**24, device=device)
    y = torch.empty_like(x)
    y.copy_(x)
    return 2 * x.numel() * 4e-9 / median(seconds(lambda: y.copy_(x), device) for _ in range(7))


def whole(data: list[torch.Tensor], options: argparse.Namespace) -> dict[str, Any]:
    """k-means++ and Lloyd steps, from the tensors to the solutions."""
    solver = qz.Lloyd(rtol=0)

    def run(steps: int) -> list[qz.Solution]:
        return qz.quantize_many(data, options.k, solver=solver, max_iter=steps, rng=0)

    qz.quantize_many(data[:2], options.k, solver=solver, max_iter=1, rng=0)  # compiles
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    start = median(seconds(lambda: run(0), options.device) for _ in range(ROUNDS))
    full = median(seconds(lambda: run(options.steps), options.device) for _ in range(ROUNDS))
    found: dict[str, Any] = {"seconds": full, "of them start and ends": start, "seconds a step": (full - start) / options.steps}
    if options.device == "cuda":
        found["peak above the data, GB"] = (torch.cuda.max_memory_allocated() - held) * 1e-9
    return found


def passes(data: list[torch.Tensor], options: argparse.Namespace, ceiling: float) -> dict[str, dict[str, float]]:
    """Each pass of a step, and one of k-means++, over all groups: time, and the points' bytes over it."""
    measures = [qz.DiscreteMeasure(x) for x in data]
    members = grouped(measures, [options.k] * len(data))
    engines = [engine_for(Group.of([measures[i] for i in m], [options.k] * len(m))) for m in members]
    codes = [torch.stack([x[: options.k] for x in e.group.points]) for e in engines]
    trials = 2 + int(np.log(options.k))
    candidates = [torch.arange(trials, device=options.device).expand(e.group.size, -1).contiguous() for e in engines]
    size = sum(x.numel() * x.element_size() for x in data) * 1e-9
    found: dict[str, dict[str, float]] = {}
    with full_precision(options.device):
        labels = [e.assign(c) for e, c in zip(engines, codes, strict=True)]
        decided = [e.cells(c, a).means for e, c, a in zip(engines, codes, labels, strict=True)]
        works = {
            "assign, first step": lambda: [e.assign(c) for e, c in zip(engines, codes, strict=True)],
            "assign, second step": lambda: [e.assign(c) for e, c in zip(engines, decided, strict=True)],
            "cells": lambda: [e.cells(c, a) for e, c, a in zip(engines, codes, labels, strict=True)],
            "distances of k-means++": lambda: [e.distances(c) for e, c in zip(engines, candidates, strict=True)],
        }
        for name, work in works.items():
            work()
            took = median(seconds(work, options.device) for _ in range(2 * ROUNDS + 1))
            found[name] = {"ms": 1e3 * took, "GB/s": size / took, "of copy": size / took / ceiling}
            if name.startswith("assign"):
                found[name]["points decided in float64"] = sum(e.decided for e in engines) / sum(map(len, data))
    step = found["assign, second step"]["ms"] + found["cells"]["ms"]
    found["a step: assign and cells"] = {"ms": step, "GB/s": 2e3 * size / step, "of copy": 2e3 * size / step / ceiling}
    return found


def tiles(data: list[torch.Tensor], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One pass of each kernel with other tiles, in milliseconds for each hundred problems; those in use come first."""
    from quantization.assignment.triton_blocks import Fused, Tile

    some = data[:200]
    measures = [qz.DiscreteMeasure(x) for x in some]
    engine = engine_for(Group.of(measures, [options.k] * len(some)))
    codes = engine.cells(start := torch.stack([x[: options.k] for x in some]), engine.assign(start)).means
    labels = engine.assign(codes)
    candidates = torch.arange(2 + int(np.log(options.k)), device=options.device).expand(len(some), -1).contiguous()
    passes: dict[str, Callable[[], object]] = {
        "scores": lambda: engine.assign(codes),
        "sums": lambda: engine.cells(codes, labels),
        "pairs": lambda: engine.distances(candidates),
    }
    tried = {  # points, width, warps, stages
        "scores": [
            (64, 32, 4, 3),
            (64, 32, 4, 4),
            (64, 64, 4, 3),
            (128, 32, 4, 3),
            (128, 64, 8, 3),
            (128, 32, 8, 3),
            (128, 32, 8, 4),
        ],
        "sums": [(4, 256, 2, 3), (4, 256, 2, 5), (2, 512, 2, 4), (4, 512, 4, 4), (2, 256, 1, 4), (4, 256, 1, 4), (8, 256, 2, 4)],
        "pairs": [(4, 32, 1, 3), (2, 64, 1, 3), (4, 64, 1, 3), (2, 128, 2, 3), (4, 32, 2, 3)],
    }
    found: dict[str, dict[str, float]] = {}
    with full_precision(options.device):
        for name, work in passes.items():
            usual = getattr(Fused, name)
            others = [Tile(points, width, usual.codes, warps, stages) for points, width, warps, stages in tried[name]]
            for tile in [usual, *others]:
                setattr(Fused, name, tile)
                row = f"{name} {tile.points} × {tile.width}, {tile.warps} warps, {tile.stages} stages"
                found[row] = attempt(_milliseconds, work, options.device, 100 / len(some))
                print(f"  {row:<40} {found[row].get('ms', found[row])}", flush=True)
            setattr(Fused, name, usual)
    return found


def _milliseconds(work: Callable[[], object], device: str, share: float) -> dict[str, float]:
    work()
    return {"ms": 1e3 * share * median(seconds(work, device) for _ in range(5))}


def profiled(data: list[torch.Tensor], options: argparse.Namespace) -> str:
    """Where the time of one call goes: on the device by kernel, on the host by function."""
    from cProfile import Profile
    from io import StringIO
    from pstats import Stats

    from torch.profiler import ProfilerActivity, profile

    def run() -> None:
        qz.quantize_many(data, options.k, solver=qz.Lloyd(rtol=0), max_iter=options.steps, rng=0)
        if options.device == "cuda":
            torch.cuda.synchronize()

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as device:
        run()
    host, text = Profile(), StringIO()
    host.runcall(run)
    Stats(host, stream=text).sort_stats("tottime").print_stats(40)
    order = "self_cuda_time_total" if options.device == "cuda" else "self_cpu_time_total"
    return device.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=60) + text.getvalue()


def attempt(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What ``work`` found, or why it could not."""
    try:
        return work(*arguments)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def flash(data: list[torch.Tensor], options: argparse.Namespace) -> dict[str, Any]:
    """flash-kmeans (Triton; its products in its own precision), all classes as one batch from random points."""
    from flash_kmeans import batch_kmeans_Euclid  # pyright: ignore[reportMissingImports]

    some = data[: min(len(data), 200)]  # a batch is one tensor: a copy of the data
    batch = torch.stack(some)
    begin = batch[:, : options.k].clone()

    def run() -> object:
        return batch_kmeans_Euclid(batch, options.k, max_iters=options.steps, tol=-1.0, init_centroids=begin)

    run()
    took = median(seconds(run, options.device) for _ in range(ROUNDS)) * len(data) / len(some)
    return {"seconds": took, "measured on classes": len(some)}


def faiss_loop(data: list[torch.Tensor], options: argparse.Namespace) -> dict[str, Any]:
    """faiss.Kmeans in a loop over classes, from random points, on its GPU where it has one; data from the host."""
    import faiss  # pyright: ignore[reportMissingImports]

    gpu = options.device == "cuda" and hasattr(faiss, "StandardGpuResources")
    some = [x.cpu().numpy() for x in data[: min(len(data), 20)]]

    def run() -> None:
        for x in some:
            faiss.Kmeans(x.shape[1], options.k, niter=options.steps, gpu=gpu, max_points_per_centroid=len(x)).train(x)

    return {"seconds": seconds(run, options.device) * len(data) / len(some), "measured on classes": len(some), "gpu": gpu}


if __name__ == "__main__":
    sys.exit(main())
