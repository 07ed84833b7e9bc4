"""Evaluation on the real test images: how often a classifier is right there, and what it takes for what."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Reader
from distill.stages.validate_images import ValidateImagesStage

LOOK = 512  # test images at once


def scores_on_test(data: Images, validated: ValidateImagesStage, read: Reader, device: Any, batch: int = LOOK) -> Any:
    """Evaluates on the test images: a model → its top-1 and top-5 there, as fractions.

    A worker decodes these images once and keeps them in its memory: students are evaluated many times, and decoding takes longer
    than most evaluations. What they take there, :mod:`distill.costs` says.
    """
    import torch

    ranks, top = _ranks_on_test(data, validated, read, device, batch), min(5, len(data.classes))

    def scores(model: Any) -> dict[str, float]:
        hits, count = torch.zeros(2, dtype=torch.long), 0
        for ranked, wanted in ranks(model, top):
            right = ranked == wanted[:, None]
            hits += torch.stack([right[:, 0].sum(), right.any(1).sum()])
            count += len(wanted)
        return {"top1": int(hits[0]) / count, "top5": int(hits[1]) / count}

    return scores


def confusions_on_test(data: Images, validated: ValidateImagesStage, read: Reader, device: Any) -> Any:
    """Evaluates on the test images: a model → how often it took an image of a class for another, (classes, classes)."""
    ranks = _ranks_on_test(data, validated, read, device, LOOK)

    def confusions(model: Any) -> NDArray[np.int64]:
        found = np.zeros((len(data.classes), len(data.classes)), np.int64)
        for ranked, wanted in ranks(model, 1):
            np.add.at(found, (wanted.numpy(), ranked[:, 0].numpy()), 1)
        return found

    return confusions


def _ranks_on_test(data: Images, validated: ValidateImagesStage, read: Reader, device: Any, batch: int) -> Any:
    """(model, top) → batch by batch of the test images, the classes (b, top) that it ranks first, and theirs (b,)."""
    import torch

    from distill.models.finite import finite

    seen = validated.all_readable(read, "test")
    pixels = cached(("test", validated.digest), lambda: torch.from_numpy(data.test.read(seen)))
    labels = torch.from_numpy(data.test.labels[seen])

    @torch.no_grad()
    def ranks(model: Any, top: int) -> Iterator[Any]:
        for some, wanted in zip(pixels.split(batch), labels.split(batch), strict=True):
            logits = finite(model(some.to(device).float() / 255), "logits of test images", "the network's training diverged")
            yield logits.topk(top, 1).indices.cpu(), wanted

    return ranks
