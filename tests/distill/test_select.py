import numpy as np
import pytest
import torch

import quantization as qz
from distill.stages.codebooks import _on_host, nearest_distinct
from distill.stages.space import flat


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n", "k", "d"), [(30, 5, 3), (8, 8, 2), (20, 1, 4), (12, 12, 1)])
def test_the_nearest_of_those_left_by_brute_force(seed, n, k, d):
    rng = np.random.default_rng(seed)
    latents, codes = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    left, expected = list(range(n)), []
    for code in codes:
        best = min(left, key=lambda i: (((latents[i] - code) ** 2).sum(), i))
        left.remove(best)
        expected.append(best)
    assert nearest_distinct(latents, codes).tolist() == expected


def test_equal_codes_take_different_latents():
    latents = np.arange(10.0)[:, None]
    assert nearest_distinct(latents, np.full((4, 1), 3.1)).tolist() == [3, 4, 2, 5]


def test_of_equally_near_latents_the_first_is_taken_and_none_twice():
    latents = np.zeros((5, 2))
    assert nearest_distinct(latents, np.ones((5, 2))).tolist() == [0, 1, 2, 3, 4]


def test_latents_themselves_are_found():
    latents = np.random.default_rng(0).normal(size=(40, 6))
    chosen = np.random.default_rng(1).permutation(40)[:15]
    assert nearest_distinct(latents, latents[chosen]).tolist() == chosen.tolist()


def test_latents_become_points_of_double_precision_in_their_order():
    latents = torch.arange(24.0).reshape(2, 3, 2, 2)
    points = flat(latents)
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, np.arange(24.0).reshape(2, 12))


def test_codes_of_a_gpu_keep_their_masses():
    """Shown in float32, which a GPU's codes are of, weights no longer sum to 1 in float64."""
    found = qz.DiscreteMeasure.from_unnormalized(torch.randn(7, 3), np.random.default_rng(0).random(7))
    host = _on_host(found)
    np.testing.assert_array_equal(host.weights_float64, found.weights_float64.numpy())
    np.testing.assert_array_equal(host.points, found.points.double().numpy())
