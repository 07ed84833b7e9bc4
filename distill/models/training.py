"""The one training loop, for all that is trained here; killed or stopped at any step, it goes on as if it had not been."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from distill.models.finite import NotFinite
from distill.models.schedules import cycle
from distill.pipeline.checkpoint import Checkpoint, Interrupted
from distill.recipe import Training

_LOOK = 50  # steps after which losses are looked at that a GPU computed
_ASK = 8  # steps after which processes that train together ask each other whether to end


class Draws(Protocol):
    """What a loss draws its batches and noise from, as tensors that say where it is."""

    def state(self) -> dict[str, Tensor]: ...
    def restore(self, state: dict[str, Tensor]) -> None: ...


def train_loop(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    optimizer: torch.optim.Optimizer,
    rate: Callable[[int], dict[str, Any]],
    steps: int,
    progress: Callable[[float], None],
    *,
    after_step: Callable[[int], None] | None = None,
    draws: Draws | None = None,
    notes: list[Any] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    average: AveragedModel | None = None,
    checkpoint: Checkpoint | None = None,
    largest: Callable[[float], float] | None = None,
) -> None:
    """``steps`` steps of ``optimizer`` on ``loss(step)``.

    rate: the optimizer's options at a step, counted from 0. after_step: called with the number of steps done, before a checkpoint
    is taken. draws, notes: state beside the model's and the optimizer's; ``notes`` is a list of JSON values, filled again
    on going on. average: of the model, told of every step. largest: of what all processes say that train together,
    where there are several. Raises :class:`Interrupted` once a signal asked for an end and the state is saved.
    """
    state = _State(model, optimizer, draws, notes, scaler, average)
    done = state.restore(checkpoint) if checkpoint is not None else 0
    if largest is not None and (largest(done) != done or largest(-done) != -done):
        raise RuntimeError(f"processes that train together hold different checkpoints, this one of step {done}; try again")
    sound = torch.tensor(True, device=next(model.parameters()).device)
    with checkpoint or nullcontext():
        for step in range(done, steps):
            options = rate(step)
            for group in optimizer.param_groups:
                group.update(options)
            value = loss(step)
            sound &= torch.isfinite(value.detach()).to(sound.device)
            due = checkpoint is not None and (checkpoint.stopping or checkpoint.due())
            if (not value.is_cuda or step + 1 == steps or step % _LOOK == 0 or due) and not sound:
                raise NotFinite(_diverged(step, options))
            optimizer.zero_grad()
            if scaler is None:
                value.backward()
                optimizer.step()
            else:
                scaler.scale(value).backward()
                scaler.step(optimizer)
                scaler.update()
            if average is not None:
                average.update_parameters(model)
            if after_step is not None:
                after_step(step + 1)
            progress((step + 1) / steps)
            if checkpoint is None:
                continue
            stopping = checkpoint.stopping
            if largest is not None:  # all end at one step; asking makes them wait for each other, so not at every one
                stopping = (step + 1) % _ASK == 0 and largest(stopping) > 0
            if stopping or (checkpoint.due() and step + 1 < steps):
                state.save(checkpoint, step + 1, steps)
            if stopping:
                raise Interrupted


def _diverged(step: int, options: dict[str, Any]) -> str:
    return (
        f"by step {step + 1} a loss is not finite; the learning rate, {options['lr']:g} there, is too high, or the precision has "
        "too small a range"
    )


def train(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n: int,
    options: Training,
    generator: torch.Generator,
    progress: Callable[[float], None],
    *,
    weight_decay: float = 1e-4,
    ema: float = 0.0,
    after_step: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """``options.steps`` steps of AdamW on ``loss(indices)``, the mean loss of a batch of indices below ``n``.

    The learning rate rises over the first tenth of the steps and falls to zero by a cosine. ``generator`` draws the batches and
    whatever the loss draws. With ``ema`` the model ends as the :func:`moving_average` of its weights, of that decay.
    """
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=weight_decay, fused=True)
    batches = Batches(n, options.batch, generator)
    average = moving_average(model, ema) if ema else None

    def rate(step: int) -> dict[str, Any]:
        learning_rate, beta = cycle(options.learning_rate, options.steps, step)
        return {"lr": learning_rate, "betas": (beta, 0.999)}

    train_loop(
        model,
        lambda step: loss(next(batches)),
        optimizer,
        rate,
        options.steps,
        progress,
        after_step=after_step,
        draws=batches,
        average=average,
        checkpoint=checkpoint,
    )
    if average is not None:
        model.load_state_dict(average.module.state_dict())


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    r"""$\bar\theta_t = \beta_t \bar\theta_{t-1} + (1 - \beta_t)\, \theta_t$, $\beta_t = \min(\beta, \frac{1 + t}{10 + t})$.

    β is ``decay``. While t is small the average forgets faster, and so is soon free of the random weights it began with.
    """

    @torch.no_grad()
    def step(averages: Any, weights: Any, count: Any) -> None:
        t = int(count)
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, 1 - min(decay, (1 + t) / (10 + t)))

    return AveragedModel(model, multi_avg_fn=step)


class Batches(Iterator[Tensor]):
    """Endless batches of ``size`` indices below n: random passes laid end to end, so that all are used equally often."""

    def __init__(self, n: int, size: int, generator: torch.Generator) -> None:
        self._n, self._size, self._generator = n, size, generator
        self._waiting = torch.empty(0, dtype=torch.long)

    def __next__(self) -> Tensor:
        while len(self._waiting) < self._size:
            self._waiting = torch.cat([self._waiting, torch.randperm(self._n, generator=self._generator)])
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        return batch

    def state(self) -> dict[str, Tensor]:
        """The indices still to come of this pass, and the generator's."""
        return {"waiting": self._waiting, "generator": self._generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._waiting = state["waiting"]
        self._generator.set_state(state["generator"])


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, temperature: float) -> Tensor:
    r"""$\frac1n \sum_i w_i\, \ell_i$, $\ell_i = -\sum_c p_{ic} \log q_{ic}$, p the targets, q the softmax of the logits over T.

    logits, targets: (n, classes). weights: (n,). The sum is divided by the batch's size n, never by its weights, so that a batch
    of light images takes a light step. No factor T².
    """
    return (weights * -(targets * (logits / temperature).log_softmax(1)).sum(1)).mean()


@dataclass(frozen=True)
class _State:
    """All that a training changes, to be saved and put back."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    draws: Draws | None
    notes: list[Any] | None
    scaler: torch.amp.GradScaler | None
    average: AveragedModel | None

    def save(self, checkpoint: Checkpoint, done: int, steps: int) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items() if value is not None}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        if self.draws is not None:
            tensors |= {f"draws.{name}": tensor for name, tensor in self.draws.state().items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        scaler = self.scaler.state_dict() if self.scaler is not None else None
        checkpoint.save(tensors, {"done": done, "share": done / steps, "notes": self.notes or [], "scaler": scaler})

    def restore(self, checkpoint: Checkpoint) -> int:
        """Put everything back as it was saved; returns the steps done, 0 where nothing was."""
        found = checkpoint.load()
        if found is None:
            return 0
        tensors, values = found
        self.model.load_state_dict(_below("model.", tensors))
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = _laid_out_as(parameters[int(index)], tensor)
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.average is not None:
            self.average.load_state_dict(_below("average.", tensors))
        if self.draws is not None:
            self.draws.restore(_below("draws.", tensors))
        if self.notes is not None:
            self.notes[:] = values["notes"]
        if self.scaler is not None:
            self.scaler.load_state_dict(values["scaler"])
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return values["done"]


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The same values in the memory order of a parameter: fused optimizers walk through both side by side."""
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor) if tensor.shape == parameter.shape else tensor


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
