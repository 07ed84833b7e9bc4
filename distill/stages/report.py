"""Report: the table, the pictures and the page in ``report/``, made of measured figures alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.images import Images
from distill.methods import METHODS
from distill.pipeline.stage import Product, Progress, Reader, Stage, ordered
from distill.recipe import Recipe
from distill.stages.draw import Draw
from distill.stages.evaluate import EvaluateStage
from distill.stages.students import StudentsStage


class ReportStage(Stage):
    """The page ``index.html`` with its pictures, and ``report.json``: rows, checks, wall time and peak memory a stage."""

    name = "report"
    version = 12  # since compared pairs have a panel each

    def __init__(
        self, recipe: Recipe, data: Images, trains: Mapping[tuple[str, str], StudentsStage], evaluate: EvaluateStage
    ) -> None:
        self.recipe, self.data, self._evaluate = recipe, data, evaluate
        self._images = {method: train.images for (method, _), train in trains.items()}
        self.parents = (evaluate,)

    @property
    def folder_name(self) -> str:
        return "report"

    @property
    def weighted(self) -> str | None:
        """The method whose images are shown with their weights: the first whose masses are its own."""
        ours = [name for name in self.recipe.methods if METHODS[name].decode != "external" and self._images.get(name)]
        return next((name for name in ours if METHODS[name].weights == "mass"), None)

    @property
    def below(self) -> Stage | None:
        """The real images nearest to the codes whose images are shown; None where others are shown."""
        shown = self.weighted is not None and METHODS[self.weighted].select == "quantize"
        return self._images.get("nearest") if shown else None

    def options(self) -> Mapping[str, Any]:
        return {"recipe": self.recipe.model_dump()}

    def parts(self) -> list[str]:
        return ["report"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        from distill.report import figures, page

        metrics = read.values(self._evaluate, "metrics")
        ancestors = dict.fromkeys(ordered(self._evaluate))
        manifests = [manifest for stage in ancestors if (manifest := read.manifest(stage))]
        report = {
            "recipe": self.recipe.model_dump(),
            **metrics,
            "stages": [{key: m[key] for key in ("title", "parts", "wall_s", "work_s", "peak_memory_bytes")} for m in manifests],
            "environment": manifests[-1]["environment"] if manifests else {},
        }
        pictures = {"accuracy.png": figures.accuracy(metrics["rows"], metrics["split"])}
        if metrics["comparisons"]:
            pictures["comparisons.png"] = figures.comparisons(metrics["comparisons"])
        if metrics["predicts"]:
            pictures["distances.png"] = figures.distances(metrics["rows"], metrics["split"])
        if any(row["w2_codes"] is not None for row in metrics["rows"]):
            pictures["distortion.png"] = figures.distortion(metrics["rows"])
        if self.weighted is not None:
            report["below"] = self.below is not None
            pictures |= self._codes(read, self._images[self.weighted], figures)
        progress(0.9)
        return {"report.json": report, "index.html": page.render(report, list(pictures)).encode(), **pictures}

    def _codes(self, read: Reader, images: Stage, figures: Any) -> dict[str, bytes]:
        """A sheet of the distilled images per budget, and the histogram of their weights."""
        classes, pictures, weights = self.data.names, {}, {}
        parts = [read.tensors(images, part) for part in self.data.part_names]
        beside = [read.tensors(self.below, part) for part in self.data.part_names] if self.below is not None else []
        for k in self.recipe.select.budgets:
            first = Draw(k, self.recipe.seeds[0])
            tiles = [(first.of(part, "images").numpy(), first.of(part, "weights").numpy()) for part in parts]
            real = [first.of(part, "images").numpy() for part in beside] or None
            pictures[f"images-ipc{k}.png"] = figures.sheet(tiles, classes, nearest=real)
            weights[k] = np.concatenate(
                [k * Draw(k, seed).of(part, "weights").numpy() for part in parts for seed in self.recipe.seeds]
            )
        pictures["weights.png"] = figures.weights(weights)
        return pictures
