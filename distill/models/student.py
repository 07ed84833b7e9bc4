r"""A student's training: passes over a weighted set, mixed images, soft or hard targets; a function of its seed alone.

$\min_\theta \frac1b \sum_i w_i\, H(p_i, q_\theta(x_i))$ over batches of b augmented images, as a protocol says. The images stay
where they are, on the student's device if they fit there; nothing is loaded while training.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distill.models.augment import Draws, cutmix, draw, joined, laid_end_to_end, mixing_share, move_whole, warp
from distill.models.networks import optimizer_for
from distill.models.schedules import cycle, factor
from distill.models.training import train_loop, weighted_cross_entropy
from distill.pipeline.checkpoint import Checkpoint
from distill.pipeline.process_group import ALONE, ProcessGroup
from distill.pipeline.stage import seed_of
from distill.protocols.pairs import pair_weights
from distill.protocols.protocol import Protocol as Rules
from distill.protocols.protocol import batches_of

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_AT_ONCE = 2**18  # bytes of images that are drawn for, and warp, at once


@dataclass(frozen=True)
class Mixed:
    """A batch: pixels (b, C, S, S) from 0 to 1; which images of the set are in each, and the share kept of the first."""

    pixels: Tensor
    epoch: Tensor
    place: Tensor
    first: Tensor
    second: Tensor
    share: Tensor


class Targets(Protocol):
    """What a student shall say of a batch: probabilities (b, classes)."""

    def __call__(self, batch: Mixed) -> Tensor: ...


@dataclass(frozen=True)
class _Stretch:
    """Some passes laid end to end, a row a place. shown: all of it as one batch, or None where that is left to the steps."""

    draws: Draws
    epoch: Tensor
    place: Tensor
    shown: Mixed | None = None


class Passes:
    """The passes of a student over its images, in order: what a step sees is a function of the seed and the step.

    images: (n, C, H, W) uint8. weights: (n,), of mean 1. size: of what the student sees.

    To draw for few small images and to move them takes a sixth of a small student's step, nearly all of it for calls: so short
    passes are drawn many at once, and moved at once where that takes no sums, which another batch may round otherwise.
    """

    def __init__(self, images: Tensor, weights: Tensor, rules: Rules, size: int, seed: int, device: torch.device) -> None:
        self.images, self.size, self.device = images, size, device
        self._weights, self._rules, self.seed = weights.double().numpy(), rules, seed
        self._source = (images.shape[2], images.shape[3])
        self._short = images.nbytes <= _AT_ONCE
        self._a_stretch = max(1, _AT_ONCE // images.nbytes)  # passes in one
        self._stretches = dict[int, _Stretch]()

    def __len__(self) -> int:
        return len(self.images)

    def draws(self, epoch: int) -> Draws:
        """What pass ``epoch`` draws."""
        rules, seed = self._rules, seed_of(self.seed, "pass", epoch)
        return draw(rules.augmentation, self._weights, self._source, self.size, rules.weighting, seed)

    def mixed(self, epoch: int, places: Tensor) -> Mixed:
        """The images at some places of a pass, augmented and mixed."""
        number, before = divmod(epoch, self._a_stretch)
        return self._mixed([(self._stretch(number), places + before * len(self))])

    def batch(self, step: int, size: int, *, whole: bool, group: ProcessGroup = ALONE) -> Mixed:
        """The batch of a step, or a process's share of it: part of one pass, or ``whole`` and across passes laid end to end."""
        start, stop = self._span(step, size, whole, group.size)
        mine = group.share(stop - start)
        # A process whose share is empty goes through the motions with an image that counts for nothing.
        first, last = start + mine.start, start + max(mine.stop, mine.start + 1)
        rows = self._a_stretch * len(self)
        numbers = range(first // rows, (last - 1) // rows + 1)
        return self._mixed([(self._stretch(i), slice(max(first - i * rows, 0), min(last - i * rows, rows))) for i in numbers])

    def count(self, step: int, size: int, *, whole: bool, group: ProcessGroup = ALONE) -> int:
        """The images of a step's batch."""
        start, stop = self._span(step, size, whole, group.size)
        return stop - start

    def _span(self, step: int, size: int, whole: bool, processes: int) -> tuple[int, int]:
        """Where a batch begins and ends, all passes laid end to end."""
        if whole:
            return step * size, (step + 1) * size
        n = len(self)
        count = batches_of(n, size, processes)
        epoch, number = divmod(step, count)
        return epoch * n + number * size, epoch * n + (n if number + 1 == count else (number + 1) * size)

    def _stretch(self, number: int) -> _Stretch:
        """A stretch by its number; the one before is kept too, as a batch may begin in it."""
        if number not in self._stretches:
            self._stretches = {other: each for other, each in self._stretches.items() if other >= number - 1}
            first = number * self._a_stretch
            self._stretches[number] = self._drawn(range(first, first + self._a_stretch))
        return self._stretches[number]

    def _drawn(self, epochs: range) -> _Stretch:
        n, draws = len(self), laid_end_to_end([self.draws(epoch) for epoch in epochs])
        epoch, place = torch.tensor(epochs).repeat_interleave(n), torch.arange(n).repeat(len(epochs))
        if not self._short:
            return _Stretch(draws, epoch, place)
        stretch = _Stretch(draws.at(slice(None), self.device), epoch, place)
        alike = move_whole(draws, self._source, self.size)  # whatever the batch
        return replace(stretch, shown=self._mixed([(stretch, slice(None))])) if alike else stretch

    def _mixed(self, parts: list[tuple[_Stretch, Tensor | slice]]) -> Mixed:
        shown = [_part(each.shown, rows) for each, rows in parts if each.shown is not None]
        if len(shown) == len(parts):
            return shown[0] if len(shown) == 1 else _end_to_end(shown)
        epoch = torch.cat([each.epoch[rows] for each, rows in parts])
        place = torch.cat([each.place[rows] for each, rows in parts])
        here = joined([each.draws.at(rows, self.device) for each, rows in parts])
        pixels, second, share = warp(self._chosen(here), here, self.size), here.image, torch.ones(len(place), device=self.device)
        if self._rules.augmentation.cutmix is not None:
            there = joined([each.draws.at(each.draws.partner[rows], self.device) for each, rows in parts])
            pixels = cutmix(pixels, warp(self._chosen(there), there, self.size), here)
            second, share = there.image, mixing_share(here, self.size)
        return Mixed(pixels, epoch, place, here.image, second, share)

    def _chosen(self, draws: Draws) -> Tensor:
        return self.images[draws.image.to(self.images.device)].to(self.device)


def train_student(
    model: nn.Module,
    passes: Passes,
    weights: Tensor,
    rules: Rules,
    targets: Targets,
    evaluate: Callable[[nn.Module], dict[str, float]],
    progress: Callable[[float], None],
    *,
    student: str,
    ipc: int | None,
    precision: str = "float32",
    checkpoint: Checkpoint | None = None,
    group: ProcessGroup = ALONE,
) -> list[dict[str, Any]]:
    """Train ``model``, which is on the passes' device, and return its scores on the test images as it learns, the last ones last.

    weights: (n,), of mean 1. evaluate: the scores of the model as it is. student: its name, which may have a learning rate of its
    own. ipc: images per class, None for all. precision: of the student's own arithmetic; weights and optimizer stay in float32.
    group: the processes that train it together, each on its share of every batch.
    """
    n, device = len(passes), passes.device
    size, steps, epochs = rules.batch_at(ipc, n), rules.steps_at(ipc, n, group.size), rules.epochs_at(ipc)
    weights = weights.float().to(device)
    optimizer = optimizer_for(model, rules, student, device)
    mixes = rules.augmentation.cutmix is not None
    scaler = torch.amp.GradScaler(device.type) if precision == "float16" else None
    seen: list[dict[str, Any]] = []
    evaluations = {round(steps * (i + 1) / rules.evaluations) for i in range(rules.evaluations)} | {steps}
    model.train()

    def loss(step: int) -> Tensor:
        if group.size > 1:  # what is random in the network differs between processes, and not with where they went on
            torch.manual_seed(seed_of(passes.seed, "process", step, group.rank))
        batch = passes.batch(step, size, whole=epochs is None, group=group)
        with autocast(device, precision):
            logits = network(batch.pixels)
        if mixes or rules.weighting == "systematic":
            counts = pair_weights(weights[batch.first], weights[batch.second], batch.share, rules.weighting)
        else:
            counts = weights[batch.first]
        value = weighted_cross_entropy(logits.float(), targets(batch), counts, rules.temperature)
        whole = passes.count(step, size, whole=epochs is None, group=group)
        return group.of_the_whole(value, whole)

    def rate(step: int) -> dict[str, Any]:
        full = rules.rate_of(student)
        if rules.schedule == "cycle":
            learning_rate, momentum = cycle(full, steps, step)
            return {
                "lr": learning_rate,
                **({"betas": (momentum, 0.999)} if rules.optimizer == "adamw" else {"momentum": momentum}),
            }
        done = Fraction(step, steps) if epochs is None else Fraction(step // batches_of(n, size, group.size), epochs)
        return {"lr": full * factor(rules.schedule, done)}

    def after_step(step: int) -> None:
        if step in evaluations:
            model.eval()
            seen.append({"step": step, **evaluate(model)})
            model.train()

    with group.parallel(model, device) as network:
        train_loop(
            model,
            loss,
            optimizer,
            rate,
            steps,
            progress,
            after_step=after_step,
            notes=seen,
            scaler=scaler,
            checkpoint=checkpoint,
            largest=(lambda said: group.largest(said, device)) if group.size > 1 else None,
        )
    return seen


def autocast(device: torch.device, precision: str) -> Any:
    """The context in which a network computes in a lower precision, or in none but its own."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


def hard_targets(labels: Tensor, classes: int, device: torch.device) -> Targets:
    r"""$\lambda\, e_{y_i} + (1 - \lambda)\, e_{y_j}$ of the two images' classes."""
    ones = torch.nn.functional.one_hot(labels, classes).float().to(device)
    return lambda batch: _blend(ones, batch)


def image_targets(logits: Tensor, temperature: float, device: torch.device) -> Targets:
    """The teacher's probabilities of the two images before augmentation, blended by the share of each."""
    soft = (logits.float() / temperature).softmax(1).to(device)
    return lambda batch: _blend(soft, batch)


def online_targets(teacher: nn.Module, temperature: float, device: torch.device, precision: str) -> Targets:
    """The teacher's probabilities of the very images that the student sees."""

    @torch.no_grad()
    def targets(batch: Mixed) -> Tensor:
        with autocast(device, precision):
            logits = teacher(batch.pixels)
        return (logits.float() / temperature).softmax(1)

    return targets


def _part(batch: Mixed, rows: Tensor | slice) -> Mixed:
    """Some rows of a batch; what is not mixed stays so."""
    first = batch.first[rows]
    second = first if batch.second is batch.first else batch.second[rows]
    return Mixed(batch.pixels[rows], batch.epoch[rows], batch.place[rows], first, second, batch.share[rows])


def _end_to_end(parts: list[Mixed]) -> Mixed:
    """One batch of several."""
    pixels, epoch, place, first, share = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("pixels", "epoch", "place", "first", "share")
    )
    mixes = any(part.second is not part.first for part in parts)
    return Mixed(pixels, epoch, place, first, torch.cat([part.second for part in parts]) if mixes else first, share)


def _blend(rows: Tensor, batch: Mixed) -> Tensor:
    if batch.second is batch.first:  # nothing is mixed
        return rows[batch.first]
    share = batch.share[:, None]
    return share * rows[batch.first] + (1 - share) * rows[batch.second]
