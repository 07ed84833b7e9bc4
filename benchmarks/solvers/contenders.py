"""Who takes part, each called as its users would: a list of problems and a number of steps in, the best codebooks out."""

import importlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import quantization as qz
from benchmarks.solvers.work import Array, Problem

Contender = Callable[[list[Problem], int], list[Array]]
THREADS = 2


@dataclass
class InTurn:
    """An initialization that gives one codebook after the other, one to a restart."""

    codebooks: list[Array]
    _given: list[int] = field(default_factory=list)

    def check(self, problem: Any) -> None:
        """They fit."""

    def draw(self, problem: Any, rng: np.random.Generator) -> Array:
        self._given.append(1)
        return self.codebooks[(len(self._given) - 1) % len(self.codebooks)]


def quantize(problems: list[Problem], steps: int) -> list[Array]:
    """A loop over qz.quantize. On the line its exact way, from its own start."""
    return [_points(qz.quantize(p.points, len(p.starts[0]), **_options(p, steps))) for p in problems]


def quantize_many(problems: list[Problem], steps: int) -> list[Array]:
    """One call of qz.quantize_many."""
    options = [_options(p, steps) for p in problems]
    shared = {key: value for key, value in options[0].items() if key != "init"}
    inits = [o["init"] for o in options] if "init" in options[0] else None
    k = [len(p.starts[0]) for p in problems]
    return [_points(sol) for sol in qz.quantize_many([p.points for p in problems], k, init=inits, **shared)]


def _options(problem: Problem, steps: int) -> dict[str, Any]:
    if problem.points.shape[1] == 1:
        return {"rng": 0}
    n_init = len(problem.starts)
    return {"solver": qz.Lloyd(rtol=0), "init": InTurn(problem.starts), "n_init": n_init, "max_iter": steps, "rng": 0}


def _points(solution: qz.Solution) -> Array:
    return solution.points


def sklearn_lloyd(problems: list[Problem], steps: int) -> list[Array]:
    return _sklearn(problems, steps, "lloyd")


def sklearn_elkan(problems: list[Problem], steps: int) -> list[Array]:
    return _sklearn(problems, steps, "elkan")


def _sklearn(problems: list[Problem], steps: int, algorithm: str) -> list[Array]:
    cluster: Any = importlib.import_module("sklearn.cluster")
    found: list[Array] = []
    for p in problems:
        # KMeans moves the data to their mean, and starts that a function gives it should lie there too; it writes into them.
        mean = p.points.mean(0)
        starts = iter([start - mean for start in p.starts])
        kmeans = cluster.KMeans(
            len(p.starts[0]), init=_next(starts), n_init=len(p.starts), max_iter=steps, tol=0, algorithm=algorithm, random_state=0
        )
        found.append(_fitted(kmeans, p))
    return found


def sklearn_minibatch(problems: list[Problem], steps: int) -> list[Array]:
    """As many epochs as there are steps, five at most, in batches of 1024, without the rules that stop it early."""
    cluster: Any = importlib.import_module("sklearn.cluster")
    found: list[Array] = []
    for p in problems:
        starts = iter([start.copy() for start in p.starts])
        kmeans = cluster.MiniBatchKMeans(
            len(p.starts[0]),
            init=_next(starts),
            n_init=len(p.starts),
            max_iter=min(steps, 5),
            tol=0,
            max_no_improvement=None,
            random_state=0,
        )
        found.append(_fitted(kmeans, p))
    return found


def _next(starts: Iterator[Array]) -> Any:
    return lambda *_arguments, **_options: next(starts)


def _fitted(kmeans: Any, problem: Problem) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kmeans.fit(problem.points).cluster_centers_


def faiss_kmeans(problems: list[Problem], steps: int) -> list[Array]:
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(THREADS)
    found: list[Array] = []
    for p in problems:
        tries: list[tuple[float, Array]] = []
        for start in p.starts:
            limits = {"min_points_per_centroid": 1, "max_points_per_centroid": len(p.points)}
            kmeans = faiss.Kmeans(p.points.shape[1], len(start), niter=steps, seed=1, **limits)
            kmeans.train(p.points, init_centroids=start.copy())
            tries.append((float(kmeans.obj[-1]), kmeans.centroids))
        found.append(min(tries, key=lambda t: t[0])[1])
    return found


def plain_torch(problems: list[Problem], steps: int) -> list[Array]:
    """What one writes in ten lines: a matrix product, argmin and index_add."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(THREADS)
    found: list[Array] = []
    for p in problems:
        x, tries = torch.from_numpy(p.points), []
        for start in p.starts:
            codes = torch.from_numpy(start.copy())
            for _ in range(steps):
                labels = ((codes * codes).sum(1) / 2 - x @ codes.T).argmin(1)
                counts = torch.bincount(labels, minlength=len(codes)).clamp(min=1)
                codes = torch.zeros_like(codes).index_add_(0, labels, x) / counts[:, None]
            scores = ((codes * codes).sum(1) / 2 - x @ codes.T).amin(1)
            tries.append((float(scores.sum()), codes.numpy()))
        found.append(min(tries, key=lambda t: t[0])[1])
    return found


def plain_gram(problems: list[Problem], steps: int) -> list[Array]:
    """Twenty lines: inner products of the points once, for all restarts and steps, and codes as averages of their rows."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(THREADS)
    found: list[Array] = []
    for p in problems:
        centre, tries = torch.from_numpy(p.points.mean(0)), []
        x = torch.from_numpy(p.points) - centre
        gram = x @ x.T
        for start in p.starts:
            codes = torch.from_numpy(start) - centre
            labels = ((codes * codes).sum(1) / 2 - x @ codes.T).argmin(1)
            for _ in range(steps):
                counts = torch.bincount(labels, minlength=len(codes)).clamp(min=1)
                rows = torch.zeros(len(codes), len(x)).index_add_(0, labels, gram) / counts[:, None]  # <c, x> of every code
                squares = torch.zeros(len(codes)).index_add_(0, labels, rows[labels, torch.arange(len(x))]) / counts
                scores = squares[:, None] / 2 - rows
                last, labels = labels, scores.argmin(0)
            tries.append((float(scores.amin(0).sum()), last, counts))
        _, labels, counts = min(tries, key=lambda t: t[0])
        means = torch.zeros(len(counts), x.shape[1]).index_add_(0, labels, x) / counts[:, None]
        found.append((means + centre).numpy())
    return found


OURS: dict[str, Contender] = {"quantize, in a loop": quantize, "quantize_many": quantize_many}
REFERENCE = "scikit-learn lloyd"
PEERS: dict[str, Contender] = {
    REFERENCE: sklearn_lloyd,
    "scikit-learn elkan": sklearn_elkan,
    "scikit-learn MiniBatchKMeans": sklearn_minibatch,
    "faiss": faiss_kmeans,
    "plain torch": plain_torch,
    "plain torch, on the Gram matrix": plain_gram,
}
