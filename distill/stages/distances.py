"""Distances: how far each class's weighted codes are from its images, in latent space, by exact transport."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quantization as qz
from distill.images import Images
from distill.methods import METHODS
from distill.methods.weights import moded
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.pipeline.work import Rehearsal, Work
from distill.recipe import Recipe
from distill.stages.draw import Draw, draws
from distill.stages.encode import EncodeStage, LatentStage
from distill.stages.random_class import RandomClass
from distill.stages.select import SelectStage, flat


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
        self._recipe, self._data, self.method = recipe, data, method
        self._encode, self._space, self._select, self._images = encode, space, select, images
        self.parents = tuple(dict.fromkeys((encode, space, select, images)))

    @property
    def title(self) -> str:
        return f"distances {self.method}"

    def options(self) -> Mapping[str, Any]:
        return {"weights": METHODS[self.method].weights}

    def parts(self) -> list[str]:
        return self._data.part_names

    def work(self) -> list[Work]:
        method, classes = METHODS[self.method], len(self._data.classes)
        law = RandomClass(-(-len(self._data.train) // classes), self._space.entries)
        moves = method.decode != "real" or self._space is not self._encode
        plans = 1 + moves + (method.weights == "mass")
        found: list[Work] = []
        for k in dict.fromkeys(draw.k for draw in draws(self._recipe, method.select) if draw.k is not None):
            count = classes * sum(draw.k == k for draw in draws(self._recipe, method.select))

            def on(device: str, k: int = min(k, law.held)) -> Callable[[], Any]:
                points, rng = law.points(), np.random.default_rng(1)
                images, codes, weights = qz.DiscreteMeasure(points), rng.standard_normal((k, law.d)), rng.dirichlet(np.ones(k))
                return lambda: (qz.distortion(images, codes, rng=0), [_w2_squared(images, codes, weights) for _ in range(plans)])

            rehearsal = Rehearsal(f"transport/{law}/{k}/{plans}", 1, on, network=False)
            squared = ", as if time grew with their square" if law.ground else ""  # from 5,200 to 10,400 it tripled
            what = f"{count:,} codebooks of {k} × {plans} exact transports{law.ground}{squared}"
            found.append(Work(count * law.times**2, what, rehearsal))
        return found

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        index = self._data.index_of(part)
        law = qz.DiscreteMeasure(flat(self._space.latents(read, index)))
        clean = law if self._space is self._encode else qz.DiscreteMeasure(flat(self._encode.latents(read, index)))
        chosen = read.tensors(self._select, part)
        todo = draws(self._recipe, METHODS[self.method].select)
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
            square = _w2_squared(law, points, weights)
            moved = square if clean is law else _w2_squared(clean, clean.points[indices], weights)
        else:
            points = draw.of(chosen, "points").numpy()
            square = _w2_squared(law, points, weights)
            moved = _w2_squared(clean, draw.of(read.tensors(self._images, part), "latents").numpy(), weights)
        values = {"w2_squared": square, "decoded_squared": moved, "distortion": qz.distortion(law, points, rng=0).value}
        if method.weights == "mass":
            values["uniform_squared"] = _w2_squared(law, points, moded(masses, "uniform"))
        return values


def _w2_squared(law: qz.DiscreteMeasure, points: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Exact; of a law and its own points with equal weights, 0 without solving for it."""
    if points.shape == law.points.shape and np.array_equal(points, law.points) and np.array_equal(weights, law.weights):
        return 0.0
    return qz.wasserstein(law, qz.DiscreteMeasure(points, weights)) ** 2
