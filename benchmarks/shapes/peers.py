"""Who takes part, how they are timed in turn, and whether their answers agree."""

import gc
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import quantization as qz
from benchmarks.shapes.work import CHUNK, FULL, Array, Row, Shape, make

Call = Callable[[], Array]
OURS, LLOYD, ELKAN, FAISS = "ours", "scikit-learn lloyd", "scikit-learn elkan", "faiss"
ROUNDS, SIDE_SECONDS = 5, 0.3
THREADS = 2
SEEDS = 5  # of the comparison of defaults
DEFAULTS_SECONDS = 60.0  # after which a shape's defaults begin no further seed


def ours(points: Array, weights: Array | None, k: int, **options: Any) -> Array:
    """The codes that ``quantize`` returns; the only place where the benchmark of steps and that of defaults call it."""
    law = points if weights is None else qz.DiscreteMeasure(points, weights)
    return qz.quantize(law, k, **options).measure.points


def sklearn_kmeans(points: Array, weights: Array | None, k: int, **options: Any) -> Array:
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: the steps are given
        return KMeans(k, **options).fit(points, sample_weight=weights).cluster_centers_


def faiss_kmeans(points: Array, weights: Array | None, codes: Array, steps: int) -> Array:
    """It computes in float32, and converts points of another dtype itself.

    Its codes come without their cells; the last assignment, which everyone else's answer includes, is asked for.
    """
    import faiss

    faiss.omp_set_num_threads(THREADS)
    k, d = codes.shape
    kmeans = faiss.Kmeans(d, k, niter=steps, seed=1, min_points_per_centroid=1, max_points_per_centroid=len(points))
    kmeans.train(points, weights=weights, init_centroids=codes.astype(np.float32))
    kmeans.assign(points)
    return kmeans.centroids


def sides(shape: Shape, points: Array, weights: Array | None, codes: Array) -> dict[str, Call]:
    """Everyone's whole call: so many Lloyd steps from these codes, however little they move."""
    k, steps = shape.k, shape.steps
    lloyd = {"init": codes, "n_init": 1, "max_iter": steps, "tol": 0}
    counts = weights if weights is None else weights * shape.n  # faiss, where it splits a cell, takes them for counts
    calls: dict[str, Call] = {
        OURS: lambda: ours(points, weights, k, init=codes, max_iter=steps, solver=qz.Lloyd(rtol=0), rng=0),
        LLOYD: lambda: sklearn_kmeans(points, counts, k, algorithm="lloyd", **lloyd),
        ELKAN: lambda: sklearn_kmeans(points, counts, k, algorithm="elkan", **lloyd),
        FAISS: lambda: faiss_kmeans(points, counts, codes, steps),
    }
    return calls if shape.elkan else {name: call for name, call in calls.items() if name != ELKAN}


def in_turn(calls: dict[str, Call], rounds: int, least: float, spent: Callable[[], bool]) -> tuple[dict[str, list[float]], Any]:
    """Median seconds a call in every round, each repeated for ``least`` seconds, in an order that turns; and the last answers."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    answers: dict[str, Array] = {}
    order = list(calls)
    for turn in range(rounds):
        if turn and spent():
            break
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            gc.collect()
            times: list[float] = []
            while not times or sum(times) < least:
                begun = time.perf_counter()
                answers[name] = calls[name]()
                times.append(time.perf_counter() - begun)
            seconds[name].append(median(times))
    return seconds, answers


def measure_steps(shape: Shape, spent: Callable[[], bool] = lambda: False) -> Row:
    """A row of the grid: ratios of wall times, medians over rounds, and by how much the distortions differ."""
    points, weights, codes = make(shape)
    calls = sides(shape, points, weights, codes)
    for name, call in calls.items():
        if shape.full or name == OURS:  # compiled and loaded; of large shapes the peers have nothing left to load
            call()
    rounds, least = (ROUNDS, SIDE_SECONDS) if shape.full else (1, 0.0)
    seconds, answers = in_turn(calls, rounds, least, spent)
    ratios = {name: median(a / b for a, b in zip(seconds[OURS], seconds[name], strict=True)) for name in calls if name != OURS}
    best = max(ratios, key=lambda name: ratios[name])
    found = {name: distortion(points, weights, answer) for name, answer in answers.items()}
    apart = {name: found[OURS] / found[name] - 1 for name in ratios}
    allowed = tolerance(shape, points, weights, found[LLOYD])
    note = "" if abs(apart[LLOYD]) <= allowed else why_apart(shape, points, weights, codes)
    return {
        "steps": shape.steps,
        "rounds": len(seconds[OURS]),
        "seconds": {name: median(times) for name, times in seconds.items()},
        "ratios": ratios,
        "best": best,
        "ratio": ratios[best],
        "apart": apart,
        "tolerance": allowed,
        "note": note,
    }


def measure_defaults(shape: Shape, spent: Callable[[], bool] = lambda: False) -> Row:
    """A row of the comparison of defaults: total seconds and mean distortions over seeds, ours over scikit-learn's."""
    points, weights, _ = make(shape)
    begun, total, mean, seeds = time.perf_counter(), {OURS: 0.0, LLOYD: 0.0}, {OURS: 0.0, LLOYD: 0.0}, 0
    while seeds < SEEDS and not (seeds and (spent() or time.perf_counter() - begun > DEFAULTS_SECONDS)):
        calls: dict[str, Call] = {
            OURS: lambda: ours(points, weights, shape.k, rng=seeds),  # noqa: B023
            LLOYD: lambda: sklearn_kmeans(points, weights, shape.k, random_state=seeds),  # noqa: B023
        }
        if not seeds:
            calls[OURS]()  # compiled
        seconds, answers = in_turn(calls, 1, SIDE_SECONDS / SEEDS, spent)
        for name in calls:
            total[name] += seconds[name][0]
            mean[name] += distortion(points, weights, answers[name])
        seeds += 1
    ratios = {"ratio": total[OURS] / total[LLOYD], "distortion": mean[OURS] / mean[LLOYD]}
    return {"rounds": seeds, "seconds": total, "best": LLOYD, **ratios}


def distortion(points: Array, weights: Array | None, codes: Array) -> float:
    """Σ w min |x − c|² / Σ w in float64: on every m-th point, the same ones for everyone, where all would take long."""
    every = slice(None, None, max(1, round(points.shape[0] * codes.size / FULL)))
    w = np.ones(len(points[every])) if weights is None else weights[every]
    least = [squares.min(1) for _, squares in _blocks(points[every], codes)]
    return float(w @ np.concatenate(least) / w.sum())


def tolerance(shape: Shape, points: Array, weights: Array | None, distortion: float) -> float:
    r"""By how much the round-off of a step may move the distortion, relative to it, times the steps.

    With κ the variance over the distortion: a squared distance is off by ε κ of the distortion (a point in doubt that goes to the
    other code costs no more), a centroid, a sum of n/K numbers one after the other, by ε sqrt(n κ / K) of its root,
    which the distortion feels once at most (its derivative is twice the stationarity, below one half after a step or two).
    """
    every = slice(None, None, max(1, points.size // CHUNK))
    kappa = float(np.var(points[every], axis=0, dtype=np.float64).sum()) / distortion
    return 4 * shape.steps * float(np.finfo(shape.dtype).eps) * (kappa + (shape.n / shape.k * kappa) ** 0.5)


def why_apart(shape: Shape, points: Array, weights: Array | None, codes: Array) -> str:
    """Why correct runs may differ by more than round-off: the first empty cell or tie of Lloyd's steps in float64."""
    if 3 * shape.size > 20 * FULL:
        return "DISAGREES (too large to look for ties)"
    w = np.ones(shape.n) if weights is None else weights
    x0 = points.mean(0, dtype=np.float64)
    eps, terms = float(np.finfo(shape.dtype).eps), shape.d**0.5 + (shape.n / shape.k) ** 0.5
    reach = float(np.square(np.maximum(points.max(0) - x0, x0 - points.min(0))).sum())  # no point lies further from the mean
    for step in range(1, shape.steps + 1):
        masses, sums, gap = np.zeros(shape.k), np.zeros((shape.k, shape.d)), np.inf
        for rows, squares in _blocks(points, codes):
            two = np.partition(squares, 1, axis=1)[:, :2]
            gap = min(gap, float((two[:, 1] - two[:, 0]).min()))
            labels = squares.argmin(1)
            masses += np.bincount(labels, w[rows], minlength=shape.k)
            np.add.at(sums, labels, w[rows, None] * (points[rows] - x0))
        if not masses.all():
            return f"empty cell at step {step}"
        if gap <= 4 * eps * terms * reach:  # a score's round-off, and that of the sums behind its codes
            return f"tie at step {step}"
        codes = sums / masses[:, None] + x0
    return "DISAGREES"


def _blocks(points: Array, codes: Array) -> Any:
    """Rows and their squared distances to all codes, in float64, about the mean of the codes."""
    centre = codes.mean(0, dtype=np.float64)
    codes = codes.astype(np.float64) - centre
    norms, count = np.square(codes).sum(1), max(1, CHUNK // max(codes.shape))
    for first in range(0, len(points), count):
        x = points[first : first + count] - centre
        yield slice(first, first + len(x)), np.maximum(np.square(x).sum(1)[:, None] - 2 * x @ codes.T + norms, 0)
