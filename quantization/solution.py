"""The answer: a weighted codebook with its distortion, how stationary it is, and why the solver stopped."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from quantization import archive
from quantization.arrays import Array, FloatArray, SparsePlan, to_host
from quantization.clvq_state import CLVQState
from quantization.measure import DiscreteMeasure
from quantization.status import Status
from quantization.storage import CLVQ_STATE, PLAIN, SPARSE_PLAN, described, renamed, restored_method, restored_solver, taken

_FORMAT, _FORMAT_1 = "quantization.Solution/2", "quantization.Solution/1"
_TRACE = "trace."
_PLAN = tuple(SPARSE_PLAN + name for name in ("rows", "columns", "masses"))
_SPECIAL = ("measure", "status", "solver", "trace", "transport", "sparse_plan")  # fields that are not just written down


class NotConverged(RuntimeError):
    """Raised by :meth:`Solution.require` on an answer that is not stationary to the solver's tolerance.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> try:
    ...     qz.quantize(x, 5, max_iter=1, rng=0).require()
    ... except qz.NotConverged as error:
    ...     print(error)
    The budget of steps or draws was spent ...
    """


@dataclass(frozen=True)
class Trace:
    """What every step measured, the start included.

    Attributes
    ----------
    distortion, stationarity : array (n_iter + 1,)
        Of the codebook before each step and of the last one. Running estimates from mini-batches where the solver is stochastic,
        and of some six digits where Lloyd's steps are taken on inner products in float32; the solution's own are measured.
    companion : array (K,) or None
        The running companion weights at the end of a stochastic solver.
    clvq_state : CLVQState or None
        What CLVQ needs to go on from this solution (three arrays (K, d)).

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> solution = qz.quantize(np.random.default_rng(0).normal(size=(1000, 2)), 5, rng=0)
    >>> solution.trace.distortion.shape == (solution.n_iter + 1,)
    True
    """

    distortion: FloatArray
    stationarity: FloatArray
    companion: FloatArray | None = None
    clvq_state: CLVQState | None = None


@dataclass(frozen=True)
class Solution:
    r"""A K-point measure $\sum_k w_k \delta_{x_k}$ near a law, with its distortion and stationarity.

    Attributes
    ----------
    measure : DiscreteMeasure
        The codes with the masses of their Voronoi cells, or those prescribed, in the array library, dtype and device of the law.
    distortion : float, or tensor
        $D_r = E \min_k |X - x_k|^r$ of these codes; a tensor where samples require a gradient, differentiable in them.
        Of prescribed masses $W_2^2(\mu, \sum_k w_k \delta_{x_k})$. Of a barycenter $F = \sum_j \lambda_j W_2^2(\mu_j, \nu)$.
    distortion_se : float
        The standard error of the distortion, 0 where it is exact.
    stationarity : float
        $(\sum_k w_k |x_k - E[X | V_k]|^2 / D_2)^{1/2}$, 0 at a stationary codebook; $V_k$ is what the optimal plan sends to
        $x_k$. Of a barycenter
        $(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$, with $T_k$ the λ-mean of what the optimal plans send to $x_k$.
    status : Status
        Why the solver stopped.
    n_iter : int
        Steps taken.
    trace : Trace
        Distortion and stationarity step by step.
    solver : Solver
        The solver with its options.
    masses_gap : float
        Of a barycenter: an upper bound on how much other weights on these points could lower F; 0 where they are prescribed, or
        optimal as a quantizer's are. Of prescribed masses: how much the cost of the plan may exceed the least one between the
        law and these codes: its cost minus the dual value at the prices. Of other codes it says nothing.
    distortion_gap : float
        Of a barycenter: an upper bound on how much the distortion exceeds F; 0 for exact transport.
    transport : TransportMethod or None
        Of a barycenter: the method that computed F.
    prices : array (K,) or None
        Of prescribed masses: the p, of least entry 0, by which $x_k$ receives $\{y : k = \arg\min_j |y - x_j|^2 - p_j\}$.
    sparse_plan : tuple of arrays or None
        Of prescribed masses on samples: (rows, columns, masses), the optimal plan between samples and codes; at most K − 1
        samples are split between codes.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, rng=0)
    >>> solution.points.ravel().tolist(), solution.weights.tolist(), solution.distortion
    ([0.5, 10.5], [0.5, 0.5], 0.25)
    """

    measure: DiscreteMeasure
    distortion: float | Array
    distortion_se: float
    stationarity: float
    status: Status
    n_iter: int
    trace: Trace = field(repr=False)  # long arrays
    solver: Any
    masses_gap: float = 0.0
    distortion_gap: float = 0.0
    transport: Any = None
    prices: FloatArray | None = field(default=None, repr=False)
    sparse_plan: SparsePlan | None = field(default=None, repr=False)

    @property
    def points(self) -> Array:
        """The codes, (K, d), in the array library, dtype and device of the law."""
        return self.measure.points

    @property
    def weights(self) -> Array:
        """The masses of their Voronoi cells, or those prescribed, (K,), of sum 1."""
        return self.measure.weights

    @property
    def converged(self) -> bool:
        """Whether the run ended within the solver's tolerance."""
        return self.status is Status.CONVERGED

    def predict(self, points: Array) -> Array:
        r"""The index of the nearest code, $\arg\min_k |y - x_k|$, for each of some points y.

        Of prescribed masses $\arg\min_k |y - x_k|^2 - p_k$, p the prices. Samples on a border between two such cells, at most
        K − 1 of which are split, go to the lowest index or by round-off: ``sparse_plan`` tells them.

        Parameters
        ----------
        points : array (m, d)
            Of the codes' array library.

        Returns
        -------
        array (m,)
            Integers; the lowest index wins a tie.

        Raises
        ------
        ValueError
            For bad input.

        Examples
        --------
        >>> import quantization as qz
        >>> qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, rng=0).predict([[2.0], [8.0]]).tolist()
        [0, 1]
        """
        return self.measure.assign(points, self.prices)

    def require(self) -> "Solution":
        """This solution, if it converged.

        Returns
        -------
        Solution
            Itself.

        Raises
        ------
        NotConverged
            With the status, the residuals and what to change.

        Examples
        --------
        >>> import quantization as qz
        >>> qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, rng=0).require().distortion
        0.25
        """
        if not self.converged:
            gap = f", gap in the masses {self.masses_gap:.3g}" if self.masses_gap > 0 else ""
            if self.status is Status.UNPROVED_ORDER:
                raise NotConverged(f"{self.status.value} Take 10 masses at most, or Balanced1D(fixed_order=True)")
            remedy = "Raise max_iter, or" if self.status is Status.BUDGET_SPENT else "More steps would not lower it; raise"
            if self.masses_gap > 0 and self.distortion_se > 0:  # of draws, whose noise no step lowers
                remedy = "Raise the solver's draws, max_iter, or"
            raise NotConverged(
                f"{self.status.value} Stationarity {self.stationarity:.3g}{gap} after {self.n_iter} steps of {self.solver!r}. "
                f"{remedy} the solver's rtol"
            )
        return self

    def save(self, path: str | Path) -> None:
        """Write the whole solution to a file (numpy's .npz, no pickle) that appears whole or not at all.

        Parameters
        ----------
        path : str or Path

        Notes
        -----
        ``DiscreteMeasure.load`` reads the codes and weights of such a file. Of a solver that is not of this package only the
        ``repr`` is stored.

        Examples
        --------
        >>> import tempfile, pathlib, quantization as qz
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "solution.npz"
        ...     qz.quantize([[0.0], [1.0], [10.0], [11.0]], 2, rng=0).save(path)
        ...     qz.Solution.load(path).distortion
        0.25
        """
        plan = dict(zip(_PLAN, self.sparse_plan or (), strict=False))
        arrays: dict[str, Any] = plan | {"points": self.points, "weights": to_host(self.measure.weights_float64)}
        about: dict[str, Any] = {"format": _FORMAT, "status": self.status.name, "solver": described(self.solver)}
        about["transport"] = None if self.transport is None else described(self.transport)
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SPECIAL}
        rest["distortion"] = float(to_host(self.distortion))
        state = self.trace.clvq_state
        rest |= {_TRACE + f.name: getattr(self.trace, f.name) for f in fields(self.trace) if f.name != "clvq_state"}
        rest |= {CLVQ_STATE + f.name: getattr(state, f.name) for f in fields(state)} if state is not None else {}
        for name, value in rest.items():
            (about if isinstance(value, PLAIN) else arrays)[name] = value
        archive.write(path, arrays | {"about": np.array(json.dumps(about))})

    @staticmethod
    def load(path: str | Path) -> "Solution":
        """The solution that :meth:`save` wrote, as numpy arrays.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        Solution

        Raises
        ------
        ValueError
            For any other file, or a corrupted one.
        """
        stored = archive.read(path, "Solution", ("points", "weights", "about"))
        try:
            about: dict[str, Any] = json.loads(str(stored.pop("about")))
            version = about.pop("format")
            if version not in (_FORMAT, _FORMAT_1):
                raise ValueError(f"its format is {version}, not {_FORMAT}")
            about, stored = renamed(about), renamed(stored)
            measure = DiscreteMeasure(stored.pop("points"), stored.pop("weights"))
            status, solver = Status[about.pop("status")], restored_solver(about.pop("solver"))
            transport = restored_method(about.pop("transport", None))
            rest = about | stored
            traced, state, plan = taken(rest, _TRACE), taken(rest, CLVQ_STATE), taken(rest, SPARSE_PLAN)
            rest["sparse_plan"] = tuple(plan[name.removeprefix(SPARSE_PLAN)] for name in _PLAN) if plan else None
            trace = Trace(**traced, clvq_state=CLVQState(**state) if state else None)
            return Solution(measure=measure, status=status, trace=trace, solver=solver, transport=transport, **rest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is not a Solution saved by this version: {error}") from None
