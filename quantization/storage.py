"""A Solution in a file: its arrays, and everything else as one line of JSON. Nothing in a file is ever run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from quantization import archive
from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.solution import Solution, Trace
from quantization.solvers.base import Solver, State
from quantization.solvers.clvq_state import CLVQState
from quantization.status import Status

_FORMAT = "quantization.Solution/2"
_FORMAT_1 = "quantization.Solution/1"
_TRACE, _CLVQ_STATE = "trace.", "clvq_state."
# What fields, classes and options were called in format 1.
_RENAMES = {
    "steps": "n_iter",
    "Exact": "NetworkSimplex",
    "Line": "Monotone",
    "Voronoi": "NearestCode",
    "max_steps": "max_iter",
}
_APART = ("measure", "status", "solver", "trace", "transport")  # fields that are not just written down
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Recorded:
    """A solver that was read from a file and is none of this package's: what it was, not a method."""

    description: str
    rtol: float = 0.0
    exhausted: ClassVar[Status] = Status.STALLED

    def incompatibility(self, problem: Problem) -> str | None:
        return f"{self.description} was read from a file, which holds its name only. Name a solver, such as Lloyd()"

    def solve(self, problem: Problem, codes: FloatArray, rng: np.random.Generator) -> Iterator[State]:
        raise ValueError(self.incompatibility(problem))


def save(solution: Solution, path: str | Path) -> None:
    """Write a solution to ``path``. Its arrays ``points`` and ``weights`` are those of a saved DiscreteMeasure."""
    arrays: dict[str, Any] = {"points": solution.measure.points, "weights": to_host(solution.measure.weights_float64)}
    about: dict[str, Any] = {"format": _FORMAT, "status": solution.status.name, "solver": _described(solution.solver)}
    about["transport"] = None if solution.transport is None else _described(solution.transport)
    rest = {f.name: getattr(solution, f.name) for f in fields(solution) if f.name not in _APART}
    trace, state = solution.trace, solution.trace.clvq_state
    rest |= {_TRACE + f.name: getattr(trace, f.name) for f in fields(trace) if f.name != "clvq_state"}
    rest |= {_CLVQ_STATE + f.name: getattr(state, f.name) for f in fields(state)} if state is not None else {}
    for name, value in rest.items():
        (about if isinstance(value, _PLAIN) else arrays)[name] = value
    archive.write(path, arrays | {"about": np.array(json.dumps(about))})


def load(path: str | Path) -> Solution:
    """The solution that :func:`save` wrote to ``path``, with numpy arrays. ``ValueError`` for any other file."""
    stored = archive.read(path, "Solution", ("points", "weights", "about"))
    try:
        about: dict[str, Any] = json.loads(str(stored.pop("about")))
        version = about.pop("format")
        if version == _FORMAT_1:
            about, stored = _renamed(about), _renamed(stored)
        elif version != _FORMAT:
            raise ValueError(f"its format is {version}, not {_FORMAT}")
        measure = DiscreteMeasure(stored.pop("points"), stored.pop("weights"))
        status, solver = Status[about.pop("status")], _restored(about.pop("solver"))
        transport = about.pop("transport", None)
        rest = about | stored
        traced, state = _taken(rest, _TRACE), _taken(rest, _CLVQ_STATE)
        trace = Trace(**traced, clvq_state=CLVQState(**state) if state else None)
        return Solution(measure=measure, status=status, trace=trace, solver=solver, transport=_method(transport), **rest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a Solution saved by this version: {error}") from None


def _renamed(value: Any) -> Any:
    """What format 1 called by other names; a solver of one's own, kept as text, stays as it was."""
    if not isinstance(value, dict):
        return value
    named: dict[str, Any] = {}
    for key, entry in cast(dict[str, Any], value).items():
        new = _CLVQ_STATE + key.removeprefix("progress.") if key.startswith("progress.") else _RENAMES.get(key, key)
        named[new] = _RENAMES.get(entry, entry) if key == "name" else _renamed(entry)
    return named


def _taken(rest: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): rest.pop(name) for name in list(rest) if name.startswith(prefix)}


def _described(solver: Any) -> dict[str, Any]:
    """A public dataclass by its name and options, themselves plain or such; anything else by what it says of itself."""
    if isinstance(solver, Recorded):
        return {"text": solver.description}
    name = type(solver).__name__
    if _public(name) is type(solver):
        options = {f.name: getattr(solver, f.name) for f in fields(solver)}
        described = {key: v if isinstance(v, _PLAIN) else _described(v) for key, v in options.items()}
        if all("text" not in v for v in described.values() if isinstance(v, dict)):
            return {"name": name, "options": described}
    return {"text": repr(solver)}


def _restored(described: dict[str, Any]) -> Solver:
    """The solver again where this version has one of that name and those options."""
    if "text" in described:
        return Recorded(described["text"])
    try:
        made: Any = _made(described)
    except (TypeError, ValueError):
        made = None
    return made if callable(getattr(made, "solve", None)) else Recorded(f"{described['name']}({described['options']})")


def _method(described: dict[str, Any] | None) -> Any:
    """The transport again where this version has it; None where it has not, or there was none."""
    made = None if described is None or "text" in described else _made(described)
    return made if callable(getattr(made, "couple", None)) else None


def _made(described: dict[str, Any]) -> Any:
    known, options = _public(described["name"]), dict[str, Any](described["options"])
    if known is None:
        raise ValueError(described["name"])
    return known(**{name: option if isinstance(option, _PLAIN) else _made(option) for name, option in options.items()})


def _public(name: str) -> Any:
    """The dataclass that ``quantization`` exports under this name, or None: the only classes a file can name."""
    import quantization  # not at the top: the package imports its modules first

    found: Any = vars(quantization).get(name) if name in quantization.__all__ else None
    return found if isinstance(found, type) and is_dataclass(found) else None
