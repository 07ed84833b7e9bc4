"""Where decoding starts for what is no code among latents: features, and real images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import Recipe
from distill.stages.balanced import BalancedStage
from distill.stages.codebooks import nearest_distinct
from distill.stages.draw import Draw, draws
from distill.stages.encode import LatentStage
from distill.stages.select import RealStage, SelectStage
from distill.stages.validate_images import ValidateImagesStage
from quantization.assignment import nearest

Members = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class StartLatentsStage(SelectStage):
    """``points`` (K, c·h·w) with the ``weights`` (K,) of what was selected.

    Of a code in the space of features the mean of its members' latents, or the latent of the image nearest to it, as
    ``decode.latent`` says; of a real image its own latent.
    """

    name = "start"
    version = 2  # since members of codes of equal masses are those of their plan

    def __init__(
        self, recipe: Recipe, data: Images, validated: ValidateImagesStage, latents: LatentStage, selected: SelectStage
    ) -> None:
        super().__init__(recipe, data, validated, latents)
        self.latents, self.selected, self.kind = latents, selected, selected.kind  # type: ignore[misc]
        self.parents = (validated, latents, selected, *([] if self._real else [selected.space]))

    @property
    def _real(self) -> bool:
        return isinstance(self.selected, RealStage)

    @property
    def title(self) -> str:
        return f"latents {self.kind}"

    def options(self) -> Mapping[str, Any]:
        return {} if self._real else {"latent": self.recipe.decode.latent}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        index, selected = self.data.index_of(part), read.tensors(self.selected, part)
        latents = self.latents.points(read, index)
        points = None if self._real else self.selected.space.points(read, index)
        tensors: dict[str, Any] = {}
        for draw in draws(self.recipe, self.kind):
            if points is None:
                begun = latents[draw.of(selected, "indices").numpy()]
            else:
                begun = self._of_codes(
                    points, latents, draw.of(selected, "points").numpy(), self._members(points, selected, draw)
                )
            tensors |= draw.tensors(points=torch.from_numpy(begun), weights=draw.of(selected, "weights"))
        return {f"{part}.safetensors": tensors}

    def summary(self, read: Reader) -> Mapping[str, Any]:
        return {}

    def found(self, read: Reader, part: str, draw: Draw) -> int:
        return self.selected.found(read, part, draw)

    def _members(self, points: NDArray[np.float64], selected: Mapping[str, Any], draw: Draw) -> Members:
        """Which images are of which code, and with how much of them: its cell, or what its optimal plan says."""
        if isinstance(self.selected, BalancedStage):
            rows, cells, masses = (draw.of(selected, f"plan_{name}").numpy() for name in ("rows", "codes", "masses"))
            return rows, cells, masses * len(points)
        cells = np.asarray(nearest(points, draw.of(selected, "points").numpy()).labels)
        return np.arange(len(points)), cells, np.ones(len(points))

    def _of_codes(
        self, points: NDArray[np.float64], latents: NDArray[np.float64], codes: NDArray[np.float64], members: Members
    ) -> NDArray[np.float64]:
        if self.recipe.decode.latent == "nearest":
            return latents[nearest_distinct(points, codes)]
        rows, cells, masses = members
        sums = np.zeros((len(codes), latents.shape[1]))
        np.add.at(sums, cells, masses[:, None] * latents[rows])
        totals = np.bincount(cells, masses, minlength=len(codes))
        empty = totals == 0  # as of a code that others are nearer to for every image
        sums[empty], totals[empty] = latents[nearest_distinct(points, codes)[empty]], 1
        return sums / totals[:, None]
