"""What images cost: to be read and checked, and as pixels in a worker's memory or on a disk."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from distill.costs.microbenchmark import Bytes, Microbenchmark, Repeated
from distill.images import Images, Split
from distill.images.pixels import Unreadable
from distill.stages.real_images import RealImagesStage
from distill.stages.teacher import TeacherStage
from distill.stages.train import TrainStage
from distill.stages.trained_codec import TrainedCodecStage
from distill.stages.trained_teacher import TrainedTeacherStage
from distill.stages.validate_images import ValidateImagesStage, inspected

JOINED = "images of a student, each twice while they are joined,"  # what a set takes of memory, in words
_SOME = 64  # images that a microbenchmark reads


def validate(stage: ValidateImagesStage) -> list[Repeated]:
    """Every image of both splits, read and checked."""
    split = stage.data.train
    some, images = _spread(split), len(split) + len(stage.data.test)
    key = f"validate/{stage.data.fingerprint}"
    benchmark = Microbenchmark(key, len(some), lambda device: lambda: inspected(split, some), network=False)
    return [Repeated(images, f"{images:,} images read and checked, as {len(some)} of them were in one thread", benchmark)]


def read(stage: RealImagesStage) -> list[Repeated]:
    """Every selected image, read to pixels."""
    images, split = stage.select.count(), stage.data.train
    some = _spread(split)

    def reading() -> None:
        for position in some:
            with suppress(Unreadable):
                split.read([int(position)])

    benchmark = Microbenchmark(f"read/{stage.data.fingerprint}", len(some), lambda device: reading, network=False)
    return [Repeated(images, f"{images:,} images read, as {len(some)} were in one thread", benchmark)]


def selected_disk(stage: RealImagesStage) -> Bytes:
    """Their pixels."""
    images, each = stage.select.count(), stage.data.channels * stage.data.size**2
    return Bytes(float(images * each), f"{images:,} images × {each:,} bytes")


def training_images(stage: TrainedCodecStage) -> Bytes:
    """All of them as pixels."""
    images, each = len(stage.data.train), stage.data.bytes_an_image
    return Bytes(float(images * each), f"{images:,} training images × {each:,} bytes")


def all_images(stage: TrainedTeacherStage) -> Bytes:
    """Those that it learns from, and those that it is tested on."""
    return with_test_images(stage, {"training images": len(stage.data.train)})


def with_test_images(stage: TeacherStage | TrainStage, beside: Mapping[str, int] | None = None) -> Bytes:
    """Those, and so many of other kinds."""
    return pixels(stage.data, {**(beside or {}), "test images": len(stage.data.test)})


def pixels(data: Images, counts: Mapping[str, int]) -> Bytes:
    """So many images of each kind as pixels."""
    images = " and ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return Bytes(float(sum(counts.values()) * data.bytes_an_image), f"{images} × {data.bytes_an_image:,} bytes in each worker")


def _spread(split: Split) -> NDArray[np.int64]:
    """Positions of some images, evenly from all of a split."""
    return np.unique(np.linspace(0, len(split) - 1, min(_SOME, len(split))).astype(np.int64))
