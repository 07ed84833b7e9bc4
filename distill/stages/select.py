"""Select: what stands for each class: codes with their masses, or real images."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe
from distill.stages.draw import Draw, draws, size_of
from distill.stages.space import SpaceStage
from distill.stages.validate_images import ValidateImagesStage


class SelectStage(Stage):
    """What the ways to select share: a part per class, with all its draws; budgets that no class exceeds its images by.

    Codes are ``points`` (K, d) of the space with ``weights`` (K,). reads: what they are chosen by, ``latents`` (the points of all
    images, in their order) or the ``codes`` of another way to select, whose kind ``codes_kind`` names; nothing for neither.
    weights: the mode in which a method of this kind's own name weights them.
    """

    name = "select"
    kind: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    codes_kind: ClassVar[str] = "quantize"
    weights: ClassVar[str] = "mass"
    decode: ClassVar[str] = "diffusion"

    def __init__(
        self, recipe: Recipe, data: Images, validated: ValidateImagesStage, space: SpaceStage, codes: "SelectStage | None" = None
    ) -> None:
        self.recipe, self.data, self.validated, self.space = recipe, data, validated, space
        self._codes = codes
        known = {"latents": space, "codes": codes}
        self.parents = (validated, *(stage for what, stage in known.items() if stage and what in self.reads))

    @property
    def codes(self) -> "SelectStage":
        """The stage whose codes are read."""
        assert self._codes is not None, f"select {self.kind} reads no codes"
        return self._codes

    @property
    def title(self) -> str:
        return f"select {self.kind}"

    def options(self) -> Mapping[str, Any]:
        select = self.recipe.select
        budgets = {"k": select.budgets, "seeds": self.recipe.seeds, **({"shares": select.shares} if select.shares else {})}
        return {"select": self.kind, "data": self.data.fingerprint, **budgets}

    def parts(self) -> list[str]:
        return self.data.part_names

    def size(self, read: Reader, part: str, draw: Draw) -> int:
        """The images that a draw takes of a class."""
        index = self.data.index_of(part)
        count = len(self.validated.readable(read, "train", index))
        return count if draw.k is None else size_of(self.recipe, self.data.classes[index], count, draw.k)

    def count(self) -> int:
        """The images of all draws and classes, if all can be read."""
        data, todo = self.data, draws(self.recipe, self.kind)
        sizes = [(name, len(data.train.of_class(index))) for index, name in enumerate(data.classes)]
        return sum(n if draw.k is None else size_of(self.recipe, name, n, draw.k) for draw in todo for name, n in sizes)

    def summary(self, read: Reader) -> Mapping[str, Any]:
        """The classes of fewer images, or fewer distinct ones, than the largest budget asks for, with how many they have."""
        largest_budget = max(self.recipe.select.budgets)
        largest = Draw(largest_budget, self.recipe.seeds[0])
        capped: dict[str, int] = {}
        for part in self.parts():
            index = self.data.index_of(part)
            name = self.data.classes[index]
            found = self.found(read, part, largest)
            if found < round(largest_budget * self.recipe.select.shares.get(name, 1.0)):
                capped[name] = found
        return {"capped": capped} if capped else {}

    def found(self, read: Reader, part: str, draw: Draw) -> int:
        """The images that a draw of a finished part has."""
        return self.size(read, part, draw)


class RealStage(SelectStage):
    """Real images of a class: a draw's ``indices`` (K,) among the class's readable training images, with ``weights`` (K,)."""

    weights = "uniform"
    decode = "real"

    @abstractmethod
    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        """The images of one draw."""

    def masses(self, part: str, draw: Draw, read: Reader, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """What they stand for, (K,) of sum 1: each for as much, unless a way to select says otherwise."""
        return np.full(len(indices), 1 / len(indices))

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        tensors: dict[str, Any] = {}
        todo = draws(self.recipe, self.kind)
        for i, draw in enumerate(todo):
            indices = self.indices(part, draw, read)
            weights = self.masses(part, draw, read, indices)
            tensors |= draw.tensors(indices=torch.from_numpy(indices), weights=torch.from_numpy(weights))
            progress((i + 1) / len(todo))
        return {f"{part}.safetensors": tensors}

    def found(self, read: Reader, part: str, draw: Draw) -> int:
        """As many as codes, or cells, that they are chosen by."""
        return len(draw.of(read.tensors(self, part), "indices"))
