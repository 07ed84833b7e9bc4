"""A user's own law, solver, start, step schedule and transport method, of only what each protocol asks for."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import quantization as qz
from quantization.optimal_transport.coupling import TransportResult
from quantization.solvers.base import State

X = np.random.default_rng(0).normal(size=(300, 2))


class Circle:
    def sample(self, n, rng):
        angle = rng.uniform(0, 2 * np.pi, n)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)


class Halfway:
    """Half of the way to the centroids at every step, twenty times."""

    rtol = 1e-6
    exhausted = qz.Status.BUDGET_SPENT

    def incompatibility(self, problem):
        return "Halfway is for samples" if problem.measure is None else None

    def solve(self, problem, codes, rng):
        for _ in range(20):
            cells = problem.exact.cells(codes)
            yield State(codes, cells.masses, cells.distortion, cells.stationarity)
            codes = (codes + cells.means) / 2


@dataclass(frozen=True)
class FirstPoints:
    """The first k points."""

    def check(self, problem):
        if problem.measure is None:
            raise ValueError("FirstPoints is for samples")

    def draw(self, problem, rng):
        return problem.measure.points[: problem.k]


@dataclass(frozen=True)
class Harmonic:
    """The running mean of what a code has won."""

    def steps(self, n, won, counts, size):
        return np.where(won > 0, won / np.maximum(counts + won, 1), 0.0)


class Independent:
    """The product of the measures: a feasible plan, and no better bound than zero."""

    calls: ClassVar[list[float]] = []

    def couple(self, source, target, r):
        self.calls.append(r)
        plan = np.outer(source.weights_float64, target.weights_float64)
        costs = np.linalg.norm(source.points[:, None] - target.points[None], axis=2) ** r
        zeros = np.zeros(source.size), np.zeros(target.size)
        return TransportResult(float((plan * costs).sum()), *zeros, qz.Status.CONVERGED, plan=plan)


def test_a_law():
    assert isinstance(Circle(), qz.Law)
    solution = qz.quantize(Circle(), 1, max_iter=50, rng=0)
    # The best code of the circle is its centre, at a distortion of 1.
    assert abs(solution.distortion - 1) < 0.01 + 6 * solution.distortion_se


def test_a_solver():
    solution = qz.quantize(X, 3, solver=Halfway(), init=X[:3], rng=0)
    assert (solution.status, solution.n_iter) == (qz.Status.BUDGET_SPENT, 19)
    assert (np.diff(solution.trace.distortion) <= 0).all()
    assert solution.distortion == pytest.approx(qz.distortion(X, solution).value, rel=1e-12)
    assert [s.n_iter for s in qz.iterate(X, 3, solver=Halfway(), max_iter=4, rng=0)] == [0, 1, 2, 3, 4]
    assert len(qz.quantize_many([X, X + 1], 3, solver=Halfway(), n_init=2, rng=0)) == 2
    with pytest.raises(ValueError, match="Halfway is for samples"):
        qz.quantize(Circle(), 3, solver=Halfway(), rng=0)


def test_an_initialization():
    start = next(iter(qz.iterate(X, 4, init=FirstPoints(), rng=0)))
    np.testing.assert_array_equal(start.points, X[:4])
    assert qz.quantize(X, 4, init=FirstPoints(), rng=0).converged
    assert len(qz.quantize_many([X, X], 4, init=[FirstPoints(), None], rng=0)) == 2
    with pytest.raises(ValueError, match="FirstPoints is for samples"):
        qz.quantize(Circle(), 4, init=FirstPoints(), rng=0)


def test_a_schedule():
    solver = qz.CLVQ(batch=50, epochs=2, schedule=Harmonic(), relocate=False)
    solution = qz.quantize(X, 1, solver=solver, rng=0)
    # A single code is the running mean, which after each pass is the mean of all.
    np.testing.assert_allclose(solution.trace.clvq_state.codes[0], X.mean(0), atol=1e-12)


def test_a_transport_method():
    mu, nu = qz.DiscreteMeasure(X[:5]), qz.DiscreteMeasure(X[5:12])
    coupling = qz.transport(mu, nu, r=1, method=Independent())
    assert Independent.calls[-1] == 1
    np.testing.assert_allclose(coupling.plan.sum(1), mu.weights, rtol=1e-12)
    assert coupling.cost >= qz.transport(mu, nu, r=1).cost
    assert qz.wasserstein(mu, nu, method=Independent()) >= qz.wasserstein(mu, nu)
