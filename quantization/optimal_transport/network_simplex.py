"""The network simplex: optimal plans, exact to round-off. The only module that calls POT."""

import importlib
import sys
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.costs import c_transforms, cost_matrix, pair_costs
from quantization.optimal_transport.coupling import TransportResult
from quantization.status import Status
from quantization.validation import checked_count

_OPTIMAL = 1  # of POT's ProblemType
_COMPILED = "ot.lp.emd_wrap"
_loading, _loaded = Lock(), dict[str, Any]()


@dataclass(frozen=True)
class NetworkSimplex:
    """The network simplex of POT, exact to round-off; costs (n, m) are held in memory.

    Parameters
    ----------
    max_pivots : int, default 10000000
        Pivots at most; running out is the status BUDGET_SPENT, never silent.

    References
    ----------
    bonneel2011, flamary2021.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.transport([[0.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]], method=qz.NetworkSimplex()).cost
    4.0
    """

    max_pivots: int = 10_000_000

    def __post_init__(self) -> None:
        checked_count("NetworkSimplex's max_pivots", self.max_pivots)

    def couple(self, source: DiscreteMeasure, target: DiscreteMeasure, r: float) -> TransportResult:
        x, y, a = to_host(source.points), to_host(target.points), to_host(source.weights_float64)
        costs = cost_matrix(x, y, r)
        plan, u, status = self.plan(a, to_host(target.weights_float64), costs)
        rows, columns = np.nonzero(plan)
        masses = plan[rows, columns]
        u, v = c_transforms(u, a, costs)
        return TransportResult(float(masses @ pair_costs(x, y, rows, columns, r)), u, v, status, (rows, columns, masses))

    def plan(self, a: FloatArray, b: FloatArray, costs: FloatArray) -> tuple[FloatArray, FloatArray, Status]:
        """The optimal plan of given costs.

        Parameters
        ----------
        a : array (n,)
            Weights of the source, of sum 1.
        b : array (m,)
            Weights of the target, of sum 1.
        costs : array (n, m)
            Nonnegative and finite.

        Returns
        -------
        plan : array (n, m)
        u : array (n,)
            The source's potential, not yet made feasible.
        status : Status
            How the simplex ended.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> half = np.array([0.5, 0.5])
        >>> qz.NetworkSimplex().plan(half, half, np.array([[0.0, 1.0], [1.0, 0.0]]))[0].tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        """
        simplex = _compiled_simplex()
        # The simplex stops at an absolute tolerance, so it sees costs of the size of 1; a power of two loses no digit.
        exponent = int(np.frexp(costs.max())[1])
        scaled = np.ascontiguousarray(np.ldexp(costs, -exponent))
        a, b = np.ascontiguousarray(a), b * a.sum() / b.sum()
        rows, columns = np.flatnonzero(a), np.flatnonzero(b)
        whole = len(rows) == len(a) and len(columns) == len(b)
        if not whole:  # points of no weight have no place in the basis
            a, b, scaled = a[rows], b[columns], np.ascontiguousarray(scaled[np.ix_(rows, columns)])
        plan, _, u, _, code = simplex.emd_c(a, b, scaled, self.max_pivots, 1)
        if not whole:
            inner, plan = plan, np.zeros_like(costs)
            plan[np.ix_(rows, columns)] = inner
            kept, u = u, np.zeros(len(costs))
            u[rows] = kept
        status = Status.CONVERGED if code == _OPTIMAL else Status.BUDGET_SPENT
        return np.asarray(plan), np.ldexp(np.asarray(u), exponent), status


def _compiled_simplex() -> Any:
    """POT's compiled simplex, which ``import ot`` takes seconds for: it loads torch, jax and tensorflow where they are installed.

    Where POT has not been imported, its compiled file is loaded alone. Nothing of POT's is changed: a later ``import ot`` runs
    as ever and finds the same compiled module.
    """
    with _loading:
        if _COMPILED not in _loaded:
            _loaded[_COMPILED] = importlib.import_module(_COMPILED) if "ot" in sys.modules else _loaded_alone()
        return _loaded[_COMPILED]


def _loaded_alone() -> Any:
    """The compiled file under a name of ours, so that its ``from ..utils import dist`` finds a stand-in and not POT's package."""
    package: Any = find_spec("ot")  # finds a package without running it
    folders: list[str] = [] if package is None else list(package.submodule_search_locations)
    finders = [FileFinder(f"{folder}/lp", (ExtensionFileLoader, EXTENSION_SUFFIXES)) for folder in folders]
    found: Any = next(filter(None, (finder.find_spec("emd_wrap") for finder in finders)), None)
    if found is None:
        return importlib.import_module(_COMPILED)
    stand_in: Any = ModuleType(f"{__name__}.utils")
    stand_in.dist = _dist
    sys.modules[stand_in.__name__] = stand_in
    known = _COMPILED in sys.modules
    try:
        spec: Any = spec_from_file_location(f"{__name__}.lp.emd_wrap", found.origin)
        module: Any = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:  # another version of POT that needs more of its package
        return importlib.import_module(_COMPILED)
    finally:
        del sys.modules[stand_in.__name__]
        if not known:
            sys.modules.pop(_COMPILED, None)  # where Cython enters it, under its true name but outside of its package
    # A compiled module exists once: ``import ot`` finds this one, and it should not tell another name then.
    module.__name__, module.__package__ = _COMPILED, _COMPILED.rpartition(".")[0]
    module.__spec__ = spec_from_file_location(_COMPILED, found.origin)
    return module


def _dist(*arguments: Any, **options: Any) -> Any:
    """POT's ``dist``, which its compiled module calls for some costs on the line."""
    return importlib.import_module("ot.utils").dist(*arguments, **options)
