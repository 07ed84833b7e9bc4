"""Dual grids: closed forms, brute force, E[X̂ | X] = X, gradients by differences, distortions by their two formulas."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import Delaunay

import quantization as qz
from quantization.grids import dual_descent, dual_line
from quantization.grids.delaunay import Triangulation

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


class Uniform:
    """U[0, 1]^d."""

    def __init__(self, dim):
        self.dim = dim

    def sample(self, n, rng):
        return rng.random((n, self.dim))


def cube(dim):
    return np.array(list(itertools.product([0.0, 1.0], repeat=dim)))


@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_the_uniform_law_on_the_line(k):
    """Codes i/(K − 1), D = 1/(6 (K − 1)²): D is convex in the widths h of gaps, (Σ h³)/6."""
    grid = qz.dual_grid(stats.uniform(2, 3), k)
    np.testing.assert_allclose(grid.points[:, 0], 2 + 3 * np.arange(k) / (k - 1), atol=1e-9)
    assert grid.distortion == pytest.approx(9 / (6 * (k - 1) ** 2), rel=1e-12)
    np.testing.assert_allclose(grid.weights, np.r_[0.5, np.ones(k - 2), 0.5] / (k - 1), rtol=1e-9)
    assert grid.distortion_se == 0
    assert grid.stationarity < 1e-12


LAWS = {
    "beta": stats.beta(2, 5),
    "poles at both ends": stats.beta(0.5, 0.5),
    "truncated normal": stats.truncnorm(-2, 3, loc=5, scale=100),
    "triangle": stats.triang(0.3, loc=-1),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("k", [2, 3, 12])
def test_laws_on_the_line(name, k):
    """D = E|X̂|² − E|X|², E X̂ = E X; the derivative vanishes; no code can be moved with profit."""
    law = LAWS[name]
    grid = qz.dual_grid(law, k)
    x, second = grid.points[:, 0], law.var() + law.mean() ** 2
    assert grid.weights.sum() == pytest.approx(1, abs=1e-12)
    assert grid.weights @ x == pytest.approx(law.mean(), rel=1e-12)
    assert grid.weights @ x**2 - second == pytest.approx(grid.distortion, rel=1e-9)
    assert grid.stationarity < 1e-10
    for i in range(1, k - 1):
        for shift in (-1e-3, 1e-3):
            codes = grid.points.copy()
            codes[i] += shift * (x[-1] - x[0])
            assert qz.dual_grid(law, codes).distortion > grid.distortion


def test_two_modes_on_the_line():
    """Against the best codes of a fine discretization, which a dynamic programme finds."""

    class TwoModes(stats.rv_continuous):
        def _pdf(self, x):
            return 0.3 * stats.beta.pdf(x, 30, 90) + 0.7 * stats.beta.pdf(x, 80, 20)

        def _cdf(self, x):
            return 0.3 * stats.beta.cdf(x, 30, 90) + 0.7 * stats.beta.cdf(x, 80, 20)

    law = TwoModes(a=0.0, b=1.0)()
    z = (np.arange(4000) + 0.5) / 4000
    fine = qz.dual_grid(qz.DiscreteMeasure.from_unnormalized(z[:, None], law.pdf(z)), 14, hull=[[0.0], [1.0]])
    grid = qz.dual_grid(law, 14)
    assert grid.distortion == pytest.approx(fine.distortion, rel=1e-3)
    assert grid.stationarity < 1e-10


@pytest.mark.parametrize("seed", range(8))
def test_few_points_on_the_line_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    x, w, k = rng.normal(size=(9, 1)), rng.dirichlet(np.ones(9)), int(rng.integers(3, 8))
    law, ends = qz.DiscreteMeasure(x, w), [x.min(), x.max()]
    best = min(
        qz.dual_grid(law, np.array([*ends, *inner])[:, None]).distortion
        for inner in itertools.combinations(np.setdiff1d(x, ends), k - 2)
    )
    grid = qz.dual_grid(law, k)
    assert grid.distortion == pytest.approx(best, rel=1e-10)
    assert grid.stationarity == 0.0  # zero is among the slopes to both sides
    between = rng.uniform(*ends, (200, k - 2))
    assert all(qz.dual_grid(law, np.array([*ends, *inner])[:, None]).distortion >= best * (1 - 1e-12) for inner in between)


def test_many_points_on_the_line(monkeypatch):
    """Chosen among few points and then near those found, as good as the complete programme."""
    x = np.random.default_rng(0).beta(2, 5, size=(4000, 1))
    complete = qz.dual_grid(x, 20)
    monkeypatch.setattr(dual_line, "_WORK", 20_000)
    assert qz.dual_grid(x, 20).distortion == pytest.approx(complete.distortion, rel=1e-3)


def test_many_codes_on_the_line(monkeypatch):
    """Between the codes of a coarser grid: a few percent above the complete programme, and never fewer codes."""
    x = np.random.default_rng(0).beta(2, 5, size=(4000, 1))
    complete = qz.dual_grid(x, 120)
    monkeypatch.setattr(dual_line, "_WORK", 20_000)
    monkeypatch.setattr(dual_line, "_MOST_CODES", 20)
    grid = qz.dual_grid(x, 120)
    assert len(grid.points) == 120
    assert complete.distortion <= grid.distortion < 1.1 * complete.distortion


def test_as_many_codes_as_points_cost_nothing():
    x = np.array([[0.0], [1.0], [3.0], [3.0]])
    grid = qz.dual_grid(x, 7)
    assert grid.points[:, 0].tolist() == [0, 1, 3]
    assert grid.distortion == 0
    assert grid.weights.tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_space(dim):
    """Against scipy's triangulation point by point; D by its two formulas; the gradient by differences."""
    rng = np.random.default_rng(dim)
    corners = 1.5 * cube(dim) - 0.25 + 0.2 * rng.random((2**dim, dim))  # on no sphere, so that the triangulation is the only one
    codes = np.concatenate([corners, rng.random((12, dim))])
    x, w = rng.random((300, dim)), rng.dirichlet(np.ones(300))
    grid = qz.dual_grid(qz.DiscreteMeasure(x, w), codes)
    around, shares = grid.locate(x)
    np.testing.assert_allclose(np.einsum("nj,njd->nd", shares, codes[around]), x, atol=1e-14)
    assert (shares >= 0).all()
    delaunay = Delaunay(codes)
    held = np.sort(delaunay.simplices[delaunay.find_simplex(x)], axis=1)
    np.testing.assert_array_equal(held, np.sort(around, axis=1))
    assert grid.distortion == pytest.approx(grid.weights @ np.square(codes).sum(1) - w @ np.square(x).sum(1), rel=1e-12)
    moments, step = Triangulation(codes).moments(x, w), 1e-6
    for i, j in [(2**dim, 0), (2**dim + 3, dim - 1)]:
        ahead, behind = codes.copy(), codes.copy()
        ahead[i, j] += step
        behind[i, j] -= step
        slope = (Triangulation(ahead).moments(x, w).distortion - Triangulation(behind).moments(x, w).distortion) / (2 * step)
        assert moments.gradient[i, j] == pytest.approx(slope, abs=1e-4 * np.abs(moments.gradient).max())


def test_the_delaunay_simplex_has_the_least_cost_of_all():
    """Against a linear programme over all ways to write x as a mean of codes."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(3)
    codes, x = np.concatenate([SQUARE, rng.random((8, 2))]), rng.random((20, 2))
    for point in x:
        costs = np.square(point - codes).sum(1)
        found = linprog(costs, A_eq=np.vstack([codes.T, np.ones(12)]), b_eq=[*point, 1.0])
        assert qz.dual_grid(point[None], codes).distortion == pytest.approx(found.fun, rel=1e-9)


def test_the_square_in_two_triangles():
    """The corners of the unit square, weights 1/3 at the ends of a diagonal, 1/6 at the others: E|X̂|² − E|X|² = 1 − 2/3."""
    grid = qz.dual_grid(Uniform(2), 4, hull=SQUARE, rng=0)
    assert abs(grid.distortion - 1 / 3) < 5 * grid.distortion_se < 5e-3
    np.testing.assert_allclose(np.sort(grid.weights), [1 / 6, 1 / 6, 1 / 3, 1 / 3], atol=5e-3)


def test_the_triangle():
    """Of a uniform law on a triangle with its corners alone D = Σ |x_i|²/3 − E|X|² = ¼ Σ |x_i − c|²."""
    corners = np.array([[0.0, 0.0], [2.0, 0.5], [0.5, 1.5]])

    class Triangle:
        def sample(self, n, rng):
            return rng.dirichlet(np.ones(3), n) @ corners

    grid = qz.dual_grid(Triangle(), 3, hull=corners, rng=0)
    exact = np.square(corners - corners.mean(0)).sum() / 4
    assert abs(grid.distortion - exact) < 5 * grid.distortion_se
    np.testing.assert_allclose(grid.weights, 1 / 3, atol=5e-3)


def test_descent_in_the_plane():
    """No worse than the best of right-angled grids, 2 / (6 (√K − 1)²), and nearer to equilateral triangles than to these."""
    x = np.random.default_rng(0).random((8000, 2))
    grid = qz.dual_grid(x, 25, hull=SQUARE, rng=0)
    assert grid.distortion < 0.92 / (3 * 16)
    assert grid.stationarity < 0.05
    np.testing.assert_allclose(grid.weights @ grid.points, x.mean(0), atol=1e-14)
    start = qz.dual_grid(x, 25, hull=SQUARE, rng=0, max_iter=0)
    assert grid.distortion < start.distortion / 1.5


@pytest.mark.parametrize(("dim", "k"), [(2, 25), (3, 30)])
def test_stochastic_gradient_for_sampled_laws(dim, k):
    """No worse than a descent on 2^14 draws from a quantizer, and with a smaller residual than the noise of such a sample."""
    grid = qz.dual_grid(Uniform(dim), k, hull=cube(dim), rng=0)
    rng, hull = np.random.default_rng(0), dual_descent.Hull(cube(dim))
    x, w = rng.random((2**14, dim)), np.full(2**14, 2.0**-14)
    start = dual_descent.first_codes(qz.DiscreteMeasure(x), k, hull, rng)
    descended = qz.dual_grid(rng.random((2**17, dim)), dual_descent.descend(x, w, start, hull, 200, 1e-5))
    assert grid.distortion < 0.995 * descended.distortion
    assert grid.stationarity < 0.03


def test_samples_without_a_hull():
    """Corners of the samples' hull where these are few, else of their box."""
    x = np.random.default_rng(0).normal(size=(3000, 2))
    assert len(qz.dual_grid(x, 100, rng=0, max_iter=3).points) == 100
    grid = qz.dual_grid(x, 12, rng=0, max_iter=3)
    np.testing.assert_allclose(grid.points[:4].min(0), x.min(0))
    np.testing.assert_allclose(grid.points[:4].max(0), x.max(0))


def test_splitting_has_the_point_as_its_mean():
    grid = qz.dual_grid(np.random.default_rng(0).random((500, 2)), np.concatenate([SQUARE, [[0.3, 0.4], [0.7, 0.6]]]))
    x, n = np.array([0.45, 0.5]), 40_000
    drawn = grid.points[grid.split(np.tile(x, (n, 1)), rng=0)]
    assert (np.abs(drawn.mean(0) - x) < 5 * drawn.std(0) / n**0.5).all()
    around, shares = grid.locate(x[None])
    counts = np.bincount(grid.split(np.tile(x, (n, 1)), rng=1), minlength=6)[around[0]]
    assert stats.chisquare(counts, n * shares[0]).pvalue > 1e-6


def test_far_from_the_origin_and_tiny():
    rng = np.random.default_rng(0)
    x, codes = rng.random((200, 2)), np.concatenate([SQUARE, rng.random((9, 2))])
    near, far = qz.dual_grid(x, codes), qz.dual_grid(1e-6 * x + 1e3, 1e-6 * codes + 1e3)
    assert far.distortion == pytest.approx(1e-12 * near.distortion, rel=1e-5)  # coordinates keep seven digits


def test_points_on_the_boundary_belong_to_the_hull():
    x = np.concatenate([SQUARE, np.stack([np.linspace(0, 1, 50), np.zeros(50)], axis=1)])
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    grid = qz.dual_grid(x @ turn.T, np.concatenate([SQUARE, [[0.5, 0.4]]]) @ turn.T)
    np.testing.assert_allclose(grid.weights @ grid.points, (x @ turn.T).mean(0), atol=1e-12)


def test_measures_of_other_libraries():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).random((300, 2))
    a, b = (qz.dual_grid(z, 9, hull=SQUARE, rng=0) for z in (x, torch.tensor(x)))
    np.testing.assert_array_equal(a.points, b.points)


X = np.random.default_rng(0).random((100, 2))
REFUSED = [
    (lambda: qz.dual_grid(stats.norm(), 5), r"bounded support.*\[-inf, inf\].*Truncate"),
    (lambda: qz.dual_grid(qz.Gaussian(np.zeros(2), np.eye(2)), 9), "bounded support.*Gaussian"),
    (lambda: qz.dual_grid(Uniform(2), 9), "Uniform is known by sampling.*hull"),
    (lambda: qz.dual_grid(X, 9, hull=[[0, 0], [1, 0], [0, 1]]), r"must contain the law's support; \d+ of 100 points lie outside"),
    (lambda: qz.dual_grid(X, X[:9]), "must contain the law's support"),
    (lambda: qz.dual_grid(Uniform(2), 9, hull=SQUARE / 2, rng=0), "must contain the law's support"),
    (lambda: qz.dual_grid(stats.uniform(), [[0.1], [1.0]]), r"support, \[0, 1\]; received points from 0.1 to 1"),
    (lambda: qz.dual_grid(stats.uniform(), 4, hull=[[0.0], [0.9]]), "received points from 0 to 0.9"),
    (lambda: qz.dual_grid(X[:, :1], 9, hull=[[0.0], [0.5]]), "must contain the law's support.*received points from 0 to 0.5"),
    (lambda: qz.dual_grid(Uniform(1), 9, hull=[[0.0], [0.5]], rng=0), "must contain the law's support"),
    (lambda: qz.dual_grid(X, 3), "number of corners of the hull, 4; received 3"),
    (lambda: qz.dual_grid(X, 1), "k must be an integer ≥ 2; received 1"),
    (lambda: qz.dual_grid(X[:, [0, 0]], 9), "lie in a plane of fewer than 2 dimensions"),
    (lambda: qz.dual_grid(np.zeros((9, 5)), 9), "at most 4 dimensions; received 5"),
    (lambda: qz.dual_grid(X, 9, hull=[[0.0], [1.0]]), r"hull must hold points of the law's dimension 2; received shape \(2, 1\)"),
    (lambda: qz.dual_grid(X, [[0.0], [1.0]]), r"codes must hold points of the law's dimension 2"),
    (lambda: qz.dual_grid(qz.Stream([X]), 9), "a stream"),
    (lambda: qz.dual_grid([[2.0], [2.0]], [[2.0]]), "two distinct codes"),
    (lambda: qz.dual_grid(X, 9, hull=SQUARE, max_iter=-1), "max_iter"),
    (lambda: qz.dual_grid(X, SQUARE).locate([[2.0, 2.0]]), "1 of 1 points lie outside"),
    (lambda: qz.dual_grid(X, SQUARE).split([[0.5]]), "dimension 2"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_even_draws():
    law, codes = qz.QuasiMonteCarlo([stats.uniform(), stats.uniform()]), np.random.default_rng(3).random((5, 2))
    codes = np.concatenate([SQUARE, codes])
    even, single = qz.dual_grid(law, codes, hull=SQUARE, rng=0), qz.dual_grid(Uniform(2), codes, hull=SQUARE, rng=0)
    assert even.distortion_se < single.distortion_se / 3
    assert abs(even.distortion - single.distortion) < 5 * single.distortion_se
    on_line = qz.dual_grid(
        qz.QuasiMonteCarlo(stats.uniform()), 5, hull=[[0.0], [1.0]], rng=0
    )  # of draws, nearly those of the law
    assert on_line.distortion == pytest.approx(1 / 96, rel=1e-3)
    with pytest.raises(ValueError, match=r"bounded support.*Gaussian"):
        qz.dual_grid(qz.QuasiMonteCarlo(qz.Gaussian(np.zeros(2), np.eye(2))), 9, hull=SQUARE)
