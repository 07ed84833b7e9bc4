"""Full float32 precision inside torch's matrix products, whatever the caller chose for training."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def full_precision(device: str | None) -> Generator[None]:
    """No TF32, no bfloat16 and no autocast on torch ``device``s of this kind ("cpu", "cuda"); None, for numpy, does nothing.

    The setting belongs to the process: hold it around threads that each hold it, or one of them gives it back too early.
    """
    if device is None:
        yield
        return
    torch: Any = sys.modules["torch"]
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(chosen)
