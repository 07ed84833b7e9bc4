"""A draw: one replicate of a class's selection, named by budget and seed, as it stands in a part's tensor names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from distill.images import Images
from distill.recipe import Recipe


@dataclass(frozen=True)
class Draw:
    """k: images per class; None is all of them. seed: of the replicate."""

    k: int | None
    seed: int

    @property
    def name(self) -> str:
        return f"all.seed{self.seed}" if self.k is None else f"k{self.k}.seed{self.seed}"

    def tensors(self, **named: Any) -> dict[str, Any]:
        """The tensors of this draw under their names in a part."""
        return {f"{self.name}.{key}": tensor for key, tensor in named.items()}

    def of(self, part: Mapping[str, Any], key: str) -> Any:
        """One tensor of this draw from a part."""
        return part[f"{self.name}.{key}"]


def draws(recipe: Recipe, select: str) -> list[Draw]:
    """The draws of a way to select: every budget under every seed; one of everything for ``all``."""
    if select == "all":
        return [Draw(None, 0)]
    if select == "external":
        assert recipe.external is not None
        return [Draw(recipe.external.ipc, 0)]
    return [Draw(k, seed) for k in recipe.select.budgets for seed in recipe.seeds]


def images_of(draw: Draw, data: Images) -> int:
    """The images of a draw, or a few more where a class has fewer than its budget."""
    return len(data.train) if draw.k is None else draw.k * len(data.classes)


def size_of(recipe: Recipe, class_name: str, images: int, k: int) -> int:
    """How many images a class gets of a budget of ``k``: its share of it, but no more than it has images, and at least one."""
    return max(1, min(images, round(k * recipe.select.shares.get(class_name, 1.0))))


@dataclass(frozen=True)
class Run:
    """A student: the part it is, the draw it learns from, and its seed."""

    name: str
    draw: Draw
    seed: int


def runs(recipe: Recipe, select: str, labels: str) -> list[Run]:
    """The students of a way to select under a regime of labels: one a draw that it is for, with its seed; where there is one draw
    alone, one per seed.
    """
    todo = draws(recipe, select)
    if select in ("all", "external"):
        return [Run(replace(draw, seed=seed).name, draw, seed) for draw in todo for seed in recipe.seeds]
    only = recipe.train.scope(labels).k
    return [Run(draw.name, draw, draw.seed) for draw in todo if only is None or draw.k in only]
