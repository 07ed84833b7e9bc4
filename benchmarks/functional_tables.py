"""Tables of the best product grids of Gaussian processes: ``python -m benchmarks.functional_tables --out FILE``, a CSV file.

A row for every N from which on other shares are best, up to ``--most``; between rows nothing changes. Beside the distortion stand
Shannon's lower bound for so many codes and, where there is one, the published value.
"""

import argparse
import csv
import sys
from collections.abc import Iterator

import numpy as np

import quantization as qz

PROCESSES: dict[str, qz.Process] = {
    "brownian-motion": qz.BrownianMotion(),
    "brownian-bridge": qz.BrownianBridge(),
    "ornstein-uhlenbeck": qz.OrnsteinUhlenbeck(1.0),
    "stationary-ornstein-uhlenbeck": qz.OrnsteinUhlenbeck(1.0, start="stationary"),
    "fractional-0.3": qz.FractionalBrownianMotion(0.3),
    "fractional-0.7": qz.FractionalBrownianMotion(0.7),
}
# Pagès and Printems, Monte Carlo Methods and Applications 11 (2005).
PUBLISHED = {("brownian-motion", 10): 0.098446153297, ("brownian-motion", 96): 0.051275751092}


def main(arguments: list[str] | None = None) -> None:
    """Write the tables of the processes asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.functional_tables", description="Tables of the best product grids of Gaussian processes."
    )
    parser.add_argument("--processes", nargs="*", default=list(PROCESSES), choices=list(PROCESSES), help="which (default: all)")
    parser.add_argument("--most", type=int, default=10_000, help="the largest N (default: 10000)")
    parser.add_argument("--out", help="a file (default: the terminal)")
    options = parser.parse_args(arguments)
    with open(options.out, "w", newline="") if options.out else sys.stdout as file:
        writer = csv.writer(file)
        writer.writerow(["process", "n", "shares", "distortion", "shannon", "published"])
        for name in options.processes:
            for grid in sorted(best_grids(PROCESSES[name], options.most), key=len):
                published = PUBLISHED.get((name, len(grid)), "")
                row = [name, len(grid), "x".join(map(str, grid.shape)), f"{grid.distortion:.12f}"]
                writer.writerow([*row, f"{shannon(grid.process, len(grid)):.12f}", published])


def best_grids(process: qz.Process, most: int) -> Iterator[qz.FunctionalGrid]:
    """The grids that are the best of at most n paths for some n ≤ most, the largest first."""
    n = most
    while n:
        grid = qz.functional_grid(process, n)
        yield grid
        n = len(grid) - 1


def shannon(process: qz.Process, n: int) -> float:
    """What no n paths can do better than: the distortion of the process at log n nats, by reverse water-filling."""
    expansion = process.karhunen_loeve(32)
    levels = (np.cumsum(np.log(expansion.eigenvalues)) - 2 * np.log(n)) / np.arange(1, 33)
    m = int(np.argmax(np.exp(levels[:-1]) >= expansion.eigenvalues[1:])) + 1
    return m * float(np.exp(levels[m - 1])) + expansion.trace - float(expansion.eigenvalues[:m].sum())


if __name__ == "__main__":
    main()
