"""Distances: how far each class's weighted codes, and the images made of them, are from its images, by exact transport."""

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
from distill.stages.encode import EncodeStage
from distill.stages.feature_space import FeatureSpaceStage
from distill.stages.select import RealStage, SelectStage
from distill.stages.space import SpaceStage
from distill.stages.validate_images import ValidateImagesStage

PIXELS = "pixels"
_OWN_CELLS = ("quantize", "nearest", "nearest-balanced")  # masses that are those of the points' own Voronoi cells


class DistancesStage(Stage):
    r"""``<class>.json``, for each draw of a method: ``w2_squared``, ``distortion``, and ``images``.

    $W_2^2$ between the class's points and its weighted codes, in the space where these were selected; $D_2$ of the codes. Where
    the weights are the masses of their own cells also ``uniform_squared``, which theory says is no less. ``images``: $W_2^2$
    between the class's images and the weighted images of the set, in each of the recipe's ``distances``: ``latent`` (encoded
    again), ``features``, ``pixels`` (from 0 to 1).

    images: None where codes are learned from as they are, which are measured in their own space alone. spaces: of the images.
    """

    name = "distances"
    version = 2  # since images are measured in several spaces

    def __init__(
        self,
        recipe: Recipe,
        data: Images,
        method: str,
        validated: ValidateImagesStage,
        select: SelectStage,
        images: Stage | None,
        spaces: Mapping[str, SpaceStage | None],
    ) -> None:
        self.recipe, self.data, self.method, self.validated = recipe, data, method, validated
        self.select, self.images, self.space, self.spaces = select, images, select.space, dict(spaces)
        known = [stage for stage in (validated, self.space, select, images, *spaces.values()) if stage is not None]
        self.parents = tuple(dict.fromkeys(known))

    @property
    def title(self) -> str:
        return f"distances {self.method}"

    def options(self) -> Mapping[str, Any]:
        return {"weights": METHODS[self.method].weights, "spaces": list(self.spaces)}

    def parts(self) -> list[str]:
        return self.data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        index, chosen = self.data.index_of(part), read.tensors(self.select, part)
        made = read.tensors(self.images, part) if self.images is not None else {}
        law = qz.DiscreteMeasure(self.space.points(read, index))
        laws = {name: law if stage is self.space else self._law(read, index, stage) for name, stage in self.spaces.items()}
        todo = draws(self.recipe, METHODS[self.method].select)
        found: dict[str, Any] = {}
        for i, draw in enumerate(todo):
            found[draw.name] = self._codes(draw, chosen, law)
            found[draw.name]["images"] = {
                name: self._images(read, draw, chosen, made, name, each, found[draw.name]["w2_squared"] if each is law else None)
                for name, each in laws.items()
            }
            progress((i + 1) / len(todo))
        return {f"{part}.json": found}

    def _law(self, read: Reader, index: int, stage: SpaceStage | None) -> qz.DiscreteMeasure:
        """The images of a class in a space; of pixels where it has no stage."""
        if stage is not None:
            return qz.DiscreteMeasure(stage.points(read, index))
        return qz.DiscreteMeasure(_pixels(self.data.train.read(self.validated.readable(read, "train", index))))

    def _codes(self, draw: Draw, chosen: Mapping[str, Any], law: qz.DiscreteMeasure) -> dict[str, Any]:
        masses = draw.of(chosen, "weights").numpy()
        weights = moded(masses, METHODS[self.method].weights)
        points = law.points[draw.of(chosen, "indices").numpy()] if self._real else draw.of(chosen, "points").numpy()
        values = {"w2_squared": w2_squared(law, points, weights), "distortion": qz.distortion(law, points, rng=0).value}
        if METHODS[self.method].weights == "mass" and METHODS[self.method].select in _OWN_CELLS:
            values["uniform_squared"] = w2_squared(law, points, moded(masses, "uniform"))
        return values

    def _images(
        self,
        read: Reader,
        draw: Draw,
        chosen: Mapping[str, Any],
        made: Mapping[str, Any],
        name: str,
        law: qz.DiscreteMeasure,
        codes: float | None,
    ) -> float:
        """The distance of a set's images in one space. codes: that of its codes, where they are of that space."""
        weights = moded(draw.of(chosen, "weights").numpy(), METHODS[self.method].weights)
        if METHODS[self.method].decode == "real" or self.images is None:
            # Real images are points of every space, and decoding does not move them; codes without images are their own.
            return codes if codes is not None else w2_squared(law, law.points[draw.of(chosen, "indices").numpy()], weights)
        stage = self.spaces[name]
        if isinstance(stage, EncodeStage):
            points = draw.of(made, "latents").numpy()
        elif isinstance(stage, FeatureSpaceStage):
            points = stage.of_images(read, draw.of(made, "images"))
        else:
            points = _pixels(draw.of(made, "images").numpy())
        return w2_squared(law, points, weights)

    @property
    def _real(self) -> bool:
        return isinstance(self.select, RealStage)


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Images (n, C, H, W) as points of float64, pixels from 0 to 1."""
    return images.reshape(len(images), -1) / 255.0


def w2_squared(law: qz.DiscreteMeasure, points: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Exact; of a law and its own points with equal weights, 0 without solving for it."""
    if points.shape == law.points.shape and np.array_equal(points, law.points) and np.array_equal(weights, law.weights):
        return 0.0
    return qz.wasserstein(law, qz.DiscreteMeasure(points, weights)) ** 2
