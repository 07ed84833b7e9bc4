"""Evidence arithmetic, and the slacks against errors that can be computed exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory_checks.chance import LEVEL, bernoulli_error, false_alarms, monte_carlo
from theory_checks.evidence import Evidence, equal, worst
from theory_checks.limits import remainder, richardson, slopes, two_terms
from theory_checks.rounding import UNIT_ROUND_OFF, root_error, round_off, transport_round_off


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


def test_slacks_are_no_larger_than_their_formulas() -> None:
    """Bounds that are too wide would still bound: these are attained, or written out."""
    assert np.finfo(np.float64).eps / 2 == UNIT_ROUND_OFF
    assert round_off(7, 3.0) == pytest.approx(21 * 2.0**-53, rel=1e-14)
    assert transport_round_off(6, 4, 2.0) == pytest.approx((10**2 + 20 * 10) * 3 * 2.0**-53, rel=1e-12)
    assert root_error(4.0, 1e-6) == pytest.approx(2 * abs(math.sqrt(4 + 1e-6) - 2), rel=1e-6)
    assert root_error(0.0, 1e-6) == 1e-3
    assert root_error(1e-20, 1e-6) == 1e-3
    # Freedman's inequality at two-sided 6.8e-6: 5.02 standard errors where events are many.
    assert bernoulli_error(0.25, 10**12) == pytest.approx(5.01847 * 0.5 / 10**6, rel=1e-5)
    assert bernoulli_error(0.0, 100, among=3) == pytest.approx(2 * math.log(6 / LEVEL) / 300, rel=1e-12)
    # Where both terms have one sign and are as large as they can be, nothing is given away.
    assert two_terms(*(3 + 1 / n**2 for n in (4.0, 2.0, 1.0))) == pytest.approx(5 / 3 * 3 / 16 + 12 / 16 / 3, rel=1e-12)


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_root_error_bounds_the_change_of_a_root(value: float, error: float) -> None:
    change = abs(math.sqrt(value + error) - math.sqrt(value))
    assert change <= root_error(value, error) + round_off(4, math.sqrt(value + error))


def test_the_reach_of_chance() -> None:
    rng = np.random.default_rng(0)
    assert monte_carlo(2.0) == pytest.approx(9.0, rel=1e-12)
    assert monte_carlo(1.0, degrees=5) > monte_carlo(1.0, degrees=50) > monte_carlo(1.0)
    assert monte_carlo(1.0, among=10) > monte_carlo(1.0)
    assert false_alarms([10, 20]) == pytest.approx(30 * LEVEL)
    for p, n in ((0.5, 2000), (1e-3, 2000)):
        means = rng.binomial(n, p, 100_000) / n
        assert np.abs(means - p).max() <= bernoulli_error(p * (1 - p), n)
    # For rare events the reach of a normal law would have been too short.
    assert np.abs(means - 1e-3).max() > monte_carlo((1e-3 / 2000) ** 0.5)


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_the_remainder_of_a_power_is_exact_and_richardson_removes_it(order: float) -> None:
    a = [3 + 2 * n**-order for n in (8.0, 16.0)]
    assert remainder(*a, order=order) == pytest.approx(abs(a[1] - 3), rel=1e-12)
    assert richardson(*a, order=order) == pytest.approx(3, rel=1e-14)
    wider = [3 + 2 * n**-order for n in (8.0, 32.0)]
    assert remainder(*wider, order=order, ratio=4) == pytest.approx(abs(wider[1] - 3), rel=1e-12)


@pytest.mark.parametrize(("c", "d"), [(1.0, -3.0), (2.0, 1.0), (-1.0, 0.0), (0.0, 1.0), (1.0, -1.0)])
def test_two_terms_bound_what_is_left_where_they_cancel(c: float, d: float) -> None:
    a = [3 + c / n + d / n**2 for n in (4.0, 2.0, 1.0)]
    assert abs(a[0] - 3) <= two_terms(*a) * (1 + 1e-12)


def test_slopes_of_a_power_law() -> None:
    assert slopes([2.0, 4.0, 32.0], [5 * n**-1.5 for n in (2.0, 4.0, 32.0)]) == pytest.approx([-1.5, -1.5])


def test_equality_is_two_sided() -> None:
    assert equal(1.0, 1.5, 0.5).holds
    assert not equal(2.1, 1.5, 0.5).holds
