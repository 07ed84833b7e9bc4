"""Quantize: codes and masses of each class's latents."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, seed_of
from distill.recipe import Recipe
from distill.stages.codebooks import quantized
from distill.stages.draw import Draw, draws
from distill.stages.select import SelectStage
from distill.stages.space import SpaceStage
from distill.stages.validate_images import ValidateImagesStage


class QuantizeStage(SelectStage):
    r"""Codes and masses that minimize $W_2$ to a class's points, ``points`` (K, d) and ``weights`` (K,), float64; how many.

    Lloyd and CLVQ see the points whole, all draws as one batch of problems; streaming CLVQ sees them shard by shard, in an
    order drawn again at every pass, and the masses are those of a last pass.
    """

    kind = "quantize"
    reads = ("latents",)
    version = 5  # since fewer distinct images than codes are fewer codes

    def __init__(self, recipe: Recipe, data: Images, validated: ValidateImagesStage, latents: SpaceStage) -> None:
        super().__init__(recipe, data, validated, latents)
        self.device = recipe.compute.device

    def options(self) -> Mapping[str, Any]:
        usual = {"init"} if self.recipe.select.init == "k-means++" else None  # as it was before there was another
        return {**super().options(), **self.recipe.select.model_dump(exclude=usual), "k": self.recipe.select.budgets}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        options, todo = self.recipe.select, draws(self.recipe, "quantize")
        sizes = [self.size(read, part, draw) for draw in todo]
        seeds = [seed_of("quantize", part, draw.name) for draw in todo]
        index = self.data.index_of(part)
        shards = [partial(self.space.shard_points, read, shard) for shard in self.space.shards(index)]
        if not options.streaming:
            shards = [lambda: self.space.points(read, index)]
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
