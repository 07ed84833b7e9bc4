"""The claims, by topic; importing this package enters them all in :data:`theory_checks.claim.CLAIMS`."""

from theory_checks.claims import (
    barycenters,
    clvq,
    consistency,
    corollary,
    distillation,
    gaussians,
    invariance,
    lloyd,
    masses,
    pushforward,
    reverse_diffusion,
    sample_weights,
    space,
    transport,
    voronoi,
    zador,
)

__all__ = [
    "barycenters",
    "clvq",
    "consistency",
    "corollary",
    "distillation",
    "gaussians",
    "invariance",
    "lloyd",
    "masses",
    "pushforward",
    "reverse_diffusion",
    "sample_weights",
    "space",
    "transport",
    "voronoi",
    "zador",
]
