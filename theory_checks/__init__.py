"""Statements of theorems, each checked in numbers: ``python -m theory_checks run``.

Order of reading: ``evidence`` (an inequality and its slack), ``rounding``, ``chance`` and ``limits`` (what slacks are derived
from), ``laws`` (random inputs), ``claim`` (statement, check, control), ``claims`` (the theorems, by topic; ``cells``, ``line``,
``polygons``, ``quantiles``, ``diffusion`` and ``network`` are what they measure with), ``trial`` (the one loop over them),
``report`` and ``figures`` (what the command writes).
"""

from theory_checks import claims
from theory_checks.claim import CLAIMS, Claim, claim
from theory_checks.evidence import Evidence

__all__ = ["CLAIMS", "Claim", "Evidence", "claim", "claims"]
