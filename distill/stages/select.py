"""Select: what stands for each class, in latent space: optimal codes with their cell masses, or real images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import quantization as qz
from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.draw import Draw, draws
from distill.stages.encode import EncodeStage


class QuantizeStage(Stage):
    r"""Codes and masses that minimize $W_2$ to a class's latents: ``points`` (K, c·h·w) and ``weights`` (K,), float64."""

    name = "select"

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
    """Real images of a class, at random, nearest the codes, or all: ``points``, equal ``weights``, ``indices`` in the class."""

    name = "select"

    def __init__(self, recipe: Recipe, data: Images, encode: EncodeStage, kind: str, codes: QuantizeStage | None) -> None:
        self._recipe, self._data, self._encode, self.kind, self._codes = recipe, data, encode, kind, codes
        self.parents = (encode, codes) if codes is not None else (encode,)

    @property
    def title(self) -> str:
        return f"select {self.kind}"

    def options(self) -> Mapping[str, Any]:
        budgets = {} if self.kind == "all" else {"k": self._recipe.select.budgets, "seeds": self._recipe.seeds}
        return {"select": self.kind, **budgets}

    def parts(self) -> list[str]:
        return self._data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        latents = flat(self._encode.latents(read, self._data.index_of(part)))
        codes = read.tensors(self._codes, part) if self._codes is not None else {}
        tensors: dict[str, Any] = {}
        for draw in draws(self._recipe, self.kind):
            indices = self._indices(latents, draw, codes, seed_of(self.kind, part, draw.name))
            weights = np.full(len(indices), 1 / len(indices))
            tensors |= draw.tensors(
                points=torch.from_numpy(latents[indices]), weights=torch.from_numpy(weights), indices=torch.from_numpy(indices)
            )
        return {f"{part}.safetensors": tensors}

    def _indices(self, latents: Any, draw: Draw, codes: Mapping[str, Any], seed: int) -> Any:
        if self.kind == "all":
            return np.arange(len(latents))
        assert draw.k is not None
        if draw.k > len(latents):
            raise ValueError(f"select.k = {draw.k} asks for more images than the {len(latents)} of a class; lower it")
        if self.kind == "random":
            return np.sort(np.random.default_rng(seed).choice(len(latents), draw.k, replace=False))
        return nearest_distinct(latents, draw.of(codes, "points").numpy())


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
