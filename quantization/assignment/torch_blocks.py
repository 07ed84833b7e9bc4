"""What is computed of a group of measures, in torch's own operations, block by block: without Triton, and in tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch as _torch

from quantization.arrays import epsilon
from quantization.assignment.padding_groups import Group, Tensor

torch: Any = _torch

_LEAST_BLOCK, _MOST_BLOCK, _BLOCK_SHARE = 2**21, 2**25, 64  # entries of a block: a share of the points', between bounds
_WIDTH = 256  # coordinates of one inner product


@dataclass(frozen=True, eq=False)
class Frame:
    r"""Codebooks made ready for scores: shifted to their mean and scaled by a power of two, as in ``voronoi``.

    codes: (P, K, d) and half_squares: (P, K), infinite past k_p, in the working precision. centre: (P, d). scale, top: (P,), top
    the largest half square. A score is $\tfrac12|c|^2 - \langle x, c\rangle$, its inner product the sum of those of m coordinates
    at a time. Each of these is off by at most m u |x||c|, their sum by one u for each, so in the bound of ``voronoi`` the d of
    one long inner product becomes m + d/m.
    """

    codes: Tensor
    half_squares: Tensor
    centre: Tensor
    scale: Tensor
    top: Tensor

    @classmethod
    def of(cls, group: Group, codes: Tensor) -> "Frame":
        """The frame of codebooks (P, K, d), which are zero past k_p."""
        work = torch.float64 if group.dtype == torch.float64 else torch.float32
        centre = (codes.sum(1, dtype=torch.float64) / group.ks[:, None]).to(work)
        centred = codes.to(work) - centre[:, None]
        lengths = torch.linalg.vector_norm(centred, dim=2, dtype=torch.float64)
        half_squares, scale, top = half_squares_of(group, lengths, work)
        return cls(centred.mul_(scale[:, None, None]), half_squares, centre, scale, top)


def half_squares_of(group: Group, lengths: Tensor, dtype: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What a frame holds of centred codes of these lengths (P, K): half squares, the scale, and the largest half square."""
    lengths = lengths.masked_fill(~group.coded, 0.0)
    length = lengths.amax(1)
    exponent = torch.where(length.isfinite(), torch.frexp(length.nan_to_num(posinf=1.0))[1], 0).clamp(-120, 120)
    scale = ((1023 - exponent.long()) << 52).view(torch.float64)  # 2^-exponent to the last bit, which pow on a GPU is not
    half_squares = (lengths * scale[:, None]).square() / 2
    top = half_squares.amax(1).to(dtype)
    return half_squares.masked_fill_(~group.coded, torch.inf).to(dtype), scale.to(dtype), top


@dataclass(frozen=True, eq=False)
class CellSums:
    r"""What the cells of codebooks hold, per code and per measure.

    masses: (P, K) float64. means: (P, K, d), rounded to the points' dtype, the code itself in an empty cell. moved: (P,), whether
    any of them differs from its code. costs, pulls: (P,) float64, $\sum_i w_i |x_i - c|^2$ and the square root of
    $\sum_k |\sum_{i \in V_k} w_i (x_i - c_k)|^2 / w(V_k)$, the residual's numerator.
    """

    masses: Tensor
    means: Tensor
    moved: Tensor
    costs: Tensor
    pulls: Tensor


class Plain:
    """Nearest codes, sums over cells and distances of one group's points.

    decided: how many points the last assignment left to direct differences.
    """

    def __init__(self, group: Group) -> None:
        self.group, self.decided = group, 0

    def assign(self, codes: Tensor) -> Tensor:
        """(P, N) int32: each point's nearest of codes (P, K, d), as direct differences in float64 decide; K past the last point.

        codes: in the points' dtype, zero past k_p.
        """
        group, frame = self.group, Frame.of(self.group, codes)
        labels = torch.full((group.size, group.n), group.k, dtype=torch.int32, device=group.device)
        width = min(_WIDTH, group.dim)
        gamma = 1.1 * (width + -(-group.dim // width) + 8) * epsilon(frame.codes)
        self.decided = 0
        for p, rows, x in self._blocks():
            shifted = (x.to(frame.codes.dtype) - frame.centre[p, None]) * frame.scale[p, None, None]
            scores = torch.zeros(*shifted.shape[:2], group.k, dtype=shifted.dtype, device=group.device)
            for i in range(0, group.dim, width):
                scores -= shifted[:, :, i : i + width] @ frame.codes[p, :, i : i + width].mT
            scores += frame.half_squares[p, None]
            best, found = scores.min(2)
            size = torch.linalg.vector_norm(shifted, dim=2) * (2 * frame.top[p, None]).sqrt() + frame.top[p, None]
            rivals = ~(scores > (best + gamma * size)[:, :, None]) & group.coded[p, None]
            filled = group.filled[p, rows]
            doubtful = (rivals.sum(2) != 1) & filled
            count = int(doubtful.sum())
            if count:
                self.decided += count
                found[doubtful] = _decided(x, codes[p], rivals, doubtful)
            labels[p, rows] = torch.where(filled, found, group.k).int()
        return labels

    def cells(self, codes: Tensor, labels: Tensor) -> CellSums:
        """The cells as :meth:`assign` has labelled them, summed in float64 from differences to the own code."""
        group = self.group
        masses = torch.zeros(group.size, group.k, dtype=torch.float64, device=group.device)
        shifts, costs = torch.zeros_like(codes, dtype=torch.float64), torch.zeros_like(masses[:, 0])
        for p, rows, x in self._blocks(wide=True):
            own = labels[p, rows].long()
            filled = own < group.k
            own.clamp_(max=group.k - 1)
            difference = x.double() - codes[p].gather(1, own[:, :, None].expand(-1, -1, group.dim))
            difference.masked_fill_(~filled[:, :, None], 0.0)
            weights = group.weights[p, rows]
            members = torch.zeros(*own.shape, group.k, dtype=torch.float64, device=group.device)
            members.scatter_(2, own[:, :, None], weights[:, :, None])
            masses[p] += members.sum(1)
            shifts[p] += members.mT @ difference
            costs[p] += (weights * difference.square_().sum(2)).sum(1)
        return _finished(codes, masses, shifts, costs)

    def distances(self, candidates: Tensor) -> Tensor:
        r"""$|x_i - x_{j}|^2$ for points j, (P, T) → (P, T, N) float64, by direct differences; 0 past the last point."""
        group = self.group
        squared = torch.zeros(*candidates.shape, group.n, dtype=torch.float64, device=group.device)
        drawn = torch.stack([x[rows] for x, rows in zip(group.points, candidates, strict=True)])
        for p, rows, x in self._blocks(wide=True):
            for t in range(candidates.shape[1]):
                difference = x.double() - drawn[p, t, None].double()
                squared[p, t, rows] = difference.square_().sum(2)
        return squared.masked_fill_(~group.filled[:, None], 0.0)

    def _blocks(self, *, wide: bool = False) -> Iterator[tuple[slice, slice, Tensor]]:
        """Parts of the points: which measures, which of their rows, and the points (p, rows, d), zero past the last one.

        wide: smaller blocks, for float64 copies of them.
        """
        group = self.group
        entries = max(_LEAST_BLOCK, min(_MOST_BLOCK, sum(x.numel() for x in group.points) // _BLOCK_SHARE)) // (2 if wide else 1)
        across = max(group.k, group.dim)
        height = max(1, min(group.n, entries // across))
        members = max(1, entries // (group.n * across))
        for i in range(0, group.size, members):
            points = group.points[i : i + members]
            for j in range(0, max(map(len, points)), height):
                block = _stacked([x[j : j + height] for x in points])
                yield slice(i, i + len(points)), slice(j, j + block.shape[1]), block


def _finished(codes: Tensor, masses: Tensor, shifts: Tensor, costs: Tensor) -> CellSums:
    nonempty = masses > 0
    safe = torch.where(nonempty, masses, 1.0)[:, :, None]
    shifts = torch.where(nonempty[:, :, None], shifts, 0.0)
    means = (codes.double() + shifts / safe).to(codes.dtype)
    shifts /= safe.sqrt()
    largest = shifts.abs().amax((1, 2))  # taken out of the squares, which else lose float64 data of 1e-150
    shifts /= torch.where(largest > 0, largest, 1.0)[:, None, None]
    return CellSums(masses, means, (means != codes).flatten(1).any(1), costs, largest * shifts.square_().sum((1, 2)).sqrt())


def _stacked(parts: list[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0][None]
    height = max(map(len, parts))
    if all(len(x) == height for x in parts):
        return torch.stack(parts)
    return torch.stack([torch.nn.functional.pad(x, (0, 0, 0, height - len(x))) for x in parts])


def _decided(x: Tensor, codes: Tensor, rivals: Tensor, doubtful: Tensor) -> Tensor:
    """The nearest code of each doubtful row among its rivals, by direct differences in float64; the lowest index wins a tie."""
    where = doubtful.nonzero()
    rivals = rivals[doubtful]
    row, code = rivals.nonzero(as_tuple=True)
    squared = torch.full(rivals.shape, torch.inf, dtype=torch.float64, device=x.device)
    chunk = max(1, _LEAST_BLOCK // x.shape[2])
    for i in range(0, len(row), chunk):
        rows, ks = row[i : i + chunk], code[i : i + chunk]
        p, j = where[rows].unbind(1)
        squared[rows, ks] = (x[p, j].double() - codes[p, ks].double()).square_().sum(1)
    return squared.argmin(1)
