"""The Triton kernels against torch's own operations: on a GPU, or in Triton's interpreter (see test_interpreter)."""

import os

import numpy as np
import pytest
import torch

from quantization.assignment.padding_groups import Group
from quantization.assignment.torch_blocks import Plain
from quantization.measure import DiscreteMeasure

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = [
    pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="needs a GPU or Triton's interpreter"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, in the interpreter, where a test means to overflow
]
EPS = np.finfo(np.float64).eps

RAGGED = [
    ((20, 33, 12), (5, 6, 5), 33, torch.float32),
    ((40,), (37,), 7, torch.float32),  # more than one block of codes
    ((20, 20), (1, 1), 40, torch.bfloat16),
    ((30, 35), (3, 2), 1, torch.float16),
]


def group_of(sizes, ks, d, dtype, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    points = [torch.from_numpy(offset + rng.normal(size=(n, d))).to(DEVICE, dtype) for n in sizes]
    return Group.of([DiscreteMeasure.from_unnormalized(x, rng.random(len(x))) for x in points], ks)


def codes_of(group, seed=1):
    """Codes near some of the points, zero past k_p."""
    rng = np.random.default_rng(seed)
    codes = torch.zeros(group.size, group.k, group.dim, dtype=group.dtype, device=DEVICE)
    for p, (x, k) in enumerate(zip(group.points, group.ks.tolist(), strict=True)):
        chosen = torch.from_numpy(rng.permutation(len(x))[:k]).to(DEVICE)
        codes[p, :k] = (x[chosen].double() + 0.3 * torch.from_numpy(rng.normal(size=(k, group.dim))).to(DEVICE)).to(group.dtype)
    return codes


def engines(group):
    from quantization.assignment.triton_blocks import Fused

    assert Fused.fits(group)
    return Plain(group), Fused(group)


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize(("sizes", "ks", "d", "dtype"), RAGGED)
def test_as_the_plain_operations(monkeypatch, sizes, ks, d, dtype, splits):
    from quantization.assignment.triton_blocks import Fused, Tile

    monkeypatch.setattr(Fused, "scores", Tile(points=16, width=16, codes=16))
    monkeypatch.setattr(Fused, "splits", splits)
    group = group_of(sizes, ks, d, dtype, offset=3.0)
    plain, fused = engines(group)
    codes = codes_of(group)
    labels = plain.assign(codes)
    assert torch.equal(fused.assign(codes), labels)
    a, b = plain.cells(codes, labels), fused.cells(codes, labels)
    # Sums of at most 40 × 40 terms of one sign, or measured against the sum of their sizes, in two orders.
    slack = 40 * 40 * EPS
    torch.testing.assert_close(b.masses, a.masses, rtol=slack, atol=0)
    torch.testing.assert_close(b.costs, a.costs, rtol=slack, atol=0)
    torch.testing.assert_close(b.pulls, a.pulls, rtol=1e3 * slack, atol=slack)
    units = torch.finfo(dtype).eps * a.means.double().abs().clamp(min=1)
    assert ((b.means.double() - a.means.double()).abs() <= units).all()
    assert torch.equal(b.moved, a.moved)
    candidates = torch.randint(0, min(sizes), (len(sizes), 3), device=DEVICE)
    torch.testing.assert_close(fused.distances(candidates), plain.distances(candidates), rtol=2 * d * EPS, atol=0)


def test_close_codes_far_from_the_origin_are_decided():
    """Codes a unit in the last place apart: only direct differences in float64 know, and the lowest index wins a tie."""
    group = group_of((60,), (16,), 40, torch.float32, offset=100.0)
    base = group.points[0][0].repeat(16, 1)
    base[:, ::7] *= 1 + torch.finfo(torch.float32).eps * torch.randint(-3, 4, base[:, ::7].shape, device=DEVICE)
    base[9] = base[4]
    plain, fused = engines(group)
    labels = fused.assign(base[None])
    costs = (group.points[0].double()[:, None] - base.double()[None]).square().sum(2)
    np.testing.assert_array_equal(labels[0].cpu().numpy(), costs.cpu().numpy().argmin(1))
    assert torch.equal(labels, plain.assign(base[None]))


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize(("apart", "mostly_known"), [(2e-3, True), (1e-6, False)])
def test_codes_as_close_as_the_bound_are_told_apart(monkeypatch, splits, apart, mostly_known):
    """By scores, which must then be as good as their bound, or by the deciding of what the bound leaves in doubt."""
    from quantization.assignment.triton_blocks import Fused

    monkeypatch.setattr(Fused, "splits", splits)
    group = group_of((1500,), (16,), 40, torch.float32)
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=(16, 40))).to(DEVICE)
    spread = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 40))).to(DEVICE).repeat(8, 1)
    codes = (spread * (1 + apart * noise)).float()  # two lumps, so the frame is as long as the codes and the points
    engine = Fused(group)
    labels = engine.assign(codes[None])
    costs = (group.points[0].double()[:, None] - codes.double()[None]).square().sum(2)
    np.testing.assert_array_equal(labels[0].cpu().numpy(), costs.cpu().numpy().argmin(1))
    assert (engine.decided < 750) == mostly_known


@pytest.mark.parametrize("splits", [False, True])
def test_scores_are_formed_about_the_codes_mean(monkeypatch, splits):
    """Far from the origin, where scores about anything else would leave every point in doubt."""
    from quantization.assignment.triton_blocks import Fused

    monkeypatch.setattr(Fused, "splits", splits)
    group = group_of((300, 250), (9, 8), 40, torch.float32, offset=1000.0)
    plain, fused = engines(group)
    codes = codes_of(group)
    assert torch.equal(fused.assign(codes), plain.assign(codes))
    assert fused.decided <= 6


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_products_neither_overflow_nor_underflow(monkeypatch, scale, splits):
    from quantization.assignment.triton_blocks import Fused

    monkeypatch.setattr(Fused, "splits", splits)
    group = group_of((50,), (8,), 12, torch.float32)
    group.points[0].mul_(scale)
    codes = group.points[0][None, :8] * (1 + 1e-3 * torch.arange(8, device=DEVICE)[:, None])
    labels = engines(group)[1].assign(codes)
    costs = (group.points[0].double()[:, None] - codes[0].double()[None]).square().sum(2)
    np.testing.assert_array_equal(labels[0].cpu().numpy(), costs.cpu().numpy().argmin(1))


def test_points_beyond_the_range_of_scores():
    points = torch.tensor([[3e38, 0], [-3e38, 0], [0, 3e38], [1e-30, 0]], device=DEVICE)
    codes = torch.tensor([[-1e-30, 0], [2e-30, 0], [0, 1e-30]], device=DEVICE)
    labels = engines(Group.of([DiscreteMeasure(points)], [3]))[1].assign(codes[None])
    costs = (points.double()[:, None] - codes.double()[None]).square().sum(2)
    np.testing.assert_array_equal(labels[0].cpu().numpy(), costs.cpu().numpy().argmin(1))


def test_points_beyond_the_range_of_halves_are_decided(monkeypatch):
    """Split in float16, points a thousand times as long as the codes have no scores; a single code needs none."""
    from quantization.assignment.triton_blocks import Fused

    monkeypatch.setattr(Fused, "splits", True)
    group = group_of((50,), (8,), 12, torch.float32)
    codes = group.points[0][None, :8] * torch.ones(1, 8, 1, device=DEVICE)
    group.points[0][20:] *= 1e4
    engine = Fused(group)
    labels = engine.assign(codes)
    costs = (group.points[0].double()[:, None] - codes[0].double()[None]).square().sum(2)
    np.testing.assert_array_equal(labels[0].cpu().numpy(), costs.cpu().numpy().argmin(1))
    assert 20 <= engine.decided < 40
    single = Fused(Group.of([DiscreteMeasure(group.points[0])], [1]))
    assert (single.assign(codes[:, :1]) == 0).all()
    assert single.decided == 0


def test_numbers_are_split_where_tensor_cores_take_halves(monkeypatch):
    from quantization.assignment.triton_blocks import Fused

    class On:
        def __init__(self, device):
            self.device = torch.device(device)

    for capability in ((7, 5), (8, 0), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert Fused(On("cuda")).splits == (capability >= (8, 0))
        assert not Fused(On("cpu")).splits


def test_a_large_cell_is_shared_by_programs(monkeypatch):
    from quantization.assignment import triton_blocks as fused

    monkeypatch.setattr(fused, "_CELL_POINTS", 16)
    group = group_of((70, 60), (2, 2), 9, torch.float32)
    plain, shared = engines(group)
    codes = codes_of(group)
    labels = plain.assign(codes)
    a, b = plain.cells(codes, labels), shared.cells(codes, labels)
    torch.testing.assert_close(b.masses, a.masses, rtol=200 * EPS, atol=0)
    torch.testing.assert_close(b.costs, a.costs, rtol=2000 * EPS, atol=0)
    torch.testing.assert_close(b.means, a.means, rtol=2 * torch.finfo(torch.float32).eps, atol=1e-6)
    assert torch.equal(b.moved, a.moved)


def test_empty_cells_keep_their_codes():
    group = group_of((30,), (3,), 5, torch.float32)
    codes = torch.cat([group.points[0][:2], torch.full((1, 5), 1e3, device=DEVICE)])[None]
    _, fused = engines(group)
    found = fused.cells(codes, fused.assign(codes))
    assert found.masses[0, 2] == 0
    assert torch.equal(found.means[0, 2], codes[0, 2])


def test_offsets_are_64_bit(tmp_path):
    """Rows so far apart that their offsets, in entries, pass 2³¹: a file with holes, of which three pages are touched."""
    if not INTERPRETED:
        pytest.skip("the file with holes is in host memory")
    stride = 2**30 + 16
    backing = np.memmap(tmp_path / "holes", dtype=np.float16, mode="w+", shape=(2 * stride + 64,))
    sparse = torch.from_numpy(backing).as_strided((3, 40), (stride, 1))
    sparse.copy_(torch.randn(3, 40))
    assert 2 * stride > 2**31 > stride
    packed = sparse.clone()
    codes = packed[None, [2, 0]]
    answers = []
    for points in (sparse, packed):
        _, fused = engines(
            Group([points], torch.full((1, 3), 1 / 3, dtype=torch.float64), torch.tensor([3]), torch.tensor([2]), 3, 2)
        )
        labels = fused.assign(codes)
        answers.append((labels, fused.cells(codes, labels).means, fused.distances(torch.tensor([[2, 1]]))))
    for a, b in zip(*answers, strict=True):
        assert torch.equal(a, b)


def test_rows_that_begin_anywhere(rng):
    whole = torch.from_numpy(rng.normal(size=(50, 21)).astype(np.float32)).to(DEVICE)
    points = whole[:, 1:18]  # neither contiguous nor aligned
    group = Group.of([DiscreteMeasure(points)], [4])
    plain, fused = engines(group)
    codes = points[None, :4].contiguous()
    assert torch.equal(fused.assign(codes), plain.assign(codes))
    assert not torch.equal(fused.assign(codes), torch.zeros_like(fused.assign(codes)))


def test_what_the_kernels_do_not_take():
    from quantization.assignment.triton_blocks import Fused

    x = torch.zeros(10, 4, device=DEVICE)
    weights, one = torch.full((1, 10), 0.1, dtype=torch.float64, device=DEVICE), torch.tensor([1], device=DEVICE)
    for points in ([x.double()], [x.T.contiguous().T]):
        assert not Fused.fits(Group(points, weights, one * 10, one, 10, 1))
    assert not Fused.fits(Group([x, torch.zeros(10, 8, device=DEVICE)[:, :4]], weights.repeat(2, 1), one * 10, one, 10, 1))
