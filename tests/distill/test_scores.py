import math

import pytest

from distill.scores import augmentation_robust_score, label_robust_score

EPS = 2.0**-52


def test_the_best_is_one_and_the_worst_zero():
    # Three exponentials and a quotient of order one: a few roundings.
    assert label_robust_score(hard_real=0, hard_distilled=1, distilled=1, random=0) == pytest.approx(1, abs=8 * EPS)
    assert label_robust_score(hard_real=1, hard_distilled=0, distilled=0, random=1) == pytest.approx(0, abs=8 * EPS)
    assert augmentation_robust_score(distilled=1, random=0, plain_distilled=1, plain_random=0) == pytest.approx(1, abs=8 * EPS)


def test_no_better_than_random_is_the_score_of_zero():
    expected = (1 - math.exp(-1)) / (math.e - math.exp(-1))
    assert label_robust_score(hard_real=0.7, hard_distilled=0.7, distilled=0.4, random=0.4) == pytest.approx(
        expected, abs=8 * EPS
    )
    assert augmentation_robust_score(distilled=0.4, random=0.4, plain_distilled=0.1, plain_random=0.1) == pytest.approx(
        expected, abs=8 * EPS
    )


def test_the_formulas_by_hand():
    # w IOR − (1 − w) HLR = ¼ · 0.2 − ¾ · 0.4 = −0.25; γ and its rest alike: ¼ · 0.2 + ¾ · 0.4 = 0.35.
    found = label_robust_score(hard_real=0.8, hard_distilled=0.4, distilled=0.5, random=0.3, weight=0.25)
    assert found == pytest.approx((math.exp(-0.25) - math.exp(-1)) / (math.e - math.exp(-1)), rel=32 * EPS)
    found = augmentation_robust_score(distilled=0.5, random=0.3, plain_distilled=0.5, plain_random=0.1, weight=0.25)
    assert found == pytest.approx((math.exp(0.35) - math.exp(-1)) / (math.e - math.exp(-1)), rel=32 * EPS)


@pytest.mark.parametrize("value", [53.0, -0.1, float("nan")])
def test_per_cent_are_refused(value):
    with pytest.raises(ValueError, match="distilled is a fraction from 0 to 1; received"):
        label_robust_score(hard_real=0.5, hard_distilled=0.5, distilled=value, random=0.3)
