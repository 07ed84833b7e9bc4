"""Randomized quasi-Monte Carlo: draws of a law that cover it evenly, for quadrature in d ≥ 3 where nothing is exact."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import scipy  # its subpackages load when they are first used

from quantization.arrays import Array, FloatArray
from quantization.laws import FrozenLaw, GaussianMixture, Law, scipys_mixture

_BITS = 30  # of a coordinate of scipy's Sobol points; what they leave out is drawn uniformly
_MOST_COORDINATES = 21_201  # of scipy's table of direction numbers


@runtime_checkable
class Replicated(Law, Protocol):
    """A law whose draws within one call are dependent, as those of randomized quasi-Monte Carlo.

    Every draw has the law, so means over a call are unbiased, and separate calls are independent. The draws of one call are not,
    so errors are estimated from the variance between ``replicates`` calls, never from the draws of one.
    """

    @property
    def replicates(self) -> int: ...


@runtime_checkable
class FromCube(Protocol):
    """A law that is the image of the uniform law on a cube: ``from_cube(u)`` maps (n, cube_dim) in (0, 1) to draws (n, d)."""

    @property
    def cube_dim(self) -> int: ...

    def from_cube(self, u: FloatArray) -> Array: ...


@dataclass(frozen=True)
class QuasiMonteCarlo:
    r"""Randomized quasi-Monte Carlo: scrambled Sobol points $U_i$ pushed through $T: (0, 1)^s \to R^d$ with $T(U) \sim$ law.

    Parameters
    ----------
    law : Gaussian, GaussianMixture, frozen scipy.stats distribution, FromCube, or list of these
        A Gaussian or a mixture is mapped by its principal axes, the widest first, with one coordinate for the component; a
        continuous ``scipy.stats`` distribution by its ppf. A list stands for independent coordinates, or blocks of them. A law of
        your own needs ``cube_dim``, the number s, and ``from_cube(u)``, the map T of an array (n, s) to draws (n, d).
    replicates : int, default 16
        Independent scramblings from which the error of a mean is estimated, at least 2.

    Raises
    ------
    ValueError
        For a law that is no such map, or one of more coordinates than Sobol points have (21,201).

    Notes
    -----
    Each call of ``sample`` draws a new scrambling: each $T(U_i)$ has exactly the law, so $\frac1n \sum_i f(T(U_i))$ is unbiased
    for E f(X), with variance o(1/n) for square-integrable f; n is best a power of two. In :func:`quantization.distortion` the
    points are divided among the replicates, and the interval is Student's with replicates − 1 degrees of freedom (lecuyer2023).

    References
    ----------
    owen1998, matousek1998, lecuyer2023.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> law = qz.QuasiMonteCarlo(qz.Gaussian(np.zeros(3), np.eye(3)))
    >>> round(float(qz.distortion(law, np.zeros((1, 3)), draws=2**12, rng=0)), 1)  # the trace of the covariance
    3.0
    """

    law: Any
    replicates: int = 16

    def __post_init__(self) -> None:
        count: Any = self.replicates
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 2:
            raise ValueError(f"replicates must be an integer ≥ 2, as one alone shows no error; received {self.replicates!r}")
        coordinates, _ = _map(self.law)
        if coordinates > _MOST_COORDINATES:
            raise ValueError(
                f"Sobol points have at most {_MOST_COORDINATES} coordinates; this law needs {coordinates}. Sample it"
            )

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """The images of the first n points of a Sobol sequence, newly scrambled.

        Parameters
        ----------
        n : int
            Number of draws, at most 2^30.
        rng : numpy Generator
            Draws the scrambling.

        Returns
        -------
        array (n, d)
            Each of the law, but dependent.

        Raises
        ------
        ValueError
            For more points than a Sobol sequence has.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> qz.QuasiMonteCarlo(qz.Gaussian([0.0], [[1.0]])).sample(8, np.random.default_rng(0)).shape
        (8, 1)
        """
        coordinates, push = _map(self.law)
        return push(_scrambled(n, coordinates, rng))


def _scrambled(n: int, coordinates: int, rng: np.random.Generator) -> FloatArray:
    """The first n points of a scrambled Sobol sequence, (n, coordinates), strictly inside the cube."""
    exponent = max(n - 1, 0).bit_length()
    if exponent > _BITS:
        raise ValueError(f"a Sobol sequence has 2^{_BITS} points; received n = {n}. Draw more than once")
    u = np.asarray(scipy.stats.qmc.Sobol(coordinates, bits=_BITS, rng=rng).random_base2(exponent)[:n], dtype=np.float64)
    u += 2.0**-_BITS * rng.random(u.shape)
    return np.clip(u, 2.0**-60, 1 - 2.0**-53)


def _map(law: Any) -> tuple[int, Callable[[FloatArray], Array]]:
    """How many uniform coordinates the law takes, and the map from them to draws."""
    if isinstance(law, list | tuple) and law:
        return _product([_map(part) for part in cast(list[Any], law)])
    return _single_map(law)


def _single_map(law: Any) -> tuple[int, Callable[[FloatArray], Array]]:
    law = scipys_mixture(law) or law
    if isinstance(law, GaussianMixture):
        return law.dim + (len(law.weights) > 1), lambda u: _mixture(law, u)
    frozen = FrozenLaw.of(law)
    if frozen is not None:
        return 1, lambda u: np.asarray(frozen.distribution.ppf(u), dtype=np.float64)
    if isinstance(law, FromCube) and not isinstance(law, type):
        return law.cube_dim, law.from_cube
    raise ValueError(
        "QuasiMonteCarlo needs a law that is a map of uniforms: a Gaussian, a GaussianMixture, a frozen continuous scipy.stats "
        f"distribution, a list of these, or an object with cube_dim and from_cube(u); received {type(law).__name__}"
    )


def _product(parts: list[tuple[int, Callable[[FloatArray], Array]]]) -> tuple[int, Callable[[FloatArray], Array]]:
    """The map of independent blocks, each with coordinates of its own."""
    ends = np.cumsum([coordinates for coordinates, _ in parts])

    def push(u: FloatArray) -> FloatArray:
        blocks = np.split(u, ends[:-1], axis=1)
        return np.concatenate([f(block) for (_, f), block in zip(parts, blocks, strict=True)], axis=1)

    return int(ends[-1]), push


def _mixture(law: GaussianMixture, u: FloatArray) -> FloatArray:
    r"""$m_i + B_i \Lambda_i^{1/2} \Phi^{-1}(u)$, eigenvalues falling: the first Sobol coordinates are the most even ones."""
    component = np.zeros(len(u), dtype=np.int64)
    if len(law.weights) > 1:
        levels = np.asarray(np.cumsum(law.weights), dtype=np.float64)
        wanted = np.asarray(u[:, 0] * float(levels[-1]), dtype=np.float64)
        component = levels.searchsorted(wanted, side="right").clip(max=int(np.flatnonzero(law.weights)[-1]))
    noise = np.asarray(scipy.special.ndtri(u[:, -law.dim :]), dtype=np.float64)
    return law.from_noise(component, noise[:, ::-1])
