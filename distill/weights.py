r"""From a class's measure (sum 1) to weights of its images: the mode, then the scale.

``uniform``: 1/K. ``mass``: the cell masses $w_k$. Sample weights are these times K, so that every class has the same total and
the mean over the set is 1; a batch's loss divides by the batch's size, never by its weights.
"""

import numpy as np
from numpy.typing import NDArray


def moded(masses: NDArray[np.float64], mode: str) -> NDArray[np.float64]:
    """The weights (K,), summing to 1, of one class under a mode."""
    if mode == "uniform":
        return np.full(len(masses), 1 / len(masses))
    if mode == "mass":
        return masses / masses.sum()
    raise ValueError(f"the weight modes are uniform and mass; received {mode!r}")


def sample_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """K w_k: the weights of a class as factors of its images' losses, of mean 1."""
    return weights * len(weights)
