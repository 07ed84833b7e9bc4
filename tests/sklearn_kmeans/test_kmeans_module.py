"""scikit-learn's own tests of KMeans, with OptimalQuantizer in its place.

The test module of the installed scikit-learn is loaded with ``sklearn.cluster.KMeans`` replaced, and its tests are collected
here. Those of MiniBatchKMeans and of private functions run as they are.
"""

import importlib.util
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import sklearn.cluster
from sklearn.cluster import _kmeans

import quantization as qz

EXCLUDED = {
    "test_sample_weight_init": "calls the private method _init_centroids",
    "test_sample_weight_zero": "calls the private method _init_centroids",
}


def _load():
    path = Path(sklearn.cluster.__file__).parent / "tests" / "test_k_means.py"
    spec = importlib.util.spec_from_file_location("sklearn_kmeans_tests", path)
    module = importlib.util.module_from_spec(spec)
    with patch.object(sklearn.cluster, "KMeans", qz.OptimalQuantizer):
        spec.loader.exec_module(module)
    return module


module = _load()
TESTS = {name: test for name, test in vars(module).items() if name.startswith("test_")}
globals().update({name: test for name, test in TESTS.items() if name not in EXCLUDED})
pytestmark = pytest.mark.filterwarnings("default")  # as in scikit-learn, whose tests are not run with warnings as errors


@pytest.fixture(autouse=True)
def kmeans_replaced(monkeypatch):
    """For functions of scikit-learn's that make a KMeans themselves."""
    monkeypatch.setattr(_kmeans, "KMeans", qz.OptimalQuantizer)


@pytest.fixture(params=[42, 7])
def global_random_seed(request):
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def global_dtype(request):
    return request.param


def test_the_class_is_swapped_in_and_the_excluded_tests_exist():
    assert module.KMeans is qz.OptimalQuantizer
    assert set(EXCLUDED) <= set(TESTS)
    assert len(EXCLUDED) <= 10
