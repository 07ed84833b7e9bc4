"""Newton's own behaviour, on laws written out by hand: what it needs of a law, and how it ends."""

import numpy as np
import pytest
from scipy import sparse

import quantization as qz
from quantization.assignment.cells import Cells, stationarity
from quantization.exact_law import has_hessian
from quantization.make_problem import exact_law
from quantization.problem import Problem
from quantization.solvers.newton import Newton


class UnitInterval:
    """U[0,1], r = 2, in closed form: a cell [a, b] holds b - a, its mean is (a + b)/2."""

    def __init__(self, noise=0.0):
        self.asked, self.noise = 0, noise

    def cells(self, codes):
        self.asked += 1
        x = codes[:, 0]
        if (np.diff(x) <= 0).any():  # out of order: some cell is empty
            return Cells(np.zeros(len(x)), codes, np.zeros_like(codes), np.inf, np.inf)
        edges = np.concatenate([[0], np.clip((x[1:] + x[:-1]) / 2, 0, 1), [1]])
        masses, means = np.diff(edges), (edges[1:] + edges[:-1]) / 2
        gradient = 2 * (masses * (x - means))[:, None] + self.noise * np.sin(1e9 * codes)
        distortion = float(((edges[1:] - x) ** 3 - (edges[:-1] - x) ** 3).sum() / 3)
        return Cells(masses, means[:, None], gradient, distortion, stationarity(gradient, masses, distortion, 2))

    def relocate_empty_cells(self, codes):
        return codes, self.cells(codes)

    def hessian(self, codes):
        x = codes[:, 0]
        off = -np.diff(x) / 2
        diagonal = 2 * self.cells(codes).masses
        diagonal[:-1] += off
        diagonal[1:] += off
        return sparse.csc_array(sparse.diags_array([off, diagonal, off], offsets=[-1, 0, 1]))


def solved(law, start, solver=None, max_iter=300):
    start = np.asarray(start, dtype=np.float64)[:, None]
    problem = Problem(len(start), 2.0, start, 1)
    problem.__dict__["exact"] = law
    solver = solver or Newton()
    assert solver.incompatibility(problem) is None
    states = []
    for state in solver.solve(problem, start, np.random.default_rng(0)):
        states.append(state)
        if len(states) > max_iter or state.stationarity <= solver.rtol:
            break
    return states


@pytest.mark.parametrize("k", [1, 2, 3, 10, 100])
def test_reaches_the_optimum_to_round_off(k, rng):
    law = UnitInterval()
    assert has_hessian(law)
    states = solved(law, np.sort(rng.uniform(size=k)))
    # Residuals of eps, times the inverse of the least eigenvalue of I - Lloyd', about K²/π², in the norm weighted by masses.
    np.testing.assert_allclose(states[-1].points[:, 0], (2 * np.arange(k) + 1) / (2 * k), atol=4e-16 * max(k, 4))
    assert states[-1].distortion == pytest.approx(1 / (12 * k**2), rel=1e-13)
    falls = np.diff([s.distortion for s in states])
    assert (falls <= 1e-12 * states[0].distortion).all()
    assert len(states) < 60


def test_rough_starts_and_any_order_of_codes(rng):
    start = np.array([0.99, 0.001, 0.98, 0.5, 0.97, 0.002])
    law = UnitInterval()
    inward = lambda codes: np.sort(codes, axis=0)  # noqa: E731  the law above knows codes in order only
    law.relocate_empty_cells = lambda codes: (inward(codes), law.cells(inward(codes)))
    states = solved(law, start)
    np.testing.assert_allclose(np.sort(states[-1].points[:, 0]), (2 * np.arange(6) + 1) / 12, atol=2e-15)
    assert law.asked < 60


def test_one_stationary_start_is_one_state():
    states = solved(UnitInterval(), [0.25, 0.75])
    assert len(states) == 1
    assert states[0].stationarity == 0


def test_a_noisy_gradient_stalls_honestly(rng):
    """A gradient with errors of 1e-9 can't be brought below them: the run ends by itself, with the residual it has."""
    law = UnitInterval(noise=1e-9)
    states = solved(law, np.sort(rng.uniform(size=10)), Newton(rtol=1e-13))
    assert 1e-13 < states[-1].stationarity < 1e-6
    assert law.asked < 200
    truth = law.cells(states[-1].points)
    assert states[-1].stationarity == truth.stationarity
    assert states[-1].distortion == truth.distortion


def test_goes_on_to_the_floor_past_a_loose_tolerance(rng):
    start = np.sort(rng.uniform(size=50))
    loose, tight = (solved(UnitInterval(), start, Newton(rtol=rtol)) for rtol in (1e-2, 1e-12))
    np.testing.assert_allclose(loose[-1].points, tight[-1].points, atol=1e-15 * 50)
    assert len(loose) < len(tight)
    assert all(state.stationarity > 1e-2 for state in loose[:-1])


def test_gets_out_of_where_the_hessian_is_indefinite():
    """Far codes whose boundary crosses the peak: a plain Newton step would climb."""
    law, start = qz.Gaussian([0.0], [[1.0]]), np.array([[-20.0], [20.5]])
    assert np.linalg.eigvalsh(exact_law(law, 2).hessian(start).toarray())[0] < 0
    sol = qz.quantize(law, 2, init=start, rng=0).require()
    assert sol.distortion == pytest.approx(1 - 2 / np.pi, abs=4e-16)
    assert (np.diff(sol.trace.distortion) <= 0).all()


def test_refuses_laws_without_second_derivatives():
    for law, words in [(np.zeros((3, 1)), "samples"), (qz.Gaussian([0.0] * 3, np.eye(3)), "a law known by sampling")]:
        with pytest.raises(ValueError, match=f"Newton needs a law whose distortion has second derivatives.*received {words}"):
            qz.quantize(law, 1, solver=qz.Newton(), rng=0)
    with pytest.raises(ValueError, match="rtol"):
        qz.Newton(rtol=-1)
    assert qz.Newton() == qz.Newton(rtol=1e-10)
