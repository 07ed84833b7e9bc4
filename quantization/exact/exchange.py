"""How many codes each mode of a law on the line has: what a search over bins may get wrong by one is put right here."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from quantization.arrays import FloatArray
from quantization.exact.companion import Companion
from quantization.exact.density import Density
from quantization.exact.descent import descended
from quantization.exact.protocol import Smooth

_LESS = 1e-11


class Exchange:
    r"""Codebooks that lie one code apart: one code fewer in a piece of the line between ``valleys``, one more in another.

    On a piece f is log-concave, and n codes have one stationary place there; so local optima differ in how many codes pieces
    have. Two of them that differ by one code differ by some $K^{-2}$ of the distortion, which bins do not tell apart. As far as
    pieces do not see each other the distortion is a sum of convex functions of these numbers, and where no exchange of one code
    helps, none of more does. Source: fox1966.
    """

    def __init__(self, law: Smooth, density: Density, r: float, companion: Companion, valleys: FloatArray) -> None:
        self._law, self._density, self._r, self._companion = law, density, r, companion
        self._shares = np.concatenate([[0.0], valleys, [1.0]])
        self._cuts = np.concatenate([companion.quantiles(1, share, share) for share in valleys])

    def settled(self, codes: FloatArray) -> FloatArray:
        """The local optimum below codes (K,), and from it on to lower ones, until no exchange helps."""
        codes, value = self._descended(codes)
        for _ in range(2 * len(codes)):  # from a search over bins one or two, from anywhere else no more
            lower = next((found for found in self._neighbours(codes, value) if found[1] < (1 - _LESS) * value), None)
            if lower is None:
                break
            codes, value = lower
        return codes

    def _neighbours(self, codes: FloatArray, value: float) -> Iterator[tuple[FloatArray, float]]:
        """The local optima an exchange away and their distortions: between adjacent pieces, then those that promise a fall.

        A code moved from piece i to j changes D by what K - 1 codes without it lose and K + 1 codes with one more gain, as far as
        the pieces do not see each other; adjacent ones do.
        """
        pieces = np.split(codes, np.searchsorted(codes, self._cuts))
        giving = [i for i, piece in enumerate(pieces) if len(piece)]
        for i in giving:
            for j in (i - 1, i + 1):
                if 0 <= j < len(pieces):
                    yield self._with(pieces, {i: -1, j: 1})
        if len(pieces) == 2:
            return
        losses = {i: self._with(pieces, {i: -1})[1] - value for i in giving}
        gains = [value - self._with(pieces, {j: 1})[1] for j in range(len(pieces))]
        far = [(gains[j] - losses[i], i, j) for i, j in permutations(range(len(pieces)), 2) if i in losses and abs(i - j) > 1]
        for promise, i, j in sorted(far, reverse=True):
            if promise > 0:
                yield self._with(pieces, {i: -1, j: 1})

    def _with(self, pieces: list[FloatArray], changes: dict[int, int]) -> tuple[FloatArray, float]:
        """The local optimum with so many codes more in some pieces."""
        spread = list(pieces)
        for i, change in changes.items():
            n = len(pieces[i]) + change
            few = len(pieces[i]) < 2
            spread[i] = self._companion.quantiles(n, *self._shares[i : i + 2]) if few else _spread(pieces[i], n)
        return self._descended(np.concatenate(spread))

    def _descended(self, codes: FloatArray) -> tuple[FloatArray, float]:
        found, value = descended(self._law, self._r, self._density.outward(codes))
        return np.sort(self._density.inward(found)), value


def _spread(codes: FloatArray, n: int) -> FloatArray:
    """n codes as these (at least two) are spread: the quantiles (i + ½)/n of what has codes at its quantiles (i + ½)/K."""
    at = (np.arange(n) + 0.5) * len(codes) / n - 0.5
    left = np.clip(at.astype(np.int64), 0, len(codes) - 2)
    return codes[left] + (at - left) * (codes[left + 1] - codes[left])
