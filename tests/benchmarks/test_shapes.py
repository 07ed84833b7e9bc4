"""The benchmark of shapes: which shapes, what data, the time limit, rows that are resumed, agreement, tables."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.shapes import __main__ as command
from benchmarks.shapes import peers, table, work
from benchmarks.shapes.work import Budget, Shape

SMALL = Shape(1000, 2, 5, "float64", False, "normal")


def row(shape, ratio, attempt=1, **more):
    found = {"ratio": ratio, "ratios": {peers.LLOYD: ratio, peers.FAISS: ratio / 2}, "best": peers.LLOYD, "note": ""}
    return work.asdict(shape) | {"attempt": attempt, "seconds": {"ours": 0.1}, "apart": {peers.LLOYD: 0.0}} | found | more


def test_grid_is_that_of_the_issue():
    shapes = work.grid()
    assert len(set(shapes)) == len(shapes) == 7 * 2 * (3 + 4 + 4 + 4)  # K = 1000 needs 10,000 points
    assert shapes == work.grid()
    # A share of 210 independent draws lies within 3.5 standard deviations, sqrt(p (1 - p) / 210), in all but 1 of 2000 grids.
    for p, share in ((0.25, np.mean([s.weighted for s in shapes])), (0.5, np.mean([s.data == "blobs" for s in shapes]))):
        assert abs(share - p) < 3.5 * (p * (1 - p) / len(shapes)) ** 0.5
    assert {s.steps for s in shapes if s.n * s.d * s.k <= 2e9} == {20}
    assert {s.steps for s in shapes if s.n * s.d * s.k > 2e9} == {3}


def test_sample_is_bounded_and_repeats():
    shapes = work.sample(200, 3)
    assert shapes == work.sample(200, 3) != work.sample(200, 4)
    assert shapes[:24] == work.sample(24, 3)
    for s in shapes:
        assert 1e3 <= s.n <= 1e6
        assert 1 <= s.d <= 512
        assert 5 <= s.k <= min(1000, s.n / 10)
        assert s.size <= work.SAMPLE_MOST
    assert max(s.expected_seconds() for s in shapes) < 150  # one of them takes a sixth of the 15 minutes at most


@pytest.mark.parametrize("data", ["normal", "blobs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data(data, dtype):
    shape = replace(SMALL, d=1, k=100, dtype=dtype, data=data, weighted=True)
    points, weights, codes = work.make(shape)
    assert points.shape == (1000, 1)
    assert points.dtype == codes.dtype == dtype
    assert abs(weights.sum() - 1) < 1000 * np.finfo(float).eps
    assert len(np.unique(codes, axis=0)) == 100
    assert np.isin(codes, points).all()
    assert (points.std() > 2) == (data == "blobs")
    assert all(np.array_equal(a, b) for a, b in zip((points, weights, codes), work.make(shape), strict=True))
    assert work.make(replace(shape, weighted=False))[1] is None


def test_memory():
    largest = Shape(10**6, 512, 1000, "float64", False, "normal")
    assert not largest.elkan  # its bounds would be 8 GB
    assert largest.bytes() >= 2 * 8 * 10**6 * 512
    assert work.fits(largest, 2 * largest.bytes())
    assert not work.fits(largest, int(1.5 * largest.bytes()))
    assert SMALL.elkan
    assert work.free_memory() > 0


def test_budget_shares_what_is_left():
    clock = SimpleNamespace(now=100.0)
    budget = Budget(60, lambda: clock.now)
    assert budget.allows(SMALL)
    spent = budget.spent_after(3)
    clock.now += 19
    assert not spent()
    clock.now += 2
    assert spent()
    assert budget.left() == 39
    clock.now += 39 - SMALL.expected_seconds() / 2
    assert not budget.allows(SMALL)
    assert Budget(float("inf")).allows(SMALL)


def test_a_rerun_goes_on_and_measures_slow_shapes_again(tmp_path, capsys):
    path, shapes, measured = tmp_path / "new" / "rows.jsonl", [replace(SMALL, d=d) for d in (1, 2, 3)], []

    def measure(shape, spent):
        measured.append(shape.d)
        if len(measured) == 2:
            raise KeyboardInterrupt
        values = row(shape, 2.0 if shape.d == 3 else 0.5)
        return {key: values[key] for key in ("ratio", "ratios", "best", "note", "seconds", "apart")}

    with pytest.raises(KeyboardInterrupt):
        command.run(shapes, path, measure, float("inf"))
    with path.open("a") as file:
        file.write('{"n": 10')  # as a killed run leaves it
    command.run(shapes, path, measure, float("inf"))
    assert measured == [1, 2, 2, 3, 3]
    command.run(shapes, path, measure, float("inf"))
    assert measured == [1, 2, 2, 3, 3]
    assert [(r["d"], r["attempt"]) for r in work.load(path)] == [(1, 1), (2, 1), (3, 1), (3, 2)]
    command.run([replace(SMALL, d=8)], path, measure, 0)
    assert "no time for 1 shapes" in capsys.readouterr().out
    assert len(measured) == 5


def test_what_does_not_fit_is_noted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "free_memory", lambda: 1)
    command.run([SMALL], tmp_path / "rows", peers.measure_steps, float("inf"))
    (only,) = work.load(tmp_path / "rows")
    assert only["note"].startswith("not measured")
    assert table.counted([only]) == {}
    asked = SimpleNamespace(sample=None, defaults=False)
    assert "Nothing measured" in command.shapes_part(asked, [only])
    assert "not measured" in command.shapes_part(asked, [only, row(replace(SMALL, d=3), 0.5)])


def test_calls_take_turns_until_the_time_is_spent():
    order, clock = [], iter([False, True])
    calls = {name: lambda name=name: order.append(name) or name for name in "abc"}
    seconds, answers = peers.in_turn(calls, 5, 0.0, lambda: next(clock))
    assert order == ["a", "b", "c", "b", "c", "a"]
    assert {len(times) for times in seconds.values()} == {2}
    assert answers == {"a": "a", "b": "b", "c": "c"}


def test_distortion_is_the_mean_over_weights():
    points, weights, codes = work.make(replace(SMALL, weighted=True))
    direct = np.square(points[:, None] - codes[None]).sum(2).min(1) @ weights
    # |x|² - 2xc + |c|², each of a few roundings of at most |x|² + |c|²
    allowed = 10 * np.finfo(float).eps * (np.square(points).sum(1).max() + np.square(codes).sum(1).max())
    assert abs(peers.distortion(points, weights, codes) - direct) < allowed


def test_why_runs_may_differ():
    line = np.arange(12.0)[:, None] ** 1.5
    shape = Shape(12, 1, 2, "float64", False, "normal")
    assert peers.why_apart(shape, line, None, line[[0, 7]]) == "DISAGREES"
    tied = np.array([0.0, 0, 0, 0, 1, 2, 2, 2, 2, 0, 2, 1])[:, None]
    assert peers.why_apart(shape, tied, None, tied[[0, 5]]) == "tie at step 1"
    assert peers.why_apart(shape, line, None, np.array([[5.3], [1e6]])) == "empty cell at step 1"
    large = Shape(10**6, 512, 1000, "float32", False, "normal")
    assert peers.why_apart(large, line, None, line[:2]).startswith("DISAGREES")


def test_tolerance_follows_from_the_dtype():
    points, weights, codes = work.make(SMALL)
    single, double = (
        peers.tolerance(replace(SMALL, dtype=d), points, weights, peers.distortion(points, None, codes))
        for d in ("float32", "float64")
    )
    assert single / double == np.finfo(np.float32).eps / np.finfo(np.float64).eps
    assert double < 1e-10


def test_the_faster_attempt_counts_and_the_table_says_so():
    a, b, c = SMALL, replace(SMALL, d=8), replace(SMALL, d=512, dtype="float32")
    rows = [row(a, 0.25), row(b, 4.0), row(b, 1.0, 2), row(c, 2.0), row(c, 3.0, 2)]
    assert {s.d: r["ratio"] for s, r in table.counted(rows).items()} == {2: 0.25, 8: 1.0, 512: 2.0}
    lines = table.summary(rows)
    assert lines[2] == f"| 2 | 1 | 0.250 | 0.250 ({a}) | 0% | 0.250 |"
    # (1/4 · 1 · 2)^(1/3)
    assert lines[-1] == f"| all | 3 | {0.5 ** (1 / 3):.3f} | 2.000 ({c}) | 33% | {0.5 ** (1 / 3):.3f} |"
    assert table.slow(rows) == [f"* {c}: 2.00 of scikit-learn lloyd"]
    assert table.slow([row(c, 2.0)]) == []  # once only
    assert len(table.each(rows)) == 2 + 3


def test_agreement_in_a_sentence():
    rows = [row(SMALL, 1.0), row(replace(SMALL, d=3), 1.0, note="tie at step 3", apart={peers.LLOYD: -0.01})]
    assert "on 1 of 2 shapes; tie: 1, by 1.0e-02" in table.agreement(rows)


def test_many_dimensions_stand_in_ranges():
    lines = table.summary([row(replace(SMALL, d=d), 0.5) for d in range(1, 20)])
    assert [text.split(" | ")[0] for text in lines[2:]] == ["| 1", "| 2 – 4", "| 5 – 16", "| 17 – 64", "| all"]


def test_page_and_heat_map(tmp_path):
    page, file = tmp_path / "page.md", tmp_path / "rows.jsonl"
    page.write_text(f"before\n{command.BEGIN}\n### Other\n\nkept\n<!-- measured: end -->\nafter\n")
    for shape in work.grid()[::3]:
        work.save(file, shape, row(shape, 0.5 if shape.d < 100 else 1.1))
    assert command.main(["--minutes", "0", "--rows", str(file), "--write", str(page)]) == 0
    text = page.read_text()
    assert "kept" in text
    assert "### The grid of shapes: Lloyd steps" in text
    assert "(pictures/shapes.png)" in text
    assert (tmp_path / "pictures" / "shapes.png").read_bytes().startswith(b"\x89PNG")
    assert command.main(["--rows", str(file), "--write", str(tmp_path / "missing.md")]) == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_a_small_shape_is_measured(weighted, monkeypatch):
    pytest.importorskip("faiss")
    pytest.importorskip("sklearn")
    monkeypatch.setattr(peers, "SIDE_SECONDS", 0.0)
    shape = replace(SMALL, weighted=weighted)
    found = peers.measure_steps(shape, lambda: True)
    assert found["rounds"] == 1
    assert set(found["ratios"]) == {peers.LLOYD, peers.ELKAN, peers.FAISS}
    assert found["ratio"] == max(found["ratios"].values())
    assert not found["note"].startswith("DISAGREES")
    defaults = peers.measure_defaults(shape, lambda: True)
    assert defaults["rounds"] == 1
    assert table.summary([work.asdict(shape) | {"attempt": 1} | defaults])[-1].startswith("| all | 1 |")
