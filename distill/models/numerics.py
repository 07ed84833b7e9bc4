"""How workers compute: in one thread, deterministically where it can be had, and without TF32 in convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def as_workers(on_gpu: bool) -> Iterator[None]:
    """The settings of a worker while this lasts."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    strict, lenient = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    # On a GPU a few operations have no deterministic form; there they warn instead of ending the run.
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        torch.backends.cudnn.allow_tf32 = tf32
