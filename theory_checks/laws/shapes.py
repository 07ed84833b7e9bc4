"""Uniform laws: on convex polygons of at most six sides, and on the unit cube as a fine grid."""

import numpy as np
from numpy.typing import NDArray

from quantization import DiscreteMeasure
from theory_checks.laws.case import Family, Make

FloatArray = NDArray[np.float64]
GRID = 24  # cells along an edge of the cube; divided by every m for which m³ codes are tried


def _polygon(sides: int, jitter: float) -> Make[FloatArray]:
    """Corners (sides, 2), anticlockwise: points on a circle, moved along it by so much of a side, under a linear map."""

    def make(rng: np.random.Generator, dim: int, size: int) -> FloatArray:
        angles = 2 * np.pi * (np.arange(sides) + jitter * rng.uniform(-1, 1, sides)) / sides
        stretch = 1.0 if jitter == 0 else rng.uniform(0.4, 1.0)
        corners = np.column_stack([np.cos(angles), stretch * np.sin(angles)])
        turn = rng.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return 2 ** rng.uniform(-2, 2) * corners @ rotation.T + rng.standard_normal(2)

    return make


POLYGONS = Family[FloatArray](
    "uniform laws on convex polygons with three to six sides",
    {
        "triangle": _polygon(3, 0.3),
        "quadrangle": _polygon(4, 0.3),
        "pentagon": _polygon(5, 0.3),
        "hexagon": _polygon(6, 0.3),
        "regular hexagon": _polygon(6, 0.0),
    },
    (2,),
    (3001,),
    "draws",
    (7, 12, 19, 30),
)
CUBE = Family[DiscreteMeasure](
    f"U[0, 1]³, as {GRID}³ equal masses",
    {
        "grid": lambda rng, dim, size: DiscreteMeasure(
            (np.stack(np.meshgrid(*[np.arange(GRID)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) / GRID
        )
    },
    (3,),
    (GRID**3,),
    "points",
    (512,),
)
