"""Gaussian processes on [0, T] with their Karhunen-Loève expansions, in closed form or by Galerkin's method."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from quantization.arrays import FloatArray
from quantization.covariance_operator import Kernel, spectrum
from quantization.validation import checked_count, checked_number

_TERMS = 24  # of an exponential series below 1


@dataclass(frozen=True, eq=False)
class KarhunenLoeve:
    r"""The first m terms of $X_t - E X_t = \sum_i \sqrt{\lambda_i}\, \xi_i\, e_i(t)$, $\xi_i$ independent N(0, 1).

    Attributes
    ----------
    eigenvalues : array (m,)
        $\lambda_1 \ge \dots \ge \lambda_m$.
    functions : callable
        Maps times (n,) to $e_i(t)$, (n, m), orthonormal in $L^2[0, T]$.
    trace : float
        $\int_0^T \operatorname{Var} X_t\,dt = \sum_i \lambda_i$ over all i.
    errors : array (m,)
        How far each eigenvalue may lie below the operator's, an estimate; 0 where they are in closed form. The coordinates
        $\int X e_i$ are uncorrelated of variance $\lambda_i$ all the same, to ``quadrature_error``.
    quadrature_error : float
        Of the trace and of any eigenvalue as the variance of its coordinate, an estimate; 0 in closed form.
    unresolved : float
        The trace less the variances of all coordinates that the eigenvalues are the largest of; 0 in closed form, where
        $\sum_i \lambda_i = \int \operatorname{Var}$ over all i.

    Examples
    --------
    >>> import quantization as qz
    >>> expansion = qz.BrownianMotion().karhunen_loeve(2)
    >>> expansion.eigenvalues.round(6).tolist(), expansion.trace
    ([0.405285, 0.045032], 0.5)
    """

    eigenvalues: FloatArray
    functions: Callable[[FloatArray], FloatArray]
    trace: float
    errors: FloatArray
    quadrature_error: float = 0.0
    unresolved: float = 0.0

    def first(self, m: int) -> "KarhunenLoeve":
        """The first m of these terms.

        Parameters
        ----------
        m : int
            At most as many as there are.

        Returns
        -------
        KarhunenLoeve
        """

        def functions(times: FloatArray) -> FloatArray:
            return self.functions(times)[:, :m]

        return replace(self, eigenvalues=self.eigenvalues[:m], functions=functions, errors=self.errors[:m])


@runtime_checkable
class Process(Protocol):
    """A Gaussian process on [0, T]: the protocol of what :func:`functional_grid` takes.

    Examples
    --------
    >>> import quantization as qz
    >>> isinstance(qz.FractionalBrownianMotion(0.3), qz.Process)
    True
    """

    @property
    def horizon(self) -> float:
        """T."""
        ...

    def mean(self, times: FloatArray) -> FloatArray:
        """The means $E X_t$.

        Parameters
        ----------
        times : array (n,)

        Returns
        -------
        array (n,)
        """
        ...

    def covariance(self, s: FloatArray, t: FloatArray) -> FloatArray:
        r"""The covariances $\operatorname{cov}(X_s, X_t)$.

        Parameters
        ----------
        s, t : array
            Times, of shapes that broadcast.

        Returns
        -------
        array
        """
        ...

    def karhunen_loeve(self, m: int) -> KarhunenLoeve:
        """The first m terms of the expansion.

        Parameters
        ----------
        m : int
            How many, at least 1.

        Returns
        -------
        KarhunenLoeve
        """
        ...


class _Centred:
    """What processes of mean zero share."""

    def mean(self, times: FloatArray) -> FloatArray:
        return np.zeros(len(times))


@dataclass(frozen=True)
class BrownianMotion(_Centred):
    r"""Brownian motion, $\operatorname{cov}(W_s, W_t) = \min(s, t)$: $\lambda_i = (T / \pi(i - \tfrac12))^2$, sines.

    Parameters
    ----------
    horizon : float, default 1
        T > 0.

    Raises
    ------
    ValueError
        For a horizon that is not positive.

    References
    ----------
    luschgy2002, pages2005.

    Examples
    --------
    >>> import quantization as qz
    >>> round(qz.functional_grid(qz.BrownianMotion(), 10).distortion, 12)
    0.098446153297
    """

    horizon: float = 1.0

    def __post_init__(self) -> None:
        _check_horizon(self.horizon)

    def covariance(self, s: FloatArray, t: FloatArray) -> FloatArray:
        """min(s, t)."""
        return np.minimum(s, t)

    def karhunen_loeve(self, m: int) -> KarhunenLoeve:
        return _sines(checked_count("m", m), -0.5, self.horizon, self.horizon**2 / 2)


@dataclass(frozen=True)
class BrownianBridge(_Centred):
    r"""The Brownian bridge, $\operatorname{cov}(B_s, B_t) = \min(s, t) - st/T$: $\lambda_i = (T / \pi i)^2$, sines.

    Parameters
    ----------
    horizon : float, default 1
        T > 0.

    Raises
    ------
    ValueError
        For a horizon that is not positive.

    References
    ----------
    luschgy2002.

    Examples
    --------
    >>> import quantization as qz
    >>> round(qz.BrownianBridge().karhunen_loeve(1).trace, 6)
    0.166667
    """

    horizon: float = 1.0

    def __post_init__(self) -> None:
        _check_horizon(self.horizon)

    def covariance(self, s: FloatArray, t: FloatArray) -> FloatArray:
        """min(s, t) − st/T."""
        return np.minimum(s, t) - s * t / self.horizon

    def karhunen_loeve(self, m: int) -> KarhunenLoeve:
        return _sines(checked_count("m", m), 0.0, self.horizon, self.horizon**2 / 6)


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    r"""$dX = -\theta X\,dt + \sigma\,dW$ from $X_0 = x$, or stationary: $\lambda_i = \sigma^2 / (\omega_i^2 + \theta^2)$.

    Parameters
    ----------
    rate : float
        $\theta > 0$.
    volatility : float, default 1
        $\sigma > 0$.
    horizon : float, default 1
        T > 0.
    start : float or "stationary", default 0
        $X_0$, or $X_0 \sim N(0, \sigma^2 / 2\theta)$.

    Raises
    ------
    ValueError
        For numbers that are not positive, or another start.

    Notes
    -----
    $\omega_i$ is the root of $\omega T + c \arctan(\omega / \theta) = i \pi$, c = 1 from a point and 2 where it is stationary, by
    Newton's method, which rises to it, as the left side is concave.

    References
    ----------
    luschgy2002.

    Examples
    --------
    >>> import quantization as qz
    >>> process = qz.OrnsteinUhlenbeck(2.0, start="stationary")
    >>> process.karhunen_loeve(3).eigenvalues.round(4).tolist(), process.karhunen_loeve(3).trace
    ([0.1437, 0.0489, 0.0196], 0.25)
    """

    rate: float
    volatility: float = 1.0
    horizon: float = 1.0
    start: float | Literal["stationary"] = 0.0

    def __post_init__(self) -> None:
        _check_horizon(self.horizon)
        checked_number(self.rate, "rate must be a positive number", open_ends=True)
        checked_number(self.volatility, "volatility must be a positive number", open_ends=True)
        if self.start != "stationary":
            checked_number(self.start, 'start must be a finite number, or "stationary"', least=-np.inf, open_ends=True)

    def mean(self, times: FloatArray) -> FloatArray:
        return np.zeros(len(times)) if self.start == "stationary" else float(self.start) * np.exp(-self.rate * times)

    def covariance(self, s: FloatArray, t: FloatArray) -> FloatArray:
        """σ²/2θ exp(−θ|s − t|), from a point times 1 − exp(−2θ min(s, t))."""
        share = 1.0 if self.start == "stationary" else -np.expm1(-2 * self.rate * np.minimum(s, t))
        return self.volatility**2 / (2 * self.rate) * np.exp(-self.rate * np.abs(s - t)) * share

    def karhunen_loeve(self, m: int) -> KarhunenLoeve:
        theta, horizon, count = self.rate, self.horizon, np.arange(1.0, checked_count("m", m) + 1)
        stationary = self.start == "stationary"
        factor = 2 if stationary else 1
        omega: FloatArray = (count - factor / 2) * (np.pi / horizon)
        for _ in range(50):
            excess = omega * horizon + factor * np.arctan(omega / theta) - count * np.pi
            omega = omega - excess / (horizon + factor * theta / (theta**2 + omega**2))
        phase = np.arctan2(theta, omega) if stationary else np.full(m, np.pi / 2)  # of cos(ωt − φ)
        norm = horizon / 2 + (np.sin(2 * (omega * horizon - phase)) + np.sin(2 * phase)) / (4 * omega)

        def functions(times: FloatArray) -> FloatArray:
            return np.cos(np.asarray(times)[:, None] * omega - phase) / np.sqrt(norm)

        trace = horizon / (2 * theta) if stationary else horizon**2 * _mean_of_variance(2 * theta * horizon)
        return KarhunenLoeve(self.volatility**2 / (omega**2 + theta**2), functions, self.volatility**2 * trace, np.zeros(m))


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    r"""Any Gaussian process on [0, T], by its covariance $K(s, t)$ and its mean.

    Parameters
    ----------
    covariance : callable
        Vectorized: maps times s and t, arrays of one shape, to $\operatorname{cov}(X_s, X_t)$. Symmetric, positive semidefinite,
        and smooth but for the diagonal and the ends of the interval.
    horizon : float, default 1
        T > 0.
    drift : callable, optional
        Vectorized: maps times (n,) to means (n,); ``None`` is mean zero.

    Raises
    ------
    ValueError
        For a horizon that is not positive; and, where it is expanded, for a covariance that is none.

    Notes
    -----
    Galerkin's method with Legendre polynomials: the expansion's coordinates are uncorrelated whatever their degree, so the
    distortion of a grid of them is exact to the expansion's ``quadrature_error``; ``errors`` says how far the functions may be
    from the best.

    References
    ----------
    luschgy2002.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> smooth = qz.GaussianProcess(lambda s, t: np.exp(-np.square(s - t) / 2))
    >>> smooth.karhunen_loeve(3).eigenvalues.round(6).tolist()
    [0.925375, 0.072135, 0.002437]
    """

    covariance: Kernel
    horizon: float = 1.0
    drift: Callable[[FloatArray], FloatArray] | None = None

    def __post_init__(self) -> None:
        _check_horizon(self.horizon)
        if not callable(self.covariance):
            raise ValueError(f"covariance must be a function of two arrays of times; received {type(self.covariance).__name__}")

    def mean(self, times: FloatArray) -> FloatArray:
        means = np.zeros(len(times)) if self.drift is None else np.asarray(self.drift(times), dtype=np.float64)
        if means.shape != (len(times),) or not np.isfinite(means).all():
            raise ValueError(f"drift(times) must return one finite mean per time, ({len(times)},); received shape {means.shape}")
        return means

    def karhunen_loeve(self, m: int) -> KarhunenLoeve:
        return _by_galerkin(self.covariance, self.horizon, m)


@dataclass(frozen=True)
class FractionalBrownianMotion(_Centred):
    r"""Fractional Brownian motion, $\operatorname{cov}(X_s, X_t) = \tfrac12 (s^{2H} + t^{2H} - |s - t|^{2H})$.

    Parameters
    ----------
    hurst : float
        $0 < H < 1$; ½ is Brownian motion.
    horizon : float, default 1
        T > 0.

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    By Galerkin's method, as for :class:`GaussianProcess`.

    References
    ----------
    luschgy2002.

    Examples
    --------
    >>> import quantization as qz
    >>> qz.FractionalBrownianMotion(0.5).karhunen_loeve(2).eigenvalues.round(6).tolist()  # (2/π)², (2/3π)²
    [0.405285, 0.045032]
    """

    hurst: float
    horizon: float = 1.0

    def __post_init__(self) -> None:
        _check_horizon(self.horizon)
        checked_number(self.hurst, "hurst must lie strictly between 0 and 1", open_ends=True, most=1.0)

    def covariance(self, s: FloatArray, t: FloatArray) -> FloatArray:
        """½(s^2H + t^2H − |s − t|^2H)."""
        power = 2 * self.hurst
        return (s**power + t**power - np.abs(s - t) ** power) / 2

    def karhunen_loeve(self, m: int) -> KarhunenLoeve:
        return _by_galerkin(self.covariance, self.horizon, m)


def _check_horizon(horizon: float) -> None:
    checked_number(horizon, "horizon must be a positive number", open_ends=True)


def _sines(m: int, shift: float, horizon: float, trace: float) -> KarhunenLoeve:
    r"""$e_i(t) = \sqrt{2/T} \sin \omega_i t$, $\lambda_i = \omega_i^{-2}$, $\omega_i = (i + \text{shift})\, \pi / T$."""
    omega: FloatArray = (np.arange(1.0, m + 1) + shift) * (np.pi / horizon)

    def functions(times: FloatArray) -> FloatArray:
        return np.sqrt(2 / horizon) * np.sin(np.asarray(times)[:, None] * omega)

    return KarhunenLoeve(omega**-2, functions, trace, np.zeros(len(omega)))


def _mean_of_variance(x: float) -> float:
    r"""$\sum_{k \ge 0} (-x)^k / (k + 2)! = (1 - (1 - e^{-x}) / x) / x$."""
    if x > 1:
        return (1 + np.expm1(-x) / x) / x
    terms = np.cumprod(np.concatenate([[0.5], -x / np.arange(3, 3 + _TERMS)]))
    return float(terms.sum())


def _by_galerkin(kernel: Kernel, horizon: float, m: int) -> KarhunenLoeve:
    found = spectrum(kernel, horizon, checked_count("m", m, most=64))
    return KarhunenLoeve(
        found.eigenvalues, found.functions, found.trace, found.errors, found.quadrature_error, found.trace - found.total
    )
