"""The one answer: a weighted codebook with its distortion, how stationary it is, and why the solver stopped."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from quantization import archive
from quantization.arrays import Array, FloatArray, to_host
from quantization.clvq_state import CLVQState
from quantization.measure import DiscreteMeasure
from quantization.status import Status
from quantization.storage import CLVQ_STATE, PLAIN, described, renamed, restored_method, restored_solver, taken

_FORMAT, _FORMAT_1 = "quantization.Solution/2", "quantization.Solution/1"
_TRACE = "trace."
_SPECIAL = ("measure", "status", "solver", "trace", "transport")  # fields that are not just written down


class NotConverged(RuntimeError):
    """Raised by :meth:`Solution.require` on an answer that is not stationary to the tolerance asked for."""


@dataclass(frozen=True)
class Trace:
    """What every step saw, the start included: arrays of their true length n_iter + 1.

    distortion, stationarity: (n_iter + 1,); running estimates from mini-batches where the solver is stochastic, and of some six
    digits where Lloyd's steps are taken on inner products in float32. The solution's own are measured.
    companion: (K,) the running companion weights at the end of a stochastic solver, else None.
    clvq_state: how far a stochastic solver had come (three arrays (K, d)): started from this solution it goes on from there.
    """

    distortion: FloatArray
    stationarity: FloatArray
    companion: FloatArray | None = None
    clvq_state: CLVQState | None = None


@dataclass(frozen=True)
class Solution:
    r"""A K-point measure $\sum_k w_k \delta_{x_k}$ near a law, and what is known of it.

    measure: the codes with the masses of their Voronoi cells, in the kind of array the law came in.
    distortion: $D_r = E \min_k |X - x_k|^r$ of these very codes. distortion_se: its standard error, 0 where exact.
    stationarity: $(\sum_k w_k |x_k - E[X | V_k]|^2 / D_2)^{1/2}$, 0 at a stationary codebook.
    n_iter: steps taken. solver: the solver that took them, with its options.

    Of a barycenter, distortion is $F = \sum_j \lambda_j W_2^2(\mu_j, \nu)$, stationarity $(\sum_k w_k |x_k - T_k|^2 / F)^{1/2}$
    with T_k the λ-mean of what the optimal plans send to x_k. weights_gap: by how much other weights on these points could lower
    F, at most; 0 where they are given, or the best as a quantizer's are. transport: the method that F was computed by, None for
    quantizers. distortion_gap: by how much it may exceed the true F; 0 for exact transport.
    """

    measure: DiscreteMeasure
    distortion: float
    distortion_se: float
    stationarity: float
    status: Status
    n_iter: int
    trace: Trace
    solver: Any
    weights_gap: float = 0.0
    distortion_gap: float = 0.0
    transport: Any = None

    @property
    def points(self) -> Array:
        """The codes, (K, d), in the kind of array the law came in."""
        return self.measure.points

    @property
    def weights(self) -> Array:
        """The masses of their Voronoi cells, (K,), of sum 1."""
        return self.measure.weights

    @property
    def converged(self) -> bool:
        """Whether the run ended within the solver's tolerance."""
        return self.status is Status.CONVERGED

    def predict(self, points: Any) -> Array:
        r"""$\arg\min_k |y - x_k|$ for each of ``points`` (m, d): the index of its nearest code, (m,); the lowest index wins a tie."""
        return self.measure.assign(points)

    def require(self) -> "Solution":
        """This solution if it converged; raises :class:`NotConverged` otherwise."""
        if not self.converged:
            gap = f", gap in the weights {self.weights_gap:.3g}" if self.weights_gap > 0 else ""
            remedy = "Raise max_iter, or" if self.status is Status.BUDGET_SPENT else "More steps would not lower it; raise"
            raise NotConverged(
                f"{self.status.value} Stationarity {self.stationarity:.3g}{gap} after {self.n_iter} steps of {self.solver!r}. "
                f"{remedy} the solver's rtol"
            )
        return self

    def save(self, path: str | Path) -> None:
        """Write the whole answer to ``path`` (numpy's .npz, no pickle); the file appears whole or not at all.

        ``DiscreteMeasure.load`` reads its codes and weights. A solver of one's own is kept by its ``repr``.
        """
        arrays: dict[str, Any] = {"points": self.points, "weights": to_host(self.measure.weights_float64)}
        about: dict[str, Any] = {"format": _FORMAT, "status": self.status.name, "solver": described(self.solver)}
        about["transport"] = None if self.transport is None else described(self.transport)
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SPECIAL}
        state = self.trace.clvq_state
        rest |= {_TRACE + f.name: getattr(self.trace, f.name) for f in fields(self.trace) if f.name != "clvq_state"}
        rest |= {CLVQ_STATE + f.name: getattr(state, f.name) for f in fields(state)} if state is not None else {}
        for name, value in rest.items():
            (about if isinstance(value, PLAIN) else arrays)[name] = value
        archive.write(path, arrays | {"about": np.array(json.dumps(about))})

    @staticmethod
    def load(path: str | Path) -> "Solution":
        """The solution that :meth:`save` wrote to ``path``, as numpy arrays; ``ValueError`` for any other or a damaged file."""
        stored = archive.read(path, "Solution", ("points", "weights", "about"))
        try:
            about: dict[str, Any] = json.loads(str(stored.pop("about")))
            version = about.pop("format")
            if version == _FORMAT_1:
                about, stored = renamed(about), renamed(stored)
            elif version != _FORMAT:
                raise ValueError(f"its format is {version}, not {_FORMAT}")
            measure = DiscreteMeasure(stored.pop("points"), stored.pop("weights"))
            status, solver = Status[about.pop("status")], restored_solver(about.pop("solver"))
            transport = restored_method(about.pop("transport", None))
            rest = about | stored
            traced, state = taken(rest, _TRACE), taken(rest, CLVQ_STATE)
            trace = Trace(**traced, clvq_state=CLVQState(**state) if state else None)
            return Solution(measure=measure, status=status, trace=trace, solver=solver, transport=transport, **rest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is not a Solution saved by this version: {error}") from None
