"""What a stage does over and over, so that its time can be told before it is spent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Microbenchmark:
    """A batch by a model with random weights on noise, quantizing a class of random points: some of a stage's work, on made data.

    key: tells microbenchmarks apart; those alike run once. batch: how many of what is done. on: a device → the function that does
    them. learns: whether gradients are kept. network: whether it is one, whose operations and memory can be counted on tensors
    without content; anything else can be timed alone.
    """

    key: str
    batch: int
    on: Callable[[str], Callable[[], Any]] = field(compare=False)
    learns: bool = False
    network: bool = True


@dataclass(frozen=True)
class Repeated:
    """times: how often it is done in all. what: that number in words, with what does it. device_bytes: what lies on a GPU
    meanwhile and is no part of the microbenchmark: an optimizer's state, averages, data, another network.
    """

    times: float
    what: str
    microbenchmark: Microbenchmark
    device_bytes: float = 0.0


class Bytes(NamedTuple):
    """A number of bytes, and how it is computed."""

    value: float
    ground: str
