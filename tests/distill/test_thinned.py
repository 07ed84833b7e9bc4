"""Real images by kernel thinning: nearer to the class than random ones, as its kernel measures; a missing library."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from distill.recipe import RecipeError
from distill.stages import thinned
from distill.stages.draw import Draw
from distill.stages.thinned import ThinnedStage


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def stage_of(points):
    stage = ThinnedStage.__new__(ThinnedStage)
    stage.space = SimpleNamespace(points=lambda read, index: points)
    stage.data = SimpleNamespace(index_of=lambda part: 0)
    stage.size = lambda read, part, draw: min(draw.k, len(points))
    return stage


def mmd(points, chosen):
    """The squared maximum mean discrepancy of equally weighted points to all."""
    kernel = np.exp(-cdist(points, points, "sqeuclidean") / (2 * np.median(pdist(points)) ** 2))
    return kernel.mean() - 2 * kernel[chosen].mean() + kernel[np.ix_(chosen, chosen)].mean()


def test_thinned_images_are_nearer_to_the_class_than_random_ones(rng):
    pytest.importorskip("goodpoints", reason="goodpoints is installed by its users: it has no wheels")
    points = rng.normal(size=(700, 6)) + 3 * rng.integers(0, 3, size=(700, 1))
    stage = stage_of(points)
    found = [stage.indices("0000-a", Draw(20, seed), None) for seed in range(5)]
    assert all(len(np.unique(each)) == 20 for each in found)
    np.testing.assert_array_equal(found[0], stage.indices("0000-a", Draw(20, 0), None))
    assert not np.array_equal(found[0], found[1])
    random = [mmd(points, rng.choice(700, 20, replace=False)) for _ in range(200)]
    assert max(mmd(points, each) for each in found) < np.median(random)
    assert np.mean([mmd(points, each) for each in found]) < 0.5 * np.mean(random)


@pytest.mark.parametrize(("n", "k"), [(5, 5), (7, 4), (3, 1)])
def test_few_images_are_thinned_to_as_many_as_are_asked_for(n, k, rng):
    pytest.importorskip("goodpoints", reason="goodpoints is installed by its users: it has no wheels")
    found = stage_of(rng.normal(size=(n, 2))).indices("0000-a", Draw(k, 0), None)
    assert len(np.unique(found)) == k
    assert found.max() < n


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(thinned, "find_spec", lambda name: None)
    monkeypatch.setattr(ThinnedStage.__mro__[1], "__init__", lambda self, *stages: None)
    with pytest.raises(RecipeError, match="pip install goodpoints"):
        ThinnedStage()


def test_as_many_images_as_a_power_of_two_allows_are_thinned_by_a_kernel_of_their_median_distance(rng, monkeypatch):
    points, asked = rng.normal(size=(700, 3)), []

    def thin_K(split, swap, halvings, *, seed):
        asked.append((split, swap, halvings, seed))
        return np.arange(0, len(split), 2**halvings)

    monkeypatch.setattr(thinned, "import_module", lambda name: SimpleNamespace(thin_K=thin_K))
    found = stage_of(points).indices("0000-a", Draw(20, 0), None)
    ((split, swap, halvings, seed),) = asked
    assert (halvings, split.shape) == (5, (640, 640))  # 20 · 2^5 of 700
    assert split is not swap
    assert 0 <= seed < 2**32
    assert len(found) == 20
    distances = -np.log(split[np.triu_indices(640, 1)])  # |x − y|² / 2 h²
    assert np.median(np.sqrt(2 * distances)) == pytest.approx(1, rel=1e-9)
