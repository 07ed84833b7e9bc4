"""Probability laws to quantize: Gaussians and their mixtures, any sampler, frozen scipy.stats distributions."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from scipy.linalg import solve_triangular

from quantization.arrays import Array, FloatArray


@runtime_checkable
class Law(Protocol):
    """A law that can be sampled: the protocol of whatever has a method ``sample``.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> class Annulus:
    ...     def sample(self, n, rng):
    ...         angle, radius = rng.uniform(0, 6.2832, n), rng.uniform(1, 2, n)
    ...         return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    >>> isinstance(Annulus(), qz.Law), qz.quantize(Annulus(), 8, max_iter=20, rng=0).points.shape
    (True, (8, 2))
    """

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Independent draws.

        Parameters
        ----------
        n : int
            Number of draws, at least 1.
        rng : numpy Generator
            The only source of randomness.

        Returns
        -------
        array (n, d)
            numpy or torch, finite; of one dimension, library, dtype and device at every call.
        """
        ...


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    r"""A mixture of Gaussians, $\sum_{i=1}^m \pi_i\, N(m_i, C_i)$ on R^d.

    Parameters
    ----------
    weights : array (m,)
        $\pi_i \ge 0$, of sum 1.
    means : array (m, d)
        $m_i$.
    covs : array (m, d, d)
        $C_i$, symmetric positive semidefinite, also for d = 1. Sampling allows singular ones; density and score need definite
        ones.

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, weights that are none, and covariances that are none.

    Examples
    --------
    >>> import quantization as qz
    >>> mixture = qz.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    >>> mixture.dim, mixture.mean.tolist(), mixture.cov.tolist()
    (1, [0.0], [[2.0]])
    """

    weights: FloatArray
    means: FloatArray
    covs: FloatArray

    def __post_init__(self) -> None:
        weights, means, covs = (np.array(a, dtype=np.float64) for a in (self.weights, self.means, self.covs))
        if (
            weights.ndim != 1
            or means.ndim != 2
            or not means.size
            or covs.shape != (len(means), means.shape[1], means.shape[1])
            or len(weights) != len(means)
        ):
            raise ValueError(
                "a mixture needs weights (m,), means (m, d) and covs (m, d, d); "
                f"received {weights.shape}, {means.shape} and {covs.shape}"
            )
        if not (np.isfinite(weights).all() and np.isfinite(means).all() and np.isfinite(covs).all()):
            raise ValueError("weights, means and covs must be finite; received NaN or infinite entries")
        if (weights < 0).any() or abs(weights.sum() - 1) > 1e-9:
            raise ValueError(f"weights must be nonnegative and sum to 1; received {weights} with a sum of {weights.sum():.12g}")
        spectra = [np.linalg.eigvalsh((c + c.T) / 2) for c in covs]
        for i, (cov, spectrum) in enumerate(zip(covs, spectra, strict=True)):
            scale = max(float(np.abs(cov).max()), 1e-300)
            if np.abs(cov - cov.T).max() > 1e-10 * scale or spectrum[0] < -1e-10 * scale:
                raise ValueError(
                    f"covs[{i}] must be symmetric positive semidefinite; its least eigenvalue is {spectrum[0]:g} "
                    f"and its asymmetry {np.abs(cov - cov.T).max():g}"
                )
        for name, value in (
            ("weights", weights / weights.sum()),
            ("means", means),
            ("covs", (covs + covs.transpose(0, 2, 1)) / 2),
        ):
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.means.shape[1]

    @property
    def mean(self) -> FloatArray:
        r"""$E X = \sum_i \pi_i m_i$, (d,)."""
        return self.weights @ self.means

    @property
    def cov(self) -> FloatArray:
        r"""$\sum_i \pi_i (C_i + (m_i - EX)(m_i - EX)^T)$, (d, d)."""
        deviations = self.means - self.mean
        return np.einsum("i,ijk->jk", self.weights, self.covs) + (deviations.T * self.weights) @ deviations

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Independent draws.

        Parameters
        ----------
        n : int
            Number of draws.
        rng : numpy Generator

        Returns
        -------
        array (n, d)
        """
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, self.dim))
        draws = self.means[component]
        for i, root in enumerate(self._roots):
            chosen = component == i
            draws[chosen] += noise[chosen] @ root.T
        return draws

    def log_density(self, x: FloatArray) -> FloatArray:
        r"""The log-density $\log \sum_i \pi_i\, \varphi_{m_i, C_i}(x)$.

        Parameters
        ----------
        x : array (n, d)

        Returns
        -------
        array (n,)

        Raises
        ------
        ValueError
            Where a covariance is singular, or x has another shape.

        Examples
        --------
        >>> import quantization as qz
        >>> round(float(qz.Gaussian([0.0], [[1.0]]).log_density([[0.0]])[0]), 6)  # -log(2 pi)/2
        -0.918939
        """
        return np.logaddexp.reduce(self._log_terms(np.asarray(x, dtype=np.float64))[0], axis=0)

    def score(self, x: FloatArray) -> FloatArray:
        r"""The score $\nabla \log p(x) = -\sum_i \rho_i(x)\, C_i^{-1}(x - m_i)$, $\rho_i$ the posterior weights.

        Parameters
        ----------
        x : array (n, d)

        Returns
        -------
        array (n, d)

        Raises
        ------
        ValueError
            Where a covariance is singular, or x has another shape.

        Examples
        --------
        >>> import quantization as qz
        >>> qz.Gaussian([0.0], [[2.0]]).score([[1.0]]).round(12).tolist()
        [[-0.5]]
        """
        terms, whitened = self._log_terms(np.asarray(x, dtype=np.float64))
        posterior = np.exp(terms - np.logaddexp.reduce(terms, axis=0))
        return -np.einsum("in,ind->nd", posterior, whitened)

    @cached_property
    def _roots(self) -> list[FloatArray]:
        """A_i with A_i A_i^T = C_i, singular or not."""
        spectra = [np.linalg.eigh(cov) for cov in self.covs]
        return [basis * np.sqrt(np.maximum(spectrum, 0)) for spectrum, basis in spectra]

    @cached_property
    def _factors(self) -> list[FloatArray]:
        """The lower triangular L_i with L_i L_i^T = C_i. A pivot that is round-off beside its variance means singular."""
        factors: list[FloatArray] = []
        for i, cov in enumerate(self.covs):
            try:
                factor = np.asarray(np.linalg.cholesky(cov), dtype=np.float64)
                singular = bool((np.square(np.diag(factor)) <= self.dim * np.finfo(np.float64).eps * np.diag(cov)).any())
            except np.linalg.LinAlgError:
                factor, singular = cov, True
            if singular:
                raise ValueError(f"covs[{i}] is singular, so the mixture has no density; add a little to its diagonal")
            factors.append(factor)
        return factors

    def _log_terms(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log(π_i φ_i(x)), (m, n), and C_i^{-1}(x − m_i), (m, n, d)."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (n, {self.dim}); received {x.shape}")
        terms, whitened = np.empty((len(self.weights), len(x))), np.empty((len(self.weights), *x.shape))
        for i, (mean, factor) in enumerate(zip(self.means, self._factors, strict=True)):
            half_whitened = cast(FloatArray, solve_triangular(factor, (x - mean).T, lower=True))
            whitened[i] = solve_triangular(factor, half_whitened, lower=True, trans="T").T
            log_norm = np.log(np.diag(factor)).sum() + self.dim * np.log(2 * np.pi) / 2
            with np.errstate(divide="ignore"):
                terms[i] = np.log(self.weights[i]) - np.square(half_whitened).sum(0) / 2 - log_norm
        return terms, whitened


class Gaussian(GaussianMixture):
    r"""The Gaussian law $N(m, C)$ on R^d.

    Parameters
    ----------
    mean : array (d,)
        $m$.
    cov : array (d, d)
        $C$, symmetric positive semidefinite, also for d = 1.

    Raises
    ------
    ValueError
        For bad input.

    Examples
    --------
    >>> import quantization as qz
    >>> solution = qz.quantize(qz.Gaussian([0.0], [[1.0]]), 2, rng=0)  # ±√(2/π)
    >>> solution.points.ravel().round(6).tolist()
    [-0.797885, 0.797885]
    """

    def __init__(self, mean: Any, cov: Any) -> None:
        mean, cov = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
        if mean.ndim != 1 or cov.shape != (mean.size, mean.size):
            raise ValueError(
                f"a Gaussian needs a mean (d,) and a cov (d, d); received {mean.shape} and {cov.shape}. "
                "On the line write Gaussian([m], [[v]])"
            )
        super().__init__(np.ones(1), mean[None], cov[None])


@dataclass(frozen=True, eq=False)
class FrozenLaw:
    """A frozen continuous ``scipy.stats`` distribution as a law on the line: ``sample`` returns (n, 1)."""

    distribution: Any
    dim: int = 1

    @staticmethod
    def of(law: Any) -> "FrozenLaw | None":
        """``law`` wrapped, if it is a frozen continuous distribution of scipy.stats of either interface, else None.

        Recognized by its attributes, so that scipy.stats need not be loaded; of the older interface only frozen ones have
        ``dist``, and objects of the newer one, such as ``stats.Normal(mu=1.0)``, are always frozen. Raises ``ValueError`` for
        arrays of parameters, and for discrete distributions.
        """
        if hasattr(law, "dist") and _has(law, "rvs", "ppf", "isf", "pdf"):
            parameters = (*getattr(law, "args", ()), *getattr(law, "kwds", {}).values())
            if any(np.size(parameter) != 1 for parameter in parameters):
                name = getattr(law.dist, "name", type(law).__name__)
                raise ValueError(f"a frozen distribution needs scalar parameters; received {name} with arrays")
            return FrozenLaw(law)
        of_scipy = any(kind.__module__.startswith("scipy.stats.") for kind in cast(Any, type(law)).__mro__)
        if of_scipy and _has(law, "sample", "icdf", "iccdf", "pdf", "cdf", "support"):
            return FrozenLaw(_RandomVariable(law))
        return None

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        return np.asarray(self.distribution.rvs(size=n, random_state=rng), dtype=np.float64)[:, None]


class _RandomVariable:
    """A distribution of scipy's newer interface under the method names of the older one."""

    def __init__(self, law: Any) -> None:
        self.name = type(law).__name__
        if np.ndim(law.icdf(0.5)):
            raise ValueError(f"a distribution needs scalar parameters; received {self.name} with arrays")
        if np.isinf(law.pdf(law.icdf(0.5))):  # an atom; a truncated law has no pmf
            raise ValueError(
                f"{self.name} is discrete; write DiscreteMeasure(x[:, None], law.pmf(x)) for its values x, or quantize a sample"
            )
        self.pdf, self.cdf, self.ppf, self.isf, self.support = law.pdf, law.cdf, law.icdf, law.iccdf, law.support
        self._law = law

    def rvs(self, size: int, random_state: np.random.Generator) -> Any:
        """Independent draws, (size,)."""
        return self._law.sample(size, rng=random_state)


def _has(law: object, *methods: str) -> bool:
    return all(callable(getattr(law, method, None)) for method in methods)
