"""Probability laws to quantize: Gaussians and their mixtures, any sampler, frozen scipy.stats distributions."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import ArrayLike

from quantization.arrays import Array, FloatArray, IntArray

_BLOCK = 2**22  # numbers of a block of densities


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
        ones. One covariance for thousands of components is held once where it is given as ``np.broadcast_to(cov, (m, d, d))``.

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
        weights, means = (np.array(a, dtype=np.float64) for a in (self.weights, self.means))
        covs = np.asarray(self.covs, dtype=np.float64)
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
        shared = len(covs) > 1 and covs.strides[0] == 0  # one covariance for all, held once
        own = covs[:1] if shared else covs
        even = (own + own.transpose(0, 2, 1)) / 2
        scales = np.maximum(np.abs(own).max((1, 2)), 1e-300)
        asymmetries, least = np.abs(own - own.transpose(0, 2, 1)).max((1, 2)), np.linalg.eigvalsh(even)[:, 0]
        wrong = np.flatnonzero((asymmetries > 1e-10 * scales) | (least < -1e-10 * scales))
        if len(wrong):
            i = int(wrong[0])
            raise ValueError(
                f"covs[{i}] must be symmetric positive semidefinite; its least eigenvalue is {least[i]:g} "
                f"and its asymmetry {asymmetries[i]:g}"
            )
        even = np.broadcast_to(even[0], covs.shape) if shared else even
        for name, value in (("weights", weights / weights.sum()), ("means", means), ("covs", even)):
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
        return self.from_noise(component, rng.standard_normal((n, self.dim)))

    def from_noise(self, component: IntArray, noise: FloatArray) -> FloatArray:
        r"""$m_i + B_i \Lambda_i^{1/2} z$ for components i and standard normal z; $C_i = B_i \Lambda_i B_i^T$, eigenvalues rising.

        Parameters
        ----------
        component : array (n,) of int
        noise : array (n, d)

        Returns
        -------
        array (n, d)

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> qz.Gaussian([1.0], [[4.0]]).from_noise(np.array([0]), np.array([[0.5]])).tolist()
        [[2.0]]
        """
        draws = self.means[component]
        group = self._groups[component]
        order, counts = np.argsort(group, kind="stable"), np.bincount(group, minlength=len(self._roots))
        for root, chosen in zip(self._roots, np.split(order, np.cumsum(counts)[:-1]), strict=True):
            if len(chosen):
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
        parts = [np.logaddexp.reduce(self._log_terms(part), axis=0) for part in self._parts(x)]
        return np.concatenate(parts) if parts else np.empty(0)

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
        parts = [-self._pull(part, self._posterior(part)) for part in self._parts(x)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim))

    @cached_property
    def _groups(self) -> IntArray:
        """(m,) the number of each component's covariance among the distinct ones, which are counted as they come."""
        m = len(self.covs)
        if m == 1 or self.covs.strides[0] == 0:
            return np.zeros(m, dtype=np.int64)
        _, first, group = np.unique(self.covs.reshape(m, -1), axis=0, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[group.reshape(m)]

    @cached_property
    def _members(self) -> list[IntArray]:
        """The components of each distinct covariance."""
        ends = np.cumsum(np.bincount(self._groups))
        return np.split(np.argsort(self._groups, kind="stable"), ends[:-1])

    @cached_property
    def _roots(self) -> list[FloatArray]:
        """Of each distinct covariance C, an A with A A^T = C, singular or not."""
        spectra = [np.linalg.eigh(self.covs[members[0]]) for members in self._members]
        return [basis * np.sqrt(np.maximum(spectrum, 0)) for spectrum, basis in spectra]

    @cached_property
    def _factors(self) -> list[FloatArray]:
        """Of each the lower triangular L with L L^T = C. A pivot that is round-off beside its variance means singular."""
        factors: list[FloatArray] = []
        for i in (int(members[0]) for members in self._members):
            cov = self.covs[i]
            try:
                factor = np.asarray(np.linalg.cholesky(cov), dtype=np.float64)
                singular = bool((np.square(np.diag(factor)) <= self.dim * np.finfo(np.float64).eps * np.diag(cov)).any())
            except np.linalg.LinAlgError:
                factor, singular = cov, True
            if singular:
                raise ValueError(f"covs[{i}] is singular, so the mixture has no density; add a little to its diagonal")
            factors.append(factor)
        return factors

    def _parts(self, x: FloatArray) -> Iterator[FloatArray]:
        """x (n, d), checked, in parts for which m numbers a row fit into memory."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (n, {self.dim}); received {x.shape}")
        rows = max(1, _BLOCK // len(self.weights))
        return (x[start : start + rows] for start in range(0, len(x), rows))

    def _whitened(self, x: FloatArray) -> Iterator[tuple[IntArray, FloatArray, FloatArray, FloatArray]]:
        """Of each distinct L: its components, L, and L^{-1} of x and of their means, about the first of these; (d, ·) both."""
        for members, factor in zip(self._members, self._factors, strict=True):
            centre = self.means[members[0]]  # of one component alone, so that x − m is as exact as it can be
            solve = partial(cast(Any, scipy.linalg.solve_triangular), factor, lower=True)
            yield members, factor, solve((x - centre).T), solve((self.means[members] - centre).T)

    def _log_terms(self, x: FloatArray) -> FloatArray:
        """log(π_i φ_i(x)), (m, n)."""
        terms = np.empty((len(self.weights), len(x)))
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        for members, factor, white, means in self._whitened(x):
            log_norm = np.log(np.diag(factor)).sum() + self.dim * np.log(2 * np.pi) / 2
            squares = cast(Any, scipy.spatial.distance.cdist)(means.T, white.T, "sqeuclidean")
            terms[members] = log_weights[members, None] - squares / 2 - log_norm
        return terms

    def _posterior(self, x: FloatArray) -> FloatArray:
        """ρ_i(x), (m, n)."""
        terms = self._log_terms(x)
        return np.exp(terms - np.logaddexp.reduce(terms, axis=0))

    def _pull(self, x: FloatArray, shares: FloatArray) -> FloatArray:
        r"""$\sum_i s_i(x)\, C_i^{-1}(x - m_i)$ for shares s (m, n); (n, d)."""
        pull = np.zeros_like(x)
        for members, factor, white, means in self._whitened(x):
            s = shares[members]
            pull += cast(Any, scipy.linalg.solve_triangular)(factor, white * s.sum(0) - means @ s, lower=True, trans="T").T
        return pull


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

    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        mean, cov = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
        if mean.ndim != 1 or cov.shape != (mean.size, mean.size):
            raise ValueError(
                f"a Gaussian needs a mean (d,) and a cov (d, d); received {mean.shape} and {cov.shape}. "
                "On the line write Gaussian([m], [[v]])"
            )
        super().__init__(np.ones(1), mean[None], cov[None])


def scipys_mixture(law: Any) -> GaussianMixture | None:
    """``scipy.stats.gaussian_kde`` and frozen ``multivariate_normal`` as what they are; None for anything else.

    Known by their class's name, so that scipy.stats need not be loaded.
    """
    names = {kind.__name__ for kind in cast(Any, type(law)).__mro__ if kind.__module__.startswith("scipy.stats.")}
    if "gaussian_kde" in names:
        points = np.asarray(law.dataset, dtype=np.float64).T
        return GaussianMixture(law.weights, points, np.broadcast_to(law.covariance, (len(points), *np.shape(law.covariance))))
    if "multivariate_normal_frozen" in names:
        return Gaussian(np.ravel(law.mean), np.reshape(law.cov, (law.dim, law.dim)))
    return None


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
        arrays of parameters. Discrete ones are none: see :mod:`quantization.discrete_laws`.
        """
        if hasattr(law, "dist") and _has(law, "rvs", "ppf", "isf", "pdf"):
            check_scalar_parameters(law)
            return FrozenLaw(law)
        if newer_kind(law) == "continuous":
            return FrozenLaw(_RandomVariable(law))
        return None

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        return np.asarray(self.distribution.rvs(size=n, random_state=rng), dtype=np.float64)[:, None]


def newer_kind(law: Any) -> Literal["continuous", "discrete"] | None:
    """What one of scipy's newer distributions, such as ``stats.Normal(mu=1.0)``, is; None for anything else."""
    scipys = any(kind.__module__.startswith("scipy.stats.") for kind in cast(Any, type(law)).__mro__)
    if not (scipys and _has(law, "sample", "icdf", "iccdf", "pdf", "cdf", "support")):
        return None
    median = law.icdf(0.5)
    if np.ndim(median):
        raise ValueError(f"a distribution needs scalar parameters; received {type(law).__name__} with arrays")
    return "discrete" if np.isinf(law.pdf(median)) else "continuous"


def check_scalar_parameters(law: Any) -> None:
    """``ValueError`` where a frozen distribution has arrays for parameters: it is many laws, not one."""
    given = (*getattr(law, "args", ()), *getattr(law, "kwds", {}).values())
    if any(np.size(parameter) != 1 for parameter in given):
        name = getattr(law.dist, "name", type(law).__name__)
        raise ValueError(f"a frozen distribution needs scalar parameters; received {name} with arrays")


class _RandomVariable:
    """A distribution of scipy's newer interface under the method names of the older one."""

    def __init__(self, law: Any) -> None:
        self.name = type(law).__name__
        self.pdf, self.cdf, self.sf, self.ppf, self.isf, self.support = (
            law.pdf,
            law.cdf,
            law.ccdf,
            law.icdf,
            law.iccdf,
            law.support,
        )
        self._law = law

    def rvs(self, size: int, random_state: np.random.Generator) -> Any:
        """Independent draws, (size,)."""
        return self._law.sample(size, rng=random_state)


def _has(law: object, *methods: str) -> bool:
    return all(callable(getattr(law, method, None)) for method in methods)
