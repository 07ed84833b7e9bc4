"""Train: a student a draw of a method, on its weighted, teacher-labelled images; measured on the real test split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.images import Images
from distill.method import METHODS
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe
from distill.stages.draw import Draw, draws
from distill.stages.survey import SurveyStage
from distill.weights import moded, sample_weights


@dataclass(frozen=True)
class WeightedSet:
    """A method's training set.

    images: (n, C, H, W) uint8. labels: (n,). logits: (n, classes), the teacher's. weights: (n,), of mean 1. classes: names.
    """

    images: Any
    labels: Any
    logits: Any
    weights: Any
    classes: tuple[str, ...]


class TrainStage(Stage):
    r"""$\min_\theta \sum_k w_k\, \ell(x_k, y_k; \theta)$, ℓ the cross-entropy to the teacher's soft labels, under random shifts.

    One part a draw and seed, ``<draw>.json``: top-1 and top-5 on the test split after the last step, the best of
    ``train.evaluations`` looks (a figure chosen on the test split, so shown only beside the last), and all looks. Every method
    has the same steps, batches and student starts.
    """

    name = "train"

    def __init__(
        self, recipe: Recipe, data: Images, method: str, survey: SurveyStage, select: Stage, images: Stage, labels: Stage
    ) -> None:
        self._recipe, self._data, self._survey, self.method = recipe, data, survey, method
        self.select, self.images, self.labels = select, images, labels
        self.parents = (survey, images, labels)

    @property
    def title(self) -> str:
        return f"train {self.method}"

    def options(self) -> Mapping[str, Any]:
        return {**self._recipe.train.model_dump(), "weights": METHODS[self.method].weights, "data": self._data.fingerprint}

    def parts(self) -> list[str]:
        return [name for name, _, _ in self._runs()]

    def run_name(self, draw: Draw, seed: int) -> str:
        """The part of one student."""
        return draw.name if draw.k is not None else f"all.seed{seed}"

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        draw, seed = next((draw, seed) for name, draw, seed in self._runs() if name == part)
        seen = self._survey.all_readable(read, "test")
        return {f"{part}.json": self._student(self.weighted_set(read, draw), seen, seed, progress)}

    def weighted_set(self, read: Reader, draw: Draw) -> WeightedSet:
        """The training set of a draw, all classes, with this method's weights."""
        import torch

        images, labels, logits, measures = [], [], [], []
        for index, part in enumerate(self._data.part_names):
            decoded, labelled = read.tensors(self.images, part), read.tensors(self.labels, part)
            measures.append(moded(draw.of(decoded, "weights").double().numpy(), METHODS[self.method].weights))
            images.append(draw.of(decoded, "images"))
            logits.append(draw.of(labelled, "logits"))
            labels.append(torch.full((len(images[-1]),), index))
        weights = torch.from_numpy(np.concatenate(sample_weights(measures)))
        return WeightedSet(torch.cat(images), torch.cat(labels), torch.cat(logits), weights, self._data.names)

    def _runs(self) -> list[tuple[str, Draw, int]]:
        """Part name, draw and student seed of every student; a method with one draw of everything varies the student alone."""
        todo = draws(self._recipe, METHODS[self.method].select)
        pairs = [(draw, seed) for draw in todo for seed in (self._recipe.seeds if draw.k is None else [draw.seed])]
        return [(self.run_name(draw, seed), draw, seed) for draw, seed in pairs]

    def _student(self, data: WeightedSet, test: Any, seed: int, progress: Progress) -> dict[str, Any]:
        import torch

        from distill.models.convnet import ConvNet, logits_of, scaled, shifted
        from distill.models.training import train, weighted_loss

        options, real = self._recipe.train, self._data
        torch.manual_seed(seed_of("student", seed))  # the same start for every method
        model = ConvNet(real.channels, self._recipe.data.size, len(real.classes), options.width)
        generator = torch.Generator().manual_seed(seed_of("student batches", seed))
        images, weights = scaled(data.images), data.weights.float()
        test_images, test_labels = torch.from_numpy(real.test.read(test)), torch.from_numpy(real.test.labels[test])
        looks = {round(options.steps * (i + 1) / options.evaluations) for i in range(options.evaluations)} | {options.steps}
        seen: list[dict[str, float]] = []

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            logits = model(shifted(images[chosen], options.shift, generator))
            return weighted_loss(logits, data.logits[chosen], weights[chosen], options.temperature)

        def look(step: int) -> None:
            if step in looks:
                ranked = logits_of(model, test_images).topk(min(5, len(real.classes)), 1).indices == test_labels[:, None]
                seen.append(
                    {"step": step, "top1": float(ranked[:, 0].double().mean()), "top5": float(ranked.any(1).double().mean())}
                )
                model.train()

        train(model, loss, len(images), options, generator, progress, weight_decay=options.weight_decay, after_step=look)
        return {"top1": seen[-1]["top1"], "top5": seen[-1]["top5"], "best": max(each["top1"] for each in seen), "looks": seen}
