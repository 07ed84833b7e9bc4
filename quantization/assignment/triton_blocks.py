r"""The same as ``torch_blocks`` in fused kernels: a pass reads every point once and writes little but labels and distances.

Tensors of any sizes are neither copied nor padded. Imported once a CUDA tensor has been handed over.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch as _torch

from quantization.assignment import triton_kernels as _kernels
from quantization.assignment.padding_groups import Group, Tensor
from quantization.assignment.torch_blocks import CellSums, Frame, Plain, half_squares_of

torch: Any = _torch
kernels: Any = _kernels

_ELEMENTS = {torch.float32: kernels.tl.float32, torch.float16: kernels.tl.float16, torch.bfloat16: kernels.tl.bfloat16}
_POINT_GAIN, _CODE_GAIN = 2.0**8, 2.0**14  # of what is split, whose small coordinates float16 would lose; codes have length ≤ 1
_CELL_POINTS, _PART_ENTRIES, _PARTS = 4096, 2**24, 1024  # a cell of more points is shared by several programs


@dataclass(frozen=True)
class Tile:
    """What one program of a kernel holds at a time: points, coordinates and codes; how many warps and stages it runs with."""

    points: int
    width: int
    codes: int = 16
    warps: int = 4
    stages: int = 3

    @property
    def launch(self) -> dict[str, Any]:
        """Triton's own options."""
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}


class Fused(Plain):
    """Nearest codes, sums over cells and distances of one group's points, on a GPU."""

    framing: ClassVar[Tile] = Tile(points=1, width=1024)
    scores: ClassVar[Tile] = Tile(points=128, width=32, codes=128)
    deciding: ClassVar[Tile] = Tile(points=1, width=128, codes=16)
    sums: ClassVar[Tile] = Tile(points=4, width=512, stages=4)
    pairs: ClassVar[Tile] = Tile(points=4, width=64, warps=2)

    @classmethod
    def fits(cls, group: Group) -> bool:
        """Whether the kernels take such points: of at most 32 bits, each row contiguous, all rows equally far apart."""
        strides = {x.stride() for x in group.points}
        return group.dtype in _ELEMENTS and len(strides) == 1 and next(iter(strides))[1] == 1

    def assign(self, codes: Tensor) -> Tensor:
        """(P, N) int32: each point's nearest of codes (P, K, d), as direct differences in float64 decide; K past the last point.

        codes: in the points' dtype, zero past k_p.
        """
        group, tile = self.group, self.scores
        labels = torch.full((group.size, group.n), group.k, dtype=torch.int32, device=group.device)
        doubtful = torch.zeros(group.size, group.n, dtype=torch.int8, device=group.device)
        if self.splits:
            (frame, rests), gain, terms = self._split(codes), _POINT_GAIN, _split_terms(group.dim, tile.width)
        else:
            frame, rests, gain, terms = Frame.of(group, codes), None, 1.0, tile.width
        gamma = 1.1 * (terms + -(-group.dim // tile.width) + 8) * torch.finfo(torch.float32).eps
        kernels.score_codes[(-(-group.n // tile.points), group.size)](
            *self._points, group.counts, group.ks, frame.codes, rests, frame.half_squares, frame.centre, frame.scale, frame.top,
            labels, doubtful, group.dim, group.k, group.n, gamma,
            ELEMENT=self._element, ALIGNED=self._aligned, ROWS=tile.points, CODES=min(tile.codes, max(16, _power(group.k))),
            WIDTH=tile.width, SPLIT=self.splits, POINT_GAIN=gain, CODE_GAIN=_CODE_GAIN, **tile.launch,
        )  # fmt: skip
        undecided = doubtful.flatten().nonzero()[:, 0]
        self.decided = len(undecided)
        if self.decided:
            tile = self.deciding
            kernels.decide_rows[(self.decided,)](
                *self._points, undecided, group.ks, codes, labels, group.dim, group.k, group.n,
                ELEMENT=self._element, ALIGNED=self._aligned, CODES=tile.codes, WIDTH=tile.width, **tile.launch,
            )  # fmt: skip
        return labels

    def cells(self, codes: Tensor, labels: Tensor) -> CellSums:
        """The cells as :meth:`assign` has labelled them, summed in float64 from differences to the own code.

        Points are read in the order of their labels; a large cell is shared by several programs, whose sums are added in turn.
        """
        group, tile = self.group, self.sums
        ordered, order = labels.sort(dim=1, stable=True)
        ends = torch.arange(group.k + 1, dtype=torch.int32, device=group.device).expand(group.size, -1).contiguous()
        begins = torch.searchsorted(ordered, ends)
        cells, panels = group.size * group.k, -(-group.dim // tile.width)
        most = max(1, min(_PARTS, _PART_ENTRIES // (cells * group.dim)))
        parts = min(most, max(1, group.n // (group.k * _CELL_POINTS)))

        def room(*shape: int, dtype: Any = torch.float64) -> Tensor:
            return torch.empty(group.size, group.k, *shape, dtype=dtype, device=group.device)

        masses, costs, pulls, moved = room(parts), room(parts, panels), room(panels), room(panels, dtype=torch.int8)
        shifts, means = room(parts if parts > 1 else 0, group.dim), torch.empty_like(codes)
        kernels.sum_cells[(cells * parts, panels)](
            *self._points, order, begins, group.weights, codes, masses, costs, shifts, means, pulls, moved,
            group.dim, group.k, group.n, parts, panels,
            ELEMENT=self._element, ALIGNED=self._aligned, ROWS=tile.points, WIDTH=tile.width, WHOLE=parts == 1, **tile.launch,
        )  # fmt: skip
        if parts > 1:
            kernels.join_cells[(cells, panels)](
                masses, shifts, codes, means, pulls, moved, group.dim, parts, panels,
                ELEMENT=self._element, WIDTH=tile.width, **tile.launch,
            )  # fmt: skip
        return CellSums(masses.sum(2), means, moved.flatten(1).any(1), costs.sum((1, 2, 3)), pulls.sum((1, 2)).sqrt())

    def distances(self, candidates: Tensor) -> Tensor:
        r"""$|x_i - x_{j}|^2$ for points j, (P, T) → (P, T, N) float64, by direct differences; 0 past the last point."""
        group, trials, tile = self.group, candidates.shape[1], self.pairs
        most = _power(trials + 1) // 2
        others = _power(trials - most) if trials > most else 0
        squared = torch.zeros(*candidates.shape, group.n, dtype=torch.float64, device=group.device)
        kernels.measure_pairs[(-(-group.n // tile.points), group.size)](
            *self._points, group.counts, candidates.contiguous(), squared, group.dim, trials, group.n,
            ELEMENT=self._element, ALIGNED=self._aligned, ROWS=tile.points, MOST=most, OTHERS=others,
            WIDTH=tile.width, **tile.launch,
        )  # fmt: skip
        return squared

    def _split(self, codes: Tensor) -> tuple[Frame, Tensor]:
        """The frame with its codes times _CODE_GAIN in float16, and what is left of them, in float16 too."""
        group, tile, cells = self.group, self.framing, self.group.size * self.group.k
        panels = -(-group.dim // tile.width)
        centre = torch.empty(group.size, group.dim, device=group.device)
        kernels.mean_codes[(group.size, panels)](codes, group.ks, centre, group.dim, group.k, WIDTH=tile.width, **tile.launch)
        squares = torch.empty(group.size, group.k, dtype=torch.float64, device=group.device)
        kernels.centred_squares[(cells,)](codes, centre, squares, group.dim, group.k, WIDTH=tile.width, **tile.launch)
        half_squares, scale, top = half_squares_of(group, squares.sqrt_(), torch.float32)
        uppers, rests = (torch.empty(codes.shape, dtype=torch.float16, device=group.device) for _ in range(2))
        kernels.split_codes[(cells, panels)](
            codes, centre, scale, uppers, rests, group.dim, group.k, WIDTH=tile.width, GAIN=_CODE_GAIN, **tile.launch
        )
        return Frame(uppers, half_squares, centre, scale, top), rests

    @cached_property
    def splits(self) -> bool:
        """Whether products are formed on tensor cores, of numbers split in two of float16."""
        device = self.group.device
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)

    @cached_property
    def _points(self) -> tuple[Tensor, int]:
        """The addresses of the points, and how many entries lie between their rows."""
        addresses = torch.tensor([x.data_ptr() for x in self.group.points], dtype=torch.int64, device=self.group.device)
        return addresses, self.group.points[0].stride(0)

    @property
    def _element(self) -> Any:
        return _ELEMENTS[self.group.dtype]

    @cached_property
    def _aligned(self) -> bool:
        x = self.group.points[0]
        return x.stride(0) * x.element_size() % 16 == 0 and all(x.data_ptr() % 16 == 0 for x in self.group.points)


def _power(count: int) -> int:
    """The least power of two that is no less."""
    return 1 << (count - 1).bit_length()


def _split_terms(dim: int, width: int) -> float:
    r"""How many units u = 2⁻²⁴ of $|x||c| + |c|^2/2$ an inner product of ``width`` terms of split numbers is off by.

    A number is a part of 11 bits and a rest, of which the next 11 are kept. What is dropped of a product is at most
    3·2⁻²² = 12 u of it. What the accumulator cuts off is at most two units of 2u per term (16 terms and the sum are aligned and
    cut in each instruction, then cut again); the products of rests, added first, are 2⁻¹¹ of it. Numbers below 2⁻¹⁴ are off by
    2⁻²⁵ over their gain, a product by √d of these, of which the longest code's length, from 1/2 to 1, makes at most 4 √d u.
    """
    return 12 + 4.02 * width + 4 * (1 / _POINT_GAIN + 1 / _CODE_GAIN) * dim**0.5
