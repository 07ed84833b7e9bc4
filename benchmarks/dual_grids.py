"""Dual grids in space, descent on a sample beside stochastic gradient: ``python -m benchmarks.dual_grids``.

Both begin at the same codes, on a cube: a descent on 2^14 draws until it ends, mini-batches of fresh draws, and the one after
the other. Distortions are of the same 2^20 fresh draws, with the residual; seconds are CPU time.
"""

import itertools
import time

import numpy as np

import quantization as qz
from quantization.grids.dual_descent import Hull, descend, first_codes, learn
from quantization.threads import limit_blas_threads

DRAWS, MEASURED = 2**14, 2**20


def main() -> None:
    """Print a table."""
    print("| d | K | descent on 2^14 draws | s | stochastic gradient | s | descent after it |")
    print("|---|---|---|---|---|---|---|")
    with limit_blas_threads():
        _table()


def _table() -> None:
    for dim, k in [(2, 25), (2, 100), (3, 60), (4, 60)]:
        corners = np.array(list(itertools.product([0.0, 1.0], repeat=dim)))
        rng, hull = np.random.default_rng(0), Hull(corners)
        x, w, fresh = rng.random((DRAWS, dim)), np.full(DRAWS, 1 / DRAWS), qz.DiscreteMeasure(rng.random((MEASURED, dim)))
        start, began = first_codes(qz.DiscreteMeasure(x), k, hull, rng), time.process_time()
        descended, between = descend(x, w, start, hull, 200, 1e-5), time.process_time()
        learned, end = learn(lambda n: rng.random((n, dim)), start, hull, 1000), time.process_time()  # noqa: B023
        grids = [qz.dual_grid(fresh, codes) for codes in (descended, learned, descend(x, w, learned, hull, 200, 1e-5))]
        first, second, third = (f"{grid.distortion:.5f} ({grid.stationarity:.3f})" for grid in grids)
        print(f"| {dim} | {k} | {first} | {between - began:.1f} | {second} | {end - between:.1f} | {third} |", flush=True)


if __name__ == "__main__":
    main()
