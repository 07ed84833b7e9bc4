"""A teacher trained here, on all of the training images."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader, seed_of
from distill.recipe import Recipe, TrainedTeacher
from distill.stages.teacher import TeacherStage
from distill.stages.testing import Looks, confusions_on_test
from distill.stages.untrained import held, network
from distill.stages.validate_images import ValidateImagesStage


class TrainedTeacherStage(TeacherStage):
    """min E ℓ(T(x), y), cross-entropy to the classes under augmentation."""

    version = 3  # since it says how well it knows the classes

    def __init__(self, recipe: Recipe, section: TrainedTeacher, data: Images, validated: ValidateImagesStage) -> None:
        self.recipe, self.section, self.data, self.validated = recipe, section, data, validated
        self.parents, self.device, self.dtype = (validated,), recipe.compute.device, section.precision

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.data.channels, self.data.size, self.data.size)

    def options(self) -> Mapping[str, Any]:
        return {**self.section.model_dump(), "data": self.data.fingerprint}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.recognition import recognition
        from distill.models.student import Passes, hard_targets, train_student

        options, rules = self.section, self.section.protocol
        device = torch.device(self.device)
        known = self.validated.all_readable(read, "train")
        images, labels = torch.from_numpy(self.data.train.read(known)), torch.from_numpy(self.data.train.labels[known])
        model = self.untrained().to(device)
        weights = torch.ones(len(images), dtype=torch.float64)
        passes = Passes(held(images, device), weights, rules, images.shape[-1], seed_of(self.digest, "batches"), device)
        targets = hard_targets(labels, len(self.data.classes), device)
        evaluate = Looks(self.data, self.validated, read, device)
        train_student(
            model,
            passes,
            weights,
            rules,
            targets,
            evaluate,
            progress,
            student=options.model,
            ipc=None,
            precision=options.precision,
            checkpoint=read.checkpoint(self, part),
        )
        known = recognition(confusions_on_test(self.data, self.validated, read, device)(model.eval()), None)
        about = {"model": options.model, "trained": True, **known}
        return {"teacher.safetensors": model.state_dict(), "teacher.json": about}

    def load(self, read: Reader) -> Any:
        def make() -> Any:
            model = self.untrained()
            model.load_state_dict(read.tensors(self, "teacher"))
            return model.eval().to(self.device)

        return cached((read.check(self, "teacher"), self.digest), make)

    def untrained(self) -> Any:
        return network(self.section.model, self.section, self.data)
