"""The claims, by topic; importing this package enters them all in :data:`theory_checks.claim.CLAIMS`."""

from theory_checks.claims import clvq, consistency, lloyd, pushforward, voronoi, zador

__all__ = ["clvq", "consistency", "lloyd", "pushforward", "voronoi", "zador"]
