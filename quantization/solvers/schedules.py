r"""Step schedules of competitive learning: how far a code moves towards the points it wins."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quantization.arrays import FloatArray


class Schedule(Protocol):
    """How far each code moves towards the mean of the points it wins in a mini-batch."""

    def steps(self, n: int, won: FloatArray, counts: FloatArray, size: int) -> FloatArray:
        """Fractions (K,) in [0, 1].

        n: batches before this one. won: (K,) points won in this batch, counts: (K,) those won before it; a point of a weighted
        measure counts n times its weight. size: points in this batch.
        """
        ...


@dataclass(frozen=True)
class CountPower:
    r"""$\gamma = \big((1 + h) / (\mathrm{count}_k + h)\big)^a$ for each point that code k wins, ½ < a ≤ 1, delay h ≥ 0.

    m points at once move their code by $1 - \exp(-\int_c^{c+m} ((1 + h)/(t + h))^a\,dt)$, as one by one they would. With a = 1
    and h = 0 this is the running mean of all that the code has won: mini-batch k-means, whose rate $n^{-\min(1/2, \lambda)}$
    stalls at large K; a < 1 forgets its start. A delay keeps more of a start (as if each code had won h points of it) and takes
    larger steps later, for the average of the iterates to smooth.
    """

    exponent: float = 0.6
    delay: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 < self.exponent <= 1:
            raise ValueError(f"the exponent of a step schedule must lie in (1/2, 1]; received {self.exponent!r}")
        if not 0 <= self.delay < np.inf:
            raise ValueError(f"the delay of a step schedule must be a finite number ≥ 0; received {self.delay!r}")

    def steps(self, n: int, won: FloatArray, counts: FloatArray, size: int) -> FloatArray:
        before, slack = counts + self.delay, 1 - self.exponent
        after = before + won
        with np.errstate(divide="ignore", invalid="ignore"):
            integral = np.log(after / before) if slack == 0 else (after**slack - before**slack) / slack
            return np.where(won > 0, -np.expm1(-((1 + self.delay) ** self.exponent) * integral), 0.0)


@dataclass(frozen=True)
class RobbinsMonro:
    r"""$\gamma_n = c\,(1 + n/n_0)^{-a}$ for all codes, ½ < a ≤ 1: the winner of a share w moves by $\min(1, \gamma_n w)$.

    While the minimum does not bind, a step is $-\gamma_n$ times an unbiased estimate of $\tfrac12 \nabla D_2$, on weighted
    samples too. Best with c of the order of $1/\lambda_{\min}(\tfrac12 \nabla^2 D_2)$, about K, and averaging.
    """

    scale: float = 1.0
    exponent: float = 0.75
    horizon: float = 100.0

    def __post_init__(self) -> None:
        if not (0.5 < self.exponent <= 1 and 0 < self.scale < np.inf and 0 < self.horizon < np.inf):
            raise ValueError(f"a schedule needs ½ < exponent ≤ 1, scale > 0 and horizon > 0; received {self!r}")

    def steps(self, n: int, won: FloatArray, counts: FloatArray, size: int) -> FloatArray:
        return np.minimum(1.0, self.scale * (1 + n / self.horizon) ** -self.exponent * won / size)
