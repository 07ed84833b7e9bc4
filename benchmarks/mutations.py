"""Solvers broken on purpose, one defect at a time: which claims of ``theory_checks`` notice.

    python -m benchmarks.mutations [NAME ...] [--processes 2] [--write docs/theory_checks.md]

Each defect is patched into a process of its own, never into a file; then every claim is checked there on as many cases as in the
everyday tests. Exit status 1 if a defect goes unnoticed, or if the unbroken solvers fail. A patch that no longer fits the solvers
ends the run: errors of its own would pass for a claim that notices. An everyday test tries every patch on its example, whose
results it must change.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import stats

import quantization as qz
from benchmarks.solvers.page import BEGIN, updated
from quantization import assignment, estimate, iteration, measure
from quantization.assignment import blocks, gemm, gram_matrix, low_dim
from quantization.clvq_state import CLVQState
from quantization.empirical import one_dimensional, samples
from quantization.laws_1d import density_law
from quantization.laws_2d import gaussian_mixture_law
from quantization.solvers import schedules

cells: Any = import_module("quantization.assignment.cells")  # whose name a function of the package has
Patch = tuple[Any, str, Any]  # a module or class, the name of what is replaced, and what replaces it


@dataclass(frozen=True)
class Defect:
    """What is broken, in words; the patches that break it; results that each must change, as the patches fit the code."""

    words: str
    patches: Callable[[], list[Patch]]
    example: Callable[[], list[Any]]


MUTATIONS: dict[str, Defect] = {"none": Defect("nothing is broken", list, list)}


def mutation(words: str, example: Callable[[], list[Any]]) -> Callable[[Callable[[], list[Patch]]], Callable[[], list[Patch]]]:
    """Decorator: a function that says what to patch, the package as it is at hand."""

    def register(patches: Callable[[], list[Patch]]) -> Callable[[], list[Patch]]:
        MUTATIONS[patches.__name__] = Defect(words, patches, example)
        return patches

    return register


@contextmanager
def broken(name: str) -> Iterator[None]:
    """The package with this defect; ``AttributeError`` where there is nothing of a patch's name to replace."""
    with ExitStack() as stack:
        for owner, attribute, replacement in MUTATIONS[name].patches():
            stack.enter_context(patch.object(owner, attribute, replacement))
        yield


# Small inputs of the examples.
CLOUD = np.random.default_rng(0).normal(3.0, size=(60, 2))
WEIGHTED = qz.DiscreteMeasure.from_unnormalized(CLOUD, np.arange(1, 61))
CODES = CLOUD[:4]
MIXTURE = qz.GaussianMixture([0.3, 0.7], [[0.0], [2.0]], [[[1.0]], [[1.0]]])


def by_every_strategy(quantity: Callable[[qz.Solution], Any], max_iter: int | None = None) -> list[Any]:
    """Some quantity of Lloyd's answers by array operations, in few dimensions and by matrix products."""
    shapes = ((60, 2), (3000, 2), (3000, 12))
    clouds = [np.random.default_rng(0).normal(3.0, size=shape) for shape in shapes]
    solver = qz.Lloyd(rtol=1e-3)
    return [quantity(qz.quantize(x, 4, init=x[:4], solver=solver, max_iter=max_iter, rng=0)) for x in clouds]


@mutation("`project` loses the weight of the last code", lambda: [WEIGHTED.project(CODES).weights])
def drop_a_weight() -> list[Patch]:
    project = qz.DiscreteMeasure.project

    def wrong(self, points):
        found = project(self, points)
        masses = found.weights_float64.copy()
        if np.count_nonzero(masses[:-1]):
            masses[-1] = 0.0
        return qz.DiscreteMeasure.from_unnormalized(found.points, masses)

    return [(qz.DiscreteMeasure, "project", wrong)]


@mutation("`assign` returns the next cell's index", lambda: [WEIGHTED.assign(CODES)])
def off_by_one_cell() -> list[Patch]:
    nearest = measure.nearest

    def wrong(points, codes):
        found = nearest(points, codes)
        return replace(found, labels=(found.labels + 1) % len(codes))

    return [(measure, "nearest", wrong)]


@mutation(
    "of equally near codes the last one has the point",
    lambda: [qz.DiscreteMeasure([[0.0], [1.0], [2.0]]).project(np.array([[0.0], [2.0]])).weights],
)
def last_code_wins_ties() -> list[Patch]:
    cells_of = measure.cells

    def wrong(points, weights, codes):
        found = cells_of(points, weights, codes[::-1])
        return replace(found, masses=found.masses[::-1], means=found.means[::-1], gradient=found.gradient[::-1])

    return [(measure, "cells", wrong)]


@mutation(
    "CLVQ moves codes twice as far",
    lambda: [qz.quantize(CLOUD, 4, solver=qz.CLVQ(schedule=qz.RobbinsMonro(0.1)), max_iter=3, rng=0).points],
)
def wrong_step_size() -> list[Patch]:
    steps = schedules.RobbinsMonro.steps

    def wrong(self, n, won, counts, size):
        return np.minimum(1.0, 2 * steps(self, n, won, counts, size))

    return [(schedules.RobbinsMonro, "steps", wrong)]


@mutation("a solution's weights are 1/K, not the cells' masses", lambda: [qz.quantize(CLOUD, 7, rng=0).weights])
def uniform_for_mass() -> list[Patch]:
    solution = iteration._Run.solution

    def wrong(self, state, status):
        found = solution(self, state, status)
        return replace(found, measure=qz.DiscreteMeasure(found.measure.points))

    return [(iteration._Run, "solution", wrong)]


@mutation(
    "squared distances by expanding the square, in float32 and not centred",
    lambda: [*by_every_strategy(lambda s: s.distortion), qz.distortion(1e4 + CLOUD, 1e4 + CODES).value],
)
def float32_cancellation() -> list[Patch]:
    def block(self, points, labels=None):
        x, codes = points.astype(np.float32), self.exact.astype(np.float32)
        squared = np.square(x).sum(1)[:, None] + np.square(codes).sum(1) - 2 * x @ codes.T
        labels = squared.argmin(1) if labels is None else labels
        least = np.maximum(np.take_along_axis(squared, labels[:, None], 1)[:, 0], 0).astype(np.float64)
        return labels, least, points - self.exact[labels]

    def only_blocks(*_problem, **_options):
        return "blocks"

    selected = [(module, "select_strategy", only_blocks) for module in (assignment, samples)]
    return [(blocks._Search, "block", block), *selected]


@mutation("centroids are shrunk towards the origin by a thousandth", lambda: by_every_strategy(lambda s: s.points, max_iter=3))
def shrunk_centroids() -> list[Patch]:
    of_sums, in_few, by_products = cells.Sums.cells, low_dim._Cells.advance, gemm._Cells._means

    def wrong(self, codes, r):
        found = of_sums(self, codes, r)
        return replace(found, means=0.999 * found.means)

    def wrong_in_few(self):
        self._following = 0.999 * self._following
        in_few(self)

    def wrong_by_products(self, codes, masses):
        means, distortion, off = by_products(self, codes, masses)
        return 0.999 * means, distortion, off

    return [
        (cells.Sums, "cells", wrong),
        (low_dim._Cells, "advance", wrong_in_few),
        (gemm._Cells, "_means", wrong_by_products),
    ]


@mutation("the distortion has a factor ½", lambda: [qz.distortion(CLOUD, CODES).value])
def half_the_distortion() -> list[Patch]:
    whole = qz.distortion

    def wrong(*arguments, **options):
        found = whole(*arguments, **options)
        return replace(found, value=found.value / 2, low=found.low / 2, high=found.high / 2)

    return [(qz, "distortion", wrong)]


@mutation("`wasserstein` forgets the root", lambda: [qz.wasserstein(WEIGHTED, qz.DiscreteMeasure(CODES))])
def root_forgotten() -> list[Patch]:
    rooted = qz.wasserstein

    def wrong(mu, nu, *, r=2.0, **options):
        return rooted(mu, nu, r=r, **options) ** r

    return [(qz, "wasserstein", wrong)]


@mutation(
    "CLVQ answers with the last iterate though asked to average",
    lambda: [qz.quantize(CLOUD, 4, solver=qz.CLVQ(batch=20), max_iter=5, rng=0).points],
)
def iterates_not_averaged() -> list[Patch]:
    state = qz.CLVQ._state
    return [(qz.CLVQ, "_state", lambda self, reached: state(replace(self, averaging=False), reached))]


@mutation(
    "companion weights stay halfway between 1/K and what they should be",
    lambda: [qz.quantize(CLOUD, 7, solver=qz.CLVQ(batch=20), max_iter=5, rng=0).trace.companion],
)
def companion_weights_lag() -> list[Patch]:
    return [(CLVQState, "weights", property(lambda self: (self.share / self.share.sum() + 1 / len(self.share)) / 2))]


@mutation(
    "a plan sends every point to its nearest target: its second marginal is wrong",
    lambda: [
        qz.transport(WEIGHTED, qz.DiscreteMeasure(CODES)).plan,
        qz.barycenter([WEIGHTED, CLOUD], 4, atom_weights="uniform", max_iter=5, rng=0).points,
    ],
)
def wrong_marginals() -> list[Patch]:
    solve = qz.NetworkSimplex.solve

    def wrong(self, a, b, costs, *tree):
        return replace(solve(self, a, b, costs, *tree), sparse_plan=(np.arange(len(a)), costs.argmin(1), a))

    return [(qz.NetworkSimplex, "solve", wrong)]


@mutation(
    "a residual is reported a thousandth of what it is, so that solvers stop early",
    lambda: [
        *by_every_strategy(lambda s: s.n_iter),
        *(qz.quantize(law, 4, init=CLOUD[:4, :1], max_iter=0, rng=0).stationarity for law in (CLOUD[:, :1], stats.norm())),
    ],
)
def residual_understated() -> list[Patch]:
    stationarity, step = cells.stationarity, gemm.Step

    def wrong(gradient, masses, distortion, r):
        return stationarity(gradient, masses, distortion, r) / 1000

    def wrong_step(*fields):
        found = step(*fields)
        return replace(found, stationarity=found.stationarity / 1000)

    places, strategies = (cells, estimate, one_dimensional, density_law, gaussian_mixture_law), (low_dim, gemm, gram_matrix)
    return [*((place, "stationarity", wrong) for place in places), *((strategy, "Step", wrong_step) for strategy in strategies)]


@mutation(
    "Lloyd stops when codes move by less than 0.001, whatever the unit, and says it has converged",
    lambda: [qz.quantize(1e-6 * CLOUD, 4, init=1e-6 * CODES, solver=qz.Lloyd(), rng=0).n_iter],
)
def absolute_tolerance() -> list[Patch]:
    solve = qz.Lloyd.solve

    def wrong(self, problem, codes, rng):
        before = None
        for state in solve(self, problem, codes, rng):
            here = state.codes()
            if before is not None and np.abs(here - before).max() < 1e-3:
                yield replace(state, stationarity=0.0)
                return
            before = here
            yield state

    return [(qz.Lloyd, "solve", wrong)]


@mutation(
    "Newton's method ends after one step and says it has converged",
    lambda: [qz.quantize(stats.norm(), 4, init=CLOUD[:4, :1], rng=0).n_iter],
)
def newton_stops() -> list[Patch]:
    solve = qz.Newton.solve

    def wrong(self, problem, codes, rng):
        for n, state in enumerate(solve(self, problem, codes, rng)):
            if n == 1:
                yield replace(state, stationarity=0.0)
                return
            yield state

    return [(qz.Newton, "solve", wrong)]


@mutation("on the line each code has the mass of the next cell", lambda: [qz.quantize(stats.expon(), 3, rng=0).weights])
def masses_of_the_next_cell() -> list[Patch]:
    of_line = density_law.DensityLaw1D.cells

    def wrong(self, codes):
        found = of_line(self, codes)
        return replace(found, masses=np.roll(found.masses, 1))

    return [(density_law.DensityLaw1D, "cells", wrong)]


@mutation("`expect` forgets the weights", lambda: [WEIGHTED.expect(lambda x: x)])
def unweighted_expectations() -> list[Patch]:
    return [(qz.DiscreteMeasure, "expect", lambda self, f: f(self.points).mean(0))]


@mutation("the score of a mixture weighs components by their prior weights", lambda: [MIXTURE.score(CODES[:, :1])])
def score_without_posterior() -> list[Patch]:
    def score(self, x):
        x = np.asarray(x)
        return -self._pull(x, np.tile(self.weights[:, None], len(x)))

    return [(qz.GaussianMixture, "score", score)]


@mutation("Lloyd's sums forget the weights of the samples", lambda: [qz.quantize(WEIGHTED, 4, init=CODES, rng=0).points])
def weights_of_samples_ignored() -> list[Patch]:
    init = samples.EmpiricalLaw.__init__

    def wrong(self, measure, r, strategy=None):
        init(self, qz.DiscreteMeasure(measure.points), r, strategy)

    return [(samples.EmpiricalLaw, "__init__", wrong)]


@mutation("Lloyd answers with its start", lambda: by_every_strategy(lambda s: s.points, max_iter=2))
def no_steps() -> list[Patch]:
    solve = qz.Lloyd.solve

    def wrong(self, problem, codes, rng):
        yield next(solve(self, problem, codes, rng))

    return [(qz.Lloyd, "solve", wrong)]


_MISFITS = ("AttributeError", "ImportError", "KeyError", "NameError", "TypeError")  # which no defect of these raises


def check(name: str) -> tuple[str, dict[str, str], float]:
    """The claims that do not hold once this is broken, with their verdicts, and the seconds it took."""
    from theory_checks import CLAIMS
    from theory_checks.trial import Verdict, examine

    started = perf_counter()
    with broken(name):
        findings = [f for f in examine(list(CLAIMS), profile="brief", seed=0) if f.verdict is not Verdict.HOLDS]
    for trial in (trial for finding in findings for trial in finding.trials):
        if trial.error and trial.error.startswith(_MISFITS):
            raise RuntimeError(f"the patch {name!r} does not fit the solvers any more: {trial.error} on {trial.case}")
    caught = {f.claim.name: f.verdict.value for f in findings}
    return name, caught, perf_counter() - started


def as_markdown(results: list[tuple[str, dict[str, str], float]]) -> str:
    """A table: what was broken, how many claims noticed, and which."""
    rows = []
    for name, caught, _ in results:
        if name == "none":
            continue
        shown = ", ".join(f"`{claim}`" for claim in list(caught)[:4]) + (
            f" and {len(caught) - 4} more" if len(caught) > 4 else ""
        )
        rows.append(f"| {MUTATIONS[name].words} | {len(caught)} | {shown or '**none**'} |")
    return "\n".join(["### The defects", "", "| defect | claims that notice | which |", "|---|---|---|", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*MUTATIONS, []], metavar="NAME", help=f"of {', '.join(MUTATIONS)}")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page, between its markers")
    options = parser.parse_args()
    if options.write is not None and (not options.write.is_file() or BEGIN not in options.write.read_text(encoding="utf-8")):
        parser.error(f"{options.write} has no line {BEGIN!r} to put the table after")
    names = options.names or list(MUTATIONS)
    results = []
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for name, caught, seconds in pool.map(check, names):
            results.append((name, caught, seconds))
            told = ", ".join(f"{claim} {why}" for claim, why in caught.items()) or "no claim notices"
            print(f"{name} ({seconds:.0f} s): {told}", flush=True)
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(updated(page, [as_markdown(results)]), encoding="utf-8")
    missed = [name for name, caught, _ in results if bool(caught) == (name == "none")]
    print(f"{len(results) - len(missed)} of {len(results)} as they should be" + (f"; not: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
