"""Quantization trees: Markov chains of quantized states, for expectations and optimal stopping."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantization.arrays import FloatArray, IntArray, as_floating, to_host
from quantization.diffusion import checked_times
from quantization.iteration import solve_tasks
from quantization.measure import DiscreteMeasure
from quantization.task import make_task
from quantization.validation import checked_count, checked_rng, checked_values

Payoff = Callable[[float, FloatArray], Any]


@dataclass(frozen=True, eq=False)
class OptimalStopping:
    r"""$V_0 = \sup_\tau E\,h(\tau, \hat X_\tau)$ over the dates of a tree.

    Attributes
    ----------
    value : float
        $V_0$.
    values : list of array (K_t,)
        $V_t(x) = \max(h(t, x), E[V_{t+1} | \hat X_t = x])$ of every state of every date.
    stops : list of array (K_t,) of bool
        Where stopping is best: h is positive and not below what going on is worth.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> walk = qz.Diffusion(0.0, drift=lambda t, x: 0 * x, volatility=lambda t, x: 1 + 0 * x)
    >>> stopping = qz.recursive_grid(walk, [0.0, 0.5, 1.0], 3).optimal_stopping(lambda t, x: np.maximum(-x[:, 0], 0) - t / 4)
    >>> [s.tolist() for s in stopping.stops], float(stopping) == stopping.value
    ([[False], [True, False, False], [True, False, False]], True)
    """

    value: float
    values: list[FloatArray]
    stops: list[np.ndarray]

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True, eq=False)
class QuantizationTree:
    r"""A Markov chain $\hat X_0, \dots, \hat X_T$ of quantized states.

    Attributes
    ----------
    times : array (T + 1,)
        The dates.
    points : list of array (K_t, d)
        The states of each date.
    weights : list of array (K_t,)
        $P(\hat X_t = x_{ti})$.
    transitions : list of array (K_t, K_{t+1})
        $P(\hat X_{t+1} = x_{t+1,j} | \hat X_t = x_{ti})$, a list of T.
    distortions : array (T + 1,)
        $D_t = E|\tilde X_t - \hat X_t|^2$, what quantizing each date costs: $\tilde X_t$ is one step of the scheme from
        $\hat X_{t-1}$, or the sample of a date. Their sum is the part of an error that finer grids lessen; what shorter steps
        lessen is apart from it: :meth:`step_error`.
    halved : callable, optional
        Makes the same tree with steps half as long; None of simulated paths, and of a tree that was pickled or copied, as
        functions of a diffusion can't be.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> walk = qz.Diffusion(0.0, drift=lambda t, x: 0 * x, volatility=lambda t, x: 1 + 0 * x)
    >>> tree = qz.recursive_grid(walk, np.linspace(0, 1, 5), 50)
    >>> round(tree.expect(lambda x: x[:, 0] ** 2), 3), round(float(tree.distortions.sum()), 5)
    (0.997, 0.00259)
    """

    times: FloatArray
    points: list[FloatArray]
    weights: list[FloatArray]
    transitions: list[FloatArray]
    distortions: FloatArray
    halved: "Callable[[], QuantizationTree] | None" = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "halved": None}

    def measure(self, date: int = -1) -> DiscreteMeasure:
        """The law of a date's state.

        Parameters
        ----------
        date : int, default -1
            Its place among ``times``.

        Returns
        -------
        DiscreteMeasure
        """
        return DiscreteMeasure.from_unnormalized(self.points[date], self.weights[date])

    def expect(self, f: Callable[[FloatArray], Any], date: int = -1) -> float:
        r"""$E f(\hat X_t) = \sum_i w_{ti} f(x_{ti})$.

        Parameters
        ----------
        f : callable
            Maps states (K, d) to numbers (K,).
        date : int, default -1
            Its place among ``times``.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            Where f returns an array of another shape, or there is no such date.
        """
        date = checked_count("date", len(self.times) + date if date < 0 else date, least=0, most=len(self.times) - 1)
        return float(self.weights[date] @ checked_values("f", f(self.points[date]), self.points[date], "state"))

    def step_error(self, f: "Callable[[QuantizationTree], float]") -> float:
        r"""By how much f of the tree changes where all steps are halved: about half of what they cost, Euler's error being ∝ h.

        The part of an error that finer grids lessen, ∝ the sum of ``distortions``, is apart from it.

        Parameters
        ----------
        f : callable
            Maps a tree to a number, the second time one with a date halfway between any two.

        Returns
        -------
        float
            f of the halved tree less f of this one.

        Raises
        ------
        ValueError
            For a tree of simulated paths, and for one that was pickled or copied.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> stock = qz.Diffusion(100.0, drift=lambda t, x: 0.05 * x, volatility=lambda t, x: 0.2 * x)
        >>> tree = qz.recursive_grid(stock, np.linspace(0, 1, 6), 50)
        >>> round(tree.step_error(lambda tree: tree.expect(lambda x: x[:, 0])), 3)  # exp(h/20) - 1 - h/20 a step
        0.013
        """
        if self.halved is None:
            raise ValueError(
                "a tree of simulated paths has the steps of its simulation, and one that was pickled or copied no diffusion. "
                "Simulate with shorter steps and compare, or call recursive_grid again"
            )
        return float(f(self.halved()) - f(self))

    def optimal_stopping(self, payoff: Payoff, dates: Sequence[int] | None = None) -> OptimalStopping:
        r"""$V_t = \max(h_t, E[V_{t+1} | \hat X_t])$, backward from $V_T = h_T$.

        Parameters
        ----------
        payoff : callable
            Maps a time and states (K, d) to $h(t, x)$, (K,), discounted to one date: American and Bermudan options are worth
            ``value`` with the discounted payoff.
        dates : sequence of int, optional
            Places among ``times`` at which one may stop; ``None`` is at all, the first among them. At the last one must.

        Returns
        -------
        OptimalStopping

        Raises
        ------
        ValueError
            Where the payoff returns an array of another shape, or a date is none of the tree.

        References
        ----------
        bally2003.

        Examples
        --------
        >>> import numpy as np, quantization as qz
        >>> stock = qz.Diffusion(100.0, drift=lambda t, x: 0.05 * x, volatility=lambda t, x: 0.2 * x)
        >>> tree = qz.recursive_grid(stock, np.linspace(0, 1, 13), 60)
        >>> put = tree.optimal_stopping(lambda t, x: np.exp(-0.05 * t) * np.maximum(100 - x[:, 0], 0))
        >>> round(put.value, 1)
        6.1
        """
        last = len(self.times) - 1
        allowed = set(range(last + 1) if dates is None else (checked_count("a date", date, least=0, most=last) for date in dates))
        ahead = _stopped(payoff, float(self.times[last]), self.points[last])
        values, stops = [ahead], [ahead > 0]
        for date in range(last - 1, -1, -1):
            worth = self.transitions[date] @ values[-1]
            if date in allowed:
                now = _stopped(payoff, float(self.times[date]), self.points[date])
                stops.append((now > 0) & (now >= worth))
                worth = np.maximum(now, worth)
            else:
                stops.append(np.zeros(len(worth), dtype=np.bool_))
            values.append(worth)
        return OptimalStopping(float(self.weights[0] @ values[-1]), values[::-1], stops[::-1])


def quantization_tree(
    paths: FloatArray, k: int | Sequence[int], *, times: FloatArray | None = None, rng: Any = None
) -> QuantizationTree:
    r"""A tree of simulated paths: each date is quantized, and $p_{ij}$ is the share of the paths in cell i that are in j next.

    Parameters
    ----------
    paths : array (n, T + 1, d)
        Independent paths of a Markov chain.
    k : int or sequence of T + 1 of them
        Codes of each date; a date of fewer distinct states gets these.
    times : array (T + 1,), optional
        The dates; 0, 1, … by default.
    rng : int or numpy.random.Generator, optional
        Of the starting codes.

    Returns
    -------
    QuantizationTree
        Its distortions are those of the sample.

    Raises
    ------
    ValueError
        For paths of another shape, or that are not finite.

    Notes
    -----
    In more than five dimensions quantizers converge so slowly, as $K^{-1/d}$, that a tree says little.

    References
    ----------
    bally2003.

    Examples
    --------
    >>> import numpy as np, quantization as qz
    >>> steps = np.random.default_rng(0).normal(size=(20000, 3, 2)) / 2
    >>> tree = qz.quantization_tree(np.cumsum(steps, axis=1), 30, rng=0)
    >>> [p.shape for p in tree.points], round(tree.expect(lambda x: x[:, 0]), 2)
    ([(30, 2), (30, 2), (30, 2)], 0.0)
    """
    given = to_host(as_floating(paths, "paths"))
    if given.ndim != 3 or given.shape[1] < 2 or not given.size:
        raise ValueError(f"paths must have shape (n, T + 1, d) with two dates or more; received {given.shape}")
    dates = np.arange(given.shape[1], dtype=np.float64) if times is None else checked_times(times)
    if dates.shape != (given.shape[1],):
        raise ValueError(f"times must have one entry a date, {given.shape[1]}; received shape {dates.shape}")
    counts = list(k) if isinstance(k, Sequence) else [k] * len(dates)
    if len(counts) != len(dates):
        raise ValueError(f"k must be one number, or one for each of {len(dates)} dates; received {len(counts)}")
    generator = checked_rng(rng)
    points, weights, labels = list[FloatArray](), list[FloatArray](), list[IntArray]()
    distortions = np.empty(len(dates))
    for t in range(len(dates)):
        states = np.ascontiguousarray(given[:, t])
        most = min(checked_count("k", counts[t]), len(np.unique(states, axis=0)))
        (solution,) = solve_tasks([make_task(states, most, 2.0, None, None, 1, generator, None)])
        points.append(to_host(solution.points))
        weights.append(to_host(solution.measure.weights_float64))
        labels.append(np.asarray(solution.predict(states)))
        distortions[t] = float(solution.distortion)
    transitions = list[FloatArray]()
    for t in range(len(dates) - 1):
        joint = np.zeros((len(points[t]), len(points[t + 1])))
        np.add.at(joint, (labels[t], labels[t + 1]), 1.0)
        transitions.append(joint / joint.sum(1, keepdims=True))
    return QuantizationTree(dates, points, weights, transitions, distortions)


def _stopped(payoff: Payoff, time: float, states: FloatArray) -> FloatArray:
    """What stopping is worth in each state of a date."""
    return checked_values("payoff", payoff(time, states), states, "state")
