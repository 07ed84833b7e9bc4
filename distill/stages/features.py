"""Features: what a network knows of every image of a split, just before its last layer or at another."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Held, Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import Recipe, RecipeError
from distill.stages.pretrained_network import PretrainedNetworkStage
from distill.stages.space import SHARD, SpaceStage
from distill.stages.teacher import TeacherStage
from distill.stages.trained_teacher import TrainedTeacherStage
from distill.stages.validate_images import ValidateImagesStage

if TYPE_CHECKING:
    from distill.models.batches import Batches
    from distill.models.features import FeatureNetwork

_ON_A_CPU = 8  # images at once
_LOOKED_AT = 32  # images by which it is seen whether a network is fed as in its training
_REMEDY = "look at the weights of the network of [features], and at the mean and deviation that it standardizes pixels by"
_REFUSED = 5.0  # standard deviations off
_BATCH_BYTES = 2**28  # pixels read at once, at most


class FeaturesStage(SpaceStage):
    """``features`` (n, d) float32 of each shard of a split, ``train`` or ``test``, whose images are taken as they are.

    Beside them ``inputs_off``, of the first shard of the training images: by how much the network's inputs are off those of its
    training (:func:`distill.models.features.inputs_off`); None of others, or where it can't be told.

    Refused before work is spent: a layer that the network has not, images that it can't be fed, images of another size than a
    data set in memory has, or than a teacher is trained on.
    """

    name = "features"
    version = 2  # since they say whether the network is fed as in its training

    def __init__(
        self,
        recipe: Recipe,
        data: Images,
        validated: ValidateImagesStage,
        network: TeacherStage | PretrainedNetworkStage,
        split: str,
    ) -> None:
        assert recipe.features is not None
        self.recipe, self.section, self.data, self.validated = recipe, recipe.features, data, validated
        self.network, self.split = network, split
        self.parents, self.device, self.dtype = (validated, network), network.device, network.dtype
        self.image_size = self.section.image_size or data.size
        if self.image_size != data.size and isinstance(data.train, Held):
            raise RecipeError(f"features.image_size = {self.image_size}, but these images exist only at data.size = {data.size}")
        if self.image_size != data.size and isinstance(network, TrainedTeacherStage):
            raise RecipeError(
                f"features.image_size = {self.image_size}, but the teacher is trained on images of data.size = {data.size}; "
                "leave it out, or take another network with features.source"
            )

    @property
    def title(self) -> str:
        return f"features {self.split}"

    def options(self) -> Mapping[str, Any]:
        layer = {"layer": self.section.layer, "pooling": self.section.pooling}
        return {"shard": SHARD, "data": self.data.fingerprint, "split": self.split, "size": self.image_size, **layer}

    def parts(self) -> list[str]:
        return self.all_shards()

    @cached_property
    def entries(self) -> int:  # type: ignore[override]
        """Features of an image; RecipeError where the network can't be asked for them."""
        from distill.models.features import width

        channels, *sides = self.network.shape
        if channels != self.data.channels and self.data.channels != 1:
            raise RecipeError(f"the network of [features] takes {channels} channels, the images have {self.data.channels}")
        try:
            return width(self.network.untrained, self.network.shape, self.section.layer, self.section.pooling)
        except ValueError as error:
            raise RecipeError(str(error)) from None
        except (RuntimeError, AssertionError) as error:  # of the network's own
            raise RecipeError(f"the network of [features] takes no images of {sides[0]} pixels a side: {error}") from None

    def shard_points(self, read: Reader, shard: str) -> NDArray[np.float64]:
        return read.tensors(self, shard)["features"].double().numpy()

    @property
    def at_once(self) -> int:
        """Images at once: few on a CPU, where activations that do not fit its caches and its heap take twice the time."""
        return min(self.section.batch, _ON_A_CPU) if self.device == "cpu" else self.section.batch

    @cached_property
    def _batches(self) -> "Batches":
        from distill.models.batches import Batches

        return Batches(self.at_once)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        self._refuse_chance(read)
        off = self.inputs_off(read) if self.split == "train" and part == self.parts()[0] else None
        if off is not None and off > _REFUSED:
            raise ValueError(
                f"the network of [features] is fed images that are {off:.0f} standard deviations off those of its training, at "
                f"its first batch normalization: {_REMEDY}"
            )
        positions, split = self.positions(read, part), self.data.split(self.split)
        at_once = max(1, _BATCH_BYTES // (self.data.channels * self.image_size**2))
        found: list[Any] = [torch.empty((0, self.entries))]
        for start in range(0, len(positions), at_once):
            pixels = torch.from_numpy(split.read(positions[start : start + at_once], self.image_size))
            found.append(self.of(read, pixels, lambda done, start=start: progress((start + done) / len(positions))))
        return {f"{part}.safetensors": {"features": torch.cat(found)}, f"{part}.json": {"inputs_off": off}}

    def inputs_off(self, read: Reader) -> float | None:
        """By how many standard deviations some training images, as the network is fed them, are off those of its training."""
        import torch

        from distill.models.features import inputs_off

        readable = np.concatenate([self.validated.readable(read, "train", i) for i in range(len(self.data.classes))])
        some = np.unique(readable[np.linspace(0, len(readable) - 1, _LOOKED_AT).astype(np.int64)])
        pixels = torch.from_numpy(self.data.train.read(some, self.image_size))
        return inputs_off(self._load(read).network, pixels.to(self.device).float() / 255, self.at_once)

    def of(self, read: Reader, images: Any, progress: Progress = lambda done: None) -> Any:
        """Features (n, d) of images (n, C, H, W) uint8. progress: called with the number done."""
        import torch

        from distill.models.finite import finite

        network = self._load(read)

        def features(some: slice) -> Any:
            with torch.no_grad():
                return network(images[some].to(self.device).float() / 255).float().cpu()

        found, done = list[Any](), 0
        for some in self._batches.of(features, len(images)):
            found.append(finite(some, "features of images", _REMEDY))
            done += len(some)
            progress(done)
        return torch.cat(found)

    def _load(self, read: Reader) -> "FeatureNetwork":
        from distill.models.features import FeatureNetwork

        def make() -> FeatureNetwork:
            return FeatureNetwork(self.network.load(read), self.section.layer, self.section.pooling)

        return cached(("features", self.network.digest, self.section.layer, self.section.pooling), make)

    def _refuse_chance(self, read: Reader) -> None:
        if isinstance(self.network, TeacherStage) and (warning := read.values(self.network, "teacher")["warning"]):
            raise ValueError(
                f"{warning}. Its features say as little: train it longer, or take another network with features.source"
            )
