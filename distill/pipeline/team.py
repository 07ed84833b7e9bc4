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
        """This process's of ``count`` things in a row, as even as can be; the last have none where they are few."""
        return slice(-(-self.rank * count // self.size), -(-(self.rank + 1) * count // self.size))

    def leave(self) -> None:
        """Tell those who wait for this process that it will not come."""
        if self._gone is not None:
            self._gone.parent.mkdir(parents=True, exist_ok=True)
            self._gone.touch()

    @property
    def left(self) -> bool:
        """Whether somebody will not come."""
        return self._gone is not None and self._gone.exists()

    @property
    def _gone(self) -> Path | None:
        return self.meeting and self.meeting.with_name(f"gone.{self.meeting.name}")


class Left(Exception):
    """Another process of the team will not come, for a reason that it tells itself."""


ALONE = Team()
