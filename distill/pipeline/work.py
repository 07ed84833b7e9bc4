"""What a stage does over and over, so that its time can be told before it is spent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rehearsal:
    """One batch of it, by a model with random weights on noise.

    key: tells rehearsals apart; those alike are held once. batch: how many in the batch. on: a device → the function that does
    it. learns: whether gradients are kept.
    """

    key: str
    batch: int
    on: Callable[[str], Callable[[], Any]] = field(compare=False)
    learns: bool = False


@dataclass(frozen=True)
class Work:
    """times: how often it is done in all. what: that number in words, with what does it. kept: bytes that lie on a GPU meanwhile
    and are no part of a rehearsal: an optimizer's state, averages, data, another network.
    """

    times: float
    what: str
    rehearsal: Rehearsal
    kept: float = 0.0
