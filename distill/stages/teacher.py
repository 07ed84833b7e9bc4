"""The teacher: a ConvNet trained on all of the training images; its logits label whatever students learn from."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.recipe import Recipe


class TeacherStage(Stage):
    """min E ℓ(T(x), y), cross-entropy under random shifts. ``teacher.json`` says how it does on the test split."""

    name = "teacher"

    def __init__(self, recipe: Recipe, data: Images) -> None:
        self._recipe, self._data = recipe, data

    def options(self) -> Mapping[str, Any]:
        return {**self._recipe.teacher.model_dump(), "data": self._data.fingerprint}

    def parts(self) -> list[str]:
        return ["teacher"]

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.convnet import ConvNet, logits_of, scaled, shifted
        from distill.models.training import train

        options, data = self._recipe.teacher, self._data
        images, labels = scaled(torch.from_numpy(data.train.images)), torch.from_numpy(data.train.labels)
        model = ConvNet(data.channels, self._recipe.data.size, len(data.classes), options.width)
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(model(shifted(images[chosen], options.shift, generator)), labels[chosen])

        train(model, loss, len(images), options, generator, progress, checkpoint=read.checkpoint(self, part))
        guessed = logits_of(model, torch.from_numpy(data.test.images)).argmax(1)
        top1 = float((guessed == torch.from_numpy(data.test.labels)).double().mean())
        return {"teacher.safetensors": model.state_dict(), "teacher.json": {"model": model.config, "top1": top1}}


def load_teacher(stage: TeacherStage, read: Reader) -> Any:
    """The trained teacher."""
    from distill.models.convnet import ConvNet

    model = ConvNet(**read.values(stage, "teacher")["model"])
    model.load_state_dict(read.tensors(stage, "teacher"))
    return model.eval()
