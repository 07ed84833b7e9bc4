"""Label: the teacher's logits, of every image once, or of every augmented image of every epoch that a student will see."""

import math
from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe, Train
from distill.stages.decode import DiffusionStage
from distill.stages.draw import Run, draws, images_of, runs
from distill.stages.external_images import ExternalImagesStage
from distill.stages.real_images import RealImagesStage
from distill.stages.teacher import TeacherStage
from distill.stages.weighted import weighted_set

LABEL_BATCH = 256  # images at once
_LOGITS, _REMEDY = "logits of the teacher", "look at its weights and at teacher.json: such a teacher labels nothing"

ImagesStage = DiffusionStage | RealImagesStage | ExternalImagesStage  # what makes the images that are labelled


class ImageLabelStage(Stage):
    """A draw's tensor ``logits`` (K, classes): T(x) without augmentation."""

    name = "label"
    version = 3  # since what is not finite is no label

    def __init__(self, recipe: Recipe, data: Images, teacher: TeacherStage, images: ImagesStage, select: str) -> None:
        self.recipe, self.data, self.teacher, self.images = recipe, data, teacher, images
        self.draws = draws(recipe, select)
        self.parents, self.device = (teacher, images), recipe.compute.device

    @property
    def title(self) -> str:
        return self.recipe.train.titled(f"label {self.images.kind}", "fixed")

    def options(self) -> Mapping[str, Any]:
        return {"labels": "logits"}

    def parts(self) -> list[str]:
        return self.data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.finite import finite

        teacher, images = self.teacher.load(read), read.tensors(self.images, part)

        @torch.no_grad()
        def logits(pixels: Any) -> Any:
            each = [teacher(some.to(self.device).float() / 255).float().cpu() for some in pixels.split(LABEL_BATCH)]
            return finite(torch.cat(each), _LOGITS, _REMEDY)

        names = [name for name in images if name.endswith(".images")]
        return {f"{part}.safetensors": {name.replace(".images", ".logits"): logits(images[name]) for name in names}}


class StoredLabelStage(Stage):
    """T(x) of every place of every pass of a student, compressed: a part is some epochs of one student.

    A pass is drawn from the student's seed alone, one image at a time, so labels do not depend on the size of batches, nor on the
    method's weights: methods that share images share labels.
    """

    name = "label"
    version = 3  # since what is not finite is no label

    def __init__(
        self,
        recipe: Recipe,
        data: Images,
        teacher: TeacherStage,
        images: ImagesStage,
        select: str,
    ) -> None:
        self.recipe, self.data, self.teacher, self.images = recipe, data, teacher, images
        self.all_runs = {run.name: run for run in runs(recipe, select, "stored")}
        assert isinstance(recipe.train, Train)
        self.rules = recipe.train.rules_for("stored")
        self.parents, self.device = (teacher, images), recipe.compute.device

    @property
    def title(self) -> str:
        return self.recipe.train.titled(f"label {self.images.kind}", "stored")

    def options(self) -> Mapping[str, Any]:
        rules, label = self.rules, self.recipe.label
        seen = {key: rules.described()[key] for key in ("epochs", "augmentation", "temperature")}
        return {"labels": "stored", **seen, **label.model_dump(), "runs": list(self.all_runs), "size": self.recipe.data.size}

    def parts(self) -> list[str]:
        return [part for run in self.all_runs.values() for part in self.parts_of(run)]

    def parts_of(self, run: Run) -> list[str]:
        """The parts of one student, in the order of its epochs."""
        epochs = self.rules.epochs_at(run.draw.k)
        assert epochs is not None
        return [f"{run.name}-{start:05d}" for start in range(0, epochs, self.epochs_a_part(run))]

    def epochs_a_part(self, run: Run) -> int:
        """Epochs in a file of one student's labels."""
        from distill.models.soft_labels import bytes_an_image

        an_epoch = images_of(run.draw, self.data) * bytes_an_image(len(self.data.classes), self.recipe.label.top)
        return max(1, math.floor(self.recipe.label.shard_mb * 2**20 / an_epoch))

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.finite import finite
        from distill.models.soft_labels import compressed
        from distill.models.student import Passes

        name, start = part.rsplit("-", 1)
        run, rules = self.all_runs[name], self.rules
        device = torch.device(self.device)
        teacher = self.teacher.load(read)
        data = weighted_set(read, self.data.part_names, self.data.names, self.images, None, run.draw, "uniform")
        passes = Passes(data.images, data.weights, rules, self.recipe.data.size, pass_seed(run.seed), device)
        epochs = rules.epochs_at(run.draw.k)
        assert epochs is not None
        todo = range(int(start), min(int(start) + self.epochs_a_part(run), epochs))
        stored: list[dict[str, Any]] = []
        with torch.no_grad():
            for i, epoch in enumerate(todo):
                places = torch.arange(len(passes)).split(LABEL_BATCH)
                logits = torch.cat([teacher(passes.mixed(epoch, some).pixels).float().cpu() for some in places])
                logits = finite(logits, _LOGITS, _REMEDY)
                stored.append(compressed(logits, self.recipe.label.top, rules.temperature))
                progress((i + 1) / len(todo))
        return {f"{part}.safetensors": {key: torch.stack([each[key] for each in stored]) for key in stored[0]}}

    def seen(self) -> int:
        """Images in all passes of all students."""
        epochs = self.rules.epochs_at
        return sum((epochs(run.draw.k) or 0) * images_of(run.draw, self.data) for run in self.all_runs.values())


def pass_seed(seed: int) -> int:
    """What a student's passes are drawn from: the same for every method."""
    return seed_of("student batches", seed)
