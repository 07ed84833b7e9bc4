"""Work in batches that shrink: where memory runs out, the batch is halved and tried again."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Answer = TypeVar("Answer")


def in_batches(work: Callable[[slice], Answer], n: int, size: int) -> Iterator[Answer]:
    """``work`` of consecutive slices of ``range(n)``, of ``size`` each, or of half as many after memory ran out.

    Raises what ran out where one alone does not fit.
    """
    start = 0
    while start < n:
        try:
            answer = work(slice(start, min(start + size, n)))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not ran_out(error):
                raise
            answer = None
        if answer is None:  # outside of the except clause, which keeps the failed batch alive
            size = -(-size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield answer
        start += size


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
