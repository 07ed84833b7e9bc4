"""Encode: the training images of each class as latents, in shards."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe
from distill.stages.codec import Codec, CodecStage

_SHARD = 2000


class EncodeStage(Stage):
    """z = E(x), the posterior mean, standardized: tensor ``latents`` (n, c, h, w), in the order of the class's images."""

    name = "encode"

    def __init__(self, recipe: Recipe, data: Images, codec: CodecStage) -> None:
        self._recipe, self._data, self._codec = recipe, data, codec
        self.parents = (codec,)

    def options(self) -> Mapping[str, Any]:
        return {"shard": _SHARD}

    def parts(self) -> list[str]:
        return [part for index in range(len(self._data.classes)) for part in self._shards(index)]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        data = self._data
        index, shard = self._data.index_of(part), int(part.split("-")[-1])
        chosen = data.train.of_class(index)[shard * _SHARD : (shard + 1) * _SHARD]
        return {f"{part}.safetensors": {"latents": Codec(self._codec, read).encode(torch.from_numpy(data.train.images[chosen]))}}

    def latents(self, read: Reader, index: int) -> Any:
        """All latents of a class, (n, c, h, w)."""
        import torch

        return torch.cat([read.tensors(self, part)["latents"] for part in self._shards(index)])

    def _shards(self, index: int) -> list[str]:
        data = self._data
        return [f"{data.part_name(index)}-{shard}" for shard in range(-(-len(data.train.of_class(index)) // _SHARD))]
