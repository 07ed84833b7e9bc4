"""Expectations by quantizers: bounds that hold, variances that fall, intervals that cover."""

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization.cubature import _allocation

PLANE = qz.Gaussian([0.0, 0.0], np.eye(2))
NORMAL = qz.Gaussian([0.0], [[1.0]])
# f on the plane, E f(X) and Var f(X) under N(0, I).
CALL = stats.norm.pdf(2) - 2 * stats.norm.sf(2)
FUNCTIONS = {
    "norm": (lambda x: np.hypot(x[:, 0], x[:, 1]), np.sqrt(np.pi / 2), 2 - np.pi / 2),
    "maximum": (lambda x: x.max(1), 1 / np.sqrt(np.pi), 1 - 1 / np.pi),
    "tail": (lambda x: np.maximum(x[:, 0] - 2, 0), CALL, 5 * stats.norm.sf(2) - 2 * stats.norm.pdf(2) - CALL**2),
}


@pytest.fixture(scope="module")
def grid():
    return qz.quantize(PLANE, 100, rng=0)


@pytest.mark.parametrize("k", [5, 30])
def test_the_bounds_of_a_cubature_hold(k):
    grid = qz.quantize(PLANE, k, rng=0)
    f, exact, _ = FUNCTIONS["norm"]
    found = qz.expect(f, PLANE, grid, lipschitz=1.0)
    assert found.low < exact < found.high
    assert found.high - found.value == pytest.approx(grid.distortion**0.5, rel=1e-6)
    smooth = qz.expect(lambda x: np.cos(x[:, 0]), PLANE, grid, lipschitz=1.0, gradient_lipschitz=1.0)
    assert smooth.low < np.exp(-0.5) < smooth.high
    assert smooth.high - smooth.value == pytest.approx(grid.distortion / 2, rel=1e-6)
    # Off the optimum too, as f is taken at the cells' means.
    moved = grid.points + 0.3 * np.random.default_rng(0).normal(size=grid.points.shape)
    smooth = qz.expect(lambda x: np.cos(x[:, 0]), PLANE, moved, gradient_lipschitz=1.0)
    assert smooth.low < np.exp(-0.5) < smooth.high
    assert qz.expect(f, PLANE, moved).high == np.inf


@pytest.mark.parametrize(
    ("method", "name", "least"),
    [("control", "norm", 20), ("control", "maximum", 20), ("proportional", "norm", 18), ("proportional", "maximum", 20),
     ("neyman", "tail", 60)],
)  # fmt: skip
def test_variances_fall(method, name, least, grid):
    f, exact, variance = FUNCTIONS[name]
    n = 20_000
    found = qz.expect(f, PLANE, grid, n, method=method, rng=1)
    assert variance / n / found.standard_error**2 > least
    assert abs(found.value - exact) < 4 * found.standard_error
    if method != "neyman":  # at least Var f / (L² D), for L = 1
        assert variance / n / found.standard_error**2 > 0.9 * variance / grid.distortion


def test_a_quantizer_says_little_of_a_function_that_waves_within_cells(grid):
    found = qz.expect(lambda x: np.hypot(*(x - np.round(x)).T), PLANE, grid, 20_000, rng=0)
    plain = np.hypot(*(x := PLANE.sample(200_000, np.random.default_rng(0)), x - np.round(x))[1].T).var()
    assert 1 < plain / 20_000 / found.standard_error**2 < 4


@pytest.mark.parametrize("method", ["control", "proportional", "neyman"])
@pytest.mark.parametrize("kind", ["product", "measure", "sampled"])
def test_intervals_cover(method, kind, rng):
    f, exact, _ = FUNCTIONS["norm"]
    if kind == "product":
        law, codebook = [NORMAL, stats.norm()], qz.product_grid([NORMAL, NORMAL], 16)
    elif kind == "measure":
        law = qz.DiscreteMeasure(rng.normal(size=(500, 2)), rng.dirichlet(np.ones(500)))
        codebook, exact = qz.quantize(law, 16, rng=0), law.expect(f)
    else:
        law, codebook = Sampled(), rng.normal(size=(16, 2))
    repetitions = 4 if kind == "sampled" else 400
    found = [qz.expect(f, law, codebook, 400, method=method, rng=seed) for seed in range(repetitions)]
    covered = sum(e.low <= exact <= e.high for e in found)
    low, high = stats.binom(repetitions, 0.95).ppf([1e-4, 1 - 1e-6])
    assert low <= covered <= high
    errors = (np.mean([e.value for e in found]) - exact) / np.std([e.value for e in found])
    assert abs(errors) < 4 / repetitions**0.5


class Sampled:
    """N(0, I) in the plane, known by sampling alone."""

    def sample(self, n, rng):
        return rng.normal(size=(n, 2))


def test_masses_that_are_measured_are_in_the_interval():
    # f is constant in each cell: nothing is left but the error of the masses.
    codes = np.array([[-1.0, 0.0], [1.0, 0.0]])
    found = qz.expect(lambda x: (x[:, 0] > 0) * 1.0, Sampled(), codes, 1000, method="proportional", rng=0)
    assert found.standard_error == pytest.approx(0.5 / 2**10, rel=1e-2)
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.98, 0.01, 0.01, 0.0], [1.0], [1e-9] * 5 + [1.0]])
def test_allocations_add_up_and_keep_the_least(shares):
    counts = _allocation(50, np.array(shares))
    assert counts.sum() == 50
    assert (counts[np.array(shares) > 0] >= 2).all()
    assert (counts[np.array(shares) == 0] == 0).all()


def test_extrapolation_takes_off_an_error_proportional_to_the_distortion():
    assert qz.richardson_romberg([1 + 3 * 0.2, 1 + 3 * 0.05], [0.2, 0.05]) == pytest.approx(1, rel=1e-14)
    with pytest.raises(ValueError, match="two different nonnegative numbers"):
        qz.richardson_romberg([1, 2], [0.5, 0.5])


def test_asian_options_by_paths():
    exact = {(0.05, 0.1): 3.6413864, (0.09, 0.3): 8.8287588}  # S = K = 100, one year, averaged in continuous time
    x, w = np.polynomial.legendre.leggauss(32)
    t = (1 + x) / 2
    grids = [qz.functional_grid(qz.BrownianMotion(), n) for n in (966, 9984)]
    for (rate, sigma), price in exact.items():

        def payoff(paths, rate=rate, sigma=sigma):
            average = 100 * np.exp((rate - sigma**2 / 2) * t + sigma * paths) @ w / 2
            return np.exp(-rate) * np.maximum(average - 100, 0)

        values = [float(grid.expect(payoff, t)) for grid in grids]
        assert qz.richardson_romberg(values, [grid.distortion for grid in grids]) == pytest.approx(price, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n": 50, "method": "proportional"}, "n must be at least 200 for 100 cells"),
        ({"n": 500, "method": "neyman"}, "n must be at least 1000 for 100 cells"),
        ({"n": 0}, "n must"),
        ({"method": "antithetic"}, "method must be 'control', 'proportional' or 'neyman'"),
        ({"f": lambda x: x}, r"f must return one number a point, shape \(100,\); received shape \(100, 2\)"),
        ({"f": lambda x: x[:, 0] / 0}, "f must be finite"),
        ({"lipschitz": -1.0}, "lipschitz must be a finite number"),
        ({"law": NORMAL}, "codes must have the law's dimension 1; received 2"),
        ({"law": qz.Stream([np.zeros((5, 2))])}, "must be one to draw from, or a measure; received a stream"),
        ({"law": qz.QuasiMonteCarlo(PLANE)}, "depend on one another"),
        ({"law": [NORMAL], "codebook": qz.product_grid([NORMAL, NORMAL], 9)}, "the list of its 2 marginals; received 1"),
        ({"law": [NORMAL, stats.expon()], "codebook": qz.product_grid([NORMAL, NORMAL], 9)}, "others, with other masses"),
        ({"law": [NORMAL, np.zeros((3, 1))], "codebook": qz.product_grid([NORMAL, NORMAL], 9)}, "marginal 1 must be a Gaussian"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_refused(arguments, says, grid):
    with pytest.raises(ValueError, match=says):
        qz.expect(**{"f": FUNCTIONS["norm"][0], "law": PLANE, "codebook": grid, "rng": 0, **arguments})


@pytest.mark.parametrize(
    ("f", "codes"),
    [
        (lambda x: np.full(len(x), 0.1), None),
        (lambda x: 0.1 + np.maximum(x[:, 0] - 2, 0), None),
        (lambda x: np.exp(x[:, 0]), [[0.3]]),
    ],
)  # fmt: skip
def test_a_control_that_is_constant_over_the_draws_controls_nothing(f, codes):
    # Its mean is off by round-off, and so would be what it is divided by.
    law = stats.norm()
    codes = qz.quantize(law, 5, rng=0).points if codes is None else np.array(codes)
    found, plain = qz.expect(f, law, codes, 1000, rng=0), f(np.random.default_rng(1).normal(size=(100_000, 1)))
    assert abs(found.value - plain.mean()) < 5 * plain.std() / 1000**0.5 + 1e-12
    assert found.standard_error < 3 * plain.std() / 1000**0.5 + 1e-12


def test_few_draws_give_no_wild_estimates():
    codes = qz.quantize(stats.norm(), 5, rng=0).points
    values = [qz.expect(lambda x: x[:, 0] ** 2, stats.norm(), codes, 10, rng=seed).value for seed in range(200)]
    assert np.abs(values).max() < 10


def test_a_cubature_of_a_sampled_law_holds_the_error_of_its_draws():
    found = qz.expect(lambda x: x[:, 0], Sampled(), [[0.0, 0.0]], lipschitz=1.0, gradient_lipschitz=0.0, rng=0)
    assert found.low < 0 < found.high
    assert found.standard_error == pytest.approx(2**0.5 / 2**10, rel=0.05)  # of |X|, which bounds that of f
    with pytest.raises(ValueError, match="give lipschitz= as well"):
        qz.expect(lambda x: x[:, 0], Sampled(), [[0.0, 0.0]], gradient_lipschitz=0.0, rng=0)
