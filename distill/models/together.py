"""One network trained by several processes: each takes its share of a batch, and all take the same step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore  # pyright: ignore[reportPrivateImportUsage]

from distill.pipeline.team import Left, Team

_PATIENCE = timedelta(minutes=30)  # for a process whose look at the test images takes long
_PAUSE = 0.05  # seconds between looks for the others


@contextmanager
def together(team: Team, device: torch.device) -> Iterator[None]:
    """Meet the others of the team for as long as this lasts; nothing for one alone. Raises :class:`Left` where one won't come.

    After an error the process must end, once it has said what happened: to leave in good order takes all of them.
    """
    if team.size == 1:
        yield
        return
    assert team.meeting is not None
    team.meeting.parent.mkdir(parents=True, exist_ok=True)
    store = FileStore(str(team.meeting), team.size)
    store.set(f"here/{team.rank}", "")
    # Looked for, since a store that waits is deaf to signals.
    while not store.check([f"here/{rank}" for rank in range(team.size)]):
        if team.left:
            raise Left
        time.sleep(_PAUSE)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=team.rank, world_size=team.size, timeout=_PATIENCE)
    yield
    distributed.destroy_process_group()


def spread(model: nn.Module, team: Team) -> nn.Module:
    """The model, whose gradients are the mean of all processes' from now on."""
    return model if team.size == 1 else nn.parallel.DistributedDataParallel(model)


def largest(team: Team, said: float, device: torch.device) -> float:
    """The largest of what the processes of the team say, all of them at once."""
    if team.size == 1:
        return said
    votes = torch.tensor(said, device=device)
    distributed.all_reduce(votes, distributed.ReduceOp.MAX)
    return float(votes)


def of_the_whole(loss: Tensor, team: Team, mine: int, whole: int) -> Tensor:
    r"""A process's mean loss of its images, weighted so that the mean over processes is that of the whole batch.

    $\frac1P \sum_p \frac{P\, b_p}{b}\, \bar\ell_p = \frac1b \sum_i \ell_i$ for P processes with $b_p$ of b images.
    """
    return loss if team.size == 1 else loss * (team.size * mine / whole)
