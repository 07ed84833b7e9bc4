"""The codec between images and latents."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.pipeline.stage import Reader, Stage
from distill.recipe import Recipe
from distill.stages.validate_images import ValidateImagesStage

if TYPE_CHECKING:
    from distill.models.autoencoder import Autoencoder


class CodecStage(Stage):
    """What encodes images and decodes latents. size: of its images. channels, side: of its latents, (channels, side, side)."""

    name = "codec"
    size: int
    channels: int
    side: int
    colours: int
    section: Any

    @abstractmethod
    def __init__(self, recipe: Recipe, section: Any, data: Images, validated: ValidateImagesStage) -> None:
        """section: of the recipe."""

    def parts(self) -> list[str]:
        return ["model"]

    @abstractmethod
    def load(self, read: Reader) -> "Autoencoder":
        """The model, kept by this process."""

    def untrained(self) -> Any:
        """A model with random weights, of the same configuration."""
        raise NotImplementedError(f"{self.title} says no network with random weights to time")

    def shape(self, half: str) -> tuple[int, int, int]:
        """Of what a half is given."""
        return (self.colours, self.size, self.size) if half == "encoder" else (self.channels, self.side, self.side)
