"""Where a class's images are points among which distances mean something: what quantizing, selecting and measuring read."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.pipeline.stage import Reader, Stage
from distill.recipe import Recipe
from distill.stages.validate_images import ValidateImagesStage

SHARD = 2000


class SpaceStage(Stage):
    """Each class's readable images as points (n, d), in their order, in shards of at most 2,000 images.

    split: whose images they are. entries: d.
    """

    recipe: Recipe
    data: Images
    validated: ValidateImagesStage
    split: str = "train"
    entries: int

    @abstractmethod
    def shard_points(self, read: Reader, shard: str) -> NDArray[np.float64]:
        """The points (n, d) of a shard."""

    def shards(self, index: int) -> list[str]:
        """The shards of a class."""
        name, images = self.data.part_name(index), len(self.data.split(self.split).of_class(index))
        return [f"{name}-{shard}" for shard in range(-(-images // SHARD))]

    def all_shards(self) -> list[str]:
        """The shards of all classes."""
        return [shard for index in range(len(self.data.classes)) for shard in self.shards(index)]

    def points(self, read: Reader, index: int) -> NDArray[np.float64]:
        """All points of a class, in the order of its readable images."""
        return np.concatenate([self.shard_points(read, shard) for shard in self.shards(index)])

    def positions(self, read: Reader, shard: str) -> NDArray[np.int64]:
        """Positions, in the split, of a shard's images."""
        index, number = self.data.index_of(shard), int(shard.split("-")[-1])
        of_class = self.data.split(self.split).of_class(index)[number * SHARD : (number + 1) * SHARD]
        return of_class[np.isin(of_class, self.validated.readable(read, self.split, index))]


def flat(latents: Any) -> Any:
    """Latents (n, c, h, w), or features (n, d), as points of float64 on the host."""
    return latents.reshape(len(latents), -1).double().numpy()
