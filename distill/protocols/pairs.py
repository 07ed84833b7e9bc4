r"""Weights through CutMix: what a mixed image counts, and how pairs are drawn.

Mixing should stand for a pair of images each drawn from the weighted measure. With sample weights w of mean 1 over n images its
expected loss is $\sum_{ij} \frac{w_i w_j}{n^2}\, E_\lambda\, \ell_{ij}(\lambda)$.

``product``  pairs come uniformly and count $w_i w_j$: unbiased.
``draw``     both images come by weight and the pair counts 1: unbiased, at less variance and with fewer of the light images.
``mix``      pairs come uniformly and count $\lambda w_i + (1 - \lambda) w_j$: biased, a heuristic of the field.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PAIRINGS = ("product", "draw", "mix")


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

    Uniformly drawn pairs: every image once, every place a partner once (its own, one time in n, as independent draws would have
    it). By weight: n independent draws, and a partner at another place, so that it is an independent draw too.
    """
    n = len(weights)
    if pairing == "draw":
        images = rng.choice(n, n, p=weights / weights.sum())
        return images, (np.arange(n) + (rng.integers(1, n) if n > 1 else 0)) % n
    return rng.permutation(n), rng.permutation(n)
