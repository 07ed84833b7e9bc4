r"""From a class's measure (sum 1) to weights of its images: the mode, then the scale.

``uniform``: 1/K. ``mass``: the cell masses $w_k$. ``sqrt``: $\sqrt{w_k}$, renormalized. ``power(a)``: $w_k^a$, renormalized, of
which the others are a = 0, 1 and ½; the smaller a, the smaller the weights' variance. Sample weights are these times the set's
images per class, so that every class has the same total and the mean over the set is 1; a batch's loss divides by the batch's
size, never by its weights.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_EXPONENTS = {"uniform": 0.0, "mass": 1.0, "sqrt": 0.5}
MODES = tuple(_EXPONENTS)
_POWER = re.compile(r"power\((\d+(\.\d+)?|\.\d+)\)")


def exponent(mode: str) -> float:
    """The a of a mode $w_k^a$; ``ValueError`` for what is none."""
    power = _POWER.fullmatch(mode)
    if mode not in _EXPONENTS and power is None:
        raise ValueError(
            f"the weight modes are uniform, mass, sqrt and power(a) with a ≥ 0, such as power(0.25); received {mode!r}"
        )
    return _EXPONENTS[mode] if power is None else float(power[1])


def power(name: str) -> tuple[str, str] | None:
    """A name's beginning and the power of the masses behind it: ("ddoq", "power(0.3)"); None where there is no such power."""
    base, dash, mode = name.rpartition("-")
    return (base, mode) if dash and _POWER.fullmatch(mode) else None


def moded(masses: NDArray[np.float64], mode: str) -> NDArray[np.float64]:
    """The weights (K,), summing to 1, of one class under a mode."""
    a = exponent(mode)
    if a == 0:
        return np.full(len(masses), 1 / len(masses))
    # Of masses relative to the greatest, so that no power of them all is zero.
    weights = masses if a == 1 else (masses / masses.max()) ** a
    return weights / weights.sum()


def sample_weights(classes: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    r"""$\bar K\, w_{ck}$ with $\bar K$ the mean images per class: factors of the images' losses, of mean 1 over the set.

    classes: the weights of each class, (K_c,) of sum 1. Every class then has the same total, however many images it has.
    """
    mean = sum(map(len, classes)) / len(classes)
    return [weights * mean for weights in classes]
