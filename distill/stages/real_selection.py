"""Real images for each class: all, some at random, those nearest the codes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.pipeline.stage import Reader, seed_of
from distill.stages.codebooks import nearest_distinct
from distill.stages.draw import Draw
from distill.stages.select import RealStage


class AllStage(RealStage):
    """All of a class."""

    kind = "all"

    def options(self) -> Mapping[str, Any]:
        return {"select": self.kind, "data": self.data.fingerprint}

    def summary(self, read: Reader) -> Mapping[str, Any]:
        return {}

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        return np.arange(self.size(read, part, draw))


class RandomStage(RealStage):
    """K of a class at random, without replacement."""

    kind = "random"

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        count, size = self.size(read, part, Draw(None, 0)), self.size(read, part, draw)
        return np.sort(np.random.default_rng(seed_of("random", part, draw.name)).choice(count, size, replace=False))


class NearestStage(RealStage):
    """For each code the real image whose latent is nearest, every image once."""

    kind = "nearest"
    reads = ("latents", "codes")

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        latents = self.space.points(read, self.data.index_of(part))
        return nearest_distinct(latents, draw.of(read.tensors(self.codes, part), "points").numpy())
