"""What is asked of a solver, whatever the law came as: K codes for it, of order r."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from numbers import Integral, Real
from typing import Any, cast

import numpy as np

from quantization.arrays import Array, FloatArray, as_floating, like, namespace
from quantization.batches import Batch, checked_points, numbered, reservoir
from quantization.exact.choice import exact_law
from quantization.exact.protocol import ExactLaw
from quantization.exact.samples import Samples, check_magnitude
from quantization.laws import FrozenLaw, Law, Stream
from quantization.measure import DiscreteMeasure

_LAWS = (
    "an array (n, d), a DiscreteMeasure, a Law (with .sample(n, rng)), a Stream or a loader of batches, "
    "or a frozen continuous scipy.stats distribution"
)
OTHER_ORDERS = "other orders are Newton's, for laws with a density on the line"
_NOT_BATCHES: tuple[type, ...] = (str, bytes, dict, set, frozenset)  # iterables that hold no batches
_PASS_DRAWS = 2**17
_MOST = 2**62
_SQUARES = 308  # decades of float64: of a law that is sampled one draw is looked at, and others may be smaller or larger
_PILOT_DRAWS_PER_CODE, _PILOT_DRAWS, _PILOT_READS = 64, 2**14, 16


@dataclass(frozen=True)
class Problem:
    r"""$\min_{x_1..x_K} E \min_k |X - x_k|^r$ for a law that is finite (``measure``), sampled (``law``) or streamed (``stream``).

    like: an array whose library, dtype and device the answer takes. dim: the dimension d.
    passes: how many codebooks are likely to be tried, for what is worth preparing. known: the exact law, where there is one yet.
    """

    k: int
    r: float
    like: Array
    dim: int
    measure: DiscreteMeasure | None = None
    law: Law | None = None
    stream: Stream | None = None
    passes: int = 1
    known: ExactLaw | None = None

    @cached_property
    def exact(self) -> ExactLaw | None:
        """The law as one whose cells are computed exactly, where it is one; every finite measure is."""
        if self.known is not None:
            return self.known
        return exact_law(self.law if self.measure is None else self.measure, self.r)

    def apart(self, codes: FloatArray) -> "tuple[Problem, Callable[[], FloatArray]] | None":
        """The problem for a run from ``codes`` (K, d) beside others, in any thread, and what makes these codes again.

        None where runs should follow one another.
        """
        begun = self.exact.apart(codes, self.passes) if isinstance(self.exact, Samples) else None
        return None if begun is None else (replace(self, known=begun[0]), begun[1])

    @property
    def kind(self) -> str:
        """What the law is, in words."""
        return "samples" if self.measure is not None else "a stream" if self.stream is not None else "a law known by sampling"

    def pilot(self, rng: np.random.Generator) -> DiscreteMeasure:
        """A finite measure to draw starting codes from: the law itself where it is finite, else a sample of it.

        Of 2^14 points, or 64 a code. Of a stream they are drawn evenly from one pass, of which no more than 16 times as many are
        read: so a long sorted stream should be shuffled.
        """
        if self.measure is not None:
            return self.measure
        wanted = max(_PILOT_DRAWS, _PILOT_DRAWS_PER_CODE * self.k)
        if self.law is not None:
            return DiscreteMeasure(self.draw(wanted, rng))
        return DiscreteMeasure(reservoir(self.batches(1, rng, epochs=1), wanted, _PILOT_READS * wanted, rng))

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """n checked draws of the sampled law."""
        assert self.law is not None
        points = checked_points(self.law.sample(n, rng), self.dim, self.like, "law.sample")
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

    def _pass(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        if self.stream is not None:
            batch = None
            for batch in numbered(self.stream.make_batches(), self.dim, self.like):
                yield batch
            if batch is None:
                raise ValueError(
                    "the stream gave no batches on this pass. make_batches must return a fresh iterable every time it is called"
                )
            return
        assert self.measure is not None
        points, masses = self.measure.points, self.measure.masses * self.measure.size
        order = rng.permutation(self.measure.size)
        for start in range(0, len(order), size):
            chosen = like(order[start : start + size], points, dtype=namespace(points).int64)
            yield Batch(points[chosen], masses[chosen])


def pose(law: Any, k: int, r: float) -> Problem:
    """The problem of quantizing ``law`` by ``k`` codes of order ``r``; ``ValueError`` for what is not one."""
    k, r = checked_count("k", k), checked_order(r)
    if isinstance(law, Stream):
        return _pose_stream(law, k, r)
    if isinstance(law, DiscreteMeasure):
        return Problem(k, r, law.points, law.dim, measure=law)
    law = FrozenLaw.of(law) or law
    if isinstance(law, type):
        raise ValueError(f"law must be {_LAWS}; received the class {law.__name__}. Make one of it: {law.__name__}(...)")
    if isinstance(law, Law) and not hasattr(law, "__array__"):
        try:
            probe = as_floating(law.sample(1, np.random.default_rng(0)), "draws")
        except Exception as error:  # whatever goes wrong in somebody's sampler, the mend is the same
            raise ValueError(
                f"law.sample(n, rng) must take a number and a numpy Generator and return draws (n, d); "
                f"{type(law).__name__}.sample(1, rng) raised {type(error).__name__}: {error}"
            ) from error
        if probe.ndim != 2 or len(probe) != 1:
            raise ValueError(
                f"law.sample(n, rng) must return an array (n, d); sample(1, rng) returned shape {tuple(probe.shape)}"
            )
        if not isinstance(law, FrozenLaw):  # which says of its scale what is wrong with it
            _check_scale(law, probe, r)
        return Problem(k, r, probe, int(probe.shape[1]), law=law)
    if not (hasattr(law, "__array__") or hasattr(law, "toarray") or isinstance(law, list | tuple)):
        if hasattr(law, "__iter__") and not isinstance(law, _NOT_BATCHES):
            return _pose_stream(Stream(cast(Any, law)), k, r)
        hint = ". Freeze it by a call, as in scipy.stats.norm()" if callable(law) and hasattr(law, "rvs") else ""
        raise ValueError(f"law must be {_LAWS}; received {type(law).__name__}{hint}")
    measure = DiscreteMeasure(law)
    return Problem(k, r, measure.points, measure.dim, measure=measure)


def _check_scale(law: Law, probe: Array, r: float) -> None:
    """Refuses a sampled law whose draws' powers leave float64; where one draw is small, by many, as others may be larger."""
    largest = max(float(probe.max()), -float(probe.min()))
    decades = r * float(np.log10(largest)) if largest > 0 else 0.0
    if decades > _SQUARES:
        check_magnitude(probe, r)
    elif decades < -_SQUARES:
        check_magnitude(as_floating(law.sample(2**10, np.random.default_rng(0))), r)


def checked_count(name: str, value: Any, least: int = 1, most: float = _MOST) -> int:
    """``value`` as an int ≥ ``least``, and such that arrays can have so many entries."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer ≥ {least}; received {value!r}")
    if (number := int(value)) > most:
        raise ValueError(f"{name} must be at most 2^62; received {number}")
    return number


def checked_order(r: Any) -> float:
    """``r`` as a float in [1, ∞)."""
    order = np.nan if isinstance(r, bool) or not isinstance(r, Real) else float(r)
    if not 1 <= order < np.inf:
        raise ValueError(f"the order r must be a finite number ≥ 1; received {r!r}")
    return order


def checked_tolerance(rtol: Any) -> float:
    """``rtol`` as a float in [0, ∞)."""
    tolerance = np.nan if isinstance(rtol, bool) or not isinstance(rtol, Real) else float(rtol)
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"rtol must be a finite number ≥ 0; received {rtol!r}")
    return tolerance


def generator(seed: Any) -> np.random.Generator:
    """``seed`` as a numpy Generator: itself, or one made from an integer ≥ 0."""
    if seed is None:
        raise ValueError("seed must be an integer ≥ 0 or a numpy Generator; received None. For chance, np.random.default_rng()")
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(checked_count("seed", seed, least=0, most=np.inf))


def _pose_stream(stream: Stream, k: int, r: float) -> Problem:
    first = next(numbered(stream.fresh(), stream.dim, None), None)
    if first is None:
        raise ValueError("the stream gave no batches. make_batches must return a fresh, nonempty iterable of (n_i, d) arrays")
    return Problem(k, r, first.points, int(first.points.shape[1]), stream=stream)
