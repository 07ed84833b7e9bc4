"""The one loop over claims: generate cases, observe the claim and its control on each, and reach a verdict."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import Any

import numpy as np

from theory_checks.claim import Claim
from theory_checks.evidence import Evidence, worst
from theory_checks.laws import Case

ROUNDS = {"quick": 4, "full": 40}  # cases of every kind of law
_LEAST_CASES = 12


class Verdict(Enum):
    """What became of a claim; the value is the phrase to show."""

    HOLDS = "holds"
    FAILS = "fails"
    CONTROL_HELD = "false variant not rejected"
    UNCONTROLLED = "no negative control"
    ERROR = "raised an error"


@dataclass(frozen=True)
class Trial:
    """One case: the evidence for the claim and for its false variant, None where an error (told in ``error``) came instead."""

    case: Case
    evidence: Evidence | None
    control: Evidence | None
    error: str | None = None


@dataclass(frozen=True)
class Finding:
    """All trials of a claim, and the seconds they took."""

    claim: Claim[Any]
    trials: tuple[Trial, ...]
    seconds: float

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


def examine(claim: Claim[Any], *, profile: str = "quick", seed: int = 0) -> Finding:
    """The finding on one claim. Its cases depend on ``seed`` and its name alone, so that it can be run again by itself."""
    started = perf_counter()
    rounds = max(ROUNDS[profile], -(-_LEAST_CASES // len(claim.laws.kinds)))
    rng = np.random.default_rng([seed, zlib.crc32(claim.name.encode())])
    trials = tuple(_try(claim, case) for case in claim.laws.cases(rng, rounds))
    return Finding(claim, trials, perf_counter() - started)


def _try(claim: Claim[Any], case: Case) -> Trial:
    try:
        return Trial(case, claim.observe(case), claim.observe_control(case) if claim.controlled else None)
    except Exception as error:  # a solver that fails is a finding, to be reported with the others
        return Trial(case, None, None, f"{type(error).__name__}: {error}")


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
