r"""Step schedules of competitive learning: how far a code moves towards the points it wins."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quantization.arrays import FloatArray


class Schedule(Protocol):
    """How far CLVQ moves each code towards the mean of the points it wins in a mini-batch: the protocol of ``schedule=``.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> class Harmonic:
    ...     def steps(self, n, won, counts, size):
    ...         return np.where(won > 0, won / np.maximum(counts + won, 1), 0.0)
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> qz.quantize(x, 3, solver=qz.CLVQ(schedule=Harmonic(), epochs=1), rng=0).points.shape
    (3, 2)
    """

    def steps(self, n: int, won: FloatArray, counts: FloatArray, size: int) -> FloatArray:
        """The fraction of the way that each code moves.

        Parameters
        ----------
        n : int
            Mini-batches before this one.
        won : array (K,)
            Points won in this mini-batch; a point of a weighted measure counts as the measure's size times its weight.
        counts : array (K,)
            Points won before it.
        size : int
            Points in this mini-batch.

        Returns
        -------
        array (K,)
            In [0, 1].
        """
        ...


@dataclass(frozen=True)
class CountPower:
    r"""Steps $\gamma = \big((1 + h) / (\mathrm{count}_k + h)\big)^a$ for each point that code k wins.

    Parameters
    ----------
    exponent : float, default 0.6
        $a$ in (½, 1].
    delay : float, default 0
        $h \ge 0$: keeps more of a start, as if each code had won h points of it, and takes larger steps later, for the average of
        the iterates to smooth.

    Raises
    ------
    ValueError
        For an exponent or a delay out of range.

    Notes
    -----
    m points at once move their code by the fraction $1 - \exp(-\int_c^{c+m} ((1 + h)/(t + h))^a\,dt)$, as one by one they would.
    With a = 1 and h = 0 this is the running mean of all points that the code has won: mini-batch k-means, whose rate
    $n^{-\min(1/2, \lambda)}$ stalls at large K; a < 1 forgets its start.

    References
    ----------
    pages2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> qz.CountPower(1.0).steps(0, won=np.array([2.0, 0.0]), counts=np.array([6.0, 6.0]), size=2).round(12).tolist()
    [0.25, 0.0]
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
    r"""Steps $\gamma_n = c\,(1 + n/n_0)^{-a}$ for all codes: one that wins a share w of a batch moves by $\min(1, \gamma_n w)$.

    Parameters
    ----------
    scale : float, default 1
        $c > 0$, best of the order of $1/\lambda_{\min}(\tfrac12 \nabla^2 D_2)$, about K, with averaging.
    exponent : float, default 0.75
        $a$ in (½, 1].
    horizon : float, default 100
        $n_0 > 0$, in mini-batches.

    Raises
    ------
    ValueError
        For options out of range.

    Notes
    -----
    While the minimum does not bind, a step is $-\gamma_n$ times an unbiased estimate of $\tfrac12 \nabla D_2$, on weighted
    samples too.

    References
    ----------
    pages2015.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> qz.RobbinsMonro(scale=0.5).steps(0, won=np.array([2.0, 6.0]), counts=np.zeros(2), size=8).tolist()
    [0.125, 0.375]
    """

    scale: float = 1.0
    exponent: float = 0.75
    horizon: float = 100.0

    def __post_init__(self) -> None:
        if not (0.5 < self.exponent <= 1 and 0 < self.scale < np.inf and 0 < self.horizon < np.inf):
            raise ValueError(f"a schedule needs ½ < exponent ≤ 1, scale > 0 and horizon > 0; received {self!r}")

    def steps(self, n: int, won: FloatArray, counts: FloatArray, size: int) -> FloatArray:
        return np.minimum(1.0, self.scale * (1 + n / self.horizon) ** -self.exponent * won / size)
