"""Codes that no point is nearest to, moved to where they help most."""

import numpy as np

from quantization.arrays import FloatArray, to_host
from quantization.measure import DiscreteMeasure
from quantization.voronoi import Cells, cells, squared_distances


def occupied(measure: DiscreteMeasure, codes: FloatArray) -> tuple[FloatArray, Cells]:
    """``codes`` with the code of every empty cell moved to the point that costs the most, until none is empty; and their cells.

    Each move lowers the distortion, as an empty cell's code bears none of it. Raises ``ValueError`` where the measure has fewer
    distinct points than there are codes: then all points are codes, and those that are not empty are its distinct points.
    """
    c = cells(measure.points, measure.masses, codes)
    while not c.masses.all() and np.isfinite(c.distortion):
        codes, costs = codes.copy(), measure.masses * c.costs
        if not float(costs.max()) > 0:
            raise too_few_points(len(codes), int((c.masses > 0).sum()))
        for k in np.flatnonzero(c.masses == 0):
            costliest = int(costs.argmax())
            if not float(costs[costliest]) > 0:
                break
            codes[k] = to_host(measure.points[costliest])
            reached = measure.masses * squared_distances(measure.points, measure.points[costliest])
            costs = costs - (costs - reached).clip(0)
        c = cells(measure.points, measure.masses, codes)
    return codes, c


def too_few_points(k: int, distinct: int) -> ValueError:
    """The error for more codes than distinct points of positive weight."""
    return ValueError(
        f"k = {k} codes need at least {k} distinct points of positive weight; received {distinct}. Lower k to {distinct} or less"
    )
