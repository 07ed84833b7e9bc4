"""Processes that make one part together, each on a device of its own."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Team:
    """A process's place among those of a part. meeting: the file by which they find each other; the first writes the part."""

    rank: int = 0
    size: int = 1
    meeting: Path | None = None

    def share(self, count: int) -> slice:
        """This process's of ``count`` things in a row, which all take as evenly as can be."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)


ALONE = Team()
