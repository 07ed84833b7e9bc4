"""Barycenters beside POT's and, where it is installed, OTT-JAX's: the same measures, starts and threads, one process.

    python -m benchmarks.barycenters [--works plane medium latents] [--write docs/barycenters.md]

Everyone gets the same starting points. What is compared is the exact Σ λ_j W_2² of what each returns, recomputed here by
POT's network simplex. Seconds are those of CPU of all threads, which other work on the machine lengthens little, medians over
the rounds, after one short run to load and compile. --write puts the tables into a page, between its markers, and keeps those
of works that were not asked for.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import ot
from rich.console import Console
from rich.progress import Progress

import quantization as qz
from benchmarks.barycenters.work import WORKS, Work
from benchmarks.solvers.page import BEGIN, installed, machine, updated

PACKAGES = ("numpy", "scipy", "numba", "POT", "ott-jax", "jax")


def main(arguments: list[str] | None = None) -> int:
    """Run the works asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.barycenters", description=__doc__.split("\n\n")[0])
    names = [work.name for work in WORKS]
    parser.add_argument("--works", nargs="*", default=names, choices=names, help="which (default: all)")
    parser.add_argument("--write", type=Path, help="a Markdown page to put the tables into, between its markers")
    asked = parser.parse_args(arguments)
    if asked.write is not None and (not asked.write.exists() or BEGIN not in asked.write.read_text()):
        print(f"{asked.write} has no line {BEGIN!r} to put the tables after", file=sys.stderr)
        return 2
    console, parts = Console(stderr=True), list[str]()
    with Progress(console=console) as progress:
        for work in WORKS:
            if work.name in asked.works:
                task = progress.add_task(work.title, total=len(work.seeds) * work.rounds)
                parts.append(table(work, lambda: progress.advance(task)))  # noqa: B023
                console.print(parts[-1], markup=False)
    print("\n\n".join(parts))
    if asked.write is not None:
        asked.write.write_text(updated(asked.write.read_text(), parts))
    return 0


def table(work: Work, tick: Any) -> str:
    """The Markdown table of one work."""
    everyone = {"POT": pot, **({"OTT-JAX": ott} if installed("ott-jax") else {}), "uniform": uniform, "free": free}
    lines = [
        f"### {work.title}",
        "",
        f"Goal: {work.goal}. {machine(PACKAGES)} {work.rounds} round{'s' if work.rounds > 1 else ''}.",
        "",
        "| seed | POT: exact F, seconds |" + (" OTT-JAX |" if "OTT-JAX" in everyone else "")
        + ' **`atom_weights="uniform"`** | **`atom_weights="free"`** | stationarity | gap in the weights / F | steps |',
        "|---" * (len(everyone) + 4) + "|",
    ]  # fmt: skip
    small = work.make(0)
    for contender in everyone.values():  # loaded and compiled
        contender([x[:60, :2] for x in small], small[0][:5, :2])
    for seed in work.seeds:
        clouds = work.make(seed)
        start = work.start(seed, clouds)
        seconds: dict[str, list[float]] = {name: [] for name in everyone}
        answers: dict[str, Any] = {}
        for _ in range(work.rounds):
            for name, contender in everyone.items():
                begun = time.process_time()
                answers[name] = contender(clouds, start)
                seconds[name].append(time.process_time() - begun)
            tick()
        values = {name: objective(clouds, *answer[:2]) for name, answer in answers.items()}
        cells = [f"{values['POT']:.6g}, {median(seconds['POT']):.2f} s"]
        for name in list(everyone)[1:]:
            cells.append(f"{values[name] / values['POT'] - 1:+.3%}, {median(seconds[name]):.2f} s")
        solution = answers["free"][2]
        cells += [f"{solution.stationarity:.0e}", f"{solution.masses_gap / solution.distortion:.0e}", str(solution.n_iter)]
        lines.append(f"| {seed} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def objective(clouds: list[Any], points: Any, weights: Any) -> float:
    """Σ λ_j W_2², by POT alone."""
    weights = np.asarray(weights, dtype=np.float64)
    each: list[float] = []
    for x in clouds:
        costs = ot.dist(x - x.mean(0), points - x.mean(0))
        each.append(float(ot.emd2(np.full(len(x), 1 / len(x)), weights / weights.sum(), costs, numItermax=10**7)))
    return sum(each) / len(each)


def pot(clouds: list[Any], start: Any) -> tuple[Any, Any]:
    """POT's free support barycenter, as it comes."""
    points = ot.lp.free_support_barycenter(clouds, [np.full(len(x), 1 / len(x)) for x in clouds], start)
    return points, np.full(len(start), 1 / len(start))


def ott(clouds: list[Any], start: Any) -> tuple[Any, Any]:
    """OTT-JAX's, by Sinkhorn with ε a hundredth of the mean cost of a start's point, in float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from ott.problems.linear import barycenter_problem
    from ott.solvers.linear import continuous_barycenter, sinkhorn

    y = jnp.asarray(np.stack(clouds))
    spread = float(np.mean([ot.dist(x, start).min(1).mean() for x in clouds]))
    problem = barycenter_problem.FreeBarycenterProblem(y, b=jnp.full(y.shape[:2], 1 / y.shape[1]), epsilon=0.01 * spread)
    solver = continuous_barycenter.FreeWassersteinBarycenter(linear_solver=sinkhorn.Sinkhorn(), max_iterations=50)
    out = solver(problem, bar_size=len(start), x_init=jnp.asarray(start))
    return np.asarray(out.x), np.asarray(out.a)


def uniform(clouds: list[Any], start: Any) -> tuple[Any, Any, Any]:
    solution = qz.barycenter(clouds, len(start), atom_weights="uniform", init=start, rng=0)
    return solution.measure.points, solution.measure.weights, solution


def free(clouds: list[Any], start: Any) -> tuple[Any, Any, Any]:
    solution = qz.barycenter(clouds, len(start), init=start, rng=0)
    return solution.measure.points, solution.measure.weights, solution


if __name__ == "__main__":
    sys.exit(main())
