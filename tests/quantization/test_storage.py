import json
import os
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import quantization as qz
from quantization import archive
from quantization.clvq_state import CLVQState
from quantization.storage import Recorded


def same(a, b):
    """Whether two solutions or traces agree in every field, to the last bit."""
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, qz.DiscreteMeasure):
            np.testing.assert_array_equal(np.asarray(x.points), y.points)
            np.testing.assert_array_equal(np.asarray(x.weights_float64), y.weights_float64)
            assert str(y.points.dtype) in str(x.points.dtype)
        elif isinstance(x, qz.Trace | CLVQState):
            same(x, y)
        elif isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y, strict=True)
        else:
            assert x == y or (x != x and y != y), field.name
            assert type(x) is type(y), field.name


class Circle:
    def sample(self, n, rng):
        return np.stack([np.cos(a := rng.uniform(0, 7, n)), np.sin(a)], axis=1)


@pytest.mark.parametrize(
    ("law", "options"),
    [
        ("samples", {}),
        ("tensor", {"solver": qz.Lloyd(rtol=0), "max_iter": 3}),
        ("circle", {"solver": qz.CLVQ(batch=64, schedule=qz.RobbinsMonro(2.0, 0.8), epochs=None), "max_iter": 5}),
        ("stream", {"solver": qz.CLVQ(averaging=False), "max_iter": 4}),
    ],
)
def test_the_whole_answer_comes_back(law, options, tmp_path, rng):
    x = rng.normal(size=(300, 2))
    laws = {"samples": x, "tensor": torch.from_numpy(x).float(), "circle": Circle(), "stream": qz.Stream(lambda: np.split(x, 5))}
    solution = qz.quantize(laws[law], 4, **options)
    solution.save(tmp_path / "a.solution")
    back = qz.Solution.load(tmp_path / "a.solution")
    same(solution, back)
    assert os.listdir(tmp_path) == ["a.solution"]
    again = qz.quantize(laws[law], 4, init=back, solver=back.solver, max_iter=1, rng=0)  # a start, and a solver that runs
    assert again.n_iter <= 1
    measure = qz.DiscreteMeasure.load(tmp_path / "a.solution")
    np.testing.assert_array_equal(measure.points, back.measure.points)
    np.testing.assert_array_equal(measure.weights_float64, back.measure.weights_float64)


def test_every_status_and_odd_numbers(tmp_path, rng):
    solution = qz.quantize(rng.normal(size=(50, 1)), 3, rng=0)
    for status in qz.Status:
        odd = replace(solution, status=status, distortion=np.inf, stationarity=np.nan, n_iter=2**40)
        odd.save(tmp_path / "s.npz")
        same(odd, qz.Solution.load(tmp_path / "s.npz"))


@dataclass(frozen=True)
class Mine(qz.Lloyd):
    label: str = "x"


def test_a_foreign_solver_is_kept_by_its_description(tmp_path, rng):
    x, path = rng.normal(size=(50, 2)), tmp_path / "s.npz"
    qz.quantize(x, 3, solver=Mine(label="__import__('os')"), rng=0).save(path)
    back = qz.Solution.load(path)
    assert back.solver == Recorded("Mine(rtol=0.001, label=\"__import__('os')\")")
    back.save(path)
    assert qz.Solution.load(path).solver == back.solver
    with pytest.raises(ValueError, match="read from a file"):
        qz.quantize(x, 3, solver=back.solver, rng=0)


def with_about(path, **changes):
    stored = archive.read(path, "Solution", ["about"])
    about = json.loads(str(stored["about"])) | changes
    archive.write(path, stored | {"about": np.array(json.dumps(about))})


@pytest.mark.parametrize("name", ["Lloyd2", "KMeansPlusPlus", "Path", "os.system", "quantize", "Solution", "__name__"])
def test_a_file_names_no_other_class(name, tmp_path, rng):
    path = tmp_path / "s.npz"
    qz.quantize(rng.normal(size=(50, 2)), 3, rng=0).save(path)
    with_about(path, solver={"name": name, "options": {}})
    assert isinstance(qz.Solution.load(path).solver, Recorded)


def test_options_of_another_version(tmp_path, rng):
    path = tmp_path / "s.npz"
    qz.quantize(rng.normal(size=(50, 2)), 3, rng=0).save(path)
    with_about(path, solver={"name": "Lloyd", "options": {"rtol": -1.0}})
    assert qz.Solution.load(path).solver == Recorded("Lloyd({'rtol': -1.0})")


def test_refuses_foreign_and_corrupted_files(tmp_path, rng):
    solution, path = qz.quantize(rng.normal(size=(50, 2)), 3, rng=0), tmp_path / "s.npz"
    solution.measure.save(path)
    with pytest.raises(ValueError, match="not a saved Solution: it holds no about"):
        qz.Solution.load(path)
    solution.save(path)
    whole = path.read_bytes()
    for corrupted in (whole[:1000], whole[:100] + bytes([whole[100] ^ 255]) + whole[101:]):
        path.write_bytes(corrupted)
        for kind in (qz.Solution, qz.DiscreteMeasure):
            with pytest.raises(ValueError, match="corrupted"):
                kind.load(path)
    for foreign in (b"", b"hello"):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="not a saved Solution"):
            qz.Solution.load(path)
    with pytest.raises(FileNotFoundError):
        qz.Solution.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    "changes", [{"format": "quantization.Solution/99"}, {"status": "FINE"}, {"solver": None}, {"solver": {}}, {"novel": 1}]
)
def test_refuses_what_another_version_wrote(changes, tmp_path, rng):
    path = tmp_path / "s.npz"
    qz.quantize(rng.normal(size=(50, 2)), 3, rng=0).save(path)
    with_about(path, **changes)
    with pytest.raises(ValueError, match="not a Solution saved by this version"):
        qz.Solution.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, rng, monkeypatch):
    path, solution = tmp_path / "s.npz", qz.quantize(rng.normal(size=(50, 2)), 3, rng=0)
    solution.save(path)

    def fails(file, **arrays):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        replace(solution, n_iter=99).save(path)
    monkeypatch.undo()
    same(solution, qz.Solution.load(path))
    assert os.listdir(tmp_path) == ["s.npz"]


def test_solutions_of_laws(tmp_path):
    solution = qz.quantize(stats.norm(), 3, max_iter=20, rng=0)
    solution.save(tmp_path / "s.npz")
    same(solution, qz.Solution.load(tmp_path / "s.npz"))


def test_nothing_is_pickled(tmp_path):
    with pytest.raises(TypeError, match="received object"):
        archive.write(tmp_path / "a.npz", {"x": object()})
    assert os.listdir(tmp_path) == []


def test_a_place_that_is_none_is_named(tmp_path):
    sol = qz.quantize(np.arange(6.0)[:, None], 2, rng=0)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere to put sol.npz into; make it first"):
        sol.save(tmp_path / "nowhere" / "sol.npz")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        sol.save(tmp_path)
    assert not any(tmp_path.iterdir())


# Every option other than its default.
SOLVERS = [
    qz.Lloyd(rtol=1e-4),
    qz.Newton(rtol=1e-8),
    qz.CLVQ(batch=64, epochs=3, schedule=qz.CountPower(0.8, delay=2.0), averaging=False, recency=1.0, relocate=False, rtol=1e-2),
    qz.CLVQ(schedule=qz.RobbinsMonro(2.0, 0.8, horizon=50.0)),
    qz.FixedPoint(rtol=1e-2, max_pivots=1000),
    qz.InteriorPoint(rtol=1e-2, coarse=0.1, relaxation=1.2, max_pivots=1000),
    qz.Entropic(reg=0.01, rtol=1e-2, sinkhorn_iter=7, pilot=100),
    qz.Balanced(rtol=1e-4, draws=2**12),
    qz.Balanced1D(fixed_order=True, rtol=1e-4),
]
METHODS = [None, qz.NetworkSimplex(max_pivots=99), qz.Monotone(), qz.NearestCode(), qz.Sinkhorn(0.5, rtol=1e-3, max_iter=77)]


def test_every_option_is_tried():
    kinds = {getattr(qz, name) for name in qz.__all__ if isinstance(getattr(qz, name), type)}
    solving = {kind for kind in kinds if is_dataclass(kind) and (hasattr(kind, "solve") or hasattr(kind, "couple"))}
    assert solving == {type(option) for option in (*SOLVERS, *METHODS) if option is not None}
    for option in SOLVERS[:3] + SOLVERS[4:]:
        default = type(option)()
        assert all(getattr(option, f.name) != getattr(default, f.name) for f in fields(option)), option


def test_every_solver_and_method_comes_back_in_a_fresh_process(tmp_path, rng):
    x = rng.normal(size=(200, 1))
    clvq = qz.quantize(x, 3, solver=SOLVERS[2], rng=0)  # with the state of a run that can go on
    assert clvq.trace.clvq_state is not None
    saved = {"clvq": clvq, "barycenter": qz.barycenter([x, x + 1], 3, rng=0), "law": qz.quantize(stats.norm(), 3, rng=0)}
    for i, solver in enumerate(SOLVERS):
        saved[f"solver{i}"] = replace(clvq, solver=solver)
    for i, method in enumerate(METHODS):
        saved[f"method{i}"] = replace(saved["barycenter"], transport=method)
    for name, solution in saved.items():
        solution.save(tmp_path / f"{name}.npz")
    code = (
        "import sys, pathlib, quantization as qz\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).glob('*.npz')):\n"
        "    solution = qz.Solution.load(path)\n"
        "    print(path.stem, repr((solution.solver, solution.transport)), sep='\\t')\n"
        "    solution.save(path.with_suffix('.again'))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    told = dict(line.split("\t") for line in done.stdout.splitlines())
    assert told == {name: repr((solution.solver, solution.transport)) for name, solution in saved.items()}
    for name, solution in saved.items():
        same(solution, qz.Solution.load(tmp_path / f"{name}.again"))


@pytest.mark.parametrize(
    ("solver", "transport", "restored"),
    [
        ({"name": "Lloyd", "options": {"rtol": 1e-3}}, None, (qz.Lloyd(rtol=1e-3), None)),
        (
            {"name": "InteriorPoint", "options": {"rtol": 1e-3, "coarse": 0.1, "relaxation": 1.5, "max_pivots": 9}},
            {"name": "Exact", "options": {"max_pivots": 9}},
            (qz.InteriorPoint(coarse=0.1, max_pivots=9), qz.NetworkSimplex(max_pivots=9)),
        ),
        (
            {"name": "FixedPoint", "options": {"rtol": 1e-3, "max_pivots": 9}},
            {"name": "Line", "options": {}},
            (qz.FixedPoint(max_pivots=9), qz.Monotone()),
        ),
        (
            {"name": "Newton", "options": {"rtol": 1e-9}},
            {"name": "Voronoi", "options": {}},
            (qz.Newton(rtol=1e-9), qz.NearestCode()),
        ),
        (
            {"text": "Mine(steps=3)"},
            {"name": "Sinkhorn", "options": {"reg": 0.5, "rtol": 1e-4, "max_steps": 5}},
            (Recorded("Mine(steps=3)"), qz.Sinkhorn(0.5, max_iter=5)),
        ),
    ],
)
def test_files_of_format_1_are_read(solver, transport, restored, tmp_path, rng):
    """As its writer wrote them: all that is plain in one line of JSON, arrays under their names, ``steps`` for ``n_iter``."""
    points, weights, state = rng.normal(size=(3, 2)), np.array([0.2, 0.3, 0.5]), CLVQState.begin(rng.normal(size=(3, 2)))
    about = {"format": "quantization.Solution/1", "status": "CONVERGED", "solver": solver, "transport": transport}
    about |= {
        "distortion": 0.25,
        "distortion_se": 0.0,
        "stationarity": 1e-7,
        "steps": 2,
        "weights_gap": 1e-9,
        "distortion_gap": 0.0,
    }
    about |= {"trace.companion": None}
    arrays = {"points": points, "weights": weights, "trace.distortion": np.array([1.0, 0.5, 0.25])}
    arrays |= {"trace.stationarity": np.array([0.1, 0.01, 1e-7])}
    for field in fields(replace(state, steps=7, seen=70.0)):
        value = getattr(replace(state, steps=7, seen=70.0), field.name)
        (arrays if isinstance(value, np.ndarray) else about)[f"progress.{field.name}"] = value
    np.savez(tmp_path / "old.npz", **arrays, about=np.array(json.dumps(about)))
    old = qz.Solution.load(tmp_path / "old.npz")
    assert (old.solver, old.transport) == restored
    assert (old.n_iter, old.distortion, old.status) == (2, 0.25, qz.Status.CONVERGED)
    assert old.masses_gap == 1e-9
    assert (old.trace.clvq_state.steps, old.trace.clvq_state.seen) == (7, 70.0)
    np.testing.assert_array_equal(old.points, points)
    np.testing.assert_array_equal(old.trace.distortion, [1.0, 0.5, 0.25])
    np.testing.assert_array_equal(old.trace.clvq_state.codes, state.codes)
    old.save(tmp_path / "new.npz")
    same(old, qz.Solution.load(tmp_path / "new.npz"))


def test_files_of_format_2_with_the_name_of_before_are_read(tmp_path, rng):
    solution = replace(qz.quantize(rng.normal(size=(50, 2)), 3, rng=0), masses_gap=0.125)
    solution.save(tmp_path / "new.npz")
    stored = archive.read(tmp_path / "new.npz", "Solution", ())
    about = json.loads(str(stored["about"]))
    about["weights_gap"] = about.pop("masses_gap")
    archive.write(tmp_path / "old.npz", stored | {"about": np.array(json.dumps(about))})
    same(solution, qz.Solution.load(tmp_path / "old.npz"))
