"""A case: a handful of numbers from which a law, and all that a claim draws, can be made again; and families of laws."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

L = TypeVar("L")
Make = Callable[[np.random.Generator, int, int], L]  # (rng, dim, size)

_SEEDS: int = 2**31


@dataclass(frozen=True)
class Case:
    """Generated inputs: a kind of law in R^dim, its size, the number k of codes, and the seed of all that is random."""

    kind: str
    dim: int
    size: int
    k: int
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}, d = {self.dim}, size {self.size}, K = {self.k}, seed {self.seed}"


@dataclass(frozen=True)
class Family(Generic[L]):
    """The laws that a claim is for.

    words: what they are. kinds: name → a function (rng, dim, size) → law. dims, sizes: what those may be; ``size`` is ``unit``.
    codes: the numbers k of codes to try.
    """

    words: str
    kinds: Mapping[str, Make[L]]
    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    unit: str
    codes: tuple[int, ...]

    def law(self, case: Case) -> L:
        """The law of a case; its random numbers are independent of those that a claim draws from ``case.seed``."""
        return self.kinds[case.kind](np.random.default_rng([case.seed, 1]), case.dim, case.size)

    def cases(self, rng: np.random.Generator, count: int) -> Iterator[Case]:
        """``count`` cases, every kind of law as often as any other, and likewise every dimension."""
        kinds, dims = _in_turn(rng, list(self.kinds), count), _in_turn(rng, list(self.dims), count)
        for kind, dim in zip(kinds, dims, strict=True):
            size, k = (choices[rng.integers(len(choices))] for choices in (self.sizes, self.codes))
            yield Case(kind, dim, size, k, int(rng.integers(_SEEDS)))


T = TypeVar("T")


def _in_turn(rng: np.random.Generator, choices: list[T], count: int) -> list[T]:
    """``count`` of the choices, each round of them in an order of its own."""
    drawn: list[T] = []
    while len(drawn) < count:
        drawn += [choices[i] for i in rng.permutation(len(choices))]
    return drawn[:count]
