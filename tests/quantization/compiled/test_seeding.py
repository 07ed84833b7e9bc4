import numpy as np
import pytest
import torch

import quantization as qz
from quantization.assignment.blocks import Costs as PortableCosts
from quantization.compiled.seeding import Costs


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("n", "d"), [(3000, 2), (800, 40), (500, 700)])
def test_costs_agree_with_the_portable_ones(n, d, dtype, rng):
    points, weights = rng.standard_normal((n, d)).astype(dtype), rng.dirichlet(np.ones(n))
    points[10:20] = points[5]  # some of cost zero
    fast, plain = Costs(points, weights, 5), PortableCosts(points, weights, 5)
    for candidates in ([7, 300, 11], [401, 2, 9]):
        # Products lose digits of small distances only, which add little; where none is left, differences decide.
        np.testing.assert_allclose(fast.after(candidates), plain.after(candidates), rtol=1e-3)
        fast.take(candidates[0])
        plain.take(candidates[0])
        np.testing.assert_allclose(fast.values, plain.values, rtol=1e-12)
        assert (fast.values[10:20] == plain.values[10:20]).all()


def test_points_that_differ_by_little_are_told_apart(monkeypatch, rng):
    # Ten places far from the origin, 1e-4 apart within pairs: float32 products see five places.
    monkeypatch.setattr(assignment, "_WORTH_COMPILING", 0)
    places = np.repeat(rng.standard_normal((5, 30)) * 100, 2, 0)
    places[::2, 0] += 1e-4 * 100
    points = np.repeat(places, 20, 0).astype(np.float32)
    distinct = np.unique(points, axis=0)
    assert len(distinct) == 10
    codes = qz.quantize(points, 10, max_iter=0, rng=0).measure.points
    np.testing.assert_array_equal(np.unique(codes, axis=0), distinct)
    with pytest.raises(ValueError, match="received 10"):
        qz.quantize(points, 11, rng=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_tensors_get_the_codes_that_arrays_get(dtype, monkeypatch, rng):
    monkeypatch.setattr(assignment, "_WORTH_COMPILING", 0)
    points = torch.from_numpy(rng.standard_normal((500, 3))).to(dtype)
    codes = [qz.quantize(x, 20, max_iter=0, rng=0).measure.points for x in (points, points.numpy())]
    assert torch.is_tensor(codes[0])
    np.testing.assert_array_equal(codes[0].numpy(), codes[1])
