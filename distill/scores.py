r"""DD-Ranking's scores (li2025): what a distilled set is worth beside its labels and its augmentation. Accuracies are fractions.

Both are $s(x) = (e^x - e^{-1}) / (e - e^{-1})$ of a mean of differences, so 1 for the best that can be, 0 for the worst, and
$s(0) = 0.269$ for a set no better than random images. With accuracies in per cent they mean nothing.
"""

import math


def label_robust_score(*, hard_real: float, hard_distilled: float, distilled: float, random: float, weight: float = 0.5) -> float:
    r"""LRS $= s(w\,\mathrm{IOR} - (1 - w)\,\mathrm{HLR})$, IOR = distilled − random, HLR = hard_real − hard_distilled.

    hard_real, hard_distilled: accuracies of students of all real data and of the distilled set, with hard labels. distilled,
    random: of the distilled set and of as many random real images, with the labels and augmentation that the method is evaluated
    with. weight: w, of the improvement over random.
    """
    _check(hard_real=hard_real, hard_distilled=hard_distilled, distilled=distilled, random=random, weight=weight)
    return _score(weight * (distilled - random) - (1 - weight) * (hard_real - hard_distilled))


def augmentation_robust_score(
    *, distilled: float, random: float, plain_distilled: float, plain_random: float, weight: float = 0.5
) -> float:
    r"""ARS $= s(\gamma\,(a - r) + (1 - \gamma)(a_0 - r_0))$.

    distilled, random: accuracies with augmentation, of the distilled set and of as many random real images. plain_distilled,
    plain_random: the same without. weight: γ, of the first.
    """
    _check(distilled=distilled, random=random, plain_distilled=plain_distilled, plain_random=plain_random, weight=weight)
    return _score(weight * (distilled - random) + (1 - weight) * (plain_distilled - plain_random))


def _score(difference: float) -> float:
    return (math.exp(difference) - math.exp(-1)) / (math.e - math.exp(-1))


def _check(**fractions: float) -> None:
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a fraction from 0 to 1; received {value}: divide per cent by 100")
