import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import quantization as qz

EPS = np.finfo(np.float64).eps
everyday = settings(deadline=None, max_examples=25, derandomize=True)
masses = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e300, allow_subnormal=False)).filter(
    lambda m: m.max() > 0
)


@pytest.mark.parametrize(
    ("points", "weights", "hint"),
    [
        ([0.0, 1.0], None, "x\\[:, None\\] for points on the line"),
        (np.zeros((2, 2, 2)), None, "shape \\(n, d\\)"),
        (np.zeros((0, 2)), None, "n, d ≥ 1"),
        (np.zeros((2, 0)), None, "n, d ≥ 1"),
        ([[np.nan], [1.0], [np.inf]], None, "2 of 3 rows"),
        ([[1j], [0]], None, "real numbers"),
        ([["a"], ["b"]], None, "real numbers"),
        ([[1.0, 2.0], [3.0]], None, "real numbers"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), None, "real numbers"),
        (torch.zeros(2, 1, dtype=torch.complex64), None, "real"),
        (torch.tensor([[np.nan], [1.0]]), None, "1 of 2 rows"),
        ([[0.0], [1.0]], [0.5, -0.5], "nonnegative"),
        ([[0.0], [1.0]], [np.nan, 1.0], "finite"),
        ([[0.0], [1.0]], [np.inf, 1.0], "finite"),
        ([[0.0], [1.0]], [0.0, 0.0], "not all be zero"),
        ([[0.0], [1.0]], [0.5, 0.6], "from_unnormalized"),
        ([[0.0], [1.0]], [1.0], "shape \\(2,\\)"),
        ([[0.0], [1.0]], [[0.5], [0.5]], "shape \\(2,\\)"),
        ([[0.0], [1.0]], 1.0, "shape \\(2,\\)"),
    ],
)
def test_refuses_what_is_no_probability_measure(points, weights, hint):
    with pytest.raises(ValueError, match=hint):
        qz.DiscreteMeasure(points, weights)


@pytest.mark.parametrize("bad", [[-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0], [1.0, 2.0, 3.0]])
def test_from_unnormalized_refuses_bad_counts(bad):
    with pytest.raises(ValueError, match="weights must"):
        qz.DiscreteMeasure.from_unnormalized([[0.0], [1.0]], bad)


@everyday
@given(masses)
def test_from_unnormalized_normalizes(m):
    mu = qz.DiscreteMeasure.from_unnormalized(np.arange(len(m), dtype=float)[:, None], m)
    # Two divisions and a pairwise sum of at most 40 terms: each good to a few units of round-off.
    assert abs(mu.weights.sum() - 1) <= 8 * EPS
    ratio = m / m.max()
    np.testing.assert_allclose(mu.weights, ratio / ratio.sum(), rtol=8 * EPS, atol=1e-300)


@everyday
@given(masses)
def test_normalized_weights_stay_the_same_to_the_last_bit(m):
    mu = qz.DiscreteMeasure.from_unnormalized(np.arange(len(m), dtype=float)[:, None], m)
    again = qz.DiscreteMeasure(mu.points, mu.weights)
    np.testing.assert_array_equal(again.weights, mu.weights)


KINDS = [
    (np.float16, np.float16),
    (np.float32, np.float32),
    (np.float64, np.float64),
    (np.int64, np.float64),
    (np.uint8, np.float64),
    (bool, np.float64),
    (torch.float16, torch.float16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
    (torch.int64, torch.float64),
    (torch.bool, torch.float64),
]


def of_kind(values, dtype):
    return torch.tensor(values).to(dtype) if isinstance(dtype, torch.dtype) else np.asarray(values).astype(dtype)


@pytest.mark.parametrize(("given_dtype", "kept"), KINDS)
def test_keeps_library_and_dtype_through_every_operation(given_dtype, kept, rng):
    points = of_kind([[0, 0], [1, 0], [1, 1]], given_dtype)
    mu = qz.DiscreteMeasure(points, [0.25, 0.25, 0.5])
    for array in (mu.points, mu.weights, mu.project(points[:2]).points, mu.project(points[:2]).weights, mu.sample(5, rng)):
        assert type(array) is type(points)
        assert array.dtype == kept
    assert mu.weights_float64.dtype == (torch.float64 if isinstance(kept, torch.dtype) else np.float64)
    labels = mu.assign(points)
    assert type(labels) is type(points)
    assert labels.tolist() == [0, 1, 2]
    sol = qz.quantize(points, 2, rng=0)
    assert type(sol.measure.points) is type(points)
    assert sol.measure.points.dtype == sol.measure.weights.dtype == kept


def test_whole_numbers_beyond_float64_may_be_counts_but_not_points():
    big = [2**62 + 1, 2**62, 0]
    for masses in (np.array(big), torch.tensor(big), np.array(big, np.uint64)):
        np.testing.assert_array_equal(
            qz.DiscreteMeasure.from_unnormalized([[0.0], [1.0], [2.0]], masses).weights, [0.5, 0.5, 0.0]
        )
        with pytest.raises(ValueError, match=r"integers beyond 2\^53.*received 0 to 4611686018427387905"):
            qz.DiscreteMeasure(masses[:, None])
    for points in (np.array([[2**53], [2**53 + 1]]), [[2**64 + 1], [2**64 + 2]], np.array([[2**53 + 1], [0]], object)):
        with pytest.raises(ValueError, match=r"integers beyond 2\^53"):
            qz.DiscreteMeasure(points)
    assert qz.DiscreteMeasure(np.array([[2**60], [0]], object)).size == 2
    for largest in (np.array([[2**63 - 1], [0]]), torch.tensor([[2**63 - 1], [0]]), np.array([[2**64 - 1], [0]], np.uint64)):
        with pytest.raises(ValueError, match=r"integers beyond 2\^53"):
            qz.DiscreteMeasure(largest)
    with pytest.raises(ValueError, match="weights must be an array of real numbers"):
        qz.DiscreteMeasure([[0.0], [1.0]], ["a", "b"])
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        qz.DiscreteMeasure(np.array([2**62 + 1, 3]))


def test_long_doubles_become_doubles():
    assert qz.DiscreteMeasure(np.zeros((2, 1), dtype=np.longdouble)).points.dtype == np.float64


def test_half_precision_weights_do_not_leak_into_sums():
    n = 200_000  # 1/n is 5e-6: in float16 a multiple of 6e-8, so off by up to 0.6 %
    points = (np.arange(n)[:, None] % 2).astype(np.float16)
    mu = qz.DiscreteMeasure(points)
    assert abs(float(mu.weights.astype(np.float64).sum()) - 1) > 1e-4
    assert qz.distortion(points, np.zeros((1, 1)), rng=0).value == pytest.approx(0.5, rel=1e-12)
    again = qz.DiscreteMeasure(mu.points, mu.weights)  # its own weights are accepted back
    assert float(again.weights_float64.sum()) == pytest.approx(1, rel=1e-12)


def test_weights_are_not_shared_with_the_caller():
    w = np.array([0.5, 0.5])
    mu = qz.DiscreteMeasure([[0.0], [1.0]], w)
    w[:] = 7
    assert mu.weights.tolist() == [0.5, 0.5]


def test_project_keeps_order_and_empty_cells():
    mu = qz.DiscreteMeasure([[0.0], [1.0], [2.0], [10.0]], [0.125, 0.25, 0.125, 0.5])
    nu = mu.project([[9.0], [-50.0], [1.0]])
    np.testing.assert_array_equal(nu.points, [[9.0], [-50.0], [1.0]])
    np.testing.assert_array_equal(nu.weights, [0.5, 0.0, 0.5])


def test_assign_gives_ties_and_duplicates_to_the_lowest_index():
    mu = qz.DiscreteMeasure([[1.0], [-1.0], [1.0], [-1.0]])
    assert mu.assign([[0.0], [1.0], [-1.0], [-0.5]]).tolist() == [0, 0, 1, 1]


@everyday
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-4, 4)),
    hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(-4, 4)),
)
def test_projection_is_the_brute_one_on_a_lattice_full_of_ties(brute, points, codes):
    # Small integers: every squared distance is exact, so labels and masses must agree exactly with the brute ones.
    mu = qz.DiscreteMeasure(points)
    truth = brute.voronoi(points, mu.weights, codes)
    np.testing.assert_array_equal(qz.DiscreteMeasure(codes).assign(points), truth.labels)
    np.testing.assert_allclose(mu.project(codes).weights, truth.masses, rtol=0, atol=64 * EPS)


def test_refuses_another_space_or_library():
    mu = qz.DiscreteMeasure(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="dimension 2"):
        mu.assign(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="one array library"):
        mu.project(torch.zeros(3, 2))


def test_expect():
    mu = qz.DiscreteMeasure([[1.0, 2.0], [3.0, 4.0]], [0.25, 0.75])
    np.testing.assert_array_equal(mu.expect(lambda x: x), [2.5, 3.5])
    assert float(mu.expect(lambda x: x[:, 0] > 2)) == 0.75
    assert mu.expect(lambda x: x[:, :, None] * x[:, None, :]).shape == (2, 2)
    assert complex(mu.expect(lambda x: np.exp(1j * x[:, 0]))) == pytest.approx(0.25 * np.exp(1j) + 0.75 * np.exp(3j), rel=4 * EPS)
    with pytest.raises(ValueError, match="one value per point"):
        mu.expect(lambda x: 1.0)
    with pytest.raises(ValueError, match="one value per point"):
        mu.expect(lambda x: x.sum(0)[:1])


def test_expect_on_torch_in_float64():
    mu = qz.DiscreteMeasure(torch.tensor([[1.0], [3.0]]), [0.25, 0.75])
    value = mu.expect(lambda x: x[:, 0])
    assert isinstance(value, torch.Tensor)
    assert value.dtype == torch.float64
    assert float(value) == 2.5
    assert mu.expect(lambda x: torch.exp(1j * x)).dtype == torch.complex128


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_sample_follows_the_weights(library, rng):
    mu = qz.DiscreteMeasure(library([[0.0], [1.0], [2.0]]), [0.2, 0.0, 0.8])
    draws = mu.sample(10_000, rng)
    assert draws.shape == (10_000, 1)
    assert not (draws == 1).any()
    # Six standard deviations of a binomial share.
    assert abs(float((draws == 2).mean(dtype=draws.dtype if library is np.asarray else torch.float64)) - 0.8) < 6 * 0.4 / 100


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_save_and_load_round_trip(tmp_path, dtype, rng):
    mu = qz.DiscreteMeasure.from_unnormalized(of_kind(rng.normal(size=(7, 3)), dtype), rng.random(7))
    path = tmp_path / "measure.qz"
    mu.save(path)
    back = qz.DiscreteMeasure.load(path)
    expected = mu.points.float().numpy() if dtype == torch.bfloat16 else np.asarray(mu.points)
    np.testing.assert_array_equal(back.points, expected)
    assert back.points.dtype == expected.dtype
    np.testing.assert_array_equal(back.weights_float64, np.asarray(mu.weights_float64))
    assert os.listdir(tmp_path) == ["measure.qz"]


def test_save_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    qz.DiscreteMeasure([[1.0]]).save(path)

    def fails(file, **arrays):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        qz.DiscreteMeasure([[2.0]]).save(path)
    monkeypatch.undo()
    assert qz.DiscreteMeasure.load(path).points.tolist() == [[1.0]]
    assert os.listdir(tmp_path) == ["m.npz"]


def test_load_refuses_pickles_and_other_files(tmp_path):
    np.savez(tmp_path / "objects.npz", points=np.array([{}], dtype=object), weights=np.ones(1))
    with pytest.raises(ValueError, match="pickle"):
        qz.DiscreteMeasure.load(tmp_path / "objects.npz")
    np.savez(tmp_path / "other.npz", points=np.ones((1, 1)))
    with pytest.raises(ValueError, match="holds no weights"):
        qz.DiscreteMeasure.load(tmp_path / "other.npz")
    np.save(tmp_path / "array.npy", np.ones((1, 1)))
    with pytest.raises(ValueError, match="holds no points and no weights"):
        qz.DiscreteMeasure.load(tmp_path / "array.npy")


def test_is_frozen_and_says_what_it_is():
    mu = qz.DiscreteMeasure([[1.0, 2.0]])
    with pytest.raises(AttributeError):
        mu.points = None
    assert repr(mu) == "DiscreteMeasure(1 points in R^2, float64)"
    assert (mu.size, mu.dim) == (1, 2)


def test_gradients_stay_outside():
    x = torch.ones(3, 2, requires_grad=True)
    mu = qz.DiscreteMeasure(x)
    assert not mu.points.requires_grad
    assert mu.graph[0] is x  # which distances are differentiable in
    assert mu.graph[1] is None
