"""What a stage does over and over, so that its time can be told before it is spent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rehearsal:
    """Some of it, done with what is made up: a batch by a model with random weights on noise, a class of random points.

    key: tells rehearsals apart; those alike are held once. batch: how many of what is done. on: a device → the function that does
    them. learns: whether gradients are kept. network: whether it is one, whose operations and memory can be counted on tensors
    without content; anything else can be timed alone.
    """

    key: str
    batch: int
    on: Callable[[str], Callable[[], Any]] = field(compare=False)
    learns: bool = False
    network: bool = True


@dataclass(frozen=True)
class Work:
    """times: how often it is done in all. what: that number in words, with what does it. kept: bytes that lie on a GPU meanwhile
    and are no part of a rehearsal: an optimizer's state, averages, data, another network.
    """

    times: float
    what: str
    rehearsal: Rehearsal
    kept: float = 0.0
