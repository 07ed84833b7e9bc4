"""What is asked of a solver, whatever the law came as: K codes for it, of order r."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, TypeGuard

import numpy as np

from quantization.arrays import Array, FloatArray, asarray_like, namespace
from quantization.exact_law import ExactLaw
from quantization.laws import Law
from quantization.measure import DiscreteMeasure
from quantization.quasi_monte_carlo import Replicated
from quantization.stream import Batch, Stream, checked_batch, numbered, reservoir

_PASS_DRAWS = 2**17
_PILOT_DRAWS_PER_CODE, _PILOT_DRAWS, _PILOT_READS = 64, 2**14, 16


class HasBatches(ExactLaw, Protocol):
    """An exact law on points that are not one array in memory."""

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One pass in mini-batches of about ``size`` points."""
        ...


class HasPilot(HasBatches, Protocol):
    """One of which few points are drawn quickly."""

    def pilot(self, wanted: int, rng: np.random.Generator) -> DiscreteMeasure:
        """About so many of the points, drawn in proportion to their weights."""
        ...


def has_batches(law: Any) -> TypeGuard[HasBatches]:
    """Whether ``law`` is an exact law that gives its points batch by batch."""
    return hasattr(law, "batches")


def has_pilot(law: Any) -> TypeGuard[HasPilot]:
    """Whether ``law`` is an exact law that draws a pilot of its own."""
    return hasattr(law, "pilot")


@dataclass(frozen=True)
class Problem:
    r"""$\min_{x_1..x_K} E \min_k |X - x_k|^r$ for a law that is finite (``measure``), sampled (``law``) or streamed (``stream``).

    like: an array whose library, dtype and device the answer takes. dim: the dimension d.
    masses: (K,) of the codes where they are prescribed, so that $\min_x W_2^2(\mu, \sum_k m_k \delta_{x_k})$ is asked; else None.
    exact: the law as one whose cells are computed exactly, where it is one; every finite measure is. steps, restarts: about
    how many codebooks a solver will try in a run, and runs there are, for what is worth preparing.
    """

    k: int
    r: float
    like: Array
    dim: int
    measure: DiscreteMeasure | None = None
    law: Law | None = None
    stream: Stream | None = None
    exact: ExactLaw | None = None
    masses: FloatArray | None = None
    steps: int = 1
    restarts: int = 1

    @property
    def kind(self) -> str:
        """What the law is, in words."""
        if self.measure is not None:
            return "samples"
        if self.stream is not None:
            return "a stream"
        return "a law known by sampling" if self.law is not None else str(getattr(self.exact, "kind", "a law"))

    @property
    def replicated(self) -> bool:
        """Whether draws of the law depend on one another within a batch."""
        return isinstance(self.law, Replicated)

    def pilot(self, rng: np.random.Generator) -> DiscreteMeasure:
        """A finite measure to draw starting codes from: the law itself where it is finite, else a sample of it.

        Of 2^14 points, or 64 a code. Of a stream they are drawn evenly from one pass, of which no more than 16 times as many are
        read: so a long sorted stream should be shuffled. Of shards, and of a stream that Lloyd reads, from all.
        """
        if self.measure is not None:
            return self.measure
        if has_pilot(self.exact):
            return self.exact.pilot(self.pilot_size, rng)
        if self.law is None and self.stream is None:
            raise ValueError("this start needs points in memory; received sparse samples. Use k-means++, random points or codes")
        wanted = self.pilot_size
        if self.law is not None:
            return DiscreteMeasure(self.draw(wanted, rng))
        return DiscreteMeasure(reservoir(self.batches(1, rng, epochs=1), wanted, _PILOT_READS * wanted, rng))

    @property
    def pilot_size(self) -> int:
        """The number of points of a pilot that is drawn."""
        return max(_PILOT_DRAWS, _PILOT_DRAWS_PER_CODE * self.k)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """n checked draws of the sampled law."""
        assert self.law is not None
        points = checked_batch(self.law.sample(n, rng), self.dim, self.like, "law.sample")
        if len(points) != n:
            raise ValueError(f"law.sample(n, rng) must return n draws (n, d); sample({n}, rng) returned {tuple(points.shape)}")
        return points

    def batches(self, size: int, rng: np.random.Generator, epochs: int | None) -> Iterator[Batch]:
        """Mini-batches of about ``size`` points; whole passes in random order over samples, remainders included.

        A stream keeps its own sizes. A pass over a sampled law is 2^17 draws. Without ``epochs`` the batches never end.
        """
        passes = count() if epochs is None else range(epochs)
        if self.law is not None:
            for _ in passes if epochs is None else range(epochs * -(-_PASS_DRAWS // size)):
                yield Batch.of(self.draw(size, rng))
            return
        for _ in passes:
            yield from self._pass(size, rng)

    def unit_batches(self, draws: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Batches with mass 1 per point, ``draws`` points in all or one pass of a stream; small where d is large.

        Of a replicated law every batch is a replicate of 2^m points: as many as the law asks for, more where d is large.
        """
        size = min(draws, max(1, 2**21 // self.dim))
        if isinstance(self.law, Replicated):
            size = 1 << (max(1, min(size, draws // self.law.replicates)).bit_length() - 1)
            draws = max(draws // size, 2) * size
        for batch in self.batches(size, rng, epochs=1 if self.stream is not None else None):
            yield batch.points[:draws], batch.masses[:draws]
            draws -= len(batch.points)
            if draws <= 0:
                return

    def fresh(self, draws: int, rng: np.random.Generator) -> Iterator[Array]:
        """So many new draws in batches."""
        return (points for points, _ in self.unit_batches(draws, rng))

    def _pass(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        if self.measure is not None:
            points, masses = self.measure.points, self.measure.weights_float64 * self.measure.size
            order = rng.permutation(self.measure.size)
            for start in range(0, len(order), size):
                chosen = asarray_like(order[start : start + size], points, dtype=namespace(points).int64)
                yield Batch(points[chosen], masses[chosen])
        elif has_batches(self.exact):
            yield from self.exact.batches(size, rng)
        else:
            assert self.stream is not None
            batch = None
            for batch in numbered(self.stream.make_batches(), self.dim, self.like):
                yield batch
            if batch is None:
                raise ValueError(
                    "the stream gave no batches on this pass. make_batches must return a fresh iterable every time it is called"
                )


class Initialization(Protocol):
    """A way to draw starting codes: the protocol of what ``init=`` takes.

    Examples
    --------
    Codes evenly spaced along the diagonal of the data:

    >>> import numpy as np, quantization as qz
    >>> class Diagonal:
    ...     def check(self, problem):
    ...         if problem.measure is None:
    ...             raise ValueError("Diagonal() needs samples")
    ...     def draw(self, problem, rng):
    ...         x = problem.measure.points
    ...         return np.linspace(x.min(0), x.max(0), problem.k)
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> qz.quantize(x, 4, init=Diagonal(), rng=0).converged
    True
    """

    def check(self, problem: Problem) -> None:
        """Raise where no codes can be drawn, before any work.

        Parameters
        ----------
        problem : Problem
            K codes of order r for a law.

        Raises
        ------
        ValueError
            That says what was received and what to use instead.
        """
        ...

    def draw(self, problem: Problem, rng: np.random.Generator) -> Array:
        """Starting codes.

        Parameters
        ----------
        problem : Problem
            As for :meth:`check`.
        rng : numpy Generator
            The only source of randomness.

        Returns
        -------
        array (K, d)
            On the host, of any real dtype: runs that begin at points start the faster, the less there is to convert.
        """
        ...
