"""Encode: the training images of each class as latents, in shards, a few images in memory at a time."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.recipe.images import PretrainedCodec
from distill.stages.codec import CodecStage
from distill.stages.validate_images import ValidateImagesStage

SHARD = 2000


class LatentStage(Stage):
    """Points of a class's latent space, ``latents`` (n, c, h, w), in shards of at most 2,000 of the class's readable images."""

    recipe: Recipe
    data: Images
    validated: ValidateImagesStage
    codec: CodecStage

    def parts(self) -> list[str]:
        return [part for index in range(len(self.data.classes)) for part in self.shards(index)]

    def shards(self, index: int) -> list[str]:
        """The parts of a class."""
        data = self.data
        return [f"{data.part_name(index)}-{shard}" for shard in range(-(-len(data.train.of_class(index)) // SHARD))]

    @property
    def entries(self) -> int:
        """Numbers of a latent."""
        return self.codec.channels * self.codec.side**2

    def latents(self, read: Reader, index: int) -> Any:
        """All latents of a class, (n, c, h, w), in the order of its readable images."""
        import torch

        return torch.cat([read.tensors(self, part)["latents"] for part in self.shards(index)])

    def points(self, read: Reader, index: int) -> Any:
        """The same as points (n, c·h·w) of float64."""
        return flat(self.latents(read, index))

    def positions(self, read: Reader, part: str) -> Any:
        """Positions, in the training split, of a shard's images."""
        import numpy as np

        index, shard = self.data.index_of(part), int(part.split("-")[-1])
        of_class = self.data.train.of_class(index)[shard * SHARD : (shard + 1) * SHARD]
        return of_class[np.isin(of_class, self.validated.readable(read, "train", index))]


class EncodeStage(LatentStage):
    """z = E(x), the posterior's mean or a sample, scaled: in the order of the class's images."""

    name = "encode"

    def __init__(self, recipe: Recipe, data: Images, validated: ValidateImagesStage, codec: CodecStage) -> None:
        self.recipe, self.data, self.validated, self.codec = recipe, data, validated, codec
        self.codec = codec
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


def flat(latents: Any) -> Any:
    """Latents (n, c, h, w) as points (n, c·h·w) of float64 on the host."""
    return latents.reshape(len(latents), -1).double().numpy()
