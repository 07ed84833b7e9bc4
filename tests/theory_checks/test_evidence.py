"""Evidence arithmetic, and the slacks against errors that can be computed exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory_checks.evidence import Evidence, bernoulli_error, monte_carlo, root_error, round_off, worst


@pytest.mark.parametrize(
    ("observed", "bound", "slack", "holds", "excess"),
    [
        (1.0, 2.0, 0.5, True, -2.0),
        (2.0, 2.0, 0.0, True, 0.0),
        (2.25, 2.0, 0.5, True, 0.5),
        (2.5, 2.0, 0.5, True, 1.0),
        (2.75, 2.0, 0.5, False, 1.5),
        (2.5, 2.0, 0.0, False, math.inf),
        (1.5, 2.0, 0.0, True, -math.inf),
        (0.0, 2.0, -1.0, False, -math.inf),
    ],
)
def test_it_holds_up_to_the_slack(observed: float, bound: float, slack: float, holds: bool, excess: float) -> None:
    evidence = Evidence(observed, bound, slack)
    assert evidence.holds is holds
    assert evidence.margin == bound + slack - observed
    assert evidence.excess == excess


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["observed", "bound", "slack"])
def test_what_is_not_finite_never_holds(field: str, value: float) -> None:
    evidence = Evidence(**{"observed": 0.0, "bound": 1.0, "slack": 1.0, field: value})
    assert not evidence.holds
    if math.isnan(value):
        assert evidence.excess == math.inf


def test_the_worst_is_the_one_that_fails_or_comes_nearest() -> None:
    near, far, lost = Evidence(0.9, 0.0, 1.0), Evidence(0.0, 5.0, 1.0), Evidence(math.nan, 0.0, 1.0)
    assert worst([far, near]) is near
    assert worst([near, lost, far]) is lost
    assert worst([near, Evidence(0.0, math.inf, 1.0)]).bound == math.inf


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_round_off_bounds_the_error_of_a_sum_of_squares(values: list[float]) -> None:
    exact = sum((Fraction(v) ** 2 for v in values), Fraction(0))
    total = 0.0
    for v in values:
        total += v * v
    assert abs(Fraction(total) - exact) <= Fraction(round_off(len(values) + 1, float(exact))) + Fraction(len(values), 2**1074)


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_root_error_bounds_the_change_of_a_root(value: float, error: float) -> None:
    change = abs(math.sqrt(value + error) - math.sqrt(value))
    assert change <= root_error(value, error) + round_off(4, math.sqrt(value + error))


def test_the_reach_of_chance() -> None:
    rng = np.random.default_rng(0)
    assert monte_carlo(2.0) == 9.0
    for p, n in ((0.5, 2000), (1e-3, 2000)):
        means = rng.binomial(n, p, 100_000) / n
        assert np.abs(means - p).max() <= bernoulli_error(p * (1 - p), n)
    # For rare events the reach of a normal law would have been too short.
    assert np.abs(means - 1e-3).max() > monte_carlo((1e-3 / 2000) ** 0.5)
