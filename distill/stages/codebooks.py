"""Codebooks of a class's points, held whole or read shard by shard, under a recipe's section ``select``."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from distill.pipeline.stage import Progress
from distill.recipe.codes import Select


def quantized(
    shards: Sequence[Callable[[], NDArray[np.float64]]],
    sizes: Sequence[int],
    seeds: Sequence[int],
    options: Select,
    device: str,
    progress: Progress = lambda done: None,
    *,
    starts: Sequence[NDArray[np.float64]] | None = None,
) -> list[qz.DiscreteMeasure]:
    """A measure per size and seed for the points (n, d) of a class, which its shards read: one of them, where it is not streamed.

    starts: codes to begin with instead of those of k-means++.
    """
    begin = list(starts or [None] * len(sizes))
    if options.streaming:
        return _streamed(shards, sizes, seeds, begin, options, progress)
    (points,) = (read() for read in shards)
    if options.init == "balanced" and starts is None:
        found = balanced(points, sizes, seeds, options, lambda done: progress(done / 2))
        distinct = len(np.unique(points, axis=0))  # equal masses may take more codes than that
        begin = [each.points if len(each.points) <= distinct else None for each in found]
        options = options.model_copy(update={"n_init": 1})
        return _whole(points, sizes, seeds, begin, options, device, lambda done: progress((1 + done) / 2))
    return _whole(points, sizes, seeds, begin, options, device, progress)


def _whole(
    points: NDArray[np.float64],
    sizes: Sequence[int],
    seeds: Sequence[int],
    starts: Sequence[Any],
    options: Select,
    device: str,
    progress: Progress,
) -> list[qz.DiscreteMeasure]:
    import torch

    there = points if device == "cpu" else torch.from_numpy(points).float().to(device)
    law, solver = qz.DiscreteMeasure(there), qz.CLVQ(batch=options.batch) if options.solver == "clvq" else qz.Lloyd()
    limits: dict[str, Any] = {"n_init": options.n_init, "max_iter": options.max_iter}
    if device != "cpu":  # all draws are batched
        found = _fewer([law] * len(sizes), list(sizes), solver=solver, rng=list(seeds), init=list(starts), **limits)
    else:
        found = []
        for i, (size, seed, start) in enumerate(zip(sizes, seeds, starts, strict=True)):
            found += _fewer([law], size, solver=solver, rng=[seed], init=start, **limits)
            progress((i + 1) / len(sizes))
    codes = [solution.measure if device == "cpu" else _on_host(solution.measure) for solution in found]
    if not options.medoids:
        return codes
    whole, distinct = qz.DiscreteMeasure(points), points[np.sort(np.unique(points, axis=0, return_index=True)[1])]
    return [whole.project(distinct[np.sort(nearest_distinct(distinct, measure.points))]) for measure in codes]


def balanced(
    points: NDArray[np.float64], sizes: Sequence[int], seeds: Sequence[int], options: Select, progress: Progress
) -> list[qz.Solution]:
    """The best codes of equal masses for the points (n, d) of a class, one per size and seed, with the plans that show it."""
    law, found = qz.DiscreteMeasure(points), list[qz.Solution]()
    limits: dict[str, Any] = {"n_init": options.n_init, "max_iter": options.max_iter}
    for i, (size, seed) in enumerate(zip(sizes, seeds, strict=True)):
        found += _fewer([law], size, masses="uniform", rng=[seed], **limits)
        progress((i + 1) / len(sizes))
    return found


def _fewer(laws: list[qz.DiscreteMeasure], k: Any, **options: Any) -> list[qz.Solution]:
    """The codes of laws, as many as these have distinct points where they have fewer; the manifest says so, and no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "law .* has .* distinct points, fewer than k")
        return qz.quantize_many(laws, k, on_error="fewer", **options)


def _streamed(
    shards: Sequence[Callable[[], NDArray[np.float64]]],
    sizes: Sequence[int],
    seeds: Sequence[int],
    starts: Sequence[Any],
    options: Select,
    progress: Progress,
) -> list[qz.DiscreteMeasure]:
    measures: list[qz.DiscreteMeasure] = []
    limits: dict[str, Any] = {"n_init": options.n_init, "max_iter": options.max_iter}
    distinct = len({point.tobytes() for read in shards for point in read() + 0.0})  # −0.0 is 0.0
    for i, (size, seed, start) in enumerate(zip(np.minimum(sizes, distinct).tolist(), seeds, starts, strict=True)):
        stream = qz.Stream(_Passes(shards, options.batch, seed))
        codes = qz.quantize(stream, size, solver=qz.CLVQ(batch=options.batch), rng=seed, init=start, **limits).measure.points
        masses, count = np.zeros(len(codes)), 0
        for read in shards:
            points = read()
            if len(points):
                masses += len(points) * qz.DiscreteMeasure(points).project(codes).weights
                count += len(points)
        measures.append(qz.DiscreteMeasure(codes, masses / masses.sum()))
        progress((i + 1) / len(sizes))
    return measures


class _Passes:
    """Passes over the shards of a class, the shards and the points of each in an order of the pass's own."""

    def __init__(self, shards: Sequence[Callable[[], NDArray[np.float64]]], batch: int, seed: int) -> None:
        self._shards, self._batch, self._seed = shards, batch, seed
        self._begun = 0

    def __call__(self) -> Iterator[Any]:
        rng = np.random.default_rng([self._seed, self._begun])
        self._begun += 1
        for shard in rng.permutation(len(self._shards)):
            points = self._shards[shard]()
            points = points[rng.permutation(len(points))]
            yield from (points[start : start + self._batch] for start in range(0, len(points), self._batch))


def _on_host(measure: qz.DiscreteMeasure) -> qz.DiscreteMeasure:
    return qz.DiscreteMeasure(measure.points.double().cpu().numpy(), measure.weights_float64.cpu().numpy())


def nearest_distinct(latents: Any, codes: Any) -> Any:
    """For each code in turn the nearest latent not taken yet: (n, d), (K, d) → (K,) distinct indices."""
    centre = latents.mean(0)
    x, y = latents - centre, codes - centre
    lengths, own = np.square(x).sum(1), np.square(y).sum(1)
    about = lengths + own[:, None] - 2 * y @ x.T
    # The products round each distance by at most this; whoever may be nearest is then measured as it is.
    doubt = 4 * (x.shape[1] + 2) * np.finfo(float).eps * (lengths.max() + own)
    indices = np.empty(len(codes), dtype=np.int64)
    for k, code in enumerate(codes):
        near = np.flatnonzero(about[k] <= about[k].min() + 2 * doubt[k])
        indices[k] = near[np.square(latents[near] - code).sum(1).argmin()]
        about[:, indices[k]] = np.inf
    return indices
