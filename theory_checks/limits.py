"""Limits read off finite sequences: a remainder of known order, and slopes between doublings."""

import math
from collections.abc import Sequence


def remainder(before: float, last: float, order: float, ratio: float = 2.0) -> float:
    r"""$|a_\infty - a_n| \le |a_n - a_{n/\rho}| / (\rho^p - 1)$: what is left of a sequence with $a_n = a_\infty + c n^{-p} +
    \dots$

    Exact for a pure power; a sequence that approaches faster has less left. order: p. ratio: ρ, of the last two n.
    """
    return abs(last - before) / (ratio**order - 1)


def two_terms(last: float, before: float, earlier: float) -> float:
    r"""$|a_\infty - a_n| \le \frac53 |A| + \frac13 |B|$ for $a_n = a_\infty + c/n + d/n^2$, which may cancel.

    A and B are the changes from n/2 to n and from n/4 to n/2: $A = (c/n) + 3 (d/n^2)$, $B = 2 (c/n) + 12 (d/n^2)$ up to sign.
    """
    return 5 / 3 * abs(before - last) + abs(earlier - before) / 3


def richardson(before: float, last: float, order: float = 1.0) -> float:
    r"""$(2^p a_{2n} - a_n) / (2^p - 1)$: the limit, with the term of order p removed. Source: richardson1911."""
    return (2**order * last - before) / (2**order - 1)


def slopes(x: Sequence[float], y: Sequence[float]) -> list[float]:
    r"""$\log(y_{i+1}/y_i) / \log(x_{i+1}/x_i)$: the local exponents of a power law."""
    return [math.log(b / a) / math.log(q / p) for p, q, a, b in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True)]
