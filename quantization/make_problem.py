"""From what users give to a :class:`~quantization.problem.Problem`: which kind of law it is, and whether its cells are exact."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias, cast

import numpy as np

from quantization.arrays import Array, as_floating
from quantization.discrete_laws import discrete_measure
from quantization.empirical.one_dimensional import EmpiricalLaw1D
from quantization.empirical.out_of_core import OutOfCoreSamples
from quantization.empirical.readers import ShardReader, StreamReader
from quantization.empirical.samples import EmpiricalLaw
from quantization.empirical.sparse_samples import SparseSamples, is_csr, sparse_samples
from quantization.exact_law import ExactLaw
from quantization.gradients import tell_of_lost_gradients
from quantization.laws import FrozenLaw, GaussianMixture, Law, scipys_mixture
from quantization.laws_1d.density import frozen_density, mixture_density
from quantization.laws_1d.density_law import DensityLaw1D
from quantization.laws_1d.quantile_function import QuantileLaw
from quantization.laws_1d.quantile_law import QuantileLaw1D
from quantization.laws_2d.gaussian_mixture_law import GaussianMixture2D, definite
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.shards import Shards
from quantization.stream import Stream, numbered
from quantization.validation import check_magnitude, checked_count, checked_order

_LAWS = (
    "an array (n, d), dense or CSR, a DiscreteMeasure, a Law (with .sample(n, rng)), Shards, a Stream or a loader of batches, "
    "or a scipy.stats distribution: a frozen one on the line, gaussian_kde or a frozen multivariate_normal"
)
LawLike: TypeAlias = DiscreteMeasure | Law | Stream | Shards | Array  # or a matrix, a loader or a distribution of other libraries
_NOT_BATCHES: tuple[type, ...] = (str, bytes, dict, set, frozenset)  # iterables that hold no batches
# Of a mixture by dimension, from where on sampling is the better way: cells take time in proportion, and to search for the best
# ten codes takes some 3 s on the line, for thirty in the plane a minute.
_MOST_COMPONENTS = {1: 1000, 2: 64}
_SQUARES = 308  # decades of float64: of a law that is sampled one draw is looked at, and others may be smaller or larger


def make_problem(law: LawLike, k: int, r: float) -> Problem:
    """The problem of quantizing ``law`` by ``k`` codes of order ``r``; ``ValueError`` for what is not one."""
    k, r = checked_count("k", k), checked_order(r)
    law = known_law(law, r)
    if isinstance(law, Stream):
        return _stream_problem(law, k, r)
    if isinstance(law, Shards):
        samples = OutOfCoreSamples(ShardReader(law), r)
        return Problem(k, r, samples.like, law.dim, exact=samples)
    if isinstance(law, DiscreteMeasure):
        tell_of_lost_gradients("neither codes nor weights", law)
        return _measure_problem(law, k, r)
    if isinstance(law, SparseSamples):
        if r != 2:
            raise ValueError(f"sparse samples are for r = 2; received r = {r:g}")
        return Problem(k, r, law.like, int(law.like.shape[1]), exact=law)
    try:
        probe = as_floating(law.sample(1, np.random.default_rng(0)), "draws")
    except Exception as error:  # whatever goes wrong in somebody's sampler, the mend is the same
        raise ValueError(
            f"law.sample(n, rng) must take a number and a numpy Generator and return draws (n, d); "
            f"{type(law).__name__}.sample(1, rng) raised {type(error).__name__}: {error}"
        ) from error
    if probe.ndim != 2 or len(probe) != 1:
        raise ValueError(f"law.sample(n, rng) must return an array (n, d); sample(1, rng) returned shape {tuple(probe.shape)}")
    if not isinstance(law, FrozenLaw):  # which says of its scale what is wrong with it
        _check_scale(law, probe, r)
    return Problem(k, r, probe, int(probe.shape[1]), law=law, exact=exact_law(law, r))


def read_again(problem: Problem) -> Problem:
    """The problem of a stream, as one whose cells are computed by reading it at every step."""
    if problem.stream is None:
        return problem
    return replace(problem, exact=OutOfCoreSamples(StreamReader(problem.stream, problem.like), problem.r))


def known_law(law: LawLike, r: float) -> DiscreteMeasure | SparseSamples | Stream | Shards | Law:
    """``law`` as what it is, whatever library it came from; of a discrete one what bears on its moment of order ``r``."""
    if isinstance(law, Stream | Shards | DiscreteMeasure | SparseSamples):
        return law
    if hasattr(law, "__array__"):
        return DiscreteMeasure(law)
    if is_csr(law):
        return sparse_samples(law)
    if (discrete := discrete_measure(law, r)) is not None:
        return discrete
    law = FrozenLaw.of(law) or scipys_mixture(law) or law
    if isinstance(law, type):
        raise ValueError(f"law must be {_LAWS}; received the class {law.__name__}. Make one of it: {law.__name__}(...)")
    if isinstance(law, Law):
        return law
    if not (hasattr(law, "toarray") or isinstance(law, list | tuple)):
        if hasattr(law, "__iter__") and not isinstance(law, _NOT_BATCHES):
            return Stream(cast(Iterable[Array], law))
        hint = ". Quantize a sample of it, law.rvs(n)" if hasattr(law, "rvs") else ""
        hint = ". Freeze it by a call, as in scipy.stats.norm()" if callable(law) and hasattr(law, "rvs") else hint
        raise ValueError(f"law must be {_LAWS}; received {type(law).__name__}{hint}")
    return DiscreteMeasure(law)


def exact_law(law: DiscreteMeasure | Law | None, r: float) -> ExactLaw | None:
    """``law`` as one whose cells of order ``r`` are computed exactly, or None where they can only be sampled."""
    if isinstance(law, DiscreteMeasure):
        return EmpiricalLaw1D(law, r) if law.dim == 1 else EmpiricalLaw(law, r)
    if isinstance(law, FrozenLaw):
        return DensityLaw1D(frozen_density(law), r)
    if isinstance(law, QuantileLaw):
        return QuantileLaw1D(law.quantiles) if r == 2 else None
    if not isinstance(law, GaussianMixture) or len(law.weights) > _MOST_COMPONENTS.get(law.dim, 0):
        return None
    if law.dim == 1 and definite(law):
        return DensityLaw1D(mixture_density(law), r)
    if law.dim == 2 and r == 2 and definite(law):
        return GaussianMixture2D(law)
    return None


def _measure_problem(measure: DiscreteMeasure, k: int, r: float) -> Problem:
    return Problem(k, r, measure.points, measure.dim, measure=measure, exact=exact_law(measure, r))


def _check_scale(law: Law, probe: Array, r: float) -> None:
    """Refuses a sampled law whose draws' powers leave float64; where one draw is small, by many, as others may be larger."""
    largest = max(float(probe.max()), -float(probe.min()))
    decades = r * float(np.log10(largest)) if largest > 0 else 0.0
    if decades > _SQUARES:
        check_magnitude(probe, r)
    elif decades < -_SQUARES:
        check_magnitude(as_floating(law.sample(2**10, np.random.default_rng(0))), r)


def _stream_problem(stream: Stream, k: int, r: float) -> Problem:
    first = next(numbered(stream.fresh(), stream.dim, None), None)
    if first is None:
        raise ValueError("the stream gave no batches. make_batches must return a fresh, nonempty iterable of (n_i, d) arrays")
    return Problem(k, r, first.points, int(first.points.shape[1]), stream=stream)
