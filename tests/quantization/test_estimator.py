import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._test_common.instance_generator import PER_ESTIMATOR_XFAIL_CHECKS
from sklearn.utils.estimator_checks import parametrize_with_checks

import quantization as qz


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # as some of the checks have
@parametrize_with_checks(
    [
        qz.OptimalQuantizer(),
        qz.OptimalQuantizer(n_clusters=2, max_iter=5),
        qz.OptimalQuantizer(n_clusters=1, solver=qz.CLVQ(epochs=1)),
    ],
    expected_failed_checks=lambda _: PER_ESTIMATOR_XFAIL_CHECKS[KMeans],
)
def test_is_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_quantize_and_with_kmeans(dtype, rng):
    x, weights = rng.normal(size=(400, 3)).astype(dtype), rng.random(400)
    start = x[:5]
    ours = qz.OptimalQuantizer(5, init=start, random_state=0).fit(x, sample_weight=weights)
    theirs = KMeans(5, init=start, n_init=1).fit(x, sample_weight=weights)
    # The same steps and the same stopping rule, so that codes differ by round-off alone.
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    assert ours.score(x, sample_weight=weights) == pytest.approx(-ours.inertia_, rel=1e-12)
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), rtol=1e-3, atol=1e-4)
    assert ours.transform(x).dtype == ours.cluster_centers_.dtype == dtype
    solver = qz.Lloyd(rtol=1e-3)
    ours = qz.OptimalQuantizer(5, init=start, random_state=0, solver=solver).fit(x, sample_weight=weights)
    direct = qz.quantize(qz.DiscreteMeasure.from_unnormalized(x, weights), 5, init=start, rng=0, solver=solver)
    np.testing.assert_array_equal(ours.cluster_centers_, direct.measure.points)
    np.testing.assert_array_equal(ours.weights_, direct.measure.weights)
    assert (ours.distortion_, ours.n_iter_) == (direct.distortion, direct.n_iter)
    assert ours.solution_.status is direct.status


def test_labels_weights_and_prediction_belong_together(rng, brute):
    x = rng.normal(size=(300, 2))
    q = qz.OptimalQuantizer(7, random_state=1)
    labels = q.fit_predict(x)
    np.testing.assert_array_equal(labels, q.labels_)
    np.testing.assert_array_equal(q.predict(x), labels)
    np.testing.assert_array_equal(brute.squared(x, q.cluster_centers_).argmin(1), labels)
    np.testing.assert_allclose(np.bincount(labels) / 300, q.weights_, rtol=1e-12)
    np.testing.assert_allclose(q.transform(x) ** 2, brute.squared(x, q.cluster_centers_), rtol=1e-10)
    np.testing.assert_array_equal(qz.OptimalQuantizer(7, random_state=1).fit_transform(x), q.transform(x))


def test_partial_fit_sees_all_samples_of_all_calls(rng):
    chunks = [rng.normal(size=(n, 2)) * [1, 3] for n in (700, 1300, 40, 2000)]
    q = qz.OptimalQuantizer(6, random_state=2)
    for chunk in chunks:
        assert q.partial_fit(chunk) is q
        np.testing.assert_array_equal(q.labels_, q.predict(chunk))
        assert q.inertia_ == pytest.approx(-q.score(chunk), rel=1e-12)
    assert q.solution_.trace.clvq_state.seen == pytest.approx(4040)
    np.testing.assert_array_equal(q.weights_, q.solution_.trace.companion)
    again = qz.OptimalQuantizer(6, random_state=2)
    for chunk in chunks:
        again.partial_fit(chunk)
    np.testing.assert_array_equal(again.cluster_centers_, q.cluster_centers_)
    everything = np.concatenate(chunks)
    best = qz.quantize(everything, 6, n_init=5, rng=0)
    # 4040 samples seen once: the excess is about tr(H⁻¹S)/n ≤ a few K/n = 0.2 %, for a local optimum some percent.
    assert qz.distortion(everything, q.cluster_centers_, rng=0).value < 1.1 * best.distortion


def test_partial_fit_weighs_and_refuses(rng):
    x = rng.normal(size=(3000, 1))
    heavy = np.where(x[:, 0] > 0, 9.0, 1.0)
    q = qz.OptimalQuantizer(2, random_state=0).partial_fit(x, sample_weight=heavy)
    best = qz.OptimalQuantizer(2, random_state=0).fit(x, sample_weight=heavy)
    assert q.distortion_ < 1.02 * best.distortion_  # of the same weighted samples; unweighted codes cost 1.36 times as much
    assert q.inertia_ == pytest.approx(q.distortion_ * heavy.sum(), rel=1e-12)
    after = qz.OptimalQuantizer(2, random_state=0).fit(x).partial_fit(x[:1])  # a later call may be of one sample
    assert after.cluster_centers_.shape == (2, 1)
    with pytest.raises(ValueError, match="n_samples=1 should be >= n_clusters=2 in the first call"):
        qz.OptimalQuantizer(2).partial_fit(x[:1])
    with pytest.raises(ValueError, match="solver must be None or CLVQ"):
        qz.OptimalQuantizer(2, solver=qz.Lloyd()).partial_fit(x)
    with pytest.raises(ValueError, match="features"):
        after.partial_fit(np.zeros((5, 2)))


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_weights_of_partial_fit_are_in_one_unit_across_calls(container, unit, rng):
    """A single code is the weighted mean of all samples of all calls, after ``fit`` too."""
    chunks = [rng.normal(size=(n, 1)) + shift for n, shift in ((3000, 0.0), (500, 10.0), (1, -40.0))]
    weights = [rng.random(len(chunk)) * w * unit for chunk, w in zip(chunks, (1.0, 100.0, 7.0), strict=True)]
    for start in ("partial_fit", "fit"):
        q = getattr(qz.OptimalQuantizer(1, random_state=0), start)(container(chunks[0]), sample_weight=weights[0])
        for chunk, w in zip(chunks[1:], weights[1:], strict=True):
            q.partial_fit(container(chunk), sample_weight=w)
        mean = np.average(np.concatenate(chunks)[:, 0], weights=np.concatenate(weights))
        # A running mean of some 6 batches: a few roundings each of numbers up to 40.
        np.testing.assert_allclose(q.cluster_centers_, [[mean]], rtol=0, atol=64 * np.finfo(float).eps * 40)


@pytest.mark.parametrize(("dim", "k", "calls"), [(1, 10, 40), (2, 20, 200), (8, 50, 100)])
def test_partial_fit_of_a_sorted_stream(dim, k, calls, rng):
    """Competitive learning alone ended at 11 times the optimum and more."""
    x = rng.normal(size=(40_000, dim))
    x = x[np.argsort(x[:, 0])]
    q = qz.OptimalQuantizer(k, random_state=0)
    for chunk in np.array_split(x, calls):
        q.partial_fit(chunk)
    best = qz.OptimalQuantizer(k, n_init=3, random_state=0).fit(x)
    # Codes fitted to a sample of 4096 ≥ 80 K cost about 2 K / 4096 ≤ 2.5 % more, a local optimum some percent, and what came
    # since the last look at most 5 %.
    assert -q.score(x) < 1.15 * best.inertia_


def test_partial_fit_waits_for_distinct_samples(rng):
    few = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], [4, 3, 1], axis=0)
    q = qz.OptimalQuantizer(5, random_state=0)
    for _ in range(2):
        with pytest.warns(ConvergenceWarning, match="Number of distinct clusters \\(3\\) found smaller than n_clusters \\(5\\)"):
            q.partial_fit(few)
        np.testing.assert_array_equal(q.cluster_centers_, [[0, 0], [1, 0], [0, 2]])
        np.testing.assert_allclose(q.weights_, np.array([4, 3, 1]) / 8)
        assert q.distortion_ == 0
    q.partial_fit(rng.normal(size=(8, 2)))
    assert q.cluster_centers_.shape == (5, 2)
    assert q.solution_.trace.clvq_state.seen == pytest.approx(24)


def test_random_states(rng):
    x = rng.normal(size=(200, 2))

    def codes(state):
        return qz.OptimalQuantizer(6, random_state=state).fit(x).cluster_centers_

    np.testing.assert_array_equal(codes(3), codes(3))
    solver = qz.Lloyd(rtol=1e-4)
    ours = qz.OptimalQuantizer(6, random_state=3, solver=solver).fit(x).cluster_centers_
    np.testing.assert_array_equal(ours, qz.quantize(x, 6, rng=3, solver=solver).measure.points)
    np.testing.assert_array_equal(codes(np.random.RandomState(4)), codes(np.random.RandomState(4)))
    np.testing.assert_array_equal(codes(np.random.default_rng(5)), codes(np.random.default_rng(5)))
    assert codes(None).shape == (6, 2)


def test_lives_among_scikit_learns(rng):
    x = rng.normal(size=(120, 2)) * [1, 100]
    pipeline = make_pipeline(StandardScaler(), qz.OptimalQuantizer(3, random_state=0))
    assert set(pipeline.fit_predict(x)) == {0, 1, 2}
    assert list(pipeline[-1].get_feature_names_out()) == [f"optimalquantizer{k}" for k in range(3)]
    search = GridSearchCV(qz.OptimalQuantizer(random_state=0), {"n_clusters": [1, 4]}, cv=2).fit(x)
    assert search.best_params_ == {"n_clusters": 4}
    fitted = qz.OptimalQuantizer(3, init=qz.quantize(x, 3, rng=0), solver=qz.Lloyd(rtol=1e-3)).fit(x)
    assert clone(fitted).solver == fitted.solver
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(x), fitted.predict(x))
    assert repr(qz.OptimalQuantizer(3)) == "OptimalQuantizer(n_clusters=3)"


@pytest.mark.parametrize(
    ("options", "x", "weights", "hint"),
    [
        ({"n_clusters": 4}, np.zeros((3, 2)), None, "n_samples=3 should be >= n_clusters=4"),
        ({"n_clusters": 1, "algorithm": "full"}, np.zeros((3, 2)), None, "algorithm"),
        ({"n_clusters": 1, "tol": -1}, np.zeros((3, 2)), None, "tol"),
        ({"n_clusters": 1, "verbose": -1}, np.zeros((3, 2)), None, "verbose"),
        ({"n_clusters": 1, "n_init": 0}, np.zeros((3, 2)), None, "n_init"),
        ({"n_clusters": 1, "n_init": "many"}, np.zeros((3, 2)), None, "n_init"),
        ({"n_clusters": 1, "max_iter": -1}, np.zeros((3, 2)), None, "max_iter"),
        ({"n_clusters": 1, "init": "kmeans"}, np.zeros((3, 2)), None, "init"),
        ({"n_clusters": 1, "init": qz.RandomPoints}, np.zeros((3, 2)), None, "brackets"),
        ({"n_clusters": 1, "init": lambda X, k, random_state: [[np.nan, 0.0]]}, np.zeros((3, 2)), None, "finite"),
        ({"n_clusters": 0}, np.zeros((3, 2)), None, "n_clusters must be an integer ≥ 1"),
        ({"n_clusters": 1}, np.zeros((3, 2)), np.zeros(3), "must not all be zero"),
        ({"n_clusters": 1}, np.zeros((3, 2)), [-1, 1, 1], "nonnegative"),
        ({"n_clusters": 1}, np.zeros((3, 2)), [1, 1], "shape \\(3,\\)"),
        ({"n_clusters": 1, "random_state": "x"}, np.zeros((3, 2)), None, "rng"),
        ({"n_clusters": 1, "init": [[1.0]]}, np.zeros((3, 2)), None, "init"),
    ],
)
def test_refuses_misuse(options, x, weights, hint):
    with pytest.raises(ValueError, match=hint):
        qz.OptimalQuantizer(**options).fit(x, sample_weight=weights)


def test_fewer_distinct_samples_than_clusters_are_the_codes_and_said():
    """As KMeans does, which scikit-learn's own checks rely on."""
    x = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], 4, axis=0)
    with pytest.warns(ConvergenceWarning, match="Number of distinct clusters \\(3\\) found smaller") as caught:
        fitted = qz.OptimalQuantizer(5).fit(x)
    assert issubclass(caught[0].category, qz.ConvergenceWarning)
    assert fitted.distortion_ == 0
    assert fitted.cluster_centers_.shape == (3, 2)
    np.testing.assert_array_equal(fitted.cluster_centers_[fitted.labels_], x)


def sparse_samples(rng, dtype=np.float64, n=600, d=40):
    x = rng.random((n, d)) * (rng.random((n, d)) < 0.15)
    x[n // 2 :, : d // 2] *= 5
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("weighted", [False, True])
def test_csr_is_as_dense(dtype, index, weighted, rng):
    x = sparse_samples(rng, dtype)
    csr = sparse.csr_array(x)
    csr.indices, csr.indptr = csr.indices.astype(index), csr.indptr.astype(index)
    weights = rng.random(len(x)) if weighted else None
    for options in ({}, {"init": "random", "n_init": 2}, {"init": x[:7].copy()}):
        dense = qz.OptimalQuantizer(7, random_state=1, **options).fit(x, sample_weight=weights)
        ours = qz.OptimalQuantizer(7, random_state=1, **options).fit(csr, sample_weight=weights)
        np.testing.assert_array_equal(ours.labels_, dense.labels_)
        # Sums of at most n terms, in another order: n roundings of float64, and one of the dtype.
        np.testing.assert_allclose(ours.cluster_centers_, dense.cluster_centers_, rtol=4 * np.finfo(dtype).eps, atol=1e-12)
        assert ours.cluster_centers_.dtype == dtype
        assert ours.inertia_ == pytest.approx(dense.inertia_, rel=1e-6 if dtype == np.float32 else 1e-12)
        assert ours.n_iter_ == dense.n_iter_
        np.testing.assert_array_equal(ours.predict(csr), dense.labels_)
        np.testing.assert_allclose(ours.transform(csr), ours.transform(x), rtol=1e-12 + np.finfo(dtype).eps)
        assert ours.score(csr, sample_weight=weights) == pytest.approx(ours.score(x, sample_weight=weights), rel=1e-9)
        np.testing.assert_array_equal(ours.fit_predict(csr, sample_weight=weights), dense.labels_)


def test_csr_with_few_distinct_rows_unsorted_entries_and_other_solvers(rng):
    rows = sparse.csr_array(np.array([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
    csr = sparse.vstack([rows] * 4, format="csr")
    with pytest.warns(ConvergenceWarning, match="distinct"):
        fitted = qz.OptimalQuantizer(5).fit(csr)
    np.testing.assert_array_equal(fitted.cluster_centers_, rows.toarray())
    assert fitted.distortion_ == 0
    unsorted = sparse.csr_array((np.array([1.0, 2.0, 0.5]), np.array([2, 0, 2]), np.array([0, 3, 3])), shape=(2, 3))
    before = unsorted.data.copy()
    np.testing.assert_array_equal(qz.OptimalQuantizer(1).fit(unsorted).cluster_centers_, [[1.0, 0.0, 0.75]])
    np.testing.assert_array_equal(unsorted.data, before)
    x = sparse_samples(rng, n=3000)
    learned = qz.OptimalQuantizer(4, solver=qz.CLVQ(epochs=4), random_state=0).fit(sparse.csr_array(x))
    assert learned.inertia_ < 1.1 * qz.OptimalQuantizer(4, n_init=3, random_state=0).fit(x).inertia_
    streamed = qz.OptimalQuantizer(4, random_state=0)
    for start in range(0, 3000, 500):
        streamed.partial_fit(sparse.csr_array(x[start : start + 500]))
    assert -streamed.score(sparse.csr_array(x)) < 1.15 * learned.inertia_
    with pytest.raises(ValueError, match="Newton"):
        qz.OptimalQuantizer(2, solver=qz.Newton()).fit(sparse.csr_array(x))
    with pytest.raises(ValueError, match="GlobalSearch"):
        qz.OptimalQuantizer(2, init="global").fit(sparse.csr_array(x))


def test_csr_is_never_dense_as_a_whole(rng):
    n, d, k = 20_000, 5_000, 3  # 800 MB, were it dense
    csr = sparse.random_array((n, d), density=0.001, rng=rng, format="csr")
    tracemalloc.start()
    try:
        fitted = qz.OptimalQuantizer(k, random_state=0, max_iter=3).fit(csr)
        fitted.predict(csr), fitted.transform(csr), fitted.score(csr), fitted.fit_predict(csr)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n * d * 8 / 8


def test_callables_and_solutions_as_starts(rng):
    x = rng.normal(size=(300, 2))
    seen = []

    def init(X, n_clusters, random_state):
        seen.append(random_state.uniform())
        return X[random_state.permutation(len(X))[:n_clusters]]

    q = qz.OptimalQuantizer(4, init=init, random_state=0).fit(x)
    assert len(set(seen)) == 10
    np.testing.assert_array_equal(qz.OptimalQuantizer(4, init=init, random_state=0).fit(x).cluster_centers_, q.cluster_centers_)
    again = qz.OptimalQuantizer(4, init=q.solution_).fit(x)
    np.testing.assert_allclose(again.cluster_centers_, q.cluster_centers_, atol=1e-2)
    with pytest.raises(ValueError, match="does not match the number of clusters 5"):
        qz.OptimalQuantizer(5, init=q.solution_).fit(x)


def test_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import quantization as qz\n"
        "try: qz.OptimalQuantizer\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "optimal-quantization[estimator]" in said.stdout
    with pytest.raises(AttributeError, match="no attribute 'OptimalQuantiser'"):
        _ = qz.OptimalQuantiser
