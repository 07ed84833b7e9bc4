"""Measures of about one size side by side: what a GPU takes in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch as _torch

torch: Any = _torch
Tensor = Any  # a torch tensor

_SLACK, _FEW = 1.25, 64  # how many times as many points, or how many more, the largest of a group may have
_CODE_ENTRIES, _POINT_ENTRIES, _MEMBERS = 2**26, 2**26, 2**14


class Measure(Protocol):
    """What is asked of a measure here: points (n, d), weights (n,) in float64, n and d."""

    @property
    def points(self) -> Any: ...

    @property
    def weights_float64(self) -> Any: ...

    @property
    def size(self) -> int: ...

    @property
    def dim(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Group:
    r"""P finite measures of one dimension, dtype and device, and how many codes each is to have.

    points: P tensors (n_p, d), which stay where they are; one tensor may occur many times (restarts). weights: (P, N) float64, N
    the largest n_p, zero past n_p. counts: (P,) the n_p. ks: (P,) codes wanted. Codebooks are (P, K, d) in the points' dtype, K
    the largest k_p, and zero past k_p. All but the points are small.
    """

    points: Sequence[Tensor]
    weights: Tensor
    counts: Tensor
    ks: Tensor
    n: int
    k: int

    @classmethod
    def of(cls, measures: Sequence[Measure], ks: Sequence[int]) -> "Group":
        """These measures, to be quantized by so many codes each."""
        points = [measure.points for measure in measures]
        n, device = max(map(len, points)), points[0].device
        if len(points) == 1:
            weights = measures[0].weights_float64[None]  # no copy, as this may be one of very many points
        else:
            weights = torch.zeros(len(points), n, dtype=torch.float64, device=device)
            for row, measure in zip(weights, measures, strict=True):
                row[: measure.size] = measure.weights_float64
        counts = torch.tensor([len(x) for x in points], device=device)
        return cls(points, weights, counts, torch.tensor(list(ks), device=device), n, max(ks))

    def take(self, members: Sequence[int]) -> "Group":
        """Some of the measures, in the order given."""
        rows = torch.tensor(list(members), device=self.device)
        points = [self.points[i] for i in members]
        n, ks = max(map(len, points)), self.ks[rows]
        return Group(points, self.weights[rows, :n], self.counts[rows], ks, n, int(ks.max()))

    @property
    def size(self) -> int:
        """The number P of measures."""
        return len(self.points)

    @property
    def dim(self) -> int:
        """The dimension d."""
        return int(self.points[0].shape[1])

    @property
    def dtype(self) -> Any:
        """The dtype of the points."""
        return self.points[0].dtype

    @property
    def device(self) -> Any:
        """Where the points are."""
        return self.points[0].device

    @cached_property
    def coded(self) -> Tensor:
        """(P, K): which rows of a codebook are codes."""
        return torch.arange(self.k, device=self.device) < self.ks[:, None]

    @cached_property
    def filled(self) -> Tensor:
        """(P, N): which columns are points."""
        return torch.arange(self.n, device=self.device) < self.counts[:, None]


def grouped(measures: Sequence[Measure], ks: Sequence[int]) -> list[list[int]]:
    """The indices of measures that fit in one :class:`Group` each: alike in kind and about alike in n and k.

    So padding stays within a quarter, and codebooks and what is kept per point within half a gigabyte each.
    """

    def kind(i: int) -> tuple[str, str, int]:
        points = measures[i].points
        return str(points.device), str(points.dtype), int(points.shape[1])

    order = sorted(range(len(measures)), key=lambda i: (kind(i), ks[i], measures[i].size))
    groups: list[list[int]] = []
    sizes: list[int] = []
    for i in order:
        sizes = [*sizes, measures[i].size]
        if not groups or kind(i) != kind(groups[-1][0]) or not _alike(sizes, ks[groups[-1][0]], ks[i], measures[i].dim):
            groups.append([])
            sizes = sizes[-1:]
        groups[-1].append(i)
    return groups


def _alike(sizes: list[int], least_k: int, k: int, dim: int) -> bool:
    n = max(sizes)
    return (
        len(sizes) <= _MEMBERS
        and n <= max(_SLACK * min(sizes), min(sizes) + _FEW)
        and k <= _SLACK * least_k
        and len(sizes) * k * dim <= _CODE_ENTRIES
        and len(sizes) * n * (4 + k.bit_length()) <= _POINT_ENTRIES
    )
