"""The line cut into panels on which a density is a polynomial to round-off, as Gauss' rule needs."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from quantization.arrays import FloatArray
from quantization.laws_1d.density import Density

_RESOLVED = 1e-10
"""The last Legendre coefficients relative to the largest. The rule errs by about the square of that."""
_NEGLIGIBLE = 1e-20
"""The error of a panel relative to the moment of order r. At K = 1000, r = 2 distortions are 1e-6 of the moment."""
_TAIL, _TAIL_AT_MOST = 1e-24, 1e-18
"""The tail cut off relative to the moment of order r, and the same at most where the density underflows before."""
_NOISE = 1e-6
"""Roughness below this that does not fall by bisection is the density's own round-off."""
_MISMATCHES = 4
"""Generations after which a density that looks smooth is taken for smooth: the cdf may be an integral to 1e-9 only."""
_MASS = 1e-8
_MOST_PANELS = 20_000
_DOUBLINGS, _FARTHEST = 500, 1e150
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Panels:
    """A density as panels [edges[i], edges[i + 1]], P of them, each with nodes (P, n) and the masses (P, n) at these."""

    density: Density
    edges: FloatArray
    nodes: FloatArray
    masses: FloatArray


@cache
def rule(r: float) -> tuple[FloatArray, FloatArray]:
    """Gauss' nodes and weights on [0, 1] for a density times a polynomial of degree r."""
    x, w = scipy.special.roots_legendre(20 + int(np.ceil(r)) // 2)
    return np.asarray((1 + x) / 2, dtype=np.float64), np.asarray(w / 2, dtype=np.float64)


def panels_of(density: Density, r: float) -> Panels:
    r"""The panels of a density for integrals of $|z - x|^r f(z)$, bisected until each is resolved.

    A panel is resolved when the last Legendre coefficients of f are small relative to the largest and its mass agrees with the
    distribution function, so that peaks and jumps between nodes are found. Near a pole or a jump, panels a few units of
    round-off wide get their mass from the distribution function. Raises ``ValueError`` where the law has no moment of order r.
    """
    marks = density.landmarks
    unit = 1.0 + _moment(density, r)
    edges = [marks]
    for sign, mark, end in ((-1, marks[0], density.low), (1, marks[-1], density.high)):
        if not np.isfinite(end):
            edges.append(_tail(density, r, sign, float(mark), unit))
    edges = np.unique(np.concatenate(edges))
    below = density.cdf(edges)
    front = np.stack([edges[:-1], edges[1:], below[:-1], below[1:], np.full(len(below) - 1, np.inf), np.zeros(len(below) - 1)])
    accepted: list[FloatArray] = []
    visited = 0
    while front.size:
        visited += front.shape[1]
        if visited > _MOST_PANELS:
            raise _not_integrable(density, float(front[0, 0]))
        nodes, masses, front, done = _examine(density, r, front, unit)
        accepted.append(np.concatenate([front[:2].T, nodes, masses], axis=1)[done])
        front = front[:, ~done]
        middle = front[0] + (front[1] - front[0]) / 2
        left, right = front.copy(), front.copy()
        left[1], left[3] = right[0], right[2] = middle, density.cdf(middle)
        front = np.concatenate([left, right], axis=1)
    table = np.concatenate(accepted)
    table = table[np.argsort(table[:, 0])]
    nodes, masses = np.split(table[:, 2:], 2, axis=1)
    if not abs(masses.sum() - 1) <= _MASS:
        raise _not_integrable(density, density.median)
    return Panels(density, np.append(table[:, 0], table[-1, 1]), nodes, masses)


def _examine(
    density: Density, r: float, front: FloatArray, unit: float
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool]]:
    """Nodes and masses (P, n) of panels, the updated front, and which panels are resolved.

    front: (6, P), the ends of a panel, the distribution function there, the roughness of its parent, and the number of
    generations in which only the distribution function disagreed; the last two are updated. unit: the moment of order r.
    """
    s, w = rule(r)
    # Values at the nodes to Legendre coefficients: c_j = (2j + 1) sum_i w_i P_j(s_i) f_i. The last two tell enough.
    last = (np.polynomial.legendre.legvander(2 * s - 1, len(s) - 1) * w[:, None] * (2 * np.arange(len(s)) + 1))[:, -2:]
    left, right, low, high, before, mismatches = front
    width, size, cdf_mass = right - left, np.maximum(np.abs(left), np.abs(right)), high - low
    nodes = left[:, None] + width[:, None] * s
    f = density.pdf(nodes)
    with np.errstate(all="ignore"):
        masses = np.where(np.isfinite(f), f, 0.0) * width[:, None] * w
        total, top, tail = masses.sum(1), f.max(1), np.abs(f @ last).max(1)
        mismatch = np.maximum(np.abs(total - cdf_mass) - 64 * _EPS, 0.0)
        bent = np.where(f.any(1), tail / top, 0.0)
        roughness = np.maximum(bent, mismatch / np.where(cdf_mass > 0, cdf_mass, 1.0))
        mismatches = np.where(bent <= _RESOLVED, mismatches + 1, 0)
        far = np.maximum(np.abs(left - density.median), np.abs(right - density.median)) / density.dispersion
        negligible = (np.maximum(tail * width, cdf_mass) * (1 + far**r) <= _NEGLIGIBLE * unit) & (cdf_mass <= 64 * _EPS)
        smooth = negligible | (roughness <= _RESOLVED)
        # What bisection cannot improve: round-off of the nodes, of the density or of the distribution function.
        noisy = (bent <= 16 * _EPS * size * (top - f.min(1)) / (width * top)) & (mismatch <= _NOISE * cdf_mass)
        noisy |= (roughness <= _NOISE) & (roughness > before / 1.5)
        noisy |= (mismatches >= _MISMATCHES) & (mismatch <= _MASS / 10)
        at_pole = ((left == density.low) | (right == density.high)) & (width <= 2.0**-30 * size)
        at_pole |= ((left == 0) | (right == 0)) & (width <= 2.0**-80 * density.dispersion)
        done = smooth | noisy | at_pole | (width <= 8 * _EPS * size)
        patched = done & ~smooth & (bent > _RESOLVED)
        masses[patched] = np.where(total > 0, masses.T / total, w[:, None]).T[patched] * cdf_mass[patched, None]
    return nodes, masses, np.stack([left, right, low, high, roughness, mismatches]), done


def _moment(density: Density, r: float) -> float:
    """About E (|T - median|/dispersion)^r between the landmarks."""
    s, w = rule(r)
    left, width = density.landmarks[:-1, None], np.diff(density.landmarks)[:, None]
    nodes = left + width * s
    with np.errstate(all="ignore"):
        values = density.pdf(nodes) * np.abs((nodes - density.median) / density.dispersion) ** r
        return float(np.where(np.isfinite(values), values, 0.0).sum(1) @ width[:, 0] / len(w))


def _tail(density: Density, r: float, sign: int, mark: float, unit: float) -> FloatArray:
    r"""Edges at doubling distances from the last landmark to where what is left of the moment of order r is negligible.

    A tail $f \sim |z|^{-1-\alpha}$ has $|z|^{r+1} f(z)$ falling by $\alpha - r$ powers of two a doubling, and beyond z holds
    $|z|^{r+1} f/(\alpha - r)$; lighter tails fall faster. No fall, no moment.
    """
    distance = max(abs(mark - density.median), density.dispersion)
    doubled = distance * np.exp2(np.arange(1, _DOUBLINGS, dtype=np.float64))
    doubled = doubled[doubled < _FARTHEST]
    edges = density.median + sign * doubled
    f = density.pdf(edges)
    healthy = len(edges) if (f > 1e-300).all() else int(np.argmin(f > 1e-300))
    with np.errstate(all="ignore"):
        share = f * doubled * (doubled / density.dispersion) ** r
        falls = np.log2(share[:-1] / share[1:])[: max(healthy - 1, 0)]
        falls = np.append(falls, falls[-1:])
        left = share[: len(falls)] / np.clip(falls * np.log(2), 0, 1)
    left = np.where(falls > 0, left, np.inf)
    enough = np.flatnonzero(np.maximum.accumulate(left[::-1])[::-1] <= _TAIL * unit)
    if len(enough):
        return edges[: enough[0] + 1]
    if healthy < len(edges) and (healthy < 2 or falls[-1] > 10 or left[-1] <= _TAIL_AT_MOST * unit):
        return edges[: healthy + 1]  # the density vanishes, faster than any power or far out
    index = r + float(falls[-1]) if len(falls) else np.nan
    fall = f"falls like |x|^-{1 + index:.3g}" if 0 < index < np.inf else "does not fall"
    raise ValueError(
        f"order r = {r:g} needs a law with a finite moment of that order; the density of this one {fall} far out. "
        f"It must fall faster than |x|^-{1 + r:g}, by a power of 0.2 or more for the moment to be computed. Lower r, or truncate"
    )


def _not_integrable(density: Density, place: float) -> ValueError:
    return ValueError(
        f"the density of the law can't be integrated: near {density.loc + density.scale * place:g} it looks rough on every "
        "scale, or it is not the derivative of the distribution function. Quantize a sample instead"
    )
