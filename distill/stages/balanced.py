"""Quantize with equal masses: the best K codes of which each stands for as many images."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, seed_of
from distill.recipe import Recipe, RecipeError
from distill.stages.codebooks import balanced
from distill.stages.draw import Draw, draws
from distill.stages.select import SelectStage
from distill.stages.space import SpaceStage
from distill.stages.validate_images import ValidateImagesStage


class BalancedStage(SelectStage):
    r"""$\min_x W_2^2(\mu, \frac1K \sum_k \delta_{x_k})$: ``points`` (K, d) and ``weights`` 1/K, float64.

    Beside them the optimal plan between images and codes: ``plan_rows`` (images), ``plan_codes``, ``plan_masses``; at most K − 1
    images are split between codes.
    """

    kind = "balanced"
    reads = ("latents",)
    weights = "uniform"

    def __init__(self, recipe: Recipe, data: Images, validated: ValidateImagesStage, space: SpaceStage) -> None:
        super().__init__(recipe, data, validated, space)
        for key in ("streaming", "medoids"):
            if getattr(recipe.select, key):
                raise RecipeError(
                    f"methods with codes of equal masses see all points of a class at once and move codes freely: leave "
                    f"select.{key}, or those methods, out"
                )

    def options(self) -> Mapping[str, Any]:
        select = self.recipe.select
        return {**super().options(), "max_iter": select.max_iter, "n_init": select.n_init}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        todo, points = draws(self.recipe, self.kind), self.space.points(read, self.data.index_of(part))
        sizes = [self.size(read, part, draw) for draw in todo]
        seeds = [seed_of("quantize", part, draw.name) for draw in todo]
        tensors: dict[str, Any] = {}
        for draw, solution in zip(todo, balanced(points, sizes, seeds, self.recipe.select, progress), strict=True):
            plan = dict(zip(("plan_rows", "plan_codes", "plan_masses"), solution.sparse_plan or (), strict=True))
            found = {"points": solution.points, "weights": solution.measure.weights_float64, **plan}
            tensors |= draw.tensors(**{key: torch.from_numpy(value) for key, value in found.items()})
        codes = {draw.name: len(draw.of(tensors, "points")) for draw in todo}
        return {f"{part}.safetensors": tensors, f"{part}.json": codes}

    def found(self, read: Reader, part: str, draw: Draw) -> int:
        """The codes: fewer than images where some of these are the same."""
        return read.values(self, part)[draw.name]
