r"""Random laws to check claims on; the difficult kinds by name.

A case is a handful of numbers, and a law is a function of it. Hypothesis draws those numbers in the tests, a numpy
``Generator`` draws them for the command, and a case copied from a report gives the same law again.
"""

from theory_checks.laws.case import Case, Family
from theory_checks.laws.diffusions import DIFFUSIONS, FLOWS, ON_THE_LINE
from theory_checks.laws.finite import FINITE, UNIFORM_GRID
from theory_checks.laws.line import COMPANIONS, ELEMENTARY, LAPLACE, LINE, NORMALS, SMOOTH_TAILS, STRICTLY_LOG_CONCAVE
from theory_checks.laws.mixtures import MIXTURES
from theory_checks.laws.processes import PROCESSES, SCHEMES
from theory_checks.laws.shapes import CUBE, GRID, POLYGONS

__all__ = [
    "COMPANIONS",
    "CUBE",
    "DIFFUSIONS",
    "ELEMENTARY",
    "FINITE",
    "FLOWS",
    "GRID",
    "LAPLACE",
    "LINE",
    "MIXTURES",
    "NORMALS",
    "ON_THE_LINE",
    "POLYGONS",
    "PROCESSES",
    "SCHEMES",
    "SMOOTH_TAILS",
    "STRICTLY_LOG_CONCAVE",
    "UNIFORM_GRID",
    "Case",
    "Family",
]
