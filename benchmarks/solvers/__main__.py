"""The solvers against scikit-learn, faiss and plain torch: the same data, starts and steps, two threads, one process.

    python -m benchmarks.solvers [--works plane line] [--rounds 5] [--write docs/benchmarks.md]

Every round runs everyone once, in an order that turns, so that a slow minute of a shared machine hits all alike. A ratio is a
wall time over that of scikit-learn's Lloyd in the same round; the table shows medians over rounds, the distortion relative to
scikit-learn's, and the peak of memory above the data, watched in a round of its own. --write puts the tables into a page,
between its markers, and keeps those of works that were not asked for.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress

import quantization as qz
from benchmarks.solvers.clvq import clvq_table
from benchmarks.solvers.contenders import OURS, PEERS, REFERENCE
from benchmarks.solvers.page import BEGIN, machine, updated
from benchmarks.solvers.timing import peak_memory, timed
from benchmarks.solvers.work import WORKS, Problem, Work

PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "faiss-cpu", "torch")
GRAM = "plain torch, on the Gram matrix"
SLOW = {  # who would take minutes a round: bounds of gigabytes, or many times the reference's time
    "plane": {"scikit-learn elkan", "plain torch", GRAM},
    "medium": {"scikit-learn elkan", "scikit-learn MiniBatchKMeans", "plain torch", GRAM},
    "line": {"scikit-learn elkan", "scikit-learn MiniBatchKMeans", "plain torch", GRAM},
    "latents": {"scikit-learn elkan", GRAM},
    "wide": {GRAM},
    "restarts": {"scikit-learn elkan", "scikit-learn MiniBatchKMeans", "plain torch"},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the works asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvers", description=__doc__.split("\n\n")[0])
    names = [work.name for work in WORKS]
    parser.add_argument("--works", nargs="*", default=[*names, "clvq"], choices=[*names, "clvq"], help="which (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="times that everyone runs (default: 5)")
    parser.add_argument("--write", type=Path, help="a Markdown page to put the tables into, between its markers")
    asked = parser.parse_args(arguments)
    if asked.write is not None and (not asked.write.exists() or BEGIN not in asked.write.read_text()):
        print(f"{asked.write} has no line {BEGIN!r} to put the tables after", file=sys.stderr)
        return 2
    console = Console(stderr=True)
    parts: list[str] = []
    with Progress(console=console) as progress:
        for work in WORKS:
            if work.name in asked.works:
                task = progress.add_task(work.title, total=(asked.rounds + 1) * (len(OURS) + len(PEERS)))
                parts.append(table(work, asked.rounds, lambda: progress.advance(task)))  # noqa: B023
                console.print(parts[-1], markup=False)
        if "clvq" in asked.works:
            parts.append(clvq_table(progress, machine(PACKAGES)))
            console.print(parts[-1], markup=False)
    text = "\n\n".join(parts)
    print(text)
    if asked.write is not None:
        asked.write.write_text(updated(asked.write.read_text(), parts))
    return 0


def table(work: Work, rounds: int, tick: Any) -> str:
    """The Markdown table of one work."""
    problems = work.problems()
    everyone = {name: c for name, c in (OURS | PEERS).items() if name not in SLOW.get(work.name, set())}
    if len(problems) == 1:
        everyone.pop("quantize_many")
    for contender in everyone.values():  # compiled, loaded and warm
        contender(problems[:1], work.steps)
    memory: dict[str, int] = {}
    for name, contender in everyone.items():
        memory[name] = peak_memory(lambda: contender(problems, work.steps))  # noqa: B023
        tick()
    ratios: dict[str, list[float]] = {name: [] for name in everyone}
    answers: dict[str, Any] = {}
    order = list(everyone)
    for turn in range(rounds):
        seconds: dict[str, float] = {}
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            run = timed(lambda: everyone[name](problems, work.steps))  # noqa: B023
            seconds[name], answers[name] = run.seconds, run.answer
            tick()
        for name in everyone:
            ratios[name].append(seconds[name] / seconds[REFERENCE])
    lines = [
        f"### {work.title}",
        "",
        f"Goal: a ratio of {work.goal:g}. {machine(PACKAGES)} {rounds} rounds.",
        "",
        "| | ratio to scikit-learn's Lloyd (median) | least to most | distortion relative to its | peak memory above the data |",
        "|---|---|---|---|---|",
    ]
    reference = distortion(problems, answers[REFERENCE])
    for name in everyone:
        excess = distortion(problems, answers[name]) / reference - 1
        r = ratios[name]
        shown, middle = (f"**{text}**" if name in OURS else text for text in (name, f"{median(r):.3f}"))
        spread = f"{min(r):.3f} – {max(r):.3f}"
        lines.append(f"| {shown} | {middle} | {spread} | {excess:+.3%} | {memory[name] / 2**20:,.0f} MiB |")
    return "\n".join(lines)


def distortion(problems: list[Problem], codebooks: list[Any]) -> float:
    """The mean over problems of the exact distortion of their codebooks."""
    return sum(qz.distortion(p.points, codes, rng=0).value for p, codes in zip(problems, codebooks, strict=True)) / len(problems)


if __name__ == "__main__":
    sys.exit(main())
