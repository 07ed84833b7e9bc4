"""k-means++ for a group of measures: one loop over the codes, all measures batched, nothing read back until the end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as _torch

from quantization.assignment.padding_groups import Group, Tensor
from quantization.assignment.torch_blocks import Plain

torch: Any = _torch


def d2_sampling(engine: Plain, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, list[int | None]]:
    r"""The start that ``starts.KMeansPlusPlus`` draws for each measure, from the same uniforms of its own generator.

    Returns the points chosen, (P, K), and for each measure None or, where it has fewer than k distinct points of positive weight,
    their number. Distances are direct differences in float64, so a choice differs from that of one measure alone only where a
    uniform lies within round-off of the boundary between two points.
    """
    group = engine.group
    first, uniforms, trials = _uniforms(group, rngs)
    chosen = torch.zeros(group.size, group.k, dtype=torch.int64, device=group.device)
    chosen[:, 0] = _by_mass(group, group.weights, first)[:, 0]
    costs = engine.distances(chosen[:, :1])[:, 0]
    distinct = torch.zeros_like(group.counts)
    for j in range(1, group.k):
        mass = group.weights * costs
        overflown = ~mass.sum(1).isfinite()  # squares overflowed: any of the furthest points
        mass = torch.where(overflown[:, None], group.weights * costs.isinf(), mass)
        exhausted = ~(mass > 0).any(1) & (distinct == 0) & (j < group.ks)
        distinct = torch.where(exhausted, j, distinct)
        candidates = _by_mass(group, mass, uniforms[:, j - 1])
        reached = torch.minimum(costs[:, None], engine.distances(candidates))
        potentials = (group.weights[:, None] * reached).sum(2).nan_to_num(nan=torch.inf)
        best = potentials.masked_fill_(~trials, torch.inf).argmin(1, keepdim=True)
        chosen[:, j] = candidates.gather(1, best)[:, 0]
        costs = reached.gather(1, best[:, :, None].expand(-1, -1, group.n))[:, 0]
    return chosen, [int(number) or None for number in distinct.tolist()]


def _uniforms(group: Group, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor, Tensor]:
    """One uniform per measure, (P, 1), then those of every further code and trial, (P, K − 1, T), and which trials are drawn."""
    ks = group.ks.tolist()
    trials = [2 + int(np.log(k)) for k in ks]
    first = np.array([rng.random(1) for rng in rngs])
    rest = np.zeros((group.size, group.k - 1, max(trials)))
    for row, k, t, rng in zip(rest, ks, trials, rngs, strict=True):
        row[: k - 1, :t] = rng.random((k - 1, t))
    drawn = np.arange(max(trials)) < np.array(trials)[:, None]
    return tuple(torch.from_numpy(a).to(group.device) for a in (first, rest, drawn))  # pyright: ignore[reportReturnType]


def _by_mass(group: Group, mass: Tensor, uniforms: Tensor) -> Tensor:
    """Indices of points drawn with probability ∝ mass (P, N): one for each uniform (P, T); never a point of mass zero."""
    rows = torch.cat([mass, mass]) if len(mass) == 1 else mass  # a scan of one row alone sums in no fixed order on a GPU
    cumulative = rows.cumsum(1)[: len(mass)]
    last = group.n - 1 - (mass > 0).flip(1).int().argmax(1, keepdim=True)
    drawn = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1:]).contiguous(), right=True)
    return torch.minimum(torch.minimum(drawn, last), group.counts[:, None] - 1)
