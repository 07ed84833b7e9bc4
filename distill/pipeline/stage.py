"""A stage: a pure step of the graph, named by a digest of all that decides its content."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from distill.pipeline.checkpoint import Checkpoint
from distill.pipeline.process_group import ProcessGroup

Content = Mapping[str, Any] | bytes  # tensors for .safetensors, values for .json, bytes for anything else
Product = Mapping[str, Content]  # file name → content
Progress = Callable[[float], None]  # called with the fraction done


class Reader(Protocol):
    """What a stage may read while it makes a part: its parents' finished parts, checked; where it may keep its own state, and who
    makes the part with it.
    """

    def tensors(self, stage: "Stage", part: str) -> dict[str, Any]: ...
    def values(self, stage: "Stage", part: str) -> dict[str, Any]: ...
    def check(self, stage: "Stage", part: str) -> Path: ...
    def manifest(self, stage: "Stage") -> dict[str, Any] | None: ...
    def checkpoint(self, stage: "Stage", part: str) -> Checkpoint: ...
    @property
    def group(self) -> ProcessGroup: ...


class Stage(ABC):
    """``make(part)`` is a function of the options, the parents' parts and the part's seed, and of nothing else."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    parents: tuple["Stage", ...] = ()
    # What a stage computes on: results on another kind of device, or of another precision, are other results.
    device: str = "cpu"
    dtype: str = "float32"
    processes: int = 1  # that make a part together
    registered: str = ""  # the name under which a package of others registers it

    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """All that decides the parts' content besides the parents: JSON values."""

    @abstractmethod
    def parts(self) -> list[str]:
        """The names of the parts, which are also names of files."""

    @abstractmethod
    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        """The files of one part."""

    def summary(self, read: Reader) -> Mapping[str, Any]:
        """What the manifest says of all parts together; ``ValueError`` where they must not be built upon."""
        return {}

    def unobtainable(self) -> str | None:
        """Why something that it must fetch is neither here nor to be had, in a sentence; None where nothing stands in the way."""
        return None

    @property
    def title(self) -> str:
        """How the stage is called to people."""
        return self.name

    @cached_property
    def digest(self) -> str:
        """Names the content: changes with the options, the version and any ancestor's digest."""
        content = {
            "stage": self.name,
            "version": self.version,
            "numerics": {"device": self.device, "dtype": self.dtype},
            "options": self.options(),
            "parents": [parent.digest for parent in self.parents],
            **({"registered": self.registered} if self.registered else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder_name(self) -> str:
        return f"{self.name}-{self.digest}"


def ordered(last: Stage) -> list[Stage]:
    """``last`` and its ancestors, every stage after its parents."""
    found: dict[Stage, None] = {}

    def visit(stage: Stage) -> None:
        for parent in stage.parents:
            visit(parent)
        found.setdefault(stage)

    visit(last)
    return list(found)


def seed_of(*names: int | str) -> int:
    """A seed for whatever is named: the same on every machine and for every number of processes, below 2^63."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, names)).encode()).digest()[:8], "big") >> 1
