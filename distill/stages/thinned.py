"""Real images by kernel thinning, a coreset that aims at another distance than Wasserstein's: by goodpoints."""

from importlib import import_module
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


class ThinnedStage(RealStage):
    r"""K of a class by kernel thinning of its points (dwivedi2021), each standing for as much.

    It aims at the maximum mean discrepancy under $\exp(-|x - y|^2 / 2 h^2)$, h the median distance of two points. As it
    halves, it begins with $2^m K$ of the images at random, m as large as can be.
    """

    kind = "thinned"
    reads = ("latents",)

    def __init__(self, *stages: Any) -> None:
        super().__init__(*stages)
        if find_spec("goodpoints") is None:
            raise RecipeError('the method "thinned" is kernel thinning by goodpoints, which is missing: pip install goodpoints')

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        points, size = self.space.points(read, self.data.index_of(part)), self.size(read, part, draw)
        seed = seed_of(self.kind, part, draw.name)
        rng, halvings = np.random.default_rng(seed), (len(points) // size).bit_length() - 1
        pool = np.sort(rng.choice(len(points), size << halvings, replace=False))
        bandwidth = float(np.median(pdist(points[rng.permutation(pool)[:_FOR_THE_BANDWIDTH]]))) or 1.0
        kernel = np.exp(-cdist(points[pool], points[pool], "sqeuclidean") / (2 * bandwidth**2))
        if not halvings:
            return pool
        return np.sort(pool[import_module("goodpoints.kt").thin_K(kernel, kernel.copy(), halvings, seed=seed % 2**32)])
