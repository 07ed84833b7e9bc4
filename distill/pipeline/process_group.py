"""Processes that train one network together: each takes its share of a batch, and all take the same step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_PATIENCE = timedelta(minutes=30)  # for a process whose look at the test images takes long


@dataclass(frozen=True)
class ProcessGroup:
    """A process's place among those that make a part, of which the first writes it. address: where they meet, ``host:port``."""

    rank: int = 0
    size: int = 1
    address: str = ""

    def share(self, count: int) -> slice:
        """This process's of ``count`` things in a row, as even as can be; the last have none where they are few."""
        return slice(-(-self.rank * count // self.size), -(-(self.rank + 1) * count // self.size))

    @contextmanager
    def parallel(self, model: Any, device: Any) -> Iterator[Any]:
        """The model, whose gradients are the mean of all processes'. After an error the process must end: the others notice."""
        if self.size == 1:
            yield model
            return
        from torch import distributed, nn

        backend, place = ("nccl" if device.type == "cuda" else "gloo"), f"tcp://{self.address}"
        distributed.init_process_group(backend, init_method=place, rank=self.rank, world_size=self.size, timeout=_PATIENCE)
        yield nn.parallel.DistributedDataParallel(model)
        distributed.destroy_process_group()

    def largest(self, said: float, device: Any) -> float:
        """The largest of what the processes say, all of them at once."""
        import torch

        votes = torch.tensor(said, device=device)
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
        return float(votes)

    def of_the_whole(self, loss: Any, whole: int) -> Any:
        r"""A process's mean loss of its images, weighted so that the mean over processes is that of the whole batch.

        $\frac1P \sum_p \frac{P\, b_p}{b}\, \bar\ell_p = \frac1b \sum_i \ell_i$ for P processes with $b_p$ of b images.
        """
        return loss if self.size == 1 else loss * (self.size * len(range(whole)[self.share(whole)]) / whole)


ALONE = ProcessGroup()
