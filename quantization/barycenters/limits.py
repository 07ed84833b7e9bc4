r"""Barycenters among all measures that are known: with $\bar\nu$ the least F is $F_\infty$, and its quantizer is the answer.

$F_\infty \le F_K \le F_\infty + D_K(\bar\nu)$, as what $\bar\nu$ sends to a code every measure can send there through it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantization.arrays import FloatArray
from quantization.barycenters.gaussians import gaussian_barycenter, nonsingular
from quantization.barycenters.line import mean_of_quantiles
from quantization.make_problem import LawLike
from quantization.optimal_transport.distances import transport
from quantization.optimal_transport.gaussians import as_gaussian
from quantization.optimal_transport.monotone import Monotone
from quantization.solution import Solution
from quantization.status import Status

_PROVED = 1e-6  # of F: the gap to which a limit is known where it is called known


@dataclass(frozen=True)
class Limit:
    r"""The barycenter $\bar\nu$ (``law``) among all measures, $F_\infty$ (``value``) and by how much that may be too large.

    equal: whether $F = F_\infty + W_2^2(\bar\nu, \nu)$ for every ν, as for one measure and on the line. measures, mixing: those
    whose transports to an answer are then compared with that; none for a single measure.
    """

    law: LawLike
    value: float = 0.0
    gap: float = 0.0
    equal: bool = False
    measures: Sequence[LawLike] = ()
    mixing: FloatArray = field(default_factory=lambda: np.zeros(0))

    def solution(self, of_limit: Solution) -> Solution:
        r"""A quantizer of $\bar\nu$ as an answer of the barycenter: its F, or an upper value of it."""
        d, steps = of_limit.distortion, of_limit.trace
        value, gap, masses_gap, method = self.value + d, self.gap, of_limit.masses_gap, None
        if self.measures:
            couplings = [transport(mu, of_limit.measure) for mu in self.measures]
            exact, doubt = (float(self.mixing @ [getattr(c, name) for c in couplings]) for name in ("cost", "gap"))
            masses_gap += max(exact - value, 0.0) + gap  # no weights on these points have less than value
            value, gap, method = exact, doubt, Monotone()
        values = steps.distortion + self.value
        values[-1] = value
        with np.errstate(invalid="ignore"):
            shares = np.where(values > 0, np.sqrt(steps.distortion / values), 1.0)
        proved = gap + masses_gap <= _PROVED * value
        return replace(
            of_limit, distortion=value, stationarity=of_limit.stationarity * float(shares[-1]),
            trace=replace(steps, distortion=values, stationarity=steps.stationarity * shares), masses_gap=float(masses_gap),
            status=of_limit.status if proved or not of_limit.converged else Status.STALLED,
            distortion_gap=gap + (0.0 if self.equal else d), transport=method,
        )  # fmt: skip


def known_limit(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    """The barycenter of measures, all with λ > 0, where one of the rows knows it; the first that does."""
    return next((limit for row in _ROWS if (limit := row(measures, mixing)) is not None), None)


def _single(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    return Limit(measures[0], equal=True) if len(measures) == 1 else None


def _on_the_line(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    found = mean_of_quantiles(measures, mixing)
    return None if found is None else Limit(*found, equal=True, measures=measures, mixing=mixing)


def _gaussians(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    laws = [law for measure in measures if (law := as_gaussian(measure)) is not None]
    if len(laws) < len(measures) or len({law.dim for law in laws}) > 1 or not any(nonsingular(law) for law in laws):
        return None
    return Limit(*gaussian_barycenter(laws, mixing))


_ROWS: tuple[Callable[[Sequence[LawLike], FloatArray], Limit | None], ...] = (_single, _on_the_line, _gaussians)
