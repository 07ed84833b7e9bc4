"""A claim: a theorem's statement, its source and its laws, a check that returns evidence, and a control that must fail."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from theory_checks.evidence import Evidence
from theory_checks.laws import Case, Family

L = TypeVar("L")
Check = Callable[[L, int, int], Evidence]  # (law, k, seed)

CLAIMS: dict[str, "Claim[Any]"] = {}


@dataclass(eq=False)
class Claim(Generic[L]):
    """A checked statement. Called with (law, k, seed), it returns :class:`~theory_checks.evidence.Evidence`.

    name: the check's name. statement: LaTeX. reference: a key of ``docs/references.bib``. laws: the family it is stated for.
    """

    name: str
    statement: str
    reference: str
    laws: Family[L]
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

    def observe(self, case: Case) -> Evidence:
        """The evidence on a generated case."""
        return self.check(self.laws.law(case), case.k, case.seed)

    def observe_control(self, case: Case) -> Evidence:
        """The evidence for the false variant on a generated case; ``LookupError`` without one."""
        if self._control is None:
            raise LookupError(f"the claim {self.name} has no negative control; attach one with @{self.name}.control")
        return self._control(self.laws.law(case), case.k, case.seed)


def claim(*, statement: str, reference: str, laws: Family[L]) -> Callable[[Check[L]], Claim[L]]:
    """Decorator: enter a function (law, k, seed) → Evidence, under its own name, among the claims that tests and command check.

    Attach the variant that must be rejected with ``@name.control``: a check that can't fail is no check.
    """

    def register(check: Check[L]) -> Claim[L]:
        name = check.__name__
        if name in CLAIMS:
            raise ValueError(f"there is a claim named {name} already")
        CLAIMS[name] = made = Claim(name, statement, reference, laws, check)
        made.__doc__ = check.__doc__
        return made

    return register
