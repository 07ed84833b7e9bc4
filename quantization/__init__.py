"""Optimal quantization: replace a probability measure by K weighted points as well as can be done.

Order of reading: ``measure`` (the noun), ``laws`` (what can be quantized), ``cells`` (what Voronoi cells hold), ``exact`` (laws
where that is computed exactly), ``voronoi`` (the search for nearest codes; ``compiled``, ``cuda`` and ``portable`` do it),
``solver`` and ``solvers`` (what one is, and the methods), ``task`` and ``iterate`` (what is asked, and the one loop), ``many``
(many problems at once), ``solution`` (the answer), ``estimate`` (how good it is), ``transport`` (distances), ``barycenters`` (one
measure for several).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantization.barycenters.entropic import Entropic
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
from quantization.barycenters.solve import barycenter, iterate_barycenter
from quantization.estimate import Estimate, distortion
from quantization.iterate import iterate, quantize
from quantization.laws import Gaussian, GaussianMixture, Law, Stream
from quantization.many import quantize_many
from quantization.measure import DiscreteMeasure
from quantization.quasi_monte_carlo import QuasiMonteCarlo
from quantization.solution import NotConverged, Solution, Trace
from quantization.solvers.clvq import CLVQ, CountPower, RobbinsMonro
from quantization.solvers.lloyd import Lloyd
from quantization.solvers.newton import Newton
from quantization.starts import Given, Global, KMeansPlusPlus, RandomPoints
from quantization.status import Status
from quantization.transport import (
    Coupling,
    Exact,
    Line,
    SemiDiscrete,
    Sinkhorn,
    Voronoi,
    semidiscrete,
    sinkhorn_divergence,
    transport,
    wasserstein,
)

if TYPE_CHECKING:
    from quantization import plot as plot
    from quantization.estimator import OptimalQuantizer as OptimalQuantizer

__all__ = [
    "CLVQ",
    "CountPower",
    "Coupling",
    "DiscreteMeasure",
    "Entropic",
    "Estimate",
    "Exact",
    "FixedPoint",
    "Gaussian",
    "GaussianMixture",
    "Given",
    "Global",
    "InteriorPoint",
    "KMeansPlusPlus",
    "Law",
    "Line",
    "Lloyd",
    "Newton",
    "NotConverged",
    "QuasiMonteCarlo",
    "RandomPoints",
    "RobbinsMonro",
    "SemiDiscrete",
    "Sinkhorn",
    "Solution",
    "Status",
    "Stream",
    "Trace",
    "Voronoi",
    "barycenter",
    "distortion",
    "iterate",
    "iterate_barycenter",
    "quantize",
    "quantize_many",
    "semidiscrete",
    "sinkhorn_divergence",
    "transport",
    "wasserstein",
]


def __getattr__(name: str) -> Any:
    """What needs scikit-learn or matplotlib is imported when it is first asked for."""
    if name == "OptimalQuantizer":
        return import_module("quantization.estimator").OptimalQuantizer
    if name == "plot":
        return import_module("quantization.plot")
    raise AttributeError(f"module 'quantization' has no attribute {name!r}")
