import warnings

import numpy as np
import pytest
import torch
from scipy import stats

import quantization as qz
from quantization.moments import Moments

HALF_NORMAL = [[-np.sqrt(2 / np.pi)], [np.sqrt(2 / np.pi)]]  # the two-point quantizer of N(0, 1), of distortion 1 − 2/π


class Sampled:
    """A law on the line of which nothing but draws is known."""

    def __init__(self, draw):
        self.draw, self.drawn = draw, 0

    def sample(self, n, rng):
        self.drawn += n
        return self.draw(rng, n)[:, None]


def normal():
    return Sampled(lambda rng, n: rng.standard_normal(n))


def binomial_band(hits, runs, p, z=4.5):
    """Whether so many hits are within z standard deviations of Binomial(runs, p), and one more for its being discrete."""
    return abs(hits - runs * p) <= z * np.sqrt(runs * p * (1 - p)) + 1


def test_exact_on_samples(rng, brute):
    points, codes = rng.normal(size=(200, 3)), rng.normal(size=(7, 3))
    weights = rng.dirichlet(np.ones(200))
    for r in (1, 2, 3):
        found = qz.distortion(qz.DiscreteMeasure(points, weights), codes, r=r, rng=0)
        truth = weights @ brute.squared(points, codes).min(1) ** (r / 2)
        assert found.low == found.value == found.high == pytest.approx(truth, rel=1e-13)
        assert found.standard_error == 0
    assert qz.distortion(torch.from_numpy(points), torch.from_numpy(codes), rng=0).value == pytest.approx(
        qz.distortion(points, codes, rng=0).value, rel=1e-13
    )


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_intervals_cover_as_often_as_they_say(confidence):
    found = [qz.distortion(normal(), HALF_NORMAL, draws=2000, rng=s, confidence=confidence) for s in range(400)]
    # The interval's own error in coverage is O(1/draws), far within the band.
    assert binomial_band(sum(e.low <= 1 - 2 / np.pi <= e.high for e in found), 400, confidence)
    misses = [sum(e.high < 1 - 2 / np.pi for e in found), sum(e.low > 1 - 2 / np.pi for e in found)]
    assert all(binomial_band(m, 400, (1 - confidence) / 2) for m in misses)


def test_skewed_costs_are_covered_better_than_by_the_normal_interval():
    """50 squares of exponential draws, of skewness 6.6: Student's interval misses a truth of 2 about 14 times in 100."""
    law, runs = Sampled(lambda rng, n: rng.exponential(size=n)), 400
    found = [qz.distortion(law, [[0.0]], draws=50, rng=s) for s in range(runs)]
    plain = sum(abs(e.value - 2) <= stats.t.ppf(0.975, 49) * e.standard_error for e in found)
    ours = sum(e.low <= 2 <= e.high for e in found)
    assert plain <= 0.9 * runs <= ours  # between 0.86 and 0.93, two standard deviations (0.017, 0.013) from each
    assert all(e.high - e.value > e.value - e.low > 0 for e in found)


def test_the_interval_inverts_halls_transformation():
    costs = np.random.default_rng(5).exponential(size=60)
    found = qz.distortion(Sampled(lambda rng, n: np.sqrt(costs[:n])), [[0.0]], draws=60, confidence=0.9, rng=0)
    n, skewness = 60, stats.skew(costs)
    assert all(type(x) is float for x in (found.value, found.low, found.high, found.standard_error))
    assert found.value == pytest.approx(costs.mean(), rel=1e-13)
    assert found.standard_error == pytest.approx(stats.sem(costs), rel=1e-13)
    for end, level in ((found.low, 0.95), (found.high, 0.05)):
        t = (found.value - end) / found.standard_error
        a, b = skewness / np.sqrt(n) / 3, skewness / np.sqrt(n) / 6
        assert t + a * t**2 + a**2 * t**3 / 3 + b == pytest.approx(stats.t.ppf(level, n - 1), rel=1e-10)


def test_says_where_the_draws_speak_against_a_variance():
    cauchy = Sampled(lambda rng, n: rng.standard_cauchy(n))
    with pytest.warns(RuntimeWarning, match="E\\|X\\|\\^\\(2r\\)"):
        found = qz.distortion(cauchy, [[0.0]], rng=0)
    assert found.high > 1.5 * found.value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qz.distortion(Sampled(lambda rng, n: rng.exponential(size=n)), [[0.0]], rng=0)


def test_says_so_of_draws_that_make_up_for_one_another():
    """Sobol points reach as far into a tail as draws do, and no farther; a spread of replicates does not show it."""
    for heavy in (stats.t(1.5), stats.pareto(2.5)):
        law = qz.QuasiMonteCarlo([heavy, stats.norm()])
        with pytest.warns(RuntimeWarning, match="E\\|X\\|\\^\\(2r\\)"):
            qz.distortion(law, [[0.0, 0.0]], rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qz.distortion(qz.QuasiMonteCarlo([stats.expon(), stats.norm()]), [[0.0, 0.0]], rng=0)


def test_draws_are_what_was_asked_for():
    law = normal()
    qz.distortion(law, [[0.0]], draws=300_000, rng=0)
    assert law.drawn - 1 == pytest.approx(300_000, abs=2**17)  # one probe; the last batch may be cut
    wide, narrow = qz.distortion(normal(), [[0.0]], draws=1000, rng=0), qz.distortion(normal(), [[0.0]], draws=1_000_000, rng=0)
    # The standard error falls like the root of the draws; its own estimate is good to a tenth at 1000 draws of X².
    assert wide.standard_error / narrow.standard_error == pytest.approx(np.sqrt(1000), rel=0.5)
    assert narrow.standard_error == pytest.approx(np.sqrt(2 / 1_000_000), rel=0.02)


def test_streams_give_their_first_draws():
    data = np.arange(10.0)[:, None]
    stream = qz.Stream(lambda: np.split(data, 5))
    assert qz.distortion(stream, [[0.0]], rng=0).value == pytest.approx(28.5)
    assert qz.distortion(stream, [[0.0]], draws=3, rng=0).value == pytest.approx(5 / 3)


def test_a_tiny_spread_of_costs_is_seen():
    found = qz.distortion(Sampled(lambda rng, n: 1 + 1e-9 * rng.standard_normal(n)), [[0.0]], draws=10_000, rng=0)
    # The costs 1 ± 2e-9 have a standard error of 2e-11, which E[c²] - E[c]² would lose to cancellation.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2e-11, rel=0.1)


@pytest.mark.parametrize("scale", [1e-130, 1e130])
def test_tiny_and_huge_scales(scale):
    unit, scaled = (
        qz.distortion(Sampled(lambda rng, n, s=s: s * rng.standard_normal(n)), [[0.0]], draws=1000, rng=0) for s in (1.0, scale)
    )
    for name in ("value", "low", "high", "standard_error"):
        assert getattr(scaled, name) / scale / scale == pytest.approx(getattr(unit, name), rel=1e-10), name


@pytest.mark.parametrize("cuts", [[10], [1, 2, 3], [137], []])
def test_moments_do_not_depend_on_the_parts(cuts, rng):
    values = 1e3 + rng.exponential(size=500)
    moments = Moments()
    for part in np.split(values, cuts):
        moments.add(part)
    assert moments.count == 500
    assert moments.mean == pytest.approx(values.mean(), rel=1e-14)
    assert moments.standard_error == pytest.approx(stats.sem(values), rel=1e-11)
    assert moments.skewness == pytest.approx(stats.skew(values), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"points": [0.0]}, "x\\[:, None\\]"),
        ({"points": [[0.0, 1.0]]}, "dimension 1"),
        ({"confidence": 1.0}, "confidence"),
        ({"draws": 1}, "draws"),
        ({"rng": -1}, "rng"),
        ({"r": 0}, "order r"),
    ],
)
def test_refuses_misuse(arguments, hint):
    with pytest.raises(ValueError, match=hint):
        qz.distortion(**{"law": stats.norm(), "points": [[0.0]], **arguments})


def test_the_codes_may_be_a_measure_or_a_solution(rng):
    points = rng.standard_normal((200, 3))
    sol = qz.quantize(points, 4, rng=0)
    for codes in (sol, sol.measure, sol.measure.points):
        # Sums of 200 costs in another order.
        assert float(qz.distortion(points, codes)) == pytest.approx(sol.distortion, rel=200 * np.finfo(float).eps)
