"""How many codes each mode of a law on the line has: what a search over bins may get wrong by one is put right here."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from quantization.arrays import FloatArray
from quantization.laws_1d.density import Density
from quantization.laws_1d.levenberg_marquardt import descended
from quantization.laws_1d.point_density import PointDensity

if TYPE_CHECKING:
    from quantization.exact_law import HasHessian

_LESS = 1e-11
_DESCENTS = 200
"""A few a mode are enough from a search over bins; among many modes that are alike no end is worth waiting for."""


class Exchange:
    r"""Codebooks that lie one code apart: one code fewer in a piece of the line between ``valleys``, one more in another.

    On a piece f is log-concave, and n codes have one stationary place there; so local optima differ in how many codes pieces
    have. Two of them that differ by one code differ by some $K^{-2}$ of the distortion, which bins do not tell apart. As far as
    pieces do not see each other the distortion is a sum of convex functions of these numbers, and where no exchange of one code
    helps, none of more does. Source: fox1966.
    """

    def __init__(self, law: "HasHessian", density: Density, r: float, companion: PointDensity, valleys: FloatArray) -> None:
        self._law, self._density, self._r, self._companion = law, density, r, companion
        self._shares = np.concatenate([[0.0], valleys, [1.0]])
        self._cuts = np.concatenate([companion.quantiles(1, share, share) for share in valleys])
        self._tried: set[tuple[int, ...]] = set()
        self._worths: dict[tuple[int, int], float] = {}
        self._spent = 0

    def settled(self, codes: FloatArray) -> FloatArray:
        """Where the descent to the best local optimum found begins, from codes (K,): these, or those after some exchanges.

        Exchanges go on until none helps, or so many descents are spent.
        """
        begun, (codes, value) = codes, self._descended(codes)
        known = False  # whether anything that is remembered is of other codes
        while self._spent < _DESCENTS:
            pieces = np.split(codes, np.searchsorted(codes, self._cuts))
            trials = (self._spread(pieces, {i: -1, j: 1}) for i, j in self._pairs(pieces, value))
            tries = ((trial, *self._descended(trial, value)) for trial in trials if self._spent < _DESCENTS)
            lower = next((found for found in tries if found[2] < (1 - _LESS) * value), None)
            if lower is not None:
                begun, codes, value = lower
                known = True
            elif known:
                self._tried.clear()
                self._worths.clear()
                known = False
            else:
                break
        return begun

    def _pairs(self, pieces: list[FloatArray], value: float) -> Iterator[tuple[int, int]]:
        """Pairs of pieces to move a code between: adjacent ones, which see each other, and others that promise a fall.

        Adjacent ones are not tried again as long as they and those beside them have as many codes. The promise is what the
        pieces' last and next codes are worth where they do not see each other. Of such pairs as many are tried as there are
        pieces: where the first do not keep their promise, hardly one will.
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
        losses = {i: self._worth(pieces, value, i, 0) for i, n in enumerate(counts) if n}
        gains = [self._worth(pieces, value, j, 1) for j in range(len(pieces))]
        falls = [(gains[j] - losses[i], i, j) for i in losses for j in range(len(pieces)) if abs(i - j) > 1]
        yield from ((i, j) for fall, i, j in sorted(falls, reverse=True)[: len(pieces)] if fall > 0)

    def _worth(self, pieces: list[FloatArray], value: float, piece: int, more: int) -> float:
        """How much the distortion falls by a piece's last code, or by one more: what its n-th code is worth."""
        key = piece, len(pieces[piece]) + more
        if key not in self._worths:
            other = self._descended(self._spread(pieces, {piece: 2 * more - 1}))[1]
            self._worths[key] = value - other if more else other - value
        return self._worths[key]

    def _spread(self, pieces: list[FloatArray], changes: dict[int, int]) -> FloatArray:
        """The codes with so many more in some pieces."""
        spread = list(pieces)
        for i, change in changes.items():
            n = len(pieces[i]) + change
            few = len(pieces[i]) < 2
            spread[i] = self._companion.quantiles(n, *self._shares[i : i + 2]) if few else _spread(pieces[i], n)
        return np.concatenate(spread)

    def _descended(self, codes: FloatArray, goal: float = np.inf) -> tuple[FloatArray, float]:
        """The local optimum below codes and its distortion, or what shows that it is not below ``goal``."""
        self._spent += 1
        found, value = descended(self._law, self._r, self._density.outward(codes), goal)
        return np.sort(self._density.inward(found)), value


def _spread(codes: FloatArray, n: int) -> FloatArray:
    """n codes as these (at least two) are spread: the quantiles (i + ½)/n of what has codes at its quantiles (i + ½)/K."""
    at = (np.arange(n) + 0.5) * len(codes) / n - 0.5
    left = np.clip(at.astype(np.int64), 0, len(codes) - 2)
    return codes[left] + (at - left) * (codes[left + 1] - codes[left])
