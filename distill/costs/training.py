"""What the stages cost that train a network or bring one: codec, prior, teacher and students."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from distill.costs.images import JOINED, training_images, with_test_images
from distill.costs.inference import of_teacher
from distill.costs.measure import peak
from distill.costs.microbenchmark import Bytes, Microbenchmark, Repeated
from distill.costs.networks import ADAMW, TRAINED, classifier, prediction, reconstruction, weight_bytes
from distill.images import Images
from distill.models.probe import fit
from distill.protocols.protocol import Protocol
from distill.recipe.section import Training
from distill.stages.draw import images_of
from distill.stages.pretrained_teacher import PretrainedTeacherStage
from distill.stages.probe import ProbeStage
from distill.stages.teacher import TeacherStage
from distill.stages.testing import LOOK
from distill.stages.train import TrainStage
from distill.stages.trained_codec import TrainedCodecStage
from distill.stages.trained_prior import TrainedPriorStage
from distill.stages.trained_teacher import TrainedTeacherStage

Trained = TrainedCodecStage | TrainedPriorStage | TrainedTeacherStage


def trained_disk(stage: Trained) -> Bytes:
    """Its weights, and a checkpoint's."""
    return weight_bytes(stage.untrained, TRAINED)


def brought_disk(stage: PretrainedTeacherStage) -> Bytes:
    """The weights that are copied into the run."""
    return weight_bytes(stage.untrained)


def codec(stage: TrainedCodecStage) -> list[Repeated]:
    """Every step reconstructs a batch; all images lie on the device."""
    section = stage.section
    step = reconstruction(stage.digest, stage.untrained, stage.shape("encoder"), section.batch)
    return [_steps(section, step, weight_bytes(stage.untrained, ADAMW).value + training_images(stage).value)]


def prior(stage: TrainedPriorStage) -> list[Repeated]:
    """Every step predicts a batch; all latents lie on the device."""
    section = stage.section
    step = prediction(stage.digest, stage.untrained, stage.shape, section.batch, learns=True)
    return [_steps(section, step, weight_bytes(stage.untrained, ADAMW + bool(section.ema)).value + latents(stage).value)]


def latents(stage: TrainedPriorStage) -> Bytes:
    """All of them, in float32."""
    images, entries = len(stage.data.train), stage.encode.entries
    return Bytes(4.0 * images * entries, f"{images:,} latents × {entries:,} entries × 4 bytes")


def teacher(stage: TrainedTeacherStage) -> list[Repeated]:
    """Every step answers a batch; then the test images are looked at."""
    section = stage.section
    step = classifier(stage.digest, stage.untrained, stage.shape, section.batch, section.precision, learns=True)
    state = weight_bytes(stage.untrained, moments(section.protocol)).value
    return [_steps(section, step, state), looks(stage.data, 1, of_teacher(stage, LOOK, section.precision), state)]


def students(stage: TrainStage) -> list[Repeated]:
    """For each budget the images that its students see, what the teacher says of them meanwhile, and the looks at test images."""
    train, rules, side, found = stage.section, stage.rules, stage.recipe.data.size, list[Repeated]()
    for k in dict.fromkeys(run.draw.k for run in stage.runs()):
        those = [run for run in stage.runs() if run.draw.k == k]
        n = images_of(those[0].draw, stage.data)
        batch, epochs = rules.batch_at(k, n), rules.epochs_at(k)
        seen = len(those) * (rules.steps_at(k, n) * batch if epochs is None else epochs * n)
        shape, share = (stage.data.channels, side, side), -(-batch // stage.processes)
        key = json.dumps([train.model_dump(), len(stage.data.classes)])
        learning = classifier(key, stage.untrained, shape, share, train.precision, learns=True)
        # Processes that train together gather their gradients in a copy of them.
        state = weight_bytes(stage.untrained, moments(rules) + (stage.processes > 1)).value
        labelling = of_teacher(stage.labels, share, train.precision) if isinstance(stage.labels, TeacherStage) else None
        # The teacher answers while all that the student's gradient needs is there.
        state += (labelling and peak(labelling)) or 0
        found.append(Repeated(seen, f"{seen:,} images seen by students", learning, state))
        if labelling:
            found.append(Repeated(seen, f"{seen:,} by the teacher", labelling))
        times = stage.processes * rules.evaluations * len(those)
        found.append(looks(stage.data, times, classifier(key, stage.untrained, shape, LOOK), state))
    return found


def probes(stage: ProbeStage) -> list[Repeated]:
    """For each budget the fits on so many points."""
    d, classes, section, found = stage.space.entries, len(stage.data.classes), stage.section, list[Repeated]()
    for k in dict.fromkeys(run.draw.k for run in stage.runs()):
        those = [run for run in stage.runs() if run.draw.k == k]
        n = images_of(those[0].draw, stage.data)

        def on(device: str, n: int = n) -> Callable[[], Any]:
            rng = np.random.default_rng(0)
            labels = np.arange(n) % classes
            points = rng.standard_normal((n, d)) + rng.standard_normal((classes, d))[labels]
            return lambda: fit(points, np.eye(classes)[labels], np.ones(n), section.ridge)

        benchmark = Microbenchmark(f"probe/{n}/{d}/{classes}/{section.ridge}", 1, on, network=False)
        found.append(Repeated(len(those), f"{len(those)} fits on {n:,} points", benchmark))
    return found


def students_memory(stage: TrainStage) -> Bytes:
    """The largest set, and the test images."""
    most = max(images_of(run.draw, stage.data) for run in stage.runs())
    return with_test_images(stage, {JOINED: 2 * most})


def looks(data: Images, times: int, microbenchmark: Microbenchmark, device_bytes: float = 0.0) -> Repeated:
    """So many looks at all test images."""
    seen = times * len(data.test.labels)
    return Repeated(seen, f"{seen:,} test images", microbenchmark, device_bytes)


def moments(rules: Protocol) -> int:
    """How many numbers the optimizer of a protocol keeps for each of a network's."""
    return ADAMW if rules.optimizer == "adamw" else int(rules.momentum > 0)


def _steps(section: Training, step: Microbenchmark, device_bytes: float) -> Repeated:
    return Repeated(section.steps * section.batch, f"{section.steps:,} steps of {section.batch}", step, device_bytes)
