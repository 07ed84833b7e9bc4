"""Diffusions, and one step of their discretizations in time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from quantization.arrays import FloatArray

Coefficient = Callable[[float, FloatArray], Any]


@dataclass(frozen=True, eq=False)
class Diffusion:
    r"""$dX_t = b(t, X_t)\,dt + \sigma(t, X_t)\,dW_t$, $X_0 = x_0$, in dimension d.

    Attributes
    ----------
    start : float or array (d,)
        $x_0$.
    drift : callable
        Maps a time and states (n, d) to $b$, (n, d).
    volatility : callable
        Maps a time and states (n, d) to $\sigma$: (n, d) where each coordinate has a Brownian motion of its own, (n, d, q) for q
        Brownian motions. The coefficients of one dimension can be written as for numbers: ``lambda t, x: 0.2 * x``.
    volatility_slope : callable, optional
        $\partial\sigma / \partial x$, (n, 1), for Milstein's scheme in one dimension.

    Raises
    ------
    ValueError
        For a start that is not finite; as they are computed, for coefficients of another shape, or that are not finite.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> stock = qz.Diffusion(100.0, drift=lambda t, x: 0.05 * x, volatility=lambda t, x: 0.2 * x)
    >>> stock.dim, stock.volatility_at(0.0, np.array([[50.0], [100.0]])).tolist()
    (1, [[[10.0]], [[20.0]]])
    """

    start: ArrayLike
    drift: Coefficient
    volatility: Coefficient
    volatility_slope: Coefficient | None = None

    def __post_init__(self) -> None:
        start = np.atleast_1d(np.asarray(self.start))
        if start.ndim != 1 or start.dtype.kind not in "iuf" or not np.isfinite(start).all():
            raise ValueError(f"start must be a finite number or array (d,); received {self.start!r}")

    @property
    def dim(self) -> int:
        """The dimension d."""
        return int(np.size(self.start))

    @property
    def initial(self) -> FloatArray:
        """$x_0$ as one state, (1, d)."""
        return np.asarray(self.start, dtype=np.float64).reshape(1, -1)

    def drift_at(self, time: float, states: FloatArray) -> FloatArray:
        """The drift.

        Parameters
        ----------
        time : float
        states : array (n, d)

        Returns
        -------
        array (n, d)
        """
        return _checked("drift", self.drift(time, states), time, states, [states.shape])

    def volatility_at(self, time: float, states: FloatArray) -> FloatArray:
        """The volatility, one column a Brownian motion.

        Parameters
        ----------
        time : float
        states : array (n, d)

        Returns
        -------
        array (n, d, q)
        """
        given = np.asarray(self.volatility(time, states), dtype=np.float64)
        motions = given.shape[2] if given.ndim == 3 else self.dim
        values = _checked("volatility", given, time, states, [states.shape, (*states.shape, motions)])
        return values if values.ndim == 3 else values[:, :, None] * np.eye(self.dim)

    def slope_at(self, time: float, states: FloatArray) -> FloatArray:
        """The derivative of the volatility in the state, in one dimension.

        Parameters
        ----------
        time : float
        states : array (n, 1)

        Returns
        -------
        array (n, 1)
        """
        if self.volatility_slope is None:
            raise ValueError("Milstein's scheme needs volatility_slope=, the derivative of the volatility in x; received none")
        return _checked("volatility_slope", self.volatility_slope(time, states), time, states, [states.shape])


def checked_times(times: Any) -> FloatArray:
    """The times of a discretization, (T + 1,), rising from the first, at which the start is known."""
    rising = np.asarray(times, dtype=np.float64)
    if rising.ndim != 1 or len(rising) < 2 or not np.isfinite(rising).all() or not (np.diff(rising) > 0).all():
        raise ValueError(f"times must be a rising sequence of two or more finite numbers; received {times!r}")
    return rising


def _checked(name: str, values: Any, time: float, states: FloatArray, shapes: list[tuple[int, ...]]) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"{name} must return an array of shape {expected} for states {states.shape}; received {values.shape}")
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    if not finite.all():
        value, state = (array[int(np.argmin(finite))].tolist() for array in (values, states))
        raise ValueError(
            f"{name} must be finite; received {value} at time {time:g} and state {state}. States of a scheme may leave the set "
            "in which a diffusion lives: write it as max(x, 0) or the like"
        )
    return values
