"""The prior on the latents."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.pipeline.stage import Reader, Stage
from distill.recipe import Recipe
from distill.stages.encode import EncodeStage

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.sampler import Predict


class PriorStage(Stage):
    """What latents are sampled from, given a class."""

    name = "prior"
    section: Any
    shape: tuple[int, int, int]  # of its latents
    text_width = 0  # of the tokens under which it predicts; 0 where that is a class

    @abstractmethod
    def __init__(self, recipe: Recipe, section: Any, data: Images, encode: EncodeStage) -> None:
        """section: of the recipe. encode: with the codec whose latents they are."""

    def parts(self) -> list[str]:
        return ["model"]

    def untrained(self) -> Any:
        """A model with random weights, of the same configuration."""
        raise NotImplementedError(f"{self.title} says no network with random weights to time")

    fallback: str | None = None  # the precision in which is computed again what is not finite

    @abstractmethod
    def predict(self, read: Reader, index: int, guidance: float, dtype: str | None = None) -> "Predict":
        """The guided prediction for a class of the data, in the prior's own precision or another."""

    def finite(self, sample: "Callable[[str, slice | Tensor], Tensor]", some: slice) -> "Tensor":
        """What ``sample(precision, rows)`` gives of some rows, computed again where it is not finite, as the recipe says."""
        from distill.models.finite import finite, of_precision

        first, wider = some.start, self.fallback
        again = (lambda rows: sample(wider, first + rows)) if wider else None
        return finite(sample(self.dtype, some), "latents by the prior", of_precision("prior", self.dtype), again)

    @abstractmethod
    def scheduler(self, read: Reader, kind: str) -> Any:
        """A scheduler of some kind on the prior's schedule, a new one at every call."""
