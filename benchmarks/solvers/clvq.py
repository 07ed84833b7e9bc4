"""How far CLVQ comes in a few epochs beside Lloyd and scikit-learn's mini-batch k-means: distortions, not times."""

from typing import Any

from rich.progress import Progress

import quantization as qz
from benchmarks.solvers.contenders import sklearn_minibatch
from benchmarks.solvers.work import WORKS


def clvq_table(progress: Progress, machine: str) -> str:
    """The Markdown table, on the plane's work from its own start."""
    (problem,) = WORKS[0].problems()
    points, start = problem.points, problem.starts[0]
    task = progress.add_task("CLVQ", total=6)

    def run(solve: Any) -> float:
        codes = solve()
        progress.advance(task)
        return qz.distortion(points, codes, rng=0).value

    def solved(solver: Any, **options: Any) -> Any:
        return qz.quantize(points, len(start), solver=solver, init=start, rng=0, **options).points

    twenty = run(lambda: solved(qz.Lloyd(rtol=0), max_iter=20))
    hundred = run(lambda: solved(qz.Lloyd(rtol=0), max_iter=100))
    rows = {
        "Lloyd, 20 steps": twenty,
        "Lloyd, 100 steps": hundred,
        "CLVQ, 2 epochs": run(lambda: solved(qz.CLVQ(epochs=2))),
        "CLVQ, 5 epochs": run(lambda: solved(qz.CLVQ(epochs=5))),
        "scikit-learn MiniBatchKMeans, 2 epochs": run(lambda: sklearn_minibatch([problem], 2)[0]),
        "scikit-learn MiniBatchKMeans, 5 epochs": run(lambda: sklearn_minibatch([problem], 5)[0]),
    }
    lines = [
        "### CLVQ on the first work",
        "",
        f"Goals: 2 epochs no worse than 20 steps of Lloyd; 5 epochs within 0.5 % of 100 steps. {machine}",
        "",
        "| | distortion relative to Lloyd's after 20 steps | after 100 steps |",
        "|---|---|---|",
    ]
    return "\n".join(
        lines + [f"| {name} | {value / twenty - 1:+.3%} | {value / hundred - 1:+.3%} |" for name, value in rows.items()]
    )
