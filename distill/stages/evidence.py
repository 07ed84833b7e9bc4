"""What the evaluation says of students that are compared, and of weights that leave few images in effect."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from distill.methods import METHODS
from distill.methods.weights import moded
from distill.pipeline.stage import Reader
from distill.recipe import Recipe
from distill.stages.draw import Draw
from distill.stages.students import StudentsStage
from distill.stages.testing import Outcome
from distill.statistics import comparison, effective_size

_OFF = 0.5  # standard deviations: pixels from 0 to 1 for −1 to 1, or red for blue, are .6 off


def comparisons(read: Reader, recipe: Recipe, trains: Mapping[tuple[str, str], StudentsStage]) -> list[dict[str, Any]]:
    """Each of the recipe's pairs by labels and budget, where both have students; all images stand beside every budget."""
    found: list[dict[str, Any]] = []
    for pair, labels in product(recipe.comparisons, recipe.train.regimes):
        both = [trains[name, labels] for name in pair if (name, labels) in trains]
        if len(both) < 2:
            continue
        budgets = dict.fromkeys(run.draw.k for train in both for run in train.runs())
        for k in [k for k in budgets if k is not None] or [None]:
            parts = [{run.seed: run.name for run in train.runs() if run.draw.k in (k, None)} for train in both]
            seeds = [seed for seed in parts[0] if seed in parts[1]]
            if seeds:
                right = (
                    [Outcome.read(read, train, own[seed]).right for seed in seeds] for train, own in zip(both, parts, strict=True)
                )
                found.append({"first": pair[0], "second": pair[1], "labels": labels, "ipc": k, **comparison(*right)})
    return found


def effective_sizes(read: Reader, train: StudentsStage, draws: Sequence[Draw]) -> dict[str, float]:
    """The effective sample size of each class, by what people call it: mean over draws."""
    found: dict[str, float] = {}
    for name, part in zip(train.data.names, train.data.part_names, strict=True):
        masses, mode = read.tensors(train.select, part), METHODS[train.method].weights
        weights = [moded(draw.of(masses, "weights").double().numpy(), mode) for draw in draws]
        found[name] = float(np.mean([effective_size(each) for each in weights]))
    return found


def unlike_training(off: float | None) -> list[str]:
    """A warning where a network is fed images unlike those that it was trained on; off: ``inputs_off`` of its features."""
    if off is None or off <= _OFF:
        return []
    return [
        f"The network of [features] is fed images that are {off:.1f} standard deviations off those of its training "
        "(photographs fed as they should be: .1 to .3): they are of another kind, or its mean and deviation, or the order of its "
        "channels, are not these."
    ]


def few_in_effect(method: str, k: int | None, sizes: Mapping[str, float]) -> list[str]:
    """A warning where weights leave fewer than two images of a class in effect, of a budget of three or more."""
    few = [f"{name} ({size:.1f})" for name, size in sizes.items() if size < 2]
    if not few or k is None or k < 3:
        return []
    some = ", ".join(few[:5]) + (f" and {len(few) - 5} classes more" if len(few) > 5 else "")
    return [
        f"At {k} images per class the weights of {method} leave fewer than 2 in effect, (Σw)²/Σw², in {some}: a student learns "
        "little of the others. Weights nearer to equal, such as sqrt, keep more."
    ]
