"""Train: a student a draw of a method, on its weighted images, under the recipe's protocol; measured on the real test split."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distill.images import Images
from distill.methods import METHODS
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe, Train
from distill.stages.draw import Draw, Run
from distill.stages.external_images import ExternalImagesStage
from distill.stages.label import ImageLabelStage, StoredLabelStage, pass_seed
from distill.stages.students import StudentsStage
from distill.stages.teacher import TeacherStage
from distill.stages.testing import Looks, Outcome
from distill.stages.untrained import held, network
from distill.stages.validate_images import ValidateImagesStage
from distill.stages.weighted import WeightedSet, weighted_set


class TrainStage(StudentsStage):
    r"""$\min_\theta \sum_k w_k\, \ell(x_k, y_k; \theta)$, by the recipe's protocol (:mod:`distill.protocols`).

    One part per draw and seed, :class:`distill.stages.testing.Outcome`: after the last step, at the best of ``train.evaluations``
    (a figure chosen on the test split, so shown only beside the last), and image by image. Every method has the same steps,
    batches and student starts.

    regime: what labels students learn from. labels: what makes them: a stage of logits, the teacher itself where it labels while
    students train, or None for classes.
    """

    name = "train"
    version = 5  # since it says which test images a student is right on

    def __init__(
        self,
        recipe: Recipe,
        data: Images,
        method: str,
        regime: str,
        validated: ValidateImagesStage,
        select: Stage,
        images: Stage,
        labels: ImageLabelStage | StoredLabelStage | ExternalImagesStage | TeacherStage | None,
    ) -> None:
        super().__init__(recipe, data, method, regime)
        assert isinstance(recipe.train, Train)
        self.section, self.rules, self.validated = recipe.train, recipe.train.rules_for(regime), validated
        if METHODS[method].weights == "uniform":  # the same students however weights go through CutMix
            self.rules = replace(self.rules, weighting="product")
        self.select, self.images, self.labels = select, images, labels
        self.parents = (validated, images) if labels is None else (validated, images, labels)
        self.device, self.dtype = recipe.compute.device, self.section.precision
        self.processes = self.section.processes

    @property
    def logits(self) -> ImageLabelStage | ExternalImagesStage | None:
        """The stage that labels each image once, if one does."""
        return self.labels if isinstance(self.labels, ImageLabelStage | ExternalImagesStage) else None

    def options(self) -> Mapping[str, Any]:
        train = self.section
        network = {name: getattr(train, name) for name in ("student", "width", "depth", "small_stem", "processes")}
        weights = METHODS[self.method].weights
        return {**self.rules.described(), **network, "weights": weights, "data": self.data.fingerprint}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        run = next(run for run in self.runs() if run.name == part)
        return self._student(read, run, self.weighted_set(read, run.draw), progress).product(part)

    def weighted_set(self, read: Reader, draw: Draw) -> WeightedSet:
        """The training set of a draw, all classes, with this method's weights."""
        data = self.data
        return weighted_set(read, data.part_names, data.names, self.images, self.logits, draw, METHODS[self.method].weights)

    def _student(self, read: Reader, run: Run, data: WeightedSet, progress: Progress) -> Outcome:
        import torch

        from distill.models.student import Passes, train_student

        options, rules = self.section, self.rules
        device, size = torch.device(self.device), self.recipe.data.size
        torch.manual_seed(seed_of("student", run.seed))  # the same start for every method
        model = self.untrained().to(device)
        passes = Passes(held(data.images, device), data.weights, rules, size, pass_seed(run.seed), device)
        targets, label_bytes = self._targets(read, run, data, device)
        test = Looks(self.data, self.validated, read, device)
        seen = train_student(
            model,
            passes,
            data.weights,
            rules,
            targets,
            test,
            progress,
            student=options.student,
            ipc=run.draw.k,
            precision=options.precision,
            checkpoint=read.checkpoint(self, run.name),
            group=read.group,
        )
        return Outcome.of(seen, test.right(model), label_bytes)

    def untrained(self) -> Any:
        """A student with random weights."""
        return network(self.section.student, self.section, self.data)

    def _targets(self, read: Reader, run: Run, data: WeightedSet, device: Any) -> tuple[Any, int]:
        """What the student learns to say, and how many bytes of labels that takes on disk."""
        from distill.models import student

        rules, labels = self.rules, self.labels
        if isinstance(labels, StoredLabelStage):
            return stored_targets(read, labels, run, len(self.data.classes), rules.temperature, device)
        if isinstance(labels, ImageLabelStage | ExternalImagesStage):
            size = data.logits.numel() * data.logits.element_size()
            return student.image_targets(data.logits, rules.temperature, device), size
        if labels is None:
            return student.hard_targets(data.labels, len(self.data.classes), device), 0
        return student.online_targets(labels.load(read), rules.temperature, device, self.section.precision), 0


def stored_targets(
    read: Reader, labels: StoredLabelStage, run: Run, classes: int, temperature: float, device: Any
) -> tuple[Any, int]:
    """Targets out of the files of a student's labels, one file in memory at a time, and the bytes of all of them."""
    from distill.models.soft_labels import restored

    parts, each = labels.parts_of(run), labels.epochs_a_part(run)
    kept: dict[str, Any] = {}

    def targets(batch: Any) -> Any:
        epoch = int(batch.epoch[0])
        part = parts[epoch // each]
        if part not in kept:
            kept.clear()
            kept[part] = read.tensors(labels, part)
        rows = {key: tensor[epoch % each, batch.place] for key, tensor in kept[part].items()}
        return (restored(rows, classes).to(device) / temperature).softmax(1)

    size = sum((read.check(labels, part) / f"{part}.safetensors").stat().st_size for part in parts)
    return targets, size
