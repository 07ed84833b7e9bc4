r"""Competitive learning vector quantization, $x_k \leftarrow x_k - \gamma_n (x_k - X_n)$ for the nearest code, on any law."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from quantization.arrays import FloatArray
from quantization.cells import Cells
from quantization.problem import Problem, checked_count, checked_tolerance
from quantization.solver import State, Status
from quantization.voronoi import cells


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
    r"""$\gamma = \mathrm{count}_k^{-a}$ for each point that code k wins, ½ < a ≤ 1.

    m points at once move their code by $1 - \exp(-\int_c^{c+m} t^{-a}\,dt)$, as one by one they would. With a = 1 this is the
    running mean of all that the code has won: mini-batch k-means, whose rate $n^{-\min(1/2, \lambda)}$ stalls at large K;
    a = 0.6 forgets its start.
    """

    exponent: float = 0.6

    def __post_init__(self) -> None:
        if not 0.5 < self.exponent <= 1:
            raise ValueError(f"the exponent of a step schedule must lie in (1/2, 1]; received {self.exponent!r}")

    def steps(self, n: int, won: FloatArray, counts: FloatArray, size: int) -> FloatArray:
        after, slack = counts + won, 1 - self.exponent
        with np.errstate(divide="ignore", invalid="ignore"):
            integral = np.log(after / counts) if slack == 0 else (after**slack - counts**slack) / slack
        return np.where(won > 0, -np.expm1(-integral), 0.0)


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


@dataclass(frozen=True)
class CLVQ:
    r"""Stochastic gradient descent on $\tfrac12 D_2$ in mini-batches, for samples, laws and streams; r = 2.

    batch: points a mini-batch (a stream keeps its own). One step is one mini-batch; over samples, whole passes in random order,
    remainders included. epochs: passes at most (2^17 draws each over a law); None leaves the budget to ``max_steps``.
    schedule: :class:`CountPower` (a step size per code) or :class:`RobbinsMonro` (one for all).
    averaging: answer with the mean of the iterates (Polyak and Ruppert) since the last power of two of steps but one, which is a
    suffix of one half to three quarters of them; else with the last iterate.
    rtol: the residual to call CONVERGED at the end; the noise of a mini-batch never stops a run.

    Companion weights and distortion are tracked over the same suffix; they are the answer's own for a stream, and measured
    afresh on the final codes for samples (exactly) and laws (on independent draws). Source: pages2015.
    """

    batch: int = 1024
    epochs: int | None = None
    schedule: Schedule = field(default_factory=CountPower)
    averaging: bool = True
    rtol: float = 1e-6
    exhausted: ClassVar[Status] = Status.BUDGET_SPENT

    def __post_init__(self) -> None:
        checked_count("CLVQ's batch", self.batch)
        checked_count("CLVQ's epochs", 1 if self.epochs is None else self.epochs)
        checked_tolerance(self.rtol)
        if isinstance(self.schedule, type) or not callable(getattr(self.schedule, "steps", None)):
            raise ValueError(f"schedule must be CountPower(...) or RobbinsMonro(...); received {self.schedule!r}")

    def refuses(self, problem: Problem) -> str | None:
        return f"CLVQ's step is for r = 2; received r = {problem.r:g}" if problem.r != 2 else None

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        counts = np.zeros(len(codes))
        suffix = _Suffix(codes)
        for n, batch in enumerate(problem.batches(self.batch, rng, self.epochs)):
            size = float(batch.masses.sum())
            if size == 0:
                continue
            c = cells(batch.points, batch.masses / size, codes)
            if not counts.any():
                yield State(codes, c.masses, c.distortion, c.stationarity, estimated=True, companion=c.masses)
            won, pull = c.masses * size, c.means - codes
            codes = codes + self.schedule.steps(n, won, counts, len(batch.points))[:, None] * pull
            counts += won
            suffix.add(codes, won, pull, c)
            yield suffix.state(None if self.averaging else codes)


class _Suffix:
    """Running means over the steps since the last power of two but one, so that no horizon need be known."""

    def __init__(self, codes: FloatArray) -> None:
        self._older, self._newer = _Sums(codes), _Sums(codes)
        self._steps = 0

    def add(self, codes: FloatArray, won: FloatArray, pull: FloatArray, c: Cells) -> None:
        if self._steps and self._steps & (self._steps - 1) == 0:
            self._older, self._newer = self._newer, _Sums(codes)
        self._steps += 1
        for sums in (self._older, self._newer):
            sums.add(codes, won, pull, c)

    def state(self, last: FloatArray | None) -> State:
        """The mean codebook, or the last; companion weights, distortion, its standard error and residual over the suffix."""
        s = self._older
        size = float(s.won.sum())
        weights, distortion = s.won / size, s.cost / size
        variance = max(s.squared_cost / size - distortion**2, 0.0)
        residual = float((np.square(s.pull).sum(1) / np.maximum(s.won, 1e-300)).sum() / size)
        stationarity = (residual / distortion) ** 0.5 if distortion > 0 else 0.0
        codes = s.codes / s.steps if last is None else last
        return State(codes, weights, distortion, stationarity, (variance / size) ** 0.5, estimated=True, companion=weights)


class _Sums:
    """Sums over a run of steps, weighted by points."""

    def __init__(self, codes: FloatArray) -> None:
        self.codes, self.pull, self.won = np.zeros_like(codes), np.zeros_like(codes), np.zeros(len(codes))
        self.cost = self.squared_cost = 0.0
        self.steps = 0

    def add(self, codes: FloatArray, won: FloatArray, pull: FloatArray, c: Cells) -> None:
        self.codes += codes
        self.won += won
        self.pull += won[:, None] * pull
        self.cost += c.distortion * float(won.sum())
        self.squared_cost += ((c.variance or 0.0) + c.distortion**2) * float(won.sum())
        self.steps += 1
