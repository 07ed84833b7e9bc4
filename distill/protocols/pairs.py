r"""Weights through CutMix: what a mixed image counts, and how pairs are drawn.

Mixing should stand for a pair of images each drawn from the weighted measure. With sample weights w of mean 1 over n images its
expected loss is $\sum_{ij} \frac{w_i w_j}{n^2}\, E_\lambda\, \ell_{ij}(\lambda)$.

``product``     pairs come uniformly and count $w_i w_j$: unbiased.
``systematic``  images come by weight and a pair counts 1. A pass holds image i $\lfloor w_i \rfloor$ or $\lceil w_i \rceil$
                times, $w_i$ in the mean (:func:`systematic`), so either side of a pair is unbiased; a pair's probability is
                within $1/(4n^2)$ of $w_i w_j / n^2$, and equal to it where weights are whole numbers, as equal ones are.
``mix``         pairs come uniformly and count $\lambda w_i + (1 - \lambda) w_j$: biased, a heuristic of the field.

With equal weights all three are the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PAIRINGS = ("product", "systematic", "mix")


def pair_weights(first: Any, second: Any, kept: Any, pairing: str) -> Any:
    """The factors of mixed images' losses, arrays of any one library.

    first, second: sample weights of the images mixed. kept: the share λ of the first that is left.
    """
    if pairing == "product":
        return first * second
    if pairing == "mix":
        return kept * first + (1 - kept) * second
    return 0 * first + 1


def order(weights: NDArray[np.float64], pairing: str, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A pass over n images: the image at each place, and the place of each place's partner, both (n,).

    Every place is a partner once: its own, one time in n, as independent draws would have it. Every image has one place or, in
    a systematic pass, as many as it is counted.
    """
    n = len(weights)
    places, partner = rng.permutation(n), rng.permutation(n)
    if pairing != "systematic":
        return places, partner
    # A stream of its own: with equal weights all that is drawn after this is what other pairings draw.
    counts = systematic(weights, rng.spawn(1)[0].random())
    return np.repeat(np.arange(n), counts)[places], partner


def systematic(weights: NDArray[np.float64], offset: float) -> NDArray[np.int64]:
    r"""$c_i = |\{u, u + 1, \dots, u + n - 1\} \cap [W_{i-1}, W_i)|$ with $W_i = w_1 + \dots + w_i$: counts (n,) of sum n.

    Systematic sampling with probabilities in proportion to size (madow1949). For u uniform on [0, 1) the mean of count i is
    $w_i$, of variance $f(1 - f)$, f the fraction of $w_i$, where independent draws have about $w_i$; and any images that stand
    together, as those of a class do, are counted to within one of their sum.

    weights: (n,), of any sum, taken to mean 1. offset: u.
    """
    ends = np.cumsum(weights) * (len(weights) / weights.sum())
    points = np.ceil(np.round(ends, 9) - offset).astype(np.int64)  # in [0, end), so that a sum of round-off moves none
    points[-1] = len(weights)
    return np.diff(points, prepend=0)
