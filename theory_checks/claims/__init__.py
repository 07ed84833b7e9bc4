"""The claims, by topic; importing this package enters them all in :data:`theory_checks.claim.CLAIMS`."""

from theory_checks.claims import (
    clvq,
    consistency,
    corollary,
    invariance,
    lloyd,
    pushforward,
    reverse_diffusion,
    space,
    transport,
    voronoi,
    zador,
)

__all__ = [
    "clvq",
    "consistency",
    "corollary",
    "invariance",
    "lloyd",
    "pushforward",
    "reverse_diffusion",
    "space",
    "transport",
    "voronoi",
    "zador",
]
