"""The state of a run of competitive learning: all it needs to go on as if it had never stopped."""

from dataclasses import dataclass, replace

import numpy as np

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells


@dataclass(frozen=True, eq=False)
class CLVQState:
    r"""The state of competitive learning after ``steps`` mini-batches. Arrays are never modified, so snapshots share them.

    codes: (K, d) the last iterate. won: (K,) points that each code has won in all. idle: (K,) points drawn since it last won one.
    seen: points in all. A point of a weighted measure counts as the measure's size times its weight.

    The rest are means over the steps, the n-th weighted by $a_n \propto n^p$. mean: (K, d) of all points that code k has won.
    share: (K,) points won per batch. residuals: (K, d) the sum of $|X - x_k|^{r-2} (X - x_k)$ over them. size: points per batch.
    cost, squared_cost: the sums of $\min_k |X - x_k|^r$ and of its square; costs: (K,) that of each cell, r ≠ 2. unevenness:
    $\sum_n a_n^2 \mathrm{size}_n$, so that the effective number of points is size² / unevenness.

    ``mean`` is to first order the mean of the iterates, which competitive learning moves by
    $x_k^{(n+1)} - x_k^{(n)} = \gamma_n (E_n[X | V_k] - x_k^{(n)})$: their difference is one of weighted sums of moves, which
    telescope. The iterates lag behind the points, and so behind ``mean``.

    For r ≠ 2 a whole step leads from $x_k$ to $x_k + E_n[|X - x_k|^{r-2} (X - x_k) | V_k] / P_k$, which takes the place of the
    mean of the points: $P_k = \max(1, r - 1)\, c_k^{(r-2)/r}$, $c_k$ the running mean cost of a point of the cell.
    """

    codes: FloatArray
    won: FloatArray
    idle: FloatArray
    mean: FloatArray
    share: FloatArray
    residuals: FloatArray
    steps: int = 0
    seen: float = 0.0
    size: float = 0.0
    cost: float = 0.0
    squared_cost: float = 0.0
    unevenness: float = 0.0
    r: float = 2.0
    costs: FloatArray | None = None

    @staticmethod
    def begin(codes: FloatArray, r: float = 2.0) -> "CLVQState":
        """The state before any mini-batch."""
        none = np.zeros(len(codes))
        return CLVQState(codes, none, none, codes, none, np.zeros_like(codes), r=r, costs=None if r == 2 else none)

    def updated(
        self, fractions: FloatArray, c: Cells, size: float, recency: float, costs: FloatArray | None = None
    ) -> "CLVQState":
        """The state after a batch of ``size`` points: each code moves a fraction of the way to the mean of those it won.

        costs: (K,) of the cells in the batch, r ≠ 2.
        """
        won, cost = c.masses * size, c.distortion * size
        new = (recency + 1) / (self.steps + 1 + recency)  # gives batch n the weight n(n+1)...(n+p-1), about n^p
        old = 1 - new
        share = old * self.share + new * won
        caught = new * won / np.maximum(share, 1e-300)
        residuals, reached = c.means - self.codes, c.means
        way = residuals
        if costs is not None and self.costs is not None:
            costs = old * self.costs + new * size * costs
            residuals = -c.gradient / (self.r * np.where(won > 0, c.masses, 1.0))[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                whole = (costs / share) ** ((2 - self.r) / self.r) / max(1.0, self.r - 1)
            way = residuals * np.where((costs > 0) & (share > 0), whole, 0.0)[:, None]
            reached = self.codes + way
        codes = self.codes + fractions[:, None] * way
        residuals = residuals * won[:, None]
        return CLVQState(
            codes,
            won=self.won + won,
            idle=np.where(won > 0, 0.0, self.idle + size),
            mean=self.mean + caught[:, None] * (reached - self.mean),
            share=share,
            residuals=old * self.residuals + new * residuals,
            steps=self.steps + 1,
            seen=self.seen + size,
            size=old * self.size + new * size,
            cost=old * self.cost + new * cost,
            squared_cost=old * self.squared_cost + new * ((c.variance or 0.0) * size + c.distortion * cost),
            unevenness=old * old * self.unevenness + new * new * size,
            r=self.r,
            costs=costs,
        )

    def relocated(self, which: IntArray, codes: FloatArray, won: FloatArray) -> "CLVQState":
        """The state with some codes replaced by those of ``codes`` (K, d), as if they had been there from the start."""
        idle, mean, share, residuals = self.idle.copy(), self.mean.copy(), self.share.copy(), self.residuals.copy()
        mean[which] = codes[which]
        idle[which] = share[which] = residuals[which] = 0.0
        costs = None if self.costs is None else self.costs.copy()
        if costs is not None:
            costs[which] = 0.0
        return replace(self, codes=codes, won=won, idle=idle, mean=mean, share=share, residuals=residuals, costs=costs)

    @property
    def weights(self) -> FloatArray:
        """The running companion weights, (K,)."""
        return self.share / self.share.sum()

    @property
    def distortion(self) -> float:
        """The running mean cost of a point, at the codebook of its step."""
        return self.cost / self.size

    @property
    def distortion_se(self) -> float:
        """Its standard error as the mean of independent costs."""
        variance = max(self.squared_cost / self.size - self.distortion * self.distortion, 0.0)
        return (variance * self.unevenness) ** 0.5 / self.size

    @property
    def stationarity(self) -> float:
        r"""$(\sum_k |\nabla_k D_r|^2 / r^2 w_k)^{1/2} / D_r^{(r-1)/r}$ of the running means, their noise included."""
        squares = np.einsum("kd,kd->k", self.residuals, self.residuals)
        residual = float((squares / np.maximum(self.share, 1e-300)).sum()) / self.size
        return (residual / self.distortion ** (2 * (self.r - 1) / self.r)) ** 0.5 if self.distortion > 0 else 0.0
