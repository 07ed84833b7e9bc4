"""Work in batches that shrink: where memory runs out, the batch is halved and tried again."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Answer = TypeVar("Answer")


class Batches:
    """How many at once: ``size``, and from when memory ran out half as many, in what is worked on later too."""

    def __init__(self, size: int) -> None:
        self.size = size

    def of(self, work: Callable[[slice], Answer], n: int) -> Iterator[Answer]:
        """``work`` of consecutive slices of ``range(n)``. Raises what ran out where one alone does not fit."""
        start = 0
        while start < n:
            size = min(self.size, n - start)
            try:
                answer = work(slice(start, start + size))
            except (RuntimeError, MemoryError) as error:
                if size == 1 or not ran_out(error):
                    raise
                answer = None
            if answer is None:  # outside of the except clause, which keeps the failed batch alive
                self.size = -(-size // 2)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield answer
            start += size


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
