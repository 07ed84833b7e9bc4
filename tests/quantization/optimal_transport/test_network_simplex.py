"""The one façade to POT: its plans to the last bit, without the import of all of POT, and without a trace in it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import ot
import pytest

import quantization as qz

ROOT = Path(__file__).resolve().parents[3]


def fresh(code):
    """What a fresh process prints, every warning an error."""
    whole = f"import sys, numpy as np, quantization as qz\n{code}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", whole], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("zeros", [False, True])
def test_plans_are_pots_to_the_last_bit(zeros, rng):
    for scale in (1e-9, 1.0, 1e9):
        n, m = rng.integers(2, 30, 2)
        a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
        if zeros:
            a[0] = b[-1] = 0
        a, b, costs = a / a.sum(), b / b.sum(), scale * rng.random((n, m))
        plan, u, status = qz.NetworkSimplex().plan(a, b, costs)
        exponent = int(np.frexp(costs.max())[1])
        theirs, log = ot.emd(a, b, np.ldexp(costs, -exponent), numItermax=10_000_000, log=True, center_dual=False)
        np.testing.assert_array_equal(plan, theirs)
        assert status is qz.Status.CONVERGED
        if not zeros:  # with them, POT adds a constant to the potential
            np.testing.assert_array_equal(u, np.ldexp(log["u"], exponent))


def test_costs_in_any_memory_layout(rng):
    a, b, costs = np.full(7, 1 / 7), np.full(9, 1 / 9), rng.random((7, 9))
    straight = qz.NetworkSimplex().plan(a, b, costs)[0]
    np.testing.assert_array_equal(qz.NetworkSimplex().plan(a, b, np.asfortranarray(costs))[0], straight)
    strided = np.repeat(a, 2)[::2]
    np.testing.assert_array_equal(qz.NetworkSimplex().plan(strided, b, costs)[0], straight)


def test_running_out_of_pivots_is_a_status(rng):
    a, costs = np.full(40, 1 / 40), rng.random((40, 40))
    assert qz.NetworkSimplex(max_pivots=3).plan(a, a, costs)[2] is qz.Status.BUDGET_SPENT


DISTANCE = "x = np.random.default_rng(0).normal(size=(40, 2)); w = qz.wasserstein(x[:20], x[20:])\n"
THEIRS = (
    "import ot, torch\n"
    "a = torch.full((20,), 1 / 20, dtype=torch.float64)\n"
    "points = torch.tensor(x, requires_grad=True)\n"
    "squared = ot.emd2(a, a, torch.cdist(points[:20], points[20:]) ** 2)\n"
    "squared.backward()\n"
    "print(abs(float(squared.detach()) ** 0.5 - w) < 1e-12, bool(points.grad.abs().sum() > 0))\n"
    # Costs on the line for which the compiled module calls back into POT's Python.
    "cubes = ot.emd2_1d(x[:20, 0], x[20:, 0], metric='minkowski', p=3)\n"
    "print(abs(cubes - qz.wasserstein(x[:20, :1], x[20:, :1], r=3) ** 3) < 1e-9)\n"
    "print(ot.lp.emd_wrap is sys.modules['ot.lp.emd_wrap'], ot.lp.emd_wrap.__name__, ot.lp.emd_wrap.__spec__.name)\n"
    "print(*[name for name in sys.modules if name.startswith('quantization') and name.endswith('utils')])\n"
)
NOTHING_LEFT = ["True", "True", "True", "True", "ot.lp.emd_wrap", "ot.lp.emd_wrap"]


def test_a_distance_loads_neither_pot_nor_torch():
    code = DISTANCE + "print([name for name in sys.modules if name.split('.')[0] in ('ot', 'torch', 'jax', 'tensorflow')])"
    assert fresh(code) == ["[]"]


def test_a_later_import_of_pot_takes_tensors():
    assert fresh(DISTANCE + THEIRS) == NOTHING_LEFT


def test_an_earlier_import_of_pot_is_used():
    assert fresh("import ot\n" + DISTANCE + THEIRS) == NOTHING_LEFT


def test_without_its_compiled_file_pot_is_imported():
    code = (
        "from quantization.optimal_transport import network_simplex\n"
        "network_simplex.EXTENSION_SUFFIXES = ['.none']\n" + DISTANCE + "print('ot' in sys.modules, w > 0)"
    )
    assert fresh(code) == ["True", "True"]
