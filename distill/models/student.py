r"""A student's training: passes over a weighted set, mixed images, soft or hard targets; a function of its seed alone.

$\min_\theta \frac1b \sum_i w_i\, H(p_i, q_\theta(x_i))$ over batches of b augmented images, as a protocol says. The images stay
where they are, on the student's device if they fit there; nothing is loaded while training.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distill.models.augment import Draws, draw, joined, kept, moved, pasted
from distill.models.networks import optimizer_for
from distill.models.schedules import cycle, factor
from distill.models.together import largest, of_the_whole, spread, together
from distill.models.training import descend, weighted_cross_entropy
from distill.pipeline.checkpoint import Checkpoint
from distill.pipeline.stage import seed_of
from distill.pipeline.team import ALONE, Team
from distill.protocols.pairs import pair_weights
from distill.protocols.protocol import Protocol as Rules

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Mixed:
    """A batch: pixels (b, C, S, S) from 0 to 1; which images of the set are in each, and the share kept of the first."""

    pixels: Tensor
    epoch: Tensor
    place: Tensor
    first: Tensor
    second: Tensor
    kept: Tensor


class Targets(Protocol):
    """What a student shall say of a batch: probabilities (b, classes)."""

    def __call__(self, batch: Mixed) -> Tensor: ...


class Passes:
    """The passes of a student over its images, in order: what a step sees is a function of the seed and the step.

    images: (n, C, H, W) uint8. weights: (n,), of mean 1. size: of what the student sees.
    """

    def __init__(self, images: Tensor, weights: Tensor, rules: Rules, size: int, seed: int, device: torch.device) -> None:
        self.images, self.size, self.device = images, size, device
        self._weights, self._rules, self.seed = weights.double().numpy(), rules, seed
        self._places, self._drawn = torch.arange(len(images)), dict[int, Draws]()

    def __len__(self) -> int:
        return len(self.images)

    def draws(self, epoch: int) -> Draws:
        """What pass ``epoch`` draws."""
        if epoch not in self._drawn:
            self._drawn = {number: drawn for number, drawn in self._drawn.items() if number >= epoch - 1}
            source, seed = (self.images.shape[2], self.images.shape[3]), seed_of(self.seed, "pass", epoch)
            rules = self._rules
            self._drawn[epoch] = draw(rules.augmentation, self._weights, source, self.size, rules.weighting, seed)
        return self._drawn[epoch]

    def mixed(self, epoch: int, places: Tensor) -> Mixed:
        """The images at some places of a pass, augmented and mixed."""
        return self._mixed([(epoch, places)])

    def batch(self, step: int, size: int, *, whole: bool, team: Team = ALONE) -> Mixed:
        """The batch of a step, or a team's share of it: part of one pass, or ``whole`` and across passes laid end to end."""
        start, stop = self._span(step, size, whole)
        mine = team.share(stop - start)
        # A process whose share is empty goes through the motions with an image that counts for nothing.
        first, last = start + mine.start, start + max(mine.stop, mine.start + 1)
        n = len(self)
        passes = range(first // n, (last - 1) // n + 1)
        return self._mixed([(e, slice(max(first - e * n, 0), min(last - e * n, n))) for e in passes])

    def count(self, step: int, size: int, *, whole: bool) -> int:
        """The images of a step's batch."""
        start, stop = self._span(step, size, whole)
        return stop - start

    def _span(self, step: int, size: int, whole: bool) -> tuple[int, int]:
        """Where a batch begins and ends, all passes laid end to end."""
        if whole:
            return step * size, (step + 1) * size
        n = len(self)
        epoch, number = divmod(step, -(-n // size))
        return epoch * n + number * size, epoch * n + min((number + 1) * size, n)

    def _mixed(self, parts: list[tuple[int, Tensor | slice]]) -> Mixed:
        drawn = [(self.draws(epoch), places) for epoch, places in parts]
        here = joined([draws.at(places, self.device) for draws, places in drawn])
        each = [self._places[places] for _, places in parts]
        place = torch.cat(each)
        epoch = torch.cat([torch.full((len(some),), number) for some, (number, _) in zip(each, parts, strict=True)])
        pixels, second, share = self._moved(here), here.image, torch.ones(len(place), device=self.device)
        if self._rules.augmentation.cutmix is not None:
            there = joined([draws.at(draws.partner[places], self.device) for draws, places in drawn])
            pixels, second, share = pasted(pixels, self._moved(there), here), there.image, kept(here, self.size)
        return Mixed(pixels, epoch, place, here.image, second, share)

    def _moved(self, draws: Draws) -> Tensor:
        chosen = self.images[draws.image.to(self.images.device)]
        return moved(chosen.to(self.device), draws, self.size)


def learn(
    model: nn.Module,
    passes: Passes,
    weights: Tensor,
    rules: Rules,
    targets: Targets,
    look: Callable[[nn.Module], dict[str, float]],
    progress: Callable[[float], None],
    *,
    student: str,
    ipc: int | None,
    precision: str = "float32",
    checkpoint: Checkpoint | None = None,
    team: Team = ALONE,
) -> list[dict[str, Any]]:
    """Train ``model``, which is on the passes' device, and return its looks at the test images, the last one last.

    weights: (n,), of mean 1. look: the scores of the model as it is. student: its name, which may have a learning rate of its
    own. ipc: images a class, None for all. precision: of the student's own arithmetic; weights and optimizer stay in float32.
    team: the processes that train it together, each on its share of every batch.
    """
    n, device = len(passes), passes.device
    size, steps, epochs = rules.batch_at(ipc, n), rules.steps_at(ipc, n), rules.epochs_at(ipc)
    weights = weights.float().to(device)
    optimizer = optimizer_for(model, rules, student, device)
    mixes = rules.augmentation.cutmix is not None
    scaler = torch.amp.GradScaler(device.type) if precision == "float16" else None
    seen: list[dict[str, Any]] = []
    looks = {round(steps * (i + 1) / rules.evaluations) for i in range(rules.evaluations)} | {steps}
    model.train()

    def loss(step: int) -> Tensor:
        if team.size > 1:  # what is random in the network differs between processes, and not with where they went on
            torch.manual_seed(seed_of(passes.seed, "process", step, team.rank))
        batch = passes.batch(step, size, whole=epochs is None, team=team)
        with autocast(device, precision):
            logits = network(batch.pixels)
        if mixes or rules.weighting == "draw":
            counts = pair_weights(weights[batch.first], weights[batch.second], batch.kept, rules.weighting)
        else:
            counts = weights[batch.first]
        value = weighted_cross_entropy(logits.float(), targets(batch), counts, rules.temperature)
        whole = passes.count(step, size, whole=epochs is None)
        return of_the_whole(value, team, len(range(whole)[team.share(whole)]), whole)

    def rate(step: int) -> dict[str, Any]:
        full = rules.rate_of(student)
        if rules.schedule == "cycle":
            learning_rate, momentum = cycle(full, steps, step)
            return {
                "lr": learning_rate,
                **({"betas": (momentum, 0.999)} if rules.optimizer == "adamw" else {"momentum": momentum}),
            }
        done = Fraction(step, steps) if epochs is None else Fraction(step // -(-n // size), epochs)
        return {"lr": full * factor(rules.schedule, done)}

    def after_step(step: int) -> None:
        if step in looks:
            model.eval()
            seen.append({"step": step, **look(model)})
            model.train()

    with together(team, device):
        network = spread(model, team)
        descend(
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
            largest=(lambda said: largest(team, said, device)) if team.size > 1 else None,
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


def _blend(rows: Tensor, batch: Mixed) -> Tensor:
    share = batch.kept[:, None]
    return share * rows[batch.first] + (1 - share) * rows[batch.second]
