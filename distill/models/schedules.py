r"""Learning rates as functions of time, so that training may go on anywhere: nothing to store, nothing to step.

``cosine`` $\frac12(1 + \cos\pi x)$, ``half-cosine`` $\frac12(1 + \cos\frac{\pi x}{2})$, ``steps`` 1, 0.2 from ⅔, 0.04 from ⅚, at
the share x that is done; ``cycle`` rises over the first tenth and falls to zero, by a cosine each, while Adam's β₁ falls and
rises.
"""

import math
from fractions import Fraction

_WARM, _COLD = 25.0, 1e4  # the cycle begins at 1/25 of the peak and ends at 1/10⁴ of its beginning
_BETAS = (0.95, 0.85)


def factor(schedule: str, done: Fraction) -> float:
    """The share of the full learning rate when the share ``done`` of the training is over."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "half-cosine":
        return 0.5 * (1 + math.cos(math.pi * done / 2))
    if schedule == "steps":
        return 0.2 ** ((done >= Fraction(2, 3)) + (done >= Fraction(5, 6)))
    raise ValueError(f"the schedules are cosine, half-cosine, steps and cycle; received {schedule!r}")


def cycle(rate: float, steps: int, step: int) -> tuple[float, float]:
    """Learning rate and β₁ of step ``step``, from 0, of ``steps`` (smith2018, the rates of torch's OneCycleLR)."""
    total = steps + 1
    peak = max(0.1, 1.5 / total) * total - 1  # a rise of no step at all would divide by zero
    low, end = rate / _WARM, rate / _WARM / _COLD
    if step <= peak:
        share = step / peak
        return _between(low, rate, share), _between(_BETAS[0], _BETAS[1], share)
    share = (step - peak) / (total - 1 - peak)
    return _between(rate, end, share), _between(_BETAS[1], _BETAS[0], share)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))
