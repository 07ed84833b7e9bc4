"""What is asked of a barycenter's solver: measures, how they are mixed, and which weights and points are free."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from quantization.arrays import Array, FloatArray, is_torch, rounded, to_host
from quantization.laws_1d.quantile_function import has_quantile_function
from quantization.make_problem import LawLike, known_law, make_problem
from quantization.measure import DiscreteMeasure
from quantization.problem import Problem
from quantization.status import TooFewPoints
from quantization.validation import checked_count, checked_probabilities


@dataclass(frozen=True)
class BarycenterProblem(Problem):
    r"""$\min_\nu \sum_j \lambda_j W_2^2(\mu_j, \nu)$ over measures ν on K points.

    laws: the measures with $\lambda_j > 0$ as they are known, on the line by draws where they have no quantile function.
    clouds, cloud_weights: the points (n_j, d) and positive weights (n_j,) of each measure with $\lambda_j > 0$, on the host.
    mixing: those λ. ``masses`` are the weights of ν where these are prescribed. fixed: (K, d) its points where these are.
    ``measure`` pools the measures, all moved to the barycenter's mean: starts are drawn from it.
    """

    laws: list[LawLike] = field(default_factory=list[Any])
    clouds: list[FloatArray] = field(default_factory=list[FloatArray])
    cloud_weights: list[FloatArray] = field(default_factory=list[FloatArray])
    mixing: FloatArray = field(default_factory=lambda: np.ones(1))
    fixed: FloatArray | None = None

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return f"{len(self.clouds)} measures"


def make_barycenter_problem(
    measures: list[Array], k: int | None, mixing: Array | None, weights: str | Array, points: Array | None, draws: int,
    rng: np.random.Generator,
) -> BarycenterProblem:  # fmt: skip
    """The arguments of ``barycenter`` as a problem; ``ValueError`` for what is not one."""
    laws = [_measure(j, law, draws, rng) for j, law in enumerate(measures)]
    sampled, finite = [m for m, law in laws if law], [m for m, law in laws if not law]
    kind = (finite or sampled)[0].points
    for j, (measure, _) in enumerate(laws):
        if measure.dim != kind.shape[1]:
            raise ValueError(
                f"all measures must have the same dimension; measure {j} has dimension {measure.dim}, another {kind.shape[1]}"
            )
    if len({is_torch(m.points) for m in finite}) > 1:
        raise ValueError("measures must be of one array library; received numpy and torch. Convert one of them")
    share = _simplex("mixing", mixing, len(laws))
    mixed = [(m, law, s) for (m, _), law, s in zip(laws, measures, share, strict=True) if s > 0]
    clouds, masses = _supports([m for m, _, _ in mixed])
    positive = np.array([s for _, _, s in mixed])
    drawn = kind.shape[1] == 1 and len(mixed) > 1
    known = [known_law(law, 2.0) for _, law, _ in mixed]
    known = [m if drawn and not has_quantile_function(law) else law for (m, _, _), law in zip(mixed, known, strict=True)]
    fixed = None if points is None else _fixed(points, k, kind)
    k = len(fixed) if fixed is not None else checked_count("k", k)
    own = _weights(weights, k)
    total = sum(len(x) for x in clouds)
    if fixed is None and k > total:
        raise TooFewPoints(
            k,
            total,
            f"k = {k} atoms are more than the {total} points of positive weight of all measures together, more than which no "
            f"barycenter needs. Lower k to {total} or less",
        )
    if fixed is not None and own is not None:
        raise ValueError(
            "with points and atom_weights both given nothing is left to solve. Use wasserstein, or leave the weights free"
        )
    pool = _pooled(clouds, masses, positive, kind)
    return BarycenterProblem(
        k, 2.0, kind, int(kind.shape[1]), measure=pool, laws=known, clouds=clouds, cloud_weights=masses, mixing=positive,
        masses=own,
        fixed=fixed,
    )  # fmt: skip


def _measure(j: int, law: LawLike, draws: int, rng: np.random.Generator) -> tuple[DiscreteMeasure, bool]:
    """One of the measures, and whether it is a sample of a law."""
    try:
        problem = make_problem(law, 1, 2.0)
        if problem.measure is not None:
            return problem.measure, False
        if problem.law is None:
            raise ValueError(f"{problem.kind} can't be transported. Give an array, a DiscreteMeasure or a Law")
        return DiscreteMeasure(problem.draw(draws, rng)), True
    except ValueError as error:
        raise ValueError(f"measure {j}: {error}") from error


def _simplex(name: str, value: Array, count: int) -> FloatArray:
    """``value`` as ``count`` weights ≥ 0 that sum to 1; equal ones for None."""
    return np.full(count, 1 / count) if value is None else checked_probabilities(value, count, name)


def _weights(weights: str | Array | None, k: int) -> FloatArray | None:
    if isinstance(weights, str):
        if weights not in ("free", "uniform"):
            raise ValueError(f'atom_weights must be "free", "uniform" or an array ({k},); received {weights!r}')
        return None if weights == "free" else np.full(k, 1 / k)
    if weights is None or isinstance(weights, Real):
        raise ValueError(f'atom_weights must be "free", "uniform" or an array ({k},); received {weights!r}')
    return _simplex("atom_weights", weights, k)


def _fixed(points: Array, k: int | None, kind: Array) -> FloatArray:
    fixed = to_host(DiscreteMeasure(points).points)
    if fixed.shape[1] != kind.shape[1]:
        raise ValueError(f"points must have the measures' dimension {kind.shape[1]}; received shape {fixed.shape}")
    if k is not None and checked_count("k", k) != len(fixed):
        raise ValueError(f"k must be the number of the points, {len(fixed)}, or None; received {k}")
    return rounded(fixed, kind)


def _supports(measures: Sequence[DiscreteMeasure]) -> tuple[list[FloatArray], list[FloatArray]]:
    """Points of positive weight and those weights."""
    pairs = [(to_host(m.points), to_host(m.weights_float64)) for m in measures]
    return [x[a > 0] for x, a in pairs], [a[a > 0] for _, a in pairs]


def _pooled(clouds: list[FloatArray], masses: list[FloatArray], mixing: FloatArray, kind: Array) -> DiscreteMeasure:
    """All measures, each moved so that its mean is the barycenter's, Σ λ_j m_j; their weights times λ_j."""
    means = [a @ x for x, a in zip(clouds, masses, strict=True)]
    centre = sum(s * m for s, m in zip(mixing, means, strict=True))
    moved = np.concatenate(clouds)  # once, as it may be large
    begin = 0
    for x, m in zip(clouds, means, strict=True):
        moved[begin : begin + len(x)] += centre - m
        begin += len(x)
    with np.errstate(over="ignore"):
        moved = rounded(moved, kind)
    if not np.isfinite(moved).all():
        raise ValueError("the measures' mean overflows their dtype; scale the points down")
    weights = np.concatenate([s * a for s, a in zip(mixing, masses, strict=True)])
    return DiscreteMeasure.from_unnormalized(moved, weights)
