r"""A search for the best codebook in the plane: descents from several starts, and hops from one basin to a lower one."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy import optimize

from quantization.arrays import FloatArray
from quantization.laws_2d.voronoi_polygons import Diagram

Integrate: TypeAlias = Callable[[FloatArray], tuple[Diagram, FloatArray]]
"""Of codes, their diagram, and the masses, first and second moments of the cells about them, (K, 6)."""

EVALUATIONS, CELLS = 6000, 5_000_000
"""The budget of a search: codebooks that are integrated, and cells in them. The first descent is never cut short."""
CHAINS = 8
"""Chains at most, which share the budget."""
LENGTH = 60
"""Codebooks in a chain, for each code: more only if there is one chain, and less only if the budget is less."""
_minimize: Any = optimize.minimize
_DEFECT = 0.1  # of the distortion a cell bears on average: what a code too many or too few may cost at the beginning of a chain
_SPREAD = 0.4  # of the logarithm of the factors that blur a hop's estimates
_LOOK_BACK, _HOPE = 8, 4.0  # a descent is hopeless if what is left is that many times what so many steps have gained
_COARSE, _FINE = 1e-6, 1e-9  # relative falls of the distortion at which a descent ends


class Search:
    r"""Chains of hops, each begun at codes that ``start`` draws; the best codebook of all.

    At most local optima all is well but for a code too many here and one too few there. So a hop takes away the code whose loss
    would cost the least, splits the costliest cell along its longest axis, both by estimates blurred at random, and descends by
    L-BFGS. It is kept if the distortion falls, or rises by less than a threshold that sinks to zero along the chain (Dueck and
    Scheuer's threshold accepting). Source: dueck1990.
    """

    def __init__(self, integrate: Integrate, start: Callable[[], FloatArray], rng: np.random.Generator) -> None:
        self._integrate, self._start, self._rng = integrate, start, rng
        self._evaluations = 0

    def best(self) -> FloatArray:
        """The best codebook found, in the units of ``integrate``."""
        codes, value = self._descended(self._start(), _COARSE)
        k = len(codes)
        if k > 1:
            budget = min(EVALUATIONS, CELLS // k, CHAINS * LENGTH * k)
            chains = max(1, budget // (LENGTH * k))
            for chain in range(chains):
                first = (codes, value) if chain == 0 else self._descended(self._start(), _COARSE)
                others, lower = self._chain(*first, budget * (chain + 1) // chains)
                if lower < value:
                    codes, value = others, lower
        return self._descended(codes, _FINE)[0]

    def _chain(self, codes: FloatArray, value: float, end: int) -> tuple[FloatArray, float]:
        """The best of the hops from these codes until ``end`` evaluations are spent, and its distortion."""
        begin, best = self._evaluations, (codes, value)
        while self._evaluations < end:
            left = (end - self._evaluations) / (end - begin)
            bar = value * (1 + left * _DEFECT / len(codes))
            others, reached = self._descended(self._hopped(codes), _COARSE, bar)
            if reached < bar:
                codes, value = others, reached
            if value < best[1]:
                best = codes, value
        return best

    def _descended(self, codes: FloatArray, tolerance: float, goal: float = np.inf) -> tuple[FloatArray, float]:
        """Codes downhill from these, and their distortion. A descent that will hardly get below ``goal`` is broken off."""
        scale = float(self._integrate(codes)[1][:, [3, 5]].sum())
        passed: list[float] = []

        def objective(x: FloatArray) -> tuple[float, FloatArray]:
            self._evaluations += 1
            moments = self._integrate(x.reshape(codes.shape))[1]
            return float(moments[:, [3, 5]].sum()) / scale, moments[:, 1:3].ravel() * (-2 / scale)

        def watch(intermediate_result: Any) -> None:
            passed.append(float(intermediate_result.fun) * scale)
            if len(passed) > 2 * _LOOK_BACK and passed[-1] - goal > _HOPE * (passed[-1 - _LOOK_BACK] - passed[-1]):
                raise StopIteration

        options = {"ftol": tolerance, "gtol": 0.0, "maxiter": 5000, "maxfun": 10_000}
        found = _minimize(objective, codes.ravel(), jac=True, method="L-BFGS-B", callback=watch, options=options)
        return found.x.reshape(codes.shape), float(found.fun) * scale

    def _hopped(self, codes: FloatArray) -> FloatArray:
        """``codes`` with one taken from where it helps little and put where it helps much."""
        diagram, moments = self._integrate(codes)
        k, masses = len(codes), moments[:, 0]
        # Were code i gone, its cell would cost at most what it does from a neighbour's: this much more.
        owners = np.repeat(np.arange(k), np.diff(diagram.first))
        steps = codes[diagram.neighbors] - codes[owners]
        losses = masses[owners] * np.square(steps).sum(1) - 2 * (steps * moments[owners, 1:3]).sum(1)
        loss = np.full(k, np.inf)
        np.minimum.at(loss, owners, losses)
        loss[masses == 0] = 0
        spectra, bases = np.linalg.eigh(moments[:, [3, 4, 4, 5]].reshape(k, 2, 2))
        blur = np.exp(_SPREAD * self._rng.standard_normal((2, k)))
        gone = int(np.argmin(loss * blur[0]))
        gain = spectra[:, 1] * blur[1]
        gain[gone] = -1
        split = int(np.argmax(gain))
        half = 0.7 * np.sqrt(spectra[split, 1] / masses[split]) * bases[split, :, 1]
        hopped = codes.copy()
        hopped[gone], hopped[split] = codes[split] + half, codes[split] - half
        return hopped
