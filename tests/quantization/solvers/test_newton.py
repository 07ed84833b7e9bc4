"""Newton's own behaviour, on laws written out by hand: what it needs of a law, and how it ends."""

import numpy as np
import pytest
from scipy import sparse

import quantization as qz
from quantization.cells import Cells, stationarity
from quantization.exact.protocol import Smooth
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

    def occupied(self, codes):
        return codes, self.cells(codes)

    def hessian(self, codes):
        x = codes[:, 0]
        off = -np.diff(x) / 2
        diagonal = 2 * self.cells(codes).masses
        diagonal[:-1] += off
        diagonal[1:] += off
        return sparse.csc_array(sparse.diags_array([off, diagonal, off], offsets=[-1, 0, 1]))


def solved(law, start, solver=None, max_steps=300):
    start = np.asarray(start, dtype=np.float64)[:, None]
    problem = Problem(len(start), 2.0, start, 1)
    problem.__dict__["exact"] = law
    solver = solver or Newton()
    assert solver.refuses(problem) is None
    states = []
    for state in solver.solve(problem, start, np.random.default_rng(0)):
        states.append(state)
        if len(states) > max_steps or state.stationarity <= solver.rtol:
            break
    return states


@pytest.mark.parametrize("k", [1, 2, 3, 10, 100])
def test_reaches_the_optimum_to_round_off(k, rng):
    law = UnitInterval()
    assert isinstance(law, Smooth)
    states = solved(law, np.sort(rng.uniform(size=k)))
    # Residuals of eps, times the inverse of the least eigenvalue of I - Lloyd', about K²/π², in the norm weighted by masses.
    np.testing.assert_allclose(states[-1].points[:, 0], (2 * np.arange(k) + 1) / (2 * k), atol=4e-16 * max(k, 4))
    assert states[-1].distortion == pytest.approx(1 / (12 * k**2), rel=1e-13)
    falls = np.diff([s.distortion for s in states])
    assert (falls <= 1e-12 * states[0].distortion).all()
    assert len(states) < 60
