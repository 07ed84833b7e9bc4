r"""Barycenters among all measures that are known: with $\bar\nu$ the least F is $F_\infty$, and its quantizer is the answer.

$F_\infty \le F_K \le F_\infty + D_K(\bar\nu)$, as what $\bar\nu$ sends to a code every measure can send there through it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from quantization.arrays import FloatArray
from quantization.barycenters.gaussians import gaussian_barycenter, nonsingular
from quantization.make_problem import LawLike
from quantization.optimal_transport.gaussians import as_gaussian
from quantization.solution import Solution
from quantization.status import Status

_PROVED = 1e-6  # of F: the gap to which a limit is known where it is called known


@dataclass(frozen=True)
class Limit:
    r"""The barycenter $\bar\nu$ (``law``) among all measures, $F_\infty$ (``value``) and by how much that may be too large.

    equal: whether $F = F_\infty + W_2^2(\bar\nu, \nu)$ for every ν, as for one measure and on the line.
    """

    law: LawLike
    value: float = 0.0
    gap: float = 0.0
    equal: bool = False

    def solution(self, of_limit: Solution) -> Solution:
        r"""A quantizer of $\bar\nu$ as an answer of the barycenter: its F, or an upper value of it."""
        d = of_limit.distortion
        value = self.value + d
        share = (d / value) ** 0.5 if value > 0 else 1.0
        trace = replace(
            of_limit.trace,
            distortion=of_limit.trace.distortion + self.value,
            stationarity=of_limit.trace.stationarity
            * (of_limit.trace.distortion / (of_limit.trace.distortion + self.value)) ** 0.5,
        )
        status = Status.STALLED if self.gap > _PROVED * value and of_limit.converged else of_limit.status
        return replace(
            of_limit, distortion=value, stationarity=of_limit.stationarity * share, trace=trace, status=status,
            distortion_gap=self.gap + (0.0 if self.equal else d),
        )  # fmt: skip


def known_limit(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    """The barycenter of measures, all with λ > 0, where one of the rows knows it; the first that does."""
    return next((limit for row in _ROWS if (limit := row(measures, mixing)) is not None), None)


def _single(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    return Limit(measures[0], equal=True) if len(measures) == 1 else None


def _gaussians(measures: Sequence[LawLike], mixing: FloatArray) -> Limit | None:
    laws = [law for measure in measures if (law := as_gaussian(measure)) is not None]
    if len(laws) < len(measures) or len({law.dim for law in laws}) > 1 or not any(nonsingular(law) for law in laws):
        return None
    return Limit(*gaussian_barycenter(laws, mixing))


_ROWS: tuple[Callable[[Sequence[LawLike], FloatArray], Limit | None], ...] = (_single, _gaussians)
