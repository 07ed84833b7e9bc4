"""Real images by kernel thinning, a coreset that aims at another distance than Wasserstein's: by goodpoints."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from distill.pipeline.stage import Reader, seed_of
from distill.recipe import RecipeError
from distill.stages.draw import Draw
from distill.stages.select import RealStage

_FOR_THE_BANDWIDTH = 1000  # images of which distances are taken
_MOST = 2**13  # images that are thinned: their kernel is half a gigabyte


class ThinnedStage(RealStage):
    r"""K of a class by kernel thinning of its points (dwivedi2021), each standing for as much.

    It aims at the maximum mean discrepancy under $\exp(-|x - y|^2 / 2 h^2)$, h the median distance of two points. As it
    halves, it begins with $2^m K$ of the images at random, m as large as can be, of at most 8,192.
    """

    kind = "thinned"
    reads = ("latents",)

    def __init__(self, *stages: Any) -> None:
        super().__init__(*stages)
        if find_spec("goodpoints") is None:
            raise RecipeError('the method "thinned" is kernel thinning by goodpoints, which is missing: pip install goodpoints')

    def options(self) -> Mapping[str, Any]:
        return {**super().options(), "goodpoints": version("goodpoints")}

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        points, size = self.space.points(read, self.data.index_of(part)), self.size(read, part, draw)
        seed = seed_of(self.kind, part, draw.name)
        rng, halvings = np.random.default_rng(seed), (min(len(points), max(size, _MOST)) // size).bit_length() - 1
        pool = np.sort(rng.choice(len(points), size << halvings, replace=False))
        if not halvings:
            return pool
        bandwidth = float(np.median(pdist(points[rng.permutation(pool)[:_FOR_THE_BANDWIDTH]]))) or 1.0
        kernel = np.exp(-cdist(points[pool], points[pool], "sqeuclidean") / (2 * bandwidth**2))
        return np.sort(pool[import_module("goodpoints.kt").thin_K(kernel, kernel.copy(), halvings, seed=seed % 2**32)])
