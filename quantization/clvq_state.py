"""How far a run of competitive learning has come: all it needs to go on as if it had never stopped."""

from dataclasses import dataclass, replace

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells


@dataclass(frozen=True, eq=False)
class CLVQState:
    r"""The state of competitive learning after ``steps`` mini-batches. No array is written to, so that snapshots may share it.

    codes: (K, d) the last iterate. won: (K,) how many points each code has won in all. idle: (K,) how many points have gone by
    since it last won one. seen: points in all. A point of a weighted measure counts n times its weight.

    The rest are means over the steps, the n-th weighted by $a_n \propto n^p$. mean: (K, d) of all points that code k has won.
    share: (K,) points won in a batch. pull: (K, d) the sum of $X - x_k$ over them. size: points in a batch. cost, squared_cost:
    the sums of $\min_k |X - x_k|^2$ and of its square. unevenness: $\sum_n a_n^2 \mathrm{size}_n$, so that these means are worth
    size² / unevenness points.

    ``mean`` is to first order the mean of the iterates, which competitive learning moves by
    $x_k^{(n+1)} - x_k^{(n)} = \gamma_n (E_n[X | V_k] - x_k^{(n)})$: their difference is one of weighted sums of moves, which
    telescope. It is ahead of it by the lag of the iterates behind the points.
    """

    codes: FloatArray
    won: FloatArray
    idle: FloatArray
    mean: FloatArray
    share: FloatArray
    pull: FloatArray
    steps: int = 0
    seen: float = 0.0
    size: float = 0.0
    cost: float = 0.0
    squared_cost: float = 0.0
    unevenness: float = 0.0

    @staticmethod
    def begin(codes: FloatArray) -> "CLVQState":
        """Nothing seen yet."""
        none = np.zeros(len(codes))
        return CLVQState(codes, none, none, codes, none, np.zeros_like(codes))

    def after(self, fractions: FloatArray, c: Cells, size: float, recency: float) -> "CLVQState":
        """A batch of so many points further, each code moved by a fraction of the way to the mean of those it won."""
        won, pull = c.masses * size, c.means - self.codes
        codes = self.codes + fractions[:, None] * pull
        pull *= won[:, None]
        cost = c.distortion * size
        new = (recency + 1) / (self.steps + 1 + recency)  # with it, the n-th weighs (n)(n+1)...(n+p-1), about n^p
        old = 1 - new
        share = old * self.share + new * won
        caught = new * won / np.maximum(share, 1e-300)
        return CLVQState(
            codes,
            won=self.won + won,
            idle=np.where(won > 0, 0.0, self.idle + size),
            mean=self.mean + caught[:, None] * (c.means - self.mean),
            share=share,
            pull=old * self.pull + new * pull,
            steps=self.steps + 1,
            seen=self.seen + size,
            size=old * self.size + new * size,
            cost=old * self.cost + new * cost,
            squared_cost=old * self.squared_cost + new * ((c.variance or 0.0) * size + c.distortion * cost),
            unevenness=old * old * self.unevenness + new * new * size,
        )

    def moved(self, which: IntArray, codes: FloatArray, won: FloatArray) -> "CLVQState":
        """With these codes where ``codes`` (K, d) has them, as if they had always been there, and ``won`` (K,) in all."""
        idle, mean, share, pull = self.idle.copy(), self.mean.copy(), self.share.copy(), self.pull.copy()
        mean[which] = codes[which]
        idle[which] = share[which] = pull[which] = 0.0
        return replace(self, codes=codes, won=won, idle=idle, mean=mean, share=share, pull=pull)

    @property
    def weights(self) -> FloatArray:
        """The running companion weights, (K,)."""
        return self.share / self.share.sum()

    @property
    def distortion(self) -> float:
        """The running mean cost of a point, at the codebook that was in place when it came."""
        return self.cost / self.size

    @property
    def distortion_se(self) -> float:
        """Its standard error as the mean of independent costs."""
        variance = max(self.squared_cost / self.size - self.distortion * self.distortion, 0.0)
        return (variance * self.unevenness) ** 0.5 / self.size

    @property
    def stationarity(self) -> float:
        r"""$(\sum_k w_k |E[X - x_k | V_k]|^2 / D_2)^{1/2}$ of the running means, with what noise is left in them."""
        squares = np.einsum("kd,kd->k", self.pull, self.pull)
        residual = float((squares / np.maximum(self.share, 1e-300)).sum()) / self.size
        return (residual / self.distortion) ** 0.5 if self.distortion > 0 else 0.0
