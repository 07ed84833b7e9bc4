"""Grids of paths of diffusions: each follows a quantized path of Brownian motion by an ordinary differential equation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quantization.arrays import Array, FloatArray, IntArray
from quantization.diffusion import Diffusion
from quantization.grids.functional import FunctionalGrid, expect_paths, functional_grid
from quantization.processes import BrownianMotion
from quantization.validation import checked_count


@dataclass(frozen=True, eq=False)
class DiffusionGrid:
    r"""N weighted paths near a diffusion: $\dot x_k = b - \tfrac12 \sigma \sigma' + \sigma\, \dot\chi_k$ at $(t, x_k)$.

    Attributes
    ----------
    diffusion : Diffusion
        What was quantized, in one dimension.
    driver : FunctionalGrid
        The quantized Brownian paths $\chi_k$; their distortion is that of the noise.
    steps : int
        Steps of Runge and Kutta's method on [0, T]; times that are asked for are nodes too.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> stock = qz.Diffusion(100.0, lambda t, x: 0.05 * x, lambda t, x: 0.2 * x, volatility_slope=lambda t, x: 0.2 + 0 * x)
    >>> grid = qz.diffusion_grid(stock, 100)
    >>> paths = grid.paths(np.array([0.0, 0.5, 1.0]))
    >>> len(grid), paths.shape, paths[:3, 0].tolist(), bool(grid.step_error(np.array([1.0])) < 1e-6)
    (96, (96, 3), [100.0, 100.0, 100.0], True)
    """

    diffusion: Diffusion
    driver: FunctionalGrid
    steps: int

    @property
    def weights(self) -> FloatArray:
        """The masses of the Brownian paths' cells, (N,), of sum 1."""
        return self.driver.weights

    def __len__(self) -> int:
        return len(self.driver)

    def paths(self, times: Array, index: IntArray | None = None) -> FloatArray:
        """Paths on a grid of times.

        Parameters
        ----------
        times : array (n,)
            In [0, T], in any order.
        index : array (m,) of int, optional
            Which paths, in [0, N); ``None`` is all of them.

        Returns
        -------
        array (N, n) or (m, n)

        Raises
        ------
        ValueError
            For times outside [0, T]; where a coefficient is not finite on the way, as on a path that explodes.
        """
        return self._integrated(times, index, self.steps)

    def expect(self, f: Callable[[FloatArray], FloatArray], times: Array) -> FloatArray:
        r"""The cubature $\sum_k w_k f(x_k)$ for $E f(X)$, f a function of paths on a grid of times, in blocks.

        Parameters
        ----------
        f : callable
            Vectorized: maps paths (m, n) to values (m, ...).
        times : array (n,)
            In [0, T].

        Returns
        -------
        array (...)

        Raises
        ------
        ValueError
            For times outside [0, T], and where f does not return one value per path.
        """
        return expect_paths(self, f, times)

    def step_error(self, times: Array) -> float:
        """The largest change of any path at these times where all steps are halved: what a coarse step costs, about.

        Parameters
        ----------
        times : array (n,)
            In [0, T].

        Returns
        -------
        float
        """
        return float(np.abs(self.paths(times) - self._integrated(times, None, 2 * self.steps)).max())

    def _integrated(self, times: Array, index: IntArray | None, steps: int) -> FloatArray:
        times, horizon = self.driver.checked_times(times), self.driver.process.horizon
        nodes = np.unique(np.concatenate([np.linspace(0, horizon, steps + 1), times]))
        nodes = nodes[nodes <= times.max()]
        middles = (nodes[1:] + nodes[:-1]) / 2
        noise = self.driver.paths(np.concatenate([nodes, middles]), index)
        at, halfway = noise[:, : len(nodes)], noise[:, len(nodes) :]
        states = np.repeat(self.diffusion.initial, len(noise), 0)
        found = np.empty((len(noise), len(nodes)))
        found[:, 0] = states[:, 0]
        for i, step in enumerate(np.diff(nodes)):
            # The derivative of the parabola through the noise at both ends and halfway: Simpson's rule gives its rise exactly.
            first, mid, last = (path[:, None] for path in (at[:, i], halfway[:, i], at[:, i + 1]))
            slopes = (4 * mid - 3 * first - last) / step, (last - first) / step, (3 * last + first - 4 * mid) / step
            states = states + step * self._increment(nodes[i], step, states, slopes)
            found[:, i + 1] = states[:, 0]
        return found[:, np.searchsorted(nodes, times)]

    def _increment(self, time: float, step: float, x: FloatArray, slopes: tuple[FloatArray, ...]) -> FloatArray:
        """The mean rate of change in one step, of fourth order in smooth coefficients."""
        k1 = self._rate(time, x, slopes[0])
        k2 = self._rate(time + step / 2, x + step / 2 * k1, slopes[1])
        k3 = self._rate(time + step / 2, x + step / 2 * k2, slopes[1])
        k4 = self._rate(time + step, x + step * k3, slopes[2])
        return (k1 + 2 * k2 + 2 * k3 + k4) / 6

    def _rate(self, time: float, x: FloatArray, slope: FloatArray) -> FloatArray:
        volatility = self.diffusion.volatility_at(time, x)[:, :, 0]
        return self.diffusion.drift_at(time, x) + volatility * (slope - self.diffusion.slope_at(time, x) / 2)


def diffusion_grid(
    diffusion: Diffusion, n: int, *, horizon: float = 1.0, steps: int = 128, leading: int | None = None
) -> DiffusionGrid:
    r"""At most n weighted paths near a diffusion on the line, along quantized paths of Brownian motion.

    Each solves $\dot x = b(t, x) - \tfrac12 \sigma \sigma'(t, x) + \sigma(t, x)\, \dot\chi(t)$, the equation in Stratonovich's
    sense along a smooth path χ; by Doss and Sussmann it maps Brownian paths to the diffusion's.

    Parameters
    ----------
    diffusion : Diffusion
        Of one dimension, with its ``volatility_slope``.
    n : int
        Paths at most.
    horizon : float, default 1
        T > 0.
    steps : int, default 128
        Steps of Runge and Kutta's method; :meth:`DiffusionGrid.step_error` tells what they cost.
    leading : int, optional
        How the Brownian paths are quantized, as for :func:`functional_grid`.

    Returns
    -------
    DiffusionGrid

    Raises
    ------
    ValueError
        For a diffusion of several dimensions, or without the slope of its volatility; for bad input.

    Notes
    -----
    For Lipschitz coefficients $(E \int_0^T |X - \hat X|^2)^{1/2}$ falls like $(\log N)^{-1/2}$, as the noise's does.

    References
    ----------
    luschgy2006.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> stock = qz.Diffusion(100.0, lambda t, x: 0.09 * x, lambda t, x: 0.3 * x, volatility_slope=lambda t, x: 0.3 + 0 * x)
    >>> grid, times = qz.diffusion_grid(stock, 1000), np.linspace(0, 1, 51)
    >>> asian = grid.expect(lambda x: np.exp(-0.09) * np.maximum(x.mean(1) - 100, 0), times)
    >>> bool(8.0 < asian < 8.9)  # 8.83 for the integral's mean
    True
    """
    if diffusion.dim != 1:
        raise ValueError(
            f"diffusion must be of one dimension; received {diffusion.dim}. Quantize its dates with qz.recursive_grid or "
            "qz.quantization_tree"
        )
    if diffusion.volatility_slope is None:
        raise ValueError(
            "diffusion needs volatility_slope=, the derivative of the volatility in x, which turns Itô's equation into "
            "Stratonovich's; received none"
        )
    motions = diffusion.volatility_at(0.0, diffusion.initial).shape[2]
    if motions != 1:
        raise ValueError(f"diffusion must have one Brownian motion; its volatility has {motions}")
    steps = checked_count("steps", steps)
    return DiffusionGrid(diffusion, functional_grid(BrownianMotion(horizon), n, leading=leading), steps)
