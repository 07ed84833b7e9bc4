"""A distilled set as a torch dataset."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from distill.methods import METHODS
from distill.pipeline.store import ChecksumMismatch, Store
from distill.recipe import Recipe, RecipeError
from distill.runs.folder import finished_of, recipe_of
from distill.runs.graph_snapshot import graph_of
from distill.stages.draw import Draw, draws
from distill.stages.weighted import weighted_set


class DistilledSet(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Items (image, label, weight): float32 (C, H, W) in [0, 1], the class index, the sample weight.

    Parameters
    ----------
    images : tensor (n, C, H, W)
        In uint8.
    labels : tensor (n,)
        Indices of classes.
    logits : tensor (n, classes) or None
        The teacher's, where the protocol labels images once.
    weights : tensor (n,)
        Sample weights: the same total for every class, mean 1.
    classes, keys : tuple of str
        Names of the classes, and the classes as the source writes them.
    ipc : int or None
        Images a class, None for all.
    seed : int
        Of the draw.

    Examples
    --------
    >>> import distill, torch
    >>> images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])
    >>> weights = torch.tensor([1.5, 0.5, 1.0, 1.0])
    >>> data = distill.DistilledSet(images, labels, None, weights, ("cat", "dog"), ("cat", "dog"), 2, 0)
    >>> image, label, weight = data[0]
    >>> len(data), image.shape, int(label), float(weight)
    (4, torch.Size([1, 8, 8]), 0, 1.5)
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        logits: Tensor | None,
        weights: Tensor,
        classes: tuple[str, ...],
        keys: tuple[str, ...],
        ipc: int | None,
        seed: int,
    ) -> None:
        self.images, self.labels, self.logits, self.weights = images, labels, logits, weights
        self.classes, self.keys, self.ipc, self.seed = classes, keys, ipc, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor, Tensor]:
        return self.images[index].float() / 255, self.labels[index], self.weights[index]


def _or(values: list[Any]) -> str:
    return " or ".join(map(str, values))


def load(folder: str | Path, method: str | None = None, ipc: int | None = None, seed: int | None = None) -> DistilledSet:
    """The set that a run distilled: by default its first method, its largest budget and its first seed.

    Parameters
    ----------
    folder : str or Path
        A run's folder.
    method : str, optional
        Such as ``"ddoq"``.
    ipc : int, optional
        Images a class.
    seed : int, optional
        Of the draw.

    Returns
    -------
    DistilledSet
        A torch dataset of (image, label, weight).

    Raises
    ------
    RecipeError
        For a folder without a finished run, and for a set that the run does not have.

    Examples
    --------
    >>> import distill, tempfile
    >>> try:
    ...     distill.load(tempfile.mkdtemp())
    ... except ValueError:
    ...     print("there is no run in that folder")
    there is no run in that folder
    """
    recipe = recipe_of(folder)
    method = recipe.methods[0] if method is None else method
    graph = graph_of(folder, recipe, finished_of(folder))
    if method not in graph.sets:
        if method in recipe.methods:
            raise RecipeError(
                f"this run made no images of {method}: its classifiers learn from the codes themselves, which are exported as "
                "prototypes (--format prototypes)"
            )
        raise RecipeError(f"this run has no method {method!r}; it has {', '.join(graph.sets or recipe.methods)}")
    draw = draw_of(recipe, method, ipc, seed)
    with reading(folder, recipe) as store:
        data = weighted_set(store, graph.part_names, graph.names, *graph.sets[method], draw, METHODS[method].weights)
    weights = data.weights.float()
    return DistilledSet(data.images, data.labels, data.logits, weights, data.classes, graph.classes, draw.k, draw.seed)


def draw_of(recipe: Recipe, method: str, ipc: int | None, seed: int | None) -> Draw:
    """That of a method with a budget and a seed, by default the largest and the first; RecipeError for what a run has not."""
    select = METHODS[method].select
    held, one = draws(recipe, select), select in ("all", "external")  # whatever the seed
    if held[0].k is None and ipc is not None:
        raise RecipeError(f"{method} has all images, not ipc = {ipc}; leave ipc out")
    chosen = [draw for draw in held if ipc in (None, draw.k) and (one or seed in (None, draw.seed))]
    if not chosen:
        has = [list(dict.fromkeys(getattr(draw, key) for draw in held)) for key in ("k", "seed")]
        raise RecipeError(
            f"this run has no set of {method} with {'any number of' if ipc is None else ipc} images per class and "
            f"{'any seed' if seed is None else f'seed {seed}'}; it has {_or(has[0])} images per class, and seed {_or(has[1])}"
        )
    return max(chosen, key=lambda draw: draw.k or 0)  # of the first seed: the first of equals


@contextmanager
def reading(folder: str | Path, recipe: Recipe) -> Iterator[Store]:
    """A run's store; what is not there as sealed ends in a sentence."""
    try:
        yield Store(Path(folder))
    except ChecksumMismatch as damage:
        remedy = "Run it again to mend it"
        if finished_of(folder) not in (None, recipe):
            remedy = "The recipe given here last is not the one that was finished here; run that again: it is kept"
        raise RecipeError(f"the run is not finished, or files of it were changed: {damage}. {remedy}") from None
