"""A network of timm's or torchvision's, its weights copied into the run, so that a run needs them once."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from distill.images import Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Progress, Reader, Stage
from distill.recipe import Recipe, RecipeError
from distill.stages.validate_images import ValidateImagesStage


class PretrainedNetworkStage(Stage):
    """``<part>.safetensors``, its weights, and ``<part>.json``, which says how it is built and fed. key: of its section."""

    name = "network"
    key: ClassVar[str] = "features"
    part: ClassVar[str] = "network"
    data: Images
    section: Any

    def __init__(self, recipe: Recipe, section: Any, data: Images, validated: ValidateImagesStage) -> None:
        self.section, self.data, self.validated = section, data, validated
        self.device = recipe.compute.device
        if section.weights != "pretrained" and is_file(section.weights) and not Path(section.weights).is_file():
            raise RecipeError(f"{self.key}.weights: there is no file {section.weights}; give one, or 'pretrained'")

    @property
    def title(self) -> str:
        return f"{self.name} {self.section.model}"

    def options(self) -> Mapping[str, Any]:
        section = self.section
        weights = _sha256(Path(section.weights)) if Path(section.weights).is_file() else section.weights
        return {"source": section.source, "model": section.model, "size": section.size, "weights": weights}

    def parts(self) -> list[str]:
        return [self.part]

    def unobtainable(self) -> str | None:
        from distill.models.fetching import why_no_teacher

        section = self.section
        reason = None if Path(section.weights).is_file() else why_no_teacher(section.source, section.model)
        return reason and (
            f"{self.key}.model = {section.model!r}: its weights are not here, and can't be fetched: {reason}. Give a file with "
            f"{self.key}.weights, which may be the teacher.safetensors of another run"
        )

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        network, made = self.brought()
        return {f"{part}.safetensors": network.state_dict(), f"{part}.json": {**made, "outputs": None}}

    def brought(self) -> tuple[Any, dict[str, Any]]:
        """The network with its weights, and what it takes to build it again."""
        from distill.models.teachers import pretrained

        section = self.section
        return pretrained(section.source, section.model, section.weights, section.size)

    def load(self, read: Reader) -> Any:
        """The network: pixels (n, C, H, W) from 0 to 1 → logits."""
        from distill.models.teachers import rebuilt

        def make() -> Any:
            made = read.values(self, self.part)
            return rebuilt(made, read.tensors(self, self.part), made["outputs"]).to(self.device)

        return cached((read.check(self, self.part), self.digest), make)

    def untrained(self) -> Any:
        """The same with random weights."""
        return self._blank[0]()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image that it is fed."""
        return self._blank[1]

    @cached_property
    def _blank(self) -> Any:
        from distill.models.teachers import blank

        return blank(self.section.source, self.section.model, self.section.size)


def is_file(weights: str) -> bool:
    """Whether weights are given as a file, and not by a name."""
    return weights.endswith((".safetensors", ".pth", ".pt", ".bin")) or "/" in weights


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
