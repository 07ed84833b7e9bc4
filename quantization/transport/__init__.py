"""Distances between measures, and the plans behind them.

Order of reading: ``coupling`` (a plan with its certificate, and what a method is), ``costs`` (powers of distances), ``exact``
(the network simplex; the one façade to POT), ``line`` (sorting, on the line), ``voronoi`` (one side's weights free), ``sinkhorn``
(entropy, in the log domain, made feasible), ``divergence`` (its debiased form), ``semidiscrete`` (a law against finitely many
points), ``distances`` (what users call).
"""

from quantization.transport.coupling import Coupling, Method
from quantization.transport.distances import transport, wasserstein
from quantization.transport.divergence import sinkhorn_divergence
from quantization.transport.exact import Exact
from quantization.transport.line import Line
from quantization.transport.semidiscrete import SemiDiscrete, semidiscrete
from quantization.transport.sinkhorn import Sinkhorn
from quantization.transport.voronoi import Voronoi

__all__ = [
    "Coupling",
    "Exact",
    "Line",
    "Method",
    "SemiDiscrete",
    "Sinkhorn",
    "Voronoi",
    "semidiscrete",
    "sinkhorn_divergence",
    "transport",
    "wasserstein",
]
