"""Sets of points beside one another: what they are judged by, and the table."""

import numpy as np
import pytest
from scipy.integrate import quad

import quantization as qz
from benchmarks import coresets


def test_the_discrepancy_to_a_mixture_is_the_integral_of_the_kernel():
    law = qz.GaussianMixture([0.3, 0.7], [[-1.0], [2.0]], [[[0.5]], [[2.0]]])
    nu = qz.DiscreteMeasure([[0.5], [-2.0], [3.0]], [0.5, 0.2, 0.3])
    task = coresets.Task(law, np.zeros((1, 1)), 3, 0.8, 0)

    def density(x):
        means, variances = law.means[:, 0], law.covs[:, 0, 0]
        return law.weights @ (np.exp(-((x - means) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances))

    def to_law(y):
        return quad(lambda x: density(x) * np.exp(-((x - y) ** 2) / (2 * 0.8**2)), -15, 18, epsabs=1e-11, limit=200)[0]

    whole = quad(lambda y: density(y) * to_law(y), -15, 18, epsabs=1e-9, limit=200)[0]
    points, w = np.asarray(nu.points)[:, 0], nu.weights_float64
    own = w @ np.exp(-(np.subtract.outer(points, points) ** 2) / (2 * 0.8**2)) @ w
    squared = whole - 2 * sum(a * to_law(x) for a, x in zip(w, points, strict=True)) + own
    assert coresets.mmd(task, nu) ** 2 == pytest.approx(squared, abs=1e-8)


def test_the_discrepancy_of_a_measure_to_itself_is_zero():
    law = qz.DiscreteMeasure(np.random.default_rng(0).normal(size=(50, 3)))
    assert coresets.mmd(coresets.Task(law, law.points, 50, 1.0, 0), law) < 1e-7  # the root of round-off


def test_herding_begins_where_the_mean_of_the_kernel_is_largest():
    circle = np.exp(2j * np.pi * np.arange(8) / 8)
    pool = np.vstack([np.zeros((1, 2)), np.column_stack([circle.real, circle.imag])])
    chosen = coresets.herding(coresets.Task(None, pool, 2, 1.0, 0))
    assert np.asarray(chosen.points)[0].tolist() == [0.0, 0.0]


def test_a_table_of_digits(capsys):
    pytest.importorskip("sklearn")
    coresets.main(["--laws", "digits", "--points", "8", "--seeds", "2"])
    shown = capsys.readouterr().out.splitlines()
    rows = dict(line.strip("| ").split(" | ", 1) for line in shown if line.startswith("|") and "±" in line)
    assert "Sobol points, scrambled" not in rows  # of which images have none
    wasserstein = {who: float(row.split(" ± ")[0]) for who, row in rows.items()}
    assert min(wasserstein, key=wasserstein.get) == "Optimal quantizer, weighted by its masses"
