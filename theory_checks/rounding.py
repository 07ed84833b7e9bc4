"""What floating point may add to a comparison: bounds from the number of roundings and the size of the terms."""

import math

UNIT_ROUND_OFF = 2.0**-53


def round_off(operations: int, magnitude: float) -> float:
    r"""$\gamma_m M$ with $\gamma_m = m u / (1 - m u)$, $u = 2^{-53}$: the error of a float64 sum of products.

    operations: m, the roundings that any one term goes through; for a sum of n products of d-term sums n + d + a few.
    magnitude: M, the sum of the terms' absolute values. Source: higham2002.
    """
    relative = operations * UNIT_ROUND_OFF
    return relative / (1 - relative) * magnitude


def transport_round_off(n: int, k: int, largest_cost: float) -> float:
    r"""$\gamma_{N^2 + 20 N} (1 + \max c)$ with $N = n + k$: the error of a transport cost found by the network simplex.

    A vertex of the polytope has fewer than N positive entries, each a signed sum of at most N masses: $N^2 u \max c$. The
    simplex stops at reduced costs above $-4 u (|c| + |u| + |v|)$, with potentials that are sums of at most N costs.
    Source: cunningham1976.
    """
    nodes = n + k
    return round_off(nodes**2 + 20 * nodes, 1.0 + largest_cost)


def root_error(value: float, error: float) -> float:
    r"""$|\sqrt{a} - \sqrt{a + h}| \le \min(|h| / \sqrt{a}, \sqrt{|h|})$: the error of a root, from that of its radicand."""
    return min(error / math.sqrt(value), math.sqrt(error)) if value > 0 else math.sqrt(error)
