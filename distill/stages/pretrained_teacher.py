"""A teacher of timm's or torchvision's."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.images import Images
from distill.images.names import imagenet_classes
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import PretrainedTeacher, Recipe, RecipeError
from distill.stages.teacher import TeacherStage
from distill.stages.testing import confusions_on_test
from distill.stages.validate_images import ValidateImagesStage


class PretrainedTeacherStage(TeacherStage):
    """A network of timm's or torchvision's with its weights, copied into the run, so that a run needs them once."""

    version = 2  # since it says how well it knows the classes

    def __init__(self, recipe: Recipe, section: PretrainedTeacher, data: Images, validated: ValidateImagesStage) -> None:
        self.section, self.data, self.validated = section, data, validated
        self.parents, self.device = (validated,), recipe.compute.device
        if section.weights != "pretrained" and _is_file(section.weights) and not Path(section.weights).is_file():
            raise RecipeError(f"teacher.weights: there is no file {section.weights}; give one, or 'pretrained'")

    def options(self) -> Mapping[str, Any]:
        options = self.section
        weights = _sha256(Path(options.weights)) if Path(options.weights).is_file() else options.weights
        return {**options.model_dump(), "weights": weights, "data": self.data.fingerprint}

    def unobtainable(self) -> str | None:
        from distill.models.fetching import why_no_teacher

        options = self.section
        reason = None if Path(options.weights).is_file() else why_no_teacher(options.source, options.model)
        return reason and (
            f"teacher.model = {options.model!r}: its weights are not here, and can't be fetched: {reason}. Give a file with "
            "teacher.weights, which may be the teacher.safetensors of another run"
        )

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.recognition import recognition
        from distill.models.teachers import pretrained, rebuilt

        options = self.section
        network, made = pretrained(options.source, options.model, options.weights, options.size)
        outputs = self._outputs(made["classes"])
        progress(0.5)
        device = torch.device(self.device)
        teacher = rebuilt(made, network.state_dict(), outputs).to(device)
        known = recognition(confusions_on_test(self.data, self.validated, read, device)(teacher), outputs)
        about = {**made, "trained": False, "outputs": outputs, **known}
        return {"teacher.safetensors": network.state_dict(), "teacher.json": about}

    def untrained(self) -> Any:
        return self._blank[0]()

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        return self._blank[1]

    @cached_property
    def _blank(self) -> Any:
        from distill.models.teachers import blank

        return blank(self.section.source, self.section.model, self.section.size)

    def load(self, read: Reader) -> Any:
        from distill.models.teachers import rebuilt

        def make() -> Any:
            made = read.values(self, "teacher")
            return rebuilt(made, read.tensors(self, "teacher"), made["outputs"]).to(self.device)

        return cached((read.check(self, "teacher"), self.digest), make)

    def _outputs(self, held: int) -> list[int] | None:
        """The network's outputs that are the data's classes; None where they are all of them, in their order."""
        classes, given = self.data.classes, self.section.outputs
        if given is not None:
            if len(given) != len(classes) or max(given) >= held:
                raise ValueError(f"teacher.outputs must be {len(classes)} of the network's {held}; received {given}")
            return given
        if held == len(classes):
            return None
        return imagenet_outputs(classes, held)


def imagenet_outputs(classes: tuple[str, ...], held: int) -> list[int]:
    """The outputs of an ImageNet-1K network for classes that are WordNet ids."""
    place = {name: index for index, name in enumerate(imagenet_classes())}
    strange = [name for name in classes if name not in place]
    if strange or held != len(place):
        why = f"{strange[0]!r} is no WordNet id of ImageNet-1K" if strange else "it is no network for ImageNet-1K"
        raise ValueError(
            f"the teacher has {held} outputs and the data {len(classes)} classes, and {why}; say which are which with "
            "teacher.outputs"
        )
    return [place[name] for name in classes]


def _is_file(weights: str) -> bool:
    return weights.endswith((".safetensors", ".pth", ".pt", ".bin")) or "/" in weights


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
