"""One network trained by several processes: each takes its share of a batch, and all take the same step."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore  # pyright: ignore[reportPrivateImportUsage]

from distill.pipeline.team import Team

_PATIENCE = timedelta(minutes=30)  # for a process that is late, or whose look at the test images takes long


@contextmanager
def together(team: Team, device: torch.device) -> Iterator[None]:
    """Meet the others of the team for as long as this lasts; nothing for one alone."""
    if team.size == 1:
        yield
        return
    assert team.meeting is not None
    team.meeting.parent.mkdir(parents=True, exist_ok=True)
    store = FileStore(str(team.meeting), team.size)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=team.rank, world_size=team.size, timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def spread(model: nn.Module, team: Team) -> nn.Module:
    """The model, whose gradients are the mean of all processes' from now on."""
    return model if team.size == 1 else nn.parallel.DistributedDataParallel(model)


def any_of(team: Team, said: bool, device: torch.device) -> bool:
    """Whether any process of the team says so; asked by all of them at once."""
    if team.size == 1:
        return said
    votes = torch.tensor(float(said), device=device)
    distributed.all_reduce(votes)
    return bool(votes > 0)


def of_the_whole(loss: Tensor, team: Team, mine: int, whole: int) -> Tensor:
    r"""A process's mean loss of its images, weighted so that the mean over processes is that of the whole batch.

    $\frac1P \sum_p \frac{P\, b_p}{b}\, \bar\ell_p = \frac1b \sum_i \ell_i$ for P processes with $b_p$ of b images.
    """
    return loss if team.size == 1 else loss * (team.size * mine / whole)
