"""Statements of theorems, each checked in numbers: ``python -m theory_checks run``.

Order of reading: ``evidence`` (an inequality and its slack), ``laws`` (random inputs), ``claim`` (statement, check, control),
``claims`` (the theorems, by topic), ``trial`` (the one loop over them), ``report`` and ``figure`` (what the command writes).
"""

from theory_checks import claims
from theory_checks.claim import CLAIMS, Claim, claim
from theory_checks.evidence import Evidence

__all__ = ["CLAIMS", "Claim", "Evidence", "claim", "claims"]
