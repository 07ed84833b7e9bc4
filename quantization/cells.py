"""What the Voronoi cells of a codebook hold: the one result that every solver is built from."""

from dataclasses import dataclass

import numpy as np

from quantization.arrays import FloatArray


@dataclass(frozen=True)
class Cells:
    r"""The Voronoi cells of a codebook under a law, order r.

    masses: (K,) the masses $\mu(V_k)$. means: (K, d) the centroids $E[X | X \in V_k]$, an empty cell's own code.
    gradient: (K, d), $\nabla_k D_r = r\, E[1_{V_k} |x_k - X|^{r-2} (x_k - X)]$. distortion: $D_r = E \min_k |X - x_k|^r$.
    variance: of $\min_k |X - x_k|^r$, for the standard error of a distortion; None where it was not measured.
    """

    masses: FloatArray
    means: FloatArray
    gradient: FloatArray
    distortion: float
    stationarity: float
    variance: float | None = None


def stationarity(gradient: FloatArray, masses: FloatArray, distortion: float, r: float) -> float:
    r"""$\big(\sum_k |\nabla_k D_r|^2 / (r^2 w_k)\big)^{1/2} / D_r^{(r-1)/r}$, free of units; 0/0 = 0.

    For r = 2 this is $(\sum_k w_k |x_k - E[X|V_k]|^2 / D_2)^{1/2}$. Cells without mass, which have no gradient, do not count.
    """
    occupied = masses > 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        roots = np.sqrt(masses[occupied])
        pulls = gradient[occupied] / (r * roots[:, None])
        scale = float(np.abs(pulls).max(initial=0.0))
        if scale == 0:
            return 0.0
        size = scale * float(np.sqrt(np.square(pulls / scale).sum()))
        return float(size / np.float64(distortion) ** ((r - 1) / r)) if distortion > 0 else float("inf")
