"""Encode: the training images of each class as latents, in shards, a few images in memory at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, seed_of
from distill.recipe import Recipe
from distill.recipe.images import PretrainedCodec
from distill.stages.codec import CodecStage
from distill.stages.space import SHARD, SpaceStage, flat
from distill.stages.validate_images import ValidateImagesStage


class LatentStage(SpaceStage):
    """Points of a class's latent space: ``latents`` (n, c, h, w) of every shard, a part each."""

    codec: CodecStage

    def parts(self) -> list[str]:
        return self.all_shards()

    @property
    def entries(self) -> int:  # type: ignore[override]
        """Numbers of a latent."""
        return self.codec.channels * self.codec.side**2

    def shard_points(self, read: Reader, shard: str) -> NDArray[np.float64]:
        return flat(read.tensors(self, shard)["latents"])

    def latents(self, read: Reader, index: int) -> Any:
        """All latents of a class, (n, c, h, w), in the order of its readable images."""
        import torch

        return torch.cat([read.tensors(self, part)["latents"] for part in self.shards(index)])


class EncodeStage(LatentStage):
    """z = E(x), the posterior's mean or a sample, scaled: in the order of the class's images."""

    name = "encode"

    def __init__(self, recipe: Recipe, data: Images, validated: ValidateImagesStage, codec: CodecStage) -> None:
        self.recipe, self.data, self.validated, self.codec = recipe, data, validated, codec
        self.parents = (validated, codec)
        self.device, self.dtype = codec.device, codec.dtype

    def options(self) -> Mapping[str, Any]:
        codec = self.recipe.codec
        kept: dict[str, Any] = {}
        if isinstance(codec, PretrainedCodec):
            kept = {"latents": codec.latents, "stored": codec.stored, "size": self.codec.size}
        return {"shard": SHARD, "data": self.data.fingerprint, **kept}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        codec, split = self.codec.load(read), self.data.train
        positions = self.positions(read, part)
        stored = torch.float32
        if isinstance(self.recipe.codec, PretrainedCodec):
            stored = getattr(torch, self.recipe.codec.stored)
        latents = torch.empty((len(positions), self.codec.channels, self.codec.side, self.codec.side), dtype=stored)
        for start in range(0, len(positions), codec.batch):
            some = positions[start : start + codec.batch]
            # The name of a table's row costs as much as the row: it is looked up for those that draw.
            seeds = [seed_of("posterior", split.name(int(position))) for position in some] if codec.samples else []
            encoded = codec.encode(torch.from_numpy(split.read(some, self.codec.size)), seeds)
            latents[start : start + len(some)] = encoded
            progress((start + len(some)) / len(positions))
        if not torch.isfinite(latents).all():
            raise ValueError(
                f"some latents are not finite; codec.dtype or codec.stored may have too small a range ({self.dtype})"
            )
        return {f"{part}.safetensors": {"latents": latents}}
