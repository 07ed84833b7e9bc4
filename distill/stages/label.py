"""Label: the teacher's logits of every image that a student may learn from."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe
from distill.stages.decode import DiffusionStage, RealImagesStage
from distill.stages.teacher import TeacherStage, load_teacher


class LabelStage(Stage):
    """A draw's tensor ``logits`` (K, classes): T(x) without augmentation."""

    name = "label"

    def __init__(self, recipe: Recipe, data: Images, teacher: TeacherStage, images: DiffusionStage | RealImagesStage) -> None:
        self._recipe, self._data, self._teacher, self._images = recipe, data, teacher, images
        self.parents = (teacher, images)

    @property
    def title(self) -> str:
        return f"label {self._images.kind}"

    def options(self) -> Mapping[str, Any]:
        return {"labels": "logits"}

    def parts(self) -> list[str]:
        return self._data.part_names

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        from distill.models.convnet import logits_of

        teacher, images = load_teacher(self._teacher, read), read.tensors(self._images, part)
        names = [name for name in images if name.endswith(".images")]
        return {f"{part}.safetensors": {name.replace(".images", ".logits"): logits_of(teacher, images[name]) for name in names}}
