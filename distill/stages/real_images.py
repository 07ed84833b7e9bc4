"""The real images that were selected, read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe
from distill.stages.select import RealStage
from distill.stages.validate_images import ValidateImagesStage


class RealImagesStage(Stage):
    """The selected real images, with their weights: nothing is decoded, so nothing moves."""

    name = "decode"

    def __init__(self, recipe: Recipe, data: Images, validated: ValidateImagesStage, select: RealStage) -> None:
        self.recipe, self.data, self.validated, self.select = recipe, data, validated, select
        self.parents = (validated, select)

    @property
    def kind(self) -> str:
        """What the images are, for titles."""
        return self.select.kind

    @property
    def title(self) -> str:
        return f"images {self.kind}"

    def options(self) -> Mapping[str, Any]:
        return {"decode": "real"}

    def parts(self) -> list[str]:
        return self.data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        selected = read.tensors(self.select, part)
        of_class = self.validated.readable(read, "train", self.data.index_of(part))
        chosen = {name.removesuffix(".indices"): rows.numpy() for name, rows in selected.items() if name.endswith(".indices")}
        # Draws share images: each is read once.
        all_rows, places = np.unique(np.concatenate(list(chosen.values())), return_inverse=True)
        pixels, start, tensors = torch.from_numpy(self.data.train.read(of_class[all_rows])), 0, dict[str, Any]()
        for draw, rows in chosen.items():
            tensors[f"{draw}.images"] = pixels[places[start : (start := start + len(rows))]]
            tensors[f"{draw}.weights"] = selected[f"{draw}.weights"]
        return {f"{part}.safetensors": tensors}
