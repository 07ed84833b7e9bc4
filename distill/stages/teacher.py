"""The teacher: its logits are the soft labels."""

from abc import abstractmethod
from typing import Any

from distill.images import Images
from distill.pipeline.stage import Reader, Stage
from distill.recipe import Recipe
from distill.stages.validate_images import ValidateImagesStage


class TeacherStage(Stage):
    """``teacher.safetensors`` and ``teacher.json``: what it is, its top-1 on the test split, and a warning where that is low."""

    name = "teacher"
    data: Images
    section: Any

    @abstractmethod
    def __init__(self, recipe: Recipe, section: Any, data: Images, validated: ValidateImagesStage) -> None:
        """section: of the recipe."""

    def parts(self) -> list[str]:
        return ["teacher"]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Of an image that it is fed."""

    @abstractmethod
    def load(self, read: Reader) -> Any:
        """The network: pixels (n, C, H, W) from 0 to 1 → logits (n, classes)."""

    @abstractmethod
    def untrained(self) -> Any:
        """The same with random weights."""
