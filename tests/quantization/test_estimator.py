import pickle
import subprocess
import sys

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


@pytest.mark.filterwarnings("ignore:X has .* distinct samples")  # as some of the checks have
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
    theirs = KMeans(5, init=start, n_init=1, tol=0, max_iter=300).fit(x, sample_weight=weights)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    assert ours.score(x, sample_weight=weights) == pytest.approx(-ours.inertia_, rel=1e-12)
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), rtol=1e-3, atol=1e-4)
    assert ours.transform(x).dtype == ours.cluster_centers_.dtype == dtype
    direct = qz.quantize(qz.DiscreteMeasure.from_unnormalized(x, weights), 5, init=start, rng=0)
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
    np.testing.assert_allclose(q.transform(x) ** 2, brute.squared(x, q.cluster_centers_), rtol=1e-12)
    np.testing.assert_array_equal(qz.OptimalQuantizer(7, random_state=1).fit_transform(x), q.transform(x))


def test_partial_fit_is_one_long_run(rng):
    chunks = [rng.normal(size=(n, 2)) * [1, 3] for n in (700, 1300, 40, 2000)]
    q = qz.OptimalQuantizer(6, random_state=2)
    rng_again, solution = np.random.default_rng(2), None
    for chunk in chunks:
        assert q.partial_fit(chunk) is q
        stream = qz.Stream(np.array_split(rng_again.permutation(chunk), -(-len(chunk) // 1024)))
        solution = qz.quantize(stream, 6, solver=qz.CLVQ(epochs=1), init=solution, rng=rng_again)
        np.testing.assert_array_equal(q.cluster_centers_, solution.measure.points)
        np.testing.assert_array_equal(q.labels_, q.predict(chunk))
        assert q.inertia_ == pytest.approx(-q.score(chunk), rel=1e-12)
    assert solution.trace.clvq_state.seen == pytest.approx(4040)
    np.testing.assert_array_equal(q.weights_, solution.trace.companion)
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


def test_random_states(rng):
    x = rng.normal(size=(200, 2))

    def codes(state):
        return qz.OptimalQuantizer(6, random_state=state).fit(x).cluster_centers_

    np.testing.assert_array_equal(codes(3), codes(3))
    np.testing.assert_array_equal(codes(3), qz.quantize(x, 6, rng=3).measure.points)
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
        ({"n_clusters": 2, "init": qz.RandomPoints()}, np.zeros((3, 2)), None, "distinct points"),
        ({"n_clusters": 0}, np.zeros((3, 2)), None, "n_clusters must be an integer ≥ 1"),
        ({"n_clusters": 1}, np.zeros((3, 2)), np.zeros(3), "zero weights"),
        ({"n_clusters": 1}, np.zeros((3, 2)), [-1, 1, 1], "nonnegative|negative|≥ 0"),
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
    with pytest.warns(ConvergenceWarning, match="X has 3 distinct samples of positive weight, fewer than n_clusters = 5"):
        fitted = qz.OptimalQuantizer(5).fit(x)
    assert fitted.distortion_ == 0
    assert fitted.cluster_centers_.shape == (3, 2)
    np.testing.assert_array_equal(fitted.cluster_centers_[fitted.labels_], x)


def test_refuses_sparse_matrices():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        qz.OptimalQuantizer(1).fit(sparse.csr_array(np.eye(3)))


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
