"""Solvers and other options in a file: public dataclasses by name and options, as JSON. Nothing in a file is ever run."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, cast

from quantization.status import Status

# What fields, classes and options were called in format 1, and early in format 2.
_RENAMES = {
    "weights_gap": "masses_gap",
    "steps": "n_iter",
    "Exact": "NetworkSimplex",
    "Line": "Monotone",
    "Voronoi": "NearestCode",
    "max_steps": "max_iter",
    "revive": "relocate",
    "sweeps": "sinkhorn_iter",
}
_CLVQ_STATE_RENAMES = {"pull": "residuals"}
PLAIN = (bool, int, float, str, type(None))
CLVQ_STATE, SPARSE_PLAN = "clvq_state.", "sparse_plan."


@dataclass(frozen=True)
class Recorded:
    """A solver that was read from a file and is none of this package's: what it was, not a method."""

    description: str
    rtol: float = 0.0
    exhausted: ClassVar[Status] = Status.STALLED

    def incompatibility(self, problem: object) -> str | None:
        return f"{self.description} was read from a file, which holds its name only. Name a solver, such as Lloyd()"

    def solve(self, problem: object, codes: object, rng: object) -> Iterator[Any]:
        raise ValueError(self.incompatibility(problem))


def renamed(value: object) -> Any:
    """What older files call by other names; a solver of one's own, kept as text, stays as it was."""
    if not isinstance(value, dict):
        return value
    named: dict[str, Any] = {}
    for key, entry in cast(dict[str, Any], value).items():
        old = key.removeprefix("progress.")
        new = _RENAMES.get(key, key) if old == key else CLVQ_STATE + _CLVQ_STATE_RENAMES.get(old, old)
        named[new] = _RENAMES.get(entry, entry) if key == "name" else renamed(entry)
    return named


def taken(rest: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The entries whose names begin with the prefix, without it, and no longer in ``rest``."""
    return {name.removeprefix(prefix): rest.pop(name) for name in list(rest) if name.startswith(prefix)}


def described(solver: object) -> dict[str, Any]:
    """A public dataclass by its name and options, themselves plain or such; anything else by what it says of itself."""
    if isinstance(solver, Recorded):
        return {"text": solver.description}
    name, known = type(solver).__name__, cast(Any, solver)
    if _public(name) is type(solver):
        options = {f.name: getattr(known, f.name) for f in fields(known)}
        plain = {key: v if isinstance(v, PLAIN) else described(v) for key, v in options.items()}
        if all("text" not in v for v in plain.values() if isinstance(v, dict)):
            return {"name": name, "options": plain}
    return {"text": repr(solver)}


def restored_solver(described: dict[str, Any]) -> Any:
    """The solver again where this version has one of that name and those options."""
    if "text" in described:
        return Recorded(described["text"])
    try:
        made: Any = _made(described)
    except (TypeError, ValueError):
        made = None
    return made if callable(getattr(made, "solve", None)) else Recorded(f"{described['name']}({described['options']})")


def restored_method(described: dict[str, Any] | None) -> Any:
    """The transport again where this version has it; None where it has not, or there was none."""
    made = None if described is None or "text" in described else _made(described)
    return made if callable(getattr(made, "couple", None)) else None


def _made(described: dict[str, Any]) -> Any:
    known, options = _public(described["name"]), dict[str, Any](described["options"])
    if known is None:
        raise ValueError(described["name"])
    return known(**{name: option if isinstance(option, PLAIN) else _made(option) for name, option in options.items()})


def _public(name: str) -> Any:
    """The dataclass that ``quantization`` exports under this name, or None: the only classes a file can name."""
    package: Any = sys.modules["quantization"]
    known = name in package.__all__ and is_dataclass(getattr(package, name)) and isinstance(getattr(package, name), type)
    return getattr(package, name) if known else None
