"""A teacher of timm's or torchvision's."""

from collections.abc import Mapping
from typing import Any

from distill.images import Images
from distill.images.names import imagenet_classes
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import PretrainedTeacher, Recipe
from distill.stages.pretrained_network import PretrainedNetworkStage
from distill.stages.teacher import TeacherStage
from distill.stages.testing import confusions_on_test
from distill.stages.validate_images import ValidateImagesStage


class PretrainedTeacherStage(PretrainedNetworkStage, TeacherStage):
    """A network of others' that labels: which of its outputs are the data's classes, and how well it knows them."""

    name = "teacher"
    key = part = "teacher"
    version = 2  # since it says how well it knows the classes

    def __init__(self, recipe: Recipe, section: PretrainedTeacher, data: Images, validated: ValidateImagesStage) -> None:
        super().__init__(recipe, section, data, validated)
        self.parents = (validated,)

    @property
    def title(self) -> str:
        return self.name

    def options(self) -> Mapping[str, Any]:
        return {**super().options(), "outputs": self.section.outputs, "data": self.data.fingerprint}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.recognition import recognition
        from distill.models.teachers import rebuilt

        network, made = self.brought()
        outputs = self._outputs(made["classes"])
        progress(0.5)
        device = torch.device(self.device)
        teacher = rebuilt(made, network.state_dict(), outputs).to(device)
        known = recognition(confusions_on_test(self.data, self.validated, read, device)(teacher), outputs)
        about = {**made, "trained": False, "outputs": outputs, **known}
        return {"teacher.safetensors": network.state_dict(), "teacher.json": about}

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
