"""Twenty Lloyd steps on every shape beside scikit-learn and faiss: the same data, starting codes and steps, two threads.

    python -m benchmarks.shapes                     # the grid, hours; a rerun goes on where it stopped (make bench-shapes)
    python -m benchmarks.shapes --sample 24 --seed 1  # shapes at random between the grid's points, 15 minutes
    python -m benchmarks.shapes --defaults          # everyone's defaults, n ≤ 10^5; also with --sample
    python -m benchmarks.shapes --many              # thousands of small problems against a loop over scikit-learn
    python -m benchmarks.shapes --first-call        # what a first call costs with an empty cache
    ... --write docs/benchmarks.md                  # the tables into that page, and the heat map into pictures/ beside it

Everyone runs in one process, in an order that turns; short calls are repeated for 0.3 s a side. A ratio is ours over a peer's
wall time in the same round, the median of five rounds, and the largest of them, the one to the fastest peer, counts. Shapes of
n·d·K above 2·10⁹ take 3 steps once. What is above 1.15 is measured again at the end and counts if it is above twice.
Rows are saved under runs/shapes as they come, those of other sources of the package too: delete the file to begin again.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import quantization as qz
from benchmarks.shapes import first_call, table
from benchmarks.shapes.peers import OURS, distortion, in_turn, measure_defaults, measure_steps, sklearn_kmeans
from benchmarks.shapes.work import Budget, Row, Shape, fits, free_memory, grid, load, pending, sample, save, shape_of
from benchmarks.solvers.page import BEGIN, machine, updated

PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "faiss-cpu")
FIRST_PASS = 0.75  # of a time limit, so that slow shapes can be measured again
DEFAULTS_MOST = 10**5  # points, of the comparison of defaults
MANY = ((3000, 2048, 1, 16), (5000, 300, 8, 10))


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for; returns the exit status, 1 where distortions disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__.split("\n\n")[0])
    parser.add_argument("--sample", type=int, metavar="N", help="N shapes at random instead of the grid")
    parser.add_argument("--seed", type=int, default=0, help="of the random shapes (default: 0)")
    parser.add_argument("--minutes", type=float, help="time limit (default: 15 with --sample, none for the grid)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--defaults", action="store_true", help="everyone's defaults instead of 20 steps")
    kind.add_argument("--many", action="store_true", help="thousands of small problems")
    kind.add_argument("--first-call", action="store_true", help="what first calls cost")
    parser.add_argument("--rows", type=Path, help="the file of rows (default: one in runs/shapes for every kind of run)")
    parser.add_argument("--write", type=Path, help="a Markdown page to put the tables into, between its markers")
    asked = parser.parse_args(arguments)
    if asked.write is not None and (not asked.write.exists() or BEGIN not in asked.write.read_text()):
        print(f"{asked.write} has no line {BEGIN!r} to put the tables after", file=sys.stderr)
        return 2
    status, rows = 0, list[Row]()
    if asked.many:
        part = many_part()
    elif asked.first_call:
        part = first_call_part()
    else:
        rows = measured_rows(asked)
        status = int(any(str(row.get("note", "")).startswith("DISAGREES") for row in table.counted(rows).values()))
        part = shapes_part(asked, rows)
    print(part)
    if asked.write is not None:
        if not (asked.many or asked.first_call or asked.defaults or asked.sample):
            table.heat_map(rows, asked.write.parent / "pictures" / "shapes.png")
        asked.write.write_text(updated(asked.write.read_text(), [part]))
    return status


def measured_rows(asked: argparse.Namespace) -> list[Row]:
    """The rows of the shapes asked for, those measured before among them."""
    shapes = sample(asked.sample, asked.seed) if asked.sample else grid()
    if asked.defaults:
        shapes = [shape for shape in shapes if shape.n <= DEFAULTS_MOST]
    name = f"sample-{asked.sample}-{asked.seed}" if asked.sample else "grid"
    path = asked.rows or Path("runs/shapes") / f"{name}{'-defaults' * asked.defaults}.jsonl"
    minutes = asked.minutes if asked.minutes is not None else 15 if asked.sample else float("inf")
    run(shapes, path, measure_defaults if asked.defaults else measure_steps, 60 * minutes)
    return [row for row in load(path) if shape_of(row) in set(shapes)]


def run(shapes: list[Shape], path: Path, measure: Callable[..., Row], seconds: float) -> None:
    """Measure what the file has no row of, then once more what was slow, within a time limit."""
    budgets = {1: Budget(FIRST_PASS * seconds), 2: Budget(seconds)}
    for attempt, budget in budgets.items():
        todo = pending(shapes, load(path), attempt)
        left_out: list[Shape] = []
        for i, shape in progress(todo, "again" if attempt > 1 else "shapes"):
            if not budget.allows(shape):
                left_out.append(shape)
            elif not fits(shape, free := free_memory()):
                note = f"not measured: {shape.bytes() / 2**30:.1f} GiB of data and copies, {free / 2**30:.1f} GiB free"
                print(f"{shape}: {save(path, shape, {'attempt': attempt, 'note': note})['note']}", flush=True)
            else:
                row = {"attempt": attempt, **measure(shape, budget.spent_after(len(todo) - i))}
                print(line(shape, save(path, shape, row)), flush=True)
        if left_out:
            print(f"attempt {attempt}: no time for {len(left_out)} shapes; a rerun goes on with them", flush=True)


def line(shape: Shape, row: Row) -> str:
    seconds = ", ".join(f"{name} {value:.3g}" for name, value in row["seconds"].items())
    quality = f", distortion × {row['distortion']:.4f}" if "distortion" in row else f"  {row['note']}"
    return f"{shape}: {row['ratio']:.2f} of {row['best']}  ({seconds} s){quality}"


def progress(items: list[Any], title: str) -> Iterator[tuple[int, Any]]:
    """The items, numbered, with a bar where rich is installed."""
    numbered: Iterable[tuple[int, Any]] = enumerate(items)
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        yield from numbered
    else:
        yield from track(numbered, title, total=len(items), console=Console(stderr=True))


def shapes_part(asked: argparse.Namespace, rows: list[Row]) -> str:
    """The section of a page about these rows."""
    where = f"{asked.sample} shapes drawn at random, seed {asked.seed}" if asked.sample else "The grid of shapes"
    if not table.counted(rows):
        return f"### {where}\n\nNothing measured yet."
    if asked.defaults:
        goal = "Goal: no worse a distortion, time ≤ 1 everywhere, geometric mean ≤ 0.7. Over scikit-learn's, five seeds."
        return "\n".join([f"### {where}: defaults, n ≤ 10⁵", "", f"{goal} {machine(PACKAGES)}", "", *table.summary(rows)])
    goal = "Goal: geometric mean ≤ 0.5, worst ≤ 1.15. Wall time over that of the fastest peer."
    lines = [f"### {where}: Lloyd steps", "", f"{goal} {machine(PACKAGES)} {table.agreement(rows)}", "", *table.summary(rows)]
    if asked.sample:
        lines += ["", *table.each(rows)]
    else:
        lines += ["", "![Wall time over that of the fastest peer, for every shape of the grid](pictures/shapes.png)"]
    if above := table.slow(rows):
        lines += ["", "Above the goal twice:", "", *above]
    if skipped := [f"* {shape_of(row)}: {row['note']}" for row in rows if "ratio" not in row]:
        lines += ["", *skipped]
    return "\n".join(lines)


def many_part() -> str:
    """Many small problems: one call of quantize_many against a loop over scikit-learn."""
    lines = ["### Many small problems", "", f"Goal: ≥ 3 times faster. {machine(PACKAGES)} Medians of 3 rounds.", ""]
    lines += ["| problems | | scikit-learn, s | quantize_many, s | times faster | distortion |", "|---|---|---|---|---|---|"]
    for count, n, d, k in MANY:
        rng = np.random.default_rng(0)
        points = rng.standard_normal((count, n, d), dtype=np.float32)
        codes = [x[rng.choice(n, k, replace=False)] for x in points]
        same: dict[str, Any] = {"max_iter": 20, "rng": 0, "init": codes, "solver": qz.Lloyd(rtol=0)}
        peer: dict[str, Any] = {"max_iter": 20, "tol": 0, "n_init": 1}
        defaults: list[dict[str, Any]] = [{"random_state": i} for i in range(count)]
        for title, options, each in (
            ("20 steps", same, [{"init": c, **peer} for c in codes]),
            ("defaults", {"rng": 0}, defaults),
        ):
            calls: dict[str, Any] = {
                OURS: lambda: [s.measure.points for s in qz.quantize_many(points, k, **options)],  # noqa: B023
                "loop": lambda: [sklearn_kmeans(x, None, k, **o) for x, o in zip(points, each, strict=True)],  # noqa: B023
            }
            calls[OURS]()  # compiled
            seconds, answers = in_turn(calls, 3, 0, lambda: False)
            found = {name: sum(map(distortion, points, [None] * count, answer)) for name, answer in answers.items()}
            faster = median(b / a for a, b in zip(seconds[OURS], seconds["loop"], strict=True))
            times = f"{median(seconds['loop']):.2f} | {median(seconds[OURS]):.2f} | {faster:.2f}"
            lines.append(f"| {count} × ({n} × {d}), K = {k} | {title} | {times} | {found[OURS] / found['loop'] - 1:+.3%} |")
    return "\n".join(lines)


def first_call_part() -> str:
    """First calls with an empty cache of compiled code."""
    lines = ["### First calls", "", f"With an empty cache of compiled code, in a fresh process. {machine(PACKAGES)}", ""]
    lines += ["| | goal, s | first less second, s | first, s | second, s |", "|---|---|---|---|---|"]
    lines.append(f"| `import quantization` | 0.4 | | {first_call.import_seconds():.2f} | |")
    for number, (name, goal, _) in progress(first_call.CASES, "first calls"):
        first, second = first_call.measured(number)
        lines.append(f"| {name} | {goal:g} | {first - second:.2f} | {first:.2f} | {second:.3f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
