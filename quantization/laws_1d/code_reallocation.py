"""How many codes each mode of a law on the line gets: corrects what a search over bins may get wrong by one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from quantization.arrays import FloatArray
from quantization.laws_1d.density import Density
from quantization.laws_1d.levenberg_marquardt import descend
from quantization.laws_1d.point_density import PointDensity

if TYPE_CHECKING:
    from quantization.exact_law import HasHessian

_LESS = 1e-11
_DESCENTS = 200
"""A few per mode are enough after a search over bins; among many similar modes the search is cut short."""


class CodeReallocation:
    r"""Local search over exchanges of one code between pieces of the line, which are separated by ``valleys``.

    On a piece f is log-concave, and n codes have one stationary configuration there; so local optima differ in how many codes the
    pieces have. Two that differ by one code differ by about $K^{-2}$ of the distortion, which bins do not resolve. As far as
    pieces do not interact the distortion is a sum of convex functions of these numbers, and where no exchange of one code
    helps, none of more does (fox1966).
    """

    def __init__(self, law: "HasHessian", density: Density, r: float, point_density: PointDensity, valleys: FloatArray) -> None:
        self._law, self._density, self._r, self._point_density = law, density, r, point_density
        self._shares = np.concatenate([[0.0], valleys, [1.0]])
        self._cuts = np.concatenate([point_density.quantiles(1, share, share) for share in valleys])
        self._tried: set[tuple[int, ...]] = set()
        self._values: dict[tuple[int, int], float] = {}
        self._spent = 0

    def improved(self, codes: FloatArray) -> FloatArray:
        """The start of the descent to the best local optimum found, (K,): ``codes`` or those after some exchanges.

        Exchanges go on until none helps, or ``_DESCENTS`` descents are spent.
        """
        start, (codes, value) = codes, self._descend(codes)
        outdated = False  # whether memorized values are of earlier codes
        while self._spent < _DESCENTS:
            pieces = np.split(codes, np.searchsorted(codes, self._cuts))
            trials = (self._with_changes(pieces, {i: -1, j: 1}) for i, j in self._pairs(pieces, value))
            tries = ((trial, *self._descend(trial, value)) for trial in trials if self._spent < _DESCENTS)
            lower = next((found for found in tries if found[2] < (1 - _LESS) * value), None)
            if lower is not None:
                start, codes, value = lower
                outdated = True
            elif outdated:
                self._tried.clear()
                self._values.clear()
                outdated = False
            else:
                break
        return start

    def _pairs(self, pieces: list[FloatArray], value: float) -> Iterator[tuple[int, int]]:
        """Pairs of pieces to move a code between: adjacent ones, which interact, and others with a predicted fall.

        Adjacent ones are not tried again as long as they and their neighbours have the same numbers of codes. The fall is
        predicted from the values of the pieces' last and next codes, as if the pieces did not interact. At most as many such
        pairs are tried as there are pieces: if the best predictions fail, later ones hardly succeed.
        """
        counts, last = [len(piece) for piece in pieces], len(pieces) - 1
        for left in range(last):
            for i, j in ((left, left + 1), (left + 1, left)):
                trial = i, j, *counts[max(left - 1, 0) : left + 3]
                if counts[i] and trial not in self._tried:
                    self._tried.add(trial)
                    yield i, j
        if last < 2:
            return
        losses = {i: self._value_of_code(pieces, value, i, 0) for i, n in enumerate(counts) if n}
        gains = [self._value_of_code(pieces, value, j, 1) for j in range(len(pieces))]
        falls = [(gains[j] - losses[i], i, j) for i in losses for j in range(len(pieces)) if abs(i - j) > 1]
        yield from ((i, j) for fall, i, j in sorted(falls, reverse=True)[: len(pieces)] if fall > 0)

    def _value_of_code(self, pieces: list[FloatArray], value: float, piece: int, more: int) -> float:
        """How much the distortion falls by a piece's last code (``more`` = 0), or by one more (``more`` = 1)."""
        key = piece, len(pieces[piece]) + more
        if key not in self._values:
            other = self._descend(self._with_changes(pieces, {piece: 2 * more - 1}))[1]
            self._values[key] = value - other if more else other - value
        return self._values[key]

    def _with_changes(self, pieces: list[FloatArray], changes: dict[int, int]) -> FloatArray:
        """The codes with the numbers in some pieces changed by ``changes``."""
        changed = list(pieces)
        for i, change in changes.items():
            n = len(pieces[i]) + change
            few = len(pieces[i]) < 2
            changed[i] = self._point_density.quantiles(n, *self._shares[i : i + 2]) if few else _resampled(pieces[i], n)
        return np.concatenate(changed)

    def _descend(self, codes: FloatArray, goal: float = np.inf) -> tuple[FloatArray, float]:
        """The local optimum below ``codes`` and its distortion; a descent that will not get below ``goal`` ends early."""
        self._spent += 1
        found, value = descend(self._law, self._r, self._density.unstandardize(codes), goal)
        return np.sort(self._density.standardize(found)), value


def _resampled(codes: FloatArray, n: int) -> FloatArray:
    """n codes distributed like these (at least two): quantiles (i + ½)/n of a law whose quantiles (i + ½)/K are the codes."""
    at = (np.arange(n) + 0.5) * len(codes) / n - 0.5
    left = np.clip(at.astype(np.int64), 0, len(codes) - 2)
    return codes[left] + (at - left) * (codes[left + 1] - codes[left])
