"""Codes of prescribed masses: plans against the assignment of scipy, certificates, what is refused, and every way to ask."""

import itertools
import math

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.optimize import linear_sum_assignment, linprog

import quantization as qz
from quantization.assignment import capacities, capacity_prices
from quantization.assignment.capacities import CapacitatedAssignment
from quantization.assignment.plan_cycles import without_cycles
from quantization.solvers import balanced


def assignment_cost(x, codes):
    """W_2² between n points and codes of masses 1/K, K a divisor of n, by scipy's assignment."""
    costs = np.square(x[:, None] - codes[None]).sum(2)
    repeated = np.repeat(costs, len(x) // len(codes), axis=1)
    return repeated[linear_sum_assignment(repeated)].mean()


def check(solution, x, masses, a=None):
    """Marginals, stationarity, cost and gap of a solution, all recomputed."""
    n, k = len(x), len(masses)
    a = np.full(n, 1 / n) if a is None else a
    codes, (rows, columns, parts) = np.asarray(solution.points, np.float64), solution.sparse_plan
    np.testing.assert_allclose(np.bincount(rows, parts, minlength=n), a, rtol=1e-12, atol=1e-300)
    received = np.array([math.fsum(parts[columns == j]) for j in range(k)])
    assert np.abs(received - masses).max() <= 1e-9 * masses.min()
    assert (np.bincount(rows)[np.unique(rows)] > 1).sum() <= k - 1
    costs = np.square(x[:, None].astype(np.float64) - codes[None]).sum(2)
    cost = parts @ costs[rows, columns]
    dual = a @ (costs - solution.prices).min(1) + masses @ solution.prices
    assert solution.distortion == pytest.approx(cost, rel=1e-12)
    assert cost - dual <= 1e-9 * cost
    assert 0 <= solution.masses_gap <= 1e-9 * cost
    assert solution.prices.min() == 0
    shifts = np.zeros_like(codes)
    np.add.at(shifts, columns, parts[:, None] * (x[rows] - codes[columns]))
    residual = (masses @ np.square(shifts / masses[:, None]).sum(1) / cost) ** 0.5
    rounding = 8 * np.finfo(np.float64).eps * np.abs(codes).max() / cost**0.5
    assert solution.stationarity == pytest.approx(residual, rel=1e-6, abs=1e-12 + rounding)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_uniform_masses_are_the_assignment_of_scipy(rng, d):
    x = rng.normal(size=(60, d))
    solution = qz.quantize(x, 6, masses="uniform", rng=0)
    assert solution.converged
    check(solution, x, np.full(6, 1 / 6))
    assert solution.distortion == pytest.approx(assignment_cost(x, solution.points), rel=1e-12)
    np.testing.assert_array_equal(solution.weights, np.full(6, 1 / 6))
    assert np.bincount(solution.predict(x)).tolist() == [10] * 6


def test_masses_keep_their_order(rng):
    x, masses = rng.normal(size=(90, 2)), np.array([0.5, 0.125, 0.25, 0.125])
    a = rng.dirichlet(np.ones(90)) * (rng.random(90) > 0.2)
    measure = qz.DiscreteMeasure.from_unnormalized(x, a)
    solution = qz.quantize(measure, 4, masses=masses, rng=0)
    np.testing.assert_array_equal(solution.weights, masses)
    check(solution, x, masses, measure.weights_float64)


def test_tensors_in_tensors_out(rng):
    x = torch.from_numpy(rng.normal(size=(50, 3))).float()
    solution = qz.quantize(x, 5, masses="uniform", rng=0)
    assert isinstance(solution.points, torch.Tensor)
    assert solution.points.dtype == torch.float32
    check(solution, x.numpy(), np.full(5, 0.2))
    assert torch.bincount(solution.predict(x)).tolist() == [10] * 5


def test_many_have_their_own_masses(rng):
    laws, given = rng.normal(size=(2, 40, 2)), [0.25, 0.75]
    for masses in (["uniform", given], [[0.5, 0.5], given], np.array([[0.5, 0.5], given])):
        uniform, other = qz.quantize_many(laws, 2, masses=masses, rng=[0, 1])
        assert (uniform.weights.tolist(), other.weights.tolist()) == ([0.5, 0.5], given)
        alone = qz.quantize(laws[1], 2, masses=given, rng=1)
        np.testing.assert_array_equal(other.points, alone.points)
    assert [s.weights.tolist() for s in qz.quantize_many(laws, 2, masses=given, rng=0)] == [given] * 2
    assert qz.quantize_many(laws, 2, masses=["free", "uniform"], rng=0)[0].prices is None


def test_snapshots_descend(rng):
    costs = [s.distortion for s in qz.iterate(rng.normal(size=(80, 2)), 4, masses="uniform", rng=0)]
    assert len(costs) > 2
    assert (np.diff(costs) <= 1e-12).all()


def test_the_budget_leaves_a_certified_answer(rng):
    x = rng.normal(size=(120, 2))
    solution = qz.quantize(x, 5, masses="uniform", max_iter=1, rng=0)
    assert solution.status is qz.Status.BUDGET_SPENT
    check(solution, x, np.full(5, 0.2))


def test_a_file_keeps_prices_and_plan(rng, tmp_path):
    x = rng.normal(size=(41, 2))
    solution = qz.quantize(x, 4, masses="uniform", solver=qz.Balanced(rtol=1e-2), rng=0)
    solution.save(tmp_path / "solution.npz")
    loaded = qz.Solution.load(tmp_path / "solution.npz")
    assert loaded.solver == solution.solver
    assert loaded.masses_gap == solution.masses_gap
    np.testing.assert_array_equal(loaded.prices, solution.prices)
    assert loaded.sparse_plan is not None
    assert solution.sparse_plan is not None
    for mine, theirs in zip(loaded.sparse_plan, solution.sparse_plan, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(loaded.predict(x), solution.predict(x))


def test_the_estimator_has_clusters_of_equal_size(rng):
    x = rng.normal(size=(60, 2))
    estimator = qz.OptimalQuantizer(3, masses="uniform", random_state=0).fit(x)
    assert np.bincount(estimator.labels_).tolist() == [20] * 3
    np.testing.assert_array_equal(estimator.predict(x), estimator.labels_)
    assert estimator.inertia_ == pytest.approx(60 * estimator.solution_.distortion)
    assert estimator.score(x) == pytest.approx(-estimator.inertia_)
    with pytest.raises(ValueError, match="partial_fit learns codes of free masses"):
        estimator.partial_fit(x)


def test_the_estimator_stops_at_its_tol(rng):
    x = rng.normal(size=(400, 3))
    fits = [qz.OptimalQuantizer(8, masses="uniform", tol=tol, random_state=0).fit(x) for tol in (1e-1, 1e-3, 0.0)]
    assert fits[0].n_iter_ < fits[1].n_iter_ < fits[2].n_iter_
    for fit, tol in zip(fits, (1e-1, 1e-3, 0.0), strict=True):
        assert fit.solution_.converged
        check(fit.solution_, x, np.full(8, 1 / 8))
        steps = list(qz.iterate(x, 8, masses="uniform", init=start_of(x), solver=qz.Balanced(rtol=0), rng=0))
        shifts = [np.square(b.points - a.points).sum() for a, b in itertools.pairwise(steps)]
        fit = qz.OptimalQuantizer(8, masses="uniform", init=start_of(x), n_init=1, tol=tol).fit(x)
        first = next((i for i, s in enumerate(shifts, 1) if s <= tol * x.var(0).mean()), len(shifts))
        assert fit.n_iter_ == first


def start_of(x):
    """Eight codes to begin with."""
    return x[:8].copy()


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("masses", ["uniform", [0.4, 0.3, 0.2, 0.06, 0.04]])
def test_more_codes_than_distinct_points(d, masses):
    """Mass 1/2, 1/4, 1/4 on three points: five codes of these masses split them."""
    x = np.array([[0.0, 0.0], [0.0, 0.0], [4.0, 1.0], [1.0, 3.0]])[:, :d]
    solution = qz.quantize(x, 5, masses=masses, rng=0)
    given = np.full(5, 0.2) if masses == "uniform" else np.array(masses)
    assert solution.sparse_plan is not None
    rows, columns, parts = solution.sparse_plan
    np.testing.assert_allclose(np.bincount(rows, parts), 0.25, rtol=1e-12)
    np.testing.assert_allclose(np.bincount(columns, parts), given, rtol=1e-9)
    costs = np.square(x[:, None] - solution.points[None]).sum(2)
    plan = linprog(
        costs.ravel(),
        A_eq=np.vstack([np.kron(np.eye(4), np.ones(5)), np.kron(np.ones(4), np.eye(5))]),
        b_eq=np.concatenate([np.full(4, 0.25), given]),
    )
    assert solution.distortion == pytest.approx(plan.fun, rel=1e-9, abs=1e-12)
    with pytest.raises(ValueError, match="distinct points"):
        qz.quantize(x, 5, masses=masses, init="k-means++", rng=0)
    with pytest.raises(ValueError, match="distinct points"):
        qz.quantize(x, 5, rng=0)


def test_sparse_samples_are_refused(rng):
    x = scipy.sparse.csr_array(rng.normal(size=(30, 4)))
    with pytest.raises(ValueError, match=r"needs dense samples; received a sparse matrix. Pass x.toarray\(\)"):
        qz.quantize(x, 3, masses="uniform", rng=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masses": "even"}, "masses must be"),
        ({"masses": [0.5, 0.5]}, r"masses must have shape \(3,\), one per code"),
        ({"masses": [0.5, 0.5, 0.1]}, "masses must sum to 1"),
        ({"masses": [0.5, 0.5, 0.0]}, "masses must be positive; received 1 zeros"),
        ({"masses": [1.5, -0.25, -0.25]}, "masses must be nonnegative"),
        ({"masses": "uniform", "r": 1.0}, "prescribed masses are for r = 2.*Leave r out"),
        ({"masses": "uniform", "solver": qz.Lloyd()}, "leaves masses free"),
        ({"solver": qz.Balanced()}, "Balanced is for prescribed masses"),
    ],
)
def test_what_is_refused(rng, options, message):
    with pytest.raises(ValueError, match=message):
        qz.quantize(rng.normal(size=(30, 2)), 3, **options)


def test_streams_are_refused():
    with pytest.raises(ValueError, match="Balanced needs samples in memory, or a law to draw from; received a stream"):
        qz.quantize(qz.Stream([np.zeros((5, 2))]), 2, masses="uniform", rng=0)


def test_codes_that_are_written_over_are_new_codes(rng):
    points, weights, masses = rng.normal(size=(200, 2)), np.full(200, 1 / 200), np.full(4, 0.25)
    assignment, codes = CapacitatedAssignment(points, weights, masses), rng.normal(size=(4, 2))
    assignment.plan(codes, None)
    codes[:] = rng.normal(size=(4, 2))
    alone = CapacitatedAssignment(points, weights, masses).plan(codes, None)
    np.testing.assert_array_equal(assignment.plan(codes, None).labels, alone.labels)


class Drawn:
    """A law of which nothing but draws is known."""

    def __init__(self, law, dtype=np.float64):
        self.law, self.dtype = law, dtype

    def sample(self, n, rng):
        return self.law.sample(n, rng).astype(self.dtype)


@pytest.mark.parametrize("even", [False, True])
def test_a_law_known_by_draws_against_cells_that_are_integrated(even):
    """Both ends hold the exact W_2² to the codes found, which are about as good as those of the exact law."""
    law = qz.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [3.0, 1.0]], [0.5 * np.eye(2), [[2.0, 1.0], [1.0, 1.0]]])
    masses, drawn = np.array([0.1, 0.2, 0.3, 0.4]), qz.QuasiMonteCarlo(law) if even else Drawn(law)
    sol = qz.quantize(drawn, 4, masses=masses, init=law.means[[0, 0, 1, 1]] + np.eye(4, 2), rng=0)
    np.testing.assert_array_equal(sol.weights, masses)
    truth, best = qz.transport(law, sol.measure).cost, qz.quantize(law, 4, masses=masses, init=sol.points, rng=0)
    assert abs(truth - sol.distortion) <= sol.masses_gap <= (0.01 if even else 0.08) * truth
    assert abs(truth - sol.distortion) <= 4 * sol.distortion_se + 1e-3 * truth
    assert best.distortion <= truth <= 1.001 * best.distortion
    shares = np.bincount(sol.predict(law.sample(2**16, np.random.default_rng(1))), minlength=4) / 2**16
    np.testing.assert_allclose(shares, masses, atol=5 * (0.25 / 2**16) ** 0.5 + 5 * (0.25 / 2**17) ** 0.5)
    assert sol.converged  # as close as so many draws can tell
    assert even or qz.quantize(drawn, 8, masses="uniform", rng=0).converged
    poor = qz.quantize(drawn, 4, masses=masses, init=sol.points, max_iter=0, solver=qz.Balanced(draws=2**9), rng=0)
    assert even or poor.status is qz.Status.BUDGET_SPENT
    away = qz.quantize(drawn, 4, masses=masses, init=sol.points + np.eye(1, 2), max_iter=0, rng=0)
    assert away.status is qz.Status.BUDGET_SPENT


def test_tensors_of_a_law_known_by_draws():
    class Tensors:
        def sample(self, n, rng):
            return torch.from_numpy(rng.normal(size=(n, 3)).astype(np.float32))

    sol = qz.quantize(Tensors(), 3, masses="uniform", solver=qz.Balanced(draws=2**10), rng=0)
    assert sol.points.dtype == torch.float32
    assert 0.05 * sol.distortion < sol.masses_gap < sol.distortion
    with pytest.raises(qz.NotConverged, match="Raise the solver's draws, max_iter, or the solver's rtol"):
        sol.require()


@pytest.mark.filterwarnings("ignore:the costs of")
def test_no_interval_without_a_fourth_moment():
    class Heavy:
        def sample(self, n, rng):
            return rng.standard_t(2.2, size=(n, 2))

    sol = qz.quantize(Heavy(), 2, masses="uniform", solver=qz.Balanced(rtol=1.0, draws=2**14), rng=0)
    assert sol.masses_gap == np.inf
    assert not sol.converged


def weighted(rng, n):
    """Weights of many sizes, some of them zero."""
    return rng.pareto(0.5, size=n) * (rng.random(n) > 0.2)


HARD = {
    "weights": lambda rng: (rng.normal(size=(300, 3)), rng.dirichlet(np.ones(7)), weighted(rng, 300)),
    "duplicates": lambda rng: (rng.integers(3, size=(300, 2)).astype(float), np.full(7, 1 / 7), None),
    "weighted duplicates": lambda rng: (rng.integers(3, size=(300, 2)).astype(float), np.full(7, 1 / 7), weighted(rng, 300)),
    "an outlier": lambda rng: (np.vstack([rng.normal(size=(299, 2)), [[1e7, 0.0]]]), np.full(6, 1 / 6), None),
    "decades": lambda rng: (rng.normal(size=(300, 2)) * 10.0 ** rng.uniform(-6, 6, (300, 1)), np.full(6, 1 / 6), None),
    "tiny": lambda rng: (rng.normal(size=(300, 2)) * 1e-120, np.full(6, 1 / 6), None),
    "huge": lambda rng: (rng.normal(size=(300, 2)) * 1e120, np.full(6, 1 / 6), None),
    "far away": lambda rng: (rng.normal(size=(300, 2)) + 1e6, np.full(6, 1 / 6), None),
    "one code": lambda rng: (rng.normal(size=(300, 2)), np.ones(1), None),
    "as many codes as points": lambda rng: (rng.normal(size=(40, 2)), np.full(40, 1 / 40), rng.random(40)),
    "more codes than half of the points": lambda rng: (rng.normal(size=(70, 2)), np.full(40, 1 / 40), None),
    "a small mass": lambda rng: (rng.normal(size=(300, 2)), np.array([1e-6, 0.5, 0.5 - 1e-6]), None),
    "separated clusters": lambda rng: (rng.integers(5, size=(300, 1)) * 100 + rng.normal(size=(300, 2)), np.full(7, 1 / 7), None),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", HARD)
def test_hard_problems(rng, name, large, monkeypatch):
    """Whatever the weights and scales; ``large`` as if all costs were too many to keep, so that few candidates are looked at."""
    monkeypatch.setattr(capacities, "_ALL", 0 if large else capacities._ALL)
    x, masses, a = HARD[name](rng)
    law = qz.DiscreteMeasure(x) if a is None else qz.DiscreteMeasure.from_unnormalized(x, a)
    solution = qz.quantize(law, len(masses), masses=masses, rng=0)
    assert solution.converged
    check(solution, x, masses, law.weights_float64)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("name", sorted(HARD.keys() - {"tiny", "huge"}))
def test_hard_problems_in_many_dimensions(rng, name, few, monkeypatch):
    """Where products on the way are in float32; ``few`` as if these were too many for all codes to be candidates."""
    monkeypatch.setattr(capacities, "_FEW", 0 if few else capacities._FEW)
    x, masses, a = HARD[name](rng)
    x = (x @ np.linalg.qr(rng.normal(size=(80, 80)))[0][: x.shape[1]]).astype(np.float32)
    law = qz.DiscreteMeasure(x) if a is None else qz.DiscreteMeasure.from_unnormalized(x, a)
    solution = qz.quantize(law, len(masses), masses=masses, solver=qz.Balanced(rtol=1e-6), rng=0)
    assert solution.converged
    check(solution, x, masses, law.weights_float64)


def test_a_cost_that_rises_by_round_off_is_no_convergence(rng, monkeypatch):
    """On the way costs are rounded: where one is wrong the run goes on, to codes that no step moves."""
    sums, calls = CapacitatedAssignment.following_sums, itertools.count()

    def wrong(self, codes, plan):
        found, cost = sums(self, codes, plan)
        return found, cost * (2 if next(calls) == 2 else 1)

    monkeypatch.setattr(CapacitatedAssignment, "following_sums", wrong)
    x = rng.normal(size=(300, 3))
    solution = qz.quantize(x, 6, masses="uniform", solver=qz.Balanced(rtol=0), rng=0)
    assert solution.converged
    assert solution.n_iter > 3
    check(solution, x, np.full(6, 1 / 6))
    assert solution.stationarity < 1e-12


@pytest.mark.parametrize("n", [6000, 5003])
def test_clusters_far_apart_that_exchange_points(rng, n, monkeypatch):
    """As if there were millions of points: codes move by parts of them, prices jump between clusters, points are split."""
    for module, name, value in ((capacities, "_ALL", 0), (capacities, "_FEWEST", 256), (balanced, "_SAMPLE", 512)):
        monkeypatch.setattr(module, name, value)
    centres, shares = 30 * rng.normal(size=(12, 8)), rng.dirichlet(np.ones(12))
    x = (centres[rng.choice(12, size=n, p=shares)] + rng.normal(size=(n, 8))).astype(np.float32)
    solution = qz.quantize(x, 24, masses="uniform", max_iter=8, rng=0)
    check(solution, x, np.full(24, 1 / 24))
    costs = solution.trace.distortion
    assert costs[-2] < costs[0] / 2


@pytest.mark.parametrize("seed", range(8))
def test_no_other_plan_costs_less(seed):
    """Against an exact linear program, on any codes: so much for the plan alone."""
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=(40, 2)), 5
    a, w = rng.dirichlet(np.ones(40)), rng.dirichlet(np.ones(k))
    solution = qz.quantize(qz.DiscreteMeasure(x, a), k, masses=w, init=rng.normal(size=(k, 2)), max_iter=0, rng=0)
    costs = np.square(x[:, None] - solution.points[None]).sum(2)
    marginals = np.vstack([np.kron(np.eye(40), np.ones((1, k))), np.kron(np.ones((1, 40)), np.eye(k))])
    found = linprog(costs.ravel(), A_eq=marginals, b_eq=np.concatenate([a, w]), method="highs")
    assert solution.distortion == pytest.approx(found.fun, rel=1e-9)
    check(solution, x, w, a)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("large", [False, True])
def test_it_ends_where_no_sample_moves(rng, dtype, large, monkeypatch):
    monkeypatch.setattr(capacities, "_ALL", 0 if large else capacities._ALL)
    x = rng.normal(size=(300, 2)).astype(dtype)
    solution = qz.quantize(x, 6, masses="uniform", solver=qz.Balanced(rtol=0), rng=0)
    assert solution.converged
    assert solution.n_iter < 60
    check(solution, x, np.full(6, 1 / 6))


def test_cells_lie_apart_where_masses_fit(rng):
    """Prices are in the middle of those that are optimal, so that round-off moves no sample over a border."""
    x = rng.normal(size=(400, 2))
    solution = qz.quantize(x, 8, masses="uniform", rng=0)
    priced = np.sort(np.square(x[:, None] - solution.points[None]).sum(2) - solution.prices, axis=1)
    assert (priced[:, 1] - priced[:, 0]).min() > 1e-7


def test_a_plan_without_cycles_keeps_its_marginals(rng):
    rows, columns = (i.ravel() for i in np.meshgrid(np.arange(12), np.arange(5), indexing="ij"))
    masses = rng.random(60)
    found = without_cycles(rows, columns, masses, 5)
    np.testing.assert_allclose(np.bincount(rows, found), np.bincount(rows, masses), rtol=1e-12)
    np.testing.assert_allclose(np.bincount(columns, found), np.bincount(columns, masses), rtol=1e-12)
    assert found.min() >= 0
    assert np.count_nonzero(found) <= 12 + 5 - 1


def test_a_gap_that_stays_open_is_no_convergence(rng, monkeypatch):
    """Where the plan is spoilt after the paths, the certificate says so."""
    complete = capacities.kernels.complete

    def spoilt(*arguments):
        paths = complete(*arguments)
        arguments[4][0] += 1.0  # a price
        return paths

    monkeypatch.setattr(capacities.kernels, "complete", spoilt)
    monkeypatch.setattr(capacity_prices, "_CENTRED", 0)
    with pytest.warns(qz.ConvergenceWarning, match="gap in the masses"):
        solution = qz.quantize(rng.normal(size=(200, 2)), 4, masses="uniform", rng=0)
    assert not solution.converged
    assert solution.masses_gap > 1e-3 * solution.distortion
    with pytest.raises(qz.NotConverged, match="gap in the masses"):
        solution.require()


def test_the_cost_is_differentiable_in_samples_and_weights(rng):
    """Against differences of the exact cost at the codes that were found; weights move along two that stay a measure."""
    x, a, w = rng.normal(size=(31, 2)), rng.dirichlet(np.ones(31)), np.array([0.5, 0.2, 0.3])
    points, weights = (torch.tensor(z, requires_grad=True) for z in (x, a))
    with pytest.warns(UserWarning, match="neither codes nor weights depend on them"):
        solution = qz.quantize(qz.DiscreteMeasure(points, weights), 3, masses=w, rng=0)
    assert isinstance(solution.distortion, torch.Tensor)
    solution.distortion.backward()
    assert points.grad is not None
    assert weights.grad is not None
    codes = solution.points.detach().numpy()

    def cost(moved, b):
        return qz.transport(qz.DiscreteMeasure(moved, b), qz.DiscreteMeasure(codes, w)).cost

    shift, step = rng.normal(size=x.shape), 1e-6
    slope = (cost(x + step * shift, a) - cost(x - step * shift, a)) / (2 * step)
    assert (points.grad.numpy() * shift).sum() == pytest.approx(slope, rel=1e-5)
    swap = np.zeros(31)
    swap[[3, 4]] = 1, -1
    slope = (cost(x, a + step * swap) - cost(x, a - step * swap)) / (2 * step)
    assert weights.grad.numpy() @ swap == pytest.approx(slope, rel=1e-5)
