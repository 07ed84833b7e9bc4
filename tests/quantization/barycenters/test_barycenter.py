import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import quantization as qz
from quantization.barycenters import interior_point, pilot

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=10, derandomize=True)


@everyday
@given(st.integers(0, 10_000), st.sampled_from(["free", "uniform", "given"]), st.integers(1, 3))
def test_the_objective_is_the_exact_one_and_never_rises(truth, seed, weights, d):
    clouds, rng = truth.clouds(seed, d=d), np.random.default_rng(seed)
    mixing = rng.dirichlet(np.ones(3))
    measures = [(x, rng.dirichlet(np.ones(len(x)))) for x in clouds]
    chosen = rng.dirichlet(np.ones(7)) if weights == "given" else weights
    sol = qz.barycenter([qz.DiscreteMeasure(*m) for m in measures], 7, mixing=mixing, atom_weights=chosen, rng=seed)
    value = truth.objective(measures, mixing, sol.measure.points, sol.measure.weights)
    assert sol.distortion == pytest.approx(value, rel=1e-9)  # the simplex of either side stops at reduced costs of 1e-9
    assert (np.diff(sol.trace.distortion) <= 0).all()
    assert sol.distortion == sol.trace.distortion[-1]
    assert sol.transport == (qz.Monotone() if d == 1 else qz.NetworkSimplex())
    assert sol.distortion_se == 0
    assert sol.distortion_gap <= 1e-13 * value
    if weights == "uniform":
        np.testing.assert_allclose(sol.measure.weights, 1 / 7, rtol=4 * EPS)
    if weights == "given":
        np.testing.assert_allclose(sol.measure.weights, chosen, rtol=4 * EPS)


@everyday
@given(st.integers(0, 10_000))
def test_uniform_weights_cannot_beat_free_ones(truth, seed):
    clouds = truth.clouds(seed)
    free = qz.barycenter(clouds, 6, rng=seed)
    uniform = qz.barycenter(clouds, 6, atom_weights="uniform", rng=seed)
    assert free.distortion <= uniform.distortion


@everyday
@given(st.integers(0, 10_000))
def test_an_answer_certifies_itself(truth, seed):
    """Converged: the points are where their own plans want them, and no weights on them do better than the gap says."""
    clouds, rng = truth.clouds(seed), np.random.default_rng(seed)
    sol = qz.barycenter(clouds, 6, rng=seed).require()
    assert sol.stationarity <= 1e-3
    assert 0 <= sol.masses_gap <= 1e-6 * sol.distortion
    w = sol.measure.weights
    for _ in range(20):
        other = w + (rng.dirichlet(np.ones(6)) - w) * 10.0 ** rng.uniform(-6, 0)
        value = truth.objective(truth.even(clouds), np.full(3, 1 / 3), sol.measure.points, other)
        assert value >= (sol.distortion - sol.masses_gap) * (1 - 1e-9)


def test_one_measure_and_free_weights_is_quantization(rng):
    x = rng.normal(size=(300, 2))
    sol, same = qz.barycenter([x], 9, rng=4), qz.quantize(x, 9, rng=4, max_iter=100)
    np.testing.assert_array_equal(sol.measure.points, same.measure.points)
    np.testing.assert_array_equal(sol.measure.weights, same.measure.weights)
    assert sol.distortion == same.distortion
    law = qz.Gaussian([0.0], [[1.0]])
    assert qz.barycenter([law], 2, rng=0).distortion == pytest.approx(1 - 2 / np.pi, abs=1e-12)
    other = rng.normal(size=(50, 2)) + 9
    assert qz.barycenter(iter([x]), 9, rng=4).distortion == same.distortion  # an iterator is read once
    assert qz.barycenter([other, x], 9, mixing=[0, 1], rng=4).distortion == same.distortion


def test_one_measure_of_given_weights_is_its_quantizer_of_these_masses(rng):
    x, weights = rng.normal(size=(300, 2)), np.array([0.1, 0.2, 0.3, 0.4])
    sol, same = qz.barycenter([x], 4, atom_weights=weights, rng=4), qz.quantize(x, 4, masses=weights, rng=4)
    np.testing.assert_array_equal(sol.measure.points, same.measure.points)
    np.testing.assert_array_equal(sol.measure.weights, weights)
    assert sol.converged
    assert sol.distortion == same.distortion


@everyday
@given(st.integers(0, 10_000), st.integers(1, 2))
def test_the_solver_itself_ends_at_fixed_points_of_lloyd(seed, copies):
    """Of one measure, or of copies of one, which is the same problem by way of the linear program."""
    x = np.random.default_rng(seed).normal(size=(80, 2))
    sol = qz.barycenter([x] * copies, 5, solver=qz.InteriorPoint(rtol=1e-5), rng=seed).require()
    lloyd = qz.quantize(x, 5, init=sol.measure.points, max_iter=300, rng=0)
    exact = qz.DiscreteMeasure(x).project(sol.measure.points)
    np.testing.assert_allclose(sol.measure.weights, exact.weights, atol=1e-7)
    assert sol.distortion == pytest.approx(qz.distortion(x, sol.measure.points, rng=0).value, rel=1e-7)
    assert lloyd.distortion == pytest.approx(sol.distortion, rel=1e-7)  # Lloyd, started there, finds nothing to do


def test_an_atom_that_no_plan_sends_anything_stays():
    """Uniform weights put two atoms on one spot; free ones leave one of them empty, which has no mean to move to."""
    x = np.array([100.0, 100, 100, 100, 0, 1, 1.2, 9])[:, None] + 1000
    sol = qz.barycenter([x], 4, solver=qz.InteriorPoint(), init=[[1100.0], [1100], [1000.5], [1005]], rng=0).require()
    assert 0 in sol.measure.weights
    assert x.min() <= sol.measure.points.min() <= sol.measure.points.max() <= x.max()


def gaussians(rng, count, d):
    """Gaussians with commuting covariances Q diag(s²) Qᵀ; F_∞ and the barycenter in closed form."""
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    means, spreads, mixing = rng.normal(size=(count, d)), rng.uniform(0.3, 2, size=(count, d)), rng.dirichlet(np.ones(count))
    mean, spread = mixing @ means, mixing @ spreads
    least = mixing @ (np.square(means - mean).sum(1) + np.square(spreads - spread).sum(1))
    return q, means, spreads, mixing, mean, spread, least


@pytest.mark.parametrize("weights", ["free", "uniform"])
def test_on_the_line_it_quantizes_the_quantile_average(rng, weights):
    """Equality on the right of F_∞ ≤ F_K ≤ F_∞ + D_K(ν*), here for samples, whose quantile average is again a sample."""
    x = np.sort(rng.normal(size=(3, 240)) * [[0.5], [1.0], [2.0]] + [[0.0], [1.0], [-3.0]], axis=1)
    mixing, k = np.array([0.5, 0.3, 0.2]), 6
    average = mixing @ x
    spread = float(mixing @ np.square(x - average).mean(1))
    sol = qz.barycenter(list(x[:, :, None]), k, mixing=mixing, atom_weights=weights, n_init=3, rng=0).require()
    if weights == "uniform":  # x_k = K ∫ Q̄ over [(k−1)/K, k/K]
        codes = average.reshape(k, -1).mean(1)
        np.testing.assert_allclose(np.sort(sol.measure.points[:, 0]), codes, rtol=1e-9)
        assert sol.distortion == pytest.approx(spread + np.square(average.reshape(k, -1) - codes[:, None]).mean(), rel=1e-9)
    else:
        best = qz.quantize(average[:, None], k, rng=0)
        assert sol.distortion >= spread + best.distortion * (1 - 1e-6)
        mine = qz.distortion(average[:, None], sol.measure.points, rng=0).value  # at a fixed point its cells are intervals
        assert sol.distortion == pytest.approx(spread + mine, rel=1e-6)


@pytest.mark.parametrize("d", [2, 3])
def test_commuting_gaussians_lie_between_the_closed_forms(d):
    r"""$F_\infty \le F_K \le F_\infty + D_K(\nu^*)$ with the barycenter ν* in closed form.

    The measures are images of one sample under the optimal maps from ν*, so that the sample's own ν* is known exactly: the
    right side holds for these finite measures without any Monte-Carlo error. The left is F_∞ of the finite measures, which these
    maps, gradients of convex functions that average to the identity, attain.
    """
    rng = np.random.default_rng(d)
    q, means, spreads, mixing, mean, spread, _ = gaussians(rng, 3, d)
    z = rng.normal(size=(150, d))
    star = (mean + z * spread) @ q.T
    clouds = [(m + z * s) @ q.T for m, s in zip(means, spreads, strict=True)]
    least = float(sum(s * np.square(c - star).sum(1).mean() for s, c in zip(mixing, clouds, strict=True)))
    k = 12
    quantized = qz.quantize(star, k, n_init=5, rng=0)
    sol = qz.barycenter(clouds, k, mixing=mixing, init=quantized, rng=0)
    assert least * (1 - 1e-9) <= sol.distortion
    # From the best codebook of ν* found, one step of the uniform solver may lead away; free weights end below it all the same
    # where the optimum is meant, so compare what the best of both starts finds.
    assert (
        min(sol.distortion, qz.barycenter(clouds, k, mixing=mixing, n_init=4, rng=0).distortion) <= least + quantized.distortion
    )


@pytest.mark.parametrize("momentum", [0.5, 4.0])
def test_momentum_keeps_no_large_problem_from_its_end(rng, monkeypatch, momentum):
    """Steps that overshoot are made again from the best points: F falls at every snapshot, and the end is a fixed point."""
    monkeypatch.setattr(pilot, "_MANY", 100)
    monkeypatch.setattr(interior_point, "sampled", lambda problem, rng: pilot.sampled(problem, rng, 60))
    monkeypatch.setattr(interior_point, "_MOMENTUM", momentum)
    clouds = rng.normal(size=(3, 150, 2)) * np.array([1.0, 0.5, 2.0])[:, None, None] + rng.normal(size=(3, 1, 2))
    solution = qz.barycenter(clouds, 8, solver=qz.InteriorPoint(rtol=1e-3), rng=0)
    assert solution.converged
    assert (np.diff(solution.trace.distortion[:-1]) < 0).all()
    costs = [qz.transport(cloud, solution.measure).cost for cloud in clouds]
    assert solution.distortion == pytest.approx(np.mean(costs), rel=1e-9)


def test_fixed_support(truth, rng):
    clouds = truth.clouds(3)
    points = rng.normal(size=(8, 2))
    sol = qz.barycenter(clouds, points=points, rng=0).require()
    np.testing.assert_array_equal(sol.measure.points, points)
    uniform = truth.objective(truth.even(clouds), np.full(3, 1 / 3), points, np.full(8, 1 / 8))
    assert sol.distortion <= uniform
    assert sol.masses_gap <= 1e-7 * sol.distortion
    projected = qz.DiscreteMeasure(clouds[0]).project(points)
    one = qz.barycenter(clouds[:1], points=points, rng=0)
    np.testing.assert_allclose(one.measure.weights, projected.weights, atol=1e-9)


def test_the_weights_program_agrees_with_an_independent_solver(truth, rng):
    """The same linear program by HiGHS."""
    from scipy.optimize import linprog
    from scipy.sparse import bmat, csr_array, eye_array, kron

    clouds, points, mixing = truth.clouds(5, count=3, n=12), rng.normal(size=(5, 2)), np.array([0.2, 0.5, 0.3])
    blocks, right, costs = [], [], []
    for j, x in enumerate(clouds):
        n = len(x)
        costs.append(mixing[j] * np.square(x[:, None] - points).sum(2).ravel())
        rows = kron(eye_array(n), np.ones((1, 5)))
        columns = kron(np.ones((1, n)), eye_array(5))
        blocks += [
            [*[None] * j, rows, *[None] * (2 - j), csr_array((n, 5))],
            [*[None] * j, columns, *[None] * (2 - j), -eye_array(5)],
        ]
        right += [np.full(n, 1 / n), np.zeros(5)]
    best = linprog(np.concatenate([*costs, np.zeros(5)]), A_eq=bmat(blocks), b_eq=np.concatenate(right)).fun
    sol = qz.barycenter(clouds, points=points, mixing=mixing, rng=0)
    assert sol.distortion == pytest.approx(best, rel=1e-8)


def test_degenerate_inputs():
    a, b = np.array([[0.0, 0.0]]), np.array([[2.0, 0.0]])
    sol = qz.barycenter([a, b], 1, rng=0).require()
    np.testing.assert_allclose(sol.measure.points, [[1.0, 0.0]])
    assert sol.distortion == pytest.approx(1.0)
    sol = qz.barycenter([a, b], 1, mixing=[0.25, 0.75], rng=0)
    np.testing.assert_allclose(sol.measure.points, [[1.5, 0.0]])
    assert qz.barycenter([a, a], 1, rng=0).distortion == 0
    assert qz.barycenter([a, a], points=a, rng=0).distortion == 0

    x = np.random.default_rng(0).normal(size=(6, 2))
    same = qz.barycenter([x, x, x], 6, init=x, rng=0).require()
    assert same.distortion == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(same.measure.weights, 1 / 6)

    line = np.linspace(0, 1, 9)[:, None] * [[3.0, 4.0]]  # collinear: as on the line
    flat = qz.barycenter([line, line + 1], 3, n_init=3, rng=0).require()
    straight = qz.barycenter([line @ [[0.6], [0.8]], (line + 1) @ [[0.6], [0.8]]], 3, n_init=3, rng=0).require()
    offset = np.square([1.0, 1.0]).sum() - (1.4) ** 2
    assert flat.distortion == pytest.approx(straight.distortion + offset / 4, rel=1e-6)

    heavy = qz.DiscreteMeasure(np.concatenate([x, x + 50]), np.repeat([1 / 6, 0.0], 6))  # points of weight zero do not count
    assert qz.barycenter([heavy, x], 3, rng=1).distortion == qz.barycenter([x, x], 3, rng=1).distortion
    given = qz.barycenter([x, x + 1], 3, atom_weights=[0.5, 0.5, 0.0], rng=0).require()
    assert given.measure.weights[2] == 0


def test_far_from_the_origin_nothing_cancels(truth):
    clouds = truth.clouds(1, d=60)
    near = qz.barycenter(clouds, 5, rng=0, max_iter=5)
    far = qz.barycenter(
        [x + 2**20 for x in clouds], 5, init=near.measure.points + 2**20, max_iter=0, atom_weights="uniform", rng=0
    )
    here = qz.barycenter(clouds, 5, init=near.measure.points, max_iter=0, atom_weights="uniform", rng=0)
    assert far.distortion == pytest.approx(here.distortion, rel=1e-8)  # 2^20 leaves 33 bits of the points


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_many_dimensions_are_measured_exactly_at_the_end(truth, rng, dtype, shift):
    """Costs on the way are products in float32; the answer, also one whose budget is spent on the way, is exact."""
    clouds = [(rng.normal(size=(90, 80)) * rng.uniform(0.5, 2, size=80) + 3 * j + shift).astype(dtype) for j in range(3)]
    for budget in (0, 2, 100):
        sol = qz.barycenter(clouds, 9, atom_weights="uniform", max_iter=budget, rng=1)
        y = sol.points.astype(float)
        value = truth.objective(truth.even([x.astype(float) for x in clouds]), np.full(3, 1 / 3), y, np.full(9, 1 / 9))
        assert sol.distortion == pytest.approx(value, rel=1e-9)
        assert sol.distortion_gap == 0
        assert sol.converged == (budget == 100)
    free = qz.barycenter(clouds, 9, rng=1).require()
    assert free.distortion <= sol.distortion


def test_torch_in_torch_out(truth):
    clouds = [torch.tensor(x, dtype=torch.float32) for x in truth.clouds(0)]
    sol = qz.barycenter(clouds, 5, rng=0)
    assert sol.measure.points.dtype == sol.measure.weights.dtype == torch.float32
    same = qz.barycenter([x.double().numpy() for x in clouds], 5, rng=0)
    assert sol.distortion == pytest.approx(same.distortion, rel=0.05)
    points = sol.measure.points.double().numpy()
    measures = truth.even([x.double().numpy() for x in clouds])
    value = truth.objective(measures, np.full(3, 1 / 3), points, sol.measure.weights_float64.numpy())
    assert sol.distortion == pytest.approx(value, rel=1e-9)  # of the points as they are returned


def test_laws_enter_by_sampling():
    laws = [qz.QuasiMonteCarlo(qz.Gaussian([4.0 * j, 0.0], np.eye(2))) for j in range(2)]
    sol = qz.barycenter(laws, 5, draws=300, rng=3)
    assert sol.measure.points.mean(0) == pytest.approx([2.0, 0.0], abs=0.5)
    again = qz.barycenter(laws, 5, draws=300, rng=3)
    np.testing.assert_array_equal(sol.measure.points, again.measure.points)


def test_restarts_keep_the_best(truth):
    clouds = truth.clouds(8)
    one = qz.barycenter(clouds, 6, rng=2)
    many = qz.barycenter(clouds, 6, rng=2, n_init=4)
    assert many.distortion <= one.distortion


def test_snapshots_and_budget(truth):
    clouds = truth.clouds(2)
    snapshots = qz.iterate_barycenter(clouds, 6, rng=0)
    assert isinstance(snapshots, types.GeneratorType)
    *running, last = snapshots
    assert all(s.status is qz.Status.RUNNING for s in running)
    assert last.distortion == qz.barycenter(clouds, 6, rng=0).distortion
    short = qz.barycenter(clouds, 6, max_iter=1, rng=0)
    assert short.status is qz.Status.BUDGET_SPENT
    assert short.n_iter == 1
    assert short.masses_gap == np.inf  # nothing is known of other weights yet
    with pytest.raises(qz.NotConverged, match="gap"):
        short.require()


def test_too_few_pivots_are_a_status(truth):
    clouds = truth.clouds(2)
    for solver, weights in ((qz.InteriorPoint(max_pivots=1), "free"), (qz.FixedPoint(max_pivots=1), "uniform")):
        assert qz.barycenter(clouds, 6, atom_weights=weights, solver=solver, rng=0).status is qz.Status.BUDGET_SPENT


@pytest.mark.parametrize("weights", ["free", "uniform"])
def test_an_open_gap_of_a_transport_is_said_and_compared(truth, monkeypatch, weights):
    """A simplex that stalls leaves F in doubt by its gap: STALLED, never a budget; converged where the gap is small beside F."""
    clouds, solve = truth.clouds(2), qz.NetworkSimplex.solve

    def stalls(share):
        def solved(self, *arguments):
            found = solve(self, *arguments)
            return replace(found, status=qz.Status.STALLED, gap=share * found.cost)

        return solved

    monkeypatch.setattr(qz.NetworkSimplex, "solve", stalls(0.01))
    found = qz.barycenter(clouds, 6, atom_weights=weights, rng=0)
    assert found.status is qz.Status.STALLED
    assert found.distortion_gap == pytest.approx(0.01 * found.distortion)
    monkeypatch.setattr(qz.NetworkSimplex, "solve", stalls(1e-8))
    found = qz.barycenter(clouds, 6, atom_weights=weights, rng=0).require()
    assert found.distortion_gap == pytest.approx(1e-8 * found.distortion)


def test_solutions_are_kept(truth, tmp_path):
    sol = qz.barycenter(truth.clouds(2), 6, rng=0)
    sol.save(tmp_path / "bary.npz")
    back = qz.Solution.load(tmp_path / "bary.npz")
    assert (back.distortion, back.masses_gap, back.transport, back.solver) == (
        sol.distortion,
        sol.masses_gap,
        sol.transport,
        sol.solver,
    )


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"measures": []}, "must not be empty"),
        ({"measures": np.zeros((5, 2))}, "list of measures"),
        ({"measures": None}, "list of measures"),
        ({"measures": [np.zeros((4, 2)), np.zeros((4, 3))]}, "same dimension; measure 1 has dimension 3, another 2"),
        ({"measures": [np.zeros((4, 2)), np.full((4, 2), np.nan)]}, "measure 1: .*finite"),
        ({"measures": [np.zeros((4, 2)), torch.zeros(4, 2)]}, "one array library"),
        ({"measures": [qz.Stream([np.zeros((4, 2))])]}, "measure 0: a stream"),
        ({"mixing": [0.5, 0.6]}, "mixing must sum to 1"),
        ({"mixing": [1.5, -0.5]}, "mixing must be nonnegative"),
        ({"mixing": [1.0]}, "mixing must have shape \\(2,\\)"),
        ({"mixing": [np.nan, 1]}, "mixing must be finite"),
        ({"k": 41}, "k = 41 atoms are more than the 40 points"),
        ({"k": 0}, "k must be an integer ≥ 1"),
        ({"k": None}, "k must be"),
        ({"atom_weights": "equal"}, "atom_weights must be"),
        ({"atom_weights": [0.5, 0.5]}, "atom_weights must have shape \\(3,\\)"),
        ({"atom_weights": [0.5, 0.5, 0.5]}, "atom_weights must sum to 1"),
        ({"atom_weights": None}, "atom_weights must be"),
        ({"points": np.zeros((4, 2))}, "k must be the number of the points"),
        ({"points": np.zeros((3, 5))}, "dimension 2"),
        ({"points": np.zeros((3, 2)), "atom_weights": "uniform"}, "nothing is left to solve"),
        ({"points": np.zeros((3, 2)), "init": np.zeros((3, 2))}, "nothing to start from"),
        ({"solver": qz.Lloyd()}, "solver must be InteriorPoint"),
        ({"solver": qz.FixedPoint()}, "FixedPoint needs prescribed weights"),
        ({"solver": qz.InteriorPoint(), "atom_weights": "uniform"}, "InteriorPoint is for free weights"),
        ({"init": np.zeros((2, 2))}, "init must have shape"),
        ({"n_init": 0}, "n_init"),
        ({"max_iter": -1}, "max_iter"),
        ({"draws": 0}, "draws"),
        ({"rng": -1}, "rng"),
    ],
)
def test_refuses_misuse(arguments, hint):
    rng = np.random.default_rng(0)
    usual = {"measures": [rng.normal(size=(20, 2)), rng.normal(size=(20, 2))], "k": 3}
    with pytest.raises(ValueError, match=hint):
        qz.barycenter(**{**usual, **arguments})


def test_options_are_checked():
    for make in (lambda: qz.InteriorPoint(coarse=0.0), lambda: qz.InteriorPoint(relaxation=2.0), lambda: qz.FixedPoint(rtol=-1)):
        with pytest.raises(ValueError, match="received"):
            make()
    with pytest.raises(ValueError, match="for barycenters"):
        qz.quantize(np.zeros((4, 2)), 1, solver=qz.InteriorPoint(), rng=0)
