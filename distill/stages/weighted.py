"""A method's training set: the images of all classes as one tensor, each with its class and its sample weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.methods.weights import moded, sample_weights
from distill.pipeline.stage import Reader, Stage
from distill.stages.draw import Draw


@dataclass(frozen=True)
class WeightedSet:
    """A method's training set.

    images: (n, C, H, W) uint8. labels: (n,). logits: (n, classes), the teacher's of each image, where the protocol takes those.
    weights: (n,), of mean 1. classes: names.
    """

    images: Any
    labels: Any
    logits: Any
    weights: Any
    classes: tuple[str, ...]


def weighted_set(
    read: Reader, parts: Sequence[str], names: tuple[str, ...], images: Stage, logits: Stage | None, draw: Draw, mode: str
) -> WeightedSet:
    """The set of a draw: ``images`` decoded, ``logits`` labelled image by image if anything is, weighted by a mode.

    parts: one per class. names: of the classes.
    """
    import torch

    pixels, labels, teachers, measures = [], [], [], []
    for index, part in enumerate(parts):
        decoded = read.tensors(images, part)
        measures.append(moded(draw.of(decoded, "weights").double().numpy(), mode))
        pixels.append(draw.of(decoded, "images"))
        labels.append(torch.full((len(pixels[-1]),), index))
        if logits is not None:
            teachers.append(draw.of(read.tensors(logits, part), "logits"))
    whole = torch.cat(teachers) if teachers else None
    # All of the data are taken as they come: each image counts alike, whatever its class.
    weights = sample_weights(measures) if draw.k is not None else [measure * len(measure) for measure in measures]
    return WeightedSet(torch.cat(pixels), torch.cat(labels), whole, torch.from_numpy(np.concatenate(weights)), names)
