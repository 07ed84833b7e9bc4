"""A claim: a theorem's statement, its source and its laws, a check that returns evidence, and a control that must fail."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from zlib import crc32

import numpy as np

from theory_checks.evidence import Evidence
from theory_checks.laws import Case, Family

L = TypeVar("L")
Check = Callable[[L, int, int], Evidence]  # (law, k, seed)

CLAIMS: dict[str, "Claim[Any]"] = {}


@dataclass(frozen=True)
class Effort:
    """How many cases a claim is checked on: by the everyday tests and for every mutation (``brief``), and by profile."""

    tests: int
    quick: int
    full: int

    def cases(self, profile: str) -> int:
        """The cases of a profile, or of ``brief``."""
        return {"brief": self.tests, "quick": self.quick, "full": self.full}[profile]


PROFILES = {
    "quick": "under a minute: fewer laws",
    "full": "minutes: every kind of law many times",
}
CHEAP = Effort(tests=12, quick=36, full=360)  # milliseconds per case
MODERATE = Effort(tests=4, quick=12, full=96)  # a tenth of a second
SLOW = Effort(tests=2, quick=7, full=56)  # half a second
VERY_SLOW = Effort(tests=1, quick=3, full=24)  # a second and more


@dataclass(eq=False)
class Claim(Generic[L]):
    """A checked statement. Called with (law, k, seed), it returns :class:`Evidence`.

    Parameters
    ----------
    name : str
        The check's name.
    statement : str
        In LaTeX.
    reference : str
        A key of ``docs/references.bib``.
    laws : Family
        The laws that it is stated for.
    effort : Effort
        How many cases it can afford.
    random : bool
        Whether a case is a comparison that chance can refuse.
    topic : str
        The module it is defined in.
    check : function (law, k, seed)
        Returns the evidence.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> from theory_checks import CLAIMS
    >>> law = qz.DiscreteMeasure(np.random.default_rng(0).normal(size=(200, 2)))
    >>> CLAIMS["lloyd_descends"](law, 5, seed=0).holds
    True
    """

    name: str
    statement: str
    reference: str
    laws: Family[L]
    effort: Effort
    random: bool
    topic: str
    check: Check[L]
    _control: Check[L] | None = field(default=None, init=False)

    def __call__(self, law: L, k: int, seed: int) -> Evidence:
        """The evidence for one law, k codes, and all else that is random drawn from ``seed``."""
        return self.check(law, k, seed)

    def control(self, check: Check[L]) -> Check[L]:
        """Decorator: ``check`` is a variant known to be false, whose evidence must not hold for any law of the family."""
        if self._control is not None:
            raise ValueError(f"the claim {self.name} has a negative control already: {getattr(self._control, '__name__', '')}")
        self._control = check
        return check

    @property
    def controlled(self) -> bool:
        """Whether a negative control is attached."""
        return self._control is not None

    def cases(self, profile: str, seed: int) -> Iterator[Case]:
        """The cases of a run. They depend on ``seed`` and the claim's name alone, so that it can be run again by itself."""
        return self.laws.cases(np.random.default_rng([seed, crc32(self.name.encode())]), self.effort.cases(profile))

    def observe_both(self, case: Case) -> tuple[Evidence, Evidence | None]:
        """The evidence on a generated case, and for the false variant on the same law; None without one."""
        law = self.laws.law(case)
        control = None if self._control is None else self._control(law, case.k, case.seed)
        return self.check(law, case.k, case.seed), control

    def observe(self, case: Case) -> Evidence:
        """The evidence on a generated case."""
        return self.check(self.laws.law(case), case.k, case.seed)

    def observe_control(self, case: Case) -> Evidence:
        """The evidence for the false variant on a generated case; ``LookupError`` without one."""
        if self._control is None:
            raise LookupError(f"the claim {self.name} has no negative control; attach one with @{self.name}.control")
        return self._control(self.laws.law(case), case.k, case.seed)


def claim(
    *, statement: str, reference: str, laws: Family[L], effort: Effort = CHEAP, random: bool = False
) -> Callable[[Check[L]], Claim[L]]:
    """Decorator: register a function (law, k, seed) → Evidence, under its own name, as a claim that tests and command check.

    Attach the variant that must be rejected with ``@name.control``: a check that can't fail is no check.

    Parameters
    ----------
    statement : str
        In LaTeX.
    reference : str
        A key of ``docs/references.bib``.
    laws : Family
        The laws that it is stated for, a family of ``theory_checks.laws``.
    effort : Effort
        How many cases it can afford.
    random : bool, default False
        Whether a case is a comparison that chance can refuse, which the budget of false alarms counts.

    Returns
    -------
    function
        What makes a claim of the check, and registers it.

    Raises
    ------
    ValueError
        Where a claim has the name already.

    Examples
    --------
    >>> from theory_checks import CLAIMS, Evidence, claim
    >>> @claim(statement=r"$D_2(x) \\ge 0$", reference="graf2000", laws=CLAIMS["lloyd_descends"].laws)
    ... def distortions_are_not_negative(law, k, seed):
    ...     return Evidence(observed=-float(law.points.var()), bound=0.0, slack=0.0)
    >>> del CLAIMS["distortions_are_not_negative"]  # of this example alone
    """

    def register(check: Check[L]) -> Claim[L]:
        name = check.__name__
        if name in CLAIMS:
            raise ValueError(f"there is a claim named {name} already")
        topic = check.__module__.rpartition(".")[2]
        CLAIMS[name] = made = Claim(name, statement, reference, laws, effort, random, topic, check)
        made.__doc__ = check.__doc__
        return made

    return register
