"""Select: what stands for each class, in latent space: optimal codes with their cell masses, or real images."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.pipeline.work import Rehearsal, Work
from distill.recipe import Recipe
from distill.recipe.codes import Select
from distill.stages.draw import Draw, draws, size_of
from distill.stages.encode import LatentStage
from distill.stages.random_class import RandomClass
from distill.stages.survey import SurveyStage

_FEW = 100  # steps of a rehearsal whose steps are short


class SelectStage(Stage):
    """What the ways to select share: a part a class, with all its draws; budgets that no class exceeds its images by."""

    name = "select"
    kind: ClassVar[str]

    def __init__(self, recipe: Recipe, data: Images, survey: SurveyStage) -> None:
        self._recipe, self._data, self._survey = recipe, data, survey
        self.parents = (survey,)

    @property
    def title(self) -> str:
        return f"select {self.kind}"

    def options(self) -> Mapping[str, Any]:
        select = self._recipe.select
        budgets = {"k": select.budgets, "seeds": self._recipe.seeds, **({"shares": select.shares} if select.shares else {})}
        return {"select": self.kind, "data": self._data.fingerprint, **budgets}

    def parts(self) -> list[str]:
        return self._data.part_names

    def size(self, read: Reader, part: str, draw: Draw) -> int:
        """The images that a draw takes of a class."""
        index = self._data.index_of(part)
        count = len(self._survey.readable(read, "train", index))
        return count if draw.k is None else size_of(self._recipe, self._data.classes[index], count, draw.k)

    def count(self) -> int:
        """The images of all draws and classes, if all can be read."""
        data, todo = self._data, draws(self._recipe, self.kind)
        sizes = [(name, len(data.train.of_class(index))) for index, name in enumerate(data.classes)]
        return sum(n if draw.k is None else size_of(self._recipe, name, n, draw.k) for draw in todo for name, n in sizes)

    def summary(self, read: Reader) -> Mapping[str, Any]:
        """The classes of fewer images, or fewer distinct ones, than the largest budget asks for, with how many they have."""
        largest_budget = max(self._recipe.select.budgets)
        largest = Draw(largest_budget, self._recipe.seeds[0])
        capped: dict[str, int] = {}
        for part in self.parts():
            index = self._data.index_of(part)
            name = self._data.classes[index]
            found = self.found(read, part, largest)
            if found < round(largest_budget * self._recipe.select.shares.get(name, 1.0)):
                capped[name] = found
        return {"capped": capped} if capped else {}

    def found(self, read: Reader, part: str, draw: Draw) -> int:
        """The images that a draw of a finished part has."""
        return self.size(read, part, draw)


class QuantizeStage(SelectStage):
    r"""Codes and masses that minimize $W_2$ to a class's latents, ``points`` (K, c·h·w) and ``weights`` (K,), float64; how many.

    Lloyd and CLVQ see the latents whole, all draws as one batch of problems; streaming CLVQ sees them shard by shard, in an
    order drawn again at every pass, and the masses are those of a last pass.
    """

    kind = "quantize"
    version = 5  # since fewer distinct images than codes are fewer codes

    def __init__(self, recipe: Recipe, data: Images, survey: SurveyStage, latents: LatentStage) -> None:
        super().__init__(recipe, data, survey)
        self._latents = latents
        self.parents = (survey, latents)
        self.device = recipe.compute.device

    def options(self) -> Mapping[str, Any]:
        return {**super().options(), **self._recipe.select.model_dump(), "k": self._recipe.select.budgets}

    def weight(self) -> tuple[float, str]:
        codes, entries = self.count(), self._latents.entries
        return 8.0 * codes * (entries + 1), f"{codes:,} codes × {entries + 1:,} numbers × 8 bytes"

    def work(self) -> list[Work]:
        options, classes = self._recipe.select, len(self._data.classes)
        todo = draws(self._recipe, "quantize")
        # Draws of other seeds take as long again; a GPU solves all of them in step.
        some = todo if self.device != "cpu" and not options.streaming else [draw for draw in todo if draw.seed == todo[0].seed]
        law = RandomClass(-(-len(self._data.train) // classes), self._latents.entries)
        sizes = [min(draw.k or law.n, law.held) for draw in some]
        ground = f"{law.ground}{', not read from a disk' if options.streaming else ''}"
        solves, what = classes * len(todo) / len(some), f"{classes * len(todo) // len(some):,} × {len(some)} codebooks"
        more = options.steps - 1
        # Lloyd's algorithm may come to rest after a step or two on noise; CLVQ takes all it is given.
        few = min(more, _FEW if options.solver == "clvq" else 1)

        def rehearsal(steps: int, *, begun: bool) -> Rehearsal:
            asked = options.model_copy(update={"steps": steps, "medoids": options.medoids and not begun})

            def on(device: str) -> Callable[[], Any]:
                points = law.points()
                starts = [points[:size] for size in sizes] if begun else None
                return lambda: quantized([lambda: points], sizes, range(len(sizes)), asked, device, starts=starts)

            return Rehearsal(f"quantize/{law}/{sizes}/{asked}/{begun}", steps, on, network=False)

        begin = Work(solves * law.times, f"{what} begun{ground}", rehearsal(1, begun=False))
        if not more:
            return [begin]
        return [
            begin,
            Work(solves * more * law.times, f"{what} × {more:,} more steps at most{ground}", rehearsal(few, begun=True)),
        ]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        options, todo = self._recipe.select, draws(self._recipe, "quantize")
        sizes = [self.size(read, part, draw) for draw in todo]
        seeds = [seed_of("quantize", part, draw.name) for draw in todo]
        index = self._data.index_of(part)
        shards = [partial(self._shard, read, shard) for shard in self._latents.shards(index)]
        if not options.streaming:
            shards = [lambda: flat(self._latents.latents(read, index))]
        try:
            measures = quantized(shards, sizes, seeds, options, self.device, progress)
        except ValueError as error:
            raise ValueError(f"select.k = {options.k} does not suit class {part}: {error}") from None
        tensors: dict[str, Any] = {}
        for draw, measure in zip(todo, measures, strict=True):
            tensors |= draw.tensors(points=torch.from_numpy(measure.points), weights=torch.from_numpy(measure.weights))
        sizes = {draw.name: len(measure.points) for draw, measure in zip(todo, measures, strict=True)}
        return {f"{part}.safetensors": tensors, f"{part}.json": sizes}

    def found(self, read: Reader, part: str, draw: Draw) -> int:
        """The codes: fewer than images where some of these are the same."""
        return read.values(self, part)[draw.name]

    def _shard(self, read: Reader, shard: str) -> NDArray[np.float64]:
        return flat(read.tensors(self._latents, shard)["latents"])


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
    """A measure a size and seed for the points (n, d) of a class, which its shards read: one of them, where it is not streamed.

    starts: codes to begin with instead of those of k-means++.
    """
    begin = list(starts or [None] * len(sizes))
    if options.streaming:
        return _streamed(shards, sizes, seeds, begin, options, progress)
    (points,) = (read() for read in shards)
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
    limits: dict[str, Any] = {"n_init": options.restarts, "max_iter": options.steps}
    if device != "cpu":  # all draws in step
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
    limits: dict[str, Any] = {"n_init": options.restarts, "max_iter": options.steps}
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


class RealStage(SelectStage):
    """Real images of a class: a draw's ``indices`` (K,) among the class's readable training images, and equal ``weights``."""

    @abstractmethod
    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        """The images of one draw."""

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        tensors: dict[str, Any] = {}
        for draw in draws(self._recipe, self.kind):
            indices = self.indices(part, draw, read)
            weights = np.full(len(indices), 1 / len(indices))
            tensors |= draw.tensors(indices=torch.from_numpy(indices), weights=torch.from_numpy(weights))
        return {f"{part}.safetensors": tensors}


class AllStage(RealStage):
    """All of a class."""

    kind = "all"

    def options(self) -> Mapping[str, Any]:
        return {"select": self.kind, "data": self._data.fingerprint}

    def summary(self, read: Reader) -> Mapping[str, Any]:
        return {}

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        return np.arange(self.size(read, part, draw))


class RandomStage(RealStage):
    """K of a class at random, without replacement."""

    kind = "random"

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        count, size = self.size(read, part, Draw(None, 0)), self.size(read, part, draw)
        return np.sort(np.random.default_rng(seed_of("random", part, draw.name)).choice(count, size, replace=False))


class ClosestStage(RealStage):
    """For each code the real image whose latent is nearest, every image once."""

    kind = "closest"

    def __init__(self, recipe: Recipe, data: Images, survey: SurveyStage, latents: LatentStage, codes: QuantizeStage) -> None:
        super().__init__(recipe, data, survey)
        self._latents, self._codes = latents, codes
        self.parents = (survey, latents, codes)

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        latents = flat(self._latents.latents(read, self._data.index_of(part)))
        return nearest_distinct(latents, draw.of(read.tensors(self._codes, part), "points").numpy())


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


def flat(latents: Any) -> Any:
    """Latents (n, c, h, w) as points (n, c·h·w) of float64 on the host."""
    return latents.reshape(len(latents), -1).double().numpy()
