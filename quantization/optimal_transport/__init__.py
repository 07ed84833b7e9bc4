"""Distances between measures, and the plans behind them.

Order of reading: ``coupling`` (a plan with its certificate, and what a method is), ``costs`` (powers of distances),
``network_simplex`` (exact plans; the only module that calls POT), ``monotone`` (sorting, on the line), ``nearest_code`` (one
side's weights free), ``sinkhorn`` (entropy, in the log domain, made feasible), ``divergence`` (its debiased form),
``semidiscrete`` (a law against finitely many points), ``distances`` (what users call).
"""

from quantization.optimal_transport.coupling import Coupling, TransportMethod
from quantization.optimal_transport.distances import transport, wasserstein
from quantization.optimal_transport.divergence import sinkhorn_divergence
from quantization.optimal_transport.monotone import Monotone
from quantization.optimal_transport.nearest_code import NearestCode
from quantization.optimal_transport.network_simplex import NetworkSimplex
from quantization.optimal_transport.semidiscrete import SemiDiscrete, semidiscrete
from quantization.optimal_transport.sinkhorn import Sinkhorn

__all__ = [
    "Coupling",
    "Monotone",
    "NearestCode",
    "NetworkSimplex",
    "SemiDiscrete",
    "Sinkhorn",
    "TransportMethod",
    "semidiscrete",
    "sinkhorn_divergence",
    "transport",
    "wasserstein",
]
