r"""How far round-off can move a score, and when a nearest code is certified in spite of it.

Every strategy that searches by products compares scores $s_k = \tfrac12|c_k|^2 - \langle x, c_k\rangle$, half the squared
distances less $\tfrac12|x|^2$, which all codes share. Here x and c are the given numbers less one centre, times one power of two.

**Theorem.** Let scores be computed in a precision of unit round-off u: x and c rounded to it after the shift, $\tfrac12|c|^2$
rounded to it, the inner product summed in any order with at most m roundings of each of its terms. If $(m + 8) u \le 0.05$ and
nothing overflows, the computed score is off by at most

$$\epsilon = \gamma\,(|x||c| + \tfrac12|c|^2) + v\,(1 + |x| + |c|), \qquad \gamma = 1.1\,(m + 8)\,u, \quad v = 4(d + 8)\,\omega,$$

with $\omega$ the least positive number of the precision.

*Proof.* By Cauchy-Schwarz $\sum_t |x_t||c_t| \le |x||c|$. An inner product with at most m roundings a term is off by
$m u |x||c|$ up to terms of second order (higham2002, section 3.1). Each coordinate of x and c is off by 2 u relative to itself at
most (one difference, one rounding), which moves the product by $4 u |x||c|$. The half square is off by $u \tfrac12|c|^2$, and
forming the difference, with the lower bound below folded in, by $2 u (|x||c| + \tfrac12|c|^2)$. Together this is less than
$(m + 7) u$; the factor 1.1 and the eighth unit pay for terms of second order, and for the rounding of the bound itself. A product
or a coordinate that is too small for the precision is off by $\omega$ at most: d coordinates of x, each times one of c, d of c,
each times one of x, d products and a few single numbers. $\blacksquare$

The bound is affine in the length of the point, $\epsilon_k(x) = a_k |x| + b_k$, with $a_k = \gamma |c_k| + v$ and
$b_k = \tfrac12 \gamma |c_k|^2 + v (1 + |c_k|)$, which are rounded up for a precision as low as float32, so that
$\ell_k = s_k - \epsilon_k$, the *score from below*, costs one more multiplication and addition a score, and a few long codes do
not spoil the bounds of all others.

**Certificate.** The label says what direct differences in float64 decide. A squared distance D from those is off by at most
$(d + 2)\,2^{-53} D$ up to second order. So if k has the least score from below, and every other code has

$$\ell_j > \ell_k + 2\epsilon_k + \delta D_k, \qquad \delta = 4\,(d + 4)\,2^{-53},$$

where $D_k \ge |x - c_k|^2$, then k is the nearest code and its computed distance is the least. Otherwise the codes for which the
inequality fails are compared by direct differences.

**In the precision of the products.** The scores from below, $\ell_k + 2\epsilon_k + \delta D_k$ and the squared distances
$|x|^2 + 2 s$ may be computed in it too. The eighth unit pays for the second, which is off by $u (|x||c| + \tfrac12|c|^2)$ more; a
sum that loses $\delta D_k$ to rounding does no harm, as a number above it is a whole unit above. Squared distances are then off
by $2u|x|^2 + 4u(|x||c| + \tfrac12|c|^2)$. With $|c| \le (1 + t)|x|$ and $|x - c| \ge t|x|$ that is at most
$(8 + 8t + 2t^2)\,u|x|^2$. Lengths that are rounded up by half of ``ROUNDING``, here 16.7 u, and to float32, pay for
$14 u |x|^2$, the two factors of a bound on a distance for $33 t^2 u |x|^2$, which is more for every $t \ge 0$.

**Corollary 1: few dimensions** (``low_dim_kernels``). Let $y = (x - a) f$ and $b = (c - a) f$ be computed in float64 and
rounded to float32 once, $u = 2^{-24}$, and $|b| \le B$. The score $\tfrac12|b|^2 - \langle y, b\rangle$ of the numbers before
rounding is off by at most $(d + 4)\,u\,B\,(\tfrac12 B + |y|)$ and what terms of second order add, under 2 %: u for each factor
of a product, $(d + 1) u$ for a sum of d + 1 terms, u for $\tfrac12|b|^2$. Twice the score and $|y|^2$, which is off by
$(d+2)u|y|^2$, make $|y - b|^2$. Where bounds on distances so made tell the nearest code, rounded by $2^{-21}$, they leave more
than the round-off $(d + 3)\,2^{-53}$ of direct differences; where they do not, float64 does.

**Corollary 2: the Gram matrix** (``gram_matrix``). Points enter as $y_i = \mathrm{fl}(\sigma (x_i - a))$ in float32. A
difference of two numbers is off by a unit $u = 2^{-24}$ of itself, a product of m terms summed in any order by m u, a sum of p
such pieces by p u more. So, in relation to the lengths $|x|$ about a,

$$|G_{ij} - \langle x_i, x_j \rangle| \le \gamma |x_i| |x_j|, \qquad \gamma = 1.1 (m + p + 4) u$$

(:func:`product_error`). Numbers below the range of float32, each less than t, lose $t \sqrt d (|x_i| + |x_j|) + t d$ at most,
which $\gamma$ covers with lengths that are enlarged by $\sqrt{t d / \gamma}$, a negligible part of the longest.

A mean of such products is off by $\gamma |x_i| L_k$ with the mean length $L_k \ge |c_k|$ of the cell's points, and the score
$\tfrac12 |c_k|^2 - \langle x_i, c_k \rangle$ by $\gamma (|x_i| L_k + \tfrac12 L_k^2)$. To this add

* the sums in float64: T terms, each rounded twice, are off by $2^{-52} T$ times the most that $\sum w |x|$ has been while
  they were added and subtracted; four such sums enter, P, $|c_k|^2$ twice and the coordinates of the code;
* the rounding $\rho_k \le u' (L_k + |a|)$ of the code to the points' dtype, of unit u', by which the score is off by
  $\rho_k (|x_i| + L_k + \tfrac12 \rho_k)$.
"""

from typing import Any

import numpy as np

PIECE = 512  # coordinates of an inner product that are summed in one go
ROUND_OFF = 2.0**-24 * 1.02  # u of the first corollary, with what terms of second order add
ROUNDING = 1e-6  # relative: pays for lengths, distances and bounds that are kept in float32


def rounded_terms(dim: int, piece: int = PIECE) -> int:
    """How often a term of an inner product is rounded at most, where pieces of it are summed and then their sums."""
    return min(dim, piece) + -(-dim // piece)


def score_error(dim: int, dtype: Any, terms: int | None = None) -> tuple[float, float]:
    r"""$\gamma$ and v of the theorem.

    Parameters
    ----------
    dim : int
    dtype : floating dtype
        Of the products.
    terms : int, optional
        Roundings m of a term of an inner product at most; ``dim`` if not given, which holds for any order of summation.

    Returns
    -------
    gamma, vanishing : float
    """
    limits = np.finfo(dtype)
    gamma = 1.1 * ((dim if terms is None else terms) + 8) * float(limits.eps) / 2
    return gamma, 4.0 * (dim + 8) * float(limits.smallest_subnormal)


def product_error(dim: int) -> float:
    r"""$\gamma$ of the second corollary."""
    return 1.1 * (rounded_terms(dim) + 4) * 2.0**-24


def direct_margin(dim: int) -> float:
    r"""$\delta$: relative to the squared distance, the gap that direct differences in float64 see for certain."""
    return 4.0 * (dim + 4) * 2.0**-53


def largest_product(dtype: Any) -> float:
    """The product of two lengths up to which no score of theirs overflows."""
    return 2.0 ** (int(np.finfo(dtype).maxexp) - 28)
