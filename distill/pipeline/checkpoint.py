"""Checkpoints: where a part under way keeps its state, so that an end of whatever kind loses a minute at most.

``<stage>-<digest>/.checkpoints/<part>.json`` names a file of tensors beside it by its SHA-256 and is written after it: a kill at
any moment leaves the last checkpoint or the one before. Both go when the part is sealed.
"""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.pipeline.process_group import ALONE, ProcessGroup

EVERY = "DISTILL_CHECKPOINT_SECONDS"  # of the environment: seconds between checkpoints, 60 where it is not set


class Interrupted(BaseException):
    """A signal asked for an end, and what was under way is saved."""


class Checkpoint:
    """The state of one part: tensors and JSON values. ``write`` writes a file whole.

    group: whose part it is; the first of it saves, the others only load.
    """

    def __init__(self, folder: Path, part: str, write: Callable[[Path, bytes], None], group: ProcessGroup = ALONE) -> None:
        self._folder, self._part, self._write, self._saves = folder, part, write, group.rank == 0
        self._every = float(os.environ.get(EVERY, "60"))
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and values of the last save; None where there is none, or it is not what was saved."""
        from safetensors.torch import load

        try:
            note = json.loads(self._note.read_bytes())
            data = (self._folder / Path(note["file"]).name).read_bytes()
            if hashlib.sha256(data).hexdigest() != note["sha256"]:
                return None
            return load(data), note["values"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def share(self) -> float:
        """The share of the part that was done when its state was kept last; 0 where there is none."""
        try:
            return float(json.loads(self._note.read_bytes())["values"]["share"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    def save(self, tensors: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Keep a state instead of the one before."""
        self._last = time.monotonic()
        if not self._saves:
            return
        from safetensors.torch import save

        data = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
        name = f"{self._part}.{time.time_ns()}.safetensors"
        self._write(self._folder / name, data)
        note = {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "values": dict(values)}
        self._write(self._note, json.dumps(note, indent=1, sort_keys=True, allow_nan=False).encode())
        for path in self._folder.glob(f"{self._part}.*.safetensors"):
            if path.name != name:
                path.unlink(missing_ok=True)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the time has come to save."""
        return time.monotonic() - self._last >= self._every

    @property
    def stopping(self) -> bool:
        """Whether a signal asks for an end."""
        return _STOP.asked

    def __enter__(self) -> "Checkpoint":
        _STOP.waits = True
        self._last = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        _STOP.waits = False

    def remove(self) -> None:
        """Forget the state."""
        for path in (self._note, *self._folder.glob(f"{self._part}.*.safetensors")):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()

    @property
    def _note(self) -> Path:
        return self._folder / f"{self._part}.json"


class _Stop:
    """What a signal found: training that saves and ends at its next step, or nothing that could be saved."""

    def __init__(self) -> None:
        self.asked, self.waits = False, False

    def __call__(self, number: int, _: object) -> None:
        if not self.waits:
            os._exit(128 + number)
        self.asked = True


_STOP = _Stop()


def stop() -> None:
    """Let training under way save at its next step and end this process; anything else under way ends at once."""
    _STOP(signal.SIGTERM, None)


def save_on_sigterm() -> None:
    """From now on SIGTERM is the word to :func:`stop`."""
    signal.signal(signal.SIGTERM, _STOP)
