"""Prices of codes that bring cells to given masses: Newton steps, jumps between cells far apart, the middle of the optimal."""

import numpy as np

from quantization.arrays import FloatArray
from quantization.assignment.capacity_candidates import Candidates

_DAMPINGS, _HALVINGS = 40, 5  # of a Newton step
_LESS, _POOR = 0.97, 4  # of what is amiss, that a good step leaves; others in a row that are enough
_SHARE, _POINTS = 4, 32  # points at borders: a part of all at most; so many a code at least
_REACH = 32  # times the width of borders that prices change at most in a first step
_CENTRED = 1000  # codes, for which prices are moved to the middle of those that are optimal


def ascended(
    listed: Candidates, masses: FloatArray, prices: FloatArray, rooms: FloatArray, steps: int, close: float
) -> tuple[FloatArray, float, FloatArray]:
    """Prices of a greater dual, by damped Newton steps until so little mass lies amiss; how much does; what rooms they leave.

    Each rises by its room (K, K) at most beside every other one, by rows: those that would go further stop there.
    A step by which more lies amiss as some can't follow is not taken, but its rooms are returned.
    """
    k, start, at = len(prices), prices, listed.choose(prices)
    value, reach, poor = at.value + float(masses @ prices), np.inf, 0
    off, rest = float(np.abs(masses - at.masses).sum()), rooms
    for _ in range(steps if len(listed.rows) else 0):
        if off <= close or poor == _POOR:
            break
        share = 2 * off / float(masses.sum())
        count = min(int(share * len(at.margins)) + _POINTS * k, len(at.margins) // _SHARE)
        width = float(np.partition(at.margins, count)[count])
        if not 0 < width < np.inf:
            break
        borders, reach = listed.borders(at, width) / (2 * width), _REACH * width if reach == np.inf else reach
        for _ in range(_HALVINGS):
            step = newton_step(borders, masses - at.masses, reach)
            wanted = prices + step - start
            following = start + within(wanted, rooms)
            then = listed.choose(following)
            higher, left = then.value + float(masses @ following), float(np.abs(masses - then.masses).sum())
            if higher > value:
                break
            reach = float(np.ptp(step)) / 4
        else:
            break
        rest = rooms_left(wanted, rooms)
        if left > off and rest.min() <= 0:
            break
        reach, poor = max(reach, 4 * float(np.ptp(step))), poor + 1 if left > _LESS * off else 0
        prices, at, value, off = following, then, higher, left
    return prices, off, rest


def within(change: FloatArray, rooms: FloatArray) -> FloatArray:
    """The greatest changes below these that leave every room enough."""
    for _ in range(len(change)):
        least = (change[:, None] + rooms).min(0)
        if (least >= change).all():
            break
        change = np.minimum(change, least)
    return change


def rooms_left(change: FloatArray, rooms: FloatArray) -> FloatArray:
    """What of their rooms (K, K) prices that have changed so leave; negative where they went further."""
    return rooms - (change - change[:, None])


def newton_step(borders: FloatArray, lack: FloatArray, most: float) -> FloatArray:
    """Changes of prices that bring what lacks, by the masses that a unit of price moves; damped until none exceeds ``most``."""
    k, moved = len(lack), borders.sum(1)
    laplacian, damping = np.diag(moved) - borders, max(1e-6 * float(moved.mean()), 1e-300)
    for _ in range(_DAMPINGS):
        step: FloatArray = np.asarray(np.linalg.solve(laplacian + damping * np.eye(k), lack), dtype=np.float64)
        if np.ptp(step) <= most:
            return step
        damping = max(8 * damping, float(np.ptp(lack)) / (64 * most))
    return np.zeros(k)


def bridged(least: FloatArray, excess: FloatArray, prices: FloatArray, tolerance: float) -> FloatArray:
    """Prices at which points at borders lead from every cell with too much to every one that lacks, and no point moves yet.

    Each price rises by the least cost to bring mass there, along the way, from any cell with too much. least: (K, K), what it
    costs at least to move a point from one cell to another at these prices.
    """
    lacks, distances = excess < -tolerance, np.where(excess > tolerance, 0.0, np.inf)
    if not lacks.any() or not (distances == 0).any():
        return prices
    for _ in range(len(prices)):
        shorter = np.minimum(distances, (distances[:, None] + least).min(0))
        if (shorter == distances).all():
            break
        distances = shorter
    reach = distances[lacks]
    return prices + np.minimum(distances, reach[reach < np.inf].max(initial=0.0))


def centred(listed: Candidates, flow: FloatArray, prices: FloatArray, left: FloatArray) -> FloatArray:
    """Prices in the middle of those that fit the plan, so that points at borders are told apart by more than round-off.

    They are the mean of all shortest distances between cells, to and from, where it takes so much to move mass from one to
    another. left: (K,), what codes may gain at most where they are no candidates.
    """
    k = len(prices)
    if not 1 < k <= _CENTRED or not len(listed.rows):
        return prices
    entries, owners = listed.taken(flow)
    others, starts = listed.entries(owners)
    own = np.repeat(entries, np.diff(starts))
    priced = listed.costs - prices[listed.codes]
    steps = np.tile(left, (k, 1))
    np.minimum.at(steps, (listed.codes[own], listed.codes[others]), np.maximum(priced[others] - priced[own], 0.0))
    for j in range(k):
        np.minimum(steps, steps[:, j : j + 1] + steps[j], out=steps)
    shift = (steps.mean(0) - steps.mean(1)) / 2
    return np.asarray(prices + shift, dtype=np.float64) if np.isfinite(shift).all() else prices
