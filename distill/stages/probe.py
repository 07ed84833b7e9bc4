"""Probe: a linear classifier a draw of a method, on frozen features; measured on the real test split."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.methods import METHODS
from distill.methods.weights import moded, sample_weights
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe
from distill.recipe.probe import Probe
from distill.stages.draw import Draw
from distill.stages.feature_space import FeatureSpaceStage
from distill.stages.features import FeaturesStage
from distill.stages.label import ImageLabelStage
from distill.stages.select import RealStage, SelectStage
from distill.stages.students import StudentsStage
from distill.stages.testing import Outcome

Rows = NDArray[np.float64]


class ProbeStage(StudentsStage):
    r"""$\min_{W, b} \frac1n \sum_k w_k\, H(p_k, \mathrm{softmax}(W z_k + b)) + \frac\rho2 |W|^2$ with z features of unit scale.

    They are of the set's images; with ``train.inputs = "codes"`` the codes themselves. The scale is one number for all features,
    the root mean square of an entry over the training images, so that distances keep their proportions. Beside the scores the
    classifier itself: ``matrix`` (classes, d) and ``bias`` (classes,), for the features as they are.
    """

    name = "probe"

    def __init__(
        self,
        recipe: Recipe,
        section: Probe,
        data: Images,
        method: str,
        regime: str,
        select: SelectStage,
        images: Stage | None,
        labels: ImageLabelStage | None,
        space: FeatureSpaceStage,
        test: FeaturesStage,
    ) -> None:
        super().__init__(recipe, data, method, regime)
        self.section, self.select, self.images, self.labels, self.space, self.test = section, select, images, labels, space, test
        known = [stage for stage in (space, test, select, images, labels) if stage is not None]
        self.parents = tuple(dict.fromkeys(known))
        self.device, self.dtype = test.device, test.dtype

    def options(self) -> Mapping[str, Any]:
        section = self.section
        soft = {"temperature": section.temperature} if self.labels is not None else {}
        return {"ridge": section.ridge, "inputs": section.inputs, "weights": METHODS[self.method].weights, **soft}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.probe import fit

        run = next(run for run in self.runs() if run.name == part)
        classes = range(len(self.data.classes))
        points = [self.inputs(read, index, run.draw) for index in classes]
        targets = np.concatenate([self._targets(read, index, run.draw, len(points[index])) for index in classes])
        weights = self.weights(read, run.draw)
        scale = self._scale(read)
        progress(0.2)
        found = fit(np.concatenate(points) / scale, targets, np.concatenate(weights), self.section.ridge)
        progress(0.9)
        # A worker reads these once: a fit takes less time than they do.
        key = ("test points", self.space.digest, self.test.digest)
        test = cached(key, lambda: [self.space.project(read, self.test.points(read, index)) for index in classes])
        logits = found.logits(np.concatenate(test) / scale)
        wanted = np.repeat(classes, [len(rows) for rows in test])
        size = 0 if self.labels is None else targets.size * 4
        told = {"matrix": torch.from_numpy(found.matrix / scale), "bias": torch.from_numpy(found.bias)}
        right = np.argsort(-logits, axis=1, kind="stable")[:, :5] == wanted[:, None]
        look = {"step": 1, "top1": float(right[:, 0].mean()), "top5": float(right.any(1).mean())}
        return Outcome.of([look], right[:, 0].copy(), size).product(part, **told)

    def inputs(self, read: Reader, index: int, draw: Draw) -> Rows:
        """The points (K, d) of a draw of a class that the classifier learns from."""
        part = self.data.part_name(index)
        if isinstance(self.select, RealStage) and METHODS[self.method].decode == "real":
            return self.space.points(read, index)[draw.of(read.tensors(self.select, part), "indices").numpy()]
        if self.images is None:
            return draw.of(read.tensors(self.select, part), "points").numpy()
        return self.space.of_images(read, draw.of(read.tensors(self.images, part), "images"))

    def weights(self, read: Reader, draw: Draw) -> list[Rows]:
        """The sample weights of a draw, an array per class."""
        return weights_of((read.tensors(self.select, part) for part in self.data.part_names), self.method, draw)

    def _targets(self, read: Reader, index: int, draw: Draw, count: int) -> Rows:
        if self.labels is None:
            return np.tile(np.eye(len(self.data.classes))[index], (count, 1))
        logits = draw.of(read.tensors(self.labels, self.data.part_name(index)), "logits").double()
        return (logits / self.section.temperature).softmax(1).numpy()

    def _scale(self, read: Reader) -> float:
        """The root mean square of an entry of the training images' points."""
        return read.values(self.space, "components")["scale"]


def weights_of(selected: Iterable[Mapping[str, Any]], method: str, draw: Draw) -> list[Rows]:
    """The sample weights of a method's draw, an array per class. selected: what was selected, a part per class."""
    measures = [moded(draw.of(each, "weights").double().numpy(), METHODS[method].weights) for each in selected]
    if draw.k is None:  # all of the data: each image counts alike, whatever its class
        return [np.ones(len(measure)) for measure in measures]
    return sample_weights(measures)
