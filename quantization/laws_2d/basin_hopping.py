r"""Basin hopping for the best codebook in the plane: descents from several starts, and hops between basins."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy import optimize

from quantization.arrays import FloatArray
from quantization.laws_2d.voronoi_polygons import Diagram

Integrate: TypeAlias = Callable[[FloatArray], tuple[Diagram, FloatArray]]
"""Maps codes to their diagram, and the masses, first and second moments of the cells about them, (K, 6)."""

EVALUATIONS, CELLS = 6000, 5_000_000
"""The budget of a search: codebooks integrated, and cells in them. The first descent is always completed."""
CHAINS = 8
"""Chains at most, which share the budget."""
LENGTH = 60
"""Codebooks in a chain per code: more only for a single chain, less only for a smaller budget."""
_minimize: Any = optimize.minimize
_DEFECT = 0.1  # of a cell's mean share of the distortion: the threshold at the beginning of a chain
_NOISE = 0.4  # standard deviation of the logarithm of the factors that randomize a hop's estimates
_LOOK_BACK, _PATIENCE = 8, 4.0  # a descent ends if what is left is 4 times more than the last 8 steps have gained
_COARSE, _FINE = 1e-6, 1e-9  # relative falls of the distortion at which a descent ends


class BasinHopping:
    r"""Chains of hops, each begun at codes that ``start`` draws; the best codebook of all.

    Most local optima have one code too many in one place and one too few in another. So a hop removes the code whose loss would
    cost the least, splits the costliest cell along its longest axis, both by randomized estimates, and descends by L-BFGS. It is
    accepted if the distortion falls, or rises by less than a threshold that falls to zero along the chain: threshold accepting
    (dueck1990).
    """

    def __init__(self, integrate: Integrate, start: Callable[[], FloatArray], rng: np.random.Generator) -> None:
        self._integrate, self._start, self._rng = integrate, start, rng
        self._evaluations = 0

    def best(self) -> FloatArray:
        """The best codebook found, in the units of ``integrate``."""
        codes, value = self._descend(self._start(), _COARSE)
        k = len(codes)
        if k > 1:
            budget = min(EVALUATIONS, CELLS // k, CHAINS * LENGTH * k)
            chains = max(1, budget // (LENGTH * k))
            for chain in range(chains):
                first = (codes, value) if chain == 0 else self._descend(self._start(), _COARSE)
                others, lower = self._chain(*first, budget * (chain + 1) // chains)
                if lower < value:
                    codes, value = others, lower
        return self._descend(codes, _FINE)[0]

    def _chain(self, codes: FloatArray, value: float, end: int) -> tuple[FloatArray, float]:
        """The best of the hops from these codes until ``end`` evaluations are spent, and its distortion."""
        begin, best = self._evaluations, (codes, value)
        while self._evaluations < end:
            left = (end - self._evaluations) / (end - begin)
            bar = value * (1 + left * _DEFECT / len(codes))
            others, reached = self._descend(self._hop(codes), _COARSE, bar)
            if reached < bar:
                codes, value = others, reached
            if value < best[1]:
                best = codes, value
        return best

    def _descend(self, codes: FloatArray, tolerance: float, goal: float = np.inf) -> tuple[FloatArray, float]:
        """The local optimum below ``codes`` and its distortion. A descent unlikely to get below ``goal`` ends early."""
        scale = float(self._integrate(codes)[1][:, [3, 5]].sum())
        passed: list[float] = []

        def objective(x: FloatArray) -> tuple[float, FloatArray]:
            self._evaluations += 1
            moments = self._integrate(x.reshape(codes.shape))[1]
            return float(moments[:, [3, 5]].sum()) / scale, moments[:, 1:3].ravel() * (-2 / scale)

        def watch(intermediate_result: optimize.OptimizeResult) -> None:
            passed.append(float(intermediate_result.fun) * scale)
            if len(passed) > 2 * _LOOK_BACK and passed[-1] - goal > _PATIENCE * (passed[-1 - _LOOK_BACK] - passed[-1]):
                raise StopIteration

        options = {"ftol": tolerance, "gtol": 0.0, "maxiter": 5000, "maxfun": 10_000}
        found = _minimize(objective, codes.ravel(), jac=True, method="L-BFGS-B", callback=watch, options=options)
        return found.x.reshape(codes.shape), float(found.fun) * scale

    def _hop(self, codes: FloatArray) -> FloatArray:
        """``codes`` with one moved from where it matters least to where it matters most."""
        diagram, moments = self._integrate(codes)
        k, masses = len(codes), moments[:, 0]
        # Without code i its cell would cost at most what it does from a neighbour's code: this much more.
        owners = np.repeat(np.arange(k), np.diff(diagram.first))
        steps = codes[diagram.neighbors] - codes[owners]
        losses = masses[owners] * np.square(steps).sum(1) - 2 * (steps * moments[owners, 1:3]).sum(1)
        loss = np.full(k, np.inf)
        np.minimum.at(loss, owners, losses)
        loss[masses == 0] = 0
        spectra, bases = np.linalg.eigh(moments[:, [3, 4, 4, 5]].reshape(k, 2, 2))
        noise = np.exp(_NOISE * self._rng.standard_normal((2, k)))
        removed = int(np.argmin(loss * noise[0]))
        gain = spectra[:, 1] * noise[1]
        gain[removed] = -1
        split = int(np.argmax(gain))
        half = 0.7 * np.sqrt(spectra[split, 1] / masses[split]) * bases[split, :, 1]
        hopped = codes.copy()
        hopped[removed], hopped[split] = codes[split] + half, codes[split] - half
        return hopped
