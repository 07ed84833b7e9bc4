r"""Entropic transport of many pairs at once, all in one tensor: what keeps a GPU busy."""

from collections.abc import Iterator

import numpy as np

from quantization.arrays import Array, FloatArray, namespace, to_host
from quantization.measure import DiscreteMeasure
from quantization.optimal_transport.sinkhorn import Sinkhorn
from quantization.threads import check_stopped

_COSTS = 2**26  # of a batch, padding included: half a gigabyte an array
_STEPS, _LEAST_STEPS = 10, 3  # between two looks at the marginals, and at a level before the last

Pair = tuple[DiscreteMeasure, DiscreteMeasure]


def sinkhorn_costs(pairs: list[Pair], r: float, method: Sinkhorn) -> tuple[FloatArray, FloatArray]:
    r"""What the rounded entropic plans of pairs of tensors cost, (pairs,), and by how much their marginals missed the weights.

    By Sinkhorn's steps in the log domain on the tensors' device in float64, ε halved from each pair's largest cost down; to
    :class:`Sinkhorn` they are the steps without Newton's. Pairs are padded with points of weight 0, those of like sizes together.
    """
    costs, errors = np.empty((2, len(pairs)))
    for batch in _batches([(mu.size, nu.size) for mu, nu in pairs]):
        check_stopped()
        costs[batch], errors[batch] = _solved([pairs[i] for i in batch], r, method)
    return costs, errors


def _batches(sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Pairs of like sizes, as many as the padded costs allow."""
    batch, rows, columns = list[int](), 0, 0
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        n, m = max(rows, sizes[i][0]), max(columns, sizes[i][1])
        if batch and (len(batch) + 1) * n * m > _COSTS:
            yield batch
            batch, (n, m) = [], sizes[i]
        batch.append(i)
        rows, columns = n, m
    if batch:
        yield batch


def _solved(pairs: list[Pair], r: float, method: Sinkhorn) -> tuple[FloatArray, FloatArray]:
    xp = namespace(pairs[0][0].points)
    (x, a), (y, b) = (_padded([pair[side] for pair in pairs]) for side in (0, 1))
    squared: Array = xp.zeros((), device=x.device)
    for t in range(x.shape[2]):  # by differences: no digit cancels
        squared = squared + (x[:, :, None, t] - y[:, None, :, t]) ** 2
    costs = squared if r == 2 else squared ** (r / 2)
    largest = costs.amax((1, 2))
    if not bool(xp.isfinite(largest).all()):
        raise ValueError(f"the costs |x - y|^{r:g} overflow float64; scale the points down")
    log_a, log_b = xp.log(a), xp.log(b)
    v = before = xp.zeros_like(b)
    left = method.max_iter

    def softmin(costs: Array, v: Array, log_b: Array, eps: Array) -> Array:
        return -eps * xp.logsumexp((v[:, None, :] - costs) / eps[:, :, None] + log_b[:, None, :], 2)

    eps = largest.clamp(min=method.reg)[:, None]
    while left > 0:
        check_stopped()
        last = bool((eps <= method.reg).all())
        for _ in range(min(left, _STEPS if last else _LEAST_STEPS)):
            before, v = v, softmin(costs.mT, softmin(costs, v, log_b, eps), log_a, eps)
            left -= 1
        missed = xp.where(b > 0, b * xp.expm1((before - v) / eps).abs(), 0.0).sum(1) / 2
        if last and bool((missed <= method.rtol).all()):
            break
        eps = (eps / 2).clamp(min=method.reg)
    eps = xp.full_like(eps, method.reg)
    u = softmin(costs, v, log_b, eps)
    v = softmin(costs.mT, u, log_a, eps)
    exponents = (u[:, :, None] + v[:, None, :] - costs) / method.reg + log_a[:, :, None] + log_b[:, None, :]
    plan = xp.exp(exponents.clamp(max=0.0))
    error = xp.maximum((plan.sum(2) - a).abs().sum(1), (plan.sum(1) - b).abs().sum(1)) / 2
    plan = plan * (a / plan.sum(2).clamp(min=1e-300)).clamp(max=1.0)[:, :, None]
    plan = plan * (b / plan.sum(1).clamp(min=1e-300)).clamp(max=1.0)[:, None, :]
    lacking, over = (a - plan.sum(2)).clamp(min=0.0), (b - plan.sum(1)).clamp(min=0.0)
    spread = lacking / over.sum(1, keepdim=True).clamp(min=1e-300)
    total = (plan * costs).sum((1, 2)) + xp.einsum("pi,pik,pk->p", spread, costs, over)
    return to_host(total), to_host(error)


def _padded(measures: list[DiscreteMeasure]) -> tuple[Array, Array]:
    """(pairs, n, d) points and (pairs, n) weights in float64, after a measure's own its first point without weight."""
    xp, n = namespace(measures[0].points), max(m.size for m in measures)
    points = [m.points.double() for m in measures]
    padded = [xp.cat([x, x[:1].expand(n - len(x), -1)]) for x in points]
    weights = [xp.nn.functional.pad(m.weights_float64, (0, n - m.size)) for m in measures]
    return xp.stack(padded), xp.stack(weights)
