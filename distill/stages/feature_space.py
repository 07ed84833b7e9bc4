"""The space of features: centred, and turned into principal components, as one for all classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import Recipe, RecipeError
from distill.stages.features import FeaturesStage
from distill.stages.space import SpaceStage
from distill.stages.validate_images import ValidateImagesStage

_CONSTANT = 1e-10  # of the squared length of features: a smaller variance is round-off of float32


class FeatureSpaceStage(SpaceStage):
    r"""$z = (f - \bar f)\, V$ with $\bar f$ the mean feature of all training images and V their leading principal directions.

    ``components.safetensors``: ``mean`` (d,) and ``directions`` (d, m), float64, each direction with its largest entry positive;
    with ``whiten`` divided by the standard deviation along it. ``components.json``: the share of the variance that they keep, and
    the root mean square of an entry, ``scale``. Without ``components`` V is the identity, and not there.
    """

    name = "components"

    def __init__(self, recipe: Recipe, data: Images, validated: ValidateImagesStage, features: FeaturesStage) -> None:
        assert recipe.features is not None
        self.recipe, self.section, self.data, self.validated = recipe, recipe.features, data, validated
        self.features = features
        self.parents = (validated, features)
        wanted, entries = self.section.components, features.entries  # which asks the network, before it is waited for
        if wanted is not None and wanted > min(entries, len(data.train) - 1):
            raise RecipeError(
                f"features.components = {wanted}, but the network gives {entries} features of an image, and there are "
                f"{len(data.train)} training images; lower it"
            )

    def options(self) -> Mapping[str, Any]:
        return {key: getattr(self.section, key) for key in ("components", "center", "whiten")}

    def parts(self) -> list[str]:
        return ["components"]

    @property
    def entries(self) -> int:  # type: ignore[override]
        """The components that are kept, or all features."""
        return self.section.components or self.features.entries

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        mean, covariance = self._moments(read, progress)
        variance = float(np.trace(covariance))
        if variance <= _CONSTANT * (variance + float(mean @ mean)):
            raise ValueError(
                "all images have the same features: the network of [features], or its layer, tells nothing of them. Take another "
                "with features.model or features.layer"
            )
        tensors, kept = {"mean": torch.from_numpy(mean if self.section.center else 0 * mean)}, 1.0
        if self.section.components is not None:
            values, directions = np.linalg.eigh(covariance)
            values, directions = values[::-1], directions[:, ::-1][:, : self.section.components]
            rows = np.abs(directions).argmax(0)
            directions = directions * np.sign(directions[rows, np.arange(len(rows))])
            lengths = values[: len(rows)]
            kept = float(lengths.sum() / values.sum())
            if self.section.whiten:
                if lengths[-1] <= _CONSTANT * lengths[0]:
                    raise ValueError(
                        f"features vary in fewer than {len(rows)} directions, which whiten divides by; lower features.components"
                    )
                directions = directions / np.sqrt(lengths)
            tensors["directions"] = torch.from_numpy(np.ascontiguousarray(directions))
        about: dict[str, Any] = {
            "variance": variance,
            "kept": kept,
            "scale": (self._squared(mean, variance * kept) / self.entries) ** 0.5,
        }
        return {"components.safetensors": tensors, "components.json": about}

    def _squared(self, mean: NDArray[np.float64], variance: float) -> float:
        """The mean squared length of a point."""
        if self.section.whiten:
            return float(self.entries)
        return variance if self.section.center else variance + float(mean @ mean)

    def _moments(self, read: Reader, progress: Progress) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean and the covariance of all training images, shard by shard."""
        shards = self.features.all_shards()
        count, mean, scatter = 0, np.zeros(self.features.entries), 0.0
        for i, shard in enumerate(shards):  # Chan's update, which does not cancel
            points = self.features.shard_points(read, shard)
            if not len(points):
                continue
            own, total = points.mean(0), count + len(points)
            centred, step = points - own, own - mean
            scatter = scatter + centred.T @ centred + np.outer(step, step) * (count * len(points) / total)
            count, mean = total, mean + step * (len(points) / total)
            progress((i + 1) / len(shards))
        return mean, np.asarray(scatter) / count

    def shard_points(self, read: Reader, shard: str) -> NDArray[np.float64]:
        return self.project(read, self.features.shard_points(read, shard))

    def of_images(self, read: Reader, images: Any) -> NDArray[np.float64]:
        """The points (n, m) of images (n, C, H, W) uint8."""
        return self.project(read, self.features.of(read, images).double().numpy())

    def project(self, read: Reader, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features (n, d) as points (n, m)."""
        return projected(features, read.tensors(self, "components"))


def projected(features: NDArray[np.float64], fitted: Mapping[str, Any]) -> NDArray[np.float64]:
    """Features (n, d) as points (n, m) of the space whose ``mean`` and ``directions`` are given."""
    centred = features - fitted["mean"].numpy()
    return centred @ fitted["directions"].numpy() if "directions" in fitted else centred
