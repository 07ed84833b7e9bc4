import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from scipy import stats

import quantization as qz
from quantization import plot

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.collections import PolyCollection


@pytest.fixture(autouse=True)
def _close():
    yield
    pyplot.close("all")


def area(polygon):
    x, y = polygon.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def drawn_cells(axes):
    cells = next(c for c in axes.collections if isinstance(c, PolyCollection))
    return cells, [path.vertices[:-1] for path in cells.get_paths()]


@pytest.mark.parametrize("k", [1, 2, 3, 60])
def test_cells_of_the_plane_are_the_nearest_points(k, rng, brute):
    x = rng.normal(size=(500, 2)) * [1.0, 5.0] + [100.0, 0.0]
    solution = qz.quantize(x, k, rng=0)
    axes = plot.voronoi(solution, x)
    cells, polygons = drawn_cells(axes)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert sum(map(area, polygons)) == pytest.approx((right - left) * (top - bottom), rel=1e-9)
    codes = solution.measure.points
    probes = rng.uniform([left, bottom], [right, top], size=(400, 2))
    owner = brute.squared(probes, codes).argmin(1)
    shades = cells.get_array()
    for polygon, shade in zip(polygons, shades, strict=True):
        inside = matplotlib.path.Path(polygon).contains_points(probes)
        assert len(set(owner[inside])) <= 1
        for mine in set(owner[inside]):
            assert shade == pytest.approx(solution.measure.weights[mine], rel=1e-12)
    assert shades.sum() == pytest.approx(1, rel=1e-12)
    assert left < codes[:, 0].min() <= codes[:, 0].max() < right


def test_equal_codes_share_a_cell():
    axes = plot.voronoi(qz.DiscreteMeasure([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]], [0.2, 0.5, 0.3]))
    cells, polygons = drawn_cells(axes)
    assert sorted(cells.get_array()) == pytest.approx([0.5, 0.5])
    assert len(polygons) == 2


def test_collinear_codes_and_far_scales(rng):
    for scale in (1e-150, 1.0, 1e150):
        plot.voronoi(qz.DiscreteMeasure(scale * np.stack([np.arange(5.0), 2 * np.arange(5.0)], axis=1)))


@pytest.mark.parametrize("k", [1, 2, 12, 100])
def test_bars_on_the_line_have_the_masses_as_areas(k, rng):
    x = rng.gamma(2, size=(1500, 1))
    solution = qz.quantize(x, k, rng=0)
    axes = plot.voronoi(solution, stats.gamma(2))
    areas = [bar.get_width() * bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(areas, solution.measure.weights[np.argsort(solution.measure.points[:, 0])], rtol=1e-12)
    edges = [bar.get_x() for bar in axes.patches[1:]]
    codes = np.sort(solution.measure.points[:, 0])
    np.testing.assert_allclose(edges, (codes[1:] + codes[:-1]) / 2)
    density = next(line for line in axes.lines if line.get_label() == "density")
    np.testing.assert_allclose(density.get_ydata(), stats.gamma(2).pdf(density.get_xdata()))


def test_laws_of_every_kind_lie_beneath(rng):
    codes = qz.DiscreteMeasure([[-1.0], [1.0]])
    mixture = qz.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], np.ones((2, 1, 1)))
    for law in (rng.normal(size=(50, 1)), qz.DiscreteMeasure([[0.0], [3.0]]), mixture, qz.Gaussian([0.0], [[0.0]])):
        assert plot.voronoi(codes, law).patches
    grid = next(line for line in plot.voronoi(codes, mixture).lines if line.get_label() == "density")
    np.testing.assert_allclose(grid.get_ydata(), np.exp(mixture.log_density(np.asarray(grid.get_xdata())[:, None])))
    stream = qz.Stream(lambda: [rng.normal(size=(40, 2))] * 3)
    axes = plot.voronoi(qz.DiscreteMeasure([[0.0, 0.0]]), stream, samples=30)
    assert len(axes.collections[1].get_offsets()) == 30


def test_draws_where_it_is_told(rng):
    _, (first, second) = pyplot.subplots(1, 2)
    solution = qz.quantize(rng.normal(size=(100, 2)), 4, rng=0)
    assert plot.voronoi(solution, ax=first) is first
    assert plot.trace(solution, ax=second) is second


def test_trace_shows_every_step(rng):
    solution = qz.quantize(rng.normal(size=(500, 2)), 10, max_iter=12, rng=0)
    axes = plot.trace(solution)
    right = axes.figure.axes[-1]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), solution.trace.distortion)
    np.testing.assert_array_equal(right.lines[0].get_ydata(), solution.trace.stationarity)
    assert axes.get_yscale() == right.get_yscale() == "log"
    assert "Lloyd, K = 10" in axes.get_title()


def test_trace_leaves_gaps_where_nothing_is_positive():
    exact = qz.quantize(np.array([[0.0], [1.0]]), 2, rng=0)  # distortion and residual 0
    axes = plot.trace(exact)
    assert np.isnan(axes.lines[0].get_ydata()).all()
    axes.figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: plot.voronoi(qz.DiscreteMeasure(np.eye(3))), "received d = 3. Look at plot.trace"),
        (lambda: plot.voronoi(np.eye(2)), "received ndarray"),
        (lambda: plot.voronoi(qz.DiscreteMeasure(np.eye(2)), np.zeros((5, 1))), "dimension 2; received 1"),
        (lambda: plot.voronoi(qz.DiscreteMeasure(np.eye(2)), np.zeros((5, 2)), samples=0), "samples"),
        (lambda: plot.trace(qz.DiscreteMeasure(np.eye(2))), "received DiscreteMeasure"),
    ],
)
def test_refuses_misuse(call, hint):
    with pytest.raises(ValueError, match=hint):
        call()


def test_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import quantization as qz\n"
        "try: qz.plot.voronoi(qz.DiscreteMeasure([[0.0, 0.0]]))\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "optimal-quantization[plot]" in said.stdout


@pytest.mark.slow
def test_the_gallery_can_be_drawn_again(tmp_path):
    from benchmarks import gallery

    for path in gallery.draw(tmp_path):
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert 10_000 < path.stat().st_size < 150_000
        assert (gallery.PICTURES / path.name).exists()


def test_a_barycenter_is_drawn_over_its_measures(rng):
    clouds = [rng.normal(size=(50, 2)), rng.normal(size=(60, 2)) + 3]
    solution = qz.barycenter(clouds, 5, rng=0)
    axes = plot.barycenter(solution, clouds)
    *dots, atoms = axes.collections
    assert [len(d.get_offsets()) for d in dots] == [50, 60]
    np.testing.assert_allclose(atoms.get_offsets(), solution.measure.points)
    np.testing.assert_allclose(atoms.get_sizes() / atoms.get_sizes().sum(), solution.measure.weights)
    with pytest.raises(ValueError, match="draws the plane"):
        plot.barycenter(qz.DiscreteMeasure(np.zeros((2, 3))), [np.zeros((2, 3))])
    with pytest.raises(ValueError, match="received ndarray"):
        plot.barycenter(np.zeros((2, 2)), clouds)
