r"""A primal-dual interior-point method for the best weights: Mehrotra's predictor and corrector (mehrotra1992).

The normal equations split into a K × K system for each measure, coupled by the weights alone, so that an iteration costs
$\sum_j n_j K^2$ (ge2019). It stops where the gap is small enough or round-off prevents more.
"""

from typing import Any, cast

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray
from quantization.threads import limit_blas_threads, parallel_map

_MOST_ITERATIONS = 80
_STEP_TO_BOUNDARY = 0.99
_MIXED, _LEAST_SLACK = (
    0.3,
    0.03,
)  # of a start near a solution: the share of independent plans; of the mean slack, each row's least
_STUCK = 6  # iterations without progress, after which round-off prevents more
_RIDGES = (1e-14, 1e-12, 1e-10, 1e-8)  # relative, tried in turn until a factorization succeeds
_REFINEMENTS, _ILL_CONDITIONED = 2, 1e-2  # of solutions of the normal equations, whose condition grows as the gap falls below


def _times(lower: FloatArray, x: FloatArray) -> FloatArray:
    """A symmetric matrix, of which the lower half is given, times x."""
    return scipy.linalg.blas.dsymv(1.0, lower, x, lower=1)


def _total(parts: list[FloatArray]) -> FloatArray:
    return np.asarray(sum(parts), dtype=np.float64)


class _MeasureBlock:
    """One measure's block of the iterate: its plan, slacks and potentials, and the sums that its normal equations need."""

    def __init__(self, costs: FloatArray, a: FloatArray, plan: FloatArray, v: FloatArray, slack: float) -> None:
        """slack: the least of each row."""
        from quantization.barycenters import kernels  # loads numba

        n, k = costs.shape
        self.kernels: Any = kernels
        self.a, self.plan, self.v = a, plan, v
        self.slack = costs - v
        self.u = self.slack.min(1) - slack
        self.slack -= self.u[:, None]
        self.scaled, self.rows = np.empty((n, k)), np.empty(n)
        self.columns, self.mass, self.rhs = np.empty((3, k))
        self.du, self.new_du, self.first, self.second = np.empty((4, n))
        self.sums, self.most, self.column_sums = np.empty(5), np.empty(2), np.empty((4, k))

    def factor(self) -> None:
        r"""The complementarity, and the lower half of the inverse of $\mathrm{diag}(D^\top 1) - D^\top \mathrm{diag}(D1)^{-1} D$.

        A Laplacian, whose null vector 1 is filled in; that changes solutions by constants, which the caller determines.
        """
        self.gap = self.kernels.normal_sums(
            self.plan, self.slack, self.a, self.scaled, self.rows, self.columns, self.mass, self.rhs
        )  # fmt: skip
        k = len(self.v)
        laplacian = scipy.linalg.blas.dsyrk(-1.0, self.scaled.T, lower=1)  # its lower half
        # Rows sum to zero. The diagonal as minus the sum of the rest keeps the digits that D^T 1 − ... would cancel.
        laplacian[np.diag_indices(k)] = 0.0
        laplacian[np.diag_indices(k)] = -(laplacian.sum(0) + laplacian.sum(1))
        self.laplacian = laplacian
        level = float(np.trace(laplacian)) / k
        laplacian = laplacian + level / k
        for ridge in _RIDGES:
            padded = laplacian.copy("F")
            padded[np.diag_indices(k)] += ridge * level
            root, failed = cast(tuple[FloatArray, int], scipy.linalg.lapack.dpotrf(padded, lower=1, overwrite_a=1))
            if not failed:
                break
        else:
            self.gap = np.nan  # no ridge is enough: the iteration ends here
            return
        self.inverse, _ = cast(tuple[FloatArray, int], scipy.linalg.lapack.dpotri(root, lower=1, overwrite_c=1))

    def predict(self, dv: FloatArray) -> None:
        self.dv = dv
        self.kernels.predict(
            self.plan, self.slack, self.a, self.rows, dv, self.du, self.sums, self.column_sums, self.first, self.second
        )  # fmt: skip

    def correct(self, centre: float, dv: FloatArray) -> None:
        self.new_dv = dv
        g = self.a - centre * self.first + self.second
        self.kernels.correct(self.plan, self.slack, g, self.rows, self.du, self.dv, centre, dv, self.new_du, self.most)

    def move(self, centre: float, primal: float, dual: float) -> None:
        self.kernels.move(self.plan, self.slack, self.du, self.dv, centre, self.new_du, self.new_dv, primal, dual)
        self.u += dual * self.new_du
        self.v += dual * self.new_dv
        self.factor()


class PrimalDual:
    r"""The iterates, feasible from the start: equal weights and independent plans, or near the solution of a similar program.

    costs: C_j (n_j, K). masses: positive, of sum 1. near: plans (n_j, K) of a common second marginal, and potentials (K,) each
    with $\sum_j \lambda_j v_j = 0$.
    """

    def __init__(
        self, costs: list[FloatArray], masses: list[FloatArray], mixing: FloatArray,
        near: tuple[list[FloatArray], list[FloatArray]] | None = None,
    ) -> None:  # fmt: skip
        self._k, m = costs[0].shape[1], len(costs)
        self._unit = float(np.mean([share * c.mean() for share, c in zip(mixing, costs, strict=True)]))
        even, slack = 1 / self._k, 1.0  # in units of the mean cost
        plans, potentials = [np.outer(a, np.full(self._k, even)) for a in masses], [np.zeros(self._k) for _ in costs]
        self._w = np.full(self._k, even)
        if near is not None:  # mixed with the independent plans, so that every entry is far enough from 0
            potentials = [share / self._unit * v for share, v in zip(mixing, near[1], strict=True)]
            reduced = [share / self._unit * c - v for share, c, v in zip(mixing, costs, potentials, strict=True)]
            slack = _LEAST_SLACK * sum(float(a @ (r.mean(1) - r.min(1))) for a, r in zip(masses, reduced, strict=True)) / m
            plans = [_MIXED * p + (1 - _MIXED) * q for p, q in zip(plans, near[0], strict=True)]
            self._w = _total([p.sum(0) for p in plans]) / m
        if not slack > 0:
            slack = 1.0
        self._z = np.full(self._k, slack)
        self._parts = parallel_map(
            lambda j: _MeasureBlock(
                costs[j] * (mixing[j] / self._unit), masses[j], plans[j], potentials[j] + slack / m, slack
            ), m,
        )  # fmt: skip
        self._count = sum(p.plan.size for p in self._parts) + self._k

    def solve(self, rtol: float) -> tuple[list[FloatArray], FloatArray]:
        r"""Plans (n_j, K) and potentials λ_j v_j (m, K), of sum 0 over j, to a relative gap of ``rtol`` at best."""
        with limit_blas_threads():
            self._iterate(rtol)
        potentials = self._unit * np.array([p.v for p in self._parts])
        return [p.plan for p in self._parts], potentials - potentials.mean(0)

    def _iterate(self, rtol: float) -> None:
        least_gap, stuck = np.inf, 0
        parallel_map(lambda j: self._parts[j].factor(), len(self._parts))
        for _ in range(_MOST_ITERATIONS):
            gap = sum(p.gap for p in self._parts) + float(self._w @ self._z)
            value = sum(float(p.a @ p.u) for p in self._parts)  # the dual's, which the slacks keep feasible
            stuck = 0 if gap < least_gap else stuck + 1
            least_gap = min(gap, least_gap)
            missed = max(float(np.abs(p.mass - self._w).sum()) for p in self._parts)  # bounds the error of the objective
            if gap <= max(rtol * (abs(value) + gap), missed) or stuck >= _STUCK or not np.isfinite(gap):
                break
            if not self._step(gap):
                break

    def _step(self, gap: float) -> bool:
        """One predictor and one corrector step; False where no step is possible any more."""
        parts, w, z = self._parts, self._w, self._z
        mu, theta = gap / self._count, w / z
        try:
            schur = scipy.linalg.cho_factor(
                _total([p.inverse for p in parts]) + np.diag(1 / theta), lower=True, check_finite=False
            )
        except np.linalg.LinAlgError:
            return False

        def solve_schur(b: FloatArray) -> FloatArray:
            return np.asarray(cast(Any, scipy.linalg.cho_solve)(schur, b, check_finite=False), dtype=np.float64)

        ones = solve_schur(np.ones_like(w))

        def solve_once(right: list[FloatArray]) -> tuple[list[FloatArray], FloatArray]:
            each: list[FloatArray] = [_times(p.inverse, h) for p, h in zip(parts, right, strict=True)]
            part = solve_schur(_total(each))
            q = part + (float(np.mean([h.sum() for h in right])) - float(part.sum())) / float(ones.sum()) * ones
            dv = [_times(p.inverse, h - q) for p, h in zip(parts, right, strict=True)]
            dv[0] = dv[0] + float(np.mean(np.asarray(q / theta - _total(dv), dtype=np.float64)))
            return dv, q

        def solve(right: list[FloatArray]) -> tuple[list[FloatArray], FloatArray]:
            """The dv and q with $L_j dv_j + q = h_j$ and $q = \\theta \\sum_j dv_j$, each L_j singular; refined."""
            dv, q = solve_once(right)
            for _ in range(_REFINEMENTS if gap < _ILL_CONDITIONED else 0):
                more, further = solve_once([h - q - _times(p.laplacian, d) for p, h, d in zip(parts, right, dv, strict=True)])
                dv, q = [d + e for d, e in zip(dv, more, strict=True)], q + further
            return dv, q

        dv, q = solve([-p.rhs for p in parts])
        parallel_map(lambda j: parts[j].predict(dv[j]), len(parts))
        dz = q / theta
        dw = -w - q
        primal = 1 / max(1.0, *(p.sums[0] for p in parts), float((-dw / w).max()))
        dual = 1 / max(1.0, *(p.sums[1] for p in parts), float((-dz / z).max()))
        p_ds, dp_s, dp_ds = sum(p.sums[2:] for p in parts) + np.array([w @ dz, dw @ z, dw @ dz])
        reached = gap + dual * p_ds + primal * dp_s + primal * dual * dp_ds
        centre = mu * float(np.clip(reached / gap, 0.0, 1.0)) ** 3
        right: list[FloatArray] = []
        for p in parts:
            h = (centre - dw * dz) / z - centre * p.column_sums[0] + p.column_sums[1]
            g_rhs = p.rhs - centre * p.column_sums[2] + p.column_sums[3]
            right.append(h - g_rhs)
        new_dv, q = solve(right)
        parallel_map(lambda j: parts[j].correct(centre, new_dv[j]), len(parts))
        new_dz = q / theta
        new_dw = (centre - dw * dz) / z - w - q
        primal = min(1.0, _STEP_TO_BOUNDARY / max(*(p.most[0] for p in parts), float((-new_dw / w).max()), 1e-300))
        dual = min(1.0, _STEP_TO_BOUNDARY / max(*(p.most[1] for p in parts), float((-new_dz / z).max()), 1e-300))
        if not (np.isfinite(primal) and np.isfinite(dual) and max(primal, dual) > 1e-8):
            return False
        parallel_map(lambda j: parts[j].move(centre, primal, dual), len(parts))  # and the sums for the next step
        self._w, self._z = w + primal * new_dw, z + dual * new_dz
        return True
