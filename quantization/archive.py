"""Arrays in a file: numpy's .npz without pickle, which appears whole or not at all and is read whole or not at all."""

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO

import numpy as np

from quantization.arrays import Array, is_torch


def write(path: str | Path, arrays: dict[str, Any]) -> None:
    """Write named arrays, numpy or torch, to ``path``, in place of what was there; a failure leaves that as it was."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to put {path.name} into; make it first")
    partial = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    try:
        with partial.open("wb") as file:
            np.savez(file, **{name: _storable(x) for name, x in arrays.items()})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: str | Path, what: str, needed: Iterable[str]) -> dict[str, Any]:
    """The arrays that :func:`write` wrote to ``path``. ``ValueError`` where it is no such file or lacks what is ``needed``."""
    try:
        with Path(path).open("rb") as file, _opened(file) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in stored}
    except (ValueError, EOFError):
        raise ValueError(f"{path} is not a saved {what}: it is no .npz file, or it needs pickle, which is not read") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:  # the last two of zipfile's, for flags
        raise ValueError(f"{path} is corrupted, or was cut short: {error}. Save the {what} again") from None
    missing = sorted(set(needed) - set(arrays))
    if missing:
        raise ValueError(f"{path} is not a saved {what}: it holds no {' and no '.join(missing)}")
    return arrays


def _opened(file: BinaryIO) -> AbstractContextManager[Mapping[str, Any]]:
    stored: Any = np.load(file, allow_pickle=False)
    return stored if hasattr(stored, "files") else nullcontext({})  # an .npy file holds one array, without a name


def _storable(x: Array) -> Any:
    """A numpy array of the same dtype where numpy has it (bfloat16 becomes float32)."""
    if not is_torch(x):
        if np.asarray(x).dtype.hasobject:  # numpy would pickle it
            raise TypeError(f"only numbers and text are written; received {type(x).__name__}")
        return x
    x = x.cpu()
    return x.float().numpy() if str(x.dtype) == "torch.bfloat16" else x.numpy()
