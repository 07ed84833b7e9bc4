"""Barycenters at once are barycenters one by one."""

from typing import Any, cast

import numpy as np
import pytest

import quantization as qz
from quantization.threads import limit_blas_threads


def problems(count, d=2):
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        clouds = [rng.normal(size=(int(rng.integers(5, 30)), d)) for _ in range(2 + i % 2)]
        made.append([qz.DiscreteMeasure(x, rng.dirichlet(np.ones(len(x)))) if i % 3 else x for x in clouds])
    return made


@pytest.mark.parametrize("options", [{}, {"atom_weights": "uniform"}, {"solver": qz.Entropic(), "max_iter": 3}])
@pytest.mark.parametrize("d", [1, 2])
def test_problems_at_once_are_problems_one_by_one_to_the_last_bit(options, d):
    if d == 1 and options.get("solver"):
        options = {}
    given, seeds = problems(6, d), list(range(10, 16))
    together = qz.barycenter_many(given, [2, 3, 4, 5, 3, 2], rng=seeds, **options)
    with limit_blas_threads():
        alone = [qz.barycenter(m, k, rng=s, **options) for m, k, s in zip(given, [2, 3, 4, 5, 3, 2], seeds, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.points, other.points)
        assert np.array_equal(one.weights, other.weights)
        assert one.distortion == other.distortion
        assert one.status is other.status


def test_one_generator_for_all_spawns_one_each():
    given = problems(3)
    together = qz.barycenter_many(given, 3, rng=5)
    rngs = np.random.default_rng(5).spawn(3)
    alone = [qz.barycenter(m, 3, rng=g) for m, g in zip(given, rngs, strict=True)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.points, other.points, rtol=1e-9)


def test_one_set_of_measures_mixed_in_several_ways():
    x = np.array([[[0.0]], [[4.0]]])
    mixings = np.array([[1.0, 0.0], [0.75, 0.25], [0.0, 1.0]])
    found = qz.barycenter_many([x] * 3, 1, mixing=mixings, rng=0)
    np.testing.assert_allclose([float(nu.points[0, 0]) for nu in found], [0, 1, 4], atol=1e-12)
    listed = qz.barycenter_many([x] * 3, 1, mixing=mixings.tolist(), rng=0)
    assert [float(nu.points[0, 0]) for nu in listed] == [float(nu.points[0, 0]) for nu in found]


def test_laws_by_their_limit():
    """The barycenter of two Gaussians on the line is that of the mean of their quantile functions; one point is its mean."""
    (nu,) = qz.barycenter_many([[qz.Gaussian([0.0], [[1.0]]), qz.Gaussian([4.0], [[9.0]])]], 1, rng=0)
    np.testing.assert_allclose(nu.points, [[2.0]], atol=1e-9)
    np.testing.assert_allclose(nu.distortion, 2**2 + (1 + 9) / 2, rtol=1e-6)  # the squared offsets and all variance


def test_too_many_atoms_raise_or_are_fewer():
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 2))
    with pytest.raises(ValueError, match=r"^problem 1: k = 9 atoms are more than the 8 points"):
        qz.barycenter_many(x, [8, 9], rng=0)
    with pytest.warns(qz.ConvergenceWarning, match="problem 1 has 8 points, fewer than k = 9"):
        found = qz.barycenter_many(x, [8, 9], rng=0, on_error="fewer")
    assert [len(nu.points) for nu in found] == [8, 8]


def test_refuses_misuse_before_any_work(monkeypatch):
    monkeypatch.setattr("quantization.barycenters.many.solve_tasks", lambda tasks: pytest.fail("solved"))
    x = np.random.default_rng(0).normal(size=(2, 2, 5, 2))
    for call, hint in (
        (lambda: qz.barycenter_many(x[0], 2), r"problems must be a list of lists.*\(2, 5, 2\)"),
        (lambda: qz.barycenter_many(x, [2]), "k must be one for all or one per problem, 2 of them; received 1"),
        (lambda: qz.barycenter_many(x, 2, rng=[0]), "rng must be one for all"),
        (lambda: qz.barycenter_many(x, 2, mixing=[[1.0]] * 3), "mixing must be one for all"),
        (lambda: qz.barycenter_many(x, 2, mixing=[0.5, 0.2]), "^problem 0: mixing"),
        (lambda: qz.barycenter_many([x[0], []], 2), "^problem 1: measures must not be empty"),
        (lambda: qz.barycenter_many(x, 2, on_error=cast(Any, "warn")), 'on_error must be "raise" or "fewer"'),
    ):
        with pytest.raises(ValueError, match=hint):
            call()


def test_none_are_none():
    assert qz.barycenter_many([], 3) == []
