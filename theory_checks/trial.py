"""Trials of claims: the result of a case, the finding of a claim, and the one loop that runs them, in one process or several."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from multiprocessing import get_context
from time import perf_counter
from typing import Any

from theory_checks.claim import CLAIMS, Claim
from theory_checks.evidence import Evidence, worst
from theory_checks.laws import Case

# One thread each: sums depend on how many share them, and processes that spin for threads slow one another down.
_ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "OMP_WAIT_POLICY": "PASSIVE",
}


class Verdict(Enum):
    """The verdict on a claim; the value is the phrase to show."""

    HOLDS = "holds"
    FAILS = "fails"
    CONTROL_HELD = "false variant not rejected"
    UNCONTROLLED = "no negative control"
    ERROR = "raised an error"


@dataclass(frozen=True)
class Trial:
    """One case: the evidence for the claim and for its false variant, None where an ``error`` was raised."""

    case: Case
    evidence: Evidence | None
    control: Evidence | None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Finding:
    """All trials of a claim."""

    claim: Claim[Any]
    trials: tuple[Trial, ...]

    @property
    def seconds(self) -> float:
        """The total time of the trials."""
        return sum(t.seconds for t in self.trials)

    @property
    def verdict(self) -> Verdict:
        """HOLDS where the claim held and its false variant was rejected in every trial."""
        if any(t.error for t in self.trials):
            return Verdict.ERROR
        if not all(t.evidence is not None and t.evidence.holds for t in self.trials):
            return Verdict.FAILS
        if not self.claim.controlled:
            return Verdict.UNCONTROLLED
        held = any(t.control is None or t.control.holds for t in self.trials)
        return Verdict.CONTROL_HELD if held else Verdict.HOLDS

    @property
    def worst(self) -> Trial | None:
        """The trial with the largest excess; the first error, if there was one."""
        return self._first_error() or _where(self.trials, lambda t: t.evidence, worst)

    @property
    def weakest_control(self) -> Trial | None:
        """The trial whose false variant came nearest to holding."""
        return self._first_error() or _where(self.trials, lambda t: t.control, _least)

    def _first_error(self) -> Trial | None:
        return next((t for t in self.trials if t.error), None)


def examine(
    names: Sequence[str], *, profile: str = "quick", seed: int = 0, processes: int = 1, done: Callable[[str], None] | None = None
) -> Iterator[Finding]:
    """The findings on some claims, in their order; what they find does not depend on the number of processes.

    done: called with a claim's name whenever one of its cases is finished.
    """
    os.environ.update(_ONE_THREAD)  # whatever the caller's environment says: no result depends on it
    asked = {name: list(CLAIMS[name].cases(profile, seed)) for name in names}
    if processes == 1:
        threadpoolctl: Any = import_module("threadpoolctl")
        with threadpoolctl.threadpool_limits(1):
            for name, cases in asked.items():
                yield Finding(CLAIMS[name], tuple(_told(attempt(name, case), name, done) for case in cases))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        # The slowest first, so that no process is left with a long case at the end.
        order = sorted(names, key=lambda name: CLAIMS[name].effort.full)
        futures = {name: [pool.submit(attempt, name, case) for case in asked[name]] for name in order}
        if done is not None:
            for name in order:
                for future in futures[name]:
                    future.add_done_callback(lambda _, name=name: done(name))
        for name in names:
            yield Finding(CLAIMS[name], tuple(future.result() for future in futures[name]))


def attempt(name: str, case: Case) -> Trial:
    """One case of a claim and of its false variant; a solver that fails is a finding, to be reported with the others."""
    claim, started = CLAIMS[name], perf_counter()
    try:
        evidence, control = claim.observe_both(case)
    except Exception as error:
        return Trial(case, None, None, f"{type(error).__name__}: {error}", perf_counter() - started)
    return Trial(case, evidence, control, None, perf_counter() - started)


def _told(trial: Trial, name: str, done: Callable[[str], None] | None) -> Trial:
    if done is not None:
        done(name)
    return trial


def _least(evidence: list[Evidence]) -> Evidence:
    return min(evidence, key=lambda e: (not e.holds, e.excess))


def _where(
    trials: tuple[Trial, ...], part: Callable[[Trial], Evidence | None], choose: Callable[[list[Evidence]], Evidence]
) -> Trial | None:
    evidence = [e for e in map(part, trials) if e is not None]
    if not evidence:
        return None
    chosen = choose(evidence)
    return next(t for t in trials if part(t) is chosen)
