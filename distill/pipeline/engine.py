"""The seam between stages and machines: an engine has parts made, by processes of this machine or of a cluster."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from distill.pipeline.stage import Stage


class Engine(Protocol):
    """Makes parts; called by one thread.

    free: workers without a part; asked several times a second. submit: has ``stage.processes`` workers make a part. Its future
    raises ``ChecksumMismatch`` where a parent's part is damaged, ``BrokenExecutor`` where a worker was lost, which another
    replaces, and :class:`PartFailed`. cancel: has a part saved and left. close: has all of them, and ends the workers.
    """

    def free(self) -> int: ...
    def submit(self, stage: Stage, part: str, on_progress: Callable[[float], None]) -> Future[Any]: ...
    def cancel(self, future: Future[Any]) -> None: ...
    def close(self) -> None: ...


class PartFailed(RuntimeError):
    """A part could not be made; everything finished so far is kept."""
