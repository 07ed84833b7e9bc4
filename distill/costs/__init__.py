"""What a stage costs, told before it is made: bytes on disk, bytes in each worker's memory, and what it does over and over.

One table says it of every kind of stage; whatever is not in it is known once a part is made. ``microbenchmark`` (what a cost is
made of), ``images``, ``quantizing``, ``inference``, ``training`` (the functions of the table), ``networks`` (microbenchmarks of
networks), ``measure`` (operations, memory and time of one).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distill.costs import images, inference, quantizing, training
from distill.costs.microbenchmark import Bytes, Microbenchmark, Repeated
from distill.pipeline.stage import Stage
from distill.stages.balanced import BalancedStage
from distill.stages.decode import DiffusionStage
from distill.stages.distances import DistancesStage
from distill.stages.encode import EncodeStage
from distill.stages.features import FeaturesStage
from distill.stages.invert import InvertStage
from distill.stages.label import ImageLabelStage, StoredLabelStage
from distill.stages.pretrained_network import PretrainedNetworkStage
from distill.stages.pretrained_teacher import PretrainedTeacherStage
from distill.stages.probe import ProbeStage
from distill.stages.quantize import QuantizeStage
from distill.stages.real_images import RealImagesStage
from distill.stages.train import TrainStage
from distill.stages.trained_codec import TrainedCodecStage
from distill.stages.trained_prior import TrainedPriorStage
from distill.stages.trained_teacher import TrainedTeacherStage
from distill.stages.validate_images import ValidateImagesStage

__all__ = ["Bytes", "Microbenchmark", "Repeated", "cost", "disk_bytes", "host_memory_bytes"]


@dataclass(frozen=True)
class _Costs:
    """Functions of a stage. work: what it does over and over. disk: of its parts. memory: of the data that each worker holds."""

    work: Callable[[Any], list[Repeated]] | None = None
    disk: Callable[[Any], Bytes] | None = None
    memory: Callable[[Any], Bytes] | None = None


_TABLE: dict[type[Stage], _Costs] = {
    ValidateImagesStage: _Costs(images.validate),
    TrainedCodecStage: _Costs(training.codec, training.trained_disk, images.training_images),
    EncodeStage: _Costs(inference.encode, inference.latents_disk),
    FeaturesStage: _Costs(inference.features, inference.features_disk),
    PretrainedNetworkStage: _Costs(disk=training.brought_disk),
    TrainedPriorStage: _Costs(training.prior, training.trained_disk, training.latents),
    InvertStage: _Costs(inference.invert, inference.latents_disk),
    QuantizeStage: _Costs(quantizing.quantize, quantizing.codes_disk),
    BalancedStage: _Costs(quantizing.balanced_codes, quantizing.codes_disk),
    DiffusionStage: _Costs(inference.decode, inference.decoded_disk),
    RealImagesStage: _Costs(images.read, images.selected_disk),
    TrainedTeacherStage: _Costs(training.teacher, training.trained_disk, images.all_images),
    PretrainedTeacherStage: _Costs(disk=training.brought_disk, memory=images.with_test_images),
    ImageLabelStage: _Costs(inference.label_images),
    StoredLabelStage: _Costs(inference.label_epochs, inference.labels_disk, inference.labels_memory),
    ProbeStage: _Costs(training.probes),
    TrainStage: _Costs(training.students, memory=training.students_memory),
    DistancesStage: _Costs(quantizing.transport),
}


def cost(stage: Stage) -> list[Repeated]:
    """What a stage's parts do over and over; nothing where only making one tells how long they take."""
    work = _of(stage).work
    return work(stage) if work else []


def disk_bytes(stage: Stage) -> Bytes | None:
    """What its parts will take on disk; None where only making one tells."""
    disk = _of(stage).disk
    return disk(stage) if disk else None


def host_memory_bytes(stage: Stage) -> Bytes | None:
    """The data that each worker has in its own memory while it makes a part; None where it reads a few images at a time."""
    memory = _of(stage).memory
    return memory(stage) if memory else None


def _of(stage: Stage) -> _Costs:
    return next((_TABLE[kind] for kind in type(stage).__mro__ if kind in _TABLE), _Costs())
