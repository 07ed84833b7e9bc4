"""Optimal quantization: replace a probability measure by K weighted points as well as can be done.

Order of reading: ``measure`` and ``laws`` (what can be quantized), ``problem`` (what is asked), ``api`` (what users call),
``iteration`` (the one loop), ``solvers`` (a file a method), ``assignment`` (nearest codes and the sums of their cells),
``empirical``, ``laws_1d`` and ``laws_2d`` (laws whose cells are computed exactly), ``solution`` (the answer), ``estimate`` (how
good it is), ``optimal_transport`` (distances), ``barycenters`` (one measure for several), ``grids`` (products, paths).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantization.api import distortion, iterate, quantize, quantize_many
from quantization.barycenters.entropic import Entropic
from quantization.barycenters.fixed_point import FixedPoint
from quantization.barycenters.interior_point import InteriorPoint
from quantization.barycenters.many import barycenter_many
from quantization.barycenters.solve import barycenter, iterate_barycenter
from quantization.cubature import expect, richardson_romberg
from quantization.diffusion import Diffusion
from quantization.grids.convex_bracket import bracket
from quantization.grids.diffusion_paths import DiffusionGrid, diffusion_grid
from quantization.grids.dual import DualGrid, dual_grid
from quantization.grids.functional import FunctionalGrid, functional_grid
from quantization.grids.gaussian import GaussianGrid, SearchEffort, gaussian_grid
from quantization.grids.greedy import GreedyGrid, greedy_grid
from quantization.grids.product import ProductGrid, product_grid
from quantization.grids.recursive import recursive_grid
from quantization.grids.tree import OptimalStopping, QuantizationTree, quantization_tree
from quantization.initialization import GlobalSearch, Initialization, KMeansPlusPlus, RandomPoints
from quantization.interval import Estimate
from quantization.laws import Gaussian, GaussianMixture, Law
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.coupling import Coupling, TransportMethod
from quantization.optimal_transport.distances import transport, wasserstein
from quantization.optimal_transport.divergence import sinkhorn_divergence
from quantization.optimal_transport.many import wasserstein_many
from quantization.optimal_transport.monotone import Monotone
from quantization.optimal_transport.nearest_code import NearestCode
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.optimal_transport.semidiscrete import SemiDiscrete, semidiscrete
from quantization.optimal_transport.sinkhorn import Sinkhorn
from quantization.processes import (
    BrownianBridge,
    BrownianMotion,
    FractionalBrownianMotion,
    GaussianProcess,
    KarhunenLoeve,
    OrnsteinUhlenbeck,
    Process,
)
from quantization.quasi_monte_carlo import QuasiMonteCarlo
from quantization.shards import Shards
from quantization.solution import NotConverged, Solution, Trace
from quantization.solvers.balanced import Balanced
from quantization.solvers.balanced_1d import Balanced1D
from quantization.solvers.base import Solver
from quantization.solvers.clvq import CLVQ, CountPower, RobbinsMonro, Schedule
from quantization.solvers.lloyd import Lloyd
from quantization.solvers.newton import Newton
from quantization.status import ConvergenceWarning, Status
from quantization.stream import Stream

if TYPE_CHECKING:
    from quantization import plot as plot
    from quantization.estimator import OptimalQuantizer as OptimalQuantizer

__all__ = [
    "CLVQ",
    "Balanced",
    "Balanced1D",
    "BrownianBridge",
    "BrownianMotion",
    "ConvergenceWarning",
    "CountPower",
    "Coupling",
    "Diffusion",
    "DiffusionGrid",
    "DiscreteMeasure",
    "DualGrid",
    "Entropic",
    "Estimate",
    "FixedPoint",
    "FractionalBrownianMotion",
    "FunctionalGrid",
    "Gaussian",
    "GaussianGrid",
    "GaussianMixture",
    "GaussianProcess",
    "GlobalSearch",
    "GreedyGrid",
    "Initialization",
    "InteriorPoint",
    "KMeansPlusPlus",
    "KarhunenLoeve",
    "Law",
    "Lloyd",
    "Monotone",
    "NearestCode",
    "NetworkSimplex",
    "Newton",
    "NotConverged",
    "OptimalStopping",
    "OrnsteinUhlenbeck",
    "Process",
    "ProductGrid",
    "QuantizationTree",
    "QuasiMonteCarlo",
    "RandomPoints",
    "RobbinsMonro",
    "Schedule",
    "SearchEffort",
    "SemiDiscrete",
    "Shards",
    "Sinkhorn",
    "Solution",
    "Solver",
    "Status",
    "Stream",
    "Trace",
    "TransportMethod",
    "barycenter",
    "barycenter_many",
    "bracket",
    "diffusion_grid",
    "distortion",
    "dual_grid",
    "expect",
    "functional_grid",
    "gaussian_grid",
    "greedy_grid",
    "iterate",
    "iterate_barycenter",
    "product_grid",
    "quantization_tree",
    "quantize",
    "quantize_many",
    "recursive_grid",
    "richardson_romberg",
    "semidiscrete",
    "sinkhorn_divergence",
    "transport",
    "wasserstein",
    "wasserstein_many",
]


def __getattr__(name: str) -> Any:
    """What needs scikit-learn or matplotlib is imported when it is first asked for."""
    if name == "OptimalQuantizer":
        return import_module("quantization.estimator").OptimalQuantizer
    if name == "plot":
        return import_module("quantization.plot")
    raise AttributeError(f"module 'quantization' has no attribute {name!r}")
