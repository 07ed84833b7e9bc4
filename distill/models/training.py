"""The one training loop: AdamW, one cycle of the learning rate, batches from whole passes in random order."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from distill.recipe import Training


def train(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    n: int,
    options: Training,
    generator: torch.Generator,
    progress: Callable[[float], None],
    *,
    weight_decay: float = 1e-4,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """``options.steps`` steps of AdamW on ``loss(indices)``, the mean loss of a batch of indices below ``n``.

    The learning rate rises over the first tenth of the steps and falls to nought by a cosine. ``after_step`` is called with the
    number of steps done.
    """
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=weight_decay, fused=True)
    rise = max(0.1, 1.5 / (options.steps + 1))  # a rise of no step at all divides by nought
    total = options.steps + 1
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=total, pct_start=rise)
    batches = batches_of(n, options.batch, generator)
    for step in range(1, options.steps + 1):
        value = loss(next(batches))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if after_step is not None:
            after_step(step)
        progress(step / options.steps)


def batches_of(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of ``size`` indices below n: random passes laid end to end, so that all are used equally often."""
    waiting = torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]


def weighted_loss(logits: Tensor, teacher: Tensor, weights: Tensor, temperature: float) -> Tensor:
    r"""$\frac1n \sum_i w_i\, \ell_i$, $\ell_i = -\sum_c p_{ic} \log q_{ic}$, p, q the softmax of teacher's and own logits over T.

    logits, teacher: (n, classes). weights: (n,). The sum is divided by the batch's size n, never by its weights, so that a batch
    of light images takes a light step. No factor T².
    """
    targets = (teacher / temperature).softmax(1)
    return (weights * -(targets * (logits / temperature).log_softmax(1)).sum(1)).mean()
