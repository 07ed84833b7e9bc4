r"""Steps towards the r-means of cells, $\arg\min_c \sum_i w_i |x_i - c|^r$, r ≠ 2, that never raise their cost.

With $v_i = x_i - c$, over the points off the code c: the pull $R = \sum_i w_i |v_i|^{r-2} v_i$ and $S = \sum_i w_i |v_i|^{r-2}$.

**1 ≤ r < 2: reweighting** (weiszfeld2009). As $t^{r/2}$ is concave,
$|v - \delta|^r \le |v|^r + \tfrac r2 |v|^{r-2} (|v - \delta|^2 - |v|^2)$. The sum of the right sides is least at
$\delta = R / S$, by $\tfrac r2 |R|^2 / S$. Points of weight a at c add $a |\delta|^r$: along R / S the least is at the share s
with $s + (a |R/S|^{r-2} / S)\, s^{r-1} = 1$, for r = 1 the step of Vardi and Zhang (vardi2000), $s = (1 - a / |R|)_+$.

*A point nearby.* Reweighting reaches a point in the limit only. For the nearest point, of weight a at c + g, the same
inequality for all others says that the cost there is less by $a |g|^r + r \langle R', g \rangle - \tfrac r2 S' |g|^2$ at least,
R' and S' without that point. The code moves there where this is more than what reweighting takes off for certain: near a point
that is the median, that is so as soon as the others' pull there is less than a.

**r > 2: a safeguarded Newton step.** The Hessian of $\tfrac1r \sum_i w_i |v_i - \delta|^r$ is
$H = S + p \sum_i w_i |v_i|^{r-4} v_i v_i^T$ at 0, p = r − 2. For p ≥ 1 the third derivative of $|v|^r / r$ along a unit vector is
$p (p + 1) |v|^{p-1}$ at most, so that within $\rho$ of c Minkowski's and Hölder's inequalities bound the sum's by
$p (p + 1) W^{1/p} (S^{1/p} + W^{1/p} \rho)^{p-1}$; for p < 1 the Hessian changes by $(1 + 2p) W \rho^p$ at most. So
$\tfrac1r$ of the cost changes by $-\langle R, \delta \rangle + \tfrac12 \langle \delta, (H + \lambda(|\delta|)) \delta \rangle$
at most, $\lambda(\rho) = \tfrac13 p (p + 1) W^{1/p} (S^{1/p} + W^{1/p} \rho)^{p-1} \rho$ or
$2 (1 + 2p) W \rho^p / (p + 1)(p + 2)$ (nesterov2006). With $(H + \lambda(|\delta|)) \delta = R$ the cost falls by
$\tfrac r2 \langle R, \delta \rangle$ at least. Near an r-mean $\lambda$ vanishes, and the step is Newton's.

*In more dimensions* than H is summed in, its products with vectors are, where labels are kept: of conjugate gradients for
$(H + \lambda(\rho)) \delta = R$ each is orthogonal to what it leaves of R, and no longer than the solution, which the $\rho$ with
$(S + \lambda(\rho)) \rho = |R|$ bounds, as $H \ge S$. So what is said above holds of them too. The condition of H is r − 1 at
most, so that few are taken.

*A bounded step*, for shards and streams of so many dimensions, and where conjugate gradients fail. Within $\rho$ of c the second
derivative is at most $r (r - 1) \sum_i w_i (|v_i| + \rho)^{r-2} \le r (r - 1) B(\rho)$, with
$B(\rho) = (S^{1/p} + W^{1/p} \rho)^p$ for $p = r - 2 \ge 1$, by Minkowski's inequality, and $S + W \rho^p$ below. So a step
along R of the length with $(r - 1)\, \rho\, B(\rho) = |R|$ lowers the cost by $\tfrac r2 \rho |R|$ at least.

**The gradient at a point.** For r < 2 points at c pull with up to $a \epsilon^{r-1}$ where the code is moved by $\epsilon$, its
rounding. So the gradient is held to be what the others' pull exceeds that by; for r = 1 it is the shortest subgradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quantization.arrays import FloatArray, IntArray

_HALVINGS, _NEWTON_HALVINGS = 60, 12
_PRODUCTS, _LEFT = 8, 0.1  # conjugate gradients at most, and the share of a pull that they may leave
_ROUNDED = 1 + 1e-9  # times their bound, that lengths of steps may be
_BALANCED = 1e-12  # of a cell's mass, that sums of pulls may be off
NEWTON_DIMENSIONS = 16  # at most, in which second derivatives are summed: d (d + 1) / 2 numbers a point


def wants_tensors(dim: int, r: float) -> bool:
    """Whether steps take the second derivatives of cells."""
    return r > 2 and dim <= NEWTON_DIMENSIONS


def _lengths(vectors: FloatArray) -> FloatArray:
    """Of vectors (K, d) whose squares may leave the range of float64."""
    largest = np.abs(vectors).max(1)
    return largest * np.sqrt(np.square(vectors / np.where(largest > 0, largest, 1.0)[:, None]).sum(1))


@dataclass(frozen=True)
class Stiffness:
    r"""Sums over cells that tell how far a step may go, beside the pulls; of parts of a law they are added.

    costs: (K,), of $w |x - x_k|^r$. total: (K,), of $w |x - x_k|^{r-2}$ over the points off the code. For r < 2 too: atoms (K,),
    of w over those at the code; gaps (K, d) the way to the nearest of the others, infinite where there is none, and gap_weights
    (K,), its weight; for r > 2 zeros.
    rounding: how far codes are rounded, relative to themselves. tensors: (K, d, d), of $w |x - x_k|^{r-4} (x - x_k) (x - x_k)^T$;
    None where steps don't take them. products: instead, the function of vectors (K, d) that multiplies these with them.
    """

    costs: FloatArray
    total: FloatArray
    atoms: FloatArray
    gaps: FloatArray
    gap_weights: FloatArray
    rounding: float
    tensors: FloatArray | None = None
    products: Callable[[FloatArray], FloatArray] | None = None

    def __add__(self, other: "Stiffness") -> "Stiffness":
        with np.errstate(over="ignore"):
            farther = np.square(other.gaps).sum(1) >= np.square(self.gaps).sum(1)
        gaps, gap_weights = (
            np.where(farther[:, None], self.gaps, other.gaps),
            np.where(farther, self.gap_weights, other.gap_weights),
        )
        gap_weights += np.where((self.gaps == other.gaps).all(1), other.gap_weights, 0.0)
        costs, total, atoms = self.costs + other.costs, self.total + other.total, self.atoms + other.atoms
        tensors = None if self.tensors is None or other.tensors is None else self.tensors + other.tensors
        return Stiffness(costs, total, atoms, gaps, gap_weights, self.rounding, tensors)

    def times(self, factor: float, scale: float, r: float) -> "Stiffness":
        """Of points ``scale`` times as far apart, of ``factor`` times the weight."""
        high = np.float64(scale) ** (r - 2)
        costs, total = self.costs * (factor * high * scale * scale), self.total * (factor * high)
        tensors = None if self.tensors is None else self.tensors * (factor * high)
        return Stiffness(costs, total, self.atoms * factor, self.gaps * scale, self.gap_weights * factor, self.rounding, tensors)

    def curvatures(self, r: float) -> FloatArray:
        """By how much pulls change at most per length that codes move, short beside the way to all points but the nearest."""
        with np.errstate(all="ignore"):
            own = self.gap_weights * np.square(self.gaps).sum(1) ** (r / 2 - 1) if r < 2 else 0.0
        return max(1.0, r - 1) * np.maximum(self.total - np.nan_to_num(own), 0.0)

    def moves(self, pulls: FloatArray, masses: FloatArray, r: float) -> FloatArray:
        """From the codes to others of which no cell costs more, (K, d)."""
        with np.errstate(all="ignore"):
            if self.tensors is not None:
                return np.nan_to_num(self._newton(pulls, masses, self.tensors, r - 2), nan=0.0, posinf=0.0, neginf=0.0)
            if self.products is not None:
                return np.nan_to_num(self._conjugate(pulls, masses, self.products, r - 2), nan=0.0, posinf=0.0, neginf=0.0)
            size = _lengths(pulls)
            lengths = self._reweighted(size, r) if r < 2 else self._bounded(size, masses, r)
            moves = np.where(size > 0, lengths / size, 0.0)[:, None] * pulls
            if r < 2:
                nearby = self._nearby(pulls, size, r)
                moves[nearby] = self.gaps[nearby]
        return np.nan_to_num(moves, nan=0.0, posinf=0.0, neginf=0.0)

    def gradient(self, pulls: FloatArray, codes: FloatArray, r: float) -> FloatArray:
        """The gradient of the distortion, the shortest within the rounding of the codes where points lie at these."""
        gradient = -r * pulls
        held = np.flatnonzero(self.atoms > 0)
        if r < 2 and len(held):
            size = np.sqrt(np.square(pulls[held]).sum(1))
            within = (self.rounding * np.abs(codes[held]).max(1)) ** (r - 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(size > 0, 1 - self.atoms[held] * within / size, 0.0)
            gradient[held] *= np.maximum(share, 0.0)[:, None]
        return gradient

    def balanced(self, pulls: FloatArray, masses: FloatArray, codes: FloatArray) -> IntArray:
        """Cells, r = 1, whose pull is just what the points at the code hold: where all lie on a line, other medians may be."""
        with np.errstate(all="ignore"):
            near = np.sqrt(np.square(self.gaps).sum(1))
            error = _BALANCED + 64 * self.rounding * (1 + np.abs(codes).max(1) / near)
            excess = np.abs(np.sqrt(np.square(pulls).sum(1)) - self.atoms)
            return np.flatnonzero((self.gap_weights > 0) & (excess <= error * masses))

    def _reweighted(self, size: FloatArray, r: float) -> FloatArray:
        """The lengths of the steps of reweighting, where points may lie at the code."""
        length = size / self.total
        q = self.atoms * length ** (r - 2) / self.total
        if r == 1:
            return length * np.maximum(1 - q, 0.0)
        held = np.flatnonzero(q > 0)
        if len(held):  # s between (1 + q)^(-1/(r-1)) and min(1, q^(-1/(r-1))), by its logarithm
            p, of = r - 1, q[held]
            low, high = -np.log1p(of) / p, np.minimum(-np.log(of) / p, 0.0)
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                over = np.exp(middle) + of * np.exp(p * middle) > 1
                low, high = np.where(over, low, middle), np.where(over, middle, high)
            length[held] *= np.exp(low)
        return length

    def _nearby(self, pulls: FloatArray, size: FloatArray, r: float) -> np.ndarray:
        """Whether the nearest point costs the cell less for certain than a step of reweighting takes off."""
        g, a = self.gaps, self.gap_weights
        squared = np.square(g).sum(1)
        own = a * squared ** (r / 2 - 1)
        along = (pulls * g).sum(1) - own * squared
        gain = a * squared ** (r / 2) + r * along - r / 2 * np.maximum(self.total - own, 0.0) * squared
        return (self.atoms == 0) & np.isfinite(squared) & (gain > r / 2 * size * size / self.total)

    def _bounded(self, size: FloatArray, masses: FloatArray, r: float) -> FloatArray:
        """The lengths ρ of the bounded steps, by bisection."""
        p, total = r - 2, self.total
        high = size / ((r - 1) * total)
        low = np.zeros_like(high)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            bound = (total ** (1 / p) + masses ** (1 / p) * middle) ** p if p >= 1 else total + masses * middle**p
            over = (r - 1) * middle * bound > size
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return low

    def _more(self, length: FloatArray, masses: FloatArray, p: float) -> FloatArray:
        """By how much the second derivatives of cells may exceed those at the codes for steps of these lengths, as it counts."""
        if p >= 1:
            root, mass = self.total ** (1 / p), masses ** (1 / p)
            return p * (p + 1) / 3 * mass * (root + mass * length) ** (p - 1) * length
        return 2 * (1 + 2 * p) / ((p + 1) * (p + 2)) * masses * length**p

    def _conjugate(
        self, pulls: FloatArray, masses: FloatArray, products: Callable[[FloatArray], FloatArray], p: float
    ) -> FloatArray:
        """Conjugate gradients for the safeguarded Newton steps, (K, d), in all cells at once; bounded steps where these fail.

        A cell's pull is 1 long here, and its total 1: powers of distances, squared in what follows, leave the range of float64.
        """
        size, total = _lengths(pulls), self.total
        low: FloatArray = np.zeros(len(size))
        high: FloatArray = size / total
        for _ in range(_NEWTON_HALVINGS):
            middle = (low + high) / 2
            longer = middle * (total + self._more(middle, masses, p)) < size
            low, high = np.where(longer, middle, low), np.where(longer, high, middle)
        diagonal = 1 + (self._more(high, masses, p) / total)[:, None]
        unit = np.where(size > 0, 1 / size, 0.0)[:, None] * pulls
        moves, left, way = np.zeros_like(unit), unit, unit
        squared = np.square(left).sum(1)
        for _ in range(_PRODUCTS):
            turned = diagonal * way + p * products(np.ascontiguousarray(way)) / total[:, None]
            share = np.nan_to_num(squared / (way * turned).sum(1), posinf=0.0)[:, None]
            moves, left, before = moves + share * way, left - share * turned, squared
            squared = np.square(left).sum(1)
            if not (squared > _LEFT**2).any():
                break
            way = left + np.nan_to_num(squared / before, posinf=0.0)[:, None] * way
        moves *= (size / total)[:, None]
        length = _lengths(moves)
        failed = (size > 0) & ~((length > 0) & (length <= _ROUNDED * high))
        if failed.any():
            moves = np.where(failed[:, None], self._bounded(size, masses, p + 2)[:, None] * unit, moves)
        return moves

    def _newton(self, pulls: FloatArray, masses: FloatArray, tensors: FloatArray, p: float) -> FloatArray:
        r"""The safeguarded Newton steps, (K, d); their lengths by bisection, from above."""
        hessians = self.total[:, None, None] * np.eye(pulls.shape[1]) + p * tensors
        hessians[~np.isfinite(hessians).all((1, 2))] = 0.0
        curvatures, axes = np.linalg.eigh(hessians)
        along, curvatures = np.einsum("kij,ki->kj", axes, pulls), np.maximum(curvatures, self.total[:, None])

        def steps(length: FloatArray) -> FloatArray:
            return along / (curvatures + self._more(length, masses, p)[:, None])

        high: FloatArray = np.sqrt(np.square(along / curvatures).sum(1))
        low = np.zeros(len(high))
        for _ in range(_NEWTON_HALVINGS):
            middle = (low + high) / 2
            longer = np.square(steps(middle)).sum(1) > np.square(middle)
            low, high = np.where(longer, middle, low), np.where(longer, high, middle)
        return np.einsum("kij,kj->ki", axes, steps(high))  # no longer than that
