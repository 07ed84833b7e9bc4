"""Distances: how far each class's weighted codes are from its images, in latent space, by exact transport."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from distill.images import Images
from distill.methods import METHODS
from distill.methods.weights import moded
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe
from distill.stages.draw import Draw, draws
from distill.stages.encode import EncodeStage, LatentStage
from distill.stages.select import SelectStage


class DistancesStage(Stage):
    r"""``<class>.json``, for each draw of a method: ``w2_squared``, ``decoded_squared`` and ``distortion``.

    $W_2^2$ between the class's latents and its weighted codes, in the space where these were quantized; $W_2^2$ between the
    latents and the decoded images encoded again; $D_2$ of the codes. Where the weights are the cells' masses also
    ``uniform_squared``, which theory says is no less.
    """

    name = "distances"

    def __init__(
        self,
        recipe: Recipe,
        data: Images,
        method: str,
        encode: EncodeStage,
        space: LatentStage,
        select: SelectStage,
        images: Stage,
    ) -> None:
        self.recipe, self.data, self.method = recipe, data, method
        self.encode, self.space, self.select, self.images = encode, space, select, images
        self.parents = tuple(dict.fromkeys((encode, space, select, images)))

    @property
    def title(self) -> str:
        return f"distances {self.method}"

    def options(self) -> Mapping[str, Any]:
        return {"weights": METHODS[self.method].weights}

    def parts(self) -> list[str]:
        return self.data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        index = self.data.index_of(part)
        law = qz.DiscreteMeasure(self.space.points(read, index))
        clean = law if self.space is self.encode else qz.DiscreteMeasure(self.encode.points(read, index))
        chosen = read.tensors(self.select, part)
        todo = draws(self.recipe, METHODS[self.method].select)
        found: dict[str, Any] = {}
        for i, draw in enumerate(todo):
            found[draw.name] = self._of(read, part, draw, chosen, law, clean)
            progress((i + 1) / len(todo))
        return {f"{part}.json": found}

    def _of(
        self, read: Reader, part: str, draw: Draw, chosen: Mapping[str, Any], law: qz.DiscreteMeasure, clean: qz.DiscreteMeasure
    ) -> dict[str, float]:
        method = METHODS[self.method]
        masses = draw.of(chosen, "weights").numpy()
        weights = moded(masses, method.weights)
        if method.decode == "real":  # real images are their own codes, and decoding does not move them
            indices = draw.of(chosen, "indices").numpy()
            points = law.points[indices]
            square = w2_squared(law, points, weights)
            moved = square if clean is law else w2_squared(clean, clean.points[indices], weights)
        else:
            points = draw.of(chosen, "points").numpy()
            square = w2_squared(law, points, weights)
            moved = w2_squared(clean, draw.of(read.tensors(self.images, part), "latents").numpy(), weights)
        values = {"w2_squared": square, "decoded_squared": moved, "distortion": qz.distortion(law, points, rng=0).value}
        if method.weights == "mass":
            values["uniform_squared"] = w2_squared(law, points, moded(masses, "uniform"))
        return values


def w2_squared(law: qz.DiscreteMeasure, points: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Exact; of a law and its own points with equal weights, 0 without solving for it."""
    if points.shape == law.points.shape and np.array_equal(points, law.points) and np.array_equal(weights, law.weights):
        return 0.0
    return qz.wasserstein(law, qz.DiscreteMeasure(points, weights)) ** 2
