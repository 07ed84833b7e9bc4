"""Laws on the line with a density: cells, gradients and Hessians to round-off, by quadrature of centred moments."""

from dataclasses import dataclass

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import FloatArray, IntArray
from quantization.assignment.cells import Cells, stationarity
from quantization.laws_1d.code_reallocation import CodeReallocation
from quantization.laws_1d.density import Density
from quantization.laws_1d.half_cell_moments import HalfCellMoments, half_cell_moments
from quantization.laws_1d.levenberg_marquardt import tridiagonal
from quantization.laws_1d.point_density import PointDensity, search_codes
from quantization.laws_1d.quadrature_panels import Panels, panels_of

_DECADES = 300
_LIGHT = 1e-18
_ROUNDS = 100


class DensityLaw1D:
    r"""A law with density f on the line, any order r ≥ 1.

    $D_r(x) = \sum_k \int_{V_k} |z - x_k|^r f(z)\,dz$ with $V_k = [m_{k-1}, m_k]$, $m_k = (x_k + x_{k+1})/2$, and
    $\partial_k D_r = r \int_{V_k} \mathrm{sgn}(x_k - z)\,|z - x_k|^{r-1} f$,
    $\partial_{k,k+1} D_r = -\tfrac r2 h_k^{r-1} f(m_k)$ with $h_k = (x_{k+1} - x_k)/2$,
    $\partial_{kk} D_r = r(r-1) \int_{V_k} |z - x_k|^{r-2} f + \partial_{k,k-1} D_r + \partial_{k,k+1} D_r$, for r = 1 with
    $2 f(x_k)$ for the integral. Codes in any order; of equal ones the first has the cell (graf2000).

    Raises ``ValueError`` where the law has no moment of order r, or one beyond floating point.
    """

    def __init__(self, density: Density, r: float) -> None:
        decades = r * float(np.log10(density.scale * density.dispersion))
        if not abs(decades) <= _DECADES + r:  # a standard law's dispersion is within a decade of its scale
            raise ValueError(
                f"the law's scale to the power r must lie within 1e±{_DECADES}; received a scale of "
                f"{density.scale * density.dispersion:g} and r = {r:g}. Rescale the law"
            )
        self._density, self._r = density, r
        self._panels = panels_of(density, r)
        self._cached: tuple[bytes, _CellMoments] | None = None

    @property
    def density(self) -> Density:
        """The density, standardized."""
        return self._density

    @property
    def panels(self) -> Panels:
        """The panels on which it is integrated."""
        return self._panels

    def cells(self, codes: FloatArray) -> Cells:
        measured, scale, r = self._cell_moments(codes), self._density.scale, self._r
        m, at = measured.moments, measured.at
        masses, slope, shift = np.zeros((3, len(codes)))
        masses[at], slope[at] = m.mass.sum(0), r * (m.slope[0] - m.slope[1])
        shift[at] = (m.first[1] - m.first[0]) / np.where(masses[at] > 0, masses[at], 1.0)
        distortion = float(m.cost.sum())
        residual = stationarity(slope[:, None], masses, distortion, r)
        with np.errstate(over="ignore"):
            gradient, distortion = slope * scale ** (r - 1), float(distortion * np.float64(scale) ** r)
        return Cells(masses, codes + scale * shift[:, None], gradient[:, None], distortion, residual)

    def hessian(self, codes: FloatArray) -> "scipy.sparse.csc_array":
        measured, r = self._cell_moments(codes), self._r
        t, at = measured.t, measured.at
        half = np.diff(t) / 2
        between = -r / 2 * half ** (r - 1) * self._density.finite_pdf(t[:-1] + half)
        diagonal = 2 * self._density.finite_pdf(t) if r == 1 else r * (r - 1) * measured.moments.curvature.sum(0)
        return tridiagonal(diagonal, between, at, len(codes)) * self._density.scale ** (r - 2)

    def relocate_empty_cells(self, codes: FloatArray) -> tuple[FloatArray, Cells]:
        r"""``codes`` with those of empty cells relocated to the costliest: to a side's mean distance of order r from its code.

        An empty cell costs nothing, so the distortion falls. A cell takes one code per round. Codes of cells with less than
        round-off of the mass are relocated too where the distortion falls by it: no gradient would bring such a code back.
        """
        c = self.cells(codes)
        for _ in range(_ROUNDS):
            spare = np.flatnonzero(c.masses <= _LIGHT)
            if not len(spare) or not np.isfinite(c.distortion):
                break
            moved = self._split(codes, spare)
            m = self.cells(moved)
            if not m.distortion < c.distortion:
                spare = np.flatnonzero(c.masses == 0)
                if not len(spare):
                    break
                moved = self._split(codes, spare)
                m = self.cells(moved)
            codes, c = moved, m
        return codes, c

    def _split(self, codes: FloatArray, spare: IntArray) -> FloatArray:
        """``codes`` with those in ``spare`` relocated to the costliest other cells, one each as far as these suffice."""
        measured = self._cell_moments(codes)
        t, m = measured.t, measured.moments
        costs = m.cost.sum(0)
        costs[np.isin(measured.at, spare)] = 0.0
        worst = np.argsort(-costs, kind="stable")[: min(len(spare), int((costs > 0).sum()))]
        side = (m.cost[1] > m.cost[0])[worst].astype(np.int64)
        away = (m.cost[side, worst] / m.mass[side, worst]) ** (1 / self._r)
        moved = codes.copy()
        moved[spare[: len(worst)]] = self._density.unstandardize(t[worst] + np.where(side, away, -away))
        return moved

    def search(self, k: int, rng: np.random.Generator, *, exhaustive: bool = False) -> FloatArray:
        """Codes in the basin of the best local optimum found: by a search over bins, then by exchanges of codes between modes."""
        point_density = PointDensity.of(self._panels, self._r)
        valleys = point_density.valleys(self._density)
        codes = search_codes(self._panels, k, self._r, point_density, valleys)
        if k > 1 and len(valleys):
            codes = CodeReallocation(self, self._density, self._r, point_density, valleys).improved(codes)
        return self._density.unstandardize(codes)

    def _cell_moments(self, codes: FloatArray) -> "_CellMoments":
        key = codes.tobytes()
        if self._cached is None or self._cached[0] != key:
            t, at = np.unique(self._density.standardize(codes), return_index=True)
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                self._cached = key, _CellMoments(t, at.astype(np.int64), half_cell_moments(self._panels, t, self._r))
        return self._cached[1]


@dataclass(frozen=True)
class _CellMoments:
    """The distinct codes t (K',) in order, their indices ``at``, and the moments of their half-cells."""

    t: FloatArray
    at: IntArray
    moments: HalfCellMoments
