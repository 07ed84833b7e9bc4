"""Select: what stands for each class, in latent space: optimal codes with their cell masses, or real images."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.draw import Draw, draws
from distill.stages.encode import EncodeStage


class QuantizeStage(Stage):
    r"""Codes and masses that minimize $W_2$ to a class's latents: ``points`` (K, c·h·w) and ``weights`` (K,), float64."""

    name = "select"
    version = 2  # since CLVQ averages the points that codes win

    def __init__(self, recipe: Recipe, data: Images, encode: EncodeStage) -> None:
        self._recipe, self._data, self._encode = recipe, data, encode
        self.parents = (encode,)

    @property
    def title(self) -> str:
        return "select quantize"

    def options(self) -> Mapping[str, Any]:
        return {
            "select": "quantize",
            **self._recipe.select.model_dump(),
            "k": self._recipe.select.budgets,
            "seeds": self._recipe.seeds,
        }

    def parts(self) -> list[str]:
        return self._data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        options = self._recipe.select
        law = qz.DiscreteMeasure(flat(self._encode.latents(read, self._data.index_of(part))))
        solver = qz.CLVQ(batch=options.batch) if options.solver == "clvq" else qz.Lloyd()
        tensors: dict[str, Any] = {}
        todo = draws(self._recipe, "quantize")
        for i, draw in enumerate(todo):
            assert draw.k is not None
            seed = seed_of("quantize", part, draw.name)
            try:
                codes = qz.quantize(
                    law, draw.k, solver=solver, restarts=options.restarts, seed=seed, max_steps=options.steps
                ).measure
            except ValueError as error:
                raise ValueError(f"select.k = {draw.k} does not suit class {part}: {error}") from None
            tensors |= draw.tensors(points=torch.from_numpy(codes.points), weights=torch.from_numpy(codes.weights))
            progress((i + 1) / len(todo))
        return {f"{part}.safetensors": tensors}


class RealStage(Stage):
    """Real images of a class: a draw's ``indices`` (K,) among the class's training images, and equal ``weights``."""

    name = "select"
    kind: ClassVar[str]

    def __init__(self, recipe: Recipe, data: Images) -> None:
        self._recipe, self._data = recipe, data

    @property
    def title(self) -> str:
        return f"select {self.kind}"

    def options(self) -> Mapping[str, Any]:
        budgets = {"k": self._recipe.select.budgets, "seeds": self._recipe.seeds}
        return {"select": self.kind, "data": self._data.fingerprint, **budgets}

    def parts(self) -> list[str]:
        return self._data.part_names

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

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        return np.arange(len(self._data.train.of_class(self._data.index_of(part))))


class RandomStage(RealStage):
    """K of a class at random, without replacement."""

    kind = "random"

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        count = len(self._data.train.of_class(self._data.index_of(part)))
        return np.sort(np.random.default_rng(seed_of("random", part, draw.name)).choice(count, draw.k, replace=False))


class ClosestStage(RealStage):
    """For each code the real image whose latent is nearest, every image once."""

    kind = "closest"

    def __init__(self, recipe: Recipe, data: Images, encode: EncodeStage, codes: QuantizeStage) -> None:
        super().__init__(recipe, data)
        self._encode, self._codes = encode, codes
        self.parents = (encode, codes)

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        latents = flat(self._encode.latents(read, self._data.index_of(part)))
        return nearest_distinct(latents, draw.of(read.tensors(self._codes, part), "points").numpy())


def nearest_distinct(latents: Any, codes: Any) -> Any:
    """For each code in turn the nearest latent not taken yet: (n, d), (K, d) → (K,) distinct indices."""
    taken = np.zeros(len(latents), dtype=bool)
    indices = np.empty(len(codes), dtype=np.int64)
    for k, code in enumerate(codes):
        indices[k] = np.where(taken, np.inf, np.square(latents - code).sum(1)).argmin()
        taken[indices[k]] = True
    return indices


def flat(latents: Any) -> Any:
    """Latents (n, c, h, w) as points (n, c·h·w) of float64 on the host."""
    return latents.reshape(len(latents), -1).double().numpy()
