import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import cKDTree

import quantization as qz
from quantization.assignment import d2_sampling as module
from quantization.assignment.d2_sampling import d2_sampling
from quantization.status import TooFewPoints

TABLES = [module._Arrays, module._Tree, module._Rows]


def _table(kind, points, weights, costs, k, trials):
    return kind(points, weights, costs) if kind is module._Arrays else kind(points, weights, costs, k, trials)


def _ignore(done):
    pass


def _squared(points, code):
    return np.square(points.astype(np.float64) - points[code].astype(np.float64)).sum(1)


def _greedy(points, weights, costs, candidates):
    """The best of each row of candidates, by costs of all points, computed again."""
    chosen = []
    for some in candidates:
        after = [np.minimum(costs, _squared(points, i)) for i in some]
        best = int(np.argmin([weights @ a for a in after]))
        costs = after[best]
        chosen.append(some[best])
    return chosen


def _mean_cost(points, codes):
    return np.square(cKDTree(codes).query(points)[0]).mean()


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(700, 1, 30), (3000, 2, 200), (2000, 5, 100), (500, 40, 20), (33, 3, 30), (20, 2, 5)])
def test_the_best_candidate_is_kept(kind, dtype, n, d, k, rng):
    points, weights = rng.standard_normal((n, d)).astype(dtype), rng.dirichlet(np.ones(n))
    trials = 2 + int(np.log(k))
    candidates = np.array([rng.choice(n, trials, replace=False) for _ in range(k)])
    costs = _squared(points, 0)
    table = _table(kind, points, weights, costs, k, trials)
    proposals = module._Proposals(candidates.ravel(), np.full(candidates.size, -1.0))
    assert table.choose(k, trials, proposals, -1.0, _ignore).tolist() == _greedy(points, weights, costs, candidates)


def test_a_call_that_runs_out_of_its_budget_goes_on(rng):
    n, d, k, trials = 30_000, 8, 100, 6  # visits (trials + 1) n d k coordinates at most, more than the budget
    points, weights, costs = rng.standard_normal((n, d)), np.full(n, 1 / n), np.full(n, 100.0)
    candidates = np.array([rng.choice(n, trials, replace=False) for _ in range(k)])
    proposals = module._Proposals(candidates.ravel(), np.full(candidates.size, -1.0))
    reports = []
    chosen = module._Tree(points, weights, costs, k, trials).choose(k, trials, proposals, -1.0, reports.append)
    assert len(reports) > 0
    assert chosen.tolist() == _greedy(points, weights, costs, candidates)


@pytest.mark.parametrize("clusters", [False, True])
def test_a_tree_that_leaves_nothing_out_gives_way(clusters, monkeypatch, rng):
    # In sixteen dimensions it visits every point of a normal sample for each candidate, and few of one in clusters.
    n, d, k, trials = 10_000, 16, 300, 7
    points = 30.0 * rng.standard_normal((20, d))[rng.integers(0, 20, n)] * clusters + rng.standard_normal((n, d))
    weights, costs = rng.dirichlet(np.ones(n)), _squared(points, 0)
    candidates = np.array([rng.choice(n, trials, replace=False) for _ in range(k)])
    proposals = module._Proposals(candidates.ravel(), np.full(candidates.size, -1.0))
    made = []
    monkeypatch.setattr(module, "_Rows", lambda *given, kind=module._Rows: made.append(kind(*given)) or made[-1])
    table = module._Tree(points, weights, costs, k, trials)
    assert table.choose(k, trials, proposals, -1.0, _ignore).tolist() == _greedy(points, weights, costs, candidates)
    assert len(made) == (0 if clusters else 1)


def _laws(points, weights, count):
    """All sequences of ``count`` codes after the code 0 by single D² draws, with their probabilities."""
    found = {}

    def go(chosen, costs, probability):
        if len(chosen) == count:
            found[chosen] = probability
            return
        mass = weights * costs
        for i in np.flatnonzero(mass):
            go((*chosen, int(i)), np.minimum(costs, _squared(points, i)), probability * mass[i] / mass.sum())

    go((), _squared(points, 0), 1.0)
    return found


def _check_law(draw, expected, repeats):
    """A chi-squared test at the level of 1e-6 (the generator is fixed)."""
    counts = dict.fromkeys(expected, 0)
    for _ in range(repeats):
        counts[tuple(int(i) for i in draw())] += 1
    probabilities = np.array(list(expected.values()))
    observed = np.array(list(counts.values()))
    often = probabilities * repeats >= 10
    observed = np.append(observed[often], observed[~often].sum())
    wanted = np.append(probabilities[often], probabilities[~often].sum()) * repeats
    if wanted[-1] < 10:
        observed, wanted = observed[:-1], wanted[:-1]
    statistic = (np.square(observed - wanted) / wanted).sum()
    assert statistic <= stats.chi2.isf(1e-6, len(wanted))


_FEW = np.array([[0.0, 0.0], [1.0, 0.5], [1.0, 0.5], [3.0, -1.0], [0.0, 2.0], [-20.0, 1.0], [0.0, 0.0]])
_FEW_WEIGHTS = np.array([0.3, 0.2, 0.1, 0.1, 0.0, 0.002, 0.298])


@pytest.mark.parametrize("kind", TABLES)
def test_draws_have_the_probabilities_of_d2_sampling(kind, rng):
    def draw():
        table = _table(kind, _FEW, _FEW_WEIGHTS, _squared(_FEW, 0), 3, 1)
        return table.choose(2, 1, module._Uniforms(rng.random((2, 1))), 0.0, _ignore)

    _check_law(draw, _laws(_FEW, _FEW_WEIGHTS, 2), 4000)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_draws_have_these_probabilities_whatever_the_pool_holds(size, rng):
    # One candidate for each code, so that the pool decides nothing.
    def draw():
        costs = _squared(_FEW, 0)
        return module._from_pools(_FEW, _FEW_WEIGHTS, costs, np.array([0]), 3, 1, size, rng, lambda done, k: None)[1:]

    _check_law(draw, _laws(_FEW, _FEW_WEIGHTS, 2), 4000)


def test_far_points_that_a_sample_misses_are_found():
    points = np.random.default_rng(0).normal(size=(10**6, 2))
    points[:3, 0] += 1000
    weights = np.full(len(points), 1e-6)
    for seed in range(6):
        chosen = d2_sampling(points, weights, 8, np.random.default_rng(seed))
        # The far points bear about half of the cost of the bulk's best seven codes, and a code there ends that.
        assert qz.quantize(points, 8, init=points[chosen], max_iter=30).distortion <= 0.470  # the best known is 0.44496


@pytest.mark.parametrize("seed", range(4))
def test_a_light_point_very_far_away_is_found(seed, rng):
    # It bears 1e-6 · 1e8 = 100 of a cost of some 104, and then at least 100 of 100 + what is left: missed by all
    # draws of 7 codes with a probability below 1e-5.
    points = rng.normal(size=(200_000, 3))
    points[77] = 1e4
    weights = np.full(len(points), (1 - 1e-6) / (len(points) - 1))
    weights[77] = 1e-6
    assert 77 in d2_sampling(points, weights, 8, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(4))
def test_rare_clusters_are_all_found(seed, rng):
    # Three clusters of 10 points among 300,000, of which a pool of 50,000 drawn by weight would miss some as a rule.
    points = rng.normal(size=(300_000, 2))
    centres = np.array([[2000.0, 0], [0, 3000], [-2500, -2500]])
    points[:30] = np.repeat(centres, 10, 0) + rng.normal(size=(30, 2))
    chosen = d2_sampling(points, np.full(len(points), 1 / len(points)), 6, np.random.default_rng(seed))
    # As long as one is missing it bears more than 0.97 of the cost.
    assert {int(i) // 10 for i in chosen if i < 30} == {0, 1, 2}


def test_pools_serve_heavy_tails_as_well_as_all_points_do():
    rng = np.random.default_rng(4)
    points = rng.standard_t(1.5, size=(20_000, 2))
    weights = np.full(len(points), 1 / len(points))
    costs = np.array(
        [
            [_mean_cost(points, points[d2_sampling(points, weights, 20, rng, pool=size)]) for size in (2000, 20_000)]
            for _ in range(40)
        ]
    )
    logs = np.log(costs)  # which outliers among the starts don't rule
    error = np.sqrt(logs.var(0, ddof=1).sum() / len(logs))
    # A pool's estimates are off by (2 · 8 / 2000)^(1/2) = 9 % at most, in one standard deviation: no better is claimed.
    assert np.subtract(*logs.mean(0)) <= 0.09 + 4 * error


@pytest.mark.parametrize(("n", "d", "k"), [(2000, 2, 50), (3000, 40, 30), (200, 3, 10)])
def test_layouts_and_libraries_do_not_matter(n, d, k, rng):
    weights = rng.dirichlet(np.ones(n))
    half = (rng.integers(-255, 256, (n, d)) / 64).astype(np.float16)
    bfloat = torch.from_numpy(half.astype(np.float32)).bfloat16()
    assert (bfloat.float().numpy() == half).all()
    single = half.astype(np.float32)
    single.flags.writeable = False
    wide = np.zeros((2 * n, d))
    wide[::2] = half
    kinds = [half, single, half.astype(np.float64), np.asfortranarray(half), np.asfortranarray(single), wide[::2]]
    kinds += [bfloat, torch.from_numpy(half)]
    for pool in (50_000, 10 * k):
        answers = []
        for x in kinds:
            w = weights if isinstance(x, np.ndarray) else torch.from_numpy(weights)
            answers.append(d2_sampling(x, w, k, np.random.default_rng(3), pool=pool))
        for answer in answers:
            assert answer.dtype == np.int64
            np.testing.assert_array_equal(answer, answers[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_tensors_by_torch_alone(dtype, rng):
    # What runs on a GPU, on the CPU.
    n, k, trials = 400, 20, 4
    weights = rng.dirichlet(np.ones(n))
    points = torch.from_numpy(rng.standard_normal((n, 3))).to(dtype)
    costs = _squared(points.numpy(), 0)
    tensors = module._Arrays(points, torch.from_numpy(weights), torch.from_numpy(costs))
    arrays = module._Arrays(points.numpy(), weights, costs)
    uniforms = module._Uniforms(rng.random((k, trials)))
    np.testing.assert_array_equal(*(table.choose(k, trials, uniforms, 0.0, _ignore) for table in (tensors, arrays)))
    rest = (np.array([0]), k, trials, 100)
    same = [
        module._from_pools(*given, *rest, np.random.default_rng(8), lambda done, k: None)
        for given in ((points, torch.from_numpy(weights), torch.from_numpy(costs)), (points.numpy(), weights, costs))
    ]
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize("exponent", [-500, -40, 40, 500])
@pytest.mark.parametrize(("n", "d"), [(500, 2), (5000, 2), (5000, 20)])
def test_magnitudes_do_not_matter(n, d, exponent, rng):
    points, weights = rng.standard_normal((n, d)), rng.dirichlet(np.ones(n))
    for pool in (n, 100):
        once, again = (d2_sampling(x, weights, 30, np.random.default_rng(1), pool=pool) for x in (points, points * 2.0**exponent))
        np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(("n", "d"), [(20_000, 3), (20_000, 64)])
def test_threads_change_nothing(n, d, monkeypatch, rng):
    points, weights = rng.standard_normal((n, d)).astype(np.float32), np.full(n, 1 / n)
    for pool in (n, 5000):
        answers = []
        for threads in ("1", "2"):
            monkeypatch.setenv("OMP_NUM_THREADS", threads)
            answers.append(d2_sampling(points, weights, 30, np.random.default_rng(1), pool=pool))
        np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("repeats", [1, 1000])
@pytest.mark.parametrize("d", [1, 20])
@pytest.mark.parametrize("pool", [1, 10**6])
def test_codes_are_distinct_points_of_positive_weight(repeats, d, pool, rng):
    places = rng.standard_normal((20, d))
    points = np.repeat(places, repeats, 0)
    weights = np.where(np.arange(20) % 2, 0.1, 0.0).repeat(repeats) / repeats
    chosen = d2_sampling(points, weights, 10, rng, pool=pool)
    assert sorted(chosen // repeats) == list(range(1, 20, 2))
    with pytest.raises(TooFewPoints, match="received 10"):
        d2_sampling(points, weights, 11, rng, pool=pool)


def test_points_that_differ_by_little_are_told_apart(rng):
    # Ten places far from the origin, a unit of float32 apart within pairs.
    places = np.repeat(rng.standard_normal((5, 30)) * 100, 2, 0).astype(np.float32)
    places[::2, 0] = np.nextafter(places[::2, 0], np.float32(np.inf))
    points = np.repeat(places, 400, 0)
    chosen = d2_sampling(points, np.full(4000, 1 / 4000), 10, rng)
    assert sorted(chosen // 400) == list(range(10))
    with pytest.raises(TooFewPoints, match="received 10"):
        d2_sampling(points, np.full(4000, 1 / 4000), 11, rng)


def test_few_points_in_a_large_measure_are_all_found(rng):
    points = np.concatenate([np.zeros((100_000, 1)), [[1.0], [2.0]]])
    chosen = d2_sampling(points, np.full(100_002, 1 / 100_002), 3, rng, pool=10)
    assert sorted(points[chosen, 0]) == [0, 1, 2]


@pytest.mark.parametrize(("n", "d", "k"), [(300, 2, 10), (5000, 2, 50), (3000, 40, 50), (200_000, 2, 20)])
def test_progress_is_reported(n, d, k, rng):
    reports = []
    d2_sampling(rng.standard_normal((n, d)), np.full(n, 1 / n), k, rng, on_progress=lambda *report: reports.append(report))
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert all(1 <= one <= k and of == k for one, of in reports)


def test_the_cost_is_within_the_bound_of_a_single_draw(rng):
    # Ten tight clusters, one code each costs about 2 · 0.01²: 8 (log k + 2) times the optimum in expectation.
    points = (10 * rng.normal(size=(10, 1, 2)) + 0.01 * rng.normal(size=(10, 500, 2))).reshape(-1, 2)
    weights = np.full(len(points), 1 / len(points))
    costs = [_mean_cost(points, points[d2_sampling(points, weights, 10, rng)]) for _ in range(20)]
    assert np.mean(costs) <= 8 * (np.log(10) + 2) * 2e-4


def test_a_single_code_is_drawn_by_weight(rng):
    assert d2_sampling(np.arange(3.0)[:, None], np.array([0.0, 1.0, 0.0]), 1, rng).tolist() == [1]
