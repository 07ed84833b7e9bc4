"""Solvers broken on purpose, one defect at a time: which claims of ``theory_checks`` notice.

    python -m benchmarks.mutations [NAME ...] [--processes 2] [--write docs/theory_checks.md]

Each defect is patched into a process of its own, never into a file; then every claim is checked there on as many cases as in the
everyday tests. Exit status 1 if a defect goes unnoticed, or if the unbroken solvers fail. A patch that no longer fits the solvers
ends the run: errors of its own would pass for a claim that notices.
"""

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np

import quantization as qz
from benchmarks.solvers.page import BEGIN, updated
from quantization import cells, measure, portable
from quantization.clvq_state import CLVQState
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.solvers import newton, schedules

MUTATIONS: dict[str, tuple[str, Callable[[], None]]] = {"none": ("nothing is broken", lambda: None)}


def mutation(words: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Decorator: a function that breaks something in this process."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[apply.__name__] = (words, apply)
        return apply

    return register


@mutation("`project` loses the weight of the last code")
def drop_a_weight() -> None:
    project = qz.DiscreteMeasure.project

    def broken(self, points):
        found = project(self, points)
        masses = found.masses.copy()
        if np.count_nonzero(masses[:-1]):
            masses[-1] = 0.0
        return qz.DiscreteMeasure.from_unnormalized(found.points, masses)

    qz.DiscreteMeasure.project = broken


@mutation("`assign` returns the next cell's index")
def off_by_one_cell() -> None:
    nearest = measure.nearest

    def broken(points, codes):
        found = nearest(points, codes)
        return replace(found, labels=(found.labels + 1) % len(codes))

    measure.nearest = broken


@mutation("of equally near codes the last one has the point")
def last_code_wins_ties() -> None:
    cells_of = measure.cells

    def broken(points, masses, codes):
        found = cells_of(points, masses, codes[::-1])
        return replace(found, masses=found.masses[::-1], means=found.means[::-1], gradient=found.gradient[::-1])

    measure.cells = broken


@mutation("CLVQ moves codes twice as far")
def wrong_step_size() -> None:
    steps = schedules.RobbinsMonro.steps
    schedules.RobbinsMonro.steps = lambda self, n, won, counts, size: np.minimum(1.0, 2 * steps(self, n, won, counts, size))


@mutation("a solution's weights are 1/K, not the cells' masses")
def uniform_for_mass() -> None:
    loop = import_module("quantization.iteration")._Run  # the package has a function of the module's name
    solution = loop.solution

    def broken(self, state, status):
        found = solution(self, state, status)
        return replace(found, measure=qz.DiscreteMeasure(found.measure.points))

    loop.solution = broken


@mutation("squared distances by expanding the square, in float32 and not centred")
def float32_cancellation() -> None:
    def block(self, points):
        x, codes = points.astype(np.float32), self.exact.astype(np.float32)
        squared = np.square(x).sum(1)[:, None] + np.square(codes).sum(1) - 2 * x @ codes.T
        labels = squared.argmin(1)
        least = np.maximum(np.take_along_axis(squared, labels[:, None], 1)[:, 0], 0).astype(np.float64)
        return labels, least, points - self.exact[labels]

    portable._Search.block = block


@mutation("centroids are shrunk towards the origin by a thousandth")
def shrunk_centroids() -> None:
    of_sums = cells.Sums.cells

    def broken(self, codes, r):
        found = of_sums(self, codes, r)
        return replace(found, means=0.999 * found.means)

    cells.Sums.cells = broken


@mutation("the distortion has a factor ½")
def half_the_distortion() -> None:
    whole = qz.distortion

    def broken(*arguments, **options):
        found = whole(*arguments, **options)
        return replace(found, value=found.value / 2, low=found.low / 2, high=found.high / 2)

    qz.distortion = broken


@mutation("`wasserstein` forgets the root")
def root_forgotten() -> None:
    rooted = qz.wasserstein
    qz.wasserstein = lambda mu, nu, *, r=2.0, **options: rooted(mu, nu, r=r, **options) ** r


@mutation("CLVQ answers with the last iterate though asked to average")
def iterates_not_averaged() -> None:
    state = qz.CLVQ._state
    qz.CLVQ._state = lambda self, progress: state(replace(self, averaging=False), progress)


@mutation("companion weights stay halfway between 1/K and what they should be")
def companion_weights_lag() -> None:
    CLVQState.weights = property(lambda self: (self.share / self.share.sum() + 1 / len(self.share)) / 2)


@mutation("a plan sends every point to its nearest target: its second marginal is wrong")
def wrong_marginals() -> None:
    plan = qz.NetworkSimplex.plan

    def broken(self, a, b, costs):
        found, potential, status = plan(self, a, b, costs)
        greedy = np.zeros_like(found)
        greedy[np.arange(len(a)), costs.argmin(1)] = a
        return greedy, potential, status

    qz.NetworkSimplex.plan = broken


@mutation("a residual is reported a thousandth of what it is, so that solvers stop early")
def residual_understated() -> None:
    stationarity = cells.stationarity
    for module in list(sys.modules.values()):
        if getattr(module, "stationarity", None) is stationarity:
            module.stationarity = lambda *arguments: stationarity(*arguments) / 1000


@mutation("Lloyd stops when codes move by less than 0.001, whatever the unit, and says it has converged")
def absolute_tolerance() -> None:
    solve = qz.Lloyd.solve

    def broken(self, problem, codes, rng):
        before = None
        for state in solve(self, problem, codes, rng):
            here = state.codes()
            if before is not None and np.abs(here - before).max() < 1e-3:
                yield replace(state, stationarity=0.0)
                return
            before = here
            yield state

    qz.Lloyd.solve = broken


@mutation("Newton's method ends after one step and says it has converged")
def newton_stops() -> None:
    solve = newton.Newton.solve

    def broken(self, problem, codes, rng):
        for n, state in enumerate(solve(self, problem, codes, rng)):
            if n == 1:
                yield replace(state, stationarity=0.0)
                return
            yield state

    newton.Newton.solve = broken


@mutation("on the line each code has the mass of the next cell")
def masses_of_the_next_cell() -> None:
    of_line = DensityLaw1D.cells

    def broken(self, codes):
        found = of_line(self, codes)
        return replace(found, masses=np.roll(found.masses, 1))

    DensityLaw1D.cells = broken


@mutation("`expect` forgets the weights")
def unweighted_expectations() -> None:
    qz.DiscreteMeasure.expect = lambda self, f: f(self.points).mean(0)


@mutation("the score of a mixture weighs components by their prior weights")
def score_without_posterior() -> None:
    def score(self, x):
        x = np.asarray(x)
        return -self._pull(x, np.tile(self.weights[:, None], len(x)))

    qz.GaussianMixture.score = score


@mutation("Lloyd's sums forget the weights of the samples")
def weights_of_samples_ignored() -> None:
    from quantization.empirical.samples import EmpiricalLaw

    init = EmpiricalLaw.__init__

    def broken(self, measure, r):
        init(self, qz.DiscreteMeasure(measure.points), r)

    EmpiricalLaw.__init__ = broken


@mutation("Lloyd answers with its start")
def no_steps() -> None:
    solve = qz.Lloyd.solve

    def broken(self, problem, codes, rng):
        yield next(solve(self, problem, codes, rng))

    qz.Lloyd.solve = broken


_MISFITS = ("AttributeError", "ImportError", "KeyError", "NameError", "TypeError")  # which no defect of these raises


def check(name: str) -> tuple[str, dict[str, str], float]:
    """The claims that do not hold once this is broken, with their verdicts, and the seconds it took."""
    from theory_checks import CLAIMS
    from theory_checks.trial import Verdict, examine

    started = perf_counter()
    MUTATIONS[name][1]()
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
        rows.append(f"| {MUTATIONS[name][0]} | {len(caught)} | {shown or '**none**'} |")
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
