"""Brackets of convex functions: closed forms on the uniform law, finite sums, coverage where laws are sampled."""

import numpy as np
import pytest
from scipy import integrate, stats

import quantization as qz

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
X = np.random.default_rng(0).random((400, 2))


class Uniform:
    """U[0, 1]^d."""

    def __init__(self, dim):
        self.dim = dim

    def sample(self, n, rng):
        return rng.random((n, self.dim))


def squares(x):
    return np.square(x).sum(1)


def best_of_two(x):
    return np.maximum(x.max(1) - 0.6, 0)


@pytest.mark.parametrize("k", [2, 7, 100])
def test_squares_of_the_uniform_law(k):
    """E X² less 1/(12 K²), plus 1/(6 (K − 1)²); weighted by the other's distortion exactly E X²."""
    law = stats.uniform()
    found = qz.bracket(squares, law, qz.quantize(law, k, rng=0), qz.dual_grid(law, k))
    assert found.low == pytest.approx(1 / 3 - 1 / (12 * k**2), rel=1e-12)
    assert found.high == pytest.approx(1 / 3 + 1 / (6 * (k - 1) ** 2), rel=1e-12)
    assert found.value == pytest.approx(1 / 3, rel=1e-12)
    assert found.standard_error == 0


@pytest.mark.parametrize("law", [stats.truncnorm(-3, 2), stats.beta(0.5, 0.7, loc=-1, scale=2)], ids=["normal", "poles"])
def test_a_call_on_the_line(law):
    def call(x):
        return np.maximum(np.exp(0.3 * x[:, 0]) - 1, 0)

    truth, error = integrate.quad(lambda u: max(np.exp(0.3 * law.ppf(u)) - 1, 0), 0, 1, points=[law.cdf(0)], epsabs=1e-12)
    widths = []
    for k in (10, 20):
        found = qz.bracket(call, law, qz.quantize(law, k, rng=0), qz.dual_grid(law, k))
        assert found.low < truth - error
        assert truth + error < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2.5  # of second order, but for where the kink falls


def test_the_value_between_the_ends_of_a_smooth_function():
    """Errors in proportion to the distortions cancel."""
    law = stats.truncnorm(-3, 2)
    truth = integrate.quad(lambda z: np.exp(z) * law.pdf(z), -3, 2)[0]
    found = qz.bracket(lambda x: np.exp(x[:, 0]), law, qz.quantize(law, 20, rng=0), qz.dual_grid(law, 20))
    assert abs(found.value - truth) < (found.high - found.low) / 20


def test_codes_that_are_not_stationary():
    """Jensen's inequality holds on any partition, with the cells' own means."""
    law = stats.uniform()
    found = qz.bracket(squares, law, [[0.1], [0.2]], qz.dual_grid(law, [[0.0], [0.3], [1.0]]))
    masses, means = np.array([0.15, 0.85]), np.array([0.075, 0.575])
    assert found.low == pytest.approx(masses @ means**2, rel=1e-12)
    assert found.high == pytest.approx(1 / 3 + (0.3**3 + 0.7**3) / 6, rel=1e-12)


@pytest.mark.parametrize("f", [squares, best_of_two, lambda x: np.hypot(*(x - 0.4).T)], ids=["squares", "option", "distance"])
def test_samples(f):
    weights = np.random.default_rng(1).dirichlet(np.ones(400))
    law = qz.DiscreteMeasure(X, weights)
    dual = qz.dual_grid(law, np.concatenate([SQUARE, X[:12]]))
    found = qz.bracket(f, law, qz.quantize(law, 16, rng=0), dual)
    assert found.low < weights @ f(X) < found.high
    assert found.low <= found.value <= found.high


def test_every_point_a_code_leaves_no_gap():
    x = np.concatenate([SQUARE, X[:9]])
    found = qz.bracket(squares, x, x, qz.dual_grid(x, x))
    assert found.low == pytest.approx(squares(x).mean(), rel=1e-12) == found.high == found.value


def test_independent_coordinates():
    """E max(U, V) = 2/3; boxes from below, dual grids of each coordinate from above."""
    laws, widths = [stats.uniform(), stats.uniform()], []
    for k in (5, 10):
        dual = [qz.dual_grid(law, k) for law in laws]
        found = qz.bracket(lambda x: x.max(1), laws, qz.product_grid(laws, (k, k)), dual)
        assert found.low < 2 / 3 < found.high
        assert found.standard_error == 0
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3.5
    exact = qz.bracket(squares, laws, qz.product_grid(laws, (5, 5)), [qz.dual_grid(law, 5) for law in laws])
    assert exact.low == pytest.approx(2 / 3 - 2 / 300, rel=1e-12)
    assert exact.high == pytest.approx(2 / 3 + 2 / 96, rel=1e-12)


def test_unbounded_laws_have_no_upper_end():
    law = qz.Gaussian([0.0, 0.0], np.eye(2))
    found = qz.bracket(lambda x: np.hypot(*x.T), law, qz.quantize(law, 20, rng=0))
    assert found.low < np.sqrt(np.pi / 2) < found.high == np.inf
    assert found.value == found.low
    marginals = [stats.norm(), stats.expon()]
    found = qz.bracket(squares, marginals, qz.product_grid(marginals, 100))
    assert 2.8 < found.low < 3 < found.high == np.inf


def test_sampled_laws_in_the_plane():
    """E max(U, V, 0.6) − 0.6 = ∫ (1 − t²) dt over [0.6, 1]."""
    law = Uniform(2)
    dual = qz.dual_grid(law, np.concatenate([SQUARE, X[:40]]), hull=SQUARE, rng=0)
    found = qz.bracket(best_of_two, law, X[:40], dual, rng=0)
    truth = 0.4 - (1 - 0.6**3) / 3
    assert found.low < truth < found.high
    assert 0 < found.standard_error < 1e-3


def test_the_interval_of_a_sampled_law_covers():
    """Of a linear f nothing but chance is between the ends, each of which holds with probability 0.9, independently."""
    law, n = Uniform(1), 120
    dual = qz.dual_grid(law, [[0.0], [1.0]], hull=[[0.0], [1.0]], rng=0)
    found = [qz.bracket(lambda x: x[:, 0], law, [[0.3], [0.6]], dual, confidence=0.8, rng=seed) for seed in range(n)]
    below, above = (sum(getattr(one, end) * sign > 0.5 * sign for one in found) for end, sign in (("low", 1), ("high", -1)))
    for misses in (below, above):
        assert stats.binomtest(int(misses), n, 0.1).pvalue > 1e-5


REFUSED = [
    (lambda x: -squares(x), r"f must be convex; received one that at \[.*\] lies .* above a chord. Of a concave one take -f"),
    (lambda x: np.cos(6 * x[:, 0]), "f must be convex"),
    (lambda x: x, r"f must return one number a point, shape \(8,\); received shape \(8, 2\)"),
    (lambda x: x[:, 0] * np.nan, "f must be finite"),
]


@pytest.mark.parametrize(("f", "message"), REFUSED)
def test_functions_that_are_refused(f, message):
    dual = qz.dual_grid(X, np.concatenate([SQUARE, X[:4]]))
    with pytest.raises(ValueError, match=message):
        qz.bracket(f, X, X[:8], dual)


def test_concave_functions_of_independent_coordinates_are_refused():
    laws = [stats.uniform(), stats.uniform()]
    with pytest.raises(ValueError, match=r"f must be convex; received one with .* from below"):
        qz.bracket(lambda x: -squares(x), laws, qz.product_grid(laws, 9), [qz.dual_grid(law, 4) for law in laws])


LAWS = [stats.uniform(), stats.uniform()]
BAD = [
    (lambda dual: qz.bracket(squares, 2 * X, X, dual), "must contain the law's support"),
    (lambda dual: qz.bracket(squares, stats.norm(), [[0.0]], qz.dual_grid(stats.uniform(), 3)), "bounded support"),
    (lambda dual: qz.bracket(squares, stats.uniform(0, 2), [[0.0]], qz.dual_grid(stats.uniform(), 3)), r"support, \[0, 2\]"),
    (lambda dual: qz.bracket(squares, X, [[0.0]], dual), "codebook must have the law's dimension 2; received 1"),
    (
        lambda dual: qz.bracket(squares, X, X, qz.dual_grid(stats.uniform(), 3)),
        "dual must have the law's dimension 2; received 1",
    ),
    (lambda dual: qz.bracket(squares, X, X, [dual]), "give the list of their marginals"),
    (lambda dual: qz.bracket(squares, X, qz.product_grid(LAWS, 4), dual), "give the list of their marginals"),
    (lambda dual: qz.bracket(squares, LAWS, X, dual), "codebook must be a product grid of 2 coordinates; received ndarray"),
    (lambda dual: qz.bracket(squares, LAWS[:1], qz.product_grid(LAWS, 4)), "received one of 2"),
    (
        lambda dual: qz.bracket(squares, LAWS, qz.product_grid(LAWS, 4), dual),
        "dual must be a list of 2 dual grids .*; received DualGrid$",
    ),
    (lambda dual: qz.bracket(squares, [Uniform(1)] * 2, qz.product_grid(LAWS, 4)), r"marginals\[0\] must be a law on the line"),
    (lambda dual: qz.bracket(squares, qz.Stream([X]), X, None), "a stream"),
    (lambda dual: qz.bracket(squares, X, X, dual, confidence=1.0), "confidence"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(qz.dual_grid(X, SQUARE))
