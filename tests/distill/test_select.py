import numpy as np
import pytest
import torch

import quantization as qz
from distill.recipe import RecipeError, Select, read
from distill.stages.codebooks import _on_host, nearest_distinct, quantized
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


def test_a_start_at_codes_of_equal_masses_ends_no_farther_than_these_and_closer_than_others_where_codes_are_many():
    points = np.random.default_rng(0).normal(size=(200, 20))
    found = {
        init: quantized(
            [lambda: points], [40, 5], [0, 1], Select(k=[40, 5], solver="lloyd", batch=8, max_iter=300, init=init), "cpu"
        )
        for init in ("k-means++", "balanced")
    }
    equal = qz.quantize(points, 40, masses="uniform", max_iter=300, rng=0)
    first = {init: qz.distortion(points, codes[0].points).value for init, codes in found.items()}
    assert first["balanced"] <= qz.distortion(points, equal.points).value <= equal.distortion
    assert first["balanced"] < first["k-means++"]
    assert [len(measure.points) for measure in found["balanced"]] == [40, 5]
    few = Select(k=4, solver="lloyd", batch=8, max_iter=9, n_init=2, init="balanced")
    (codes,) = quantized([lambda: np.repeat(np.eye(3), 5, 0)], [4], [0], few, "cpu")
    assert sorted(codes.points.tolist()) == sorted(np.eye(3).tolist())  # fewer, as there are three distinct images


def test_a_stream_can_not_start_at_codes_of_equal_masses():
    changes = ["select.streaming=true", 'select.init="balanced"']
    with pytest.raises(RecipeError, match=r"select\.init = balanced needs all points of a class at once"):
        read("digits", changes)
