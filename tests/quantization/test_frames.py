"""Data frames, lists and tensors that require a gradient: taken as the numbers they hold, or refused by the column."""

import warnings

import numpy as np
import pytest
import scipy.sparse
import torch

import quantization as qz

pandas = pytest.importorskip("pandas")

X = np.random.default_rng(0).normal(size=(40, 2))


def same(law, other, **options):
    a, b = qz.quantize(law, 3, rng=0, **options), qz.quantize(other, 3, rng=0, **options)
    np.testing.assert_array_equal(a.points, b.points)
    assert a.points.dtype == b.points.dtype


def test_frames_are_their_numbers():
    same(pandas.DataFrame(X, columns=["a", "b"]), X)
    same(pandas.DataFrame(X.astype(np.float32)), X.astype(np.float32))
    whole = np.arange(80).reshape(40, 2) ** 2
    same(pandas.DataFrame(whole), whole)
    same(pandas.DataFrame(whole).astype({0: "Int64", 1: "float32"}), whole.astype(np.float64))
    same(pandas.DataFrame(whole).astype("float64[pyarrow]"), whole.astype(np.float64)) if _has_arrow() else None
    same(pandas.DataFrame({"a": X[:, 0], "b": X[:, 0] > 0}), np.stack([X[:, 0], X[:, 0] > 0], axis=1))
    same(X.tolist(), X)
    assert qz.quantize(pandas.DataFrame(X), 2, init=pandas.DataFrame(X[:2]), rng=0).points.shape == (2, 2)
    assert [len(s.points) for s in qz.quantize_many([pandas.DataFrame(X), X], 2, rng=0)] == [2, 2]


def _has_arrow():
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def test_series_are_weights_and_columns():
    counts = pandas.Series(np.arange(1, 41))
    a, b = (
        qz.DiscreteMeasure.from_unnormalized(pandas.DataFrame(X), counts),
        qz.DiscreteMeasure.from_unnormalized(X, counts.values),
    )
    np.testing.assert_array_equal(a.weights, b.weights)
    with pytest.raises(ValueError, match=r"received shape \(40,\); write x\.to_frame\(\)"):
        qz.quantize(counts, 2, rng=0)
    same(counts.to_frame(), counts.values[:, None])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["x"] * 40, r"received a DataFrame with 'c' \((str|object|string)\)\. Drop, encode or convert"),
        (pandas.date_range("2020-01-01", periods=40), r"'c' \(datetime64"),
        (pandas.Categorical(["u", "v"] * 20), r"'c' \(category\)"),
        (X[:, 0] + 1j, r"'c' \(complex128\)"),
    ],
)
def test_columns_of_anything_else_are_named(column, words):
    with pytest.raises(ValueError, match=words):
        qz.quantize(pandas.DataFrame({"a": X[:, 0], "c": column}), 2, rng=0)


def test_missing_numbers_are_counted():
    frame = pandas.DataFrame({"a": [1, 2, None, 4]}, dtype="Int64")
    with pytest.raises(ValueError, match="received 1 of 4 rows with NaN"):
        qz.quantize(frame, 2, rng=0)
    with pytest.raises(ValueError, match=r"integers beyond 2\^53"):
        qz.quantize(pandas.DataFrame({"a": [2**60, 2**60 + 1, 3]}), 2, rng=0)


class PolarsLike:
    """As polars has it: dtypes in a list, each with ``is_numeric``."""

    class Type:
        def __init__(self, name):
            self.name = name

        def is_numeric(self):
            return self.name in ("Float64", "Int32")

        def __repr__(self):
            return self.name

    def __init__(self, **columns):
        self.columns, self._columns = list(columns), columns
        kinds = {"f": "Float64", "i": "Int32", "b": "Boolean", "U": "String"}
        self.dtypes = [self.Type(kinds[np.asarray(c).dtype.kind]) for c in columns.values()]

    def to_numpy(self):
        return np.column_stack([np.asarray(c) for c in self._columns.values()])

    def __array__(self, dtype=None, copy=None):
        return self.to_numpy()


def test_frames_of_the_kind_of_polars():
    same(PolarsLike(a=X[:, 0], b=X[:, 1]), X)
    same(PolarsLike(a=X[:, 0], b=X[:, 1] > 0), np.column_stack([X[:, 0], X[:, 1] > 0]))
    with pytest.raises(ValueError, match=r"received a PolarsLike with 'b' \(String\)"):
        qz.quantize(PolarsLike(a=X[:, 0], b=["x"] * 40), 2, rng=0)


def test_polars_frames():
    polars = pytest.importorskip("polars")
    same(polars.DataFrame({"a": X[:, 0], "b": X[:, 1]}), X)
    with pytest.raises(ValueError, match=r"'c' \(String\)"):
        qz.quantize(polars.DataFrame({"a": X[:, 0], "c": ["x"] * 40}), 2, rng=0)


def test_a_lost_gradient_is_told():
    x = torch.tensor(X, requires_grad=True)
    with pytest.warns(UserWarning, match=r"points require a gradient.*no gradient flows through it\. Pass points\.detach\(\)"):
        solution = qz.quantize(x, 3, rng=0)
    assert not solution.points.requires_grad
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            qz.DiscreteMeasure(x)
    assert len(told) <= 1  # once a place, as Python has it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detached = qz.quantize(x.detach(), 3, rng=0)
        with torch.no_grad():
            qz.quantize(x.clone(), 3, rng=0)
    assert bool((detached.points == solution.points).all())


def test_the_way_round_a_sparse_matrix_that_the_error_names_works():
    x = scipy.sparse.csc_array(X)
    with pytest.raises(ValueError, match=r"or for quantize .* a CSR matrix; received csc_array. Write points.tocsr\(\)"):
        qz.quantize(x, 2, max_iter=3, rng=0)
    assert qz.quantize(x.tocsr(), 2, max_iter=3, rng=0).points.shape == (2, 2)
