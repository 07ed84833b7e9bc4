import itertools

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import quantization as qz

LAWS = {
    "normal": stats.norm(0.3, 1.2),
    "exponential": stats.expon(),
    "gamma": stats.gamma(0.3),  # a pole at 0
    "beta": stats.beta(0.5, 0.5),  # poles at both ends
    "student": stats.t(3.2),
    "pareto": stats.pareto(3.5),
    "newer normal": stats.Normal(mu=-1.0, sigma=0.5),
    "mixture": qz.GaussianMixture([0.3, 0.7], [[-6.0], [2.0]], [[[0.01]], [[1.0]]]),
}


def cdf(law):
    if isinstance(law, qz.GaussianMixture):
        deviations = np.sqrt(law.covs[:, 0, 0])
        return lambda x: float(law.weights @ stats.norm.cdf((x - law.means[:, 0]) / deviations))
    return lambda x: float(law.cdf(x))


def w1(f, g, places):
    """∫ |F − G| dx between places where the difference changes sign or bends, by scipy's quad."""
    cuts = np.concatenate([np.linspace(-40, 60, 201), -40 - np.exp2(np.arange(40)), 60 + np.exp2(np.arange(40)), places])
    cuts = np.unique(cuts)
    return sum(integrate.quad(lambda x: abs(f(x) - g(x)), a, b, limit=200)[0] for a, b in itertools.pairwise(cuts))


@pytest.mark.parametrize("first", ["normal", "gamma", "student"])
@pytest.mark.parametrize("second", ["beta", "newer normal", "mixture"])
def test_order_one_is_the_area_between_distribution_functions(first, second):
    mu, nu = LAWS[first], LAWS[second]
    coupling = qz.transport(mu, nu, r=1)
    assert coupling.status is qz.Status.CONVERGED
    assert coupling.gap <= 1e-9 * coupling.cost + 1e-12
    area = w1(cdf(mu), cdf(nu), np.zeros(1))
    assert coupling.cost == pytest.approx(area, abs=1e-6 + coupling.gap)  # quad bisects kinks to about that


@pytest.mark.parametrize("r", [1, 1.5, 2, 3, 8])
def test_two_normal_laws_in_closed_form(r):
    mu, nu = qz.Gaussian([1.0], [[4.0]]), stats.norm(-2, 0.5)
    moment = stats.norm(3.0, 1.5).expect(lambda z: abs(z) ** r, lb=-30, ub=30, points=[0.0], limit=500)  # Q − Q' is affine
    coupling = qz.transport(mu, nu, r=r)
    assert abs(coupling.cost - moment) <= coupling.gap + 1e-8 * moment  # quad's own tolerance
    assert qz.wasserstein(nu, mu, r=r) == pytest.approx(coupling.cost ** (1 / r), rel=1e-12)
    if r == 2:
        assert abs(coupling.cost - (9 + 1.5**2)) <= coupling.gap <= 1e-9 * coupling.cost


@pytest.mark.parametrize(("law", "wide", "second_moment"), [
    (stats.pareto(2.1), stats.pareto(2.1, 0, 3), 2.1 / 0.1),
    (stats.t(2.05), stats.t(2.05, 0, 3), 2.05 / 0.05),
    (stats.lognorm(2.0), stats.lognorm(2.0, 0, 3), np.exp(8)),
    (stats.uniform(), stats.uniform(0, 3), 1 / 3),
    (stats.weibull_min(0.5), stats.weibull_min(0.5, 0, 3), 24.0),
])  # fmt: skip
def test_a_law_and_a_multiple_of_it(law, wide, second_moment):
    coupling = qz.transport(law, wide)
    assert coupling.status is qz.Status.CONVERGED
    assert abs(coupling.cost - 4 * second_moment) <= coupling.gap <= 1e-9 * coupling.cost


@pytest.mark.parametrize("name", ["gamma", "mixture"])
@pytest.mark.parametrize("weighted", [False, True])
def test_samples_against_a_law(name, weighted):
    rng, law = np.random.default_rng(3), LAWS[name]
    x = np.round(rng.normal(size=(40, 1)), 1)  # some are repeated
    mu = qz.DiscreteMeasure(x, rng.dirichlet(np.ones(40))) if weighted else qz.DiscreteMeasure(x)
    order = np.argsort(x[:, 0])
    at, below = x[order, 0], np.append(0.0, np.cumsum(mu.weights[order]))
    below[-1] = 1.0
    area = w1(lambda z: float(below[np.searchsorted(at, z, side="right")]), cdf(law), at)
    for coupling in (qz.transport(mu, law, r=1), qz.transport(law, mu, r=1)):
        assert coupling.cost == pytest.approx(area, abs=1e-6)
        assert coupling.status is qz.Status.CONVERGED


def test_order_two_against_atoms_is_what_projections_say():
    law, x = stats.norm(), np.array([-1.3, 0.1, 0.4, 2.0])
    ends = law.ppf([0, 0.25, 0.5, 0.75, 1])
    moments = [integrate.quad(lambda z, c=c: (z - c) ** 2 * law.pdf(z), a, b, epsabs=1e-13)[0]
               for c, a, b in zip(x, ends[:-1], ends[1:], strict=True)]  # fmt: skip
    coupling = qz.transport(x[:, None], law)
    assert coupling.cost == pytest.approx(sum(moments), abs=1e-11)
    optimal = qz.quantize(law, 5, rng=0)
    assert qz.wasserstein(optimal.measure, law) ** 2 == pytest.approx(optimal.distortion, rel=1e-9)


def test_one_law_written_twice_is_at_distance_zero():
    assert qz.wasserstein(stats.norm(), qz.Gaussian([0.0], [[1.0]])) <= 1e-14
    near = qz.transport(stats.norm(), stats.norm(1e-12, 1))
    assert abs(near.cost - 1e-24) <= near.gap <= 1e-2 * near.cost  # what the rounding of quantiles near 1 leaves
    assert near.status is qz.Status.CONVERGED


@pytest.mark.parametrize(("law", "r"), [(stats.cauchy(), 1), (stats.pareto(2.0), 2), (stats.t(2), 2), (stats.levy(), 1)])
def test_infinite_moments_are_refused(law, r):
    for other in (stats.norm(), [[0.0], [1.0]], law):
        with pytest.raises(ValueError, match=f"no finite moment of order r = {r}"):
            qz.transport(law, other, r=r)


class _Off(stats.rv_continuous):
    """The uniform law with a ppf that is off by 1e-4 in the middle."""

    def _cdf(self, x):
        return np.clip(x, 0, 1)

    def _pdf(self, x):
        return np.ones_like(x)

    def _ppf(self, q):
        return q + 1e-4 * q * (1 - q)


def test_quantiles_that_miss_their_distribution_function_are_reported():
    law = _Off(a=0, b=1, name="off")()
    coupling = qz.transport(law, stats.uniform(3, 1))
    assert coupling.status is qz.Status.STALLED
    assert coupling.cost + coupling.gap >= 9  # W_2² of the law itself
    assert abs(coupling.cost - 9) <= coupling.gap
    with pytest.raises(RuntimeError, match="may be off by"):
        qz.wasserstein(law, stats.uniform(3, 1))


def test_a_coupling_of_laws_has_no_plan():
    coupling = qz.transport(torch.zeros(3, 1), stats.norm())
    assert coupling.cost == pytest.approx(1, rel=1e-12)
    for name in ("plan", "sparse_plan", "potentials"):
        with pytest.raises(ValueError, match="Give samples"):
            getattr(coupling, name)


def test_pairs_without_a_row_are_refused():
    class Sampler:
        def sample(self, n, rng):
            return rng.normal(size=(n, 1))

    with pytest.raises(ValueError, match="no certified method couples Sampler and FrozenLaw"):
        qz.transport(Sampler(), stats.norm())
    with pytest.raises(ValueError, match="same dimension"):
        qz.wasserstein(np.zeros((3, 2)), stats.norm())
    with pytest.raises(ValueError, match="method is for two measures"):
        qz.transport(stats.norm(), stats.norm(), method=qz.Monotone())
    with pytest.raises(ValueError, match="Freeze it by a call"):
        qz.transport(stats.norm, stats.norm())
    with pytest.raises(ValueError, match="overflow"):
        qz.transport(stats.norm(0, 1e200), stats.norm(), r=2)


def test_the_gap_of_measures_is_cost_less_dual():
    rng = np.random.default_rng(0)
    for d in (1, 2):
        coupling = qz.transport(rng.normal(size=(30, d)), rng.normal(size=(20, d)))
        assert 0 <= coupling.gap <= 1e-12
    loose = qz.transport(rng.normal(size=(30, 2)), rng.normal(size=(20, 2)), method=qz.Sinkhorn(1.0))
    assert loose.gap > 1e-3
