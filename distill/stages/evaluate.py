"""Evaluate: the measured accuracies and Wasserstein distances of every method and budget, in ``metrics.json``."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from distill.images import Images
from distill.methods import METHODS
from distill.pipeline.stage import Product, Progress, Reader, Stage, ordered
from distill.recipe import Probe, Recipe
from distill.stages.distances import DistancesStage
from distill.stages.draw import Draw, draws
from distill.stages.evidence import comparisons, effective_sizes, few_in_effect, unlike_training
from distill.stages.features import FeaturesStage
from distill.stages.label import ImageLabelStage
from distill.stages.students import StudentsStage
from distill.stages.teacher import TeacherStage
from distill.stages.testing import Outcome
from distill.stages.validate_images import ValidateImagesStage
from distill.statistics import predictions, t_interval


class EvaluateStage(Stage):
    r"""Means and standard deviations over seeds, fractions throughout.

    ``w2_codes``: $(\mathrm{mean}_c\, W_2^2)^{1/2}$ between a class's points and its weighted codes, in the space where these were
    selected, by exact transport, then the mean over seeds. ``distances``: the same of the images of the set, in each space of
    the recipe's. ``distortion``: mean over classes and seeds of $D_2$ of the codes. None, all three, of an external set.
    ``checks``: what must hold for every codebook, and how it did. ``teacher``: its own top-1, and a warning where that is near
    chance; None without one.
    ``recognized``: the share of the images that the teacher takes for their class, where it labels images as they are.
    ``images``: of each split, and how many of them can't be read and are left out. ``comparisons``: the recipe's, by labels and
    budget (:func:`distill.statistics.comparison`); images of all classes stand beside every budget. ``top1_low``, ``top1_high``:
    the 95 % t interval of the mean. ``effective``: mean over classes and seeds of $(\sum w)^2 / \sum w^2$. ``warnings``: of few.
    ``distances``: by space, and ``predicts``, how they rank sets beside accuracy (:func:`distill.statistics.predictions`).
    ``space``: where codes are sought.
    """

    name = "evaluate"
    version = 8  # since they say in which space codes are sought

    def __init__(
        self,
        recipe: Recipe,
        data: Images,
        trains: Mapping[tuple[str, str], StudentsStage],
        distances: Mapping[str, DistancesStage],
    ) -> None:
        self.recipe, self.data, self._trains, self._distances = recipe, data, dict(trains), dict(distances)
        self.parents = (*distances.values(), *trains.values())
        ancestors = dict.fromkeys(stage for train in trains.values() for stage in ordered(train))
        self.teacher = next((stage for stage in ancestors if isinstance(stage, TeacherStage)), None)
        self._features = next((stage for stage in ancestors if isinstance(stage, FeaturesStage) and stage.split == "train"), None)
        self.validated = next(stage for stage in ancestors if isinstance(stage, ValidateImagesStage))

    def options(self) -> Mapping[str, Any]:
        students = [train.parts() for train in self._trains.values()]  # of some budgets alone, where a regime is for these
        about = {"methods": self.recipe.methods, "seeds": self.recipe.seeds, "comparisons": self.recipe.comparisons}
        return {**about, "students": students}

    def parts(self) -> list[str]:
        return ["metrics"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        rows, checks = [], _Checks()
        of = self._features
        warnings = unlike_training(read.values(of, of.parts()[0])["inputs_off"]) if of is not None else []
        measured = self._measured(read, checks)
        pairs = product(self.recipe.train.regimes, self.recipe.methods)
        trains = [self._trains[method, regime] for regime, method in pairs if (method, regime) in self._trains]
        for i, train in enumerate(trains):
            rows += [self._row(read, train, k, measured, warnings) for k in dict.fromkeys(run.draw.k for run in train.runs())]
            progress((i + 1) / len(trains))
        split = "validation" if self.recipe.data.validation_fraction else "test"
        about = {"checks": checks.values(), "teacher": self._known(read), "images": self._images(read)}
        about |= {"comparisons": comparisons(read, self.recipe, self._trains), "warnings": list(dict.fromkeys(warnings))}
        about |= {"predicts": predictions(rows), "space": self.recipe.select.space}
        return {"metrics.json": {"split": split, "rows": rows, **about}}

    def _images(self, read: Reader) -> dict[str, int]:
        """Of each split, and those left out."""
        found = self.validated.summary(read)
        return {**found["images"], "left_out": len(found["unreadable"])}

    def _known(self, read: Reader) -> dict[str, Any] | None:
        """The teacher whose labels students learn from, its top-1 on the split, and the warning that goes with it."""
        if self.teacher is None:
            return None
        about = read.values(self.teacher, "teacher")
        return {key: about[key] for key in ("model", "top1", "warning")}

    def _row(
        self, read: Reader, train: StudentsStage, k: int | None, measured: Mapping[Any, Any], warnings: list[str]
    ) -> dict[str, Any]:
        todo = [draw for draw in draws(self.recipe, METHODS[train.method].select) if draw.k == k]
        runs = [Outcome.read(read, train, run.name) for run in train.runs() if run.draw in todo]
        top1, top5, best, best5 = (np.array([getattr(run, key) for run in runs]) for key in ("top1", "top5", "best", "best_top5"))
        low, high = t_interval(top1)
        sizes = effective_sizes(read, train, todo)
        warnings += few_in_effect(train.method, k, sizes)
        codes, distortion, images = measured.get((train.method, k), (None, None, {}))
        return {
            "method": train.method,
            "labels": train.regime,
            "ipc": k,
            "student": _named(self.recipe),
            "protocol": self.recipe.train.protocol,
            "top1_mean": float(top1.mean()),
            "top1_std": _std(top1),
            "top1_low": low,
            "top1_high": high,
            "top5_mean": float(top5.mean()),
            "best_mean": float(best.mean()),
            "best_std": _std(best),
            "best_top5_mean": float(best5.mean()),
            "label_bytes": round(float(np.mean([run.label_bytes for run in runs]))),
            "seeds": len(runs),
            "top1": top1.tolist(),
            "w2_codes": codes,
            "distances": {name: images.get(name) for name in ("latent", "features", "pixels")},
            "distortion": distortion,
            "recognized": self._recognized(read, train, todo),
            "effective": float(np.mean(list(sizes.values()))),
        }

    def _measured(self, read: Reader, checks: "_Checks") -> dict[tuple[str, int | None], tuple[float, float, dict[str, float]]]:
        """Of each method and budget, as means over seeds: W_2 of the codes, their distortion, W_2 of the images in each space."""
        found: dict[tuple[str, int | None], list[tuple[float, float, dict[str, float]]]] = {}
        for method in self._distances:
            for draw in draws(self.recipe, METHODS[method].select):
                found.setdefault((method, draw.k), []).append(self._means(read, method, draw, checks))
        means = {}
        for key, each in found.items():
            codes, distortions, spaces = zip(*each, strict=True)
            images = {name: float(np.mean([values[name] for values in spaces])) for name in spaces[0]}
            means[key] = (float(np.mean(codes)), float(np.mean(distortions)), images)
        return means

    def _recognized(self, read: Reader, train: StudentsStage, todo: Sequence[Draw]) -> float | None:
        """The share of the draws' images that the teacher takes for their class; None where it did not label them as they are."""
        if not isinstance(train.labels, ImageLabelStage):
            return None
        right: list[Any] = []
        for index, part in enumerate(self.data.part_names):
            logits = read.tensors(train.labels, part)
            right += [draw.of(logits, "logits").argmax(1).eq(index).numpy() for draw in todo]
        return float(np.concatenate(right).mean())

    def _means(self, read: Reader, method: str, draw: Draw, checks: "_Checks") -> tuple[float, float, dict[str, float]]:
        """Of one draw the rooted mean over classes of W_2² of the codes, their mean distortion, and the like of the images."""
        stage = self._distances[method]
        found = [read.values(stage, part)[draw.name] for part in stage.parts()]
        for each in found:
            if "uniform_squared" in each:
                checks.add(each["w2_squared"], each["uniform_squared"], each["distortion"])
        images = {name: float(np.mean([each["images"][name] for each in found])) ** 0.5 for name in stage.spaces}
        square, distortion = (float(np.mean([each[key] for each in found])) for key in ("w2_squared", "distortion"))
        return square**0.5, distortion, images


class _Checks:
    """What the theory says must hold for every class, budget and seed, and by how much it did."""

    def __init__(self) -> None:
        self._gap, self._excess, self._pairs = 0.0, -np.inf, 0

    def add(self, square: float, uniform: float, distortion: float) -> None:
        scale = max(distortion, np.finfo(float).tiny)
        self._gap = max(self._gap, abs(square - distortion) / scale)
        self._excess = max(self._excess, (square - uniform) / scale)
        self._pairs += 1

    def values(self) -> dict[str, Any]:
        return {
            "codebooks": self._pairs,
            "w2_squared_minus_distortion_relative_max": self._gap,
            "mass_minus_uniform_w2_squared_relative_max": self._excess if self._pairs else 0.0,
        }


def _named(recipe: Recipe) -> str:
    """The student, in words."""
    train = recipe.train
    if isinstance(train, Probe):
        return f"logistic regression, ridge {train.ridge:g}"
    if train.student == "convnet":
        return f"ConvNet-{train.depth}, width {train.width}"
    return train.student + (" with a stem for small images" if train.small_stem else "")


def _std(values: Any) -> float:
    """The standard deviation over seeds (n − 1 in the denominator), 0 for one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
