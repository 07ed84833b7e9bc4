"""Evaluation on the real test images: how often a classifier is right there, and what it takes for what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.models.model_cache import cached
from distill.pipeline.stage import Product, Reader, Stage
from distill.stages.validate_images import ValidateImagesStage

LOOK = 512  # test images at once


@dataclass(frozen=True)
class Outcome:
    """What a student is worth, in two files of its part: ``<part>.json`` and, whether it is right on each test image, the tensor
    ``right`` of ``<part>.safetensors``.

    top1, top5: after the last step. best, best_top5: of the best of ``evaluations``, a figure chosen on the test split.
    label_bytes: of the labels read. right: (n,).
    """

    top1: float
    top5: float
    best: float
    best_top5: float
    evaluations: list[dict[str, Any]]
    label_bytes: int
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, evaluations: Sequence[Mapping[str, Any]], right: NDArray[np.bool_], label_bytes: int = 0) -> "Outcome":
        """From looks at the test images, each with its step, top1 and top5, the last ones last."""
        last, best = evaluations[-1], max(evaluations, key=lambda each: (each["top1"], each["step"]))
        looks = [dict(each) for each in evaluations]
        return cls(last["top1"], last["top5"], best["top1"], best["top5"], looks, label_bytes, right)

    @classmethod
    def read(cls, read: Reader, stage: Stage, part: str) -> "Outcome":
        """That of a finished part."""
        return cls(**read.values(stage, part), right=read.tensors(stage, part)["right"].numpy())

    def product(self, part: str, **beside: Any) -> Product:
        """Its files, with tensors of the student's own ``beside``."""
        import torch

        values = {key: value for key, value in asdict(self).items() if key != "right"}
        return {f"{part}.json": values, f"{part}.safetensors": {"right": torch.from_numpy(self.right), **beside}}


class Looks:
    """Evaluates on the test images: a model → its top-1 and top-5 there, as fractions.

    A worker decodes these images once and keeps them in its memory: students are evaluated many times, and decoding takes longer
    than most evaluations. What they take there, :mod:`distill.costs` says.
    """

    def __init__(self, data: Images, validated: ValidateImagesStage, read: Reader, device: Any, batch: int = LOOK) -> None:
        self._ranks, self._top = _ranks_on_test(data, validated, read, device, batch), min(5, len(data.classes))
        self._last: NDArray[np.bool_] | None = None

    def __call__(self, model: Any) -> dict[str, float]:
        found = [(ranked == wanted[:, None]).numpy() for ranked, wanted in self._ranks(model, self._top)]
        right = np.concatenate(found)
        self._last = right[:, 0].copy()
        return {"top1": int(right[:, 0].sum()) / len(right), "top5": int(right.any(1).sum()) / len(right)}

    def right(self, model: Any) -> NDArray[np.bool_]:
        """Whether the model of the last look is right on each image, (n,); looks where none was taken, as after a resumption."""
        if self._last is None:
            self(model.eval())
        assert self._last is not None
        return self._last


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
