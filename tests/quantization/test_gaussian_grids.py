import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import quantization as qz
from benchmarks import gaussian_grids
from quantization.grids.gaussian import find_grid

SMALL = qz.SearchEffort(restarts=1, search=2**15, points=2**12, refine=2**14, certify=2**14)
ROOT = Path(__file__).parents[2]


def test_two_codes_in_space_are_those_of_the_line():
    found = find_grid(3, 2, SMALL)
    truth = 3 - 2 / np.pi
    # The excess over the optimum is of second order in the codes' errors, about √(D/2^14) apiece; the rest is the interval's.
    assert found.distortion.low - 1e-12 <= truth + 3 * 3 / 2**14
    assert found.distortion.value == pytest.approx(truth, abs=5 * found.distortion.standard_error + 3 * 3 / 2**14)
    np.testing.assert_allclose(found.measure.weights, 0.5, atol=0.01)
    # Stationary: E|X|² = Σ w_k |x_k|² + D. Over 2^14 even draws E|X|² = 3 is known to less than √(6/2^14) = 0.02.
    spread = float(found.measure.weights @ np.square(found.measure.points).sum(1))
    assert spread + found.distortion.value == pytest.approx(3, abs=0.02)


def test_seeds_decide():
    one, two = (find_grid(3, 3, SMALL, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.measure.points, two.measure.points)
    np.testing.assert_array_equal(one.measure.weights, two.measure.weights)
    assert one.distortion == two.distortion
    assert (find_grid(3, 3, SMALL, seed=6).measure.points != one.measure.points).any()


@pytest.mark.parametrize("dim", [1, 2])
def test_the_line_and_the_plane(dim):
    found = find_grid(dim, 3, SMALL)
    x = float(np.abs(found.measure.points).max())
    if dim == 1:  # ±x and 0, with Lloyd's equation x = E[X | X > x/2]
        assert x == pytest.approx(stats.norm.pdf(x / 2) / stats.norm.sf(x / 2), rel=1e-9)
        truth = 1 - 2 * stats.norm.sf(x / 2) * x**2  # E|X|² = Σ w_k |x_k|² + D at a stationary codebook
    else:
        truth = 2 - 27 / (8 * np.pi)
    assert found.distortion == qz.Estimate(found.distortion.value, found.distortion.value, found.distortion.value)
    assert found.distortion.value == pytest.approx(truth, rel=1e-9)


def test_resumes_and_mends(tmp_path):
    path, manifest = tmp_path / "gaussian-d3-k2.npz", tmp_path / "gaussian-d3-k2.json"
    assert gaussian_grids.make(3, 2, tmp_path, SMALL)
    whole, about = path.read_bytes(), json.loads(manifest.read_text())
    assert not gaussian_grids.make(3, 2, tmp_path, SMALL)
    assert about["distortion"]["low"] < about["distortion"]["value"] < about["distortion"]["high"]
    assert about["options"] == {"method": 2, "dim": 3, "codes": 2, "seed": 0, **asdict(SMALL)}
    assert {"numpy", "scipy", "python", "optimal-quantization"} <= set(about["versions"])
    path.write_bytes(whole[:-1])
    assert gaussian_grids.make(3, 2, tmp_path, SMALL)
    np.testing.assert_array_equal(qz.DiscreteMeasure.load(path).points, find_grid(3, 2, SMALL).measure.points)
    manifest.write_text("{")
    assert gaussian_grids.make(3, 2, tmp_path, SMALL)
    assert gaussian_grids.make(3, 2, tmp_path, SMALL, seed=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [manifest.name, path.name]


def test_bounds_bracket_known_optima():
    # E of the greatest of 3 normals is 3/(2√π), of 2 it is 1/√π.
    assert gaussian_grids.bounds(2, 3)[1] == pytest.approx(2 - 27 / (8 * np.pi), rel=1e-12)
    assert gaussian_grids.bounds(1, 2)[1] == pytest.approx(1 - 2 / np.pi, rel=1e-12)
    assert gaussian_grids.bounds(3, 8)[1] == pytest.approx(3 * (1 - 2 / np.pi), rel=1e-12)
    for (dim, k), truth in {(1, 4): 0.117481847829329, (1, 8): 0.034547760788504, (2, 12): 0.279218071621}.items():
        low, high = gaussian_grids.bounds(dim, k)
        assert low < truth < high


def test_the_command(tmp_path, capsys):
    options = ["--restarts", "1", "--search", "9999", "--points", "4096", "--refine", "4096", "--certify", "16384"]
    command = [sys.executable, "-m", "benchmarks.gaussian_grids", "--dim", "3", "--codes", "2", "--out", str(tmp_path), *options]
    for word in ("done", "there already"):
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert said.stderr.splitlines()[-1] == f"d = 3, K = 2: {word}"
    gaussian_grids.main(["--table", "--out", str(tmp_path)])
    row = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert row[:2] == ["| 3", "2"]
    assert float(row[2]) == pytest.approx(3 - 2 / np.pi, abs=0.02)  # ten times the error of 2^14 even draws
    for misuse in (["--dim", "0"], ["--codes", "x"], ["--seed", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            gaussian_grids.main(misuse)


def test_a_grid_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = qz.gaussian_grid(3, 2, effort=SMALL)
    (path,) = (tmp_path / "optimal-quantization").iterdir()
    monkeypatch.setattr("quantization.grids.gaussian.find_grid", None)  # not asked for again
    kept = qz.gaussian_grid(3, 2, effort=SMALL)
    np.testing.assert_array_equal(kept.measure.points, made.measure.points)
    np.testing.assert_array_equal(kept.measure.weights, made.measure.weights)
    assert (kept.distortion, kept.stationarity, kept.method) == (made.distortion, made.stationarity, made.method)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-200])  # damaged: made again
    again = qz.gaussian_grid(3, 2, effort=SMALL, cache=path.parent)
    np.testing.assert_array_equal(again.measure.points, made.measure.points)
    other = qz.gaussian_grid(3, 2, effort=qz.SearchEffort(1, 2**14, 2**12, 2**13, 2**13), cache=path.parent)  # another effort
    assert (other.measure.points != made.measure.points).any()


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="can't be kept in"):
        grid = qz.gaussian_grid(1, 3, cache=tmp_path / "file")
    assert float(grid.distortion) == pytest.approx(0.190174, abs=1e-6)


@pytest.mark.parametrize(("d", "k", "rng"), [(11, 3, 0), (0, 3, 0), (2, 0, 0), (2, 3, None), (2, 3, -1)])
def test_what_no_grid_is_made_for(d, k, rng):
    with pytest.raises(ValueError, match="must"):
        qz.gaussian_grid(d, k, rng=rng, cache=False)


def test_a_kept_file_of_other_content_is_not_taken(tmp_path):
    made = qz.gaussian_grid(3, 2, effort=SMALL, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    held = dict(np.load(path))
    for change in (
        {"points": held["points"][:, :2]},
        {"certificate": np.full(5, np.nan)},
        {"certificate": held["certificate"][:3]},
    ):
        np.savez(path, **{**held, **change})
        again = qz.gaussian_grid(3, 2, effort=SMALL, cache=tmp_path)
        np.testing.assert_array_equal(again.measure.points, made.measure.points)


def test_without_a_home_nothing_is_kept(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    with pytest.warns(UserWarning, match="grids are not kept"):
        assert qz.gaussian_grid(1, 3).measure.size == 3


def test_the_codes_that_are_certified_are_those_returned():
    # Of sixteen draws some cells get none; their codes stay where they are.
    grid = qz.gaussian_grid(3, 12, effort=qz.SearchEffort(1, 1024, 1024, 4096, 16), cache=False)
    assert (grid.measure.weights == 0).any()
    assert grid.distortion.low <= grid.distortion.value <= grid.distortion.high


def test_efforts_are_counts():
    with pytest.raises(ValueError, match="restarts must be an integer"):
        qz.SearchEffort(restarts=0)
