"""What somebody's distilled set is to the stages, in whatever form it was handed out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Item:
    """An image: what people find it by, its stored bytes, its weight, and its logits, a tensor (classes,), if it brings any."""

    name: str
    content: Callable[[], bytes]
    weight: float = 1.0
    logits: Callable[[], Any] | None = None


class ExternalSet(ABC):
    """path: of the set. classes: their images in order, by what the set calls them."""

    path: Path
    classes: Mapping[str, Sequence[Item]]

    @abstractmethod
    def fingerprint(self, *, labels: bool) -> str:
        """What names the content, of the soft labels too where these are used. Reads all of it."""

    def order(self) -> list[str] | None:
        """The classes that the columns of soft labels are; None where that is the data's order."""
        return None

    @property
    def brings_labels(self) -> bool:
        """Whether every image has soft labels."""
        return all(item.logits is not None for items in self.classes.values() for item in items)
