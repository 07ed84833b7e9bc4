r"""Numbers that torch can differentiate where a tensor they come from requires a gradient: the envelope theorem, written once.

The optimum of a transport problem is differentiated as if its plan and potentials were constants: $r \sum_k \pi_{ik}
|x_i - y_k|^{r-2} (x_i - y_k)$ in a point, the potential in a weight. Where the dual is not unique that is a subgradient.
"""

import sys
import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantization.arrays import Array, FloatArray, SparsePlan, asarray_like, to_host
from quantization.measure import DiscreteMeasure


def differentiable(value: float, terms: list[tuple[Array | None, FloatArray]]) -> Any:
    """``value``, as a tensor where there are tensors among ``terms``: each, or None, and the gradient in it."""
    needed = [(tensor, gradient) for tensor, gradient in terms if tensor is not None]
    if not needed:
        return value
    return _function()(value, [asarray_like(gradient, tensor) for tensor, gradient in needed], *(tensor for tensor, _ in needed))


def root(cost: Any, r: float) -> Any:
    """The r-th root of a cost; of 0 with the subgradient 0."""
    if isinstance(cost, float):
        return max(cost, 0.0) ** (1 / r)
    return cost ** (1 / r) if float(cost.detach()) > 0 else cost * 0.0


def cost_gradients(
    x: FloatArray, y: FloatArray, rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], masses: FloatArray, r: float
) -> tuple[FloatArray, FloatArray]:
    r"""The gradients of $\sum_p m_p |x_{i_p} - y_{k_p}|^r$ in x (n, d) and y (m, d); 0 of a pair without distance."""
    difference = x[rows] - y[columns]
    length = np.linalg.norm(difference, axis=1)
    factor = r * masses * np.where(length > 0, length, 1.0) ** (r - 2)
    pull = factor[:, None] * difference
    in_x, in_y = np.zeros_like(x), np.zeros_like(y)
    np.add.at(in_x, rows, pull)
    np.subtract.at(in_y, columns, pull)
    return in_x, in_y


def centred(potential: FloatArray) -> FloatArray:
    """The gradient in weights that sum to 1: only differences count, and their mean is 0."""
    return potential - potential.mean()


def differentiable_distortion(
    value: float,
    measure: DiscreteMeasure,
    codes: Array,
    r: float,
    plan: SparsePlan | None = None,
    prices: FloatArray | None = None,
) -> Any:
    """The distortion of codes, of a measure whose points or weights may require a gradient.

    plan, prices: of codes of prescribed masses.
    """
    if not measure.requires_grad:
        return value
    x, y, a = to_host(measure.points), to_host(codes), to_host(measure.weights_float64)
    labels = to_host(DiscreteMeasure(codes).assign(measure.points, prices)).astype(np.intp)
    in_x, _ = cost_gradients(x, y, *((np.arange(len(x)), labels, a) if plan is None else plan), r)
    potential = np.linalg.norm(x - y[labels], axis=1) ** r - (0.0 if prices is None else prices[labels])
    return differentiable(value, [(measure.graph[0], in_x), (measure.graph[1], centred(potential))])


def tell_of_lost_gradients(what: str, *measures: DiscreteMeasure | None) -> None:
    """A UserWarning that says ``what`` depends on tensors that require a gradient in no way that torch could differentiate."""
    for measure in measures:
        for name, tensor in zip(("points", "weights"), (None, None) if measure is None else measure.graph, strict=True):
            if tensor is not None:
                warnings.warn(
                    f"{name} require a gradient, and {what} depend on them in a way that torch could differentiate: no gradient "
                    f"flows through it. Pass {name}.detach() where that is meant",
                    UserWarning,
                    stacklevel=4,
                )


@cache
def _function() -> Any:
    """A function of torch: a value that is given, with gradients that are given. Differentiated twice it raises."""
    torch: Any = sys.modules["torch"]

    class Given(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: float, gradients: list[Array], *tensors: Array) -> Array:
            ctx.gradients = gradients
            return tensors[0].new_tensor(value)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, outer: Array) -> tuple[Array | None, ...]:
            return None, None, *(outer.to(gradient) * gradient for gradient in ctx.gradients)

    return Given.apply
