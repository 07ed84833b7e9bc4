from itertools import product

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.quasi_monte_carlo import FromCube, Replicated

MIXTURE = qz.GaussianMixture(
    [0.2, 0.0, 0.8], [[-3.0, 0.0], [100.0, 0.0], [1.0, 2.0]], [[[1.0, 0.6], [0.6, 0.5]], np.eye(2), 0.1 * np.eye(2)]
)


def turned_grid(d):
    """The 2^d codes (±√(2/π))^d, turned: for N(0, I_d) their distortion is d (1 − 2/π), that of d two-point quantizers."""
    corners = np.sqrt(2 / np.pi) * np.array(list(product((-1, 1), repeat=d)))
    turn, _ = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))
    return corners @ turn, d * (1 - 2 / np.pi)


@pytest.mark.parametrize("d", [3, 5, 7])
def test_errors_are_smaller_than_those_of_independent_draws(d):
    law, (codes, truth), runs = qz.Gaussian(np.zeros(d), np.eye(d)), turned_grid(d), 24
    draws = {3: 2**15, 5: 2**14, 7: 2**13}[d]
    found = [qz.distortion(qz.QuasiMonteCarlo(law), codes, draws=draws, rng=s) for s in range(runs)]
    plain = qz.distortion(law, codes, draws=draws, rng=runs).standard_error
    # Were these means as noisy as those of independent draws, Σ (error/plain)² would be χ² with 24 degrees of freedom, below
    # its 1e-6 quantile once in a million times; the plain error is itself known to a few percent.
    noise = sum((e.value - truth) ** 2 for e in found) / (1.1 * plain) ** 2
    assert noise < stats.chi2.ppf(1e-6, runs)
    # And the errors the replicates show are the true ones: a sum of 24 squares of Student's t with 15 degrees of freedom.
    squares = np.sum([((e.value - truth) / e.standard_error) ** 2 for e in found])
    mean, variance = 15 / 13, 2 * 15**2 * 14 / (13**2 * 11)  # of T², which is F(1, 15)
    assert abs(squares - runs * mean) <= 4.5 * np.sqrt(runs * variance)


def test_intervals_cover_as_often_as_they_say():
    codes, truth = turned_grid(3)
    law, runs = qz.QuasiMonteCarlo(qz.Gaussian(np.zeros(3), np.eye(3)), replicates=8), 400
    found = [qz.distortion(law, codes, draws=512, rng=s, confidence=0.9) for s in range(runs)]
    # Binomial(400, 0.9), z = 4.5. The interval of independent draws would cover always: it is several times too wide here.
    assert abs(sum(e.low <= truth <= e.high for e in found) - 360) <= 4.5 * np.sqrt(400 * 0.09) + 1


def test_a_solution_carries_the_error_of_the_replicates():
    law = qz.Gaussian(np.zeros(3), np.eye(3))
    codes, truth = turned_grid(3)
    solution = qz.quantize(qz.QuasiMonteCarlo(law), 8, init=codes, solver=qz.CLVQ(), max_iter=1, rng=0)
    plain = qz.quantize(law, 8, init=codes, solver=qz.CLVQ(), max_iter=1, rng=0)
    assert 0 < solution.distortion_se < plain.distortion_se / 5
    # One averaged step moves the codes by a few of its noise, √(D K/n) = 0.1 apiece; they remain near the optimum's distortion.
    assert solution.distortion == pytest.approx(truth, rel=0.05)
    np.testing.assert_allclose(solution.measure.weights, 1 / 8, atol=0.02)
    assert solution.stationarity < 0.2


@pytest.mark.parametrize("n", [1, 2, 3, 100, 1024])
def test_draws_are_of_the_asked_shape_and_seeded(n):
    law = qz.QuasiMonteCarlo(MIXTURE)
    draws = law.sample(n, np.random.default_rng(1))
    assert draws.shape == (n, 2)
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(draws, law.sample(n, np.random.default_rng(1)))
    rng = np.random.default_rng(1)
    assert (law.sample(n, rng) != law.sample(n, rng)).all()
    assert isinstance(law, Replicated)


def test_every_draw_has_the_law():
    """The first point of a call, over 2000 calls, is an independent sample: its law is tested by Kolmogorov's distance."""
    rng, n = np.random.default_rng(7), 1000
    law = qz.QuasiMonteCarlo([stats.expon(), qz.Gaussian([1.0], [[4.0]]), stats.t(3)])
    for index in (0, 2):
        draws = np.array([law.sample(3, rng)[index] for _ in range(n)])
        for column, truth in enumerate((stats.expon(), stats.norm(1, 2), stats.t(3))):
            assert stats.kstest(draws[:, column], truth.cdf).pvalue > 1e-6


def test_mixtures_have_their_moments_and_their_shares():
    draws, n = qz.QuasiMonteCarlo(MIXTURE).sample(2**14, np.random.default_rng(3)), 2**14
    # The choosing coordinate is a (0, 14, 1)-net: every dyadic cell of 2^-14 holds one point, so shares are right to 1/n.
    left = draws[:, 0] < -0.9
    expected = 0.2 * stats.norm(-3, 1).cdf(-0.9) + 0.8 * stats.norm(1, 0.1**0.5).cdf(-0.9)
    assert left.mean() == pytest.approx(expected, abs=0.003)  # 4.5 times √(p(1−p)/n) would be 0.014
    assert draws[:, 0].max() < 50
    np.testing.assert_allclose(draws.mean(0), MIXTURE.mean, atol=4.5 * np.sqrt(np.diag(MIXTURE.cov).max() / n) / 3)
    np.testing.assert_allclose(np.cov(draws.T), MIXTURE.cov, atol=0.05)


def test_singular_covariances():
    v = np.array([[1.0, 2.0, 3.0]])
    draws = qz.QuasiMonteCarlo(qz.Gaussian(np.zeros(3), v.T @ v)).sample(256, np.random.default_rng(0))
    np.testing.assert_allclose(draws, draws[:, :1] * v, atol=1e-6)  # the zero eigenvalues are so to round-off, their roots to √ε
    # The widest direction takes the first coordinate, which is a (0, 8, 1)-net: one point in each 256th of the law.
    levels = np.sort(stats.norm.cdf(draws[:, 0])) * 256
    np.testing.assert_array_equal(np.floor(levels), np.arange(256))


def test_any_map_of_uniforms_is_a_law():
    class Disc:
        cube_dim = 2

        def from_cube(self, u):
            radius, angle = np.sqrt(u[:, 0]), 2 * np.pi * u[:, 1]
            return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    assert isinstance(Disc(), FromCube)
    found = qz.distortion(qz.QuasiMonteCarlo(Disc()), [[0.0, 0.0]], rng=0)
    assert found.low <= 0.5 <= found.high
    assert found.standard_error < 1e-6


def test_a_call_is_a_power_of_two_of_points():
    class Counting:
        replicates, calls = 4, []

        def sample(self, n, rng):
            self.calls.append(n)
            return rng.normal(size=(n, 2))

    law = Counting()
    qz.distortion(law, [[0.0, 0.0]], draws=5000, rng=0)
    assert law.calls[1:] == [1024] * 4
    law.calls.clear()
    qz.distortion(law, [[0.0, 0.0]], draws=3, rng=0)
    assert law.calls[1:] == [1] * 3


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"law": stats.norm(), "replicates": 1}, "replicates must be an integer ≥ 2"),
        ({"law": stats.norm(), "replicates": True}, "received True"),
        ({"law": np.zeros((5, 2))}, "received ndarray"),
        ({"law": []}, "received list"),
        ({"law": stats.norm}, "received norm_gen"),
        ({"law": [stats.norm(), 3]}, "received int"),
        ({"law": qz.Stream(list)}, "from_cube"),
        ({"law": [qz.Gaussian(np.zeros(200), np.eye(200))] * 107}, "21201 coordinates; this law needs 21400"),
    ],
)
def test_refuses_misuse(arguments, hint):
    with pytest.raises(ValueError, match=hint):
        qz.QuasiMonteCarlo(**arguments)


def test_refuses_more_points_than_the_sequence_has():
    with pytest.raises(ValueError, match="2\\^30 points"):
        qz.QuasiMonteCarlo(stats.norm()).sample(2**30 + 1, np.random.default_rng(0))
