"""Students: what those stages share whose parts are trained on a draw of a method under a regime of labels."""

from typing import Any

from distill.images import Images
from distill.methods import METHODS
from distill.pipeline.stage import Stage
from distill.recipe import Recipe
from distill.stages.draw import Run, runs


class StudentsStage(Stage):
    """A part per draw and seed. regime: of the labels. select, images, labels: what makes them; None where nothing does."""

    data: Images
    select: Any
    images: Any
    labels: Any

    def __init__(self, recipe: Recipe, data: Images, method: str, regime: str) -> None:
        self.recipe, self.data, self.method, self.regime = recipe, data, method, regime

    @property
    def title(self) -> str:
        return self.recipe.train.titled(f"{self.name} {self.method}", self.regime)

    def parts(self) -> list[str]:
        return [run.name for run in self.runs()]

    def runs(self) -> list[Run]:
        """The students, a part each."""
        return runs(self.recipe, METHODS[self.method].select, self.regime)

    @property
    def logits(self) -> Any:
        """The stage that labels each image once, if one does."""
        return None
